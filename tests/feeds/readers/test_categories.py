"""What a source says of its entries decides their reason, by an operator's table and never by itself."""

from __future__ import annotations

import json

import pytest
from list_lines_of import lines_of

from clearway.errors import ClearwayError
from clearway.feeds.readers.content import CATEGORIES_MAX, Content, Entries
from clearway.feeds.readers.table import READERS, read

THREATFOX = b"""# "first_seen_utc","ioc_id","ioc_value","ioc_type","threat_type","fk_malware","malware_printable"
"2026-11-24 00:00:00","1","c2.example","domain","botnet_cc","win.remcos","Remcos"
"2026-11-24 00:00:00","2","192.0.2.7:443","ip:port","botnet_cc","win.cobalt_strike","Cobalt Strike"
"2026-11-24 00:00:00","3","drop.example","domain","payload_delivery","unknown","Unknown malware"
"2026-11-24 00:00:00","4","bare.example","domain","","",""
"2026-11-24 00:00:00","5","http://url.example/x","url","botnet_cc","win.remcos","Remcos"
"""


def values(entries: Entries) -> list[str]:
    whole = Content(entries, read(b"a.example").content.excepted, 0, 0, read(b"a.example").content.rejects)
    return [line.split()[1] for line in lines_of(whole)]


def test_each_reason_has_its_own_entries_and_the_rest_is_left_out_and_counted() -> None:
    table = {"botnet_cc": "botnet-c2", "payload_delivery": "malware"}
    content = read(THREATFOX, "csv-threatfox", reasons=table).content
    assert {reason: values(entries) for reason, entries in content.by_reason.items()} == {
        "botnet-c2": ["192.0.2.7", "c2.example"],
        "malware": ["drop.example"],
    }
    assert values(content.blocked) == ["192.0.2.7", "c2.example", "drop.example"]
    assert [(reject.line, reject.rule.id) for reject in content.rejects] == [
        (5, "G9.category"),
        (6, "G9.url-with-path"),
    ]
    assert content.counts["entries"] + content.counts["unsupported"] + content.counts["blank"] == 6


def test_the_closest_category_that_the_table_has_decides() -> None:
    table = {"cobalt strike": "exploit", "botnet_cc": "botnet-c2"}
    by_reason = read(THREATFOX, "csv-threatfox", reasons=table).content.by_reason
    assert {reason: values(entries) for reason, entries in by_reason.items()} == {
        "botnet-c2": ["c2.example"],
        "exploit": ["192.0.2.7"],
    }


def test_without_a_table_categories_are_only_counted() -> None:
    content = read(THREATFOX, "csv-threatfox").content
    assert (len(content.blocked), content.by_reason) == (4, {})
    assert (content.categories["botnet_cc"], content.categories["Cobalt Strike"]) == (2, 1)


def event(**attribute: object) -> bytes:
    return json.dumps({"Event": {"Tag": [{"name": "tlp:clear"}], "Attribute": [{"to_ids": True} | attribute]}}).encode()


def bundle(pattern: str, **fields: object) -> bytes:
    indicator = {"type": "indicator", "id": "i", "pattern": pattern} | fields
    return json.dumps({"type": "bundle", "objects": [indicator]}).encode()


@pytest.mark.parametrize(
    ("data", "format", "category"),
    [
        (b"id,dateadded,url,url_status,threat\n1,x,http://192.0.2.1/,online,malware_download\n", "csv-urlhaus", None),
        (b"Domain,Malware,Date added,Source\nc2.example,emotet,2026,x\n", "csv-blackbook", "emotet"),
        (b"first_seen_utc,dst_ip,dst_port,c2_status,last_online,malware\nx,192.0.2.1,80,o,x,Dridex\n", "csv-feodo",
         "Dridex"),
        (b"#ip,ioc\n192.0.2.1,Possible C2\n", "csv-c2intel", "Possible C2"),
        (b"domain,what\na.example,Phishing\n", "csv:domain:what", "phishing"),
        (b"x,what\na.example,Phishing\n", "csv:x:what", "phishing"),
        (b"domain,what\na.example,Phishing\n", "csv::what", "phishing"),
        (b"domain,category\na.example,Phishing\n", "csv", "phishing"),
        (event(type="domain", value="a.example", category="Network activity"), "misp-event", "network activity"),
        (event(type="domain", value="a.example"), "misp-event", "TLP:CLEAR"),
        (event(type="domain", value="a.example", Tag=[{"name": "kill-chain:C2"}]), "misp-event", "kill-chain:c2"),
        (event(type="domain|ip", value="a.example|192.0.2.1"), "misp-event", "domain|ip"),
        (bundle("[domain-name:value = 'a.example']", indicator_types=["anomalous-activity"]), "stix21",
         "anomalous-activity"),
        (bundle("[domain-name:value = 'a.example']", labels=["malicious-activity"]), "stix20", "malicious-activity"),
        (b'alert tls any any -> any any (tls.sni; bsize:9; content:"a.example"; classtype:trojan; sid:1;)\n',
         "suricata-sni", "trojan"),
        (b'{"cdn": {"vendor": ["192.0.2.0/24"]}}', "cdncheck-json", "cdn vendor"),
    ],
)  # fmt: skip
def test_formats_say_what_their_source_says(data: bytes, format: str, category: str | None) -> None:
    table = {(category or "malware_download").casefold(): "phishing"}
    content = read(data, format, reasons=table).content
    assert list(content.by_reason) == ["phishing"]
    assert len(content.by_reason["phishing"]) == len(content.blocked) > 0
    refused = read(data, format, reasons={"another": "phishing"}).content
    assert (len(refused.blocked), refused.by_reason, "G9.category" in ids(refused)) == (0, {}, True)


def ids(content: Content) -> set[str]:
    return {reject.rule.id for reject in content.rejects}


@pytest.mark.parametrize("word", ["ip-plain", "domains", "hosts", "adblock", "rpz", "dnsmasq", "maltrail"])
def test_a_format_without_categories_gives_nothing_under_a_table(word: str) -> None:
    data = {
        "ip-plain": b"# x\n192.0.2.1\n2001:db8::/32\n", "domains": b"# x\na.example\n*.b.example\n",
        "hosts": b"# x\n0.0.0.0 a.example\n", "adblock": b"! x\n||a.example^\n@@||b.example^\n",
        "rpz": b"; x\na.example CNAME .\n", "dnsmasq": b"# x\naddress=/a.example/\n", "maltrail": b"# x\na.example\n",
    }[word]  # fmt: skip
    content = read(data, word, reasons={"x": "phishing"}).content
    assert (len(content.blocked), ids(content), content.counts["blank"]) == (0, {"G9.category"}, 1)
    assert len(content.excepted) == (word == "adblock")


def test_a_malformed_line_is_one_whatever_its_category() -> None:
    rows = b"a.example,known\nno name,another\nb..example,known\nc.example,another\n192.0.2.1-192.0.2.0,x\n"
    content = read(b"domain,category\n" + rows, "csv", reasons={"known": "phishing"}).content
    assert [(reject.line, reject.rule.id) for reject in content.rejects] == [
        (3, "G9.character"),
        (4, "G9.label"),
        (5, "G9.category"),
        (6, "G9.range"),
    ]
    assert content.counts["entries"] == 1


def test_a_column_that_is_not_there_is_named() -> None:
    with pytest.raises(ClearwayError) as error:
        read(b"domain,what\na.example,Phishing\n", "csv:domain:nothing")
    assert (error.value.id, "nothing" in error.value.message) == ("feeds.E020", True)


def test_the_categories_of_a_list_that_has_no_end_of_them_are_bounded() -> None:
    rows = b"".join(b"a%d.example,c%d\n" % (n, n) for n in range(CATEGORIES_MAX + 10))
    content = read(b"domain,category\n" + rows, "csv").content
    assert (len(content.categories), len(content.blocked)) == (CATEGORIES_MAX, CATEGORIES_MAX + 10)


def test_every_sample_reads_the_same_under_a_table_that_has_all_its_categories() -> None:
    from test_readers import sample

    for word in READERS:
        plain = read(sample(word), word).content
        if plain.categories:
            table = {category.casefold(): "malware" for category in plain.categories}
            assert lines_of(read(sample(word), word, reasons=table).content) == lines_of(plain), word
