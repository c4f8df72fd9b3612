"""What people decide is in the kernel, stays there, and is seen when it isn't. One wire a test."""

import contextlib
import json
import mmap
import sqlite3
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pinned_link
import pytest
from patience import ENDS_SOON_S, HUNG_S, until
from running import Running, gateway
from wires import INSIDE_ADDRESS, OUTSIDE_ADDRESS, Wire, inside_of

from clearway import _engine
from clearway.errors import ClearwayError
from clearway.gateway import ethtool, rights
from clearway.policy.model import Prefix

LISTED, ATTACKER, CLEAN = "193.0.113.77", "198.51.100.66", "8.8.4.4"
PINS = Path("/sys/fs/bpf/clearway")


def add_list(running: Running, name: str, lines: list[str], reason: str = "botnet-c2") -> dict[str, object]:
    source = running.state.parent / f"{name}.txt"
    source.write_text("\n".join(lines) + "\n")
    return running.clearway("feed", "add", name, str(source), "--reason", reason)


def inbound(running: Running, source: str) -> str:
    return running.fate(source, "192.0.2.1", "inbound")[0]


def test_each_decision_is_in_the_kernel_when_its_answer_comes(running: Running) -> None:
    assert inbound(running, ATTACKER) == "forwarded"
    answer = running.clearway("block", "198.51.100.0/24", "--reason", "scanner", "--until", "1h")
    assert answer["enforced"] is True
    assert inbound(running, ATTACKER) == "blocked-source"
    assert running.fate("192.0.2.1", ATTACKER, "outbound")[0] == "blocked-destination"
    running.clearway("grant", "192.0.2.1", "--organisation", "Example", "--until", "1h")
    assert running.fate(ATTACKER, "192.0.2.1", "inbound") == ("forwarded", "green")
    running.clearway("revoke", "192.0.2.1")
    assert inbound(running, ATTACKER) == "blocked-source"
    running.clearway("unblock", ATTACKER, "--until", "1h")
    assert inbound(running, ATTACKER) == "forwarded"
    assert inbound(running, "198.51.100.67") == "blocked-source"
    running.clearway("unblock", "198.51.100.0/24")
    assert inbound(running, "198.51.100.67") == "forwarded"


def test_a_list_is_enforced_when_it_is_added_and_gone_when_it_is_removed(wire: Wire, tmp_path: Path) -> None:
    with gateway(wire, tmp_path / "state") as running:
        running.start()
        assert add_list(running, "bad", [LISTED, "2a0e:b100:4000::/36"])["enforced"] is True
        assert inbound(running, LISTED) == "listed-source"
        assert running.fate("2a0e:b100:4001::1", "2a00::1", "inbound")[0] == "listed-source"
        status = running.status()
        assert [(row["feed"], row["entries"]) for row in status["lists"]] == [("bad", 2)]
        assert status["wanted"] == status["enforced"] > 2
        running.stop()
        running.start()
        assert inbound(running, LISTED) == "listed-source"
        running.clearway("feed", "remove", "bad")
        assert inbound(running, LISTED) == "forwarded"


def test_a_list_that_outgrows_the_tables_gets_larger_ones(wire: Wire, tmp_path: Path) -> None:
    with gateway(wire, tmp_path / "state") as running:
        running.start()
        running.clearway("block", ATTACKER, "--reason", "scanner", "--until", "1h")
        running.clearway("bypass", "on", "--for", "1h")
        many = [f"2a00:{number:x}::/32" for number in range(1, 11000)] + [f"1.{n}.7.1" for n in range(256)]
        add_list(running, "many", many)
        status = running.status()
        assert status["snapshot"]["grown"] == 1 and status["snapshot"]["capacity"][2] >= 10999
        assert status["bypass"]["on"], "a bypass outlives larger tables"
        running.clearway("bypass", "off")
        assert running.fate("2a00:700::1", "2a00::1", "inbound")[0] == "listed-source"
        assert inbound(running, "1.200.7.1") == "listed-source"
        assert inbound(running, ATTACKER) == "blocked-source"
        running.kill()
        running.start()
        assert inbound(running, "1.200.7.1") == "listed-source"
        assert running.status()["snapshot"]["grown"] == 0, "they are taken over as they are"


def test_a_garbage_list_changes_nothing(running: Running) -> None:
    add_list(running, "before", [LISTED])
    source = running.state.parent / "garbage.txt"
    source.write_text("<html>not found</html>\n")
    error = running.clearway("feed", "add", "worse", str(source), "--reason", "scanner", check=False)["error"]
    assert error["id"].startswith("feeds.")
    with pytest.raises(ClearwayError, match=r"feeds\."):
        running.ask("POST", "/v1/feeds", {"name": "none", "source": "/nowhere", "reason": "scanner"})
    assert inbound(running, LISTED) == "listed-source"


def test_a_map_falsified_by_hand_is_noticed_and_mended(running: Running) -> None:
    add_list(running, "falsified", ["45.9.9.0/24"])
    running.clearway("block", ATTACKER, "--reason", "scanner", "--until", "1h")
    before = running.status()["mended"]
    loader = _engine.Loader(str(PINS / running.name))
    tables = _engine.Tables(loader.map_fds(), loader.capacity())
    falsify_base(loader.map_fds()["base_front"], tables.epoch, "45.9.9.9")
    tables.remove_overlay(*Prefix.parse(ATTACKER).mapped())

    def mended(what: str) -> bool:
        return bool(running.status()["mended"][what] > before[what])

    # a check may come between the fault and this look
    assert inbound(running, "45.9.9.9") == "forwarded" or mended("base")
    assert inbound(running, ATTACKER) == "forwarded" or mended("overlay")
    until(lambda: mended("base") and mended("overlay"), "not noticed")
    assert (inbound(running, "45.9.9.9"), inbound(running, ATTACKER)) == ("listed-source", "blocked-source")
    until(lambda: running.status()["health"]["ok"], "still ill after mending")


def falsify_base(descriptor: int, epoch: int, address: str) -> None:
    """Clears the bit of an address's /24 in the live copy, as a fault in memory would."""
    lines, words, line_bytes = _engine.LIMITS["V4_FRONT_LINES"], _engine.LIMITS["V4_FRONT_WORDS"], 64
    number = Prefix.parse(address).address >> 8
    line, word = divmod(number // 64, words)
    at = ((epoch & 1) * lines + line) * line_bytes + word * 8 + number % 64 // 8
    page = at & ~4095
    with mmap.mmap(descriptor, 4096, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE, offset=page) as memory:
        assert memory[at - page] >> number % 8 & 1
        memory[at - page] &= ~(1 << number % 8)


def test_programs_taken_off_a_port_by_hand_are_put_back(running: Running) -> None:
    pinned_link.detach(PINS / running.name / "links" / "tcx-outside")
    until(lambda: running.status()["mended"]["links"] == 1, "not noticed")
    until(running.pings, "nothing crosses")
    assert running.status()["links"] == {"tcx-inside": "up", "tcx-outside": "up"}


def test_canaries_of_every_kind_are_sent_and_none_fails(running: Running) -> None:
    add_list(running, "canaries", ["9.8.7.0/24", "2a0e:b100::/32"])
    running.clearway("block", "198.51.100.70", "--reason", "scanner", "--until", "1h")
    running.clearway("grant", "192.0.2.70", "--organisation", "Example", "--until", "1h")
    before = running.status()
    until(lambda: running.status()["checks"] >= before["checks"] + 2, "no checks")
    canary = running.status()["canary"]
    assert canary["ok"] and canary["failed"] == before["canary"]["failed"]
    assert canary["sent"] - before["canary"]["sent"] >= 2 * 6, "clean, listed: both families; blocked, green"
    assert dropped(running.status()) == dropped(before), "a canary counts as a probe and nowhere else"
    assert running.status()["facts"]["probe"]["packets"] > before["facts"]["probe"]["packets"]


def dropped(status: dict[str, Any]) -> list[dict[str, Any]]:
    return [row for row in status["counters"] if row["reason"] != "forwarded"]


def test_a_bypass_is_a_plain_wire_and_ends_without_the_daemon(wire: Wire, tmp_path: Path) -> None:
    with gateway(wire, tmp_path / "state") as running:
        running.start()
        running.clearway("block", OUTSIDE_ADDRESS, "--reason", "scanner", "--until", "1h")
        assert running.is_cut()
        for seconds in ENDS_SOON_S:
            ends = time.monotonic() + seconds
            running.ask("POST", "/v1/bypass", {"on": True, "duration": f"{seconds}s"})
            on = running.status()["bypass"]["on"]
            running.kill()
            crosses = running.pings() and time.monotonic() < ends
            until(running.is_cut, "the deadline stands in the map")
            lasts = time.monotonic() >= ends
            if crosses and lasts:
                break
            running.start()  # a busy machine: an echo came late
        assert on and crosses and lasts
        running.start()
        running.clearway("bypass", "on", "--for", "1h")
        assert running.pings()
        running.clearway("bypass", "off")
        assert running.is_cut()


def test_an_entry_ends_at_its_time_and_is_swept(running: Running) -> None:
    before, found = running.status()["overlay"], ""
    for seconds in ENDS_SOON_S:
        ends = datetime.now(UTC) + timedelta(seconds=seconds)
        with contextlib.suppress(ClearwayError):  # refused where it has ended by then
            until_text = ends.isoformat().replace("+00:00", "Z")
            running.ask("POST", "/v1/block", {**block("198.51.100.71"), "until": until_text})
            found = inbound(running, "198.51.100.71")
        if datetime.now(UTC) < ends:
            break
    assert found == "blocked-source"
    until(lambda: inbound(running, "198.51.100.71") == "forwarded", "it doesn't end")
    until(lambda: running.status()["overlay"] == before, "it isn't swept")


def test_observing_drops_nothing_and_counts_what_it_would(wire: Wire, tmp_path: Path) -> None:
    with gateway(wire, tmp_path / "state", "--observe") as running:
        running.start()
        running.clearway("block", OUTSIDE_ADDRESS, "--reason", "scanner", "--until", "1h")
        assert running.pings()
        status = running.status()
        assert sum(row["packets"] for row in status["observed"]) >= 2
        assert all(row["reason"] == "forwarded" for row in status["counters"])


def test_the_guard_knows_inside_prefixes_and_bogons(wire: Wire, tmp_path: Path) -> None:
    with gateway(wire, tmp_path / "state", "--inside-prefix", "10.1.0.0/16", "--drop-bogons") as running:
        running.start()
        assert running.fate("10.1.2.3", CLEAN, "inbound")[0] == "spoofed-inside"
        assert running.fate("172.16.0.1", CLEAN, "inbound")[0] == "spoofed-bogon"
        assert running.fate("9.9.9.9", CLEAN, "inbound")[0] == "forwarded", "::/8 is a bogon, and IPv4 isn't in it"
        assert running.fate("9.9.9.9", CLEAN, "outbound")[0] == "spoofed-foreign"
        assert running.fate("10.1.2.3", CLEAN, "outbound")[0] == "forwarded"
        assert running.fate("169.254.1.1", CLEAN, "inbound")[0] == "forwarded"
        until(lambda: running.status()["checks"] >= 2, "no checks")
        status = running.status()
        assert status["canary"]["ok"], status["health"]


def test_drops_are_told_with_their_list_and_no_inside_address(running: Running) -> None:
    add_list(running, "drops", [OUTSIDE_ADDRESS], reason="malware")
    assert running.is_cut()
    until(lambda: running.status()["events"]["written"] >= 1, "no event was written")
    hits = {row["feed"]: row["hits"] for row in running.status()["lists"]}
    assert hits["drops"] >= 1
    top = running.status()["top"][0]
    assert (top["list"], top["reason"], top["entry"]) == ("drops", "malware", OUTSIDE_ADDRESS)
    text = (running.state / "eve.json").read_text()
    record = json.loads(text.splitlines()[0])
    assert record["dest_ip"] == OUTSIDE_ADDRESS and record["drop"]["reason"] == "listed-destination"
    assert INSIDE_ADDRESS not in text and record["clearway"]["inside"].startswith("h-")
    (key,) = (running.state / "keys").iterdir()
    assert key.stat().st_mode & 0o777 == 0o600
    running.clearway("feed", "remove", "drops")
    until(running.pings, "the list is removed")


def test_what_rights_remain_stands_in_proc(running: Running) -> None:
    until(lambda: len(children(running.pid)) == 3, "no loader, none that compiles, or none that fetches")
    net_admin = f"{1 << rights.CAP_NET_ADMIN:016x}"
    loader = 1 << rights.CAP_BPF | 1 << rights.CAP_PERFMON | 1 << rights.CAP_NET_ADMIN
    assert PINS.stat().st_mode & 0o077 == (PINS / running.name).stat().st_mode & 0o077 == 0
    for status in map(proc_status, Path(f"/proc/{running.pid}/task").iterdir()):
        if not status:  # a thread that has ended since
            continue
        assert status["CapEff"] == status["CapPrm"] == status["CapBnd"] == net_admin
        assert status["Uid"].split() == [str(rights.identity(None).uid)] * 4
        assert status["NoNewPrivs"] == "1"
    for child in children(running.pid):
        status = proc_status(Path(f"/proc/{child}"))
        if status["Uid"].split()[0] == "0":
            assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == loader
        else:
            assert status["CapEff"] == f"{0:016x}" and status["NoNewPrivs"] == "1", "the worker has none at all"
    held = {kind_of(path) for path in Path(f"/proc/{running.pid}/fd").iterdir()}
    assert "anon_inode:bpf-map" in held
    assert not held & {"anon_inode:bpf-prog", "anon_inode:bpf_link", "anon_inode:bpf-link"}
    for pin in (PINS / running.name).rglob("*"):  # those beside it come and go with other tests
        assert pin.stat().st_mode & 0o077 == 0


def proc_status(path: Path) -> dict[str, str]:
    """Nothing of what has ended."""
    try:
        text = (path / "status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return {}
    rows = (line.split(":", 1) for line in text.splitlines())
    return {name: value.strip() for name, value in rows}


def children(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread that has ended since
            found += [int(child) for child in (task / "children").read_text().split()]
    return found


def kind_of(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:
        return ""


def test_a_full_disk_is_an_error_and_the_old_policy_stands(wire: Wire, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "cwg", str(disk)], check=True, timeout=HUNG_S)
    try:
        with gateway(wire, disk / "state") as running:
            running.start()
            add_list(running, "bad", [LISTED])
            fill(disk / "ballast")
            with pytest.raises(ClearwayError) as caught:
                for number in range(2000):  # until the journal wants more room
                    running.ask("POST", "/v1/block", block(f"9.9.{number // 250}.{number % 250}"))
            assert caught.value.id == "store.E002"
            source = tmp_path / "more.txt"
            source.write_text("".join(f"7.{n >> 8}.{n & 255}.1\n" for n in range(60000)))
            refused = running.clearway("feed", "add", "more", str(source), "--reason", "scanner", check=False)
            assert refused["error"]["id"] == "store.E002", "its entries found no room, so no row was written"
            assert "more" not in [row["feed"] for row in running.status()["lists"]]
            assert inbound(running, LISTED) == "listed-source"
            assert running.status()["gateway"]["state"] == "serving"
            (disk / "ballast").unlink()
            assert running.ask("POST", "/v1/block", block(ATTACKER))["enforced"] is True
            assert inbound(running, ATTACKER) == "blocked-source"
    finally:
        subprocess.run(["umount", "-l", str(disk)], timeout=HUNG_S)


def block(target: str) -> dict[str, str]:
    return {"target": target, "reason": "scanner", "until": "1h"}


def fill(path: Path) -> None:
    with path.open("wb") as file, pytest.raises(OSError):
        while True:
            file.write(bytes(1 << 16))
            file.flush()


def test_a_locked_database_is_an_error_and_the_old_policy_stands(running: Running) -> None:
    running.ask("POST", "/v1/block", block("198.51.100.72"))
    other = sqlite3.connect(running.state / "clearway.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(ClearwayError) as caught:
        running.ask("POST", "/v1/grant", {"prefix": "192.0.2.72", "organisation": "E", "until": "1h"})
    assert caught.value.id == "store.E001" and caught.value.retry
    assert inbound(running, "198.51.100.72") == "blocked-source"
    other.execute("ROLLBACK")
    other.close()
    running.ask("POST", "/v1/grant", {"prefix": "192.0.2.72", "organisation": "E", "until": "1h"})
    assert running.fate("198.51.100.72", "192.0.2.72", "inbound") == ("forwarded", "green")


def test_a_damaged_snapshot_is_named_and_compiled_anew(wire: Wire, tmp_path: Path) -> None:
    with gateway(wire, tmp_path / "state") as running:
        running.start()
        add_list(running, "bad", [LISTED])
        running.stop()
        part = next((tmp_path / "state" / "snapshots" / "current").resolve().glob("v4_cells*"))
        part.write_bytes(b"\xff" * part.stat().st_size)
        running.start()
        assert "policy.E010" in running.said()
        assert inbound(running, LISTED) == "listed-source"


@pytest.mark.parametrize("word", ["auto", "xdp"])
def test_the_hook_is_tcx_on_a_veth_unless_xdp_is_asked_for(wire: Wire, tmp_path: Path, word: str) -> None:
    with gateway(wire, tmp_path / "state", "--hook", word) as running:
        running.start()
        status = running.status()
        assert status["gateway"]["hook"] == ("tcx" if word == "auto" else "xdp")
        for host in (wire.inner, wire.outer):
            with inside_of(host):
                ethtool.set_gro("eth0", True)  # a veth takes redirected frames only with NAPI
        assert running.pings()
        running.clearway("block", ATTACKER, "--reason", "scanner", "--until", "1h")
        if word == "xdp":
            assert status["gateway"]["xdp_forward"] is True
            assert set(status["links"]) == {"tcx-inside", "tcx-outside", "xdp-inside", "xdp-outside"}
            assert running.fate(ATTACKER, INSIDE_ADDRESS, "inbound", hook="xdp")[0] == "blocked-source"
        assert offloads(wire) == [word == "auto"] * 2, "with XDP, tags stay in the frame"
        running.clearway("detach", "--name", running.name)
        assert offloads(wire) == [True, True]


def offloads(wire: Wire) -> list[bool]:
    with inside_of(wire.gateway):
        return [ethtool.rx_vlan_offload(port) for port in ("inside", "outside")]


def test_a_request_that_is_none_is_told_in_the_one_shape(running: Running) -> None:
    for method, path, body, error in (
        ("GET", "/v1/nothing", None, "gateway.E019"),
        ("POST", "/v1/block", {"target": ATTACKER}, "store.E020"),
        ("POST", "/v1/block", {**block("0.0.0.0/0")}, "store.E021"),
        ("POST", "/v1/revoke", {"prefix": "192.0.2.99"}, "store.E028"),
        ("DELETE", "/v1/feeds/none", {}, "store.E030"),
    ):
        with pytest.raises(ClearwayError) as caught:
            running.ask(method, path, body)
        assert caught.value.id == error


def test_grants_do_not_wait_for_a_list_that_is_being_compiled(running: Running) -> None:
    source = running.state.parent / "large.txt"
    source.write_text("".join(f"{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}.{n % 251}\n" for n in range(1 << 16, 600_000)))
    command = running.command("feed", "add", "large", str(source), "--reason", "scanner")
    adding = subprocess.Popen([*command, "--state", str(running.state)], stdout=subprocess.DEVNULL)
    answered = 0
    while adding.poll() is None:
        grant = {"prefix": f"10.0.{answered % 250}.0/24", "organisation": "E", "until": "1h"}
        assert running.ask("POST", "/v1/grant", grant)["enforced"] is True
        answered += 1
    assert adding.returncode == 0
    assert answered > 3, "each of them waited"
    assert inbound(running, "3.4.5.100") == "listed-source"
