"""The emulator's own certificate authority, for the bank's host names and no others.

Made once in the data folder and kept, so that a client has to trust it only once. Its own
certificate limits it to the bank's domain: a machine that trusts it cannot be deceived about any other host.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from emulator.protocol.keys import BadKeyFile, write_private

# Read: the SDKs' two hosts (starkcore utils/request.py).
HOSTS = ("sandbox.api.starkbank.com", "api.starkbank.com")
_DOMAIN = "starkbank.com"
# Ten years for the authority; under the 825 days that some clients allow for a leaf.
_AUTHORITY_DAYS, _LEAF_DAYS = 3650, 365


def open_authority(folder: Path, now: datetime) -> tuple[Path, Path]:
    """The authority's certificate for clients, and a fresh leaf with its key for the server.

    `now` is the real time: certificates are judged by the clocks of clients.

    Raises BadKeyFile when the files of the folder cannot be read.
    """
    certificate_path, key_path = folder / "ca.pem", folder / "ca-key.pem"
    if not certificate_path.exists() or not key_path.exists():
        _make_authority(certificate_path, key_path, now)
    try:
        authority = x509.load_pem_x509_certificate(certificate_path.read_bytes())
        key = serialization.load_pem_private_key(key_path.read_bytes(), password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != authority.public_key():
            raise ValueError("another key")
    except ValueError:
        text = f"{certificate_path} and {key_path} are not a certificate and its key; remove both"
        raise BadKeyFile(text) from None
    leaf_path = folder / "proxy-leaf.pem"
    write_private(leaf_path, _make_leaf(authority, key, now))
    return certificate_path.resolve(), leaf_path


def _make_authority(certificate_path: Path, key_path: Path, now: datetime) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("repasse emulator: local test authority")
    certificate = (
        _certificate(name, name, key.public_key(), now, _AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.NameConstraints([x509.DNSName(_DOMAIN)], None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    write_private(key_path, _pem(key))
    certificate_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def _make_leaf(
    authority: x509.Certificate, authority_key: ec.EllipticCurvePrivateKey, now: datetime
) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    certificate = (
        _certificate(_name(HOSTS[0]), authority.subject, key.public_key(), now, _LEAF_DAYS)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host) for host in HOSTS]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(identifier, critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    return _pem(key) + certificate.public_bytes(serialization.Encoding.PEM)


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, days: int
) -> x509.CertificateBuilder:
    # Valid from yesterday: a client's clock may be a little behind.
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=days))
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
