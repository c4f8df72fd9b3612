"""How `status` and its numbers look, from a fixed answer."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from clearway.cli import show
from clearway.cli.status_page import page
from clearway.store.change import stamp

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def at(**ago: float) -> str:
    return stamp(NOW - timedelta(**ago))


UP = {"present": True, "up": True, "carrier": True}


def status(**more: Any) -> dict[str, Any]:
    """A gateway that is well."""
    row = {"lane": "inspected", "direction": "outbound"}
    return {
        "gateway": {"name": "main", "pid": 7, "since": at(hours=3), "inside": "in0", "outside": "out0", "hook": "tcx"},
        "health": {"ok": True, "problems": []},
        "links": {"tcx-inside": "up", "tcx-outside": "up"},
        "ports": {"inside": UP, "outside": UP},
        "link_follow": {"on": True, "taken_down": None},
        "bypass": {"on": False, "until": None},
        "wanted": 1_000_003,
        "enforced": 1_000_003,
        "canary": {"ok": True, "at": at(seconds=2)},
        "snapshot": {"epoch": 4, "created": at(minutes=12)},
        "counters": [
            {**row, "reason": "forwarded", "packets": 1_234_567, "bytes": 987_654_321},
            {**row, "reason": "listed-source", "packets": 12, "bytes": 720},
            {**row, "reason": "malformed-tcp", "packets": 30, "bytes": 1800},
            {"lane": "cdn", "direction": "inbound", "reason": "forwarded", "packets": 1, "bytes": 60},
        ],
        "facts": {"not-ip": {"packets": 5, "bytes": 1}, "probe": {"packets": 9, "bytes": 1}},
        "lists": [],
        "top": [{"entry": "192.0.2.7", "list": "drop", "reason": "malware", "hits": 12}],
        "blocks": 1,
        "exceptions": 0,
        "grants": 2,
        **more,
    }


def shown(capsys: pytest.CaptureFixture[str], document: dict[str, Any], *before: Any) -> str:
    show.put(*page(document, NOW, *before))
    return capsys.readouterr().out


NAMES = {
    "active": True,
    "listed": 5_000_000,
    "single": 2,
    "on_failure": "open",
    "answers": "on",
    "failure": None,
    "inspector": {"alive": True, "restarts": 0},
    "flows": {
        "dns": {"seen": 400, "public_ech": 0, "none": 3},
        "http": {"seen": 10, "public_ech": 0, "none": 0},
        "tls": {"seen": 80, "public_ech": 10, "none": 0},
        "quic": {"seen": 0, "public_ech": 0, "none": 0},
        "other": {"seen": 0, "public_ech": 0, "none": 100},
    },
    "refused": {"dns": 7, "http": 1, "tls": 0, "quic": 0},
}


def test_names_are_told_with_what_can_not_be_seen(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, status(names=NAMES))
    assert "names     5 000 000 in lists · 2 by people · inspector well · on failure open\n" in text
    assert "seen      name seen in 45.0 % of 200 flows, hidden behind a provider's in 5.0 %, none in 50.0 %\n" in text
    rows = [line.split() for line in text.split("names read from")[1].splitlines()[1:5]]
    assert rows == [
        ["DNS", "queries", "400", "0", "3", "7"],
        ["HTTP", "10", "0", "0", "1"],
        ["TLS", "80", "10", "0", "0"],
        ["other", "flows", "0", "0", "100", "0"],
    ]


def test_an_inspector_that_is_away_and_names_not_enforced_stand_out(capsys: pytest.CaptureFixture[str]) -> None:
    away = {**NAMES, "inspector": {"alive": False, "restarts": 3}, "failure": "no TAP", "answers": "silent"}
    text = shown(capsys, status(names=away))
    assert "not enforced: no TAP · inspector away, begun anew 3 times" in text
    assert "nobody is told why" in text


def test_a_gateway_without_names_says_nothing_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    nothing = {protocol: {"seen": 0, "public_ech": 0, "none": 0} for protocol in ("dns", "tls")}
    quiet = {**NAMES, "listed": 0, "single": 0, "flows": nothing, "inspector": None}
    assert shown(capsys, status(names=quiet)) == shown(capsys, status())


def test_a_gateway_that_is_well_fits_one_calm_page(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, status()) == (
        "main · in0 inside, out0 outside · TCX · up 3 h · pid 7\n"
        "healthy\n"
        "enforced  1 000 003 of 1 000 003 wanted · canary crossed 2 s ago\n"
        "policy    1 block, 0 exceptions, 2 grants\n"
        "lists     epoch 4, compiled 12 min ago\n"
        "ports     inside up · outside up · link-follow on, while the daemon runs\n"
        "noticed   not-ip 5\n"
        "bypass    off\n"
        "\n"
        "lane       direction  forwarded   bytes  dropped\n"
        "green      outbound           0     0 B        0\n"
        "green      inbound            0     0 B        0\n"
        "inspected  outbound   1 234 567  988 MB       42\n"
        "inspected  inbound            0     0 B        0\n"
        "cdn        inbound            1    60 B        0\n"
        "\n"
        "dropped because  packets   bytes\n"
        "malformed-tcp         30  1.8 kB\n"
        "listed-source         12   720 B\n"
        "\n"
        "hit most   by    reason   packets\n"
        "192.0.2.7  drop  malware       12\n"
    )


def test_what_is_wrong_stands_on_top_and_in_its_row(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(
        capsys,
        status(
            health={"ok": False, "problems": ["17 of 20 [x] are missing"]},
            enforced=3,
            links={"tcx-inside": "gone", "tcx-outside": "up"},
            ports={"inside": {**UP, "carrier": False}, "outside": {**UP, "up": False, "carrier": False}},
            link_follow={"on": True, "taken_down": "outside"},
            bypass={"on": True, "until": at(minutes=-9)},
            held_back=["10.0.0.0/8"],
            clock_ahead_s=90,
            mended={"base": 0, "overlay": 1},
        ),
    )
    assert "healthy" not in text
    for line in (
        "• 17 of 20 [x] are missing",
        "3 of 1 000 003 wanted",
        "held back  10.0.0.0/8\n",
        "inside no link · outside taken down with the other · link-follow on, while the daemon runs",
        "not attached: tcx-inside",
        "on: a plain wire, ends in 9 min",
        "90 s behind what was seen",
        "overlay 1 time",
    ):
        assert line in text


@pytest.mark.parametrize(
    "inside, told",
    [
        ({"carrier": False}, "inside no link · outside up · link-follow off"),
        ({"up": False, "carrier": False}, "inside down · outside up · link-follow off"),
        ({"present": False, "up": False, "carrier": False}, "inside gone · outside up · link-follow off"),
    ],
)
def test_a_port_is_up_only_with_a_signal_on_its_wire(
    capsys: pytest.CaptureFixture[str], inside: dict[str, bool], told: str
) -> None:
    following = {"on": False, "taken_down": None}
    text = shown(capsys, status(ports={"inside": {**UP, **inside}, "outside": UP}, link_follow=following))
    assert told in text


def test_observing_says_so_and_shows_what_would_have_been_dropped(capsys: pytest.CaptureFixture[str]) -> None:
    document = status(observed=[{"reason": "listed-source", "packets": 77, "bytes": 4620}])
    document["gateway"]["observe"] = True
    text = shown(capsys, document)
    assert "observing: nothing is dropped" in text
    assert "listed-source         77" in text


def test_lists_show_their_age_their_end_and_why_they_failed(capsys: pytest.CaptureFixture[str]) -> None:
    row = {"feed": "drop", "reason": "malware", "entries": 1406, "hits": 3}
    trouble = {"failures": 2, "error": {"message": "the server answered 503"}}
    lists = [
        {**row, "fetched_at": at(hours=5), "until": at(hours=-43), "trouble": trouble},
        {**row, "feed": "old", "fetched_at": at(days=31), "until": at(days=1), "trouble": None},
    ]
    text = shown(capsys, status(lists=lists))
    assert "drop  malware    1 406  5 h ago      in 2 days        3  failed 2 times: the server answered 503" in text
    assert "old   malware    1 406  31 days ago  expired          3" in text


def test_watching_shows_rates_since_the_look_before(capsys: pytest.CaptureFixture[str]) -> None:
    before = status()
    after = status()
    after["counters"][0] = {**before["counters"][0], "packets": 1_235_567, "bytes": 988_904_321}
    text = shown(capsys, after, (2.0, before))
    assert "inspected  outbound   1 235 567  989 MB       42        500     5.0" in text


def test_an_older_daemon_that_says_less_is_shown_as_far_as_it_goes(capsys: pytest.CaptureFixture[str]) -> None:
    assert "– of – wanted" in shown(capsys, {"gateway": {"name": "main"}})


@pytest.mark.parametrize(
    "seconds, text",
    [(0, "0 s"), (89, "89 s"), (91, "2 min"), (3600, "60 min"), (7200, "2 h"), (86_400, "24 h"), (172_800, "2 days")],
)
def test_spans_are_rounded_for_people(seconds: int, text: str) -> None:
    assert show.span(timedelta(seconds=seconds)) == text


@pytest.mark.parametrize(
    "number, text", [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (999_949, "1.0 MB"), (165_000_000, "165 MB")]
)
def test_sizes_have_two_or_three_digits(number: int, text: str) -> None:
    assert show.size(number) == text


@pytest.mark.parametrize("seconds, text", [(None, "–"), (86_400, "1d"), (7200, "2h"), (5400, "90m"), (61, "61s")])
def test_intervals_are_in_the_largest_unit_that_divides_them(seconds: int | None, text: str) -> None:
    assert show.every(seconds) == text
