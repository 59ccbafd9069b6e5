"""The split profile: how long the money of splits stays. Kept and shown; no money is split here.

It exists because the SDK's tests of generic requests use it for PUT.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from emulator.books import checks
from emulator.books.formats import Ids, time_text
from emulator.books.refusal import Refusal
from emulator.books.table import Row, Table

# Documented.
INTERVALS = ("day", "week", "month")
# Guess: what a profile's status can be.
STATUSES = ("created", "active")


class SplitProfiles:
    """The workspace's one profile."""

    def __init__(self, ids: Ids) -> None:
        self._ids = ids
        self.rows = Table("split-profile", indexes=("tags",))

    def put(self, elements: Any, now: datetime) -> list[Row]:
        """Make or change the profile; documented: the list holds a single one."""
        checked = checks.each(elements, "profiles", _checked)
        if len(checked) > 1:
            raise Refusal.of("invalidJson", "Only one profile can be sent")
        existing = next(iter(self.rows.all()), None)
        if existing is None:
            existing = {"id": self._ids.entity(), "status": "created", "created": time_text(now)}
            self.rows.add(existing, now)
        existing.update(checked[0], updated=time_text(now))
        return [existing]

    def get(self, profile_id: str) -> Row:
        """The profile, or the refusal of an unknown id."""
        row = self.rows.get(profile_id)
        if row is None:
            raise Refusal.of("invalidSplitProfile", f"No split profile has the id {profile_id[:100]}")
        return row


def _checked(element: dict[str, Any]) -> dict[str, Any]:
    checks.keys(element, "profile", {"interval", "delay", "tags"}, ())
    interval, delay = element.get("interval") or "week", element.get("delay") or 0
    if interval not in INTERVALS:
        raise Refusal.of("invalidInterval", f"interval must be one of {', '.join(INTERVALS)}")
    # Documented: a whole number (the text says milliseconds; the SDKs say seconds). Guess: the limit.
    if type(delay) is not int or not 0 <= delay <= 10**12:
        raise Refusal.of("invalidDelay", "delay must be an integer, zero or more")
    return {"interval": interval, "delay": delay, "tags": checks.tags(element.get("tags"))}
