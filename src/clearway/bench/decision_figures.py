"""The row of what people decide, each through the real daemon: from the request at its socket until the kernel does so.

Each decision is a row in the database first, then the kernel's, then the answer. Every so many are proven: a grant and
a blocked address by a probe of the loaded program, a blocked name by a query that crosses the wire and is refused.
"""

import socket
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from clearway.bench import names_hellos, names_lists
from clearway.bench.control_figures import list_file, probe, running_daemon
from clearway.bench.daemon import Daemon
from clearway.bench.measurement import Aim, Measurement, Result, Series, percentile
from clearway.bench.stand import Stand
from clearway.bench.topology import PLAIN_LEFT, PLAIN_RIGHT
from clearway.errors import ClearwayError

CHECK_EVERY = 50
REFUSALS_MAX = 5
"""Tries to see one: while a busy machine keeps the inspector from its core a query passes unread."""
ANSWER_S_MAX = 30.0
DNS_PORT = 53
RCODE_MASK, RCODE_NXDOMAIN = 0x0F, 3
"""RFC 1035, 4.1.1: the low bits of the header's fourth byte. NXDOMAIN is what a gateway answers unless told another."""
MS_MAX = 20


class _Decision(NamedTuple):
    """`body`, of the address or name that is decided about. `proven`: of the last one, is the kernel's answer right?"""

    path: str
    body: Callable[[str], dict[str, Any]]
    proven: Callable[[Daemon, str], bool]
    proofs_max: int = 1


def decisions(stand: Stand) -> Result:
    """Decisions one after another, with the middle list loaded and thousands of names blocked one by one."""
    plan = stand.plan
    title = f"a decision, p99 of {plan.decisions:,}, from the request at the socket to the kernel"
    names = [name.decode() for name in names_lists.some(0, plan.standing_names + plan.decisions)]
    standing, fresh = names[: plan.standing_names], names[plan.standing_names :]
    hosts = [f"10.64.{number >> 8}.{number & 255}" for number in range(plan.decisions)]
    outside = [f"198.19.{number >> 8}.{number & 255}" for number in range(plan.decisions)]
    stand.progress.begin(title, len(_DECISIONS))
    with list_file(stand, "middle") as path, running_daemon() as daemon:
        daemon.ask("POST", "/v1/feeds", {"name": "bench", "source": str(path), "reason": "scanner"})
        stand.progress.say(f"{len(standing):,} names are blocked, one by one")
        for name in standing:
            daemon.ask("POST", "/v1/block", _block(name))
        targets = {"address": outside, "host": hosts, "name": fresh}
        series = tuple(_measured(daemon, targets, stand))
    proof = f"every {CHECK_EVERY}th is proven by a probe of the loaded program, or by a query that crosses"
    notes = (
        f"beside a list of {stand.list_name('middle')} prefixes, and {len(standing):,} names blocked one by one",
        f"a row in the database, then the kernel, then the answer; {proof}",
        "p50: " + ", ".join(f"{one.kind} {one.detail('p50_ms'):.2f} ms" for one in series),
    )
    aims = tuple(Aim(one.kind, "<=", MS_MAX) for one in series)
    return Result("decisions", title, "ms", "lower", None, series, aims, notes)


def _measured(daemon: Daemon, targets: Mapping[str, list[str]], stand: Stand) -> Iterator[Series]:
    for kind, (of, decision) in _DECISIONS.items():
        times_ms = []
        for number, target in enumerate(targets[of]):
            began = time.monotonic()
            daemon.ask("POST", decision.path, decision.body(target))
            times_ms.append((time.monotonic() - began) * 1000)
            if number % CHECK_EVERY == 0 and not _is_proven(decision, daemon, target):
                detail = f"{target}: the answer came, and the kernel does not do so"
                raise ClearwayError.of("bench.E004", command=f"clearway {kind}", detail=detail)
        p99 = percentile(times_ms, 0.99)
        stand.progress.step(f"{kind} {p99:.4g} ms")
        yield Series(kind, (Measurement(p99, {"p50_ms": percentile(times_ms, 0.5)}),))


def _is_proven(decision: _Decision, daemon: Daemon, target: str) -> bool:
    return any(decision.proven(daemon, target) for _ in range(decision.proofs_max))


def _block(target: str) -> dict[str, Any]:
    return {"target": target, "reason": "scanner", "until": "1h"}


def _unblock(target: str) -> dict[str, Any]:
    return {"target": target}


def _grant(prefix: str) -> dict[str, Any]:
    return {"prefix": prefix, "organisation": f"bench {prefix}", "until": "1h"}


def _revoke(prefix: str) -> dict[str, Any]:
    return {"prefix": prefix}


def _is_green(daemon: Daemon, host: str) -> bool:
    return probe(daemon, host, "192.0.2.1", "outbound")["lane"] == "green"


def _is_dropped(daemon: Daemon, address: str) -> bool:
    return probe(daemon, address, PLAIN_LEFT, "inbound")["verdict"] == "drop"


def _is_refused(daemon: Daemon, name: str) -> bool:
    """A client behind the gateway asks for the name; who would know it does not listen."""
    asking = daemon.wire.left.namespace.call(_datagram_socket)
    with asking:
        asking.settimeout(ANSWER_S_MAX)
        asking.connect((PLAIN_RIGHT, DNS_PORT))
        try:
            asking.send(names_hellos.query(name.encode(), 1))
            answer = asking.recv(512)
        except OSError:  # nobody answered, or the far host that nothing listens there
            return False
        return answer[3] & RCODE_MASK == RCODE_NXDOMAIN


def _datagram_socket() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


def _not(proven: Callable[[Daemon, str], bool]) -> Callable[[Daemon, str], bool]:
    return lambda daemon, target: not proven(daemon, target)


_DECISIONS: dict[str, tuple[str, _Decision]] = {
    "grant": ("host", _Decision("/v1/grant", _grant, _is_green)),
    "revoke": ("host", _Decision("/v1/revoke", _revoke, _not(_is_green))),
    "block": ("address", _Decision("/v1/block", _block, _is_dropped)),
    "unblock": ("address", _Decision("/v1/unblock", _unblock, _not(_is_dropped))),
    "block NAME": ("name", _Decision("/v1/block", _block, _is_refused, REFUSALS_MAX)),
    "unblock NAME": ("name", _Decision("/v1/unblock", _unblock, _not(_is_refused))),
}
"""By command: what it is about, in the order measured, so that each undoes the one before."""
