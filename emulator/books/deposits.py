"""Money that arrives without an invoice, and its way back when it is reversed.

No call of /v2 creates a deposit: a payer makes it, which here is the management side or `populate`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from emulator.books import checks
from emulator.books.accounts import Accounts
from emulator.books.book import OnLog, ReversibleBook
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

_KEYS = {"amount", "name", "taxId", "bankCode", "branchCode", "accountNumber", "accountType", "type", "tags"}
# Who pays from where, unless the caller says.
_PAYER = {
    "name": "Sample Payer",
    "taxId": "529.982.247-25",
    "bankCode": "60701190",
    "branchCode": "1234",
    "accountNumber": "1234567-8",
}


class Deposits(ReversibleBook):
    """All deposits and their logs."""

    def __init__(self, ids: Ids, accounts: Accounts, on_log: OnLog) -> None:
        super().__init__("deposit", ids, accounts, on_log)
        self.credited_centavos: dict[str, int] = {}

    def receive(self, element: dict[str, Any], now: datetime) -> Row:
        """A payer sends money: `amount` in centavos, and optionally who and from where."""
        checks.keys(element, "deposit", _KEYS, ("amount",))
        kind = element.get("type", "pix")
        if kind not in TYPES:
            raise Refusal.of("invalidType", f"type must be one of {', '.join(TYPES)}")
        given = {**_PAYER, **element}
        end_to_end = self._ids.end_to_end(now).lower()
        row: Row = {
            "id": self._ids.entity(),
            "amount": checks.amount(given["amount"], at_least=1),
            "name": checks.text(given["name"], "name", "invalidName"),
            "taxId": checks.tax_id(given["taxId"]),
            **checks.account(given),
            "type": kind,
            # By the sample: a Pix carries its end-to-end id.
            "tags": [*checks.tags(given.get("tags")), *([end_to_end] if kind == "pix" else [])],
        }
        return self._add(row, now)

    def credit(self, deposit_id: str, now: datetime) -> Row:
        """The money reaches the balance; a second call changes nothing."""
        row = self.get(deposit_id)
        if deposit_id not in self.credited_centavos:
            self.credited_centavos[deposit_id] = row["amount"]
            self._book_credit(row, 0, now)
        return row

    def patch(self, deposit_id: str, changes: Any, now: datetime) -> Row:
        """Reverse a deposit in part, or in full with an amount of zero."""
        row = self.get(deposit_id)
        changes = checks.body(changes)
        # Observed: `reversalDisplayDescription` in a consumer's type. Inferred: an SDK sends it here.
        checks.keys(changes, "deposit", {"amount", "reversalDisplayDescription"}, ("amount",))
        shown = changes.get("reversalDisplayDescription")
        checks.text(shown, "reversalDisplayDescription", "invalidDescription", empty=True)
        remaining_centavos = checks.amount(changes["amount"], at_least=0)
        # Inferred from the official tests, which skip TEDs: only a Pix can be sent back.
        if row["type"] != "pix" or deposit_id not in self.credited_centavos or deposit_id in self.reversals:
            raise Refusal.of("invalidOperation", f"Deposit {deposit_id} cannot be reversed now")
        self._begin_reversal(row, remaining_centavos, now, forced=False)
        return row
