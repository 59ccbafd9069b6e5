"""How the bank answers a list call: which rows, filtered how, in which order and envelope."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from emulator.behaviour.bank import Bank
from emulator.books.fields import Fields
from emulator.books.table import Row, Table, unknown_id_code
from emulator.protocol import filters
from emulator.protocol.request import Answer, Call


@dataclass(frozen=True)
class Listing:
    """One list call of /v2, as a table of what it can be asked for; called as a handler."""

    path: str
    table: Callable[[Bank], Table]
    # The key of the rows in the answer.
    plural: str
    statuses: tuple[str, ...] = ()
    log_types: tuple[str, ...] = ()
    sorts: tuple[str, ...] = ()
    # Query names and the index that each asks: {"transferIds": "transferId"}.
    indexes: Mapping[str, str] = field(default_factory=dict)
    has_ids: bool = True
    # Fields of this list alone, each named as the key of a row that has to have its value, or one of its values.
    others: Fields = field(default_factory=dict)
    # The only ids that a call may or need look at; None for all.
    only: Callable[[Bank, Call], Collection[str] | None] = lambda bank, call: None

    @cached_property
    def parameters(self) -> Fields:
        """Everything that this list can be asked for."""
        code = unknown_id_code(self.path)
        known = {"status": self.statuses, "types": self.log_types}
        return {
            **filters.PAGE,
            **({"ids": filters.words("ids")} if self.has_ids else {}),
            **{name: filters.words(name, values, code) for name, values in known.items() if values},
            **({"sort": filters.words("sort", self.sorts, "invalidSort")} if self.sorts else {}),
            **{name: filters.words(name) for name in self.indexes},
            **self.others,
        }

    def __call__(self, bank: Bank, call: Call) -> Answer:
        """One page and the cursor of the next."""
        given = call.given
        ids, only = given.get("ids"), self.only(bank, call)
        rows, cursor = self.table(bank).page(
            limit=given["limit"] or 100,
            cursor=given["cursor"],
            after=given["after"],
            before=given["before"],
            ids=ids if only is None else only if ids is None else [each for each in ids if each in only],
            within=self._within(given),
            keep=self._keep(given),
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

    def _keep(self, given: Mapping[str, Any]) -> Callable[[Row], bool] | None:
        """Whether a row has what was asked of its keys; None when nothing was."""
        asked = {name: given[name] for name in ("status", *self.others) if given.get(name) is not None}
        if not asked:
            return None
        wanted = {name: value if isinstance(value, list) else [value] for name, value in asked.items()}
        return lambda row: all(row[name] in values for name, values in wanted.items())
