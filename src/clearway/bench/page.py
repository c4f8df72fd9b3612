"""docs/figures.md and its sisters of names and lists, each from the document of one run: no figure is typed. Pure."""

from collections.abc import Sequence
from typing import Any

from clearway.bench.report import short


def markdown(document: dict[str, Any], page: str = "figures", title: str = "Figures") -> str:
    """The page: how to measure it, on what machine it was, then each figure with its aims and notes."""
    lines = [
        f"# {title}",
        "",
        f"Measured by `{document['command']}`, {document['started']}, {document['seconds']:.0f} s in all; this page is",
        f"made of what it printed (`python docs/make.py {page}.md`). Kinds took turns; medians, and in brackets",
        "the least and largest of single turns. Ratios are to the kind in italics, of the same run.",
        "",
        f"![all figures]({page}.png)",
        "",
        *_table(("machine", ""), list(document["machine"].items())),
        "",
        "Over veth, in one virtual machine: these are ratios of path lengths, not what a network card would carry.",
    ]
    for figure in document["figures"]:
        lines += ["", f"## {figure['title']}", "", *_figure(figure)]
    return "\n".join(lines) + "\n"


def _figure(figure: dict[str, Any]) -> list[str]:
    rows = []
    for kind in figure["kinds"]:
        name = f"*{kind['kind']}*" if kind["kind"] == figure["base"] else kind["kind"]
        median = f"{_short(kind['median'])} ({_short(kind['lowest'])}–{_short(kind['highest'])})"
        ratio = ""
        if kind["ratio"] is not None and kind["kind"] != figure["base"]:
            ratio = f"**{kind['ratio']:.2f} ×** ({kind['ratio_lowest']:.2f}–{kind['ratio_highest']:.2f})"
        rows.append((name, median, ratio))
    lines = _table(("", figure["unit"], "ratio"), rows)
    if figure["leaked"] is not None:
        lines += ["", f"Leaked: {figure['leaked']} packets."]
    aims = [
        f"- Aim: {aim['text']}. {'Reached' if aim['reached'] else 'Missed'}: {_short(aim['value'])}."
        for aim in figure["aims"]
    ]
    notes = [f"- {note[:1].upper()}{note[1:]}." for note in figure["notes"]]
    return [*lines, "", *aims, *notes] if aims or notes else lines


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    cells = [list(heads), ["---"] * len(heads), *(list(row) for row in rows)]
    return ["| " + " | ".join(row) + " |" for row in cells]


def _short(value: float | None) -> str:
    return "–" if value is None else short(value)
