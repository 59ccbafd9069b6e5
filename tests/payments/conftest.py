"""The ledger on a real SQLite file and on a real PostgreSQL, and a ledger that tests drive step by step."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from payments.ledger import inbox, transfers
from payments.ledger.inbox import Receipt
from payments.ledger.transfers import Claim, LookupVerdict
from payments.operator.statement import Statement, recount_statement
from payments.policy import ForwardingPolicy
from payments.storage.database import Database, open_database
from payments.storage.schema import attentions, credits, transfer_history
from payments.storage.schema import transfers as transfers_table
from payments.transfer import BankTransfer, external_id_for
from tests.payments.builders import (
    INVOICE,
    NOW,
    a_transfer_log,
    an_arrival,
    an_invoice_log,
    at_bank,
)


@pytest.fixture
def database_file(database_url: str) -> Path:
    """The SQLite file with this test's empty books."""
    return Path(database_url.removeprefix("sqlite:///"))


# For what is decided in memory, and what is about SQLite's files, pragmas or locks: nothing of it can differ on
# PostgreSQL. Statements, locks, faults and what happens at the same moment are tested on both.
ON_SQLITE = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    """Empty books, once on each kind of database."""
    address = {"sqlite": "database_url", "postgresql": "postgresql_url"}[request.param]
    database = open_database(request.getfixturevalue(address))
    yield database
    database.close()


@pytest.fixture
def now() -> datetime:
    """A Monday noon in São Paulo."""
    return NOW


@dataclass
class Books:
    """The ledger, the settings and the time, so that a test reads as a list of what happened."""

    database: Database
    policy: ForwardingPolicy
    now: datetime
    _serial: int = field(default=0)

    # --- what happens ---

    def pass_time(self, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)

    def tell(self, *logs: dict[str, Any], event_id: str | None = None) -> list[Receipt]:
        """Let events arrive together."""
        arrivals = [an_arrival(log, event_id) for log in logs]
        return inbox.accept(self.database, arrivals, "webhook", self.policy, self.now)

    def credit(
        self, invoice_id: str = INVOICE, amount: int = 48_712, fee: int = 50, **changes: Any
    ) -> Receipt:
        """An invoice is credited."""
        [receipt] = self.tell(an_invoice_log("credited", invoice_id, amount, fee, **changes))
        return receipt

    def reverse(self, remaining: int = 0, invoice_id: str = INVOICE, fee: int = 50) -> Receipt:
        """The bank gives a credited invoice back, down to what remains of its amount."""
        log_id = f"reversed-{invoice_id}-{remaining}"
        [receipt] = self.tell(an_invoice_log("reversed", invoice_id, remaining, fee, log_id))
        return receipt

    def news(
        self, there: BankTransfer, *errors: str, log_type: str | None = None, log_id: str | None = None
    ) -> Receipt:
        """The bank tells something of a transfer, in an event of its own."""
        self._serial += 1
        log = a_transfer_log(there, log_type, errors, log_id or f"news-{self._serial}")
        [receipt] = self.tell(log)
        return receipt

    def claim_all(self, call_tag: str = "call-1", limit: int = 100) -> list[Claim]:
        """Claim all that is due."""
        return transfers.claim(self.database, call_tag, self.policy, limit, self.now)

    def claim(self, call_tag: str = "call-1") -> Claim:
        """Claim the only transfer that is due."""
        [claim] = self.claim_all(call_tag)
        return claim

    def accept(self, claim: Claim, there: BankTransfer) -> int:
        """Record that the bank took a claim."""
        return transfers.record_sent(
            self.database, [claim], {claim.external_id: there}, self.policy, self.now
        )

    def send(self, bank_id: str = "A", invoice_id: str = INVOICE) -> Claim:
        """Claim the only due transfer, and have it accepted under ``bank_id``."""
        claim = self.claim()
        there = at_bank(bank_id, "created", claim.amount_centavos, invoice_id, claim.generation)
        assert self.accept(claim, there) == 1
        return claim

    def look_up(self, claim: Claim, *found: BankTransfer, call_tag: str = "call-2") -> LookupVerdict:
        """Record what a successful look-up showed."""
        [verdict] = transfers.record_lookups(self.database, [(claim, found)], call_tag, self.policy, self.now)
        return verdict

    def ready(self, *found: BankTransfer) -> Claim:
        """The only due transfer, which may be sent: a look-up showed these."""
        to_send = self.look_up(self.claim(), *found).to_send
        assert to_send is not None
        return to_send

    def unclear(self, claim: Claim) -> None:
        """Record that no answer came."""
        transfers.record_unclear(self.database, [claim], "timeout", self.policy, self.now)

    def release(self, claim: Claim, wait_seconds: float | None = None) -> None:
        """Give a claim back."""
        transfers.release(
            self.database, [claim], "not sent", self.policy, self.now, wait_seconds=wait_seconds or 0
        )

    def refuse(self, claim: Claim) -> None:
        """Record that the bank will not have it."""
        transfers.refuse(self.database, claim, "invalidAccount: no such account", self.policy, self.now)

    def lose(self, bank_id: str = "A", *errors: str, generation: int = 1, amount: int = 48_662) -> None:
        """The bank reports that a transfer of the default invoice failed."""
        self.news(at_bank(bank_id, "failed", amount, generation=generation), *errors)

    def become_due(self) -> None:
        """Let time pass until the next thing is due."""
        due_at = transfers.next_due_at(self.database)
        assert due_at is not None, "nothing is waiting"
        self.now = max(self.now, due_at)

    # --- what the books say ---

    @property
    def states(self) -> list[str]:
        """The states of the default invoice's transfers, by generation."""
        return self.states_of(INVOICE)

    def states_of(self, invoice_id: str) -> list[str]:
        """The states of an invoice's transfers, by generation."""
        with self.database.reading() as connection:
            return list(
                connection.execute(
                    select(transfers_table.c.state)
                    .where(transfers_table.c.invoice_id == invoice_id)
                    .order_by(transfers_table.c.generation)
                ).scalars()
            )

    def row(self, generation: int = 1, invoice_id: str = INVOICE) -> Any:
        """One transfer's row."""
        with self.database.reading() as connection:
            return connection.execute(
                select(transfers_table).where(
                    transfers_table.c.external_id == external_id_for(invoice_id, generation)
                )
            ).one()

    def credit_row(self, invoice_id: str = INVOICE) -> Any:
        """One credit's row."""
        with self.database.reading() as connection:
            return connection.execute(select(credits).where(credits.c.invoice_id == invoice_id)).one()

    @property
    def attention(self) -> list[str]:
        """The kinds of what is open, sorted."""
        with self.database.reading() as connection:
            return sorted(
                connection.execute(
                    select(attentions.c.kind).where(attentions.c.resolved_at.is_(None))
                ).scalars()
            )

    def history(self, generation: int = 1) -> Sequence[str]:
        """What happened to a transfer of the default invoice, in order."""
        row = self.row(generation)
        with self.database.reading() as connection:
            return list(
                connection.execute(
                    select(transfer_history.c.fact)
                    .where(transfer_history.c.transfer_id == row.id)
                    .order_by(transfer_history.c.id)
                ).scalars()
            )

    @property
    def statement(self) -> Statement:
        """Where every centavo is."""
        return recount_statement(self.database)


@pytest.fixture
def books(database: Database, policy: ForwardingPolicy, now: datetime) -> Iterator[Books]:
    """Empty books. Whatever the test did, at its end every centavo must be accounted for."""
    books = Books(database, policy, now)
    yield books
    assert books.statement.balanced, books.statement
