"""The kinds of wire that are compared: the bare veth pair, the kernel bridge, the bridge with an nftables set, and
Clearway in TCX and in XDP. Each stands in namespaces of its own and stays up for the whole run, so turns can alternate.

nftables gets what it is best at: an interval set asked at the ingress hook of the ports, before the bridge, source and
destination in two rules. Clearway's data plane is driven by the extension as the daemon drives it, without the daemon:
nothing is pinned, and everything goes with this process.
"""

import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from clearway.bench import lists
from clearway.bench.topology import GREEN_PREFIX, Wire
from clearway.errors import ClearwayError
from clearway.lab.namespace import End

GRANT_S = 24 * 3600
NFT_S_MAX = 120.0


class Peer:
    """One kind of wire. `up` builds it, `down` takes everything away."""

    def __init__(self, name: str, wire: Wire) -> None:
        self.name = name
        self.wire = wire

    def up(self) -> None:
        self.wire.up()
        try:
            self._join()
        except BaseException:
            self.down()
            raise

    def down(self) -> None:
        self.wire.down()

    def _join(self) -> None:
        """Connects the two ports."""


class BareWire(Peer):
    """A veth pair from host to host: what the hosts themselves can do."""

    def __init__(self) -> None:
        super().__init__("wire", Wire(through=False))


class Bridge(Peer):
    """Linux's own bridge of two ports, empty of rules; both hosts are known to it, so nothing is flooded."""

    def __init__(self, name: str = "bridge", checksum_offload: bool = True) -> None:
        super().__init__(name, Wire(through=True, checksum_offload=checksum_offload))

    def _join(self) -> None:
        with self.wire.gateway.links() as links:
            links.link("add", ifname="bridge", kind="bridge")
            bridge = links.link_lookup(ifname="bridge")[0]
            for port, host in ((self.wire.inside, self.wire.left), (self.wire.outside, self.wire.right)):
                index = links.link_lookup(ifname=port.interface)[0]
                links.link("set", index=index, master=bridge)
                links.fdb("add", ifindex=index, lladdr=host.mac().hex(":"))
            links.link("set", index=bridge, state="up")


@dataclass(frozen=True)
class SetLoad:
    """What it took nft to load its set."""

    seconds: float
    resident_bytes: int  # of the nft process, at its peak


class BridgeWithSet(Bridge):
    """The bridge, and an nftables set of the list's entries at the ingress hook of both ports."""

    def __init__(self, entries: lists.Entries, name: str) -> None:
        super().__init__(name)
        self.entries = entries
        self.load: SetLoad | None = None

    def _join(self) -> None:
        super()._join()
        with tempfile.TemporaryDirectory(prefix="cwb-") as folder:
            script = Path(folder, "set.nft")
            script.write_text(self._script(_elements(self.entries, Path(folder, "entries"))))
            self.load = self._run(script)

    def _script(self, elements: str) -> str:
        hooks = "\n".join(
            f'chain {side} {{ type filter hook ingress device "{port.interface}" priority 0; policy accept; '
            "ip saddr @listed drop; ip daddr @listed drop; }"
            for side, port in (("inside", self.wire.inside), ("outside", self.wire.outside))
        )
        listed = f"set listed {{ type ipv4_addr; flags interval; elements = {{ {elements} }} }}"
        return f"table netdev bench {{\n{listed}\n{hooks}\n}}\n"

    def _run(self, script: Path) -> SetLoad:
        began, peak = time.monotonic(), 0
        with tempfile.TemporaryFile() as said:
            command = self.wire.gateway.command(["nft", "-f", str(script)])
            process = subprocess.Popen(command, stdout=said, stderr=said)
            # wait4() would tell this process's own memory where that was more: a child begins as its copy
            while process.poll() is None:
                peak = max(peak, _resident_peak_bytes(process.pid))
                if time.monotonic() - began > NFT_S_MAX:
                    process.kill()
                time.sleep(0.01)
            took = time.monotonic() - began
            if process.returncode:
                said.seek(0)
                detail = said.read(300).decode(errors="replace").strip() or f"exit code {process.returncode}"
                raise ClearwayError.of("bench.E004", command="nft -f", detail=detail)
        return SetLoad(took, peak)


def _resident_peak_bytes(pid: int) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def _elements(entries: lists.Entries, path: Path) -> str:
    lists.write_text(entries, path)
    return path.read_text().rstrip("\n").replace("\n", ", ")


class Clearway(Peer):
    """Clearway's programs between two ports: `hook` "tcx", or "xdp" which forwards too.

    XDP on a veth wants end hosts without checksum offload; it is for packets and drops, never for bulk.
    """

    def __init__(
        self, entries: lists.Entries, name: str, hook: str = "tcx", green: Sequence[tuple[bytes, int]] = ()
    ) -> None:
        super().__init__(name, Wire(through=True, checksum_offload=hook == "tcx"))
        self.entries = entries
        self.hook = hook
        self.green = green
        self.base: Any = None
        self.tables: Any = None
        self._loader: Any = None
        self.fill_s = 0.0

    def _join(self) -> None:
        from clearway import _engine as engine

        self.base = compile_base(self.entries)
        inside, outside = self.wire.inside, self.wire.outside
        for port in (inside, outside):
            promiscuous(port)
        settings = engine.Settings(
            inside_ifindex=inside.index(), outside_ifindex=outside.index(), xdp_forward=self.hook == "xdp"
        )
        self._loader = self.wire.gateway.call(lambda: engine.Loader(None))
        self.wire.gateway.call(lambda: self._loader.load(settings, self.base.needs(), xdp=self.hook == "xdp"))
        self.tables = engine.Tables(self._loader.map_fds(), self._loader.capacity())
        began = time.monotonic()
        self.tables.fill(self.base)
        self.tables.flip()
        self.fill_s = time.monotonic() - began
        until_ns = engine.boot_clock_ns() + GRANT_S * 1_000_000_000
        for address, length in self.green:
            self.tables.put_green(address, length, until_ns)
        self.wire.gateway.call(self._loader.attach)

    def cost_ns(self, frame: bytes, repeat: int) -> int:
        """Mean run time of the loaded program over one frame, outbound."""
        from clearway import _engine as engine

        direction = engine.Direction.OUTBOUND
        return int(self.wire.gateway.call(lambda: self._loader.cost_ns(self.hook, direction, frame, repeat)))

    def memory_bytes(self) -> int:
        return sum(self.tables.memory_bytes().values())

    def down(self) -> None:
        # programs go with their descriptors, and those with these objects
        self.tables = self._loader = self.base = None
        super().down()


def compile_base(entries: lists.Entries) -> Any:
    """engine.Base of one list of IPv4 entries."""
    from clearway.policy.compile import ListEntries, compile_base
    from clearway.policy.model import Reason

    none = np.empty((0, 3), dtype=np.uint64)
    return compile_base([ListEntries("bench", Reason.SCANNER, entries, none)]).for_engine()


def promiscuous(port: End) -> None:
    """Takes frames for any address, as a gateway's port does."""
    with port.namespace.links() as links:
        index = links.link_lookup(ifname=port.interface)[0]
        links.link("set", index=index, flags=0x100, change=0x100)  # IFF_PROMISC


def green_prefixes(count: int, seed: int = 7) -> list[tuple[bytes, int]]:
    """Granted inside prefixes in 10.64.0.0/10 as the engine takes them, and the bench's own granted host.

    /24 to /32, as businesses have; none overlaps another.
    """
    random = np.random.default_rng(seed)
    numbers = random.permutation(1 << 14)[:count]
    lengths = random.integers(24, 33, len(numbers))
    granted = [
        _mapped(10 << 24 | 64 << 16 | int(number) << 8, int(length))
        for number, length in zip(numbers, lengths, strict=True)
    ]
    host, _, length = GREEN_PREFIX.partition("/")
    own = int.from_bytes(bytes(int(part) for part in host.split(".")), "big")
    return [*granted, _mapped(own, int(length))]


def _mapped(address: int, length: int) -> tuple[bytes, int]:
    return bytes(10) + b"\xff\xff" + address.to_bytes(4, "big"), 96 + length


def green_pairs(green: Sequence[tuple[bytes, int]]) -> lists.Numbers:
    """The same prefixes as engine.live_frames draws addresses from."""
    entries = [int.from_bytes(address[12:], "big") << 8 | length - 96 for address, length in green]
    return lists.pairs(np.array(entries, dtype=np.uint64))
