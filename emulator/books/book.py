"""What invoices, transfers and deposits have in common: rows, a log of every change, and reversals.

A book keeps state and money and takes `now`; when something happens is decided in `behaviour`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from emulator.books.accounts import CUSTOMER, PAYERS, REVERSING, Accounts
from emulator.books.formats import Ids, time_text
from emulator.books.refusal import Refusal
from emulator.books.table import Row, Table

# Called with the kind, the log and the time, for each log that is written.
OnLog = Callable[[str, Row, datetime], None]


class Book:
    """All rows of one kind, such as `invoice`, and their logs."""

    def __init__(self, kind: str, ids: Ids, accounts: Accounts, on_log: OnLog) -> None:
        self.kind = kind
        self.rows = Table(kind, indexes=("tags", "transactionIds"))
        self.logs = Table(f"{kind}/log", indexes=("type", f"{kind}Id"))
        self._ids = ids
        self._accounts = accounts
        self._on_log = on_log

    def get(self, row_id: str) -> Row:
        """The row, or the bank's refusal of an unknown id."""
        return self.rows.find(row_id)

    def _add(self, row: Row, now: datetime) -> Row:
        """Add a new row with its first log; the common keys are filled in."""
        row |= {"status": "created", "fee": 0, "transactionIds": []}
        row |= {"created": time_text(now), "updated": time_text(now)}
        self.rows.add(row, now)
        self._log(row, "created", now)
        return row

    def by_status(self) -> dict[str, dict[str, int]]:
        """How many rows have each status, and their amounts together."""
        found: dict[str, dict[str, int]] = {}
        for row in self.rows.all():
            sums = found.setdefault(row["status"], {"count": 0, "centavos": 0})
            sums["count"] += 1
            sums["centavos"] += row["amount"]
        return dict(sorted(found.items()))

    def _move(self, row: Row, status: str, now: datetime) -> None:
        row["status"] = status
        row["updated"] = time_text(now)

    def _add_transaction(self, row: Row, transaction_id: str) -> None:
        row["transactionIds"] = [*row["transactionIds"], transaction_id]
        self.rows.index("transactionIds", transaction_id, row["id"])

    def _log(self, row: Row, log_type: str, now: datetime, errors: list[str] | None = None) -> None:
        log: Row = {
            "id": self._ids.entity(),
            "created": time_text(now),
            # Documented and observed: a list of texts.
            "errors": errors or [],
            "type": log_type,
            # Observed: complete, as it was at the time of the log.
            self.kind: dict(row),
        }
        self.logs.add(log, now, **{f"{self.kind}Id": row["id"]})
        self._on_log(self.kind, log, now)


@dataclass(frozen=True)
class Credited:
    """The fact that a row's money is in the balance; reversals do not change it."""

    at: datetime
    gross_centavos: int
    fee_centavos: int

    @property
    def net_centavos(self) -> int:
        """What reached the balance."""
        return self.gross_centavos - self.fee_centavos


@dataclass
class Reversal:
    """Money on its way back to a payer. Without a transaction it has not left the balance, and will fail."""

    amount_before_centavos: int
    amount_after_centavos: int
    transaction_id: str = ""

    @property
    def centavos(self) -> int:
        """How much goes back."""
        return self.amount_before_centavos - self.amount_after_centavos


class ReversibleBook(Book):
    """A book of money that came in and may go back to its payer, in whole or in part."""

    def __init__(self, kind: str, ids: Ids, accounts: Accounts, on_log: OnLog) -> None:
        super().__init__(kind, ids, accounts, on_log)
        self.credited: dict[str, Credited] = {}
        self.reversals: dict[str, Reversal] = {}
        self.reversed_centavos: dict[str, int] = {}

    def _begin_reversal(self, row: Row, remaining_centavos: int, now: datetime, *, forced: bool) -> None:
        """Take money back for the payer; with `forced` the balance may go below zero."""
        if remaining_centavos >= row["amount"]:
            raise Refusal.of("invalidAmount", "amount must be lower than what was paid")
        reversal = Reversal(row["amount"], remaining_centavos)
        row["amount"] = remaining_centavos
        row["updated"] = time_text(now)
        # Guess: the money leaves the balance immediately, and has gone when `reversed` is logged.
        if forced or self._accounts.customer_centavos >= reversal.centavos:
            reversal.transaction_id = self._accounts.move(
                {CUSTOMER: -reversal.centavos, REVERSING: reversal.centavos},
                now,
                source=f"{self.kind}/{row['id']}/reversal",
                description=f"Reversal of {self.kind} {row['id']}",
            )
        self.reversals[row["id"]] = reversal
        self._log(row, "reversing", now)

    def step_reversal(self, row_id: str, step: str, now: datetime) -> str | None:
        """Take the next step of a reversal; returns the step after it, None when it is over."""
        row = self.get(row_id)
        reversal = self.reversals.get(row_id)
        row["updated"] = time_text(now)
        if reversal is not None and not reversal.transaction_id:
            # Guess: without the money the reversal fails late, as transfers do.
            row["amount"] = reversal.amount_before_centavos
            del self.reversals[row_id]
            self._log(row, "failed", now, ["Insufficient balance"])
            return None
        if step == "voided":
            self._move(row, "voided", now)
        elif step == "reversed" and reversal is not None:
            self._accounts.move(
                {REVERSING: -reversal.centavos, PAYERS: reversal.centavos},
                now,
                source=f"{self.kind}/{row_id}/reversal",
                description="",
            )
            self._add_transaction(row, reversal.transaction_id)
            self.reversed_centavos[row_id] = self.reversed_centavos.get(row_id, 0) + reversal.centavos
            del self.reversals[row_id]
        self._log(row, step, now)
        after_reversed = "voided" if row["amount"] == 0 else None
        following: dict[str, str | None] = {"sending": "sent", "sent": "reversed", "reversed": after_reversed}
        return following.get(step)

    def _book_credit(self, row: Row, fee_centavos: int, now: datetime) -> None:
        """Move the money from the payer to the balance, less the fee, and log it."""
        self.credited[row["id"]] = Credited(now, row["amount"], fee_centavos)
        source = f"{self.kind}/{row['id']}"
        transaction_id = self._accounts.credit(
            row["amount"], fee_centavos, now, source=source, tags=row["tags"]
        )
        row["fee"] = fee_centavos
        self._add_transaction(row, transaction_id)
        row["updated"] = time_text(now)
        self._log(row, "credited", now)
