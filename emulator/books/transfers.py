"""The book of transfers: accepted immediately, judged later.

As at the bank, the answer to a creation says nothing about duplicates or balance: those end in a `failed`
log. This file keeps the rules of state and money and takes `now`; when a transfer is processed is decided
by `life`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any

from emulator.books import checks
from emulator.books.accounts import CUSTOMER, DESTINATIONS, FEES, IN_FLIGHT, Accounts
from emulator.books.book import Book, OnLog
from emulator.books.formats import SAO_PAULO, Ids, day_of, day_start, is_date, parse_time, time_text
from emulator.books.preset import Preset
from emulator.books.refusal import Refusal
from emulator.books.table import Row

# Documented (5.2).
STATUSES = ("created", "processing", "success", "failed", "canceled")
LOG_TYPES = ("created", "sending", "sent", "success", "failed", "canceled", "refunded")
SORTS = ("created", "-created", "updated", "-updated")


class Transfers(Book):
    """All transfers, their logs, and who owns which external_id."""

    def __init__(
        self,
        ids: Ids,
        accounts: Accounts,
        preset: Preset,
        is_invoice: Callable[[str], bool],
        on_log: OnLog,
    ) -> None:
        super().__init__("transfer", ids, accounts, on_log)
        self._preset = preset
        self._is_invoice = is_invoice
        self._owners: dict[str, str] = {}

    def create(self, elements: Any, now: datetime, client_now: datetime | None = None) -> list[Row]:
        """Accept a batch of transfers whole, or refuse it whole; duplicates are accepted and fail later."""
        checked = checks.each(
            elements, "transfers", lambda element: checks.transfer(element, client_now or now)
        )
        if self._preset.refuse_transfers_early:
            self._refuse_early(checked, now)
        return [self._open(element, now) for element in checked]

    def _refuse_early(self, checked: list[dict[str, Any]], now: datetime) -> None:
        # A switch, not the default: the documents can be read so, but three projects observed late refusals.
        # Guess: both codes.
        errors: list[tuple[str, str]] = []
        claims: set[str] = set()
        left_centavos = self._accounts.customer_centavos
        for element in checked:
            claim = self._claim({**element, "created": time_text(now)})
            if claim in self._owners or claim in claims or self._is_reserved(element["externalId"]):
                errors.append(("duplicatedTransfer", "Duplicated transfer"))
            elif left_centavos < element["amount"] + self._preset.transfer_fee_centavos:
                errors.append(("invalidBalance", "Insufficient balance"))
            else:
                left_centavos -= element["amount"] + self._preset.transfer_fee_centavos
            claims.add(claim)
        if errors:
            raise Refusal(errors)

    def _open(self, element: dict[str, Any], now: datetime) -> Row:
        row: Row = {
            **element,
            "id": self._ids.entity(),
            "scheduled": _scheduled(element, now),
            "metadata": {},
            "created": time_text(now),
        }
        # The first to come owns the external_id, in the order of creation, whichever is processed first.
        self._owners.setdefault(self._claim(row), row["id"])
        return self._add(row, now)

    def _claim(self, row: Row) -> str:
        if row["externalId"]:
            return f"id:{row['externalId']}"
        # Documented: without an external_id, the same receiver, amount and day is a duplicate. Guess: São
        # Paulo's day, and the receiver is bank, branch and account.
        day = day_of(datetime.fromisoformat(row["created"]))
        account = f"{row['bankCode']}/{row['branchCode']}/{row['accountNumber']}"
        return f"day:{day}:{account}:{row['amount']}"

    def cancel(self, transfer_id: str, now: datetime) -> Row:
        """Cancel a transfer that has not been processed yet."""
        row = self.get(transfer_id)
        # Documented: before it is processed; that is while it is `created`, for a TED of today too.
        if row["status"] != "created":
            # Inferred: the code is the one of other resources (boleto payment) that cannot be canceled.
            raise Refusal.of(
                "invalidAction", f"Transfer {transfer_id} with status {row['status']} cannot be canceled"
            )
        self._move(row, "canceled", now)
        self._release(row)
        self._log(row, "canceled", now)
        return row

    def process(self, transfer_id: str, now: datetime, refused: str | None = None) -> bool:
        """Judge a created transfer and take its money; returns whether it is now on its way."""
        row = self.get(transfer_id)
        if row["status"] != "created":
            return False
        fee = self._preset.transfer_fee_centavos
        reason = refused or self._reason_against(row, fee)
        if reason is not None:
            self._fail(row, reason, now)
            return False
        transaction_id = self._accounts.move(
            {CUSTOMER: -(row["amount"] + fee), IN_FLIGHT: row["amount"], FEES: fee},
            now,
            source=f"transfer/{transfer_id}",
            description=row["description"] or f"Transfer {transfer_id}",
            fee_centavos=fee,
            tags=row["tags"],
        )
        row["fee"] = fee
        self._add_transaction(row, transaction_id)
        self._move(row, "processing", now)
        self._log(row, "sending", now)
        return True

    def _reason_against(self, row: Row, fee_centavos: int) -> str | None:
        # Observed by three projects: accepted with a new id, then a `failed` log with exactly these words.
        owner = self._owners.setdefault(self._claim(row), row["id"])
        if owner != row["id"]:
            return "Duplicated transfer"
        if self._is_reserved(row["externalId"]):
            return "Duplicated transfer"
        if self._accounts.customer_centavos < row["amount"] + fee_centavos:
            return "Insufficient balance"
        return None

    def _is_reserved(self, external_id: str) -> bool:
        # Observed (GC): the bank's own ledger uses this name for a real invoice.
        prefix, _, invoice_id = external_id.partition("-")
        return prefix == "invoice" and self._is_invoice(invoice_id)

    def succeed(self, transfer_id: str, now: datetime) -> bool:
        """A transfer on its way arrives."""
        row = self.get(transfer_id)
        if row["status"] != "processing":
            return False
        self._accounts.move(
            {IN_FLIGHT: -row["amount"], DESTINATIONS: row["amount"]},
            now,
            source=f"transfer/{transfer_id}",
            description="",
        )
        self._move(row, "success", now)
        self._log(row, "success", now)
        return True

    def fail(self, transfer_id: str, reason: str, now: datetime) -> Row:
        """End an open transfer; money that was taken comes back."""
        row = self.get(transfer_id)
        if row["status"] not in ("created", "processing"):
            raise Refusal.of(
                "invalidAction", f"Transfer {transfer_id} with status {row['status']} cannot fail"
            )
        if row["status"] == "processing":
            # Documented: a second transactionId is the chargeback.
            transaction_id = self._accounts.move(
                {IN_FLIGHT: -row["amount"], FEES: -row["fee"], CUSTOMER: row["amount"] + row["fee"]},
                now,
                source=f"transfer/{transfer_id}/chargeback",
                description=f"Chargeback of transfer {transfer_id}",
            )
            self._add_transaction(row, transaction_id)
            row["fee"] = 0
        self._fail(row, reason, now)
        return row

    def _fail(self, row: Row, reason: str, now: datetime) -> None:
        self._move(row, "failed", now)
        self._release(row)
        self._log(row, "failed", now, [reason])

    def _release(self, row: Row) -> None:
        if (
            not self._preset.failed_transfer_burns_external_id
            and self._owners.get(self._claim(row)) == row["id"]
        ):
            del self._owners[self._claim(row)]


def is_ted(row: Row) -> bool:
    """Whether a transfer goes by TED; else it is a Pix."""
    # Documented: one to three digits of bank code is a TED, eight a Pix.
    return len(row["bankCode"]) < 8


def _scheduled(element: dict[str, Any], now: datetime) -> str:
    """When it will be processed, always as a datetime: SDKs parse `scheduled` as one."""
    text: str = element["scheduled"] or time_text(now)
    # Guess: a plain date means the start of that São Paulo day.
    at = day_start(date.fromisoformat(text)) if is_date(text) else parse_time(text)
    if not is_ted(element):
        # Documented: Pix at any time of any day.
        return time_text(at)
    wanted = day_of(at)
    today = day_of(now)
    # Documented: a TED for today is taken until 16:00 of Brasília, else it goes on the next business day.
    # Guess: business days are Monday to Friday (no holidays here), and it is pushed to the start of the day.
    too_late = wanted <= today and now.astimezone(SAO_PAULO).hour >= 16
    day = max(wanted, today) + timedelta(days=1 if too_late else 0)
    while day.weekday() >= 5:
        day += timedelta(days=1)
    return time_text(at if day == wanted else day_start(day))
