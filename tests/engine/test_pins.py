"""Pins, attachment, take-over: what a second process finds, goes on with, replaces, and takes off.

No traffic here: that none is lost is tested on a wire (tests/wire). Here it is which link, which map, which program.
"""

import signal
import stat
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import pytest
from bases import ask, base, mapped
from loaded_gateway import ROOM, Gateway
from raw_maps import index, update

from clearway import _engine as engine
from clearway.errors import KernelRefused, PinsUnusable
from clearway.lab.namespace import End, Namespace, wire

pytestmark = [pytest.mark.kernel, pytest.mark.namespaces]

LINKS = ("tcx-inside", "tcx-outside")
XDP_LINKS = ("xdp-inside", "xdp-outside")
BASE_MAPS = {
    "control", "base_front", "base_bitmaps", "base_observed", "base_v6_filter", "base_v6_buckets", "base_v6_slots",
    "base_meta",
    "name_filter",
    "name_meta",
}  # fmt: skip
Ports = tuple[End, End]
T = TypeVar("T")


class Pinned:
    """A gateway as a process of it sees itself: each call as if by the process of that moment."""

    def __init__(self, directory: Path, ports: Ports) -> None:
        self.directory, self.ports = directory, ports

    def start(self, capacity: engine.Capacity = ROOM, xdp: bool = False) -> tuple[Gateway, list[str], dict[str, str]]:
        inside, outside = (port.index() for port in self.ports)
        loader = engine.Loader(str(self.directory))
        made = loader.load(engine.Settings(inside_ifindex=inside, outside_ifindex=outside), capacity, xdp=xdp)
        tables = engine.Tables(loader.map_fds(), loader.capacity())
        return Gateway(loader, tables), made, self.inside(loader.attach)

    def inside(self, function: Callable[[], T]) -> T:
        return self.ports[0].namespace.call(function)


@pytest.fixture
def pinned(bpffs: Path, ports: Ports) -> Pinned:
    return Pinned(bpffs / "clearway" / "test", ports)


def attached_ids(port: End) -> Sequence[int]:
    from clearway.gateway.attached import tcx_links

    index_of_port = port.index()
    return sorted(port.namespace.call(lambda: tcx_links(index_of_port)))


def test_a_first_start_makes_and_pins_everything(pinned: Pinned) -> None:
    gateway, made, links = pinned.start()
    assert set(made) == set(gateway.loader.map_fds())
    assert links == dict.fromkeys(LINKS, "attached")
    assert gateway.loader.links() == dict(zip(LINKS, (port.index() for port in pinned.ports), strict=True))
    found = {path.relative_to(pinned.directory) for path in pinned.directory.rglob("*")}
    maps = f"maps-{engine.LIMITS['ABI_VERSION']}"
    programs = {Path("programs/tcx"), Path("programs/hold")}
    names = {Path(maps, name) for name in made} | {Path("links", name) for name in LINKS} | programs
    assert found == names | {Path(maps), Path("links"), Path("programs")}
    for path in pinned.directory.rglob("*"):
        mode = path.stat().st_mode
        assert stat.S_IMODE(mode) & 0o077 == 0, path


def test_a_second_start_takes_over_maps_and_links(pinned: Pinned) -> None:
    first, _, _ = pinned.start()
    first.tables.fill(base("192.0.2.0/24"))
    first.tables.flip()
    first.tables.put_overlay(*mapped("198.51.100.7/32"), 1 << 63, 0)
    before = [attached_ids(port) for port in pinned.ports]
    del first
    second, made, links = pinned.start()
    assert made == ["guard"]
    assert links == dict.fromkeys(LINKS, "updated")
    assert [attached_ids(port) for port in pinned.ports] == before
    assert all(len(ids) == 1 for ids in before)
    assert second.tables.epoch == 1
    assert ask(second.loader, "192.0.2.1") == engine.DropReason.LISTED_SOURCE
    assert ask(second.loader, "198.51.100.7") == engine.DropReason.BLOCKED_SOURCE
    assert second.tables.compare_overlay().wanted == 1


def test_a_larger_base_gets_new_maps_together_and_goes_on_with_the_old_control(pinned: Pinned) -> None:
    first, _, _ = pinned.start()
    first.tables.flip()
    first.tables.set_bypass_until(77)
    first.tables.set_probe_nonce(5)
    first.tables.set_names_active(True)
    first.tables.put_overlay(*mapped("198.51.100.7/32"), 1 << 63, 0)
    larger = engine.Capacity(ROOM.bitmaps * 2, ROOM.v6_buckets, ROOM.v6_slots)
    second, made, links = pinned.start(larger)
    assert set(made) == BASE_MAPS | {"guard"}
    assert links == dict.fromkeys(LINKS, "updated")
    assert second.loader.capacity() == larger
    assert (second.tables.epoch, second.tables.bypass_until()) == (1, 77)
    assert second.tables.hold_state()["names_active"]
    second.tables.set_bypass_until(0)
    assert ask(second.loader, "198.51.100.7") == engine.DropReason.BLOCKED_SOURCE
    third, made, _ = pinned.start(ROOM)
    assert made == ["guard"]
    assert third.loader.capacity() == larger


def test_maps_of_another_shape_or_version_are_made_anew(pinned: Pinned) -> None:
    first, _, _ = pinned.start()
    folder = pinned.directory / f"maps-{engine.LIMITS['ABI_VERSION']}"
    (folder / "facts").unlink()
    (folder / "observed_drops").rename(folder / "facts")
    del first
    _, made, _ = pinned.start()
    assert set(made) == {"facts", "observed_drops", "guard"}
    other = pinned.directory / "maps-0"
    other.mkdir()
    for path in folder.iterdir():
        path.rename(other / path.name)
    gateway, made, links = pinned.start()
    assert set(made) == set(gateway.loader.map_fds())
    assert links == dict.fromkeys(LINKS, "updated")
    assert not other.exists()


def test_a_link_whose_port_is_gone_is_replaced(pinned: Pinned) -> None:
    pinned.start()
    inside, outside = pinned.ports
    with inside.namespace.links() as links:
        links.link("del", index=inside.index())
    assert engine.Loader(str(pinned.directory)).links() == {"tcx-inside": 0, "tcx-outside": outside.index()}
    wire(inside, End(Namespace(inside.namespace.name.replace("near", "far")), "far-again"))
    gateway, _, how = pinned.start()
    assert how == {"tcx-inside": "replaced", "tcx-outside": "updated"}
    assert gateway.loader.links()["tcx-inside"] == inside.index()
    assert len(attached_ids(inside)) == 1


def test_a_link_on_another_port_is_moved_and_the_old_port_is_free(pinned: Pinned) -> None:
    pinned.start()
    inside, outside = pinned.ports
    third = End(inside.namespace, "third")
    wire(third, End(Namespace(inside.namespace.name.replace("near", "far")), "far-third"))
    pinned.ports = (third, outside)
    gateway, _, how = pinned.start()
    assert how == {"tcx-inside": "moved", "tcx-outside": "updated"}
    assert gateway.loader.links()["tcx-inside"] == third.index()
    assert (len(attached_ids(inside)), len(attached_ids(third))) == (0, 1)


def test_the_same_ifindex_in_another_namespace_is_another_port(pinned: Pinned) -> None:
    pinned.start()
    near = pinned.ports[0].namespace
    twin = Namespace(near.name.replace("near", "twin"))
    try:
        twin.create()
        made = End(twin, "inside"), End(twin, "outside")
        with twin.links() as links:
            for port, old in zip(made, pinned.ports, strict=True):
                far = {"ifname": f"far-{port.interface}"}
                links.link("add", ifname=port.interface, kind="veth", index=old.index(), peer=far)
        olds, pinned.ports = pinned.ports, made
        _, _, how = pinned.start()
        assert how == dict.fromkeys(LINKS, "moved")
        assert [len(attached_ids(port)) for port in (*olds, *made)] == [0, 0, 1, 1]
    finally:
        twin.remove()


def test_xdp_comes_and_goes_with_its_pins(pinned: Pinned) -> None:
    gateway, _, links = pinned.start(xdp=True)
    assert links == dict.fromkeys(LINKS + XDP_LINKS, "attached")
    assert (pinned.directory / "programs" / "xdp").exists()
    assert gateway.loader.links()["xdp-inside"] == pinned.ports[0].index()
    _, _, links = pinned.start(xdp=True)
    assert links == dict.fromkeys(LINKS + XDP_LINKS, "updated")
    gateway, _, links = pinned.start(xdp=False)
    assert links == dict.fromkeys(LINKS, "updated")
    assert set(gateway.loader.links()) == set(LINKS)
    assert not (pinned.directory / "programs" / "xdp").exists()
    assert not (pinned.directory / f"maps-{engine.LIMITS['ABI_VERSION']}" / "ports").exists()


def test_detach_takes_everything_off_and_may_be_said_twice(pinned: Pinned) -> None:
    gateway, _, _ = pinned.start(xdp=True)
    assert sorted(engine.Loader(str(pinned.directory)).detach()) == sorted(LINKS + XDP_LINKS)
    assert [len(attached_ids(port)) for port in pinned.ports] == [0, 0]
    assert not pinned.directory.exists()
    assert engine.Loader(str(pinned.directory)).detach() == []
    del gateway


def test_a_loader_that_did_not_load_asks_what_is_pinned(pinned: Pinned) -> None:
    gateway, _, _ = pinned.start()
    gateway.tables.fill(base("192.0.2.0/24"))
    gateway.tables.flip()
    gateway.loader.close_programs()
    assert ask(gateway.loader, "192.0.2.1") == engine.DropReason.LISTED_SOURCE
    other = engine.Loader(str(pinned.directory))
    assert ask(other, "192.0.2.1") == engine.DropReason.LISTED_SOURCE
    assert other.capacity() == ROOM
    assert engine.Tables(other.map_fds(), other.capacity()).epoch == 1
    with pytest.raises(ValueError, match="load"):
        other.attach()
    with pytest.raises(ValueError, match="no xdp program"):
        ask(other, "192.0.2.1", hook="xdp")


KILLED = """
import os, sys
from clearway import _engine as engine
from clearway.lab.namespace import Namespace
directory, namespace, inside, outside = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
loader = engine.Loader(directory)
loader.load(engine.Settings(inside_ifindex=inside, outside_ifindex=outside), engine.Capacity(1024, 4, 16), xdp=False)
Namespace(namespace).call(loader.attach)
sys.stdout.write("attached\\n"); sys.stdout.flush()
while True:
    Namespace(namespace).call(loader.attach)
"""


def test_a_process_killed_in_any_moment_of_attach_leaves_what_the_next_goes_on_with(pinned: Pinned) -> None:
    numbers = [str(port.index()) for port in pinned.ports]
    arguments = [str(pinned.directory), pinned.ports[0].namespace.name, *numbers]
    for turn in range(5):
        process = subprocess.Popen([sys.executable, "-c", KILLED, *arguments], stdout=subprocess.PIPE)
        assert process.stdout
        assert process.stdout.readline() == b"attached\n"
        time.sleep(0.003 * turn)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        assert [len(attached_ids(port)) for port in pinned.ports] == [1, 1]
        _, made, how = pinned.start()
        assert how == dict.fromkeys(LINKS, "updated")
        assert made == ["guard"]
    assert not list(pinned.directory.rglob("*-new"))


def test_without_pins_links_end_with_the_loader(ports: Ports) -> None:
    loader = engine.Loader(None)
    inside, outside = (port.index() for port in ports)
    loader.load(engine.Settings(inside_ifindex=inside, outside_ifindex=outside), ROOM, xdp=False)
    assert ports[0].namespace.call(loader.attach) == dict.fromkeys(LINKS, "attached")
    assert [len(attached_ids(port)) for port in ports] == [1, 1]
    loader.close_programs()
    assert [len(attached_ids(port)) for port in ports] == [0, 0]


def test_pins_outside_a_bpffs_are_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(PinsUnusable, match="mount -t bpf"):
        engine.Loader(str(tmp_path / "pins"))


def test_a_port_that_is_not_there_is_refused(pinned: Pinned) -> None:
    loader = engine.Loader(str(pinned.directory))
    loader.load(engine.Settings(inside_ifindex=9999, outside_ifindex=9998), ROOM, xdp=False)
    with pytest.raises(KernelRefused, match="attach a program to the port with ifindex 9999"):
        pinned.inside(loader.attach)


def test_a_program_that_the_kernel_refuses_is_told_with_its_reason(tmp_path: Path) -> None:
    broken = tmp_path / "broken.o"
    broken.write_bytes(b"no object")
    with pytest.raises(KernelRefused, match="open the tcx program"):
        engine.Loader(None, tcx_object=str(broken)).load(
            engine.Settings(inside_ifindex=1, outside_ifindex=1), ROOM, xdp=False
        )


def test_a_map_updated_through_the_pins_is_the_map_that_programs_read(pinned: Pinned) -> None:
    gateway, _, _ = pinned.start()
    other = engine.Loader(str(pinned.directory))
    update(other.map_fds()["control"], index(0), struct.pack("=IIQQ", 4, 9, 0, 0))
    assert gateway.tables.epoch == 4


def test_detach_is_not_stopped_by_a_port_that_is_gone(pinned: Pinned) -> None:
    pinned.start(xdp=True)
    inside = pinned.ports[0]
    with inside.namespace.links() as links:
        links.link("del", index=inside.index())
    assert sorted(engine.Loader(str(pinned.directory)).detach()) == ["tcx-outside", "xdp-outside"]
    assert not pinned.directory.exists()
