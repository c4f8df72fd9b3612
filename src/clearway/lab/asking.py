"""Asking by name, as a user's programs do: dig (or a small query of our own where it is not installed), curl.

What they show is kept as they show it: the answer's code and reason, the refused user's page, "connection reset".
"""

import html
import re
import shutil
import socket
import struct
from dataclasses import dataclass

from clearway.lab.clients import LEEWAY_S, run_inside
from clearway.lab.namespace import Namespace
from clearway.lab.topology import DNS_PORT, HTTP_PORT, TLS_PORT

PORTS = {"http": HTTP_PORT, "https": TLS_PORT}
TYPE_A, TYPE_OPT = 1, 41
OPTION_EXTENDED_ERROR = 15
RESPONSE_CODES = {0: "NOERROR", 2: "SERVFAIL", 3: "NXDOMAIN", 5: "REFUSED"}
QUERY_ID = 0x1D16
TRIES = 3

DIG_STATUS = re.compile(r"status: (\w+)")
DIG_REASON = re.compile(r"EDE: (\d+)(?: \([^)]*\))?: \((.*)\)")
DIG_ADDRESS = re.compile(r"\sIN\s+A\s+([0-9.]+)$", re.MULTILINE)
DIG_MS = re.compile(r"Query time: (\d+) msec")
PAGE_ROW = re.compile(r"<dt>([^<]*)</dt><dd>(.*?)</dd>")
PAGE_LINK = re.compile(r'<a [^>]*href="([^"]*)"')
TAG = re.compile(r"<[^>]*>")


@dataclass(frozen=True)
class Told:
    """What a user has of it: whether it was had, after how long, and the words."""

    reached: bool
    ms: float
    words: str


def fetch(namespace: Namespace, url_scheme: str, name: str, address: str, timeout_s: float) -> Told:
    """curl SCHEME://NAME/, the name taken to be at that address as an earlier query told; a 403 gives its page."""
    at = f"[{address}]" if ":" in address else address
    arguments = ["curl", "--silent", "--show-error", "--noproxy", "*", "--insecure", "--max-time", str(timeout_s)]
    arguments += ["--resolve", f"{name}:{PORTS[url_scheme]}:{at}", "--write-out", "\n%{http_code} %{time_total}"]
    done = run_inside(namespace, [*arguments, f"{url_scheme}://{name}/"], timeout_s + LEEWAY_S)
    body, _, figures = done.stdout.rpartition("\n")
    code, _, seconds = figures.partition(" ")
    ms = float(seconds or 0) * 1000
    if done.returncode:
        return Told(False, ms, done.stderr.strip().removeprefix("curl: "))
    if code == "200":
        return Told(True, ms, body.strip())
    return Told(False, ms, f"{code} · {_of_page(body)}" if "<dl>" in body else f"{code} {body}")


def _of_page(page: str) -> str:
    """The English part of it: each row's word and value, and where to appeal."""
    english = page.partition('lang="ur"')[0]
    rows = [
        f"{title[:1].lower()}{title[1:]}: {html.unescape(TAG.sub('', value))}"
        for title, value in PAGE_ROW.findall(english)
    ]
    return " · ".join([*rows, *(f"appeal: {html.unescape(link)}" for link in PAGE_LINK.findall(english)[:1])])


def resolve(namespace: Namespace, server: str, name: str, timeout_s: float) -> Told:
    """A query for the name's IPv4 address, with EDNS; asked again while no answer comes, TRIES times in all."""
    if shutil.which("dig"):
        return _by_dig(namespace, server, name, timeout_s)
    return by_own_query(namespace, server, name, timeout_s)


def _by_dig(namespace: Namespace, server: str, name: str, timeout_s: float) -> Told:
    each_s = max(1, round(timeout_s / TRIES))
    words = ["dig", f"@{server}", name, "A", f"+tries={TRIES}", f"+time={each_s}", "+nocookie"]
    said = run_inside(namespace, words, TRIES * each_s + LEEWAY_S).stdout
    status, reason, address, took = (row.search(said) for row in (DIG_STATUS, DIG_REASON, DIG_ADDRESS, DIG_MS))
    if not status:
        return Told(False, timeout_s * 1000, "no answer")
    told = f"EDE {reason[1]}: {reason[2]}" if reason else ""
    return _as_told(status[1], address[1] if address else "", told, float(took[1]) if took else 0.0)


def _as_told(status: str, address: str, told: str, ms: float) -> Told:
    return Told(bool(address), ms, address or " · ".join(filter(None, (status, told))))


# ---- our own query ----


def by_own_query(namespace: Namespace, server: str, name: str, timeout_s: float) -> Told:
    """As `resolve`, without dig."""
    made = namespace.call(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    with made:
        made.settimeout(timeout_s / TRIES)
        for _ in range(TRIES):
            made.sendto(query(name), (server, DNS_PORT))
            try:
                return read_answer(made.recv(4096))
            except TimeoutError:
                continue
    return Told(False, timeout_s * 1000, "no answer")


def query(name: str) -> bytes:
    """One question for an address, with EDNS so that an extended error may be told."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    head = struct.pack("!HHHHHH", QUERY_ID, 0x0100, 1, 0, 0, 1)
    return head + labels + b"\0" + struct.pack("!HH", TYPE_A, 1) + b"\0" + struct.pack("!HHIH", TYPE_OPT, 1232, 0, 0)


def read_answer(message: bytes) -> Told:
    """Code, first address and extended error of an answer to `query`."""
    _, flags, questions, *counts = struct.unpack_from("!HHHHHH", message)
    at, address, told = 12, "", ""
    for _ in range(questions):
        at = _after_name(message, at) + 4
    for _ in range(sum(counts)):
        at = _after_name(message, at)
        kind, _, _, length = struct.unpack_from("!HHIH", message, at)
        data = message[at + 10 : at + 10 + length]
        at += 10 + length
        if kind == TYPE_A and not address:
            address = socket.inet_ntoa(data)
        elif kind == TYPE_OPT:
            told = _extended_error(data)
    return _as_told(RESPONSE_CODES.get(flags & 15, str(flags & 15)), address, told, 0.0)


def _after_name(message: bytes, at: int) -> int:
    while length := message[at]:
        if length >= 0xC0:
            return at + 2
        at += 1 + length
    return at + 1


def _extended_error(options: bytes) -> str:
    at = 0
    while at < len(options):
        code, length = struct.unpack_from("!HH", options, at)
        value = options[at + 4 : at + 4 + length]
        if code == OPTION_EXTENDED_ERROR:
            return f"EDE {int.from_bytes(value[:2])}: {value[2:].decode(errors='replace')}"
        at += 4 + length
    return ""
