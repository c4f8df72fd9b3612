"""Real programs as clients: how each is called to fetch one name, what it says when it got through, what it sends.

A row of CLIENTS a conversation. Nothing here is imported by the product; a program that is absent is named with its
package, and the test that wants it is skipped.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from certificates import key_fingerprint
from host_pair import DOMAIN, SERVER, Finished, Pair, host_name

GO = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
GO_BUILD_S = 300.0
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@dataclass(frozen=True)
class Visit:
    """What a client is to fetch, and the folder with certificates and what else it reads."""

    name: str
    family: str
    folder: Path

    @property
    def address(self) -> str:
        return SERVER.address(self.family)

    @property
    def authority(self) -> str:
        return str(self.folder / "ca.pem")


@dataclass(frozen=True)
class Client:
    """One kind of conversation of one program."""

    label: str
    program: str
    package: str
    proto: str  # as `inspect` says it
    port: int
    command: Callable[[Visit], Sequence[str]]
    success: str  # stands in what it says when it got through; {name} is the name
    given: Callable[[Visit], bytes] = lambda visit: b""
    alpn: tuple[str, ...] | None = None  # None: what it offers varies by version
    ech: bool = False
    slow: bool = False

    def why_absent(self) -> str:
        """ "" when it is there."""
        found = {"go": GO, "chromium": CHROMIUM}.get(self.program, shutil.which(self.program))
        if not found:
            return f"{self.program} is not installed ({self.package})"
        if self.proto == "quic":
            try:
                import aioquic  # noqa: F401
            except ImportError:
                return "aioquic is not installed (the dev group of pyproject.toml)"
        return ""

    def require(self) -> None:
        if why := self.why_absent():
            pytest.skip(why)

    def visit(self, pair: Pair, family: str, domain: str = DOMAIN) -> Finished:
        """Fetches its own name of that family and domain."""
        visit = Visit(host_name(self.label, family, domain), family, pair.folder)
        return pair.run(self.command(visit), self.given(visit))

    def succeeded(self, finished: Finished, name: str) -> bool:
        return self.success.format(name=name) in finished.said


# ---- programs that are more than one line ----

PYTHON_TLS = """
import socket, ssl, sys
name, authority = sys.argv[1:]
context = ssl.create_default_context(cafile=authority)
context.set_alpn_protocols(["http/1.1"])
with context.wrap_socket(socket.create_connection((name, 443), 60), server_hostname=name) as tls:
    tls.sendall(f"GET / HTTP/1.1\\r\\nHost: {name}\\r\\nConnection: close\\r\\n\\r\\n".encode())
    while part := tls.recv(4096):
        sys.stdout.write(part.decode())
"""

GO_TLS = """package main

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"os"
	"time"
)

func main() {
	pem, err := os.ReadFile(os.Args[2])
	if err != nil {
		panic(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}
	client := http.Client{Transport: transport, Timeout: 60 * time.Second}
	answer, err := client.Get(os.Args[1])
	if err != nil {
		os.Stderr.WriteString(err.Error() + "\\n")
		os.Exit(1)
	}
	io.Copy(os.Stdout, answer.Body)
}
"""


def build_go_client(folder: Path) -> None:
    """`fetch` in the folder: net/http and nothing else, so that no module is asked for."""
    if not GO:
        return
    source = folder / "fetch.go"
    source.write_text(GO_TLS)
    offline = {"GO111MODULE": "off", "GOFLAGS": "", "GOPROXY": "off", "GOTOOLCHAIN": "local", "CGO_ENABLED": "0"}
    home = os.environ.get("HOME") or str(folder)
    command = [GO, "build", "-o", str(folder / "fetch"), str(source)]
    environment = {**os.environ, "HOME": home, **offline}
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, timeout=GO_BUILD_S)


def _curl(scheme: str, *options: str) -> Callable[[Visit], Sequence[str]]:
    def command(visit: Visit) -> Sequence[str]:
        url = f"{scheme}://{visit.name}/"
        return ["curl", "--silent", "--show-error", "--max-time", "60", "--cacert", visit.authority, *options, url]

    return command


def _wget(scheme: str) -> Callable[[Visit], Sequence[str]]:
    def command(visit: Visit) -> Sequence[str]:
        url = f"{scheme}://{visit.name}/"
        bounds = ["--tries=1", "--timeout=60", "--output-document=-", "--no-hsts"]
        return ["wget", "--no-verbose", *bounds, f"--ca-certificate={visit.authority}", url]

    return command


def _dig(*options: str) -> Callable[[Visit], Sequence[str]]:
    def command(visit: Visit) -> Sequence[str]:
        kind = "A" if visit.family == "v4" else "AAAA"
        return ["dig", "+tries=3", "+time=5", *options, f"@{visit.address}", visit.name, kind]

    return command


def chromium(visit: Visit, *options: str, profile: Path | None = None) -> Sequence[str]:
    """Without a window, a sandbox (it runs as root) and what it sends of its own accord; the page's DOM comes out."""
    fingerprint = key_fingerprint(visit.folder)
    profile = profile or Path(tempfile.mkdtemp(prefix="profile-", dir=visit.folder))
    alone = ["--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
    alone += ["--disable-extensions", "--no-default-browser-check", "--no-pings", "--disable-domain-reliability"]
    return [
        CHROMIUM or "chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", *alone,
        f"--user-data-dir={profile}",
        f"--ignore-certificate-errors-spki-list={fingerprint}",
        *options, "--dump-dom", f"https://{visit.name}/",
    ]  # fmt: skip


def _chromium_quic(visit: Visit) -> Sequence[str]:
    return chromium(visit, f"--origin-to-force-quic-on={visit.name}:443")


def _nc_request(visit: Visit) -> bytes:
    return f"GET / HTTP/1.1\r\nHost: {visit.name}\r\nConnection: close\r\n\r\n".encode()


GREETED = "the server greets {name}"

CLIENTS = (
    Client("curl-http", "curl", "curl", "http", 80, _curl("http"), GREETED),
    Client("curl-tls", "curl", "curl", "tls", 443, _curl("https"), GREETED, alpn=("h2", "http/1.1")),
    Client("wget-http", "wget", "wget", "http", 80, _wget("http"), GREETED),
    Client("wget-tls", "wget", "wget", "tls", 443, _wget("https"), GREETED),
    Client(
        "nc-http", "nc", "netcat-openbsd", "http", 80, lambda visit: ["nc", "-w", "60", visit.name, "80"], GREETED,
        given=_nc_request,
    ),
    Client(
        "openssl-tls", "openssl", "openssl", "tls", 443,
        lambda visit: [
            "openssl", "s_client", "-connect", f"{visit.name}:443", "-servername", visit.name,
            "-CAfile", visit.authority, "-alpn", "h2,http/1.1",
        ],
        "Verify return code: 0 (ok)", alpn=("h2", "http/1.1"),
    ),
    Client(
        "gnutls-tls", "gnutls-cli", "gnutls-bin", "tls", 443,
        lambda visit: ["gnutls-cli", "--x509cafile", visit.authority, "--alpn=http/1.1", "-p", "443", visit.name],
        "Handshake was completed", alpn=("http/1.1",),
    ),
    Client(
        "python-tls", sys.executable, "python3", "tls", 443,
        lambda visit: [sys.executable, "-I", "-c", PYTHON_TLS, visit.name, visit.authority],
        GREETED, alpn=("http/1.1",),
    ),
    Client(
        "go-tls", "go", "golang", "tls", 443,
        lambda visit: [str(visit.folder / "fetch"), f"https://{visit.name}/", visit.authority],
        GREETED, alpn=("h2", "http/1.1"),
    ),
    Client("dig-udp", "dig", "bind9-dnsutils", "dns", 53, _dig("+noedns"), "status: NOERROR"),
    Client("dig-edns", "dig", "bind9-dnsutils", "dns", 53, _dig("+edns=0", "+dnssec"), "status: NOERROR"),
    Client("dig-tcp", "dig", "bind9-dnsutils", "dns", 53, _dig("+tcp"), "status: NOERROR"),
    Client(
        "chromium-tls", "chromium", "chromium", "tls", 443, chromium, GREETED, alpn=("h2", "http/1.1"), ech=True,
        slow=True,
    ),
    Client(
        "chromium-quic", "chromium", "chromium", "quic", 443, _chromium_quic, GREETED + " over HTTP/3",
        alpn=("h3",), ech=True, slow=True,
    ),
)  # fmt: skip
LABELS = [client.label for client in CLIENTS]
