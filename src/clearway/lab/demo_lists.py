"""The demo's part about lists: five of them, each in a format of its own, fetched from a server in the lab.

One holds an address of a CDN, which the guard holds back. Then that list is poisoned at its source: the update is
quarantined, and the version before it stands.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from clearway.feeds.guard_rules import GuardRule
from clearway.lab import generated_list
from clearway.lab.asked import Asked
from clearway.lab.demo_names import DNS_TELLS, ENDED, PAGE_TELLS
from clearway.lab.gateway import GatewayProcess
from clearway.lab.list_taken import ListTaken
from clearway.lab.topology import PUBLISHER, Lab

LISTABLE = ("203.0.113.0/24", "2001:db8:cb::/48")
"""The malicious hosts' part of the documentation space, which no list may hold anywhere else."""
CDN_ADDRESS = "104.16.132.229"
"""Cloudflare's, by the ranges that come with the package."""
CDN_RULE, WIDE_RULE = GuardRule.CDN.id, GuardRule.WIDTH.id
POISON = ("0.0.0.0/1", "128.0.0.0/1")
ADDRESSES = 500
NAMES = 300
POISONED = "c2"


@dataclass(frozen=True)
class Published:
    """One list as it is served."""

    name: str
    format: str
    reason: str
    text: str

    @property
    def file(self) -> str:
        return f"{self.name}.txt"


def lists() -> list[Published]:
    """All of them; the same bytes at each run."""
    networks = [f"{a}.{b}.{c}.0/24" for a, b, c in generated_list.octets(ADDRESSES)]
    rows = [f'{{"cidr":"{prefix}","sblid":"SBL{number}"}}' for number, prefix in enumerate(networks)]
    rows.append(f'{{"type":"metadata","records":{len(rows)}}}')
    hosts = [f"{a}.{b}.{c}.{7 * c % 250 + 1}" for a, b, c in generated_list.octets(ADDRESSES, seed=7)]
    hosts.insert(ADDRESSES // 2, CDN_ADDRESS)
    names = [f"n{number * 7919 % 100_003}.example" for number in range(NAMES)]
    zone = ["$TTL 300", "@ SOA localhost. root.localhost. 1 3600 600 86400 300", " NS localhost."]
    return [
        Published("drop", "spamhaus-json", "botnet-c2", _lines(rows)),
        Published(POISONED, "ip-plain", "botnet-c2", _lines(["# command and control servers", *hosts])),
        Published("phish", "hosts", "phishing", _lines(f"0.0.0.0 {name}" for name in [*names, "gift-card.example"])),
        Published(
            "codecs", "adblock", "malware", _lines(["! fake codecs", "||codec.example^", "@@||doc.codec.example^"])
        ),
        Published("logins", "rpz", "phishing", _lines([*zone, "login.example CNAME .", "*.login.example CNAME ."])),
    ]


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def questions() -> list[Asked]:
    """What somebody sees who asks for names of these lists."""
    return [
        Asked("home1", "dig gift-card.example", "inspected", True, (*DNS_TELLS, "phishing")),
        Asked("home1", "curl http://new.codec.example/", "inspected", True, (*PAGE_TELLS, "malware")),
        Asked("home1", "dig doc.codec.example", "inspected", note="the list's own exception"),
        Asked("home1", "curl https://www.login.example/", "inspected", True, (ENDED,), note="phishing, list logins"),
    ]


def make_listable(gateway: GatewayProcess) -> None:
    """The lab's hosts have addresses that lists are never believed about; here they stand for real ones."""
    for prefix in LISTABLE:
        gateway.command("feed", "protected", "remove", prefix, "--note", "malicious hosts of the lab")


def publish(lab: Lab) -> list[Published]:
    folder = lab.published()
    folder.mkdir(exist_ok=True)
    made = lists()
    for each in made:
        (folder / each.file).write_text(each.text)
    return made


def add(gateway: GatewayProcess, published: Published) -> ListTaken:
    """Fetched by the gateway, over its management port; the format is found from its look."""
    url = f"http://{PUBLISHER.v4}/{published.file}"
    taken = ListTaken(published.name, published.format)
    answer = gateway.command("feed", "add", published.name, url, "--reason", published.reason, "--every", "1h")
    taken.format_found, taken.done = answer["format"], True
    counts = answer["counts"]
    taken.entries = counts["v4"] + counts["v6"] + counts["names"]
    taken.held_back = [f"{each['value']}: {each['rule']}, {each['hit']}" for each in answer["held_back"]]
    expected = [CDN_ADDRESS] if published.name == POISONED else []
    held_back = [each["value"] for each in answer["held_back"] if each["rule"] == CDN_RULE]
    taken.as_expected = taken.format_found == published.format and held_back == expected and bool(taken.entries)
    return taken


def poison(lab: Lab, gateway: GatewayProcess) -> ListTaken:
    """Its publisher is taken over, and gives out half of the internet twice; the gateway fetches that."""
    path = lab.published() / f"{POISONED}.txt"
    before = _entries_of(gateway)
    path.write_text(path.read_text() + _lines(POISON))
    (row,) = gateway.command("feed", "update", POISONED)["lists"]
    taken = ListTaken(POISONED, "ip-plain", poisoned=f"now with {' and '.join(POISON)}")
    (waiting,) = gateway.command("feed", "quarantine", "list")["quarantine"]
    taken.done, taken.entries = True, _entries_of(gateway)
    taken.quarantined_by = waiting["rule"]
    taken.as_expected = "error" in row and waiting["rule"] == WIDE_RULE and taken.entries == before > 0
    return taken


def _entries_of(gateway: GatewayProcess) -> int:
    rows = gateway.command("feed", "list")["lists"]
    return next(int(row["entries"]) for row in rows if row["feed"] == POISONED)
