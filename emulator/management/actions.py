"""What a person does to one invoice, transfer or event: pay, expire, fail, send again, drop.

Only for the management API: nothing here is a call of the bank's own protocol. It keeps no rules: it brings
forward what the bank would do later, or asks the books, and they refuse what makes no sense.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from emulator.behaviour.bank import Bank
from emulator.behaviour.events import Delivery
from emulator.books.formats import time_text
from emulator.books.refusal import Refusal
from emulator.books.table import Row, Table


def pay(bank: Bank, invoice_id: str, now: datetime, centavos: int | None = None) -> Row:
    """A payer pays, what is asked or another amount; the credit follows some seconds later."""
    return bank.invoices.pay(invoice_id, now, centavos)


def underpay(bank: Bank, invoice_id: str, now: datetime, centavos: int | None = None) -> Row:
    """A payer pays less: the amount given, or half."""
    asked = bank.invoices.get(invoice_id)["amount"]
    amount = max(1, asked // 2) if centavos is None else centavos
    if amount >= asked:
        raise Refusal.of("invalidAmount", f"less than {asked} centavos, which is what is asked")
    return bank.invoices.pay(invoice_id, now, amount)


def credit(bank: Bank, invoice_id: str, now: datetime) -> Row:
    """The money arrives now; an invoice that is not paid is paid first."""
    row = bank.invoices.get(invoice_id)
    if row["status"] in ("created", "overdue"):
        bank.invoices.pay(invoice_id, now)
    if not _do_now(bank, "invoice.credit", invoice_id, now):
        raise Refusal.of("invalidOperation", f"Invoice {invoice_id} has nothing left to be credited")
    return row


def overdue(bank: Bank, invoice_id: str, now: datetime) -> Row:
    """The due date passes, as if time had."""
    row = bank.invoices.get(invoice_id)
    if row["status"] != "created":
        raise Refusal.of("invalidOperation", f"Invoice {invoice_id} is {row['status']}, not created")
    row["due"] = time_text(now)
    _do_now(bank, "invoice.overdue", invoice_id, now)
    return row


def expire(bank: Bank, invoice_id: str, now: datetime) -> Row:
    """The due date and the expiration pass, as if time had."""
    row = bank.invoices.get(invoice_id)
    if row["status"] == "created":
        overdue(bank, invoice_id, now)
    if row["status"] != "overdue":
        raise Refusal.of(
            "invalidOperation", f"Invoice {invoice_id} is {row['status']}, not created or overdue"
        )
    row["expiration"] = 0
    _do_now(bank, "invoice.expire", invoice_id, now)
    return row


def cancel_invoice(bank: Bank, invoice_id: str, now: datetime) -> Row:
    """As its owner could."""
    return bank.invoices.patch(invoice_id, {"status": "canceled"}, now)


def reverse(bank: Bank, invoice_id: str, now: datetime, centavos: int = 0) -> Row:
    """The payer gets money back, all but `centavos`, even when the account no longer has it."""
    # Forced: a reversal after the money was forwarded is exactly what tests want to see.
    return bank.invoices.begin_reversal(invoice_id, centavos, now, forced=True)


def reversed_centavos(bank: Bank, invoice: Row) -> int:
    """What a credited invoice's payer gets back, or got; 0 for any other invoice."""
    credited = bank.invoices.credited.get(invoice["id"])
    return 0 if credited is None else credited.gross_centavos - int(invoice["amount"])


def credit_deposit(bank: Bank, deposit_id: str, now: datetime) -> Row:
    """The money of a deposit arrives now."""
    row = bank.deposits.get(deposit_id)
    _do_now(bank, "deposit.credit", deposit_id, now)
    return row


def settle(bank: Bank, transfer_id: str, now: datetime) -> Row:
    """The bank judges the transfer now, and if it stands, it arrives now."""
    row = bank.transfers.get(transfer_id)
    if row["status"] not in ("created", "processing"):
        raise Refusal.of("invalidAction", f"Transfer {transfer_id} is {row['status']} already")
    _do_now(bank, "transfer.process", transfer_id, now)
    _do_now(bank, "transfer.settle", transfer_id, now)
    return row


def fail(bank: Bank, transfer_id: str, now: datetime, reason: str) -> Row:
    """The transfer ends; money that was taken comes back."""
    return bank.transfers.fail(transfer_id, reason, now)


def cancel_transfer(bank: Bank, transfer_id: str, now: datetime) -> Row:
    """As its owner could: only before it is processed."""
    return bank.transfers.cancel(transfer_id, now)


def finish_reversal(bank: Bank, invoice_id: str, now: datetime) -> None:
    """Take every step of a reversal now."""
    while _do_now(bank, "invoice.reversal", invoice_id, now):
        pass


def announce(bank: Bank, entity_id: str, now: datetime) -> int:
    """Send now the planned events of an invoice, a transfer or a deposit, oldest first; returns how many."""
    # A log's place in its book says which came first; several may bear the same instant.
    taken = bank.agenda.take(
        lambda name, args: name == "event.emit" and args[1].get(args[0], {}).get("id") == entity_id
    )
    books: list[Any] = [bank.invoices, bank.transfers, bank.deposits]
    order = {
        log["id"]: place
        for book in books
        for place, log in enumerate(book.logs.having(f"{book.rows.name}Id", entity_id))
    }
    for name, args in sorted(taken, key=lambda each: order.get(each[1][1]["id"], 0)):
        bank.agenda.push(now, name, *args)
    return len(taken)


def drop(bank: Bank, event_id: str, now: datetime) -> int:
    """Drop the deliveries of an event that are still planned; returns how many."""
    bank.events.rows.find(event_id)
    return len(bank.agenda.take(lambda name, args: name == "event.deliver" and args[0] == event_id))


def delay(bank: Bank, event_id: str, now: datetime, seconds: float) -> int:
    """Hold back the planned deliveries of an event until `seconds` from now; returns how many."""
    bank.events.rows.find(event_id)
    taken = bank.agenda.take(lambda name, args: name == "event.deliver" and args[0] == event_id)
    for name, args in taken:
        bank.agenda.push(now + timedelta(seconds=seconds), name, *args)
    return len(taken)


def delivery(
    bank: Bank, event_id: str, webhook_id: str | None = None, url: str | None = None, *, forged: bool = False
) -> Delivery:
    """One extra post of an event, to a webhook (by default the newest that wants it) or to any URL."""
    event = bank.events.rows.find(event_id)
    if url is not None:
        return Delivery(event, "", url, None, forged)
    if webhook_id is None:
        wanting = [row for row in bank.events.webhooks.all() if event["subscription"] in row["subscriptions"]]
        if not wanting:
            raise Refusal.of("invalidWebhookId", f"No webhook is subscribed to {event['subscription']}")
        webhook_id = wanting[-1]["id"]
    webhook = bank.events.webhooks.find(webhook_id)
    return Delivery(event, webhook_id, webhook["url"], None, forged)


def newest(table: Table, count: int) -> list[Row]:
    """The newest rows of a table, newest first."""
    rows, _ = table.page(limit=count)
    return rows


def _do_now(bank: Bank, name: str, entity_id: str, now: datetime) -> bool:
    """Do now what is planned under this name for this entity; returns whether anything was."""
    taken = bank.agenda.take(lambda each, args: each == name and args[:1] == (entity_id,))
    for each, args in taken[:1]:
        bank.agenda.push(now, each, *args)
    bank.step(now)
    return bool(taken)
