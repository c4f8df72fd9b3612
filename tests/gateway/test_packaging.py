"""The systemd unit is one that systemd takes, and leaves what the gateway needs."""

import configparser
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from patience import HUNG_S

from clearway.gateway import rights
from clearway.gateway.kernel_probe import CAPABILITIES_NEEDED

UNIT = Path(__file__).parents[2] / "packaging" / "clearway.service"


def service() -> dict[str, str]:
    parser = configparser.ConfigParser(interpolation=None, strict=True)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(UNIT)
    return dict(parser["Service"])


def test_it_waits_for_ready_and_signals_the_daemon_alone() -> None:
    settings = service()
    assert (settings["Type"], settings["NotifyAccess"], settings["KillMode"]) == ("notify", "main", "mixed")
    assert "clearway run" in settings["ExecStart"] and "ExecStop" not in settings, "stopping takes nothing off the wire"


def test_it_leaves_every_capability_that_a_start_needs() -> None:
    left = service()["CapabilityBoundingSet"].lower().replace("cap_", "").split()
    assert set(CAPABILITIES_NEEDED) <= set(left)


def test_it_forbids_nothing_that_the_ports_or_pins_need() -> None:
    settings = service()
    assert "ProtectKernelTunables" not in settings, "IPv6 of the ports is switched below /proc/sys"
    assert settings["ProtectSystem"] == "full", "strict would close the state directory"
    assert settings["RestrictNamespaces"] == "mnt"


def test_it_lets_the_inspector_go_before_others_and_nothing_else() -> None:
    settings = service()
    assert settings["LimitNICE"] == str(rights.NICE_LEAST)
    assert "Nice" not in settings


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_takes_it(tmp_path: Path) -> None:
    unit = tmp_path / "clearway.service"
    unit.write_text(UNIT.read_text().replace("/usr/bin/clearway", sys.executable))
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, timeout=HUNG_S)
    complaints = [line for line in done.stderr.splitlines() if "clearway" in line]
    assert complaints == []
