"""The split profile: how long the money of splits stays. Kept and shown; no money is split here.

It exists because the SDK's tests of generic requests use it for PUT.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from emulator.books import checks
from emulator.books.fields import Fields, complete, one_of, read, whole
from emulator.books.formats import Ids, time_text
from emulator.books.refusal import Refusal
from emulator.books.table import Row, Table

# Documented.
INTERVALS = ("day", "week", "month")
# Guess: what a profile's status can be.
STATUSES = ("created", "active")

PROFILE: Fields = {
    "interval": one_of(
        ("", *INTERVALS), "interval", "invalidInterval", lambda given: given or "week"
    ).defaulting("week"),
    # Documented: a whole number (the text says milliseconds; the SDKs say seconds). Guess: the limit.
    "delay": whole("invalidDelay", "delay must be an integer, zero or more", 0, 10**12).defaulting(0),
    "tags": checks.TAGS,
}


class SplitProfiles:
    """The workspace's one profile."""

    def __init__(self, ids: Ids) -> None:
        self._ids = ids
        self.rows = Table("split-profile", indexes=("tags",))

    def put(self, elements: Any, now: datetime) -> list[Row]:
        """Make or change the profile; documented: the list holds a single one."""
        checked = checks.each(
            elements, "profiles", lambda element: complete(read(element, "profile", PROFILE), PROFILE)
        )
        if len(checked) > 1:
            raise Refusal.of("invalidJson", "Only one profile can be sent")
        existing = next(iter(self.rows.all()), None)
        if existing is None:
            existing = {"id": self._ids.entity(), "status": "created", "created": time_text(now)}
            self.rows.add(existing, now)
        existing.update(checked[0], updated=time_text(now))
        return [existing]
