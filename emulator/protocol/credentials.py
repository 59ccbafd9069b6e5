"""Keys and projects: who may call the bank, and what the bank signs with.

Checks Access-* headers over the bytes received, and signs event bodies. Keys live in the data folder (files
of mode 0600) and are made at the first start; a private key is never printed or logged.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import ipaddress
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import coincurve
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from msgspec import Meta

from emulator.books.fields import Fields, read, text, typed, whole
from emulator.books.formats import time_text
from emulator.books.refusal import Refusal
from emulator.protocol.keys import (
    BadKeyFile,
    open_key,
    private_pem,
    public_from_pem,
    public_pem,
    write_private,
)

_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


@dataclass(frozen=True)
class Project:
    """One caller of the API: its id, its public key, and the file of its private key, if there is one.

    `allowed_ips` empty means any; `requests_per_minute` None means the limit of all, 0 none.
    """

    project_id: str
    workspace_id: str
    public_key: coincurve.PublicKey
    private_key_path: Path | None = None
    # Read: an organization calls as `organization/<id>` or `organization/<id>/workspace/<id>`.
    kind: str = "project"
    name: str = "main"
    allowed_ips: tuple[str, ...] = ()
    requests_per_minute: int | None = None

    def to_json(self) -> dict[str, Any]:
        """As the management API shows it; never the private key."""
        return {
            "id": self.project_id,
            "kind": self.kind,
            "name": self.name,
            "workspace_id": self.workspace_id,
            "public_key": public_pem(self.public_key),
            "private_key_path": None if self.private_key_path is None else str(self.private_key_path),
            "allowed_ips": list(self.allowed_ips),
            "requests_per_minute": self.requests_per_minute,
        }

    def allows(self, address: str) -> bool:
        """Whether a call may come from this address; text that is no address comes from an in-process test."""
        if not self.allowed_ips:
            return True
        try:
            caller = ipaddress.ip_address(address)
        except ValueError:
            return False
        # The same caller, seen by a socket that takes both families.
        caller = getattr(caller, "ipv4_mapped", None) or caller
        return any(caller in ipaddress.ip_network(each) for each in self.allowed_ips)


@dataclass(frozen=True)
class BankKey:
    """A key that the bank signs events with."""

    private_key: coincurve.PrivateKey
    created_at: datetime

    def to_json(self) -> dict[str, str]:
        """One element of `publicKeys`."""
        return {"content": public_pem(self.private_key.public_key), "created": time_text(self.created_at)}


class Credentials:
    """The projects, and the bank's keys, newest first."""

    def __init__(
        self, projects: list[Project], bank_keys: list[BankKey], seed: int, folder: Path | None = None
    ) -> None:
        self._projects = {project.project_id: project for project in projects}
        self._shown_first: dict[str, str] | None = None
        self._bank_keys = bank_keys
        self._seed = seed
        self._folder = folder
        self._forger = coincurve.PrivateKey(hashlib.sha256(f"{seed}:forger".encode()).digest())

    @property
    def project(self) -> Project:
        """The first project: the one that the env file is written for."""
        return next(iter(self._projects.values()))

    @property
    def organization(self) -> Project | None:
        """The organization, which may make and change workspaces."""
        return next((each for each in self._projects.values() if each.kind == "organization"), None)

    def show_first(self, public_key: dict[str, str]) -> None:
        """Show a key that is not ours as the newest: recorded events of the real bank verify then, ours do not."""
        self._shown_first = public_key

    def projects(self) -> list[Project]:
        """All callers, in the order in which they were made."""
        return list(self._projects.values())

    def add_project(self, request: dict[str, Any]) -> tuple[Project, str | None]:
        """A new project from `name`, `public_key`, `allowed_ips` and `requests_per_minute`, all optional.

        Without a public key a pair is made; the private half is returned once and kept in the data folder.
        """
        given = _checked(request)
        private = None if "public_key" in given else coincurve.PrivateKey()
        public = given.pop("public_key") if private is None else private.public_key
        name = f"project {len(self._projects) + 1}"
        project = Project(_some_id(), self.project.workspace_id, public, **{"name": name, **given})
        return self._keep_key(project, private)

    def change_project(self, project_id: str, request: dict[str, Any]) -> Project:
        """Change the name, the addresses or the limit of a project."""
        given = _checked(request)
        if "public_key" in given:
            raise ValueError("public_key is changed by POST /emulator/projects/{id}/key")
        self._projects[project_id] = replace(self._known(project_id), **given)
        self._write_projects()
        return self._projects[project_id]

    def replace_key(self, project_id: str, request: dict[str, Any]) -> tuple[Project, str | None]:
        """Give a project a new key, a given or a made one; the old one is refused from now on."""
        given = _checked(request, PROJECT_KEY)
        private = None if given else coincurve.PrivateKey()
        public = given["public_key"] if private is None else private.public_key
        old = self._known(project_id)
        if old.private_key_path is not None and private is None:
            # The file no longer holds the key of this project, and the next start would read it as if it did.
            old.private_key_path.unlink(missing_ok=True)
        project = replace(old, public_key=public, private_key_path=old.private_key_path if private else None)
        return self._keep_key(project, private)

    def _known(self, project_id: str) -> Project:
        if project_id not in self._projects:
            raise ValueError(f"there is no project {project_id}; known are {', '.join(self._projects)}")
        return self._projects[project_id]

    def _keep_key(self, project: Project, private: coincurve.PrivateKey | None) -> tuple[Project, str | None]:
        if private is not None and self._folder is not None:
            path = (
                project.private_key_path or self._folder.resolve() / f"project-{project.project_id}-key.pem"
            )
            write_private(path, private_pem(private))
            project = replace(project, private_key_path=path)
        self._projects[project.project_id] = project
        self._write_projects()
        return project, None if private is None else private_pem(private).decode()

    def _write_projects(self) -> None:
        if self._folder is not None:
            text = json.dumps([project.to_json() for project in self.projects()], indent=1)
            (self._folder / "projects.json").write_text(text + "\n")

    @staticmethod
    def check_projects(rows: list[dict[str, Any]]) -> None:
        """ValueError, KeyError or TypeError when these are no projects."""
        for row in rows:
            _project_of(row)

    def take_projects(self, rows: list[dict[str, Any]], *, own: bool = False) -> None:
        """Take over projects, of a saved state or (`own`) of this data folder.

        A key that is here already stays, except that of an own project whose private half is not here.
        """
        for row in rows:
            project = _project_of(row)
            here = self._projects.get(project.project_id)
            if here is not None and not (own and project.private_key_path is None):
                project = replace(project, public_key=here.public_key, private_key_path=here.private_key_path)
            self._projects[project.project_id] = project

    def public_keys(self) -> list[dict[str, str]]:
        """The bank's public keys, newest first."""
        # Documented: the newest is in use, older ones only check older messages.
        shown = [] if self._shown_first is None else [self._shown_first]
        return shown + [key.to_json() for key in self._bank_keys]

    def rotate(self, now: datetime) -> dict[str, str]:
        """Sign with a new key from now on; the old ones stay listed."""
        key = BankKey(coincurve.PrivateKey(), now)
        if self._folder is not None:
            current = self._folder / "bank-key.pem"
            os.replace(current, self._folder / f"bank-key-old-{len(self._bank_keys):03}.pem")
            write_private(current, private_pem(key.private_key))
        self._bank_keys.insert(0, key)
        return key.to_json()

    def sign(self, body: bytes, event_id: str, *, forged: bool = False) -> str:
        """The Digital-Signature of a body: about half have a high S, the same event always the same."""
        der = (self._forger if forged else self._bank_keys[0].private_key).sign(body)
        # Observed (6.4): about half of the real signatures have a high S.
        if hashlib.sha256(f"{self._seed}:signature:{event_id}".encode()).digest()[0] & 1:
            r, s = decode_dss_signature(der)
            der = encode_dss_signature(r, _ORDER - s)
        return base64.b64encode(der).decode()

    def sign_call(self, body: bytes) -> dict[str, str]:
        """The headers under which a call with this body is one of the first project; refused without its key."""
        path = self.project.private_key_path
        if path is None or not path.exists():
            raise Refusal.of(
                "invalidRequest", "the private key of the first project is not here; sign the call yourself"
            )
        # Nothing compares the time (see `check_request`), so any will do.
        access_id, access_time = f"{self.project.kind}/{self.project.project_id}", "0"
        signature = open_key(path).sign(f"{access_id}:{access_time}:".encode() + body)
        return {
            "access-id": access_id,
            "access-time": access_time,
            "access-signature": base64.b64encode(signature).decode(),
        }

    def check_request(self, headers: Mapping[str, str], body: bytes, address: str = "") -> Project:
        """The caller that signed this request; header names must be in lower case. Refuses a wrong signature."""
        access_id = headers.get("access-id")
        access_time = headers.get("access-time")
        signature = headers.get("access-signature")
        if not access_id or not access_time or not signature:
            # Guess: the facts do not say what missing headers get.
            raise Refusal.of(
                "invalidCredentials", "Access-Id, Access-Time and Access-Signature headers are required"
            )
        kind, _, rest = access_id.partition("/")
        project_id, _, workspace = rest.partition("/")
        project = self._projects.get(project_id)
        if project is None or kind != project.kind or (workspace and kind != "organization"):
            # Read: the Elixir SDK's own test expects this code for an unknown project.
            raise Refusal.of("invalidProject", f"There is no project with the Access-Id {access_id}")
        if not project.allows(address):
            # Observed: the code. Guess: the words, and that it comes before the signature is looked at.
            raise Refusal.of("invalidIp", f"The IP {address} is not allowed for {access_id}")
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
    project_key = coincurve.PrivateKey()
    project = Project("5656565656565656", "6120445530091520", project_key.public_key)
    # The same key for both: a test that needs the organization signs with the one it has.
    organization = replace(project, project_id="4747474747474747", kind="organization")
    bank_key = BankKey(coincurve.PrivateKey(), datetime.now(UTC))
    return Credentials([project, organization], [bank_key], seed), private_pem(project_key).decode()


def open_folder(folder: Path, seed: int) -> Credentials:
    """The credentials of a data folder, made at the first start and reused after it."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    bank_keys = [_open_bank_key(folder / "bank-key.pem")]
    bank_keys += [_open_bank_key(path) for path in sorted(folder.glob("bank-key-old-*.pem"), reverse=True)]
    about_path = folder / "project.json"
    if not about_path.exists():
        about = {"projectId": _some_id(), "workspaceId": _some_id(), "organizationId": _some_id()}
        about_path.write_text(json.dumps(about) + "\n")
    try:
        about = json.loads(about_path.read_text())
        project_id, workspace_id = str(about["projectId"]), str(about["workspaceId"])
        # Folders made before organizations were there have none: any other id will do.
        organization_id = str(about.get("organizationId") or int(project_id) + 1)
    except (ValueError, KeyError, TypeError, Refusal):
        raise BadKeyFile(f"{about_path} is not a project file; remove it and a new one is made") from None
    callers = []
    for kind, caller_id in (("project", project_id), ("organization", organization_id)):
        path = folder / f"{kind}-key.pem"
        key = open_key(path).public_key
        callers.append(Project(caller_id, workspace_id, key, path.resolve(), kind=kind))
    made = Credentials(callers, bank_keys, seed, folder)
    made.take_projects(_read_projects(folder / "projects.json"), own=True)
    return made


def _read_projects(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    try:
        rows: list[dict[str, Any]] = json.loads(path.read_text())
        Credentials.check_projects(rows)
    except (ValueError, KeyError, TypeError, AttributeError, Refusal):
        raise BadKeyFile(f"{path} is not a list of projects; remove it and only the first is known") from None
    return rows


def _project_of(row: dict[str, Any]) -> Project:
    path = row["private_key_path"]
    given = {name: row[name] for name in ("name", "allowed_ips", "requests_per_minute")}
    return Project(
        str(row["id"]),
        str(row["workspace_id"]),
        public_from_pem(row["public_key"]),
        None if path is None else Path(path),
        kind=str(row["kind"]),
        **_checked(given),
    )


# What a project may be given.
PROJECT: Fields = {
    "name": text("name", "invalidRequest", 1_000, empty=True).defaulting(None),
    "public_key": typed(
        Annotated[str, Meta(max_length=10_000)],
        "invalidRequest",
        "public_key must be a public key in PEM, on the curve secp256k1",
        public_from_pem,
    ),
    "allowed_ips": typed(
        list[str],
        "invalidRequest",
        "allowed_ips must be a list of addresses or networks",
        lambda given: tuple(str(ipaddress.ip_network(each, strict=False)) for each in given),
    ),
    # Null for the limit of all.
    "requests_per_minute": whole(
        "invalidRequest",
        "requests_per_minute must be a whole number, 0 for no limit or null for that of all",
        0,
        10**9,
    ),
}
PROJECT_KEY: Fields = {"public_key": PROJECT["public_key"]}


def _checked(request: dict[str, Any], fields: Fields = PROJECT) -> dict[str, Any]:
    given = read(request, "the project", fields, "invalidRequest")
    if "requests_per_minute" in request:
        given.setdefault("requests_per_minute", None)
    return given


def _is_signed(public_key: coincurve.PublicKey, signature: str, message: bytes) -> bool:
    try:
        r, s = decode_dss_signature(base64.b64decode(signature, validate=True))
        if not (0 < r < _ORDER and 0 < s < _ORDER):
            return False
        # libsecp256k1 refuses a high S, which is valid too; SDKs send both.
        return public_key.verify(encode_dss_signature(r, min(s, _ORDER - s)), message)
    except (ValueError, binascii.Error):
        return False


def _open_bank_key(path: Path) -> BankKey:
    key = open_key(path)
    return BankKey(key, datetime.fromtimestamp(path.stat().st_mtime, UTC))


def _some_id() -> str:
    """An id in the bank's form, from no seed."""
    return str(4_503_599_627_370_496 + secrets.randbelow(2_251_799_813_685_248))
