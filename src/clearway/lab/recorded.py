"""The demo where no lab can be built: a capture that was recorded on such a wire, judged by the reference matcher.

The capture is the project's own (tests/names/make_recording.py) and comes with the package. No rights, no kernel, no
state; the policy is the small one below.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from clearway._engine import Inspection, NameScope
from clearway.errors import ClearwayError
from clearway.gateway.kernel_probe import Level, judge, probe
from clearway.lab.topology import require_rights
from clearway.policy.evaluate import GrantRule, ListRules, NameRule, Policy
from clearway.policy.model import Entry, Name, Prefix, Reason
from clearway.policy.name_table import NameEntries, NameEntry
from clearway.policy.prefix_table import PrefixSet
from clearway.policy.replay import Judged, Replay

CAPTURE = Path(__file__).with_name("recorded.pcap")
NAMES = CLEAN, LISTED, BLOCKED = ("news.example", "free-prize.example", "cdn.player.example")
BLOCKED_ABOVE = "player.example"
INSIDE, BUSINESS = ("192.0.2.0/28", "192.0.2.64/28"), "192.0.2.65"
BUSINESS_PREFIX = INSIDE[1]
ORGANISATION = "Example Software"
LIST_NAME = "names"
FOR = timedelta(hours=1)

SPOKEN = {("udp", 53): "DNS", ("tcp", 80): "HTTP", ("tcp", 443): "TLS", ("udp", 443): "QUIC"}
"""What the flows of the capture speak, by transport and port."""

WORDS = (
    f"feed add {LIST_NAME} names.txt --format domains --reason phishing",
    f"block {BLOCKED_ABOVE} --reason malware --until 1h",
    f'grant {BUSINESS_PREFIX} --organisation "{ORGANISATION}" --until 1h',
)
"""The commands that say the same as `policy`; LISTED stands in the file."""


def why_no_lab() -> str:
    """What keeps a lab with a gateway from being built here, in one sentence; "" where nothing does."""
    try:
        require_rights()
    except ClearwayError as refused:
        return f"{refused.message} ({refused.id})"
    answer = probe()
    cannot = next((f"{check.name}: {check.found}" for check in judge(answer) if check.level is Level.CANNOT), "")
    if cannot or answer.tcx is not None:
        return cannot
    return "the kernel takes no programs from this root, as in a container"


def policy(now: datetime) -> Policy:
    """One listed name, one blocked by hand with everything below it, one registered business."""
    until = now + FOR
    until_ns = int(until.timestamp() * 1e9)
    by_hand = Entry(Name.parse(BLOCKED_ABOVE), Reason.MALWARE, "the demo", now, until, "", "decision 2", False)
    listed = NameEntries([(LISTED, NameScope.EXACT)])
    return Policy(
        lists=[ListRules(LIST_NAME, Reason.PHISHING, PrefixSet(()), source="names.txt", names=listed)],
        overlay_names=[NameRule(NameEntry(BLOCKED_ABOVE, NameScope.SUBTREE), until_ns, entry=by_hand)],
        grants=[GrantRule(Prefix.parse(BUSINESS_PREFIX), until_ns, ORGANISATION, now, until)],
    )


def replayed(now: datetime) -> tuple[list[Judged], Replay]:
    """Every flow of the capture as it would have been judged, and the sums."""
    judging = Replay(policy(now), [Prefix.parse(prefix) for prefix in INSIDE], int(now.timestamp() * 1e9))
    return sorted(_judged(judging), key=lambda each: each.flow.frame), judging


def _judged(judging: Replay) -> Iterator[Judged]:
    inspection = Inspection(CAPTURE, True)
    while (found := inspection.findings()) is not None:
        judging.read(found)
        for flow in inspection.sums():
            yield judging.end(flow)
