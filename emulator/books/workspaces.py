"""Workspaces of the organization: rows that can be made and changed, without books of their own.

Only the first one has money; the others exist so that clients which manage workspaces have something to
manage. It keeps names unique and does not isolate anything.
"""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any

from msgspec import Meta

from emulator.books import checks
from emulator.books.fields import Fields, one_of, pattern, text, typed
from emulator.books.formats import Ids, time_text
from emulator.books.refusal import Refusal
from emulator.books.table import Row, Table

# Documented: a client may set the first two.
SETTABLE = ("active", "blocked")
STATUSES = (*SETTABLE, "closed", "frozen")

# Documented: the username is part of an address and so URL-safe, and unique. Guess: the codes.
WORKSPACE: Fields = {
    "username": pattern(
        "[A-Za-z0-9._~-]{1,100}", "invalidUsername", "username must be 1 to 100 URL-safe characters"
    )
    .such_as("my-workspace")
    .needed,
    "name": checks.NAME.needed,
    "allowedTaxIds": typed(
        list[str],
        "invalidTaxId",
        "allowedTaxIds must be a list of CPFs and CNPJs",
        lambda given: [checks.tax_id(each) for each in given],
    ),
}


def _picture(value: str) -> str:
    # Read: some SDKs' base64 has line breaks in it, as MIME wants (RFC 2045).
    if not base64.b64decode(re.sub(r"\s", "", value.partition(",")[2]), validate=True):
        raise ValueError("no picture")
    return value


CHANGES: Fields = {
    **{name: replace(field, required=False) for name, field in WORKSPACE.items()},
    "status": one_of(SETTABLE, "status", "invalidStatus"),
    # Read: sdk-python sends a data URL. Guess: the code.
    "picture": typed(
        Annotated[str, Meta(pattern="^data:image/(png|jpeg);base64,")],
        "invalidPicture",
        "picture must be a PNG or JPEG as a base64 data URL",
        _picture,
        {"examples": ["data:image/png;base64,iVBORw0KGgo="]},
    ),
    # Documented as a parameter; the SDKs put it into `picture`.
    "pictureType": text("pictureType", "invalidPicture", 100),
}


class Workspaces:
    """All workspaces."""

    def __init__(self, ids: Ids, workspace_id: str, organization_id: str, opened_at: datetime) -> None:
        self._ids = ids
        self.rows = Table("workspace", indexes=("username",))
        self._organization_id = organization_id
        self.rows.add(self._row(workspace_id, "emulator", "Emulated Workspace", [], opened_at), opened_at)

    def create(self, body: Any, now: datetime) -> Row:
        """A new workspace under a name that is not taken."""
        given = checks.body(body, "workspace", WORKSPACE)
        self._refuse_taken(given["username"], None)
        tax_ids = given.get("allowedTaxIds", [])
        row = self._row(self._ids.entity(), given["username"], given["name"], tax_ids, now)
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

    def patch(self, workspace_id: str, changes: Any, now: datetime) -> Row:
        """Rename, restrict, picture or block a workspace."""
        row = self.rows.find(workspace_id)
        clean = checks.body(changes, "workspace", CHANGES)
        if "username" in clean:
            self._refuse_taken(clean["username"], workspace_id)
        clean.pop("pictureType", None)
        if clean.pop("picture", None) is not None:
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

    def _refuse_taken(self, username: str, own_id: str | None) -> None:
        if any(row["id"] != own_id for row in self.named(username)):
            raise Refusal.of("invalidUsername", f"the username {username} is taken")
