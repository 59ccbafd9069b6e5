"""Keys as files and as text: secp256k1 in PEM, private ones in files of mode 0600.

A private key is never printed or logged. `credentials` knows whose key it is.
"""

from __future__ import annotations

import os
from pathlib import Path

import coincurve
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec


class BadKeyFile(Exception):
    """A file of the data folder that cannot be used; the text says which, why and what to do."""


def open_key(path: Path) -> coincurve.PrivateKey:
    """The private key of a file, made when there is none."""
    if not path.exists():
        write_private(path, private_pem(coincurve.PrivateKey()))
    try:
        return private_from_pem(path.read_bytes())
    except ValueError as error:
        raise BadKeyFile(f"{path} is {error}; remove it and a new one is made") from None


def write_private(path: Path, content: bytes) -> None:
    """Write a file for its owner alone, in the place of an old one, which would keep its own mode."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def private_from_pem(pem: bytes) -> coincurve.PrivateKey:
    """A private key from its PEM; ValueError says what it is instead."""
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("not a private key in PEM") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256K1):
        raise ValueError("not a secp256k1 key")
    return coincurve.PrivateKey.from_int(key.private_numbers().private_value)


def private_pem(key: coincurve.PrivateKey) -> bytes:
    """A private key as PEM."""
    # SEC1 ("EC PRIVATE KEY"), the form that the SDKs' documentation shows.
    form = serialization.PrivateFormat.TraditionalOpenSSL
    private = ec.derive_private_key(key.to_int(), ec.SECP256K1())
    return private.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def public_from_pem(text: str) -> coincurve.PublicKey:
    """A public key from its PEM; ValueError when it is none on this curve."""
    try:
        key = serialization.load_pem_public_key(text.encode())
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("not a public key in PEM") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256K1):
        raise ValueError("not a secp256k1 key")
    form = serialization.PublicFormat.UncompressedPoint
    return coincurve.PublicKey(key.public_bytes(serialization.Encoding.X962, form))


def public_pem(key: coincurve.PublicKey) -> str:
    """A public key as PEM."""
    point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256K1(), key.format(compressed=False))
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return point.public_bytes(serialization.Encoding.PEM, form).decode()
