"""Whole stories by name, in the manner of `stripe trigger`: each makes an entity and takes it where it says.

`invoice.credited` creates an invoice, pays it and credits it, all now, and sends its events now. Faults and
chances do not affect the steps, only the deliveries.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from emulator.behaviour.bank import Bank
from emulator.books.refusal import Refusal
from emulator.books.table import Row
from emulator.management.actions import ACTIONS, do_now

# Each story, and the actions that lead there after its entity is made.
STORIES: dict[str, tuple[str, ...]] = {
    "invoice.created": (),
    "invoice.paid": ("pay",),
    "invoice.underpaid": ("underpay",),
    "invoice.credited": ("credit",),
    "invoice.overdue": ("overdue",),
    "invoice.expired": ("expire",),
    "invoice.canceled": ("cancel",),
    "invoice.reversed": ("credit", "reverse"),
    "transfer.created": (),
    "transfer.success": ("settle",),
    "transfer.failed": ("fail",),
    "deposit.credited": (),
}
TRIGGERS = tuple(STORIES)

# A payer and a receiver with valid check digits; the receiver is the bank itself.
_PAYER = {"name": "Trigger Payer", "taxId": "012.345.678-90", "tags": ["trigger"]}
_RECEIVER = {
    "name": "Stark Bank S.A.",
    "taxId": "20.018.183/0001-80",
    "bankCode": "20018183",
    "branchCode": "0001",
    "accountNumber": "6341320293482496",
    "accountType": "payment",
    "tags": ["trigger"],
}
DEFAULT_CENTAVOS = 10_000
_ACTIONS = {(action.kind, action.name): action for action in ACTIONS}


def trigger(bank: Bank, name: str, now: datetime, amount_centavos: int = DEFAULT_CENTAVOS) -> dict[str, Any]:
    """Play a story; returns the entity under its kind, and how many deliveries were made."""
    kind = name.partition(".")[0]
    posts = bank.events.posts
    balance_centavos = bank.accounts.customer_centavos
    if name == "transfer.success" and balance_centavos < amount_centavos:
        raise Refusal.of(
            "invalidBalance",
            f"the balance is {balance_centavos} centavos and a transfer of {amount_centavos} would fail; trigger "
            "invoice.credited first",
        )
    row = _create(bank, kind, now, amount_centavos)
    answer = {kind: row}
    for step in STORIES[name]:
        answer = _ACTIONS[kind, step].perform(bank, row["id"], now, {})
    # What would take its time is done now, and what it has to say is said now.
    do_now(bank, "deposit.credit", row["id"], now)
    while do_now(bank, "invoice.reversal", row["id"], now):
        pass
    _announce(bank, row["id"], now)
    bank.step(now)
    return {"story": name, **answer, "deliveries": bank.events.posts - posts}


def _create(bank: Bank, kind: str, now: datetime, amount_centavos: int) -> Row:
    if kind == "deposit":
        return bank.deposits.receive({"amount": amount_centavos}, now)
    if kind == "invoice":
        (row,) = bank.invoices.create([{**_PAYER, "amount": amount_centavos}], now)
        return row
    external_id = f"trigger-{len(bank.transfers.rows) + 1}"
    (row,) = bank.transfers.create([{**_RECEIVER, "amount": amount_centavos, "externalId": external_id}], now)
    return row


def _announce(bank: Bank, entity_id: str, now: datetime) -> None:
    """Send now the planned events of an invoice, a transfer or a deposit, oldest first."""
    # A log's place in its book says which came first; several may bear the same instant.
    taken = bank.agenda.take(
        lambda name, args: name == "event.emit" and args[1].get(args[0], {}).get("id") == entity_id
    )
    order = {
        log["id"]: place
        for book in bank.books
        for place, log in enumerate(book.logs.having(f"{book.kind}Id", entity_id))
    }
    for name, args in sorted(taken, key=lambda each: order.get(each[1][1]["id"], 0)):
        bank.agenda.push(now, name, *args)
