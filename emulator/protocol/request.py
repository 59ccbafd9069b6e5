"""One call of /v2 and what all lists of the protocol face have in common.

It reads the body and the query of a call and makes the envelopes; which call does what is in `routes` and
`more_routes`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from emulator.books import checks
from emulator.books.refusal import Refusal
from emulator.books.table import Row, Table
from emulator.protocol import filters

Answer = dict[str, Any]


@dataclass(frozen=True)
class Call:
    """One request to /v2, already authenticated.

    `client_now` is the caller's idea of the time, `caller` its Access-Id (empty when the call needs none).
    """

    method: str
    segments: tuple[str, ...]
    query: filters.Query
    body: bytes
    now: datetime
    client_now: datetime
    caller: str = ""

    @property
    def id(self) -> str:
        """The last segment that is an id: the second of `invoice/1/payment`, the last of `invoice/log/1`."""
        return self.segments[2] if self.segments[1] in ("log", "attempt") else self.segments[1]

    def json(self) -> Any:
        """The body as JSON."""
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            raise Refusal.of("invalidJson", "The body is not valid JSON") from None

    def object(self) -> dict[str, Any]:
        """The body as a JSON object."""
        body = self.json()
        if not isinstance(body, dict):
            raise Refusal.of("invalidJson", "The body must be a JSON object")
        return body

    def elements(self, plural: str) -> Any:
        """The list under the resource's plural in the body."""
        body = self.object()
        checks.keys(body, "the body", {plural}, (plural,))
        return body[plural]


def page_of(call: Call, table: Table, plural: str, **arguments: Any) -> Answer:
    """One page of a table in its envelope."""
    rows, cursor = table.page(**filters.page_arguments(call.query), **arguments)
    return {plural: filters.trim(rows, call.query), "cursor": cursor}


def within(call: Call, **names: str) -> dict[str, list[str]]:
    """Index values from query names: `within(call, tags="tags")`."""
    found = {index: filters.words(call.query, name) for index, name in names.items()}
    # Guess: a row has to carry any of the tags, not all; tags are lower-cased, so the question is as well.
    return {
        index: [value.lower() for value in values] if index == "tags" else values
        for index, values in found.items()
        if values is not None
    }


def status_filter(call: Call, known: tuple[str, ...], code: str) -> Callable[[Row], bool] | None:
    """Whether a row has one of the statuses asked for; a status that does not exist is refused."""
    wanted = filters.words(call.query, "status", known, code)
    return None if wanted is None else lambda row: row["status"] in wanted


def logs_of(call: Call, table: Table, known: tuple[str, ...], code: str, index: str, name: str) -> Answer:
    """One page of logs, by type and by entity."""
    chosen = within(call, **{index: name})
    types = filters.words(call.query, "types", known, code)
    if types is not None:
        chosen["type"] = types
    return page_of(call, table, "logs", within=chosen)


def log_of(table: Table, call: Call, code: str) -> Answer:
    """One log in its envelope."""
    row = table.get(call.id)
    if row is None:
        raise Refusal.of(code, f"No log has the id {call.id[:100]}")
    return {"log": row}
