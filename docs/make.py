"""Writes the pages of docs/ that say what the code says (errors.md, settings.md, commands.md, formats.md, guard.md,
shared-ranges.md) or what a run measured (figures.md, figures-names.md, figures-lists.md).

    python docs/make.py [PAGE…]

Without a page, all that there are.

A test fails while a page differs from what this makes.
"""

import contextlib
import io
import json
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from clearway.bench.page import markdown
from clearway.cli.app import COMMANDS, call, load
from clearway.config import SETTINGS
from clearway.errors import ANSWER_IS_NO, CATALOG, MACHINE_CANNOT, MISUSE
from clearway.feeds.guard_rules import (
    AGE_DAYS_SLOW,
    PROTECTED_CASES,
    SLOW_FORMATS,
    THRESHOLDS,
    WIDE_FORMATS,
    GuardRule,
)
from clearway.feeds.guard_whole import ERROR_RULES
from clearway.feeds.protected import bundled
from clearway.feeds.readers.documents import DEPTH_MAX, PARTS_MAX
from clearway.feeds.readers.rules import RULES
from clearway.feeds.readers.table import READERS, SYNONYMS
from clearway.feeds.shared_bundle import bundled as bundled_ranges_of_package
from clearway.feeds.shared_vendors import VENDORS
from clearway.policy.shared_sources import Claim

HERE = Path(__file__).parent
COLUMNS = "80"
"""Width that help is wrapped at."""

TURN = {
    ANSWER_IS_NO: "Exit code 1: understood, and the answer is no.",
    MISUSE: "Exit code 2: the request cannot be meant as written.",
    MACHINE_CANNOT: "Exit code 3: the machine cannot.",
}
AREAS = {
    "bench": "Measuring",
    "cli": "The command line",
    "engine": "The kernel side",
    "feeds": "Lists from elsewhere",
    "gateway": "The gateway",
    "inspect": "Captures",
    "lab": "The lab",
    "policy": "Addresses, reasons, times, snapshots",
    "setup": "This machine",
    "store": "Decisions and the state directory",
}


def errors_page() -> str:
    """Every id with its message, the way out, and whose turn it is."""
    lines = [
        "# Errors",
        "",
        "What Clearway says when it cannot do what was asked. An id stays for good and is never used again.",
        "Words in braces stand for what a message names. On the command line an error is two lines on standard error;",
        'with `--json`, and over HTTP, it is `{"error": {"id", "message", "fix", "retry"}}`.',
    ]
    for area, title in AREAS.items():
        ids = sorted(id for id in CATALOG if id.startswith(f"{area}."))
        if ids:
            lines += ["", f"## {title}"]
        for id in ids:
            kind = CATALOG[id]
            retry = " The same request may do later." if kind.retry else ""
            lines += ["", f"### {id}", "", kind.message, "", f"Fix: {kind.fix}", "", TURN[kind.exit_code] + retry]
    return "\n".join(lines) + "\n"


def settings_page() -> str:
    """Every setting with its unit, default and sentence."""
    lines = [
        "# Settings",
        "",
        "There is no configuration file. Names in capitals are environment variables, the others options of commands.",
    ]
    for row in SETTINGS:
        facts = [f"Default: `{row.default}`." if row.default else "Default: none."]
        if row.unit:
            facts.insert(0, f"Takes: {row.unit}.")
        lines += ["", f"## {row.name}", "", row.sentence, "", " ".join(facts)]
    return "\n".join(lines) + "\n"


def commands_page() -> str:
    """`--help` of every command."""
    lines = [
        "# Commands",
        "",
        "Exit codes: 0 done, 1 the answer is no, 2 misuse, 3 the machine cannot (each error says the way out).",
        "What `--format` of a list may be: [formats.md](formats.md).",
    ]
    for title, group in COMMANDS.items():
        lines += ["", f"## {title}"]
        for name in group:
            lines += ["", f"### {name}", "", "```", help_of(name), "```"]
            for below in subcommands(name):
                lines += ["", f"#### {' '.join((name, *below))}", "", "```", help_of(name, *below), "```"]
    return "\n".join(lines) + "\n"


def help_of(*command: str) -> str:
    """What `clearway COMMAND --help` prints."""
    told = io.StringIO()
    os.environ["COLUMNS"] = COLUMNS
    with contextlib.redirect_stdout(told):
        code = call([*command, "--help"])
    assert code == 0, f"clearway {' '.join(command)} --help ended with {code}"
    return "\n".join(line.rstrip() for line in told.getvalue().strip().splitlines())


def subcommands(name: str) -> list[tuple[str, ...]]:
    """Commands below one, by their words: those of a group within it behind the group."""

    def below(command: object) -> list[tuple[str, ...]]:
        found: list[tuple[str, ...]] = []
        for word, each in getattr(command, "commands", {}).items():
            found += [(word,), *((word, *more) for more in below(each))]
        return found

    return below(load(name))


def formats_page() -> str:
    """The table of readers, and the rules by which a line gives no entry."""
    synonyms = "; ".join(f"`{word}` is `{reader}`" for word, reader in SYNONYMS.items())
    lines = [
        "# Formats of lists",
        "",
        "What `--format` takes. Without it the format is found from the look of a list, and shown. Compression (gzip,",
        f"zip, zstd) is found by itself. {synonyms}; `csv:COLUMN` names the column that holds the entries,",
        "`csv:COLUMN:CATEGORY` the one that says what they are too.",
        "",
        "Each line of a list is one of four: it says nothing, is an entry, is *unsupported* (it means what is not",
        "enforced) or *malformed* (it is none of its format). The last two are counted by the rules below, and listed",
        "by `clearway feed parse FILE --rejects`. A list's exceptions act inside that list alone. What a list is held",
        "to as a whole: [guard.md](guard.md).",
        "",
        "| format | one line | an entry is about | defined by | gives no entry |",
        "|---|---|---|---|---|",
    ]
    for word, each in READERS.items():
        cells = (f"`{word}`", code_of(each.looks_like), each.covers, each.source, each.unsupported or "–")
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    lines += ["", "## Rules", "", "| id | class | what it refuses |", "|---|---|---|"]
    lines += [f"| {rule.id} | {rule.kind} | {rule.sentence} |" for rule in RULES]
    return "\n".join(lines) + "\n"


def guard_page() -> str:
    """The rules that a list is held to, and the numbers of them that can be set for a list."""
    lines = [
        "# What a list is held to",
        "",
        "A list is read and judged whole before any of it counts. `clearway feed check FILE|URL|-` says what would",
        "become of it, with no rights and no state; `feed add` and every update judge by the same rules.",
        "[Why](decisions/0012-the-guard.md).",
        "",
        "- `accept`: all of it is taken. Duplicates and prefixes within others are no fault.",
        "- `accept-with-rejects`: taken without the lines that gave no entry ([formats.md](formats.md)) and without",
        "  the entries that a rule holds back; they are counted by rule, and the first of each are shown with their",
        "  line.",
        "- `quarantine-feed`: nothing of it is taken, and the last good version stays until its own end. A person may",
        "  look (`clearway feed quarantine`) and release it: [lists over time](lists-over-time.md).",
        "",
        "`rules` are all that spoke. `rule` is the lowest that decided: of those that hold the feed back, else of",
        "those that held back a line or an entry; nothing on `accept`. A rule marked *alarms* is told of beyond the",
        "list.",
        "",
        "| rule | refuses | | what it says of it | when |",
        "|---|---|---|---|---|",
    ]
    for rule in GuardRule:
        if rule is not GuardRule.OWN_EXCEPTION:
            alarms = "alarms" if rule.alarms else ""
            lines.append(f"| {rule.id} | the {rule.refuses} | {alarms} | {rule.sentence} | {guard_when(rule)} |")
    lines += [
        "",
        "G9 and long lines are about single lines: [formats.md](formats.md). G12: exceptions in a list (`@@`,",
        "`rpz-passthru`, allow lists) act inside that list only.",
        "",
        "An entry that several cases of G10 hold back is counted under the first, in the order above. What is wholly",
        "inside special-use space counts for no rule of feeds. What was held back is neither growth nor shrinking",
        "(G4). A list of which nothing is left is in quarantine (G3).",
        "",
        *feed_check_lines(),
        "",
        "## Numbers",
        "",
        "Each can be set for a list: `feed add … --set KEY=VALUE`, and the same in `feed check`.",
        "",
        "| key | rule | default | what it is |",
        "|---|---|---|---|",
    ]
    for key, each in THRESHOLDS.items():
        lines.append(f"| `{key}` | {each.rule} | {each.default:g} {each.unit} | {each.sentence} |")
    lines += [
        "",
        f"`age_days` is {AGE_DAYS_SLOW:g} for lists that change slowly ({', '.join(sorted(SLOW_FORMATS))}).",
        f"Prefixes of /8 to /15 are usual for {' and '.join(sorted(WIDE_FORMATS))}; `--wide` allows them to others.",
    ]
    return "\n".join([*lines, "", *protected_lines()]) + "\n"


def feed_check_lines() -> list[str]:
    """What `feed check` ends in, and what its options mean."""
    return [
        "## feed check",
        "",
        "| exit | verdict | |",
        "|---|---|---|",
        "| 0 | `accept`, `accept-with-rejects` | |",
        "| 1 | `quarantine-feed` | a server that does not answer gives no list: G1 |",
        "| 2 | none | nothing was judged: no such file, words that make no sense, a key that cannot be used |",
        "",
        "With `--json` each of them prints one document with the same keys; in the last case `verdict` is null and",
        "`error` says what is wrong. `findings` are the rules of feeds that spoke, each with what was seen, its",
        "limit, the key that sets that limit, and the [error](errors.md) that reading or fetching ended in. An update",
        "that gets no answer is tried again, and condemns nothing.",
        "",
        "- `--last-good FILE` may be of another format than the list. Without it, and where it holds no entry,",
        "  `first_load` is true, and G4 says nothing. One that cannot be read is misuse.",
        "- `--now` is a date (its end), RFC 3339 with any zone (none: UTC), or seconds since 1970.",
        "- `--max-age` stands in place of `age_days`; with 0 every list that says an earlier time is too old.",
        "- `--protect`: names are protected with all below them, addresses against what covers or lies within them.",
        "- `--state DIR` judges as that gateway would: its own prefixes, grants, shared ranges, all its other lists'",
        "  addresses, and the settings and last good version of the list with that source. What the command line says",
        "  goes over it.",
    ]


def guard_when(rule: GuardRule) -> str:
    """In which cases a rule of feeds speaks, and the errors that reading and fetching end in then; "" of others."""
    number = {key: f"{each.default:g}" for key, each in THRESHOLDS.items()}
    cases = {
        GuardRule.NOT_A_LIST: "a status other than 200 and 304, or no answer at all; HTML by its content type; "
        '`<!doctype`, `<html`, `<?xml` or `{"error"` in the first 4 KiB; a line that starts a tag',
        GuardRule.BYTES: f"more than {number['size_mib']} MiB; packed damaged, twice, or more than "
        f"{number['unpack_ratio']} to 1; NUL and other control bytes, UTF-16, what is not UTF-8; JSON that is "
        f"deeper than {DEPTH_MAX} or of more than {PARTS_MAX:,} parts; a line over 64 KiB is one malformed line",
        GuardRule.NOTHING: f"no entry, or from {number['malformed_from']} lines on more malformed lines than entries; "
        "lines that mean what is not enforced condemn none; damaged JSON; of no format, or of another than was said",
        GuardRule.SIZE: f"less than {number['shrink']} of the last good one's entries, where it had "
        f"{number['shrink_from']} or more; more than {number['growth']} times them, and more than "
        f"{number['growth_new']} that are new",
        GuardRule.CUT_OFF: f"its count is off by more than {number['declared_percent']} %; fewer bytes than announced; "
        "the last line has no end and the count says more; the closing line of its format is missing",
        GuardRule.WIDTH: f"a prefix shorter than /{number['widest_v4']} (IPv6 /{number['widest_v6']}); more than "
        f"{number['share_percent']} % of the public IPv4 addresses, with all other lists {number['total_percent']} %; "
        "what is wholly special-use does not count",
        GuardRule.OTHER_KIND: f"{number['protected_entries']} entries or more, and more than "
        f"{number['protected_percent']} % of all, are protected",
        GuardRule.AGE: f"its own time, the latest of those in its header, is more than {number['age_days']} days ago "
        f"({AGE_DAYS_SLOW:g} of slow lists); without one, or with one to come, nothing is said",
    }
    errors = [f"`{id}`" for id, of in ERROR_RULES.items() if of is rule]
    return cases.get(rule, "") + (f" ({', '.join(errors)})" if errors else "")


def protected_lines() -> list[str]:
    """What the protected set is, and how many rows of it come with the package."""
    counted = Counter(row.case for row in bundled().rows)
    return [
        "## The protected set",
        "",
        "`clearway feed protected list` shows it with who says so; `… add` and `… remove` change it for this gateway.",
        "It comes with the package, but for this network's own: inside prefixes, customers, grants. Public suffixes",
        "are those of the Public Suffix List; sites that all visit are protected where the operator gives a list of",
        "them (CLEARWAY_TOP_SITES, or `feed check --top-sites`): a name, or rank and name, a line. Open resolvers of",
        "the package's list count for G7 alone: a router that was taken over stays blockable.",
        "",
        "| rule | rows in the package |",
        "|---|---|",
        *(f"| {case.id} | {counted[case]} |" for case in PROTECTED_CASES if counted[case]),
    ]


def shared_page() -> str:
    """Who publishes shared ranges, which of their tags are front ends, and what comes with the package."""
    lines = [
        "# Addresses that many share",
        "",
        "Behind one address of a CDN stand thousands of sites; a machine in a cloud is another's tomorrow. So every",
        "address is of one of three classes. [Why, and who wins](decisions/0011-conflicts.md).",
        "",
        "| class | what lists do there | what `block` does there |",
        "|---|---|---|",
        "| front end | nothing by address, not by a wider prefix either; names are refused as everywhere | "
        "refuses: block the name |",
        "| single tenant | refuse single hosts, until a day after they were fetched | "
        "single addresses, for 24 hours at most |",
        "| everything else | as they say | as it says |",
        "",
        "`clearway cdn add --all` fetches what the vendors publish; it is fetched again every day, judged by rules G1",
        "to G5 like any list, and the last two versions count together. Nothing runs out. `clearway cdn list` shows",
        "source and age of each, `clearway cdn check --names FILE` how many addresses of names resolved now are",
        "missed. Where a range is wrong, `clearway cdn remove NAME` takes its source out, also one that comes with",
        "Clearway.",
        "",
        "Hosts of tenants lapse a day after their list was fetched, and are back when it is fetched again: a list with",
        "`--every 12h` leaves no gap between the two, one that is read from a file is renewed by `feed update`.",
        "",
        "## Vendors",
        "",
        "A tag that is not named here is of the class in the last column. *vendor*: all that a vendor has, front ends",
        "where no source says that an address is let.",
        "",
        "| vendor | format | published at | front ends, by its tags | otherwise |",
        "|---|---|---|---|---|",
    ]
    for row in VENDORS.values():
        urls = " ".join(f"`{url}`" for url in row.urls.values()) or row.note
        tags = ", ".join(f"`{tag}`" for tag, claim in row.tags.items() if claim is Claim.FRONT_END) or "–"
        lines.append(f"| {row.name} ({row.title}) | `{row.format}` | {urls} | {tags} | {row.otherwise.value} |")
    lines += [
        "",
        "## What comes with the package",
        "",
        "Lists in the public domain (CC0-1.0), so that something is known on the first day and without a network.",
        "What was fetched of a vendor takes their place.",
        "",
        "**They do not tell front ends from tenants** where a cloud publishes both in one file. Until the vendors' own",
        "files were fetched, CloudFront, Global Accelerator, S3, API Gateway, Azure Front Door and Azure Storage",
        "count as let to tenants: a list may refuse single hosts of them for a day, though never a prefix, and so may",
        "`block`. `clearway cdn add --all` mends that for all but Azure, whose file has another address each week:",
        "`clearway cdn add azure FILE`. `cdn list` and `cdn check` say so while it is the case. Google's balancers for",
        "customers stand in its list of what is let, and count as such for good: no file tells them apart.",
        "",
        "| list | class | ranges | published | by |",
        "|---|---|---|---|---|",
    ]
    for each in bundled_ranges_of_package():
        ranges = len(each.v4) + len(each.v6)
        by = ", ".join(each.repositories)
        lines.append(f"| {each.name} | {each.claim.value} | {ranges} | {each.published:%Y-%m-%d} | {by} |")
    return "\n".join(lines) + "\n"


def code_of(looks_like: str) -> str:
    """As it stands, but no mark-up is seen in it."""
    return "".join(f"\\{each}" if each in "*<>[]_" else each for each in looks_like)


def figures_page() -> str:
    """What the last published run of `clearway bench wire --json` printed, kept in figures.json."""
    document: dict[str, Any] = json.loads((HERE / "figures.json").read_text())
    return markdown(document)


def figures_names_page() -> str:
    """The same of `clearway bench names --json`, kept in figures-names.json."""
    document: dict[str, Any] = json.loads((HERE / "figures-names.json").read_text())
    return markdown(document, "figures-names", "Figures of names")


def figures_lists_page() -> str:
    """The same of `clearway bench lists --json`, kept in figures-lists.json."""
    document: dict[str, Any] = json.loads((HERE / "figures-lists.json").read_text())
    return markdown(document, "figures-lists", "Figures of lists")


PAGES = {
    "errors.md": errors_page,
    "settings.md": settings_page,
    "commands.md": commands_page,
    "formats.md": formats_page,
    "guard.md": guard_page,
    "shared-ranges.md": shared_page,
    "figures.md": figures_page,
    "figures-names.md": figures_names_page,
    "figures-lists.md": figures_lists_page,
}


def main() -> None:
    for name in sys.argv[1:] or [name for name in PAGES if (HERE / name).exists()]:
        (HERE / name).write_text(PAGES[name]())


if __name__ == "__main__":
    main()
