"""One call of /v2 as its handler gets it: its id, query and body, read as the bank reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from emulator.books import checks
from emulator.books.fields import ANYTHING
from emulator.books.refusal import Refusal
from emulator.protocol.credentials import Credentials

Answer = dict[str, Any]


@dataclass(frozen=True)
class Call:
    """One request to /v2, already authenticated.

    `id` is the one in its path (empty when there is none), `given` the parameters of its query, read, `client_now` the
    caller's idea of the time, `caller` its Access-Id (empty when the call needs none).
    """

    id: str
    given: Mapping[str, Any]
    body: bytes
    now: datetime
    client_now: datetime
    credentials: Credentials
    caller: str

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
