"""The whole bank in memory, without HTTP: books, life and faults on one agenda.

The server steps it in real or accelerated time; a simulation steps it in virtual time and takes the
deliveries as calls. It is synchronous and single-threaded on purpose, and it never reads a clock: every call
takes `now`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from emulator.behaviour.events import Delivery, Events
from emulator.behaviour.faults import Faults
from emulator.behaviour.life import Life
from emulator.books.accounts import Accounts
from emulator.books.book import Book
from emulator.books.deposits import Deposits
from emulator.books.dict_keys import DictKeys
from emulator.books.formats import Ids
from emulator.books.invoices import Invoices
from emulator.books.preset import Preset
from emulator.books.split_profiles import SplitProfiles
from emulator.books.table import Row
from emulator.books.transfers import Transfers
from emulator.books.workspaces import Workspaces
from emulator.clock import Agenda


class Bank:
    """One workspace of the bank.

    `deliver` is called once for each POST that is due; its owner reports the outcome with `events.record`.
    """

    def __init__(
        self,
        *,
        seed: int,
        opened_at: datetime,
        workspace_id: str = "6120445530091520",
        organization_id: str = "4747474747474747",
        preset: Preset | None = None,
        opening_balance_centavos: int = 0,
        deliver: Callable[[Delivery], None] | None = None,
    ) -> None:
        self.seed = seed
        self.opened_at = opened_at
        self.workspace_id = workspace_id
        self.preset = preset or Preset()
        self.agenda = Agenda()
        self.faults = Faults(seed)
        self.ids = Ids(seed)
        self.accounts = Accounts(self.ids, workspace_id, opened_at, opening_balance_centavos)
        self.invoices = Invoices(self.ids, self.accounts, seed, self._react)
        self.transfers = Transfers(
            self.ids, self.accounts, self.preset, self.invoices.rows.__contains__, self._react
        )
        self.deposits = Deposits(self.ids, self.accounts, self._react)
        self.dict_keys = DictKeys(seed, opened_at)
        self.workspaces = Workspaces(self.ids, workspace_id, organization_id, opened_at)
        self.split_profiles = SplitProfiles(self.ids)
        self.events = Events(
            self.ids, workspace_id, self.agenda, self.preset, self.faults, deliver or (lambda delivery: None)
        )
        self.life = Life(
            seed,
            self.agenda,
            self.preset,
            self.faults,
            self.invoices,
            self.transfers,
            self.deposits,
            self.events,
        )

    @property
    def books(self) -> tuple[Book, ...]:
        """The books of money."""
        return (self.invoices, self.transfers, self.deposits)

    def _react(self, subscription: str, log: Row, now: datetime) -> None:
        self.life.react(subscription, log, now)

    def step(self, now: datetime) -> int:
        """Do everything that is due by `now`; returns how many things were done."""
        return self.agenda.run_due(now)

    def next_at(self) -> datetime | None:
        """When the next entry of the agenda is due; None when nothing is planned."""
        return self.agenda.next_at()

    # The calls of a client, for use without HTTP. They raise `Refusal` and return the bank's own JSON
    # shapes.

    def create_invoices(self, elements: list[dict[str, Any]], now: datetime) -> list[Row]:
        """POST /v2/invoice."""
        return [dict(row) for row in self.invoices.create(elements, now)]

    def create_transfers(self, elements: list[dict[str, Any]], now: datetime) -> list[Row]:
        """POST /v2/transfer."""
        return [dict(row) for row in self.transfers.create(elements, now)]

    def register_webhook(self, url: str, subscriptions: list[str], now: datetime) -> Row:
        """POST /v2/webhook."""
        return dict(self.events.register({"url": url, "subscriptions": subscriptions}, now))
