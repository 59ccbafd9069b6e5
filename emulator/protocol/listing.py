"""How the bank answers a list call: which rows, filtered how, in which order and envelope."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from emulator.behaviour.bank import Bank
from emulator.books.table import Row, Table
from emulator.protocol import filters
from emulator.protocol.request import Answer, Call

# Whether a row is in the answer to this call; None for every row.
Filter = Callable[[Bank, Call], Callable[[Row], bool] | None]


@dataclass(frozen=True)
class Listing:
    """One list call of /v2, as a table of what it can be asked for; called as a handler."""

    table: Callable[[Bank], Table]
    # The key of the rows in the answer.
    plural: str
    # The refusal's code for a status or type that does not exist.
    code: str = ""
    statuses: tuple[str, ...] = ()
    log_types: tuple[str, ...] = ()
    sorts: tuple[str, ...] = ()
    # Query names and the index that each asks: {"transferIds": "transferId"}.
    indexes: Mapping[str, str] = field(default_factory=dict)
    has_ids: bool = True
    keep: Filter | None = None

    def __call__(self, bank: Bank, call: Call) -> Answer:
        """One page and the cursor of the next."""
        query = call.query
        sorts = filters.words(query, "sort", self.sorts, "invalidSort") if self.sorts else None
        rows, cursor = self.table(bank).page(
            **filters.page_arguments(query),
            ids=filters.words(query, "ids") if self.has_ids else None,
            within=self._within(call),
            keep=self._keep(bank, call),
            sort=(sorts or ["-created"])[0],
        )
        return {self.plural: filters.trim(rows, query), "cursor": cursor}

    def _within(self, call: Call) -> dict[str, Any]:
        """The index entries of which a row must have one, for each filter that was given."""
        chosen: dict[str, Any] = {}
        for name, index in self.indexes.items():
            values = filters.words(call.query, name)
            if values is not None:
                # Guess: a row has to carry any of the tags, not all; stored tags are lower-case.
                chosen[index] = [value.lower() for value in values] if index == "tags" else values
        types = filters.words(call.query, "types", self.log_types, self.code) if self.log_types else None
        return chosen if types is None else {**chosen, "type": types}

    def _keep(self, bank: Bank, call: Call) -> Callable[[Row], bool] | None:
        statuses = filters.words(call.query, "status", self.statuses, self.code) if self.statuses else None
        other = None if self.keep is None else self.keep(bank, call)
        if statuses is None:
            return other
        return lambda row: row["status"] in statuses and (other is None or other(row))
