"""The test stand: which wires are up, with which lists. A wire is built when a figure first asks for it, and stays."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import TypeVar

from clearway.bench import byte_code, lists
from clearway.bench.machine import Cpus
from clearway.bench.peers import BareWire, Bridge, BridgeWithSet, Clearway, Peer, green_prefixes
from clearway.bench.plan import Plan
from clearway.bench.turns import Progress

AnyPeer = TypeVar("AnyPeer", bound=Peer)


class Stand:
    """Use as a context: whatever was built goes at its end."""

    def __init__(self, plan: Plan, cpus: Cpus, progress: Progress) -> None:
        self._programs = ExitStack()
        self.plan = plan
        self.cpus = cpus
        self.progress = progress
        self.green = green_prefixes(plan.green_prefixes)
        self._peers: dict[str, Peer] = {}
        self._lists: dict[str, lists.Entries] = {}

    def __enter__(self) -> "Stand":
        self._programs.enter_context(byte_code.kept())
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        while self._peers:
            self._peers.popitem()[1].down()
        self._lists.clear()
        self._programs.close()

    def entries(self, size: str, shape: str = "clustered") -> lists.Entries:
        """`size`: "small", "middle" or "large" of the plan."""
        plan = self.plan.list_plan(size, shape)
        if plan.name not in self._lists:
            self.progress.say(f"making a list of {plan.entries:,} entries, {plan.shape}")
            self._lists[plan.name] = lists.make(plan)
        return self._lists[plan.name]

    def bare_wire(self) -> BareWire:
        return self._built("wire", BareWire)

    def bridge(self) -> Bridge:
        return self._built("bridge", Bridge)

    def bridge_with_set(self) -> BridgeWithSet:
        """With the middle list: nft takes 8 s and 745 MB for a million entries, so ten million are out of its reach."""
        name = f"nft {self.list_name('middle')}"
        return self._built(name, lambda: BridgeWithSet(self.entries("middle"), name))

    def clearway(self, hook: str, size: str, shape: str = "clustered") -> Clearway:
        name = f"{hook} {self.list_name(size, shape)}"
        return self._built(name, lambda: Clearway(self.entries(size, shape), name, hook, self.green))

    def list_name(self, size: str, shape: str = "clustered") -> str:
        return self.plan.list_plan(size, shape).name

    def _built(self, key: str, make: Callable[[], AnyPeer]) -> AnyPeer:
        if key not in self._peers:
            self.progress.say(f"building {key}")
            peer = make()
            peer.up()
            self._peers[key] = peer
        found: AnyPeer = self._peers[key]  # type: ignore[assignment]  # a key always has the same kind
        return found
