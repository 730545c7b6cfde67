"""An authority of the lab's own, and certificates that it signs, for TLS on loopback."""

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

LIFE = timedelta(days=1)


class Authority:
    """Certificates in one directory; `file` is the authority's own, which clients have to trust."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "The lab's authority")])
        basic = x509.BasicConstraints(ca=True, path_length=None)
        certificate = _draft(self._name, self._name, self._key.public_key()).add_extension(basic, critical=True)
        self.file = directory / "authority.pem"
        self.file.write_bytes(_pem(certificate.sign(self._key, hashes.SHA256())))

    def issue(self, host: str) -> tuple[Path, Path]:
        """Return the files of a certificate for a host's name or address, and of its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        names = x509.SubjectAlternativeName([_general(host)])
        draft = _draft(name, self._name, key.public_key()).add_extension(names, critical=False)
        certificate, private = self._directory / f"{host}.pem", self._directory / f"{host}.key"
        certificate.write_bytes(_pem(draft.sign(self._key, hashes.SHA256())))
        kinds = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        private.write_bytes(key.private_bytes(*kinds))
        return certificate, private

    def server(self, host: str = "127.0.0.1") -> ssl.SSLContext:
        """Return what a server of that name needs to speak TLS."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.issue(host))
        return context


def _draft(name: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    draft = x509.CertificateBuilder(issuer, name, key, x509.random_serial_number())
    return draft.not_valid_before(now - LIFE).not_valid_after(now + LIFE)


def _general(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
