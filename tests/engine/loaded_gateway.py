"""A gateway's programs in the kernel, attached to nothing, with what reads and writes their tables."""

from typing import NamedTuple

from clearway import _engine as engine

ROOM = engine.Capacity(1024, 4, 16)


class Gateway(NamedTuple):
    loader: engine.Loader
    tables: engine.Tables


def load(loader: engine.Loader, capacity: engine.Capacity = ROOM, xdp: bool = False) -> Gateway:
    settings = engine.Settings(inside_ifindex=1, outside_ifindex=1)
    loader.load(settings, capacity, xdp=xdp)
    return Gateway(loader, engine.Tables(loader.map_fds(), loader.capacity()))
