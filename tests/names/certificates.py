"""A certificate authority of the tests' own, and a leaf for every name that clients ask for, by openssl."""

from __future__ import annotations

import base64
import hashlib
import ssl
import subprocess
from pathlib import Path

from host_pair import DOMAIN, REFUSED_DOMAIN
from patience import HUNG_S

DAYS = "30"


def make_certificates(folder: Path) -> None:
    """ca.pem, leaf.pem and leaf.key in the folder."""

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True, timeout=HUNG_S)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    authority = ("-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign")
    openssl(
        "req", "-x509", *key, "-days", DAYS, "-subj", "/CN=tests' authority", *authority,
        "-keyout", "ca.key", "-out", "ca.pem",
    )  # fmt: skip
    openssl("req", *key, "-subj", f"/CN={DOMAIN}", "-keyout", "leaf.key", "-out", "leaf.csr")
    names = f"DNS:*.{DOMAIN},DNS:*.{REFUSED_DOMAIN}"
    (folder / "leaf.ext").write_text(
        f"basicConstraints=CA:FALSE\nsubjectAltName={names}\nextendedKeyUsage=serverAuth\n"
    )
    openssl(
        "x509", "-req", "-in", "leaf.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", DAYS,
        "-extfile", "leaf.ext", "-out", "leaf.pem",
    )  # fmt: skip


def key_fingerprint(folder: Path) -> str:
    """Of the leaf's public key, as Chromium's --ignore-certificate-errors-spki-list wants it."""
    command = ["openssl", "x509", "-in", str(folder / "leaf.pem"), "-noout", "-pubkey"]
    key = subprocess.run(command, check=True, capture_output=True, text=True, timeout=HUNG_S).stdout
    armour = ("PUBLIC KEY", "CERTIFICATE")
    der = ssl.PEM_cert_to_DER_cert(key.strip().replace(*armour))
    return base64.b64encode(hashlib.sha256(der).digest()).decode()
