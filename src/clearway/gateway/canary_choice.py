"""Picks the addresses that canaries are made of: some that must fall and some that must pass, other ones each time."""

import random
from collections.abc import Callable
from typing import Any, TypeVar

from clearway._engine import DropReason
from clearway.gateway import canary
from clearway.gateway.canary import Canary
from clearway.gateway.enforcer import Enforcer
from clearway.gateway.guard import GUARD_INSIDE, GUARD_LINK, Guard
from clearway.policy.compile import CELL_BITMAP, CELL_OBSERVED, CompiledBase
from clearway.policy.model import Prefix
from clearway.policy.snapshot import Snapshot

_MAPPED = 0xFFFF << 32
SAMPLE = 16
"""Single entries that are looked at for one that a canary can be made of."""
_Entry = TypeVar("_Entry")


def choose(
    enforcer: Enforcer, snapshot: Snapshot | None, guard: Guard, inside_known: bool, chance: random.Random
) -> list[Canary]:
    """Up to one canary of each kind and family, for what is wanted just now. Addresses that the spoof guard would
    judge first are left out."""
    compiled = snapshot.compiled if snapshot is not None else None
    chosen: list[Canary] = []
    for version in (4, 6):
        free = _free_test(enforcer, snapshot, guard)
        other = canary.unlisted(version, free, chance)
        clean = canary.unlisted(version, free, chance)
        if other is None or clean is None:
            continue
        chosen.append(canary.inbound("clean", clean, other, DropReason.FORWARDED))
        listed = listed_address(compiled, version, chance) if compiled is not None else None
        if listed is not None and enforcer.overlay_covering(listed) is None and not _flags(guard, listed):
            chosen.append(canary.inbound("listed", listed, other, DropReason.LISTED_SOURCE))
        chosen += _blocked(enforcer, guard, version, other, chance)
        chosen += _green(enforcer, guard, inside_known, version, listed or other, chance)
    return chosen


def listed_address(compiled: CompiledBase, version: int, chance: random.Random) -> bytes | None:
    """An address that the compiled lists certainly refuse, or would, where they are only observed: the programs give
    the same reason. 16 bytes; None when they hold none of that family."""
    return _listed_v4(compiled, chance) if version == 4 else _listed_v6(compiled, chance)


def _listed_v4(compiled: CompiledBase, chance: random.Random) -> bytes | None:
    if not len(compiled.v4_cells):
        return None
    at = chance.randrange(len(compiled.v4_cells))
    network, cell = int(compiled.v4_cell_numbers[at]) << 8, int(compiled.v4_cells[at])
    if cell <= CELL_OBSERVED:
        return _v4(network | chance.randrange(256))
    words = [int(word) for word in compiled.v4_bitmaps[cell - CELL_BITMAP]]
    bits = [64 * n + bit for n, word in enumerate(words) for bit in range(64) if word >> bit & 1]
    return _v4(network | chance.choice(bits)) if bits else None


def _listed_v6(compiled: CompiledBase, chance: random.Random) -> bytes | None:
    if not len(compiled.v6_slots):
        return None
    slot: Any = compiled.v6_slots[chance.randrange(len(compiled.v6_slots))]
    length = int(slot["length"])
    if not slot["listed"] or length != compiled.v6_lengths[0]:  # of the longest there is, so nothing overrules it
        return None
    return (int(slot["high"]) << 64 | int(slot["low"])).to_bytes(16, "big")


def _blocked(enforcer: Enforcer, guard: Guard, version: int, other: bytes, chance: random.Random) -> list[Canary]:
    blocks = [wanted for wanted in _some(enforcer.overlay(), chance) if wanted.block_until]
    blocks = [wanted for wanted in blocks if wanted.prefix.version == version and not wanted.exception_until]
    if not blocks:
        return []
    wanted = chance.choice(blocks)
    address, _ = wanted.prefix.mapped()
    covering = enforcer.overlay_covering(address)
    if covering is None or covering.exception_until or not covering.block_until or _flags(guard, address):
        return []
    return [canary.inbound("blocked", address, other, DropReason.BLOCKED_SOURCE)]


def _green(
    enforcer: Enforcer, guard: Guard, inside_known: bool, version: int, listed: bytes, chance: random.Random
) -> list[Canary]:
    grants = [grant for grant in _some(enforcer.green(), chance) if grant.prefix.version == version]
    if not grants:
        return []
    address, _ = chance.choice(grants).prefix.mapped()
    if inside_known and not _flags(guard, address) & (GUARD_INSIDE | GUARD_LINK):
        return []
    return [canary.outbound_green(address, listed)]


def _some(entries: list[_Entry], chance: random.Random) -> list[_Entry]:
    return chance.sample(entries, min(len(entries), SAMPLE))


def _free_test(enforcer: Enforcer, snapshot: Snapshot | None, guard: Guard) -> Callable[[bytes], bool]:
    def is_free(address: bytes) -> bool:
        if _flags(guard, address) or enforcer.overlay_covering(address) is not None or enforcer.is_green(address):
            return False
        return snapshot is None or not _touched(snapshot, address)

    return is_free


def _touched(snapshot: Snapshot, address: bytes) -> bool:
    compiled = snapshot.compiled
    if canary.is_v4(address):
        number = int.from_bytes(address[12:], "big") >> 8
        at = int(compiled.v4_cell_numbers.searchsorted(number))
        return at < len(compiled.v4_cell_numbers) and int(compiled.v4_cell_numbers[at]) == number
    return bool(len(compiled.v6_slots)) and bool(snapshot.attribution(address))


def _flags(guard: Guard, address: bytes) -> int:
    host = Prefix.from_mapped(address)
    flags = 0
    for network, length, its in guard:
        if Prefix.from_mapped(network, length).covers(host):
            flags |= its
    return flags


def _v4(address: int) -> bytes:
    return (_MAPPED | address).to_bytes(16, "big")
