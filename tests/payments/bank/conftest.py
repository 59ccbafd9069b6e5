"""The scripted bank, and a key made for the tests."""

from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.payments.bank.scripted_server import ScriptedServer


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    """A server with an empty script."""
    server = ScriptedServer()
    yield server
    server.close()


@pytest.fixture(scope="session")
def private_key() -> ec.EllipticCurvePrivateKey:
    """A fresh secp256k1 key."""
    return ec.generate_private_key(ec.SECP256K1())


@pytest.fixture(scope="session")
def private_key_pem(private_key: ec.EllipticCurvePrivateKey) -> str:
    """The same, as the settings hold it."""
    return private_key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()
