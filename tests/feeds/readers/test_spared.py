"""A list's own exceptions: what is left of it, address by address and name by name."""

import ipaddress

from hypothesis import given, settings
from hypothesis import strategies as st

from clearway._engine import NameScope
from clearway.feeds.readers import spared, table
from clearway.policy.model import Prefix

ADDRESSES = st.integers(0, 255).map(lambda low: ipaddress.IPv4Address("45.9.1.0") + low)
PREFIXES = st.tuples(ADDRESSES, st.integers(26, 32)).map(
    lambda of: str(ipaddress.ip_network(f"{of[0]}/{of[1]}", strict=False))
)


@given(st.lists(PREFIXES, min_size=1, max_size=6), st.lists(PREFIXES, max_size=4), st.booleans())
@settings(max_examples=60, deadline=None)
def test_every_address_is_refused_but_those_spared(blocked: list[str], excepted: list[str], v6: bool) -> None:
    """As an RPZ zone, whose rpz-passthru is an exception; IPv6 by the same bits in another place."""

    def shown(prefix: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
        network = ipaddress.IPv4Network(prefix)
        if not v6:
            return network
        return ipaddress.IPv6Network((int(network.network_address) | 0x20014 << 108, network.prefixlen + 96))

    def owner(prefix: str) -> str:
        network = shown(prefix)
        packed, step = network.network_address.packed, 2 if v6 else 1
        groups = [packed[at : at + step].hex() for at in range(0, len(packed), step)]
        labels = [f"{int(group, 16):x}" if v6 else str(int(group, 16)) for group in groups]
        return ".".join([str(network.prefixlen), *reversed(labels), "rpz-ip"])

    lines = ["$TTL 60", "@ SOA a. b. 1 2 3 4 5", "@ NS a."]
    lines += [f"{owner(prefix)} CNAME ." for prefix in blocked if prefix not in excepted]
    lines += [f"{owner(prefix)} CNAME rpz-passthru." for prefix in set(excepted)]
    content = table.read("\n".join([*lines, ""]).encode(), "rpz").content
    kept, _ = spared.without_excepted(content)
    held = [Prefix(4, key >> 8, key & 0xFF) for key in kept.v4.tolist()]
    held += [Prefix(6, high << 64 | low, length) for high, low, length in kept.v6.tolist()]
    assert len(held) == len(set(held))
    for low in range(256):
        address = shown(f"{ipaddress.IPv4Address('45.9.1.0') + low}/32")
        refused = any(Prefix.parse(str(prefix)).covers(Prefix.parse(str(address))) for prefix in held)
        is_spared = any(address.subnet_of(shown(each)) for each in excepted)  # type: ignore[arg-type]
        is_listed = any(address.subnet_of(shown(each)) for each in blocked if each not in excepted)  # type: ignore[arg-type]
        assert refused == (is_listed and not is_spared), address


def left_of(text: str) -> tuple[dict[str, NameScope], dict[str, NameScope], int]:
    kept, count = spared.without_excepted(table.read(text.encode(), "adblock").content)
    names, below = (
        {name: scope for scope, blob in each.blobs().items() for name in blob.tobytes().decode().split()}
        for each in (kept.names, kept.excepted)
    )
    return names, below, count


def test_a_wider_name_stays_with_the_exception_beside_it() -> None:
    subtree = NameScope.SUBTREE
    assert left_of("||codec.example^\n@@||doc.codec.example^\n") == (
        {"codec.example": subtree},
        {"doc.codec.example": subtree},
        0,
    )


def test_names_that_an_exception_covers_are_left_out_and_exceptions_of_nothing_are_not_kept() -> None:
    text = "||a.doc.codec.example^\n||doc.codec.example^\n||other.example^\n@@||doc.codec.example^\n@@||good.example^\n"
    assert left_of(text) == ({"other.example": NameScope.SUBTREE}, {}, 2)


LABELS = ("a", "b", "long-label-of-a-name")
UNIVERSE = [f"{first}{second}.{third}.com" for first in ("", "a.", "b.") for second in LABELS for third in LABELS]
RULES = st.lists(st.tuples(st.sampled_from(UNIVERSE), st.sampled_from(("", "*."))), max_size=8, unique=True)


@given(RULES, RULES)
@settings(max_examples=200, deadline=None)
def test_every_name_is_refused_but_those_spared(
    blocked: list[tuple[str, str]], excepted: list[tuple[str, str]]
) -> None:
    """As an RPZ zone, where a name and what is below it are said one by one."""
    blocked = [each for each in blocked if each not in excepted]
    owners = [
        (f"{star}{name}", target) for of, target in ((blocked, "."), (excepted, "rpz-passthru.")) for name, star in of
    ]
    lines = ["$TTL 60", "@ SOA a. b. 1 2 3 4 5", "@ NS a.", *(f"{owner} CNAME {target}" for owner, target in owners)]
    kept, _ = spared.without_excepted(table.read("\n".join([*lines, ""]).encode(), "rpz").content)

    def says(rules: list[tuple[str, str]], asked: str) -> bool:
        return any(asked.endswith(f".{name}") if star else asked == name for name, star in rules)

    for asked in (*UNIVERSE, *(f"below.{name}" for name in UNIVERSE)):
        refused = bool(kept.names.covering(asked)) and not kept.excepted.covering(asked)
        assert refused == (says(blocked, asked) and not says(excepted, asked)), asked
