"""The double-entry ledger inside the emulator: every centavo comes from somewhere and goes somewhere.

It is asserted after every operation, so that a mistake in the books ends the run immediately instead of showing
up as a strange balance later. It knows accounts and amounts, not invoices or transfers.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from emulator.books.formats import Ids, time_text
from emulator.books.table import Table

CUSTOMER = "customer"
PAYERS = "payers"
FEES = "fees"
IN_FLIGHT = "transfers in flight"
DESTINATIONS = "destinations"
REVERSING = "reversals in flight"
OPENING = "opening"


class OutOfBalance(Exception):
    """The books contradict themselves: a bug of the emulator, never of its client."""


class Accounts:
    """Balances of all accounts in centavos, and the customer's statement lines (the bank's `transaction`)."""

    def __init__(self, ids: Ids, workspace_id: str, opened_at: datetime, opening_centavos: int) -> None:
        self._ids = ids
        self.balances: dict[str, int] = {}
        self.transactions = Table("transaction", indexes=("tags", "externalId"))
        self.opening_centavos = opening_centavos
        # Observed: the balance is one row in the list form, with a currency.
        self.balance = {"id": workspace_id, "amount": 0, "currency": "BRL", "updated": time_text(opened_at)}
        if opening_centavos:
            self.move(
                {OPENING: -opening_centavos, CUSTOMER: opening_centavos},
                opened_at,
                source="opening",
                description="Opening balance",
            )

    @property
    def customer_centavos(self) -> int:
        """What the customer has."""
        return self.balances.get(CUSTOMER, 0)

    def move(
        self,
        centavos: dict[str, int],
        now: datetime,
        *,
        source: str,
        description: str,
        fee_centavos: int = 0,
        tags: list[str] | None = None,
    ) -> str:
        """Book one movement that sums to zero; returns its transaction id, empty if not the customer's."""
        if sum(centavos.values()) != 0:
            raise OutOfBalance(f"{source}: a movement must sum to zero, not {centavos}")
        for account, amount in centavos.items():
            self.balances[account] = self.balances.get(account, 0) + amount
        transaction_id = ""
        if CUSTOMER in centavos:
            transaction_id = self._ids.transaction()
            self.balance = {**self.balance, "amount": self.customer_centavos, "updated": time_text(now)}
            row: dict[str, Any] = {
                "id": transaction_id,
                "amount": centavos[CUSTOMER],
                "description": description,
                "tags": tags or [],
                "externalId": source.replace("/", "-"),
                "receiverId": self.balance["id"],
                "senderId": self.balance["id"],
                "fee": fee_centavos,
                # Documented: `source` links the ledger line to its entity.
                "source": source,
                "balance": self.customer_centavos,
                "created": time_text(now),
            }
            self.transactions.add(row, now)
        self.check()
        return transaction_id

    def credit(
        self, gross_centavos: int, fee_centavos: int, now: datetime, *, source: str, tags: list[str]
    ) -> str:
        """Book money that a payer sent, less the bank's fee; returns the transaction id."""
        kind, _, row_id = source.partition("/")
        return self.move(
            {PAYERS: -gross_centavos, CUSTOMER: gross_centavos - fee_centavos, FEES: fee_centavos},
            now,
            source=source,
            description=f"{kind.capitalize()} {row_id}",
            fee_centavos=fee_centavos,
            tags=tags,
        )

    def check(self) -> None:
        """Assert that the books balance and agree with the balance that clients see."""
        if sum(self.balances.values()) != 0:
            raise OutOfBalance(f"the books do not balance: {self.balances}")
        if self.balance["amount"] != self.customer_centavos:
            raise OutOfBalance(f"shown {self.balance['amount']}, booked {self.customer_centavos}")
