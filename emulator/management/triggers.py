"""Whole stories by name, in the manner of `stripe trigger`: each makes an entity and takes it where it says.

`invoice.credited` creates an invoice, pays it and credits it, all now, and sends its events now. Faults and
chances do not affect the steps, only the deliveries.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from emulator.behaviour.bank import Bank
from emulator.books.refusal import Refusal
from emulator.books.table import Row
from emulator.management import actions

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

_INVOICE_STEPS: dict[str, tuple[Callable[..., Any], ...]] = {
    "created": (),
    "paid": (actions.pay,),
    "underpaid": (actions.underpay,),
    "credited": (actions.credit,),
    "overdue": (actions.overdue,),
    "expired": (actions.expire,),
    "canceled": (actions.cancel_invoice,),
    "reversed": (actions.credit, actions.reverse, actions.finish_reversal),
}
_TRANSFER_STEPS = ("created", "success", "failed")
_DEPOSIT_STEPS = ("credited",)

TRIGGERS = (
    *(f"invoice.{step}" for step in _INVOICE_STEPS),
    *(f"transfer.{step}" for step in _TRANSFER_STEPS),
    *(f"deposit.{step}" for step in _DEPOSIT_STEPS),
)


def trigger(bank: Bank, name: str, now: datetime, amount_centavos: int = DEFAULT_CENTAVOS) -> dict[str, Any]:
    """Play a story; returns the entity under its kind, and how many deliveries were made."""
    kind, _, step = name.partition(".")
    if name not in TRIGGERS:
        raise ValueError(f"unknown trigger {name}; known are {', '.join(TRIGGERS)}")
    posts = bank.events.posts
    if kind == "invoice":
        row = _invoice(bank, step, now, amount_centavos)
    elif kind == "transfer":
        row = _transfer(bank, step, now, amount_centavos)
    else:
        row = _deposit(bank, now, amount_centavos)
    actions.announce(bank, row["id"], now)
    bank.step(now)
    answer = {"story": name, kind: row, "deliveries": bank.events.posts - posts}
    if name == "invoice.reversed":
        answer["reversed_centavos"] = actions.reversed_centavos(bank, row)
    return answer


def _invoice(bank: Bank, step: str, now: datetime, amount_centavos: int) -> Row:
    (row,) = bank.invoices.create([{**_PAYER, "amount": amount_centavos}], now)
    for act in _INVOICE_STEPS[step]:
        act(bank, row["id"], now)
    return row


def _transfer(bank: Bank, step: str, now: datetime, amount_centavos: int) -> Row:
    if step == "success" and bank.accounts.customer_centavos < amount_centavos:
        raise Refusal.of(
            "invalidBalance",
            f"the balance is {bank.accounts.customer_centavos} centavos and a transfer of {amount_centavos} would "
            "fail; trigger invoice.credited first",
        )
    external_id = f"trigger-{len(bank.transfers.rows) + 1}"
    element = {**_RECEIVER, "amount": amount_centavos, "externalId": external_id}
    (row,) = bank.transfers.create([element], now)
    if step == "success":
        actions.settle(bank, row["id"], now)
    elif step == "failed":
        actions.fail(bank, row["id"], now, "Failed by a trigger")
    return row


def _deposit(bank: Bank, now: datetime, amount_centavos: int) -> Row:
    row = bank.deposits.receive({"amount": amount_centavos}, now)
    actions.credit_deposit(bank, row["id"], now)
    return row
