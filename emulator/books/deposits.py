"""Money that arrives without an invoice: what each deposit is, and its way back when it is reversed.

Nobody can order a deposit through /v2: a payer makes it, which here is the management face or `populate`. It
keeps state and money and is told `now`; when the steps happen is decided by `life`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from emulator.books import checks
from emulator.books.accounts import CUSTOMER, FEES, PAYERS, REVERSING, Accounts
from emulator.books.formats import Ids, time_text
from emulator.books.invoices import Reversal
from emulator.books.refusal import Refusal
from emulator.books.table import Row, Table

# Inferred: official tests reverse deposits whose status is `created`, and a credited sample has that status
# too; so it stays. Guess: `voided` after a full reversal, as for invoices.
STATUSES = ("created", "voided")
# Documented: created and credited. Observed in the official tests: reversed. Guess: the rest, as for invoices.
LOG_TYPES = ("created", "credited", "reversing", "sending", "sent", "reversed", "failed", "voided")
SORTS = ("created", "-created")
TYPES = ("pix", "ted")

OnLog = Callable[[str, Row, datetime], None]


class Deposits:
    """All deposits and their logs."""

    def __init__(self, ids: Ids, accounts: Accounts, on_log: OnLog) -> None:
        self._ids = ids
        self._accounts = accounts
        self._on_log = on_log
        self.rows = Table("deposit", indexes=("tags", "transactionIds"))
        self.logs = Table("deposit-log", indexes=("type", "depositId"))
        self.credited_centavos: dict[str, int] = {}
        self.reversals: dict[str, Reversal] = {}
        self.reversed_centavos: dict[str, int] = {}

    def receive(self, element: dict[str, Any], now: datetime) -> Row:
        """A payer sends money: `amount`, and optionally who and from where."""
        known = {
            "amount", "name", "taxId", "bankCode", "branchCode", "accountNumber", "accountType", "type", "tags",
        }  # fmt: skip
        checks.keys(element, "deposit", known, ("amount",))
        kind = element.get("type", "pix")
        if kind not in TYPES:
            raise Refusal.of("invalidType", f"type must be one of {', '.join(TYPES)}")
        end_to_end = self._ids.end_to_end(now).lower()
        row: Row = {
            "id": self._ids.entity(),
            "name": checks.text(element.get("name", "Sample Payer"), "name", "invalidName"),
            "taxId": checks.tax_id(element.get("taxId", "529.982.247-25")),
            "bankCode": checks.bank_code(element.get("bankCode", "60701190")),
            "branchCode": checks.account_code(
                element.get("branchCode", "1234"), "branchCode", "invalidBranchCode"
            ),
            "accountNumber": checks.account_code(
                element.get("accountNumber", "1234567-8"), "accountNumber", "invalidAccountNumber"
            ),
            "accountType": checks.account_type(element.get("accountType")),
            "amount": checks.amount(element["amount"], at_least=1),
            "type": kind,
            "status": "created",
            # By the sample: a Pix carries its end-to-end id.
            "tags": [*checks.tags(element.get("tags")), *([end_to_end] if kind == "pix" else [])],
            "fee": 0,
            "transactionIds": [],
            "created": time_text(now),
            "updated": time_text(now),
        }
        self.rows.add(row, now)
        self._log(row, "created", now)
        return row

    def get(self, deposit_id: str) -> Row:
        """The deposit, or the bank's refusal of an unknown id."""
        row = self.rows.get(deposit_id)
        if row is None:
            # Observed in the official tests.
            raise Refusal.of("invalidDeposit", f"No deposit has the id {deposit_id[:100]}")
        return row

    def credit(self, deposit_id: str, now: datetime) -> Row:
        """The money reaches the balance; once only."""
        row = self.get(deposit_id)
        if deposit_id in self.credited_centavos:
            return row
        transaction_id = self._accounts.move(
            {PAYERS: -row["amount"], CUSTOMER: row["amount"] - row["fee"], FEES: row["fee"]},
            now,
            source=f"deposit/{deposit_id}",
            description=f"Deposit {deposit_id}",
            fee_centavos=row["fee"],
            tags=row["tags"],
        )
        self.credited_centavos[deposit_id] = row["amount"] - row["fee"]
        self._add_transaction(row, transaction_id)
        row["updated"] = time_text(now)
        self._log(row, "credited", now)
        return row

    def patch(self, deposit_id: str, changes: Any, now: datetime) -> Row:
        """Reverse a deposit in part, or in full with an amount of zero."""
        row = self.get(deposit_id)
        if not isinstance(changes, dict):
            raise Refusal.of("invalidJson", "The body must be an object")
        # Observed: `reversalDisplayDescription` in a consumer's type, and sent by official tests.
        checks.keys(changes, "deposit", {"amount", "reversalDisplayDescription"}, ("amount",))
        if "reversalDisplayDescription" in changes:
            shown = changes["reversalDisplayDescription"]
            checks.text(shown, "reversalDisplayDescription", "invalidDescription", empty=True)
        remaining_centavos = checks.amount(changes["amount"], at_least=0)
        # Inferred from the official tests, which pass TEDs over: only a Pix can be sent back.
        if row["type"] != "pix" or deposit_id not in self.credited_centavos or deposit_id in self.reversals:
            raise Refusal.of("invalidOperation", f"Deposit {deposit_id} cannot be reversed now")
        if remaining_centavos >= row["amount"]:
            raise Refusal.of("invalidAmount", "amount must be lower than what was deposited")
        reversal = Reversal(row["amount"], remaining_centavos)
        row["amount"] = remaining_centavos
        row["updated"] = time_text(now)
        if self._accounts.customer_centavos >= reversal.centavos:
            reversal.transaction_id = self._accounts.move(
                {CUSTOMER: -reversal.centavos, REVERSING: reversal.centavos},
                now,
                source=f"deposit/{deposit_id}/reversal",
                description=f"Reversal of deposit {deposit_id}",
            )
        self.reversals[deposit_id] = reversal
        self._log(row, "reversing", now)
        return row

    def step_reversal(self, deposit_id: str, step: str, now: datetime) -> str | None:
        """Take the next step of a reversal; returns the step after it, None when it is over."""
        row = self.get(deposit_id)
        reversal = self.reversals.get(deposit_id)
        row["updated"] = time_text(now)
        if reversal is not None and not reversal.transaction_id:
            row["amount"] = reversal.amount_before_centavos
            del self.reversals[deposit_id]
            self._log(row, "failed", now, ["Insufficient balance"])
            return None
        if step == "voided":
            row["status"] = "voided"
        elif step == "reversed" and reversal is not None:
            self._accounts.move(
                {REVERSING: -reversal.centavos, PAYERS: reversal.centavos},
                now,
                source=f"deposit/{deposit_id}/reversal",
                description="",
            )
            self._add_transaction(row, reversal.transaction_id)
            taken = self.reversed_centavos.get(deposit_id, 0) + reversal.centavos
            self.reversed_centavos[deposit_id] = taken
            del self.reversals[deposit_id]
        self._log(row, step, now)
        following = {
            "sending": "sent",
            "sent": "reversed",
            "reversed": "voided" if row["amount"] == 0 else None,
        }
        return following.get(step)

    def _add_transaction(self, row: Row, transaction_id: str) -> None:
        row["transactionIds"] = [*row["transactionIds"], transaction_id]
        self.rows.index("transactionIds", transaction_id, row["id"])

    def _log(self, row: Row, log_type: str, now: datetime, errors: list[str] | None = None) -> None:
        log: Row = {
            "id": self._ids.entity(),
            "created": time_text(now),
            "errors": errors or [],
            "type": log_type,
            "deposit": dict(row),
        }
        self.logs.add(log, now, depositId=row["id"])
        self._on_log("deposit", log, now)
