"""What processes may do after they have given rights up, read from /proc; and the socket between them."""

import os
import socket
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from children import in_child

from clearway.config import StateDirectory
from clearway.errors import ClearwayError
from clearway.gateway import client, listening, loader_channel, loader_client, reach, rights, state_owner
from clearway.gateway.loader_client import LoaderProcess

WHO = rights.Identity(rights.FIXED_ID, rights.FIXED_ID)


def status_of_self() -> dict[str, str]:
    rows = (line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {name: value.strip() for name, value in rows}


def test_after_dropping_only_cap_net_admin_is_left(root: None) -> None:
    def work() -> dict[str, str]:
        rights.drop(WHO)
        return status_of_self()

    status = in_child(work)
    only_net_admin = f"{1 << 12:016x}"
    assert status["CapEff"] == status["CapPrm"] == status["CapBnd"] == only_net_admin
    assert status["CapInh"] == status["CapAmb"] == f"{0:016x}"
    assert status["NoNewPrivs"] == "1"
    assert status["Uid"].split() == status["Gid"].split() == [str(rights.FIXED_ID)] * 4
    assert status["Groups"] == ""


def test_dropped_rights_do_not_come_back(root: None) -> None:
    attempts: list[Callable[[], None]] = [lambda: os.setuid(0), lambda: os.setgid(0), lambda: os.chroot("/")]

    def work() -> int:
        rights.drop(WHO)
        refused = 0
        for attempt in attempts:
            try:
                attempt()
            except PermissionError:
                refused += 1
        return refused

    assert in_child(work) == len(attempts)


def test_the_loader_keeps_three_capabilities_and_stays_root(root: None) -> None:
    def work() -> dict[str, str]:
        rights.keep_only(frozenset({rights.CAP_BPF, rights.CAP_NET_ADMIN, rights.CAP_PERFMON}))
        return status_of_self()

    status = in_child(work)
    assert int(status["CapEff"], 16) == 1 << 39 | 1 << 38 | 1 << 12
    assert status["CapEff"] == status["CapBnd"]
    assert status["Uid"].split()[0] == "0"


def test_a_plain_user_reaches_state_behind_a_closed_folder_and_nothing_beside_it(root: None, tmp_path: Path) -> None:
    closed = Path(tempfile.mkdtemp(prefix="cwg-", dir="/tmp"))
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    state, secret = closed / "a" / "state", closed / "a" / "secret"
    state.mkdir(parents=True)
    secret.write_text("not yours")
    os.chown(state, WHO.uid, WHO.gid)

    def work() -> dict[str, Any]:
        reach.open_the_way([state, *reach.program_paths()], WHO)
        rights.drop(WHO)
        (state / "made").write_text("by the user")
        import wave  # a module that nobody has imported yet

        return {"visible": sorted(path.name for path in (closed / "a").iterdir()), "module": wave.__name__}

    try:
        assert in_child(work) == {"visible": ["state"], "module": "wave"}
        assert (state / "made").read_text() == "by the user"
        assert (state / "made").stat().st_uid == WHO.uid
        assert secret.read_text() == "not yours", "nothing changes for anybody else"
    finally:
        for path in (state / "made", secret):
            path.unlink(missing_ok=True)
        for folder in (state, closed / "a", closed):
            folder.rmdir()


@pytest.mark.parametrize("mode,folder,why", [(0o777, None, "everybody"), (0o755, "ssh", "ssh/")])
def test_a_directory_that_is_not_the_gateways_own_is_refused(
    tmp_path: Path, mode: int, folder: str | None, why: str
) -> None:
    state = tmp_path / "state"
    state_owner.check(state)
    (state / "feeds").mkdir(parents=True)
    (state / "run.log").touch()
    state_owner.check(state)
    state.chmod(mode)
    if folder is not None:
        (state / folder).mkdir()
    with pytest.raises(ClearwayError) as caught:
        state_owner.check(state)
    assert caught.value.id == "gateway.E025" and why in caught.value.message


def test_handing_over_leaves_what_is_not_the_gateways(root: None, tmp_path: Path) -> None:
    state = StateDirectory(tmp_path / "state")
    state.create()
    (state.path / "clearway.db-wal").touch()
    (state.path / "notes.txt").touch()
    state_owner.hand_over(state, WHO)
    owners = {path.name: path.stat().st_uid for path in (state.path, *state.path.iterdir())}
    assert owners.pop("notes.txt") == 0
    assert set(owners.values()) == {WHO.uid}


def test_descriptors_cross_the_channel_beside_the_message() -> None:
    ours, theirs = socket.socketpair()
    reading, writing = os.pipe()
    loader_channel.send(ours, {"maps": ["pipe"], "text": "x" * 100_000}, [writing])
    os.close(writing)
    message, descriptors = loader_channel.receive(theirs)
    assert message["maps"] == ["pipe"] and len(message["text"]) == 100_000
    os.write(descriptors[0], b"through")
    assert os.read(reading, 10) == b"through"
    for descriptor in (reading, *descriptors):
        os.close(descriptor)
    ours.close()
    with pytest.raises(EOFError):
        loader_channel.receive(theirs)
    theirs.close()


def test_a_loader_that_does_not_answer_in_time_is_given_up_and_its_late_answer_never_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loader_client, "_TIMEOUT_S", 0.1)
    ours, theirs = socket.socketpair()
    loader = LoaderProcess(0, ours)
    with pytest.raises(ClearwayError) as caught:
        loader.links()
    assert caught.value.id == "gateway.E016" and "did not answer within 0.1 s" in caught.value.message
    loader_channel.receive(theirs)
    with pytest.raises(EOFError):
        loader_channel.receive(theirs)  # so it ends
    with pytest.raises(ClearwayError, match="did not answer within"):
        loader.attach()
    theirs.close()


def test_a_socket_path_of_any_length_can_be_listened_and_spoken_on(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30) / ("longer" * 20)
    folder.mkdir(parents=True)
    path = folder / "clearway.sock"
    path.touch()  # left behind by a daemon that died
    listener = listening.listen(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    client.connect(path).close()
    listener.close()


def test_without_a_daemon_the_client_says_so(tmp_path: Path) -> None:
    with pytest.raises(client.NoGateway) as caught:
        client.Gateway(tmp_path).request("GET", "/v1/status")
    assert caught.value.id == "gateway.E015"
