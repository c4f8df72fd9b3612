"""Each rule, by an accident that it would have prevented. Lists are made up; what was wrong with them is not."""

from __future__ import annotations

import gzip
import json
from datetime import timedelta

import pytest
from judging import HOSTS, NAMES, entries, judged, known, numbers, own, said, text

from clearway.errors import ClearwayError
from clearway.feeds import guard, guard_rules
from clearway.feeds.feed_settings import FeedSettings
from clearway.policy.model import Prefix

ACCEPT, REJECTS, QUARANTINE = "accept", "accept-with-rejects", "quarantine-feed"


@pytest.mark.parametrize(
    "data",
    [
        b"<!doctype html>\n<title>Moved</title>\n",
        text(*HOSTS[:50]) + b"<html>\n",
        b'{"error": "Auth-Key wanted"}',
        b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>',
        text(*NAMES[:50], "<div>Too many requests</div>"),
    ],
)
def test_a_page_in_place_of_a_list(data: bytes) -> None:
    """pierky/blocklistsaggregator#1, firehol/firehol#490, pi-hole/pi-hole#4345: HTML was taken for thirteen names."""
    assert said(judged(data)) == (QUARANTINE, "G1", 0)


def test_a_server_that_says_no() -> None:
    """Graylog2/graylog2-server#19901: the address of a list answered with something else from one day to the next."""
    refused = ClearwayError.of("feeds.E011", origin="a server", status="404 Not Found")
    assert said(guard.failed(refused, format=None)) == (QUARANTINE, "G1", 0)
    as_page = judged(text(*HOSTS[:30]), content_type="text/html; charset=utf-8", status=200)
    assert said(as_page) == (QUARANTINE, "G1", 0)


def test_where_no_answer_came_there_is_no_list() -> None:
    """firehol/blocklist-ipsets#90: a list moved, and nothing answered where it had been."""
    down = ClearwayError.of("feeds.E010", origin="a server", detail="timed out")
    found = guard.failed(down, format=None)
    assert (said(found), found.findings[0].error) == ((QUARANTINE, "G1", 0), "feeds.E010")


@pytest.mark.parametrize("id", ["feeds.E012", "feeds.E013", "feeds.E035", "feeds.E036", "feeds.E042"])
def test_what_is_wrong_with_the_request_says_nothing_of_a_list(id: str) -> None:
    fields = dict.fromkeys(("value", "path", "origin", "detail"), "x")
    wrong = ClearwayError.of(id, **fields)
    with pytest.raises(ClearwayError) as error:
        guard.failed(wrong, format=None)
    assert error.value is wrong


def test_what_a_server_said_counts_even_where_the_list_cannot_be_read() -> None:
    """The lowest rule decides: a page in Latin-1 is a page, and so is one that only its server calls one."""
    latin = judged(b"<!DOCTYPE html>\n<title>Acc\xe8s refus\xe9</title>\n")
    assert (latin.rule, latin.rules) == ("G1", ("G1", "G2"))
    words = judged(b"Please log in\n", content_type="text/html", status=200)
    assert (words.rule, words.rules) == ("G1", ("G1", "G3"))
    short = judged(gzip.compress(text(*NAMES))[:-9], content_length=10_000_000)
    assert (short.rule, short.rules) == ("G2", ("G2", "G5"))


@pytest.mark.parametrize(
    "tag",
    [
        "<cf-challenge>x",
        "<svg:g id=1>",
        '<?xml version="1.0"?>',
        "<?php echo 1;",
        "  </body>",
        "<br/>",
        "<!-- note -->",
    ],
)
def test_a_line_that_starts_a_tag_ends_a_list_wherever_it_stands(tag: str) -> None:
    for data in (
        text(*HOSTS[:1000], tag),
        b"\r".join(line.encode() for line in (*HOSTS[:50], tag, "")),
        b"\xef\xbb\xbf" + text(tag, *HOSTS[:50]),
    ):
        assert said(judged(data)) == (QUARANTINE, "G1", 0)
    assert said(judged(text(*HOSTS[:1000]) + b"<br")) == (QUARANTINE, "G1", 0)


@pytest.mark.parametrize("line", ["# <!-- by a script -->", "# see <b>here</b>", "; a < b"])
def test_what_looks_like_a_tag_inside_a_comment_is_none(line: str) -> None:
    assert said(judged(text(line, *HOSTS[:50]))) == (ACCEPT, None, 50)


def test_an_angle_bracket_alone_is_no_tag() -> None:
    assert said(judged(text("<bad.example>", *NAMES[:50]))) == (REJECTS, "G9.character", 50)


@pytest.mark.parametrize(
    "data",
    [
        b"bad.example-a.top\n\0\0\0\n",
        "bad.example-a.top\n".encode("utf-16"),
        b"caf\xe9.top\n",
        gzip.compress(b"a.top\n" * (8 << 20)),
        gzip.compress(text(*NAMES))[:-9],
        gzip.compress(gzip.compress(text(*NAMES))),
        b"[" * 1000 + b"]" * 1000,
    ],
    ids=["nul", "utf-16", "latin-1", "bomb", "cut", "twice", "deep"],
)
def test_bytes_that_are_no_text_of_a_list(data: bytes) -> None:
    """AdguardTeam/AdGuardHome#5258: "damaged lists cause more serious problems than expired ones"."""
    assert said(judged(data)) == (QUARANTINE, "G2", 0)


def test_a_list_larger_than_this_feed_may_be() -> None:
    """DNSCrypt/dnscrypt-proxy#106: a list of 90 MB ended a small router."""
    data = text(*NAMES)
    assert said(judged(data, settings=numbers(size_mib=0.01))) == (QUARANTINE, "G2", 0)
    assert said(judged(data, settings=numbers(size_mib=1))) == (ACCEPT, None, 2000)


def test_a_list_that_ended_and_left_its_comments() -> None:
    """firehol/blocklist-ipsets#329, #90: EDROP has been comments since it was merged, Feodo empty since its move."""
    for data in (text("; This list has been merged into DROP", "; 2024-04-10"), b"", b"\n\n"):
        assert said(judged(data)) == (QUARANTINE, "G3", 0)


@pytest.mark.parametrize("format", ["stix21", "misp-event", "misp-warninglist", "google-json", "spamhaus-json", None])
@pytest.mark.parametrize("data", [b"", b"\n \n", b"Not found\n", b'{"type": "bundle", "objects": ['])
def test_where_json_should_be_there_is_nothing_or_half_of_it(format: str | None, data: bytes) -> None:
    """Not its bytes are wrong: nothing in it can be enforced."""
    assert said(judged(data, format)) == (QUARANTINE, "G3", 0)


def test_a_table_of_reasons_that_meets_no_category_says_so() -> None:
    reasons = FeedSettings(reasons={"c2": "botnet-c2"})
    table = text("ip,kind", f"{HOSTS[0]},scan", f"{HOSTS[1]},scan")
    for format, way_out in (("csv", True), ("csv:ip:kind", False)):
        found = judged(table, format, settings=reasons)
        assert (said(found), found.rejected) == ((QUARANTINE, "G3", 0), {"G9.category": 2})
        assert "2 are of no category that has a reason" in found.findings[0].seen
        assert ("--format csv:COLUMN:CATEGORY" in found.findings[0].seen) == way_out


def test_most_lines_are_none_of_the_format() -> None:
    """firehol/blocklist-ipsets#296: words of a page became names of sets."""
    good, bad = HOSTS[:9], [f"it's moved, row {number}" for number in range(11)]
    assert said(judged(text(*good, *bad), "ip-plain")) == (QUARANTINE, "G3", 0)
    assert said(judged(text(*good, *bad[:10]), "ip-plain")) == (REJECTS, "G9.address", 9)
    assert said(judged(text(*HOSTS[:11], *bad), "ip-plain")) == (REJECTS, "G9.address", 11)


def test_paths_condemn_no_list_that_has_an_entry() -> None:
    """Of the lines of a trail of Mirai 97 in 100 are paths of URLs: it is a good list all the same."""
    paths = [f"/bins/{number}.sh" for number in range(900)]
    assert said(judged(text(*paths, NAMES[0]), "maltrail")) == (REJECTS, "G9.path-only", 1)
    assert said(judged(text(*paths), "maltrail")) == (QUARANTINE, "G3", 0)


def test_a_list_that_fell_to_nearly_nothing() -> None:
    """AdguardTeam/AdGuardHome#5835: a list dropped to nothing, and so did what it protected."""
    last = entries(*NAMES[:1000])
    assert said(judged(text(*NAMES[:499]), last_good=last)) == (QUARANTINE, "G4", 0)
    assert said(judged(text(*NAMES[:500]), last_good=last)) == (ACCEPT, None, 500)
    volatile = numbers(shrink=0.3)
    assert said(judged(text(*NAMES[:300]), last_good=last, settings=volatile)) == (ACCEPT, None, 300)
    assert said(judged(text(*NAMES[:5]), last_good=entries(*NAMES[:19]))) == (ACCEPT, None, 5)


def test_what_is_held_back_neither_shrinks_nor_grows_a_list_and_special_use_counts_nowhere() -> None:
    """firehol/blocklist-ipsets#312: bogons in place of what the list was."""
    last = entries(*HOSTS[:100], format="ip-plain")
    edge = [f"104.16.0.{number}" for number in range(19)]
    assert said(judged(text(*HOSTS[:31], *edge), last_good=last)) == (REJECTS, "G10.cdn", 31)
    bogons = [f"10.0.{number // 250}.{number % 250}" for number in range(5000)]
    assert said(judged(text(*HOSTS[:49], *bogons), last_good=last)) == (QUARANTINE, "G4", 0)
    assert said(judged(text(*HOSTS[:50], *bogons), last_good=last)) == (REJECTS, "G10.special-use", 50)


def test_a_list_that_grew_beyond_belief() -> None:
    """MISP/misp-warninglists: range lists jumped and fell by honest merges; more than threefold wants a person."""
    last = entries(*NAMES[:400])
    assert said(judged(text(*NAMES[:1201]), last_good=last)) == (QUARANTINE, "G4", 0)
    assert said(judged(text(*NAMES[:1200]), last_good=last)) == (ACCEPT, None, 1200)
    small = entries(*NAMES[:100])
    assert said(judged(text(*NAMES[:600]), last_good=small)) == (ACCEPT, None, 600)  # 500 new ones
    assert said(judged(text(*NAMES[100:620]), last_good=small)) == (QUARANTINE, "G4", 0)  # 520, none of the old
    assert said(judged(text(*NAMES[:1900]), last_good=last, settings=numbers(growth=5))) == (ACCEPT, None, 1900)


def test_without_a_last_good_list_growth_is_not_judged() -> None:
    assert judged(text(*NAMES)).first_load
    assert not judged(text(*NAMES), last_good=entries(*NAMES)).first_load
    assert judged(text(*NAMES), last_good=entries()).first_load


def test_a_count_in_the_header_that_is_not_kept() -> None:
    """blocklistproject/Lists abuse.ip: "network filters: 455009" stands over 19,926 lines."""
    lied = text("# Entries: 455009", *HOSTS)
    assert said(judged(lied)) == (QUARANTINE, "G5", 0)
    assert said(judged(lied, settings=FeedSettings(declared_count="ignore"))) == (ACCEPT, None, 2000)
    assert said(judged(text("# Entries: 2,020", *HOSTS))) == (ACCEPT, None, 2000)  # 0.99 %
    assert said(judged(text("# Entries: 2021", *HOSTS))) == (QUARANTINE, "G5", 0)


def test_a_download_that_was_cut_off() -> None:
    """eworm-de/routeros-scripts#79: DROP is an object a line, and without its last one it is not whole."""
    rows = [json.dumps({"cidr": f"{host}/32", "sblid": "SBL1", "rir": "ripencc"}) for host in HOSTS[:200]]
    end = json.dumps({"type": "metadata", "timestamp": 1_787_000_000, "records": 200})
    whole = text(*rows, end)
    assert said(judged(whole)) == (ACCEPT, None, 200)
    assert said(judged(text(*rows))) == (QUARANTINE, "G5", 0)
    assert said(judged(text(*rows[:190], end))) == (QUARANTINE, "G5", 0)
    assert said(judged(whole, content_length=len(whole) + 1)) == (QUARANTINE, "G5", 0)
    nearly = text("# Entries: 2000", *HOSTS)[:-14]  # within a percent, but the last line has no end
    assert said(judged(nearly)) == (QUARANTINE, "G5", 0)


@pytest.mark.parametrize("wide", ["0.0.0.0/0", "224.0.0.0/3", "64.0.0.0/7", "::/0", "2000::/3", "2a00::/18"])
def test_all_of_the_internet_in_one_line(wide: str) -> None:
    """firehol/blocklist-ipsets#12, #213, #312: half of it was blocked for hours. 224.0.0.0/3 alone is special use."""
    verdict, rule, _ = said(judged(text(*HOSTS, wide)))
    assert (verdict, rule) == ((REJECTS, "G10.special-use") if wide == "224.0.0.0/3" else (QUARANTINE, "G6"))


def test_many_networks_that_are_too_much_together() -> None:
    """borestad/firehol-mirror#2: no DNS, no internet. One percent of the public addresses is the most a list holds."""
    networks = [f"{first}.{second}.0.0/16" for first in range(77, 80) for second in range(256)]
    assert said(judged(text(*networks[:700]))) == (QUARANTINE, "G6", 0)
    assert judged(text(*networks[:500])).verdict != QUARANTINE
    assert judged(text(*networks[:700]), settings=numbers(share_percent=2)).verdict != QUARANTINE
    others = (1 << 32) * 3 // 100 - (100 << 16)
    assert said(judged(text(*networks[:500]), other_share=others)) == (QUARANTINE, "G6", 0)


def test_a_prefix_within_another_counts_once() -> None:
    networks = ["77.0.0.0/16", *(f"77.0.{third}.0/24" for third in range(256))]
    assert said(judged(text(*networks), settings=numbers(share_percent=0.002))) == (ACCEPT, None, 257)


def test_a_list_of_another_kind() -> None:
    """DShield's mirror holds 62,605 public resolvers among 106,404 addresses: it informs, and is none to block by."""
    edge = [f"104.16.{number // 250}.{number % 250}" for number in range(106)]
    assert said(judged(text(*HOSTS, *edge))) == (QUARANTINE, "G7", 0)
    assert said(judged(text(*HOSTS, *edge[:105]))) == (REJECTS, "G10.cdn", 2000)
    assert said(judged(text(*HOSTS[:100], *edge[:19]))) == (REJECTS, "G10.cdn", 100)
    assert said(judged(text(*HOSTS[:100], *edge[:20]))) == (QUARANTINE, "G7", 0)


def test_a_router_that_answers_the_world_stays_blockable() -> None:
    """Open resolvers count for the share, and are no protected entry: one that was taken over must be blocked."""
    resolvers = ["1.11.71.4", "1.34.30.49", "1.52.158.209"]
    plain = judged(text(*HOSTS, *resolvers))
    assert plain.verdict == ACCEPT


def test_a_list_that_its_source_forgot() -> None:
    """nextdns/metadata#580, pi-hole/pi-hole#3950: a list went on being served for years after its end."""
    old = text("# Last modified: 2026-08-10 12:00:00 UTC", *HOSTS)
    assert said(judged(old)) == (QUARANTINE, "G8", 0)
    assert said(judged(old, max_age=timedelta(days=12))) == (ACCEPT, None, 2000)
    assert said(judged(old, max_age=timedelta(days=11))) == (QUARANTINE, "G8", 0)
    assert said(judged(old, settings=numbers(age_days=30))) == (ACCEPT, None, 2000)
    assert said(judged(text(*HOSTS), max_age=timedelta(seconds=1))) == (ACCEPT, None, 2000)  # it says no time


def test_slow_lists_may_be_a_month_old() -> None:
    assert guard_rules.checked({}, "spamhaus-json")["age_days"] == 30
    assert guard_rules.checked({}, "hosts")["age_days"] == 7
    assert guard_rules.checked({"age_days": 3}, "spamhaus-json")["age_days"] == 3


@pytest.mark.parametrize(
    ("line", "format", "rule"),
    [
        ("com", "domains", "G9.single-label"),  # ShadowWhisperer/BlockLists#151
        ("||com^", "adblock", "G9.below-single-label"),  # EnergizedProtection/block#1008
        ("://", "adblock", "G9.everything"),  # DandelionSprout/adfilt#1062
        ("*.com", "wildcard-domains", "G9.below-single-label"),  # cbuijs/accomplist#11
        ("address=/#/0.0.0.0", "dnsmasq", "G9.everything"),
        ("cdn.", "domains", "G9.single-label"),  # DRSDavidSoft/additional-hosts#12
        ("0056.0151.0121.0114", "ip-plain", "G9.address"),
        ("::ffff:77.1.2.3", "ip-plain", "G9.mapped"),
        ("https://dropbox.com/s/x", "domains", "G9.url-with-path"),  # malwareworld/MalwareWorld#1
    ],
)
def test_one_line_that_would_have_blocked_everything(line: str, format: str, rule: str) -> None:
    """A single line, as left by a test or a slip, and every customer is offline."""
    good = {"adblock": "||{}^", "wildcard-domains": "*.{}", "dnsmasq": "address=/{}/0.0.0.0"}.get(format, "{}")
    stock = HOSTS if format == "ip-plain" else NAMES
    found = judged(text(*(good.format(each) for each in stock), line), format)
    assert (said(found), found.rejected) == ((REJECTS, rule, 2000), {rule: 1})


@pytest.mark.parametrize(
    ("line", "rule", "alarms"),
    [
        ("104.16.24.5", "G10.cdn", False),  # firehol/blocklist-ipsets#300, #260
        ("151.101.0.0/16", "G10.cdn", False),  # #116
        ("8.8.8.8", "G10.resolver", True),
        ("1.1.1.1", "G10.resolver", True),  # #57, #137
        ("2620:fe::fe", "G10.resolver", True),
        ("9.9.9.0/24", "G10.resolver", True),  # covers one
        ("198.41.0.4", "G10.root-server", True),
        ("2001:7fd::1", "G10.root-server", True),
        ("10.0.0.0/8", "G10.special-use", False),  # #70, #370
        ("127.0.0.1", "G10.special-use", False),  # firehol/firehol#143
        ("100.64.0.0/10", "G10.special-use", False),  # a telephone network, cut off by a list of pwlgrzs
        ("fe80::/10", "G10.special-use", False),  # opnsense/core#6534
        ("193.0.0.0/16", "G10.own", True),  # covers the own prefix
        ("193.0.14.129", "G10.own", True),  # within it, and a root server: the first case counts
        ("update.microsoft.com", "G10.system", False),
        ("www.download.windowsupdate.com", "G10.system", False),
        ("ocsp.digicert.com", "G10.system", False),
        ("status.geotrust.com", "G10.system", False),
        ("abcdef.dns.nextdns.io", "G10.resolver", True),
        ("security.cloudflare-dns.com", "G10.resolver", True),
        ("captive.apple.com", "G10.system", False),
        ("0.pool.ntp.org", "G10.system", False),
        ("||microsoft.com^", "G10.system", False),  # covers updates
        ("||s3.amazonaws.com^", "G10.suffix", False),  # Phishing-Database/Phishing.Database#61, #141, #253
        ("s3.amazonaws.com", "G10.suffix", False),
        ("||amazonaws.com^", "G10.suffix", False),  # notracking/hosts-blocklists#319
        ("||co.uk^", "G10.suffix", False),
        ("||eu-west-1.compute.amazonaws.com^", "G10.suffix", False),
        ("cloudflare-ech.com", "G10.ech", False),
        ("||intranet.carrier.net^", "G10.own", True),
        ("host.intranet.carrier.net", "G10.own", True),
        ("||carrier.net^", "G10.own", True),
    ],
)
def test_an_entry_that_touches_what_is_protected(line: str, rule: str, alarms: bool) -> None:
    """Refused alone, told with its line and what it touches, and the list is taken without it."""
    found = judged(
        text(*(f"||{name}^" for name in NAMES), line), "adblock", protected=own("193.0.14.0/24", "intranet.carrier.net")
    )
    assert (said(found), found.rejected) == ((REJECTS, rule, 2000), {rule: 1})
    assert [alarm.rule for alarm in found.alarms] == ([rule] if alarms else [])
    (held,) = found.held_back
    assert (held.line, held.rule, bool(held.hit)) == (2001, rule, True)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_what_is_held_back_is_told_with_its_line_whatever_ends_one(end: str) -> None:
    found = judged(end.join([*HOSTS[:2], "8.8.8.8", HOSTS[2], ""]).encode())
    assert [(held.value, held.line) for held in found.held_back] == [("8.8.8.8", 3)]


@pytest.mark.parametrize(
    "line",
    [
        "||evil.github.io^",
        "bucket.s3.amazonaws.com",
        "ec2-3-1-2-3.eu-west-1.compute.amazonaws.com",
        "back-effort.at.ply.gg",
        "sub.google.com",
        "windowsupdate.com.evil.top",
        "notmicrosoft.com",
        "77.0.0.0/16",
    ],
)
def test_what_stands_below_a_hoster_or_looks_like_it_is_taken(line: str) -> None:
    """abusech/URLhaus#10, Phishing-Database/Phishing.Database#452: the site of one customer, not of all."""
    found = judged(text(*NAMES, line.strip("|^")), "domains")
    assert said(found) == (ACCEPT, None, 2001)
    wide = judged(text(*(f"||{name}^" for name in NAMES), line), "adblock")
    assert said(wide)[0] == ACCEPT


def test_sites_that_all_visit_are_protected_where_the_operator_names_them() -> None:
    """lightswitch05/hosts#145, Phishing-Database/Phishing.Database#452: google.com, duckduckgo.com, gitlab.com."""
    guarded = own().adding([], ["gitlab.com"])
    data = text(*NAMES, "gitlab.com", "evil.gitlab.com")
    assert said(judged(data)) == (ACCEPT, None, 2002)
    assert said(judged(data, protected=guarded)) == (REJECTS, "G10.top-site", 2001)


def test_a_wide_prefix_only_from_a_list_of_wide_prefixes() -> None:
    """Spamhaus DROP has three /12 and means them; in any other list they are a slip."""
    lines = [*HOSTS, "42.128.0.0/12"]
    assert said(judged(text(*lines), "ip-plain")) == (REJECTS, "G11.wide", 2000)
    assert said(judged(text(*lines), "spamhaus-drop")) == (ACCEPT, None, 2001)
    assert said(judged(text(*lines), "ip-plain", settings=FeedSettings(wide=True))) == (ACCEPT, None, 2001)
    assert said(judged(text(*lines), "spamhaus-drop", settings=FeedSettings(wide=False)))[1] == "G11.wide"


def test_where_machines_are_let_one_by_one_only_hosts_are_refused() -> None:
    """firehol/blocklist-ipsets#48, #71: a network of a cloud is many strangers, one machine in it is one of them."""
    inside = "3.5.140.0/24"
    assert known().shared.single_tenant.touches(Prefix.parse(inside))
    assert said(judged(text(*HOSTS, inside, "3.5.140.7"))) == (REJECTS, "G11.cloud", 2001)


def test_exceptions_act_inside_their_own_list() -> None:
    """AdguardTeam/AdGuardHome#4580, TechnitiumSoftware/DnsServer#428: one list's exceptions opened another's blocks."""
    found = judged(text(*(f"||{name}^" for name in NAMES), f"@@||{NAMES[0]}^", "@@||8.8.8.8^"), "adblock")
    assert (said(found), found.counts["spared"]) == ((ACCEPT, None, 1999), 1)


def test_a_refusal_says_the_rule_what_was_seen_the_limit_and_the_way_out() -> None:
    shrunk = judged(text(*NAMES[:100]), last_good=entries(*NAMES[:1000])).error("/lists/evil.txt")
    assert (shrunk.id, shrunk.exit_code) == ("feeds.E024", 1)
    assert shrunk.message == (
        "/lists/evil.txt is quarantined by rule G4: it is far smaller or larger than the last good one: "
        "100 entries after 1000, 0.10 times, and the limit is 0.5 times"
    )
    assert "clearway feed check /lists/evil.txt" in shrunk.fix and "--set shrink=NUMBER" in shrunk.fix
    page = judged(b"<html>").error("https://lists.test/x", "https://lists.test/x?…")
    assert "G1" in page.message and "--set" not in page.fix


def test_what_alarms_is_told_however_much_else_is_held_back() -> None:
    many = [f"10.0.0.{number}" for number in range(30)] + [f"104.16.0.{number}" for number in range(30)]
    many += [f"3.5.{number}.0/24" for number in range(30)] + [f"42.{16 * number}.0.0/12" for number in range(9)]
    many += [f"sub{number}.windowsupdate.com" for number in range(30)] + [
        "||co.uk^",
        *(f"{n}.ck" for n in "abcdefg" * 3),
    ]
    found = judged(text(*many, "mail.carrier.net"), "adblock", protected=own("carrier.net"))
    assert ("G10.own", "mail.carrier.net") in [(alarm.rule, alarm.value) for alarm in found.alarms]
