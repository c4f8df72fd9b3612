"""Kernel and reference agree on small policies and packets that Hypothesis draws, and would shrink to the least.

The random oracle is far wider; this one gives a difference that a person can read.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from frames import IPV6, chain, ethernet, fragment6, ipv4, ipv6, mpls, pppoe, tags
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clearway._engine import boot_clock_ns
from clearway.bench.oracle import HOOKS, Gateway, can_probe, differs
from clearway.bench.oracle_policies import Moments, Rules
from clearway.gateway import guard
from clearway.policy import arrays
from clearway.policy.compile import ListEntries, compile_base
from clearway.policy.evaluate import (
    FragmentTable,
    GrantRule,
    ListRules,
    OverlayRule,
    Policy,
    PolicySettings,
    evaluate,
)
from clearway.policy.model import Direction, Prefix, Reason
from clearway.policy.prefix_table import PrefixSet

ADDRESSES = {4: ("192.0.2.1", "192.0.2.2", "192.0.3.1", "10.0.0.1"), 6: ("2001:db8::1", "2001:db8::2", "2001:db9::1")}

prefixes = st.one_of(
    st.builds(
        lambda text, n: Prefix.cut(4, Prefix.parse(text).address, n), st.sampled_from(ADDRESSES[4]), st.integers(12, 32)
    ),
    st.builds(
        lambda text, n: Prefix.cut(6, Prefix.parse(text).address, n), st.sampled_from(ADDRESSES[6]), st.integers(0, 128)
    ),
)
rules = st.lists(st.tuples(prefixes, st.booleans()), max_size=4)
"""Prefix, and live or exception."""
payloads = st.one_of(st.binary(max_size=24), st.integers(0, 30).map(bytes))
protocols = st.sampled_from([17, 6, 1, 58, 47, 59])


@st.composite
def packets(draw: st.DrawFn) -> bytes:
    """A frame whose lengths are right, or off by little."""
    version = draw(st.sampled_from([4, 6]))
    source, destination = (draw(st.sampled_from(ADDRESSES[version])) for _ in "sd")
    protocol, payload, offset, more = (
        draw(protocols),
        draw(payloads),
        draw(st.sampled_from([0, 0, 8])),
        draw(st.booleans()),
    )
    off_by = draw(st.sampled_from([0, 0, 0, -1, 1, -8]))
    if version == 4:
        total = max(0, 20 + len(payload) + off_by)
        inner = ipv4(payload, protocol, source, destination, total=total, offset=offset, more=more)
    else:
        if draw(st.booleans()):
            payload, protocol = fragment6(payload, protocol, offset, more), 44
        kinds = draw(st.lists(st.sampled_from([0, 43, 51, 60, 44]), max_size=9))
        body, first = chain(kinds, protocol, payload)
        inner = ipv6(body, first, source, destination, length=max(0, len(body) + off_by))
    wrapped = draw(st.sampled_from(["plain", "tagged", "pppoe", "mpls"]))
    ether_type = 0x0800 if version == 4 else IPV6
    return {
        "plain": lambda: ethernet(inner, ether_type),
        "tagged": lambda: tags(
            inner, *draw(st.lists(st.sampled_from([0x8100, 0x88A8]), min_size=1, max_size=4)), last=ether_type
        ),
        "pppoe": lambda: pppoe(
            inner, 0x21 if version == 4 else 0x57, max(0, len(inner) + 2 + draw(st.integers(-3, 1)))
        ),
        "mpls": lambda: mpls(inner, draw(st.integers(1, 9))),
    }[wrapped]()


@pytest.fixture(scope="module")
def gateways() -> Iterator[dict[tuple[bool, bool], tuple[PolicySettings, Gateway]]]:
    """Loaded programs: with the guard or without, observing or not."""
    made = {}
    for guarded in (False, True):
        for observe in (False, True):
            rows = guard.rows([Prefix.parse("192.0.2.0/24")] if guarded else [], guarded)
            known = tuple((Prefix.from_mapped(address, length), flags) for address, length, flags in rows)
            chosen = PolicySettings(observe, known, guarded, guarded)
            made[guarded, observe] = chosen, Gateway(chosen, xdp=True)
    yield made


@pytest.mark.kernel
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    st.lists(packets(), min_size=1, max_size=6),
    st.sampled_from(list(Direction)),
    rules,
    rules,
    rules,
    rules,
    rules,
    st.booleans(),
    st.booleans(),
)
def test_kernel_and_reference_agree(
    gateways: dict[tuple[bool, bool], tuple[PolicySettings, Gateway]],
    frames: list[bytes],
    direction: Direction,
    listed: list[tuple[Prefix, bool]],
    seen: list[tuple[Prefix, bool]],
    blocked: list[tuple[Prefix, bool]],
    spared: list[tuple[Prefix, bool]],
    granted: list[tuple[Prefix, bool]],
    guarded: bool,
    observe: bool,
) -> None:
    chosen, gateway = gateways[guarded, observe]
    now_ns = boot_clock_ns()

    def until(live: bool) -> int:
        return now_ns + 10**12 if live else 1

    lists = [
        (f"{only_seen} {exception}", PrefixSet(held), arrays.of_prefixes(held), exception, only_seen)
        for only_seen, given in ((False, listed), (True, seen))
        for exception in (False, True)
        for held in [[prefix for prefix, spares in given if spares == exception]]
    ]
    rows: dict[tuple[bytes, int], list[int]] = {}
    for exception, group in ((False, blocked), (True, spared)):
        for prefix, live in group:
            rows.setdefault(prefix.mapped(), [0, 0])[exception] = until(live)
    grants = {prefix: until(live) for prefix, live in granted if prefix.length}
    policy = Policy(
        chosen,
        [ListRules(name, Reason.MALWARE, held, spares, observe=only) for name, held, _, spares, only in lists],
        [
            OverlayRule(Prefix.from_mapped(*key), times[exception], exception)
            for key, times in rows.items()
            for exception in (False, True)
        ],
        [GrantRule(prefix, end) for prefix, end in grants.items()],
    )
    overlay = [(*key, *times) for key, times in rows.items()]
    green = [(*prefix.mapped(), end) for prefix, end in grants.items()]
    moment = Rules(policy, overlay, green)  # type: ignore[arg-type]
    entries = [ListEntries(name, Reason.MALWARE, *held, spares, observe=only) for name, _, held, spares, only in lists]
    made = Moments(compile_base(entries), (moment, moment), [])
    for hook in HOOKS:
        fragments = FragmentTable()
        expected = [evaluate(policy, frame, direction, now_ns, fragments=fragments) for frame in frames]
        said = gateway.ask(hook, made, [[(frame, direction) for frame in frames], []])
        for frame, outcome, kernel in zip(frames, expected, said, strict=True):
            assert kernel is None or not differs(outcome, kernel, hook), (hook, frame.hex(), kernel, outcome)
            assert (kernel is None) == (not can_probe(hook, frame))
