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


def open_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """The private key of a file, made when there is none."""
    if not path.exists():
        # SECP256K1 by cryptography: starkbank-ecdsa's own keys are refused elsewhere once in 256.
        write_private(path, private_pem(ec.generate_private_key(ec.SECP256K1())))
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise BadKeyFile(f"{path} is not a private key in PEM; remove it and a new one is made") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256K1):
        raise BadKeyFile(f"{path} is not a secp256k1 key; remove it and a new one is made")
    return key


def write_private(path: Path, pem: bytes) -> None:
    """Write a new private file; one that exists is not overwritten."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A private key as PEM."""
    # SEC1 ("EC PRIVATE KEY"), the form that the SDKs' documentation shows.
    encoding = serialization.PrivateFormat.TraditionalOpenSSL
    return key.private_bytes(serialization.Encoding.PEM, encoding, serialization.NoEncryption())


def public_of(key: ec.EllipticCurvePrivateKey) -> coincurve.PublicKey:
    """The public half of a private key."""
    form = serialization.PublicFormat.UncompressedPoint
    return coincurve.PublicKey(key.public_key().public_bytes(serialization.Encoding.X962, form))


def public_from_pem(text: str) -> coincurve.PublicKey:
    """A public key from its PEM; ValueError says what is wrong with it."""
    try:
        key = serialization.load_pem_public_key(text.encode())
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("public_key must be a public key in PEM") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256K1):
        raise ValueError("public_key must be on the curve secp256k1")
    form = serialization.PublicFormat.UncompressedPoint
    return coincurve.PublicKey(key.public_bytes(serialization.Encoding.X962, form))


def public_pem(key: coincurve.PublicKey) -> str:
    """A public key as PEM."""
    point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256K1(), key.format(compressed=False))
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return point.public_bytes(serialization.Encoding.PEM, form).decode()
