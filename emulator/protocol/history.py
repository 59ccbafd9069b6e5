"""Requests that came in and deliveries that went out, for tests and people to read, filter and clear.

The newest entries of requests or deliveries, with their bodies, so that a person can read, compare and repeat
them. It is no part of the bank's books and is not saved with them.
"""

from __future__ import annotations

import fnmatch
from collections import deque
from collections.abc import Mapping
from typing import Any

Entry = dict[str, Any]

# Enough for a whole day of a test; the oldest are dropped.
MOST_ENTRIES = 10_000
# Of all bodies together; the oldest entries are dropped. 10,000 events with their answers take about 20 MB.
MOST_TOTAL_BYTES = 64_000_000
# Of each body: room for 100 full invoices many times over, so that nearly all can be repeated as they were.
MOST_BODY_BYTES = 1_000_000
# Of each body in a list: enough to read any single invoice, event or refusal.
MOST_LISTED_BYTES = 4_000
# What an answer shows of an entry only when it is asked for.
LONG = ("headers", "body", "answer", "repeats")


class History:
    """The newest entries, numbered from 1 in order of arrival."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque()
        self._bytes = 0
        self.count = 0

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, entry: Entry) -> Entry:
        """Keep an entry; its number is set."""
        self.count += 1
        entry["number"] = self.count
        self._entries.append(entry)
        self._bytes += _bytes_of(entry)
        while len(self._entries) > MOST_ENTRIES or (
            self._bytes > MOST_TOTAL_BYTES and len(self._entries) > 1
        ):
            self._bytes -= _bytes_of(self._entries.popleft())
        return entry

    def get(self, number: int) -> Entry | None:
        """The entry of this number, while it is kept."""
        return next((entry for entry in self._entries if entry["number"] == number), None)

    def newest(self, count: int) -> list[Entry]:
        """The last entries, newest first."""
        return [entry for entry, _ in zip(reversed(self._entries), range(count), strict=False)]

    def clear(self) -> int:
        """Forget all entries; numbers go on. Returns how many there were."""
        cleared = len(self._entries)
        self._entries.clear()
        self._bytes = 0
        return cleared

    def find(self, query: Mapping[str, str], filters: tuple[str, ...]) -> list[Entry]:
        """Entries, oldest first, that fit every filter of a query; ValueError names what is wrong with it.

        A filter is the name of a field; its value may have `*` in it. Besides: `since` (a number; later
        entries only), `limit` (the newest that many) and `bodies=true`.
        """
        unknown = sorted(set(query) - {*filters, "since", "limit", "bodies"})
        if unknown:
            raise ValueError(f"unknown filters {', '.join(unknown)}; known are {', '.join(filters)}")
        since, limit = _whole(query, "since", 0), _whole(query, "limit", MOST_ENTRIES)
        wanted = {name: query[name].lower() for name in filters if name in query}
        found = [
            entry
            for entry in self._entries
            if entry["number"] > since
            and all(fnmatch.fnmatchcase(_text(entry.get(name)), value) for name, value in wanted.items())
        ]
        found = found[max(0, len(found) - limit) :]
        if query.get("bodies", "false").lower() == "true":
            return [shown(entry, MOST_LISTED_BYTES) for entry in found]
        return [{key: value for key, value in entry.items() if key not in LONG} for entry in found]


def shown(entry: Entry, bytes_max: int = MOST_BODY_BYTES) -> Entry:
    """An entry with its bodies as text, each cut after `bytes_max` bytes."""
    return {
        key: value[:bytes_max].decode("utf-8", "replace") if isinstance(value, bytes) else value
        for key, value in entry.items()
    }


def _bytes_of(entry: Entry) -> int:
    return len(entry.get("body", b"")) + len(entry.get("answer", b""))


def _text(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return str(value).lower().replace("none", "")
    return str(value).lower()


def _whole(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{name} must be a whole number, zero or more")
    return int(text[:12])
