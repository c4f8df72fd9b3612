"""runtime.json: what the gateway did to the machine, so that `detach`, and the next start, can undo or continue it."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from clearway.gateway import durable
from clearway.gateway.ports import SIDES, PortSettings


@dataclass(frozen=True)
class PortRecord:
    name: str
    ifindex: int
    before: PortSettings
    """How the port was set before the gateway first touched it."""

    def as_json(self) -> dict[str, Any]:
        return {"name": self.name, "ifindex": self.ifindex, "before": self.before.as_json()}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "PortRecord":
        return cls(str(data["name"]), int(data["ifindex"]), PortSettings.from_json(data["before"]))


@dataclass(frozen=True)
class Runtime:
    name: str
    boot_id: str
    network_namespace: int
    """Inode of the network namespace that the ports are in."""
    xdp: bool
    ports: dict[str, PortRecord]
    """By side."""
    taken_down: str | None = None
    """The side that link-follow has taken down and not lifted yet."""
    epochs: dict[int, str] = field(default_factory=dict)
    """Snapshot folder by epoch, the last few: a drop event of an earlier epoch can still be told."""

    def save(self, path: Path) -> None:
        durable.write_json(
            path,
            {
                "name": self.name,
                "boot_id": self.boot_id,
                "network_namespace": self.network_namespace,
                "xdp": self.xdp,
                "ports": {side: port.as_json() for side, port in self.ports.items()},
                "taken_down": self.taken_down,
                "epochs": {str(epoch): folder for epoch, folder in self.epochs.items()},
            },
        )

    @classmethod
    def load(cls, path: Path) -> "Runtime | None":
        """None when there is none, or it can't be read: then nothing is known about before."""
        data = durable.read_json(path)
        try:
            return cls._from_json(data) if data is not None else None
        except (KeyError, TypeError, ValueError):
            return None

    @classmethod
    def _from_json(cls, data: dict[str, Any]) -> "Runtime":
        taken_down = data.get("taken_down")
        return cls(
            name=str(data["name"]),
            boot_id=str(data["boot_id"]),
            network_namespace=int(data["network_namespace"]),
            xdp=bool(data["xdp"]),
            ports={side: PortRecord.from_json(data["ports"][side]) for side in SIDES},
            taken_down=taken_down if taken_down in SIDES else None,
            epochs={int(epoch): str(folder) for epoch, folder in data.get("epochs", {}).items()},
        )

    def of_same_ports(self, other: "Runtime") -> bool:
        """Do both speak of the same interfaces, not of others that have taken their names or numbers since?"""
        return (self.boot_id, self.network_namespace) == (other.boot_id, other.network_namespace) and all(
            self.ports[side].ifindex == other.ports[side].ifindex for side in SIDES
        )

    def continuing(self, earlier: "Runtime | None") -> "Runtime":
        """This record with what an earlier one knows of the same ports: how they were before, and what is down."""
        if earlier is None or not self.of_same_ports(earlier):
            return self
        ports = {side: replace(self.ports[side], before=earlier.ports[side].before) for side in SIDES}
        return replace(self, ports=ports, taken_down=earlier.taken_down, epochs=dict(earlier.epochs))
