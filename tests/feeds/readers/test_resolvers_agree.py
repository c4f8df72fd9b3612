"""What a list in the words of dnsmasq or unbound refuses is what the real programs refuse, with that list and no other.

Whom they ask about all other names is a server of this test, whose answer leads somewhere.
"""

from __future__ import annotations

import random
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import dns.exception
import dns.message
import dns.query
import dns.rdatatype
import dns.rrset
import pytest
from free_port import free_port
from list_lines_of import lines_of
from patience import HUNG_S

from clearway.feeds.readers.table import read

HOST = "127.0.0.1"
SOMEWHERE = {dns.rdatatype.A: "192.0.2.1", dns.rdatatype.AAAA: "2001:db8::1"}
NOWHERE = {"0.0.0.0", "127.0.0.1", "::", "::1"}
SECONDS_MAX = HUNG_S

ROOTS = [f"n{number}.{top}" for number in range(21) for top in ("example", "Evil.example")]


def below(name: str) -> str:
    return f"www.{name}"


@dataclass(frozen=True)
class Program:
    """A resolver: how it is started, what it is told besides the list, and lines of lists."""

    command: Callable[[Path], list[str]]
    preamble: Callable[[Path, int, int], str]
    forms: list[str]


def _dnsmasq(folder: Path, port: int, upstream: int) -> str:
    return f"""port={port}
listen-address={HOST}
bind-interfaces
no-resolv
no-hosts
user=root
pid-file=
server={HOST}#{upstream}
"""


def _unbound(folder: Path, port: int, upstream: int) -> str:
    policy = folder / "policy.zone"
    return f"""server:
 interface: {HOST}
 port: {port}
 chroot: ""
 username: ""
 directory: "{folder}"
 pidfile: ""
 use-syslog: no
 verbosity: 0
 do-not-query-localhost: no
 module-config: "respip iterator"
 qname-minimisation: no
 outgoing-range: 64
 num-queries-per-thread: 32
forward-zone:
 name: "."
 forward-addr: {HOST}@{upstream}
{f'rpz:{chr(10)} name: "rpz.test"{chr(10)} zonefile: "{policy}"' if policy.exists() else ""}
server:
"""


PROGRAMS = {
    "dnsmasq": Program(
        lambda path: ["dnsmasq", "--keep-in-foreground", f"--conf-file={path}"],
        _dnsmasq,
        [
            "address=/{0}/",
            "address=/{0}/0.0.0.0",
            "address=/{0}/#",
            "address=/{0}/::",
            "address = /{0}/ # x",
            "address=/.{0}/127.0.0.1",
            "address=/*.{0}/",
            "address=/{0}/{1}/",
            "server=/{0}/",
            "server=/*.{0}/",
            "local=/{0}/{1}/",
            "local=/{0}./",
            "server=/{0}/\nserver=/www.{0}/#",
            "local=/{0}/\nlocal=/www.{0}/#",
            "address=/{0}/0.0.0.0\naddress=/{0}/::",
            "# address=/{0}/",
        ],
    ),
    "unbound": Program(
        lambda path: ["unbound", "-d", "-p", "-c", str(path)],
        _unbound,
        [
            *[f'local-zone: "{{0}}" {kind}' for kind in ("static", "refuse", "always_refuse", "always_null")],
            *[f"local-zone: {{0}}. {kind}" for kind in ("always_nxdomain", "always_nodata")],
            "local-zone: '{0}' static",
            '  local-zone:"{0}."\tstatic # x',
            'local-zone: "{0}"static',
            'local-zone: "{0}" redirect\nlocal-data: "{0} A 0.0.0.0"',
            'local-data: "{0} 60 IN A 0.0.0.0"\nlocal-zone: "{0}" redirect',
            'local-zone: "{0}" redirect local-data: "{0} A 127.0.0.1"',
            'local-zone: "{0}" static local-zone: "{1}" refuse',
            'local-data: "{0} A 0.0.0.0"',
            'local-data: "{0}. 1h IN A 127.0.0.1"',
            'local-zone: "{0}" static\nlocal-zone: "www.{0}" transparent',
            'local-zone: "{0}" always_nxdomain\nlocal-zone: "www.{0}" always_transparent',
            'local-zone: "{0}" static\nlocal-zone: "www.{0}" typetransparent',
            '# local-zone: "{0}" static',
            'local-zone: "{0}" transparent',
        ],
    ),
}

POLICY = [
    "{0} CNAME .",
    "{0} CNAME *.",
    "*.{0} CNAME .",
    "{0} CNAME .\n*.{0} CNAME .",
    "{0}.rpz.test. 60 IN CNAME .",
    "{0} ( 60\n CNAME . ) ; x",
    "*.{0} CNAME .\nwww.{0} CNAME rpz-passthru.",
    "{0} CNAME .\n*.{0} CNAME .\n*.www.{0} CNAME rpz-passthru.",
    "\\110{0} CNAME .",
    "; {0} CNAME .",
    "$ORIGIN com.rpz.test.\n{0} CNAME .\n$ORIGIN rpz.test.",
]


@contextmanager
def upstream() -> Iterator[int]:
    """The port of a server that has an address for every name."""
    with socket.socket(type=socket.SOCK_DGRAM) as listener:
        listener.bind((HOST, 0))

        def answer() -> None:
            while len(asked := listener.recvfrom(4096)[0:2]) == 2 and asked[0]:
                query = dns.message.from_wire(asked[0])
                reply = dns.message.make_response(query, recursion_available=True)
                name, kind = query.question[0].name, query.question[0].rdtype
                if kind in SOMEWHERE:
                    reply.answer.append(dns.rrset.from_text(name, 60, "IN", kind, SOMEWHERE[kind]))
                listener.sendto(reply.to_wire(), asked[1])

        thread = threading.Thread(target=answer)
        thread.start()
        port = listener.getsockname()[1]
        try:
            yield port
        finally:
            listener.sendto(b"", (HOST, port))
            thread.join()


def asked(name: str, kind: str, port: int, seconds: float = HUNG_S / 2) -> dns.message.Message:
    return dns.query.udp(dns.message.make_query(name, kind), HOST, port=port, timeout=seconds)


@contextmanager
def running(program: Program, text: str, folder: Path) -> Iterator[int]:
    """The port that it answers at."""
    port, path = free_port(), folder / "resolver.conf"
    with upstream() as above:
        path.write_text(program.preamble(folder, port, above) + text)
        process = subprocess.Popen(program.command(path), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            until = time.monotonic() + SECONDS_MAX
            while process.poll() is None and time.monotonic() < until:
                with suppress(dns.exception.Timeout, OSError):
                    asked("nobody.example", "A", port, 0.2)
                    break
            assert process.poll() is None, (process.stderr.read() if process.stderr else b"").decode()
            yield port
        finally:
            process.terminate()
            process.communicate()


def refuses(name: str, port: int) -> bool:
    """Whether an address of the name is kept back."""
    answers = [asked(name, kind, port).answer for kind in ("A", "AAAA")]
    return any({row.to_text() for rows in answer for row in rows} <= NOWHERE for answer in answers)


def covered(entries: list[str], name: str) -> bool:
    """By the lines that the reader gave: what is excepted is spared."""
    labels = name.lower().split(".")
    above = {".".join(labels[at:]) for at in range(1, len(labels))}
    hits = {"exception": False, "": False}
    for entry in entries:
        _, value, scope, *exception = entry.split()
        is_hit = (scope != "below" and value == name.lower()) or (scope != "exact" and value in above)
        hits["exception" if exception else ""] |= is_hit
    return hits[""] and not hits["exception"]


def made(forms: list[str], seed: int) -> tuple[str, list[str]]:
    """A list with each form once or more, and the names to ask for."""
    chance = random.Random(seed)
    roots = chance.sample(ROOTS, len(ROOTS))
    text = "".join(form.format(roots.pop(), roots.pop()) + "\n" for form in forms)
    names = [*ROOTS, *(below(name) for name in ROOTS), *(below(below(name)) for name in ROOTS), "other.example"]
    return text, names


def check(program: Program, text: str, content: str, word: str, names: list[str], folder: Path) -> None:
    entries = [line for line in lines_of(read(content.encode(), word).content) if line.startswith("name ")]
    with running(program, text, folder) as port:
        wrong = [name for name in names if refuses(name, port) != covered(entries, name)]
    assert wrong == [], text
    assert sum(covered(entries, name) for name in names) > 10


@pytest.mark.parametrize("word", PROGRAMS)
def test_a_list_refuses_what_its_program_refuses(word: str, tmp_path: Path) -> None:
    if not shutil.which(word):
        pytest.skip(f"needs {word}")
    program = PROGRAMS[word]
    text, names = made(program.forms, 7)
    check(program, text, text, word, names, tmp_path)


@pytest.mark.skipif(not shutil.which("unbound"), reason="needs unbound")
def test_a_policy_zone_refuses_what_unbound_refuses_by_it(tmp_path: Path) -> None:
    text, names = made(POLICY, 11)
    zone = "$ORIGIN rpz.test.\n$TTL 60\n@ SOA a. b. 1 2 3 4 5\n  NS a.\n" + text
    (tmp_path / "policy.zone").write_text(zone)
    names = [name for name in names if not name.startswith(below("www."))]  # RFC 4592's closest encloser: see zones.py
    names += [f"n{name}" for name in ROOTS] + [f"{name}.com" for name in ROOTS]
    check(PROGRAMS["unbound"], "", zone, "rpz", names, tmp_path)
