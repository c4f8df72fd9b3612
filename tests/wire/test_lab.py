"""The lab comes up, is what it says, ends by itself, and leaves nothing behind, whatever was killed."""

import json
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from patience import HUNG_S, until

from clearway.errors import ClearwayError
from clearway.lab import asking, clients, topology
from clearway.lab.gateway import CLEARWAY
from clearway.lab.namespace import NETNS_DIRECTORY
from clearway.lab.topology import HOSTS, RUN_DIRECTORY, Lab

pytestmark = [pytest.mark.namespaces]


@pytest.fixture
def lab() -> Iterator[Lab]:
    made = Lab(f"cww-{os.getpid()}-lab")
    try:
        yield made
    finally:
        made.down()


def remains(lab: Lab) -> list[str]:
    """Namespaces and files of it."""
    names = [path.name for path in NETNS_DIRECTORY.glob(f"{lab.name}-*")]
    return names + [path.name for path in RUN_DIRECTORY.glob(f"{lab.name}*")]


def command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*CLEARWAY, *words], capture_output=True, text=True, timeout=HUNG_S, check=False)


def test_it_is_built_once_and_leaves_nothing_behind(lab: Lab) -> None:
    assert lab.up(600)
    assert not lab.up(6000), "it stands already"
    assert 5000 < lab.until() <= 6000
    assert lab.down()
    assert remains(lab) == []
    assert not lab.down()


def test_every_host_reaches_every_server_over_the_bare_wire_in_both_families(lab: Lab) -> None:
    lab.up(600)
    lab.join("bare")
    for client in HOSTS:
        for server in HOSTS:
            if "http" in server.serves and server is not client:
                for mine, address in ((client.v4, server.v4), (client.v6, server.v6)):
                    reply = clients.curl(lab.namespace(client.name), address, HUNG_S)
                    assert reply.text == f"{server.name} answers {mine}"


def test_every_name_is_at_one_server_which_answers_for_it_in_the_clear_and_in_tls(lab: Lab) -> None:
    """Asked by dig where it is installed, and by the query that stands in for it."""
    lab.up(600)
    lab.join("bare")
    client, server = lab.namespace("home1"), lab.host(topology.NAMES_HOST)
    for ask in (asking.resolve, asking.by_own_query):
        assert ask(client, lab.host("web2").v4, "any.example", HUNG_S).words == server.v4
    for scheme in asking.PORTS:
        told = asking.fetch(client, scheme, "any.example", server.v6, HUNG_S)
        assert told.reached and told.words == f"{server.name} answers {lab.host('home1').v6}"


def test_an_answer_with_an_extended_error_is_read_with_its_words() -> None:
    """Header, question, authority with a compressed name, OPT with option 15."""
    text = b"phishing; rule names"
    extra = struct.pack("!HHH", 15, 2 + len(text), 15) + text
    question = asking.query("bad.example")[12:29]
    soa = b"\xc0\x0c" + struct.pack("!HHIH", 6, 1, 60, 2) + b"\0\0"
    opt = b"\0" + struct.pack("!HHIH", 41, 1232, 0, len(extra)) + extra
    head = struct.pack("!HHHHHH", asking.QUERY_ID, 0x8183, 1, 0, 1, 1)
    told = asking.read_answer(head + question + soa + opt)
    assert (told.reached, told.words) == (False, "NXDOMAIN · EDE 15: phishing; rule names")


def test_without_a_gateway_nothing_crosses(lab: Lab) -> None:
    lab.up(600)
    assert not clients.curl(lab.namespace("home1"), lab.host("web1").v4, 0.5).reached
    assert clients.curl(lab.namespace("home2"), lab.host("home1").v4, HUNG_S).reached, "neighbours need none"


def test_a_lab_whose_keeper_was_killed_is_built_anew(lab: Lab) -> None:
    lab.up(600)
    record = lab.read_record()
    assert record
    os.kill(record.keeper_pid, signal.SIGKILL)
    until(lambda: not topology.keeper_lives(record), "it outlives SIGKILL")
    assert lab.up(600)
    lab.join("bare")
    assert clients.curl(lab.namespace("home1"), lab.host("web1").v4, HUNG_S).reached


def test_half_a_lab_is_built_anew(lab: Lab) -> None:
    """As after a crash in the middle: some namespaces, no record."""
    lab.namespace("home1").create()
    lab.namespace("gateway").create()
    assert lab.up(600)
    assert lab.stands()


def test_it_ends_at_its_deadline(lab: Lab) -> None:
    lab.up(1.0)
    until(lambda: not remains(lab), "it stands on")


def test_one_past_its_deadline_without_a_keeper_goes_when_another_comes(lab: Lab) -> None:
    lab.up(600)
    record = lab.read_record()
    assert record
    os.kill(record.keeper_pid, signal.SIGKILL)
    lab.record_path.write_text(json.dumps({**vars(record), "until_boot_s": topology.boot_clock_s() - 1}))
    assert lab.name in topology.sweep()
    assert remains(lab) == []


def test_what_runs_in_it_ends_with_it(lab: Lab) -> None:
    lab.up(600)
    words = ["sh", "-c", "echo inside; exec sleep 1000"]
    sleeper = subprocess.Popen(lab.namespace("home1").command(words), stdout=subprocess.PIPE, text=True)
    assert sleeper.stdout and sleeper.stdout.readline() == "inside\n"
    lab.down()
    assert sleeper.wait(HUNG_S) == -signal.SIGTERM


def test_a_command_runs_inside_a_host(lab: Lab) -> None:
    lab.up(600)
    done = command("lab", "exec", "--name", lab.name, "home1", "ip", "-4", "-brief", "address")
    assert lab.host("home1").v4 in done.stdout
    assert done.returncode == 0


def test_the_exit_code_of_a_command_inside_is_its_own(lab: Lab) -> None:
    lab.up(600)
    assert command("lab", "exec", "--name", lab.name, "home1", "sh", "-c", "exit 7").returncode == 7


@pytest.mark.parametrize(
    ("words", "told", "exit_code"),
    [
        (["up", "--name", "No Name"], "lab.E003", 2),
        (["up", "--for", "8d"], "lab.E009", 2),
        (["exec", "nowhere", "true"], "lab.E002", 2),
        (["exec", "--name", "never-built", "home1", "true"], "lab.E004", 1),
    ],
)
def test_what_cannot_be_meant_is_told(words: list[str], told: str, exit_code: int) -> None:
    done = command("lab", *words)
    assert f"[{told}]" in done.stderr
    assert "fix:" in done.stderr
    assert done.returncode == exit_code


@pytest.mark.parametrize("words", [["lab", "up"], ["lab", "down"], ["demo", "--keep"]])
def test_without_rights_it_says_what_to_do(words: list[str]) -> None:
    """As root without CAP_SYS_ADMIN, as in a container."""
    dropped = ["setpriv", "--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin"]
    done = subprocess.run(
        [*dropped, *CLEARWAY, *words], capture_output=True, text=True, timeout=HUNG_S, cwd=Path(sys.prefix), check=False
    )
    assert "[lab.E001]" in done.stderr
    assert f"sudo clearway {' '.join(words)}" in done.stderr
    assert done.returncode == 3


def test_a_name_that_is_no_place_is_refused() -> None:
    with pytest.raises(ClearwayError) as refused:
        Lab().namespace("home9")
    assert refused.value.id == "lab.E002"


def test_lists_are_served_to_the_gateway_alone_and_told_unchanged_by_their_etag(lab: Lab) -> None:
    lab.up(600)
    lab.published().mkdir()
    (lab.published() / "drop.txt").write_text("192.0.2.1\n")
    url = f"http://{topology.PUBLISHER.v4}/drop.txt"

    def curl(place: str, *words: str) -> subprocess.CompletedProcess[str]:
        command = lab.namespace(place).command(
            ["curl", "-sS", "--max-time", str(HUNG_S if place == "gateway" else 3), *words, url]
        )
        return subprocess.run(command, capture_output=True, text=True, timeout=HUNG_S, check=False)

    fetched = curl("gateway", "--dump-header", "-")
    assert fetched.stdout.endswith("\n\n192.0.2.1\n")
    etag = next(line.partition(" ")[2] for line in fetched.stdout.splitlines() if line.startswith("ETag:"))
    assert curl("gateway", "-H", f"If-None-Match: {etag}", "-w", "%{http_code}").stdout == "304"
    assert curl("home1").returncode != 0
