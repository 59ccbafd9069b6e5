"""Keys and projects: who may call the bank, and what the bank signs with.

Checks Access-* headers over the bytes received, and signs event bodies. Keys live in the data folder (files
of mode 0600) and are made at the first start; a private key is never printed or logged.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import coincurve
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from emulator.formats import time_text
from emulator.refusal import Refusal

_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


class BadKeyFile(Exception):
    """A file of the data folder that cannot be used; the text says which, why and what to do."""


@dataclass(frozen=True)
class Project:
    """One caller of the API: its id, its public key, and where its private key lies, if anywhere."""

    project_id: str
    workspace_id: str
    public_key: coincurve.PublicKey
    private_key_path: Path | None = None


@dataclass(frozen=True)
class BankKey:
    """A key that the bank signs events with."""

    private_key: ec.EllipticCurvePrivateKey
    created_at: datetime

    @property
    def public_pem(self) -> str:
        """What GET /v2/public-key shows."""
        encoding = serialization.PublicFormat.SubjectPublicKeyInfo
        return self.private_key.public_key().public_bytes(serialization.Encoding.PEM, encoding).decode()

    def to_json(self) -> dict[str, str]:
        """One element of `publicKeys`."""
        return {"content": self.public_pem, "created": time_text(self.created_at)}


class Credentials:
    """The projects, and the bank's keys, newest first."""

    def __init__(
        self, projects: list[Project], bank_keys: list[BankKey], seed: int, folder: Path | None = None
    ) -> None:
        self._projects = {project.project_id: project for project in projects}
        self._bank_keys = bank_keys
        self._seed = seed
        self._folder = folder
        self._signer = _signer(bank_keys[0])
        self._stranger = coincurve.PrivateKey(hashlib.sha256(f"{seed}:stranger".encode()).digest())

    @property
    def project(self) -> Project:
        """The first project: the one that the env file is written for."""
        return next(iter(self._projects.values()))

    def public_keys(self) -> list[dict[str, str]]:
        """The bank's public keys, newest first."""
        # Documented: the newest is in use, older ones only check older messages.
        return [key.to_json() for key in self._bank_keys]

    def rotate(self, now: datetime) -> dict[str, str]:
        """Sign with a new key from now on; the old ones stay listed."""
        key = BankKey(ec.generate_private_key(ec.SECP256K1()), now)
        if self._folder is not None:
            current = self._folder / "bank-key.pem"
            os.replace(current, self._folder / f"bank-key-old-{len(self._bank_keys):03}.pem")
            _write_private(current, _pem(key.private_key))
        self._bank_keys.insert(0, key)
        self._signer = _signer(key)
        return key.to_json()

    def sign(self, body: bytes, event_id: str, *, forged: bool = False) -> str:
        """The Digital-Signature of a body: about half have a high S, the same event always the same."""
        der = (self._stranger if forged else self._signer).sign(body)
        # Observed (6.4): about half of the real signatures have a high S.
        if hashlib.sha256(f"{self._seed}:signature:{event_id}".encode()).digest()[0] & 1:
            r, s = decode_dss_signature(der)
            der = encode_dss_signature(r, _ORDER - s)
        return base64.b64encode(der).decode()

    def check_request(self, headers: Mapping[str, str], body: bytes) -> Project:
        """Who signed this request; header names must come in lower case. Refuses what is not signed right."""
        access_id = headers.get("access-id")
        access_time = headers.get("access-time")
        signature = headers.get("access-signature")
        if not access_id or not access_time or not signature:
            # Guess: the facts do not say what missing headers get.
            raise Refusal.of(
                "invalidCredentials", "Access-Id, Access-Time and Access-Signature headers are required"
            )
        kind, _, project_id = access_id.partition("/")
        project = self._projects.get(project_id) if kind == "project" else None
        if project is None:
            # Read: the Elixir SDK's own test expects this code for an unknown project.
            raise Refusal.of("invalidProject", f"There is no project with the Access-Id {access_id}")
        # Documented by the SDKs: the text is signed as sent, so the time is never read as a number. Its age
        # is not checked: the bank's window is unknown, and this clock may run faster than the caller's.
        message = f"{access_id}:{access_time}:".encode("latin-1", "replace") + body
        if not _is_signed(project.public_key, signature, message):
            raise Refusal.of(
                "invalidCredentials",
                "The Access-Signature header does not match the key of this Access-Id and the body",
            )
        return project


def in_memory(seed: int) -> tuple[Credentials, str]:
    """Credentials that touch no disk, and the private key of their project as PEM: for tests."""
    project_key = ec.generate_private_key(ec.SECP256K1())
    project = Project("5656565656565656", "6120445530091520", _public(project_key))
    bank_key = BankKey(ec.generate_private_key(ec.SECP256K1()), datetime.now(UTC))
    return Credentials([project], [bank_key], seed), _pem(project_key).decode()


def open_folder(folder: Path, seed: int) -> Credentials:
    """The credentials of a data folder, made at the first start and reused after it."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    project_key_path = folder / "project-key.pem"
    project_key = _open_key(project_key_path)
    bank_keys = [_open_bank_key(folder / "bank-key.pem")]
    bank_keys += [_open_bank_key(path) for path in sorted(folder.glob("bank-key-old-*.pem"), reverse=True)]
    about_path = folder / "project.json"
    if not about_path.exists():
        about = {"projectId": _some_id(), "workspaceId": _some_id()}
        about_path.write_text(json.dumps(about) + "\n")
    try:
        about = json.loads(about_path.read_text())
        project_id, workspace_id = str(about["projectId"]), str(about["workspaceId"])
    except (ValueError, KeyError, TypeError):
        raise BadKeyFile(f"{about_path} is not a project file; remove it and a new one is made") from None
    project = Project(project_id, workspace_id, _public(project_key), project_key_path.resolve())
    return Credentials([project], bank_keys, seed, folder)


def _is_signed(public_key: coincurve.PublicKey, signature: str, message: bytes) -> bool:
    try:
        r, s = decode_dss_signature(base64.b64decode(signature, validate=True))
        if not (0 < r < _ORDER and 0 < s < _ORDER):
            return False
        # libsecp256k1 refuses a high S, which is as valid; SDKs send both.
        return public_key.verify(encode_dss_signature(r, min(s, _ORDER - s)), message)
    except (ValueError, binascii.Error):
        return False


def _open_bank_key(path: Path) -> BankKey:
    key = _open_key(path)
    return BankKey(key, datetime.fromtimestamp(path.stat().st_mtime, UTC))


def _open_key(path: Path) -> ec.EllipticCurvePrivateKey:
    if not path.exists():
        # SECP256K1 by cryptography: starkbank-ecdsa's own keys are refused elsewhere once in 256.
        _write_private(path, _pem(ec.generate_private_key(ec.SECP256K1())))
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise BadKeyFile(f"{path} is not a private key in PEM; remove it and a new one is made") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256K1):
        raise BadKeyFile(f"{path} is not a secp256k1 key; remove it and a new one is made")
    return key


def _write_private(path: Path, pem: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    # SEC1 ("EC PRIVATE KEY"), the form that the SDKs' documentation shows.
    encoding = serialization.PrivateFormat.TraditionalOpenSSL
    return key.private_bytes(serialization.Encoding.PEM, encoding, serialization.NoEncryption())


def _public(key: ec.EllipticCurvePrivateKey) -> coincurve.PublicKey:
    form = serialization.PublicFormat.UncompressedPoint
    return coincurve.PublicKey(key.public_key().public_bytes(serialization.Encoding.X962, form))


def _signer(key: BankKey) -> coincurve.PrivateKey:
    return coincurve.PrivateKey(key.private_key.private_numbers().private_value.to_bytes(32, "big"))


def _some_id() -> str:
    return str(4_503_599_627_370_496 + secrets.randbelow(2_251_799_813_685_248))
