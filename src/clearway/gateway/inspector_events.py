"""What the inspector says of a refusal, in the shape of a drop event. Holds the name that matched, never another."""

from dataclasses import dataclass
from typing import Any

from clearway._engine import Direction, DropReason, Lane

_EVE = {"dns": ("dns", "rrname"), "http": ("http", "hostname"), "tls": ("tls", "sni"), "quic": ("quic", "sni")}
"""Where Suricata's readers look for a name."""
_MAPPED = bytes(10) + b"\xff\xff"


@dataclass(frozen=True)
class RefusedName:
    """A flow or query that was refused; the packet that completed the name stands for it."""

    boot_ns: int
    name_protocol: str
    name: str
    entry: str
    scope: str
    list: int | None
    """Number of the list in the snapshot; None: a single name."""
    rule: str
    reason: str
    source: bytes
    source_port: int
    destination: bytes
    destination_port: int
    protocol: int
    direction: Direction
    answered: str
    """dns, http, reset, unreachable; empty: nothing was said."""
    observed: bool
    epoch: int
    vlan: int = 0
    length: int = 0
    ttl: int = 0
    lane: Lane = Lane.INSPECTED
    drop_reason: DropReason = DropReason.REFUSED_NAME

    @classmethod
    def of_json(cls, told: dict[str, Any], epoch: int) -> "RefusedName":
        """From a message of the inspector process."""
        return cls(
            **{
                **told,
                "source": bytes.fromhex(told["source"]),
                "destination": bytes.fromhex(told["destination"]),
                "direction": Direction(told["direction"]),
                "epoch": epoch,
            }
        )

    @property
    def ip_version(self) -> int:
        return 4 if self.source.startswith(_MAPPED) else 6

    def eve_fields(self) -> dict[str, Any]:
        """What stands in eve.json beside the fields of every drop."""
        room, field = _EVE.get(self.name_protocol, ("clearway_name", "name"))
        return {room: {field: self.name}, "drop": {"reason": "refused-name", "answered": self.answered or None}}
