"""What is compiled under shared ranges is what the reference matcher says, address by address."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from test_compile import edges, looked_up, near

from clearway.policy import arrays
from clearway.policy.compile import ListEntries, compile_base
from clearway.policy.evaluate import ListRules, Policy, base_rule
from clearway.policy.model import Prefix, Reason
from clearway.policy.prefix_table import PrefixSet
from clearway.policy.shared import Ranges, Shared
from clearway.policy.shared_mask import NAME, masked


def entries(name: str, *prefixes: str | Prefix, exception: bool = False, cloud_hosts: bool = True) -> ListEntries:
    parsed = [each if isinstance(each, Prefix) else Prefix.parse(each) for each in prefixes]
    return ListEntries(name, Reason.MALWARE, *arrays.of_prefixes(parsed), exception, cloud_hosts)


def shared(front_ends: Sequence[str | Prefix] = (), single_tenant: Sequence[str | Prefix] = ()) -> Shared:
    classes = [
        Ranges.of_prefixes(each if isinstance(each, Prefix) else Prefix.parse(each) for each in given)
        for given in (front_ends, single_tenant)
    ]
    return Shared(*classes)


def refuses(lists: Sequence[ListEntries], held: Shared, address: str) -> bool:
    return looked_up(compile_base(lists, held), Prefix.parse(address)) == 1


LISTS = st.lists(st.tuples(st.lists(near(), max_size=8), st.booleans(), st.booleans()), max_size=4)


@settings(max_examples=30, deadline=None)
@given(LISTS, st.lists(near(), max_size=5), st.lists(near(), max_size=5), st.lists(near(whole=True), max_size=8))
def test_the_compiled_arrays_say_what_the_reference_says(
    given_lists: list[tuple[list[Prefix], bool, bool]],
    fronts: list[Prefix],
    tenants: list[Prefix],
    addresses: list[Prefix],
) -> None:
    held = shared(fronts, tenants)
    lists = [
        (f"list {n}", prefixes, exception, cloud_hosts)
        for n, (prefixes, exception, cloud_hosts) in enumerate(given_lists)
    ]
    compiled = compile_base([entries(n, *p, exception=e, cloud_hosts=c) for n, p, e, c in lists], held)
    policy = Policy(
        lists=[ListRules(n, Reason.MALWARE, PrefixSet(p), e, cloud_hosts=c) for n, p, e, c in lists], shared=held
    )
    asked = [edge for prefixes in ([p for _, ps, _, _ in lists for p in ps], fronts, tenants) for p in prefixes
             for edge in edges(p)]  # fmt: skip
    for address in {*addresses, *asked}:
        rule = base_rule(policy, address)
        assert looked_up(compiled, address) == (rule is not None and not rule[0].exception), address


def test_a_front_end_is_never_refused_by_address() -> None:
    held = shared(["198.51.100.0/24", "2001:db8:cd::/48"])
    lists = [entries("a", "198.51.100.7", "198.51.100.128/25", "2001:db8:cd::1")]
    for address in ("198.51.100.7", "198.51.100.200", "2001:db8:cd::1"):
        assert refuses(lists, Shared(), address)
        assert not refuses(lists, held, address)


def test_not_even_when_a_wider_prefix_covers_it() -> None:
    held = shared(["198.51.100.0/24", "2001:db8:cd::/48"])
    lists = [entries("a", "198.51.0.0/16", "198.51.100.7", "2001:db8::/32")]
    for address in ("198.51.100.7", "198.51.100.1", "2001:db8:cd::1"):
        assert not refuses(lists, held, address)
    for address in ("198.51.99.255", "198.51.101.0", "2001:db8:ce::1"):
        assert refuses(lists, held, address)


def test_a_single_tenant_is_refused_as_a_host_and_only_for_a_while() -> None:
    held = shared(single_tenant=["192.0.2.0/24"])
    prefix, host = entries("p", "192.0.2.0/28"), entries("h", "192.0.2.1")
    assert not refuses([prefix], held, "192.0.2.1")
    assert refuses([host], held, "192.0.2.1")
    assert not refuses([replace(host, cloud_hosts=False)], held, "192.0.2.1")
    assert refuses([replace(host, cloud_hosts=False), entries("other", "192.0.2.1")], held, "192.0.2.1")


def test_a_host_of_a_single_tenant_is_refused_below_a_wider_prefix_that_spares_it() -> None:
    held = shared(single_tenant=["192.0.2.0/24", "203.0.113.9"])
    lists = [entries("wide", "192.0.0.0/16", "203.0.113.0/24"), entries("hosts", "192.0.2.1", "203.0.113.9")]
    assert refuses(lists, held, "192.0.2.1")
    assert not refuses(lists, held, "192.0.2.2")
    assert refuses(lists, held, "203.0.113.9")
    assert not refuses(lists[:1], held, "203.0.113.9")


def test_a_front_end_in_the_ranges_of_tenants_stays_a_front_end() -> None:
    held = shared(["192.0.2.128/25"], ["192.0.2.0/24"])
    lists = [entries("hosts", "192.0.2.1", "192.0.2.200")]
    assert refuses(lists, held, "192.0.2.1")
    assert not refuses(lists, held, "192.0.2.200")


def test_what_lists_spare_is_left_as_it_is_and_nothing_is_made_without_need() -> None:
    held = shared(["198.51.100.0/24"])
    lists = [entries("a", "192.0.2.0/24"), entries("spared", "198.51.100.0/25", exception=True)]
    assert masked(lists, held) == lists
    assert masked(lists, Shared()) == lists
    made = masked([entries("a", "198.51.0.0/16"), lists[1]], held)
    assert [each.name for each in made] == ["a", "spared", NAME]
