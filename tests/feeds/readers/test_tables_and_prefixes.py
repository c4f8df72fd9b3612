"""Tables and lines of addresses against other readers of them: Python's csv module, and its ipaddress."""

from __future__ import annotations

import csv
import io
import ipaddress
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st
from list_lines_of import lines_of

from clearway import _engine
from clearway.feeds.readers import lines, plain
from clearway.feeds.readers.table import read

CELL = st.text(st.sampled_from("abc \"',;|\t-.0"), max_size=12)
VALUES = st.integers(0, 255).map("192.0.2.{}".format) | st.integers(0, 99).map("n{}.example".format)


@given(
    rows=st.lists(st.tuples(CELL, VALUES, CELL), min_size=1, max_size=20),
    delimiter=st.sampled_from(",;\t|"),
    quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL, csv.QUOTE_NONNUMERIC]),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_a_table_is_read_as_the_csv_module_writes_it(
    rows: list[tuple[str, str, str]], delimiter: str, quoting: int, end: str
) -> None:
    made = io.StringIO()
    writer = csv.writer(made, delimiter=delimiter, quoting=quoting, lineterminator=end)  # type: ignore[arg-type]
    writer.writerows([("x", "indicator", "y"), *(row for row in rows)])
    found = lines_of(read(made.getvalue().encode(), "csv").content)
    values = {value for _, value, _ in rows}
    assert {line.split()[1] for line in found} == values
    assert not any(line.startswith("line") for line in found)


OCTET = st.integers(0, 270).map(str) | st.sampled_from(["01", "0x1", "", "1e1", " "])
V4 = st.lists(OCTET, min_size=3, max_size=5).map(".".join) | st.ip_addresses(v=4).map(str)
GROUP = st.integers(0, 0x1FFFF).map("{:x}".format) | st.sampled_from(["", "0000", "g"])
V6 = st.lists(GROUP, min_size=2, max_size=9).map(":".join) | st.ip_addresses(v=6).map(str)
LENGTH = st.integers(-1, 130).map("/{}".format) | st.sampled_from(["", "", "", "/", "/255.255.0.0", "/ 8"])
NOTE = st.sampled_from(["", " # 192.0.2.1", "; SBL1", "\t7", ", NL", " // 192.0.2.1", " 2026-11-25", " - seen"])
MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")


def network_of(text: str) -> str | None:
    """In canonical form, host bits cut; None: ipaddress takes it for none, or it is IPv4 in the dress of IPv6."""
    if "/" in text and not text.partition("/")[2].isdecimal():
        return None  # a netmask, which ipaddress takes
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None
    if network.version == 6 and network.subnet_of(MAPPED):
        return None
    return str(network.network_address) if network.num_addresses == 1 else str(network)


@given(lines=st.lists(st.tuples(V4 | V6, LENGTH, NOTE), min_size=1, max_size=20))
def test_an_address_is_what_ipaddress_takes_for_one(lines: list[tuple[str, str, str]]) -> None:
    said = [(address.strip() + length, note) for address, length, note in lines]
    text = "192.0.2.255\n" * 41 + "".join(f"{written}{note}\n" for written, note in said)
    found = lines_of(read(text.encode(), "ip-plain").content)
    wanted = {network_of(written) for written, _ in said} - {None} | {"192.0.2.255"}
    assert {str(ipaddress.ip_network(line.split()[1])) for line in found if line.startswith("address")} == {
        str(ipaddress.ip_network(each)) for each in wanted if each
    }
    refused = {int(line.split()[1]) - 42 for line in found if line.startswith("line")}
    blank = {at for at, (written, _) in enumerate(said) if not written}
    assert refused == {at for at, (written, _) in enumerate(said) if network_of(written) is None} - blank


@given(
    first=st.ip_addresses(v=4),
    span=st.integers(0, 70_000),
    form=st.sampled_from(["{}-{}", "{} - {}", "{}- {}", "{} -{}"]),
)
def test_a_range_is_what_ipaddress_summarizes(first: ipaddress.IPv4Address, span: int, form: str) -> None:
    last = ipaddress.IPv4Address(min(int(first) + span, (1 << 32) - 1))
    found = lines_of(read(form.format(first, last).encode() + b"\n", "ip-plain").content)
    wanted = ipaddress.summarize_address_range(first, last)
    assert {ipaddress.ip_network(line.split()[1]) for line in found} == set(wanted)


ADDRESSES = ["192.0.2.0", "192.0.2.255", "192.0.2.7", "2001:db8::1", "2001:db8::7", "::ffff:192.0.2.9"]
MARKS = ["/24", "24", "25", "/33", "-", "-", ",", "#", ";", "//", "/", "x", "7", "012", "%eth0", "[", "]", "!", "."]
PIECES = st.sampled_from([*ADDRESSES, *MARKS, " ", " ", " ", "\t"])


@given(said=st.lists(st.lists(PIECES, max_size=9).map("".join), min_size=1, max_size=20))
def test_the_engine_and_the_reader_of_one_line_agree(said: list[str]) -> None:
    text = "\n".join(said).encode() + b"\n"
    fast = lines_of(plain.addresses(text))
    nothing = _engine.parse_list(text, [], [], [])
    with mock.patch.object(lines, "_usual_of", return_value=nothing):
        assert lines_of(plain.addresses(text)) == fast
