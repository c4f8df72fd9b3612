"""What `status` says of the two ports, from what netlink said of them; test_wire_follows.py has real ones."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from clearway.errors import ClearwayError
from clearway.gateway import netlink, ports
from clearway.gateway.netlink import Link
from clearway.gateway.ports import PortSettings
from clearway.gateway.runtime import PortRecord, Runtime
from clearway.gateway.wire import TheWire, problems_of

WELL = {"present": True, "up": True, "carrier": True, "mtu": 1500}
IN, OUT = {**WELL, "name": "in0"}, {**WELL, "name": "out0"}
DOWN = {"up": False, "carrier": False}


@pytest.mark.parametrize(
    "inside, outside, taken_down, told",
    [
        ({}, {}, None, []),
        (
            {"carrier": False},
            {},
            None,
            ["port in0 has no link, so nothing crosses: look at its cable and its other end"],
        ),
        (DOWN, {}, None, ["port in0 is set down, so nothing crosses: ip link set in0 up"]),
        (
            {"carrier": False},
            DOWN,
            "outside",
            [
                "port in0 has no link, so nothing crosses: look at its cable and its other end",
                "port out0 is down, since in0 has no link",
            ],
        ),
        (
            {},
            {"mtu": 1400},
            None,
            [
                "the ports differ in MTU: in0 has 1500, out0 has 1400 [gateway.E003]. "
                "Make them equal, or large packets are lost: ip link set out0 mtu 1500"
            ],
        ),
        ({"present": False, **DOWN, "mtu": None}, {}, None, []),
    ],
    ids=["well", "no carrier", "set down", "followed", "another MTU", "gone, which is told elsewhere"],
)
def test_each_port_that_carries_nothing_is_told_with_what_mends_it(
    inside: dict[str, Any], outside: dict[str, Any], taken_down: str | None, told: list[str]
) -> None:
    assert problems_of({"inside": {**IN, **inside}, "outside": {**OUT, **outside}}, taken_down) == told


def test_a_port_that_is_back_and_refused_is_not_told_as_gone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    there = {index: _link(index, name) for index, name in ((1, "in0"), (2, "out0"))}
    monkeypatch.setattr(netlink, "link_by_index", there.get)
    monkeypatch.setattr(netlink, "link_by_name", lambda name: next((x for x in there.values() if x.name == name), None))
    monkeypatch.setattr(ports, "keep", lambda link, target: [])
    asked: list[int] = []
    record = {"inside": PortRecord("in0", 1, PortSettings()), "outside": PortRecord("out0", 2, PortSettings())}
    runtime = Runtime("main", "boot", 0, False, record)
    wire = TheWire(runtime, tmp_path / "runtime.json", follow=True, on_new_port=lambda: asked.append(1))
    wire.look()
    assert wire.problems() == []

    del there[2]
    wire.look()
    assert (wire.problems(), asked) == (["port out0 is gone"], [])

    there[3] = replace(_link(3, "out0"), mtu=1400)
    wire.look()
    assert asked == [1]
    wire.refused = ClearwayError.of("gateway.E003", inside="in0", inside_mtu=1500, outside="out0", outside_mtu=1400)
    (told,) = wire.problems()
    assert told.startswith("port out0 is back and cannot be used: the ports differ in MTU: in0 has 1500, out0 has 1400")
    assert told.endswith("ip link set out0 mtu 1500")

    del there[3]
    wire.look()
    assert wire.problems() == ["port out0 is gone"], "what it was refused for has gone with it"

    there[4] = _link(4, "out0")
    wire.look()
    record = {**record, "outside": PortRecord("out0", 4, PortSettings())}
    wire.adopt(replace(runtime, ports=record))
    wire.look()
    assert wire.problems() == []


def _link(index: int, name: str) -> Link:
    return Link(
        index=index,
        name=name,
        flags=netlink.IFF_UP,
        device_type=netlink.ARPHRD_ETHER,
        mtu=1500,
        carrier=True,
        operational=True,
        master=0,
        kind="veth",
        parent_device="",
        xdp_program=0,
    )
