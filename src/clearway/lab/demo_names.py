"""The demo's part about names: one server, one address, many names, and what a user sees who asks for a refused one.

DNS, HTTP and TLS; refused by a list of a million names and by hand; a clean name beside it and a registered business
that no name rule touches. Each question is judged by the kernel's counters and by the user's own words.
"""

from collections.abc import Callable
from pathlib import Path

from clearway.lab import asking, generated_list
from clearway.lab.asked import REFUSED_NAME, Asked
from clearway.lab.asking import Told
from clearway.lab.gateway import GatewayProcess
from clearway.lab.topology import NAMES_HOST, Lab

Watched = Callable[[Callable[[], Told], str], tuple[Told, str, str]]
"""Does something and tells beside its result which lane and drop reason the counters moved for."""

ENTRIES = 1_000_000
LIST_NAME = "names"
LIST_REASON = "phishing"
CLEAN, LISTED = "news.example", "free-prize.example"
BLOCKED, BELOW_BLOCKED = "player.example", "cdn.player.example"
BLOCK_REASON = "malware"
APPEAL_URL = "https://isp.example/appeal"
CONTACT = "noc@isp.example"
NAME_SERVER = "web2"
PATIENCE_S = 15.0

OPTIONS = ("--appeal-url", APPEAL_URL, "--contact", CONTACT, "--on-failure", "closed")
"""Of `run`. Closed: while a busy machine keeps the inspector from its core, a hello is sent again, never passed on."""

ENDED = "reset by peer"
DNS_TELLS = ("NXDOMAIN", "EDE 15:")
PAGE_TELLS = ("403", "rule: ", "reason: ", "source: ", "in force until (UTC): ", f"appeal: {APPEAL_URL}")


def write_list(folder: Path) -> tuple[Path, int]:
    """The list of names, and how many it has."""
    path = folder / "names.txt"
    return path, generated_list.write_names(path, ENTRIES, [LISTED])


def listed_questions() -> list[Asked]:
    """In the order of asking, once the list is enforced. BLOCKED isn't blocked yet."""
    listed = f"list {LIST_NAME}"
    return [
        Asked("home1", f"dig {CLEAN}", "inspected"),
        Asked("home1", f"curl http://{CLEAN}/", "inspected"),
        Asked("home1", f"curl https://{CLEAN}/", "inspected", note="the kernel read its name: no list has it"),
        Asked("home1", f"dig {LISTED}", "inspected", True, (*DNS_TELLS, LIST_REASON)),
        Asked("home1", f"curl http://{LISTED}/", "inspected", True, (*PAGE_TELLS, LIST_REASON, LISTED)),
        Asked("home1", f"curl https://{LISTED}/", "inspected", True, (ENDED,), note=f"{LIST_REASON}, {listed}"),
        Asked("business", f"curl https://{LISTED}/", "green", note="granted: its packets' names are not read"),
        Asked("home2", f"curl https://{BELOW_BLOCKED}/", "inspected", note="nobody has blocked it yet"),
    ]


def blocked_questions() -> list[Asked]:
    """The same again, and one more way, once a person has blocked what is above it."""
    by_hand = f"{BLOCK_REASON}, {BLOCKED} by hand"
    return [
        Asked("home2", f"curl https://{BELOW_BLOCKED}/", "inspected", True, (ENDED,), note=by_hand),
        Asked("home2", f"curl -6 http://{BELOW_BLOCKED}/", "inspected", True, (*PAGE_TELLS, BLOCK_REASON)),
    ]


def ask(lab: Lab, question: Asked, watched: Watched) -> None:
    """Asks it and fills in what was seen."""
    told, question.seen_lane, question.seen_refused = watched(
        lambda: _ask(lab, question), REFUSED_NAME if question.refused else ""
    )
    question.reached, question.ms, question.told = told.reached, told.ms, told.words
    question.done = True


def _ask(lab: Lab, question: Asked) -> Told:
    namespace, server = lab.namespace(question.source), lab.host(NAMES_HOST)
    program, *options, target = question.asks.split()
    if program == "dig":
        return asking.resolve(namespace, lab.host(NAME_SERVER).v4, target, PATIENCE_S)
    scheme, _, rest = target.partition("://")
    address = server.v6 if "-6" in options else server.v4
    return asking.fetch(namespace, scheme, rest.rstrip("/"), address, PATIENCE_S)


def block(gateway: GatewayProcess) -> None:
    """By hand, with everything below it."""
    body = {"target": BLOCKED, "reason": BLOCK_REASON, "until": "1h", "note": "seen in the demo"}
    gateway.ask("POST", "/v1/block", body)
