"""Money that arrives without an invoice, and its way back when it is reversed.

No call of /v2 creates a deposit: a payer makes it, which here is the management side or `populate`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from emulator.books import checks
from emulator.books.accounts import Accounts
from emulator.books.book import OnLog, ReversibleBook
from emulator.books.fields import Fields, complete, one_of, read, text
from emulator.books.formats import Ids
from emulator.books.refusal import Refusal
from emulator.books.table import Row

# Inferred: official tests reverse deposits whose status is `created`, and a credited sample has that status
# too; so it stays. Guess: `voided` after a full reversal, as for invoices.
STATUSES = ("created", "voided")
# Documented: created and credited. Observed in the official tests: reversed. Guess: the rest, as for invoices.
LOG_TYPES = ("created", "credited", "reversing", "sending", "sent", "reversed", "failed", "voided")
SORTS = ("created", "-created")
TYPES = ("pix", "ted")

# What a payer may say; the rest is the sample's.
DEPOSIT: Fields = {
    "amount": checks.centavos(at_least=1).needed,
    "name": checks.NAME.defaulting("Sample Payer"),
    "taxId": checks.TAX_ID.defaulting("529.982.247-25"),
    "bankCode": checks.ACCOUNT["bankCode"].defaulting("60701190"),
    "branchCode": checks.ACCOUNT["branchCode"].defaulting("1234"),
    "accountNumber": checks.ACCOUNT["accountNumber"].defaulting("1234567-8"),
    "accountType": checks.ACCOUNT["accountType"],
    "type": one_of(TYPES, "type", "invalidType").defaulting("pix"),
    "tags": checks.TAGS,
}
CHANGES: Fields = {
    "amount": checks.centavos(at_least=0).needed,
    # Observed: in a consumer's type. Inferred: an SDK sends it here.
    "reversalDisplayDescription": text(
        "reversalDisplayDescription", "invalidDescription", checks.MOST_CHARACTERS, empty=True
    ),
}


class Deposits(ReversibleBook):
    """All deposits and their logs."""

    def __init__(self, ids: Ids, accounts: Accounts, on_log: OnLog) -> None:
        super().__init__("deposit", ids, accounts, on_log)

    def receive(self, element: dict[str, Any], now: datetime) -> Row:
        """A payer sends money: `amount` in centavos, and optionally who and from where."""
        row: Row = {"id": self._ids.entity(), **complete(read(element, "deposit", DEPOSIT), DEPOSIT)}
        if row["type"] == "pix":
            # By the sample: a Pix carries its end-to-end id.
            row["tags"] = [*row["tags"], self._ids.end_to_end(now).lower()]
        return self._add(row, now)

    def credit(self, deposit_id: str, now: datetime) -> Row:
        """The money reaches the balance; a second call changes nothing."""
        row = self.get(deposit_id)
        if deposit_id not in self.credited:
            self._book_credit(row, 0, now)
        return row

    def patch(self, deposit_id: str, changes: Any, now: datetime) -> Row:
        """Reverse a deposit in part, or in full with an amount of zero."""
        row = self.get(deposit_id)
        remaining_centavos = checks.body(changes, "deposit", CHANGES)["amount"]
        # Inferred from the official tests, which skip TEDs: only a Pix can be sent back.
        if row["type"] != "pix" or deposit_id not in self.credited or deposit_id in self.reversals:
            raise Refusal.of("invalidOperation", f"Deposit {deposit_id} cannot be reversed now")
        self._begin_reversal(row, remaining_centavos, now, forced=False)
        return row
