"""Workspaces of the organization: rows that can be made and changed, without books of their own.

Only the first one has money; the others exist so that clients which manage workspaces have something to
manage. It keeps names unique and does not isolate anything.
"""

from __future__ import annotations

import base64
import binascii
import re
from datetime import datetime
from typing import Any

from emulator.books import checks
from emulator.books.formats import Ids, time_text
from emulator.books.refusal import Refusal
from emulator.books.table import Row, Table

# Documented: a client may set the first two.
SETTABLE = ("active", "blocked")
STATUSES = (*SETTABLE, "closed", "frozen")

_KEYS = {"username", "name", "allowedTaxIds"}


class Workspaces:
    """All workspaces."""

    def __init__(self, ids: Ids, workspace_id: str, organization_id: str, opened_at: datetime) -> None:
        self._ids = ids
        self.rows = Table("workspace", indexes=("username",))
        self._organization_id = organization_id
        self.rows.add(self._row(workspace_id, "emulator", "Emulated Workspace", [], opened_at), opened_at)

    def create(self, body: Any, now: datetime) -> Row:
        """A new workspace under a name that is not taken."""
        body = checks.body(body)
        checks.keys(body, "workspace", _KEYS, ("username", "name"))
        username = self._username(body["username"], None)
        name = checks.text(body["name"], "name", "invalidName")
        row = self._row(self._ids.entity(), username, name, _tax_ids(body.get("allowedTaxIds")), now)
        self.rows.add(row, now)
        return row

    def _row(self, row_id: str, username: str, name: str, tax_ids: list[str], now: datetime) -> Row:
        return {
            "id": row_id,
            "username": username,
            "name": name,
            "allowedTaxIds": tax_ids,
            "status": "active",
            "organizationId": self._organization_id,
            "pictureUrl": "",
            "created": time_text(now),
        }

    def get(self, workspace_id: str) -> Row:
        """The workspace, or the refusal of an unknown id."""
        row = self.rows.get(workspace_id)
        if row is None:
            # Guess by analogy with the codes of other resources.
            raise Refusal.of("invalidWorkspace", f"No workspace has the id {workspace_id[:100]}")
        return row

    def patch(self, workspace_id: str, changes: Any, now: datetime) -> Row:
        """Rename, restrict, picture or block a workspace."""
        row = self.get(workspace_id)
        changes = checks.body(changes)
        # Documented: pictureType is a parameter too. Read: the SDKs put it into `picture` as a data URL.
        checks.keys(changes, "workspace", _KEYS | {"status", "picture", "pictureType"}, ())
        changes = {key: value for key, value in changes.items() if value is not None}
        clean: dict[str, Any] = {}
        if "username" in changes:
            clean["username"] = self._username(changes["username"], workspace_id)
        if "name" in changes:
            clean["name"] = checks.text(changes["name"], "name", "invalidName")
        if "allowedTaxIds" in changes:
            clean["allowedTaxIds"] = _tax_ids(changes["allowedTaxIds"])
        if "status" in changes:
            if changes["status"] not in SETTABLE:
                raise Refusal.of("invalidStatus", f"status can be set to {' or '.join(SETTABLE)}")
            clean["status"] = changes["status"]
        if "picture" in changes:
            _check_picture(changes["picture"])
            # Documented by example: a public address that changes with the picture.
            stamp = f"{now:%Y%m%d%H%M%S}"
            clean["pictureUrl"] = f"https://storage.emulator.invalid/workspace/{workspace_id}.png?{stamp}"
        row.update(clean)
        if "username" in clean:
            self.rows.index("username", clean["username"], workspace_id)
        return row

    def named(self, username: str) -> list[Row]:
        """The workspaces that have this username now."""
        return [row for row in self.rows.having("username", username) if row["username"] == username]

    def _username(self, value: Any, own_id: str | None) -> str:
        # Documented: it is part of an address and so URL-safe, and unique. Guess: the codes.
        if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9._~-]{1,100}", value):
            raise Refusal.of("invalidUsername", "username must be 1 to 100 URL-safe characters")
        if any(row["id"] != own_id for row in self.named(value)):
            raise Refusal.of("invalidUsername", f"the username {value} is taken")
        return value


def _tax_ids(value: Any) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise Refusal.of("invalidTaxId", "allowedTaxIds must be a list of CPFs and CNPJs")
    return [checks.tax_id(each) for each in value]


def _check_picture(value: Any) -> None:
    # Read: sdk-python sends `data:image/png;base64,...`. Guess: the code.
    found = (
        re.fullmatch(r"data:image/(?:png|jpeg);base64,(.+)", value, re.S) if isinstance(value, str) else None
    )
    try:
        # Read: some SDKs' base64 has line breaks in it, as MIME wants (RFC 2045).
        if found is None or not base64.b64decode(re.sub(r"\s", "", found[1]), validate=True):
            raise ValueError("no picture")
    except (ValueError, binascii.Error):
        raise Refusal.of("invalidPicture", "picture must be a PNG or JPEG as a base64 data URL") from None
