"""One call of /v2: its method, path, query and body, read as the bank reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from emulator.books import checks
from emulator.books.fields import ANYTHING
from emulator.books.refusal import Refusal
from emulator.protocol.credentials import Credentials
from emulator.protocol.filters import Query

Answer = dict[str, Any]


@dataclass(frozen=True)
class Call:
    """One request to /v2, already authenticated.

    `client_now` is the caller's idea of the time, `caller` its Access-Id (empty when the call needs none), `given` the
    parameters of its query, read.
    """

    method: str
    segments: tuple[str, ...]
    query: Query
    body: bytes
    now: datetime
    client_now: datetime
    credentials: Credentials
    caller: str = ""
    given: Mapping[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The id in the path: the second segment of `invoice/1/payment`, the third of `invoice/log/1`."""
        return self.segments[2] if self.segments[1] in ("log", "attempt") else self.segments[1]

    @property
    def is_from_organization(self) -> bool:
        """Whether an organization calls, and not a project."""
        return self.caller.startswith("organization/")

    def json(self) -> Any:
        """The body as JSON."""
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            raise Refusal.of("invalidJson", "The body is not valid JSON") from None

    def elements(self, plural: str) -> Any:
        """The list under the resource's plural in the body."""
        return checks.body(self.json(), "body", {plural: ANYTHING.needed})[plural]
