"""A run as a picture: one panel a figure, a bar a kind, a dot a turn, the base's median as a line."""

from pathlib import Path
from typing import Any

from clearway.bench.report import short

WIDTH_INCHES = 11
PANEL_INCHES = 0.36  # a bar
HEADING_INCHES = 0.95
OURS, THEIRS = "#2563eb", "#9ca3af"
PEERS = ("wire", "bridge", "nft", "ipset", "unbound", "dnsmasq")
OWN_ALONE = ("parse",)
"""Figures without peers: their kinds are formats, some of which are called after their program."""


def save(document: dict[str, Any], path: Path) -> None:
    """Draws what report.document made. The file's ending says which kind: .png, .svg, .pdf."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figures = [figure for figure in document["figures"] if figure["kinds"]]
    heights = [HEADING_INCHES + PANEL_INCHES * len(figure["kinds"]) for figure in figures] or [1]
    drawing, panels = pyplot.subplots(
        len(heights),
        1,
        squeeze=False,
        figsize=(WIDTH_INCHES, sum(heights) + 0.6),
        gridspec_kw={"height_ratios": heights},
        layout="constrained",
    )
    try:
        for panel, figure in zip(panels[:, 0], figures, strict=False):
            _panel(panel, figure)
        machine = document["machine"]
        facts = f"{machine.get('cpu', '')} · Linux {machine.get('kernel', '')} · {document['started']}"
        drawing.suptitle(f"{document['command']}\n{facts}", fontsize=9, x=0.01, ha="left", color="#374151")
        drawing.savefig(path, dpi=130)
    finally:
        pyplot.close(drawing)


def _panel(panel: Any, figure: dict[str, Any]) -> None:
    kinds = figure["kinds"]
    positions = list(range(len(kinds)))
    medians = [kind["median"] or 0 for kind in kinds]
    peers = () if figure["name"] in OWN_ALONE else PEERS
    colours = [THEIRS if kind["kind"].startswith(peers) else OURS for kind in kinds]
    panel.barh(positions, medians, color=colours, height=0.7)
    for position, kind in zip(positions, kinds, strict=True):
        values = [turn["value"] for turn in kind["turns"] if turn["value"] is not None]
        panel.plot(values, [position] * len(values), "o", color="#111827", markersize=2.5, alpha=0.7)
        panel.annotate(
            _label(kind, figure),
            (max([*values, kind["median"] or 0]), position),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    base = next((kind["median"] for kind in kinds if kind["kind"] == figure["base"]), None)
    if base:
        panel.axvline(base, color="#6b7280", linewidth=0.8, linestyle="--")
    panel.set_yticks(positions, [kind["kind"] for kind in kinds], fontsize=8)
    panel.invert_yaxis()
    panel.margins(x=0.22)
    panel.set_xlim(left=0)
    panel.tick_params(axis="x", labelsize=7)
    panel.spines[["top", "right"]].set_visible(False)
    better = "more is better" if figure["better"] == "higher" else "less is better"
    panel.set_title(f"{figure['title']} ({figure['unit']}, {better})", loc="left", fontsize=9)


def _label(kind: dict[str, Any], figure: dict[str, Any]) -> str:
    if kind["median"] is None:
        return "–"
    text = short(kind["median"])
    if kind["ratio"] is not None and kind["kind"] != figure["base"]:
        text += f" · {kind['ratio']:.2f} ×"
    return text
