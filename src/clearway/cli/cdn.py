"""clearway cdn: the addresses that many sites share, whose lists say so, how old those are and how much they miss."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clearway.cli import ask, cdn_sources, feed_tables, progress, show
from clearway.cli.options import JsonOption, StateOption
from clearway.config import StateDirectory
from clearway.errors import ClearwayError

if TYPE_CHECKING:
    from clearway.policy.shared_sources import SharedRanges

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Addresses that many sites share (CDNs, clouds): never refused by address, or only as single hosts.",
)
Accept = Annotated[
    str | None,
    typer.Option("--accept", metavar="RULE", help="Take it though that rule (such as G4) says no, this once."),
]
MISSES_SHOWN_MAX = 50
One = Callable[[str, progress.Report], dict[str, Any]]


@app.command()
def add(
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="By default a vendor's own list.")] = "",
    source: Annotated[str, typer.Argument(metavar="[SOURCE]", help="URL or file; by default the vendor's.")] = "",
    vendor: Annotated[
        str | None, typer.Option("--vendor", metavar="V", help="Whose ranges they are; by default NAME's.")
    ] = None,
    format: Annotated[
        str | None,
        typer.Option("--format", metavar="F", help="By default the vendor's own; see `clearway feed formats`."),
    ] = None,
    every: Annotated[
        str | None, typer.Option("--every", metavar="D", help="How often a URL is fetched; by default 24h.")
    ] = None,
    accept: Accept = None,
    every_vendor: Annotated[bool, typer.Option("--all", help="The lists of all vendors that are known.")] = False,
    state: StateOption = None,
    json: JsonOption = False,
) -> int:
    """Take address ranges from whom they belong to, and hold all lists and blocks to them.

    Known vendors: akamai, apple, aws, azure, bunny, cdncheck, cloudflare, digitalocean, fastly, github, google,
    google-cloud, linode, office365, oracle, stackpath, vultr, wikimedia.

    Example: clearway cdn add --all

    Example: clearway cdn add aws

    Example: clearway cdn add azure-public ServiceTags_Public.json --vendor azure
    """
    directory = ask.directory(state)
    from clearway.feeds.shared_vendors import VENDORS

    if every_vendor:
        if name or source:
            raise ClearwayError.of("cli.E001", message="--all takes no NAME", command="clearway cdn add")
        return _add_all(directory, list(VENDORS), every, json)
    if name in VENDORS and not source and len(VENDORS[name].urls) > 1:
        return _add_all(directory, [name], every, json)
    if not name:
        raise ClearwayError.of("cli.E001", message="a NAME or --all is needed", command="clearway cdn add")
    body: dict[str, Any] = {
        "name": name, "source": source, "vendor": vendor, "format": format, "every": every, "accept": accept
    }  # fmt: skip
    if source and "://" not in source and source != "-":
        body["source"] = str(Path(source).expanduser().absolute())
    with progress.shown(not json) as report:
        answer = cdn_sources.add(directory, {key: value for key, value in body.items() if value is not None}, report)
    if json:
        show.document(answer)
    else:
        _tell("added", answer, directory)
    return 0


def _add_all(directory: StateDirectory, vendors: list[str], every: str | None, json: bool) -> int:
    """Every list of these vendors that is not there yet."""
    from clearway.feeds.shared_vendors import VENDORS

    now = ask.open_store(directory)
    from clearway.store import shared_ranges

    held = {row["name"] for row in shared_ranges.rows(directory, now)}
    wanted = {name: vendor for vendor in vendors for name in VENDORS[vendor].urls if name not in held}
    more = {"every": every} if every else {}
    code = _each(
        wanted,
        lambda name, report: cdn_sources.add(directory, {"name": name, "vendor": wanted[name], **more}, report),
        "added", directory, json,
    )  # fmt: skip
    for name in () if json else vendors:
        if not VENDORS[name].urls:
            print(f"{name}: {VENDORS[name].note}")
    return code


def _each(names: Iterable[str], one: One, verb: str, directory: StateDirectory, json: bool) -> int:
    """Does it for each of them, and tells what came of it; the largest of the exit codes."""
    answers: list[dict[str, Any]] = []
    code = 0
    for name in names:
        try:
            with progress.shown(not json) as report:
                answers.append(one(name, report))
        except ClearwayError as error:
            code = max(code, error.exit_code)
            answers.append({"name": name, **error.as_json()})
            if not json:
                show.error(error, False)
        else:
            if not json:
                _tell("unchanged" if answers[-1].get("unchanged") else verb, answers[-1], directory)
    if json:
        show.document({"sources": answers})
    return code


@app.command()
def update(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Default: all of them.")] = None,
    accept: Accept = None,
    state: StateOption = None,
    json: JsonOption = False,
) -> int:
    """Fetch ranges again now. Where one fails, or is not taken, those before stay.

    Example: clearway cdn update aws
    """
    directory = ask.directory(state)
    now = ask.read_store(directory)
    from clearway.feeds.shared_bundle import PREFIX
    from clearway.store import shared_ranges

    known = [row["name"] for row in shared_ranges.rows(directory, now) if not row["name"].startswith(PREFIX)]
    return _each(
        names or known,
        lambda name, report: cdn_sources.update(directory, name, accept, report),
        "updated", directory, json,
    )  # fmt: skip


@app.command()
def remove(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As `clearway cdn list` has it.")],
    note: Annotated[str, typer.Option("--note", metavar="TEXT", help="Why, for whoever reads the history.")] = "",
    state: StateOption = None,
    json: JsonOption = False,
) -> None:
    """Let a source count no longer; one that comes with Clearway is back with `cdn add` and its name.

    Example: clearway cdn remove bundled-apple --note "we block by address there"
    """
    directory = ask.directory(state)
    answer = cdn_sources.remove(directory, name, note)
    if json:
        show.document(answer)
        return
    print(f"removed {name} · decision {answer['decision']}")
    print("  counts no longer" if answer["enforced"] else f"  stored in {directory.path}; no gateway runs there")


@app.command("list")
def list_(state: StateOption = None, json: JsonOption = False) -> None:
    """Show whose ranges count, where they are from, and how old they are.

    Example: clearway cdn list
    """
    directory = ask.directory(state)
    now = ask.open_store(directory)
    from clearway.store import shared_ranges

    rows = shared_ranges.rows(directory, now)
    undivided = _undivided(shared_ranges.in_force(directory))
    if json:
        show.document({"sources": rows, "undivided": undivided})
        return
    table = show.table(
        "source", "vendor", "class", "ranges", "fetched", "published", "every", "counts", "from", right=("ranges",)
    )
    for row in rows:
        counts = "yes" if row["counts_now"] else "[yellow]no: removed[/yellow]" if row["removed"] else "no: fetched"
        table.add_row(
            row["name"],
            row["vendor"],
            ", ".join(row["class"]),
            show.count(sum(row["counts"].values())),
            show.ago(row["fetched_at"], now) or "–",
            show.ago(row["published"], now) or "–",
            show.every(row["every_s"]),
            "[red]cannot be read[/red]" if row["problem"] else counts,
            show.plain(row["source"]),
        )
    notes = [
        f"[red]{row['name']}: the update of {show.moment(row['rejected']['at'])} was not taken, by rule "
        f"{row['rejected']['rule']}: {show.plain(row['rejected']['detail'])}[/red]"
        for row in rows
        if row["rejected"]
    ]
    show.put(table, *notes)
    _tell_undivided(undivided)


@app.command()
def check(
    names: Annotated[
        Path | None,
        typer.Option("--names", metavar="FILE", help="Names to resolve now, one a line; none comes with Clearway."),
    ] = None,
    resolver: Annotated[
        str | None,
        typer.Option("--resolver", metavar="ADDRESS[:PORT]", help="Whom to ask; by default this machine's resolver."),
    ] = None,
    state: StateOption = None,
    json: JsonOption = False,
) -> None:
    """Show source and age of the ranges, and how many addresses of names resolved now they miss.

    Only names that show whose front end they are meant to be, by themselves or by where they lead (CNAME), tell of a
    miss. Give names of sites that your users visit: what a list misses depends on where you stand.

    Example: clearway cdn check

    Example: clearway cdn check --names top-sites.txt --resolver 192.0.2.53
    """
    directory = ask.directory(state)
    now = ask.open_store(directory)
    from clearway.store import shared_ranges

    ranges = shared_ranges.in_force(directory)
    document: dict[str, Any] = {
        "vendors": _by_vendor(ranges, now),
        "front_end_v4": ranges.shared.front_ends.count(4),
        "single_tenant_v4": ranges.shared.single_tenant.count(4),
        "undivided": _undivided(ranges),
        "names": None,
    }
    if names is not None:
        from clearway.feeds import shared_cover

        asked = shared_cover.read_names(names)
        where = shared_cover.resolver_at(resolver)
        document["names"] = shared_cover.measured(shared_cover.resolve(asked, where), ranges)
    if json:
        show.document(document)
    else:
        _tell_check(document)


def _undivided(ranges: SharedRanges) -> list[str]:
    from clearway.feeds.shared_bundle import undivided

    return undivided(ranges)


def _tell_undivided(vendors: list[str]) -> None:
    """What the lists of the package cannot know."""
    if not vendors:
        return
    whose = f"\nfront ends of {', '.join(vendors)} (CloudFront, Global Accelerator, S3, Front Door …)"
    print(f"{whose} count as let to tenants, and lists may refuse")
    print("single hosts of them for a day: only the vendors' own lists tell the two apart. Fetch those:")
    print("clearway cdn add --all" + ("; azure: clearway cdn add azure FILE" if "azure" in vendors else ""))


def _by_vendor(ranges: SharedRanges, now: datetime) -> list[dict[str, Any]]:
    from clearway.policy.shared import Ranges
    from clearway.store.change import stamp

    found = []
    for source, claims in ranges.held:
        counts = {claim.value: len(held.v4) + len(held.v6) for claim, held in claims.items()}
        addresses = sum(Ranges.of(held.v4, held.v6).count(4) for held in claims.values())
        found.append(
            {
                "vendor": source.vendor,
                "name": source.name,
                "source": source.source,
                "since": stamp(source.since),
                "age_s": max(0, int((now - source.since).total_seconds())),
                "ranges": counts,
                "addresses_v4": addresses,
            }
        )
    return sorted(found, key=lambda row: (row["vendor"], row["name"]))


def _tell_check(document: dict[str, Any]) -> None:
    table = show.table(
        "vendor", "source", "ranges", "IPv4 addresses", "age", "from", right=("ranges", "IPv4 addresses")
    )
    for row in document["vendors"]:
        table.add_row(
            row["vendor"],
            row["name"],
            show.count(sum(row["ranges"].values())),
            show.count(row["addresses_v4"]),
            show.span(timedelta(seconds=row["age_s"])),
            show.plain(row["source"]),
        )
    show.put(table)
    print(
        f"\nfront ends: {show.count(document['front_end_v4'])} IPv4 addresses, refused by name only; "
        f"single-tenant clouds: {show.count(document['single_tenant_v4'])}, refused as single hosts for a day"
    )
    _tell_undivided(document["undivided"])
    found = document["names"]
    if found is None:
        print("how much they miss: clearway cdn check --names FILE")
        return
    known = found["of_known_vendors"]
    print(f"\n{show.plural(found['asked'], 'name')} asked, {show.count(found['resolved'])} resolved")
    table = show.table("by name", "names", "addresses", "front end", "single-tenant", "elsewhere", "missed",
                       right=("names", "addresses", "front end", "single-tenant", "elsewhere", "missed"))  # fmt: skip
    for vendor, cover in found["vendors"].items():
        missed = "not known" if vendor == "–" else _percent(cover["miss_rate"])
        counts = [show.count(cover[key]) for key in ("names", "addresses", "front_end", "single_tenant", "elsewhere")]
        table.add_row("nobody's, by name" if vendor == "–" else vendor, *counts, missed)
    show.put(table)
    print(f"miss rate: {_percent(known['miss_rate'])} of {show.count(known['addresses'])} addresses of such names")
    for miss in [each for each in found["misses"] if each["vendor"]][:MISSES_SHOWN_MAX]:
        print(f"  missed: {miss['address']} of {miss['name']} ({miss['vendor']}, {miss['class']})")
    for each in found["unresolved"][:MISSES_SHOWN_MAX]:
        print(f"  not resolved: {each['name']}: {each['why']}")


def _percent(rate: float | None) -> str:
    return "–" if rate is None else f"{100 * rate:.1f} %"


def _tell(verb: str, answer: dict[str, Any], directory: StateDirectory) -> None:
    counts = answer.get("counts", {})
    words = [f"{show.count(counts[key])} {key}" for key in ("front-end", "single-tenant", "vendor") if counts.get(key)]
    print(" · ".join([f"{verb} {answer['name']}", *words, f"decision {answer['decision']}"]))
    feed_tables.tell_force(answer, directory)
    if counts.get("malformed"):
        print(f"  {show.count(counts['malformed'])} malformed lines, left out")
