"""The book of invoices: what each one is, was paid, and became, with a log of every change.

It keeps the bank's rules of state and money. When things happen is decided elsewhere (`life`, the management
API); this file takes `now` and does as asked or refuses.
"""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from emulator.books import checks
from emulator.books.accounts import Accounts
from emulator.books.book import OnLog, ReversibleBook
from emulator.books.formats import Ids, brcode, time_text
from emulator.books.refusal import Refusal
from emulator.books.table import Row

# Documented and observed (4.3): `credited` is never a status, only a type of log.
STATUSES = ("created", "paid", "overdue", "canceled", "expired", "voided")
# Documented (4.4): the Pix invoice guide's flow.
LOG_TYPES = (
    "created", "paid", "credited", "updated", "overdue", "canceled", "expired",
    "reversing", "sending", "sent", "reversed", "failed", "refunded", "voided",
)  # fmt: skip


class Invoices(ReversibleBook):
    """All invoices, their logs and their payments."""

    def __init__(self, ids: Ids, accounts: Accounts, seed: int, on_log: OnLog) -> None:
        super().__init__("invoice", ids, accounts, on_log)
        self._random = random.Random(f"{seed}:invoices")
        self._uuids: dict[str, str] = {}
        self.payments: dict[str, Row] = {}

    def create(self, elements: Any, now: datetime, client_now: datetime | None = None) -> list[Row]:
        """Accept a batch of invoices whole, or refuse it whole."""
        # There is no idempotency key (documented by absence): the same batch sent twice makes two sets of
        # invoices.
        checked = checks.each(
            elements, "invoices", lambda element: checks.invoice(element, client_now or now)
        )
        return [self._open(element, now) for element in checked]

    def _open(self, element: dict[str, Any], now: datetime) -> Row:
        uuid = self._ids.uuid()
        row: Row = {
            **element,
            "id": self._uuids.setdefault(uuid, self._ids.entity()),
            "nominalAmount": element["amount"],
            # Observed: a live discount is not applied before payment (official vector of 2021).
            "fineAmount": 0,
            "interestAmount": 0,
            "discountAmount": 0,
            # Documented: two days by default.
            "due": element["due"] or time_text(now + timedelta(days=2)),
            "brcode": brcode(uuid),
            "link": f"https://emulator.sandbox.starkbank.com/invoicelink/{uuid}",
            "pdf": f"https://sandbox.api.starkbank.com/v2/invoice/{uuid}.pdf",
        }
        # Observed: the fee is zero in every log before `credited`.
        return self._add(row, now)

    def by_uuid(self, uuid: str) -> Row:
        """The invoice whose public link has this uuid."""
        return self.get(self._uuids.get(uuid, uuid[:100]))

    def payment(self, invoice_id: str) -> Row:
        """How the invoice was paid."""
        self.get(invoice_id)
        if invoice_id not in self.payments:
            # Guess: the code for an invoice that has no payment yet.
            raise Refusal.of("invalidInvoice", f"Invoice {invoice_id} has not been paid")
        return self.payments[invoice_id]

    def patch(self, invoice_id: str, changes: Any, now: datetime, client_now: datetime | None = None) -> Row:
        """Cancel or update an open invoice, or begin the reversal of a paid one by lowering its amount."""
        # Documented (4.5): these are all the moves there are.
        row = self.get(invoice_id)
        clean = checks.body(changes, "invoice", checks.INVOICE_CHANGES)
        if not clean:
            raise Refusal.of(
                "invalidJson", "Missing parameters in invoice: amount, due, expiration or status"
            )
        if row["status"] == "paid":
            return self._patch_paid(row, clean, now)
        if row["status"] not in ("created", "overdue"):
            raise _forbidden(row, "be updated")
        if "status" in clean:
            if len(clean) > 1:
                raise Refusal.of("invalidJson", "An invoice is either canceled or updated")
            self._move(row, "canceled", now)
            self._log(row, "canceled", now)
            return row
        checks.not_past(clean.get("due"), "due", client_now or now)
        if "amount" in clean:
            clean["nominalAmount"] = clean["amount"]
            row["amount"] = clean["amount"]
        row.update(clean)
        # Guess: an overdue invoice that gets a later due date is open again.
        self._move(row, "created" if checks.moment_of(row["due"]) > now else row["status"], now)
        self._log(row, "updated", now)
        return row

    def _patch_paid(self, row: Row, changes: dict[str, Any], now: datetime) -> Row:
        if set(changes) != {"amount"}:
            raise _forbidden(row, "be changed except by a lower amount")
        self.begin_reversal(row["id"], changes["amount"], now)
        return row

    def pay(self, invoice_id: str, now: datetime, amount_centavos: int | None = None) -> Row:
        """A payer pays; without an amount, exactly what is asked at that moment."""
        row = self.get(invoice_id)
        if row["status"] not in ("created", "overdue"):
            raise _forbidden(row, "be paid")
        if amount_centavos is None:
            self._apply_terms(row, now)
            amount_centavos = row["amount"] or self._random.randint(1_000, 50_000)
        end_to_end = self._ids.end_to_end(now)
        row["amount"] = amount_centavos
        row["tags"] = [*row["tags"], end_to_end.lower()]
        self.rows.index("tags", end_to_end.lower(), invoice_id)
        self._move(row, "paid", now)
        self.payments[invoice_id] = {
            "amount": amount_centavos,
            "name": row["name"],
            "taxId": row["taxId"],
            "bankCode": "20018183",
            "branchCode": "0001",
            "accountNumber": f"{self._random.randrange(10**15, 10**16)}",
            "accountType": "payment",
            "endToEndId": end_to_end,
            "method": "pix",
        }
        self._log(row, "paid", now)
        return row

    def _apply_terms(self, row: Row, now: datetime) -> None:
        nominal = row["nominalAmount"]
        due = checks.moment_of(row["due"])
        discount = fine = interest = 0
        if now > due:
            # Guess: interest is simple, by the day, a thirtieth of the month's rate. Never seen in the
            # sandbox.
            days = (now - due).days
            fine = _share(nominal, row["fine"])
            interest = _share(nominal, row["interest"] * days / 30)
        else:
            live = [each for each in row["discounts"] if checks.moment_of(each["due"]) >= now]
            if live:
                # Documented by example: the earlier date has the larger percentage, so the next to end is in
                # force.
                first = min(live, key=lambda each: checks.moment_of(each["due"]))
                discount = _share(nominal, first["percentage"])
        row.update(fineAmount=fine, interestAmount=interest, discountAmount=discount)
        row["amount"] = nominal + fine + interest - discount

    def credit(self, invoice_id: str, now: datetime, fee_centavos: int) -> Row:
        """The money of a paid invoice reaches the balance, less the fee."""
        row = self.get(invoice_id)
        if row["status"] != "paid" or invoice_id in self.credited:
            raise _forbidden(row, "be credited")
        self._book_credit(row, fee_centavos, now)
        return row

    def go_overdue(self, invoice_id: str, now: datetime) -> bool:
        """An open invoice whose due has passed becomes overdue; anything else is left alone."""
        row = self.get(invoice_id)
        if row["status"] != "created" or checks.moment_of(row["due"]) > now:
            return False
        self._move(row, "overdue", now)
        self._log(row, "overdue", now)
        return True

    def expire(self, invoice_id: str, now: datetime) -> bool:
        """An overdue invoice whose expiration has passed expires; anything else is left alone."""
        row = self.get(invoice_id)
        if row["status"] != "overdue" or expires_at(row) > now:
            return False
        self._move(row, "expired", now)
        self._log(row, "expired", now)
        return True

    def begin_reversal(
        self, invoice_id: str, remaining_centavos: int, now: datetime, *, forced: bool = False
    ) -> Row:
        """Take money back for the payer; with `forced` the balance may go below zero."""
        row = self.get(invoice_id)
        if invoice_id in self.reversals:
            raise _forbidden(row, "be reversed while a reversal is under way")
        if invoice_id not in self.credited or row["status"] != "paid":
            raise _forbidden(row, "be reversed")
        self._begin_reversal(row, remaining_centavos, now, forced=forced)
        return row


def expires_at(row: Row) -> datetime:
    """When an unpaid invoice can no longer be paid."""
    return checks.moment_of(row["due"]) + timedelta(seconds=row["expiration"])


def _share(nominal_centavos: int, percent: float) -> int:
    exact = Decimal(nominal_centavos) * Decimal(str(percent)) / 100
    return int(exact.quantize(Decimal(1), rounding=ROUND_HALF_UP))


def _forbidden(row: Row, what: str) -> Refusal:
    # Observed in the official tests: the code.
    return Refusal.of("invalidOperation", f"Invoice {row['id']} with status {row['status']} cannot {what}")
