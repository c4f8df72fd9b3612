"""Brings what is wanted into the kernel: a compiled base by fill and flip, overlay and grants one entry at a time.

Two locks, so that a grant never waits for a list: `_base_turn` is held while a base is filled and flipped or tables
grow, `_overlay_turn` for the moment of one entry. Remembers what is wanted, so that a clock step, larger tables and the
read-back need no database. Methods may be called from any thread.
"""

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from functools import partial

from clearway import _engine
from clearway.errors import CapacityExceeded
from clearway.gateway.clock import Clock
from clearway.gateway.inspector_names import PUBLIC_ECH, NamesInForce, kernel_names, words_of
from clearway.gateway.loader_client import Loaded, LoaderProcess
from clearway.gateway.options import RunOptions
from clearway.policy.model import Prefix
from clearway.policy.snapshot import Snapshot
from clearway.store.change import GrantWanted, OverlayWanted

GROWTH_ROOM = 1.25
"""Larger tables get a quarter more than is needed, so that a list that grows slowly doesn't reload every time."""
EPOCHS_KEPT = 4
Published = tuple[_engine.Base, _engine.NameFilter | None]
"""What the kernel was given of a snapshot: addresses, and the filter of names where it has some."""
Capacity = tuple[int, int, int, int, int]
"""Elements a copy: bitmaps, v6_buckets, v6_slots, name_words, observed."""
_MAPPED = bytes(10) + b"\xff\xff"


class Enforcer:
    """The kernel's tables as this daemon writes them. `take` what the loader loaded before anything else."""

    def __init__(self, loader: LoaderProcess, clock: Clock, options: RunOptions | None = None) -> None:
        self._loader = loader
        self._clock = clock
        self.names = NamesInForce(loader, clock, options)
        self._base_turn = threading.RLock()
        self._overlay_turn = threading.Lock()
        self._overlay: dict[Prefix, OverlayWanted] = {}
        self._green: dict[Prefix, GrantWanted] = {}
        self._overlay_lengths: set[int] = set()
        self._green_lengths: set[int] = set()
        """Mapped lengths that occur, or did."""
        self._bypass_until: datetime | None = None
        self.dirty = False
        """A write failed after it was decided: the kernel lacks what is remembered here until `reconcile` succeeds."""
        self.tables: _engine.Tables
        self.events: _engine.Events
        self.loaded: Loaded
        self._waiting: tuple[_engine.Tables, Loaded] | None = None
        """Loaded, and not on both ports yet. Until it is, `tables` and `loaded` stay those that the ports run."""
        self._loading = False
        self.snapshot: Snapshot | None = None
        self.base: Published | None = None
        self.epochs: dict[int, Snapshot] = {}
        """Snapshot by the epoch it was published as, the last few."""
        self.grown = 0
        self.links_replaced = 0

    def take(self, loaded: Loaded) -> None:
        """The maps that everything is written to from now on."""
        self.loaded = loaded
        self.events = _engine.Events(loaded.map_fds["events"])
        map_fds = loaded.map_fds
        self.tables = _engine.Tables(map_fds, _engine.Capacity(*loaded.capacity))
        self.names.take(map_fds, self.tables)
        _close(loaded)

    # base

    def publish(self, snapshot: Snapshot) -> int:
        """Fills the idle copy and flips to it; larger tables first where it doesn't fit. The epoch it has now."""
        base, names = snapshot.base(), kernel_names(snapshot)
        needs = capacity_for(base.needs(), words_of(snapshot))
        with self._base_turn:
            self.names.before_publish(snapshot)
            _, newest = self._waiting or (self.tables, self.loaded)
            if not fits(needs, newest.capacity):
                self._load(roomy(needs, newest.capacity))
            if self._waiting is None:
                self.tables.fill(base, names, PUBLIC_ECH)
                epoch = self.tables.flip()
            else:
                epoch, _ = self._move((base, names))
            self._published(snapshot, (base, names), epoch)
            self.names.after_publish(snapshot)
            return epoch

    def republish(self) -> None:
        """Writes the same base again, where the live copy isn't what it should be."""
        with self._base_turn:
            if self.snapshot is not None:
                self.publish(self.snapshot)

    def reload(self) -> dict[str, str]:
        """Loads and attaches anew with tables of the same size: a port was replaced by another of its name."""
        with self._base_turn:
            self._load(self.loaded.capacity)
            return self.attach()

    def attach(self) -> dict[str, str]:
        """Puts the programs loaded last on the ports, never before their tables hold the base that is published.

        Counts the pinned links that had lost theirs.
        """
        with self._base_turn:
            if self._waiting is None:
                return self._attach()
            epoch, links = self._move(self.base)
            if self.base is not None and self.snapshot is not None:
                self._published(self.snapshot, self.base, epoch)
            return links

    def _load(self, capacity: Capacity) -> None:
        self._loading = True
        try:
            loaded = self._loader.load(capacity)
            self._waiting = _opened(loaded), loaded
        finally:
            self._loading = False

    @property
    def waiting(self) -> bool:
        """Programs are loaded that aren't on both ports: what they would say of a packet is not what happens to it."""
        return self._waiting is not None

    @property
    def replacing(self) -> bool:
        """They are, or are being loaded: from then on the loader process has no others to ask."""
        return self._loading or self.waiting

    def compare_base(self) -> _engine.Difference | None:
        """The live copy against what was published. None: a base is being written just now, or none is yet."""
        if not self._base_turn.acquire(blocking=False):
            return None
        try:
            return self.tables.compare_base(*self.base, PUBLIC_ECH) if self.base is not None else None
        finally:
            self._base_turn.release()

    def _move(self, base: Published | None) -> tuple[int, dict[str, str]]:
        """Gives the ports what waits, with that base in it. The epoch, and what was done by the links' names.

        Larger tables come with a control word of their own, so the programs on the ports aren't touched by the flip.
        When this fails at any step, everything goes on being written to what the ports run, and the next attempt begins
        at the fill: attach() may have reached one port of the two. Overlay and grants are the same maps, reopened.
        """
        assert self._waiting is not None
        tables, loaded = self._waiting
        with self._overlay_turn:
            tables.reconcile(*self._rows())
            tables.set_bypass_until(self._bypass_deadline())
        if base is not None:
            tables.fill(*base, PUBLIC_ECH)
            tables.flip()
        links = self._attach()
        with self._overlay_turn:
            tables.reconcile(*self._rows())  # what was decided meanwhile
            grew = loaded.capacity != self.loaded.capacity
            self.tables, self.loaded, self._waiting = tables, loaded, None
            self.names.follow(tables)
            self.tables.set_bypass_until(self._bypass_deadline())
        self.grown += grew
        return tables.epoch, links

    def _attach(self) -> dict[str, str]:
        links = self._loader.attach()
        self.links_replaced += sum(1 for what in links.values() if what == "replaced")
        return links

    def _published(self, snapshot: Snapshot, base: Published, epoch: int) -> None:
        self.snapshot, self.base = snapshot, base
        self.epochs[epoch] = snapshot
        for old in sorted(self.epochs)[:-EPOCHS_KEPT]:
            del self.epochs[old]

    # overlay and grants

    def enforce(
        self,
        overlay: Iterable[tuple[Prefix, OverlayWanted | None]],
        green: Iterable[tuple[Prefix, GrantWanted | None]],
    ) -> None:
        """What should stand at exactly these prefixes; None: nothing. All of it is remembered, also what fails."""
        failure: Exception | None = None
        with self._overlay_turn:
            for write in [
                *(partial(self._write_overlay, *each) for each in overlay),
                *(partial(self._write_green, *each) for each in green),
            ]:
                try:
                    self._with_room(write)
                except Exception as error:
                    self.dirty = True
                    failure = failure or error
        if failure is not None:
            raise failure

    def replace_all(self, overlay: Iterable[OverlayWanted], green: Iterable[GrantWanted]) -> None:
        """Makes overlay and grants exactly this: at start."""
        with self._overlay_turn:
            self._overlay = {wanted.prefix: wanted for wanted in overlay}
            self._green = {wanted.prefix: wanted for wanted in green}
            self._overlay_lengths = {prefix.mapped()[1] for prefix in self._overlay}
            self._green_lengths = {prefix.mapped()[1] for prefix in self._green}
            self.tables.reconcile(*self._rows())

    def reconcile(self) -> None:
        """Computes every boot-clock expiry anew: the wall clock stepped, or the kernel holds something else."""
        with self._overlay_turn:
            self.tables.reconcile(*self._rows())
            self.dirty = False
        self.names.renew()
        with self._overlay_turn:  # asked for within: what somebody decides just now must not be undone
            self._write_bypass()

    def sweep_expired(self) -> int:
        """Takes expired entries out. The kernel has ignored them since they expired; how many there were."""
        with self._overlay_turn:
            addresses = self._sweep()
        return addresses + self.names.sweep()

    def _with_room(self, write: Callable[[], None]) -> None:
        """Writes one entry; where the tables are full, what has expired makes room first."""
        try:
            write()
        except CapacityExceeded:
            if not self._sweep():
                raise
            write()

    def _sweep(self) -> int:
        now = self._clock.now()
        expired = [wanted for wanted in self._overlay.values() if _has_expired(wanted, now)]
        for wanted in expired:
            self._write_overlay(wanted.prefix, _still_live(wanted, now))
        ended = [grant.prefix for grant in self._green.values() if grant.until <= now]
        for prefix in ended:
            self._write_green(prefix, None)
        return len(expired) + len(ended)

    def overlay(self) -> list[OverlayWanted]:
        with self._overlay_turn:
            return list(self._overlay.values())

    def green(self) -> list[GrantWanted]:
        with self._overlay_turn:
            return list(self._green.values())

    def overlay_covering(self, address: bytes) -> OverlayWanted | None:
        """The longest live entry that covers an address (16 bytes), as the kernel finds it."""
        now = self._clock.now()
        for prefix in _covering(address, self._overlay_lengths):
            wanted = self._overlay.get(prefix)
            live = _still_live(wanted, now) if wanted is not None else None
            if live is not None:
                return live
        return None

    def is_green(self, address: bytes) -> bool:
        """Is an address (16 bytes) granted just now?"""
        now = self._clock.now()
        found = (self._green.get(prefix) for prefix in _covering(address, self._green_lengths))
        return any(grant is not None and grant.until > now for grant in found)

    def compare_overlay(self) -> _engine.Difference:
        """What the kernel holds against what was written. Both tables of a growth write the same maps: one that is left
        meanwhile does not know what is decided from then on."""
        while True:
            tables = self.tables
            difference = tables.compare_overlay()
            if tables is self.tables:
                return difference

    def mend_overlay(self) -> None:
        """Writes what differs anew."""
        with self._overlay_turn:  # tables that are left meanwhile would take out what the others write
            self.tables.mend_overlay()

    def set_bypass(self, until: datetime | None) -> None:
        """A plain wire until then; None, or a time that has passed: a gateway."""
        with self._overlay_turn:
            self._bypass_until = until
            self._write_bypass()

    def _write_bypass(self) -> None:
        deadline = self._bypass_deadline()
        try:
            self.tables.set_bypass_until(deadline)
            if self._waiting is not None:  # one of the ports may run it already
                self._waiting[0].set_bypass_until(deadline)
        except Exception:
            self.dirty = True
            raise

    def _bypass_deadline(self) -> int:
        until = self._bypass_until
        return self._clock.boot_deadline(until) if until is not None and until > self._clock.now() else 0

    def _write_overlay(self, prefix: Prefix, wanted: OverlayWanted | None) -> None:
        address, length = prefix.mapped()
        if wanted is None:
            self._overlay.pop(prefix, None)
            self.tables.remove_overlay(address, length)
            return
        self._overlay[prefix] = wanted
        self._overlay_lengths.add(length)
        self.tables.put_overlay(address, length, *self._deadlines(wanted))

    def _write_green(self, prefix: Prefix, wanted: GrantWanted | None) -> None:
        address, length = prefix.mapped()
        if wanted is None:
            self._green.pop(prefix, None)
            self.tables.remove_green(address, length)
            return
        self._green[prefix] = wanted
        self._green_lengths.add(length)
        self.tables.put_green(address, length, self._clock.boot_deadline(wanted.until))

    def _rows(self) -> tuple[list[tuple[bytes, int, int, int]], list[tuple[bytes, int, int]]]:
        overlay = [(*wanted.prefix.mapped(), *self._deadlines(wanted)) for wanted in self._overlay.values()]
        green = [(*wanted.prefix.mapped(), self._clock.boot_deadline(wanted.until)) for wanted in self._green.values()]
        return overlay, green

    def _deadlines(self, wanted: OverlayWanted) -> tuple[int, int]:
        return self._clock.boot_deadline(wanted.block_until), self._clock.boot_deadline(wanted.exception_until)


def _covering(address: bytes, lengths: set[int]) -> Iterator[Prefix]:
    """The prefixes of these mapped lengths that cover an address, longest first. No IPv6 prefix covers IPv4."""
    shortest = 96 if address.startswith(_MAPPED) else 0
    for length in sorted(lengths, reverse=True):
        if length >= shortest:
            yield Prefix.from_mapped(address, length)


def _opened(loaded: Loaded) -> _engine.Tables:
    """The tables, which keep descriptors of their own; those that were received are closed."""
    tables = _engine.Tables(loaded.map_fds, _engine.Capacity(*loaded.capacity))
    _close(loaded)
    return tables


def _close(loaded: Loaded) -> None:
    for descriptor in loaded.map_fds.values():
        os.close(descriptor)


def capacity_for(needs: _engine.Capacity, name_words: int) -> Capacity:
    """The least capacity for a base of these needs and a filter of so many words."""
    return needs.bitmaps, needs.v6_buckets, needs.v6_slots, name_words, needs.observed


def fits(needs: Capacity, held: Capacity) -> bool:
    """Does what needs so much fit tables of that capacity?"""
    return all(needed <= room for needed, room in zip(needs, held, strict=True))


def roomy(needs: Capacity, held: Capacity) -> Capacity:
    """The capacity to load for these needs, never less than what is held; buckets stay a power of two."""
    bitmaps, _, slots, words, observed = (
        max(needed if room >= needed else int(needed * GROWTH_ROOM), room, 1)
        for needed, room in zip(needs, held, strict=True)
    )
    return bitmaps, 1 << (max(needs[1], held[1], 1) - 1).bit_length(), slots, words, observed


def _has_expired(wanted: OverlayWanted, now: datetime) -> bool:
    return any(until is not None and until <= now for until in (wanted.block_until, wanted.exception_until))


def _still_live(wanted: OverlayWanted, now: datetime) -> OverlayWanted | None:
    block = wanted.block_until if wanted.block_until is not None and wanted.block_until > now else None
    exception = wanted.exception_until if wanted.exception_until is not None and wanted.exception_until > now else None
    return OverlayWanted(wanted.prefix, block, exception) if block or exception else None
