"""How the bank answers a list call: which rows, filtered how, in which order and envelope."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from emulator.behaviour.bank import Bank
from emulator.books.table import Row, Table
from emulator.protocol import filters
from emulator.protocol.filters import Parameters
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
    # Parameters of this list alone, and the rows that they leave.
    others: Parameters = field(default_factory=dict)
    keep: Filter | None = None

    @cached_property
    def parameters(self) -> Parameters:
        """Everything that this list can be asked for."""
        known = {"status": self.statuses, "types": self.log_types}
        return {
            **filters.PAGE,
            **({"ids": filters.words("ids")} if self.has_ids else {}),
            **{name: filters.words(name, values, self.code) for name, values in known.items() if values},
            **({"sort": filters.words("sort", self.sorts, "invalidSort")} if self.sorts else {}),
            **{name: filters.words(name) for name in self.indexes},
            **self.others,
        }

    def __call__(self, bank: Bank, call: Call) -> Answer:
        """One page and the cursor of the next."""
        given = call.given
        rows, cursor = self.table(bank).page(
            limit=given["limit"] or 100,
            cursor=given["cursor"],
            after=given["after"],
            before=given["before"],
            ids=given.get("ids"),
            within=self._within(given),
            keep=self._keep(bank, call),
            sort=(given.get("sort") or ["-created"])[0],
        )
        return {self.plural: rows, "cursor": cursor}

    def _within(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The index entries of which a row must have one, for each filter that was given."""
        asked = {**self.indexes, "types": "type"}
        chosen = {index: given[name] for name, index in asked.items() if given.get(name) is not None}
        if "tags" in chosen:
            # Guess: a row has to carry any of the tags, not all; stored tags are lower-case.
            chosen["tags"] = [value.lower() for value in chosen["tags"]]
        return chosen

    def _keep(self, bank: Bank, call: Call) -> Callable[[Row], bool] | None:
        statuses = call.given.get("status")
        other = None if self.keep is None else self.keep(bank, call)
        if statuses is None:
            return other
        return lambda row: row["status"] in statuses and (other is None or other(row))
