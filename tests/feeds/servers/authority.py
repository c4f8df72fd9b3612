"""A certificate authority of one test run, and certificates of all kinds, good and bad."""

import datetime
import ipaddress
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY = datetime.timedelta(days=1)


class Authority:
    """Signs for 127.0.0.1 and localhost, or whoever it is asked to."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an authority of tests")])
        made = self._builder(self._name, self._key, self._key, "authority").sign(self._key, hashes.SHA256())
        self.certificate = folder / "authority.pem"
        self.certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))

    def server(
        self, name: str = "localhost", *, expired: bool = False, self_signed: bool = False, http2: bool = False
    ) -> ssl.SSLContext:
        """For a server of that name; 127.0.0.1 goes with localhost."""
        certificate, key = self.files(name, expired=expired, self_signed=self_signed)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        context.set_alpn_protocols(["h2", "http/1.1"] if http2 else ["http/1.1"])
        return context

    def files(self, name: str = "localhost", *, expired: bool = False, self_signed: bool = False) -> tuple[Path, Path]:
        """Certificate and key, as PEM."""
        stem = f"{name}-{expired}-{self_signed}"
        certificate, private = self._folder / f"{stem}.pem", self._folder / f"{stem}.key"
        if certificate.exists():
            return certificate, private
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = self._builder(subject, key, key if self_signed else self._key, name, ended=expired)
        if self_signed:
            made = builder.issuer_name(subject).sign(key, hashes.SHA256())
        else:
            made = builder.issuer_name(self._name).sign(self._key, hashes.SHA256())
        certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        plain = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        private.write_bytes(key.private_bytes(*plain))
        return certificate, private

    def _builder(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        issuer: ec.EllipticCurvePrivateKey,
        name: str,
        ended: bool = False,
    ) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        is_authority = subject == self._name
        names: list[x509.GeneralName] = [x509.DNSName(name)]
        if name == "localhost":
            names.append(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 10 * DAY)
            .not_valid_after(now - DAY if ended else now + 10 * DAY)
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key()), critical=False)
            .add_extension(_usage(is_authority), critical=True)
        )
        if is_authority:
            return builder.issuer_name(subject)
        return builder.add_extension(x509.SubjectAlternativeName(names), critical=False)


def _usage(is_authority: bool) -> x509.KeyUsage:
    """Signs certificates, or connections. OpenSSL's strict rules, which newer Pythons ask for, want it said."""
    return x509.KeyUsage(
        digital_signature=not is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        encipher_only=False,
        decipher_only=False,
    )
