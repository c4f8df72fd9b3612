"""runtime.json: what the gateway did to the machine, so that `detach`, and the next start, can undo or continue it."""

from dataclasses import dataclass, replace
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
        )

    def of_same_machine(self, other: "Runtime") -> bool:
        """Do both speak of one boot and one network namespace? Interface numbers mean nothing beyond that."""
        return (self.boot_id, self.network_namespace) == (other.boot_id, other.network_namespace)

    def continuing(self, earlier: "Runtime | None") -> "Runtime":
        """This record, with what an earlier one knows of the same ports: how they were before anything was changed."""
        if earlier is None or not self.of_same_machine(earlier):
            return self
        before = {port.ifindex: port.before for port in earlier.ports.values()}
        ports = {side: replace(port, before=before.get(port.ifindex, port.before)) for side, port in self.ports.items()}
        return replace(self, ports=ports)
