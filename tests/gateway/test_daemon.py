"""The daemon's life: ready, ending, dying, taken over, refused. Real namespaces, real programs, one wire a test."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from children import in_child
from patience import HUNG_S, until
from running import CLEARWAY, Running, gateway
from wires import INSIDE_ADDRESS, OUTSIDE_ADDRESS, Wire, inside_of, ip

from clearway.errors import ClearwayError
from clearway.gateway import daemon, ethtool, kernel_probe, locks, netlink, ports, start
from clearway.gateway.options import RunOptions

ATTACKER = "198.51.100.66"


def test_it_says_ready_when_packets_cross_and_tells_systemd(wire: Wire, tmp_path: Path) -> None:
    notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notices.bind(str(tmp_path / "notify"))
    notices.settimeout(HUNG_S)
    with gateway(wire, tmp_path / "state") as running:
        assert running.is_cut()
        running.start(NOTIFY_SOCKET=str(tmp_path / "notify"))
        until(running.pings, "nothing crosses at ready")  # the hosts' own side of their wires may take a second
        assert running.said().splitlines().count("ready") == 1
        notice = notices.recv(200).decode().splitlines()
        assert notice[0] == "READY=1" and notice[1] == f"MAINPID={running.pid}"
        assert running.stop() == 0
        assert notices.recv(200) == b"STOPPING=1"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_daemon_and_leaves_the_kernel_enforcing(
    wire: Wire, tmp_path: Path, number: signal.Signals
) -> None:
    with gateway(wire, tmp_path / "state") as running:
        running.start()
        assert running.pings()
        running.clearway("block", OUTSIDE_ADDRESS, "--reason", "scanner", "--until", "1h")
        assert running.is_cut()
        assert running.process is not None
        running.process.send_signal(number)
        assert running.process.wait(HUNG_S) == 0
        assert running.is_cut(), "the block is enforced without a daemon"
        running.start()
        assert running.is_cut(), "and by the next one"
        running.clearway("unblock", OUTSIDE_ADDRESS)
        assert running.pings()


def test_killed_it_enforces_and_is_found_from_another_mount_namespace(wire: Wire, tmp_path: Path) -> None:
    """`ip netns exec` hides the bpffs from each of its children; the pins lie in PID 1's."""
    with gateway(wire, tmp_path / "state") as running:
        with inside_of(wire.gateway):
            before = {name: read(name) for name in ("inside", "outside")}
        running.start()
        running.clearway("block", OUTSIDE_ADDRESS, "--reason", "scanner", "--until", "1h")
        running.kill()
        assert running.is_cut()

        running.start()
        status = running.status()
        assert running.is_cut()
        assert status["links"] == {"tcx-inside": "up", "tcx-outside": "up"}
        assert status["links_replaced"] == 0 and status["overlay"] == 1
        running.kill()

        done = running.clearway("detach", "--name", running.name)
        assert done["links"] == ["tcx-inside", "tcx-outside"] and done["stopped_pid"] is None
        assert running.is_cut(), "two ports without a wire between them"
        with inside_of(wire.gateway):
            assert {name: read(name) for name in ("inside", "outside")} == before
        assert running.clearway("detach", "--name", running.name)["links"] == [], "nothing attached is fine as well"


def read(name: str) -> ports.PortSettings:
    link = netlink.link_by_name(name)
    assert link is not None
    return ports.read(link)


def test_detach_stops_a_running_daemon_first(wire: Wire, tmp_path: Path) -> None:
    with gateway(wire, tmp_path / "state") as running:
        running.start()
        done = running.clearway("detach", "--name", running.name)
        assert done["stopped_pid"] == running.pid
        assert running.process is not None and running.process.wait(HUNG_S) == 0
        assert not (tmp_path / "state" / "runtime.json").exists()


def test_detach_from_outside_the_namespace_restores_the_ports_in_it(wire: Wire, tmp_path: Path) -> None:
    with gateway(wire, tmp_path / "state") as running:
        running.start()
        running.stop()
        words = ["detach", "--name", running.name, "--state", str(running.state), "--json"]
        done = subprocess.run([*CLEARWAY, *words], capture_output=True, text=True, timeout=HUNG_S)
        assert done.returncode == 0, done.stdout
        assert json.loads(done.stdout)["restored"].keys() == {"inside", "outside"}
        with inside_of(wire.gateway):
            assert not ethtool.gro("inside")


def test_detach_takes_the_wire_off_where_the_disk_has_become_read_only(wire: Wire, tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=0750", "state", state], check=True)
    try:
        with gateway(wire, state) as running:
            running.start()
            running.kill()
            subprocess.run(["mount", "-o", "remount,ro", state], check=True)
            done = running.clearway("detach", "--name", running.name)
            assert done["links"] == ["tcx-inside", "tcx-outside"] and done["restored"].keys() == {"inside", "outside"}
            assert [note for note in done["notes"] if "runtime.json stays: Read-only file system" in note]
            assert running.clearway("detach", "--name", running.name)["links"] == []
    finally:
        subprocess.run(["umount", state], check=True)


@pytest.mark.parametrize("known", [True, False])
def test_detach_without_the_state_directory_restores_the_ports_or_says_that_it_cannot(
    wire: Wire, tmp_path: Path, known: bool
) -> None:
    with gateway(wire, tmp_path / "state") as running:
        with inside_of(wire.gateway):
            before = {name: read(name) for name in ("inside", "outside")}
        running.start()
        if not known:
            locks.state_of_name(running.name).unlink()
        words = ["detach", "--name", running.name, "--state", str(tmp_path / "other"), "--json"]
        done = subprocess.run(running.command(*words), capture_output=True, text=True, timeout=HUNG_S)
        assert done.returncode == 0, done.stdout
        told = json.loads(done.stdout)
        assert told["links"] == ["tcx-inside", "tcx-outside"] and told["stopped_pid"] == running.pid
        assert not locks.state_of_name(running.name).exists()
        if not known:
            assert "Promiscuous mode, GRO, VLAN offload and IPv6 stay" in told["notes"][0]
            return
        assert told["restored"].keys() == {"inside", "outside"} and not told["notes"]
        with inside_of(wire.gateway):
            assert {name: read(name) for name in ("inside", "outside")} == before


def refused(running: Running) -> dict[str, str]:
    """The error of a `run` that doesn't start."""
    done = subprocess.run(
        running.command(*running.run_words(), "--json"), capture_output=True, text=True, timeout=HUNG_S
    )
    assert done.returncode == 3, done.stdout + done.stderr
    error: dict[str, str] = json.loads(done.stdout)["error"]
    return error


def test_a_second_daemon_is_refused_with_the_pid_of_the_first(wire: Wire, tmp_path: Path) -> None:
    with gateway(wire, tmp_path / "state") as first, gateway(wire, tmp_path / "other") as second:
        first.start()
        same_state = refused(first)
        assert same_state["id"] == "gateway.E007" and str(first.pid) in same_state["message"]
        assert f"`clearway detach --name {first.name}`" in same_state["fix"]
        second.name = f"{first.name}-b"
        same_ports = refused(second)
        assert same_ports["id"] == "gateway.E007"
        assert str(first.pid) in same_ports["message"] and "port inside" in same_ports["message"]
        assert f"`clearway detach --name {first.name}`" in same_ports["fix"], "the one that holds them"
        assert first.pings(), "and the first one goes on"


def test_programs_of_another_gateway_on_the_port_are_refused_by_name(wire: Wire, tmp_path: Path) -> None:
    with gateway(wire, tmp_path / "state") as first, gateway(wire, tmp_path / "other") as second:
        first.start()
        first.kill()
        second.name = f"{first.name}-b"
        error = refused(second)
        assert error["id"] == "gateway.E008" and first.name in error["message"]
        assert f"--name {first.name}" in error["fix"]


def test_a_name_whose_programs_stand_on_other_ports_is_not_moved_silently(wire: Wire, tmp_path: Path) -> None:
    with gateway(wire, tmp_path / "state") as running:
        running.start()
        running.kill()
        ip("link", "add", "third", "type", "veth", "peer", "name", "fourth", namespace=wire.gateway)
        words = ["run", "--inside", "inside", "--outside", "third", "--name", running.name, "--json"]
        command = running.command(*words, "--state", str(running.state))
        done = subprocess.run(command, capture_output=True, text=True, timeout=HUNG_S)
        assert json.loads(done.stdout)["error"]["id"] == "gateway.E005"
        assert running.pings(), "the wire that is there goes on"


def test_it_survives_the_shell_that_started_it(wire: Wire, tmp_path: Path) -> None:
    with gateway(wire, tmp_path / "state") as running:
        words = " ".join(running.command(*running.run_words()))
        shell = subprocess.Popen(
            ["sh", "-c", f"{words} 2>{running.log} & echo $!; sleep 60"], stdout=subprocess.PIPE, text=True
        )
        assert shell.stdout is not None
        pid = int(shell.stdout.readline())
        until(lambda: running.log.exists() and "ready" in running.said(), "not ready")
        shell.kill()
        shell.wait()
        os.kill(pid, signal.SIGHUP)
        time.sleep(0.3)
        assert running.pings() and running.status()["gateway"]["pid"] == pid


def test_what_is_stored_while_it_starts_is_enforced_at_ready(wire: Wire, tmp_path: Path) -> None:
    """Commands race with the start; each ends up in the database before its last look, or at the daemon's socket."""
    with gateway(wire, tmp_path / "state") as running:
        running.clearway("block", "203.0.113.255", "--reason", "scanner", "--until", "1h")
        running.spawn()
        commands = []
        for number in range(5):
            words = ["block", f"203.0.113.{number}", "--reason", "scanner", "--until", "1h"]
            command = [*CLEARWAY, *words, "--state", str(running.state)]
            commands.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE))
            time.sleep(0.1)
        running.wait_ready()
        for process in commands:
            assert process.wait(HUNG_S) == 0, process.stderr
        for number in (*range(5), 255):
            assert running.fate(f"203.0.113.{number}", INSIDE_ADDRESS, "inbound")[0] == "blocked-source"
        assert running.status()["overlay"] == 6


def test_a_link_whose_port_is_gone_is_replaced_and_counted(wire: Wire, tmp_path: Path) -> None:
    with gateway(wire, tmp_path / "state") as running:
        running.start()
        running.kill()
        replace_port(wire)
        running.start()
        assert running.status()["links_replaced"] == 1
        assert running.pings()


def test_a_port_that_comes_back_is_taken_in_while_it_runs(wire: Wire, tmp_path: Path) -> None:
    with gateway(wire, tmp_path / "state") as running:
        running.start()
        running.clearway("block", ATTACKER, "--reason", "scanner", "--until", "1h")
        ip("link", "del", "outside", namespace=wire.gateway)
        until(lambda: running.status()["health"]["problems"], "a missing port is no problem")
        assert "port outside is gone" in running.status()["health"]["problems"]
        replace_port(wire, there=False)
        until(running.pings, "nothing crosses after the port came back")
        assert running.fate(ATTACKER, INSIDE_ADDRESS, "inbound")[0] == "blocked-source"
        until(lambda: running.status()["ports"]["outside"]["present"], "the new port isn't looked at")


def test_a_port_that_comes_back_with_another_mtu_is_told_so_and_taken_in_once_it_is_mended(
    wire: Wire, tmp_path: Path
) -> None:
    def problems() -> str:
        return "\n".join(running.status()["health"]["problems"])

    with gateway(wire, tmp_path / "state") as running:
        running.start()
        replace_port(wire, mtu=1400)
        until(lambda: "is back and cannot be used: the ports differ in MTU" in problems(), "no cause is told")
        assert "ip link set outside mtu 1500" in problems() and "is gone" not in problems()
        time.sleep(2.5)
        assert running.said().count("the port that came back cannot be used") == 1, "it is logged at every look"
        ip("link", "set", "outside", "mtu", "1500", namespace=wire.gateway)
        until(running.pings, "nothing crosses after the MTU was mended")
        until(lambda: running.status()["health"]["ok"], problems())


def replace_port(wire: Wire, there: bool = True, mtu: int = 1500) -> None:
    """Another port under the outside one's name."""
    if there:
        ip("link", "del", "outside", namespace=wire.gateway)
    ip("link", "add", "outside", "netns", wire.gateway, "type", "veth", "peer", "name", "eth0", "netns", wire.outer)
    ip("link", "set", "outside", "mtu", str(mtu), namespace=wire.gateway)
    ip("address", "add", f"{OUTSIDE_ADDRESS}/24", "dev", "eth0", namespace=wire.outer)
    ip("link", "set", "eth0", "up", namespace=wire.outer)


def test_a_signal_amid_an_import_is_no_end_by_signal() -> None:
    """Python ends itself by SIGINT once KeyboardInterrupt has crossed an exec() of text, as dataclasses make them."""
    program = (
        "import os, signal\n"
        "from clearway.gateway import daemon\n"
        "signal.signal(signal.SIGTERM, daemon._stop_starting)\n"
        "try:\n"
        "    exec('os.kill(os.getpid(), signal.SIGTERM)\\nfor _ in range(1000): pass')\n"
        "except daemon._ToldToEnd:\n"
        "    print('told')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=HUNG_S)
    assert (done.returncode, done.stdout) == (0, "told\n"), done.stderr


def test_a_start_that_is_interrupted_leaves_no_process(wire: Wire, tmp_path: Path) -> None:
    with gateway(wire, tmp_path / "state") as running:
        running.spawn()
        time.sleep(0.25)
        assert running.stop() in (0, -signal.SIGTERM)
        children = subprocess.run(["pgrep", "-P", str(running.pid)], capture_output=True, text=True).stdout
        assert children == ""


@pytest.mark.parametrize(
    "words,error",
    [
        (["--inside", "inside", "--outside", "eno9"], "gateway.E001"),
        (["--inside", "inside", "--outside", "inside"], "gateway.E002"),
        (["--inside", "inside", "--outside", "outside", "--user", "nobody-of-that-name"], "gateway.E012"),
        (["--inside", "inside", "--outside", "outside", "--name", "../up"], "gateway.E009"),
        (["--inside", "inside", "--outside", "outside", "--hook", "ebpf"], "gateway.E010"),
    ],
)
def test_misuse_is_told_with_an_id_and_a_way_out(wire: Wire, tmp_path: Path, words: list[str], error: str) -> None:
    command = [*CLEARWAY, "run", *words, "--state", str(tmp_path / "state"), "--json"]
    command = ["ip", "netns", "exec", wire.gateway, *command]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HUNG_S)
    told = json.loads(done.stdout)["error"]
    assert told["id"] == error and told["fix"]
    assert done.returncode in (2, 3)


def test_without_rights_it_says_so(wire: Wire, tmp_path: Path) -> None:
    def work() -> Any:
        os.setuid(65534)
        try:
            daemon.run(RunOptions("inside", "outside", tmp_path / "state"))
        except ClearwayError as error:
            return error.as_json()["error"]

    with inside_of(wire.gateway):
        error = in_child(work)
    assert error["id"] == "setup.E001"
    assert "is not root" in error["message"] and "sudo" in error["fix"]


def test_an_old_kernel_is_refused_by_its_recorded_answer(wire: Wire, tmp_path: Path) -> None:
    held = kernel_probe.probe()
    old = replace(held, release="6.1.0-28-amd64", tcx=False, distribution="debian", distribution_version="12")
    with pytest.raises(ClearwayError) as caught, inside_of(wire.gateway):
        start.start(RunOptions("inside", "outside", tmp_path / "state"), old)
    assert caught.value.id == "setup.E001" and "6.1.0-28-amd64" in caught.value.message
    assert "bookworm-backports" in caught.value.fix
    assert not (tmp_path / "state").exists(), "nothing was changed"
