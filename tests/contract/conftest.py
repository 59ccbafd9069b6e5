"""Our settlement, reconciliation and issuing against the emulator, through the real SDK, on one virtual clock."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import Any

import pytest

from payments.bank.client import Bank
from payments.event import read_log
from payments.invoice import Payer, order_invoices
from payments.ledger import inbox
from payments.operator.statement import Statement, read_statement
from payments.policy import ForwardingPolicy
from payments.reconciliation import Reconciliation, reconcile_once
from payments.settlement import Settlement, settle_once
from payments.storage.database import Database
from tests.emulated import EmulatedBank

# Longer than the bank takes from a payment to its credit, or from a transfer to its success.
SOON_SECONDS = 20.0


@dataclass
class Stage:
    """Both sides, and the one clock."""

    emulator: EmulatedBank
    bank: Bank
    database: Database
    policy: ForwardingPolicy
    _numbers: Any = field(default_factory=lambda: count(1))

    def now(self) -> datetime:
        """The time on both sides."""
        return self.emulator.clock.now()

    def advance(self, seconds: float) -> None:
        """Let time pass on both sides."""
        self.emulator.advance(seconds)

    def pay_invoices(self, *amounts: int) -> list[str]:
        """Have invoices over these amounts issued, paid and credited at the bank; their ids."""
        tag = f"stage-{next(self._numbers)}"
        orders = order_invoices(tag, [(Payer("Marina Tavares", "529.982.247-25"), each) for each in amounts])
        ids = [invoice.id for invoice in self.bank.create_invoices(orders)]
        for invoice_id in ids:
            self.emulator.pay(invoice_id)
        self.advance(SOON_SECONDS)
        return ids

    def credit(self, *amounts: int) -> list[str]:
        """The same, and our books have heard of the credits as by the webhook; of all else by reconciliation."""
        ids = self.pay_invoices(*amounts)
        logs = self.bank.invoice_logs(("credited",), self.now().date() - timedelta(days=1))
        events = [event for event in (read_log("invoice", body) for body in logs) if event.subject in ids]
        inbox.accept(
            self.database, [inbox.Arrival(event) for event in events], "webhook", self.policy, self.now()
        )
        self.reconcile()
        return ids

    def settle(self, bank: Bank | None = None, database: Database | None = None) -> Settlement:
        """Settle what is due now, once."""
        return settle_once(
            database or self.database,
            bank or self.bank,
            self.policy,
            self.now,
            f"call-{next(self._numbers)}",
        )

    def reconcile(self, bank: Bank | None = None) -> Reconciliation:
        """Ask the bank what we missed."""
        return reconcile_once(self.database, bank or self.bank, self.policy, self.now)

    def finish(self) -> None:
        """Let time pass, with the forwarder's and the worker's turns in it, until nothing is left to do."""
        for _ in range(40):
            self.settle()
            self.advance(SOON_SECONDS)
            if self.books.is_finished:
                return
            self.advance(self.policy.lease_seconds)
            self.reconcile()
        raise AssertionError(f"not settled: {self.books}")

    @property
    def books(self) -> Statement:
        """Our statement."""
        return read_statement(self.database)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What stands in our books."""
        with closing(sqlite3.connect(str(self.database.url.database))) as connection:
            return connection.execute(query).fetchall()

    def matters(self) -> list[str]:
        """The kinds of what a person should look at."""
        return [kind for (kind,) in self.rows("SELECT kind FROM attentions WHERE resolved_at IS NULL")]

    def states(self) -> list[tuple[str, str]]:
        """External id and state of each transfer."""
        return [
            (name, state) for name, state in self.rows("SELECT external_id, state FROM transfers ORDER BY id")
        ]


@pytest.fixture
def stage(emulator: EmulatedBank, bank: Bank, database: Database, policy: ForwardingPolicy) -> Stage:
    """A stage with nothing on it."""
    return Stage(emulator, bank, database, policy)
