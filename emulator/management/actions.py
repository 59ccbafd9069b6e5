"""What a person does to one invoice, transfer or event: one table for the API, the commands and the stories.

An action keeps no rules: it brings forward what the bank would do later, or asks the books, which refuse what makes no
sense.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Annotated, Any

from msgspec import Meta

from emulator.behaviour.bank import Bank
from emulator.behaviour.events import Delivery
from emulator.books.fields import Fields, complete, flag, text, typed, whole
from emulator.books.formats import time_text
from emulator.books.refusal import Refusal
from emulator.books.table import Row, Table

# As many copies of an event as a receiver can be asked to take together.
COPIES_MAX = 1_000
# So that sums of dates stay inside a calendar.
YEAR_SECONDS = 31_622_400

# The code of every refusal of an argument here.
WRONG = "invalidRequest"

Given = dict[str, Any]


@dataclass(frozen=True)
class Action:
    """`POST <kind>s/{id}/<name>` of the API, the command of that name, and a button of the page.

    `do` gets the bank, the id, the time and the fields; what it returns is answered under `key`, by default the kind.
    `when` says for which rows the page has the button; the bank itself refuses what makes no sense.
    """

    kind: str
    name: str
    words: str
    do: Callable[[Bank, str, datetime, Given], Any]
    fields: Fields = field(default_factory=dict)
    key: str = ""
    when: Callable[[Bank, Row], bool] = lambda bank, row: False
    # Left out where a list of rows has little room.
    is_rare: bool = False

    def perform(self, bank: Bank, row_id: str, now: datetime, given: Given) -> dict[str, Any]:
        """Do it; returns the answer of the API."""
        done = self.do(bank, row_id, now, complete(given, self.fields))
        answer = {self.key or self.kind: done}
        return answer | (
            {"reversed_centavos": reversed_centavos(bank, done)} if self.name == "reverse" else {}
        )


def possible(bank: Bank, kind: str, row: Row, *, with_rare: bool) -> list[str]:
    """The names of what can be done to a row as it stands."""
    return [
        action.name
        for action in ACTIONS
        if action.kind == kind and (with_rare or not action.is_rare) and action.when(bank, row)
    ]


def table_of(bank: Bank, kind: str) -> Table:
    """Where the rows of a kind are."""
    return {"invoice": bank.invoices.rows, "transfer": bank.transfers.rows, "event": bank.events.rows}[kind]


def reversed_centavos(bank: Bank, invoice: Row) -> int:
    """What a credited invoice's payer gets back, or got; 0 for any other invoice."""
    credited = bank.invoices.credited.get(invoice["id"])
    return 0 if credited is None else credited.gross_centavos - int(invoice["amount"])


def do_now(bank: Bank, name: str, entity_id: str, now: datetime) -> bool:
    """Do now what is planned under this name for this entity; returns whether anything was."""
    taken = bank.agenda.take(lambda each, args: each == name and args[:1] == (entity_id,))
    for each, args in taken[:1]:
        bank.agenda.push(now, each, *args)
    bank.step(now)
    return bool(taken)


def delivery_of(
    bank: Bank, event_id: str, webhook_id: str | None, url: str | None, *, forged: bool
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


# --- invoices and transfers -----------------------------------------------------------------------------------


def _amount(at_least: int, words: str) -> Fields:
    """An amount in centavos under either of two names."""
    field = whole(WRONG, f"amount must be a whole number of centavos, at least {at_least}", at_least, 10**14)
    return {"amount": field.described(words), "amount_centavos": field.described("The same as `amount`.")}


def _amount_of(given: Given) -> int | None:
    amounts = [each for name in ("amount", "amount_centavos") if (each := given[name]) is not None]
    if len(amounts) > 1:
        raise ValueError("amount and amount_centavos are the same; give one of them")
    return amounts[0] if amounts else None


def _underpay(bank: Bank, invoice_id: str, now: datetime, given: Given) -> Row:
    asked = bank.invoices.get(invoice_id)["amount"]
    amount = _amount_of(given)
    amount = max(1, asked // 2) if amount is None else amount
    if amount >= asked:
        raise Refusal.of("invalidAmount", f"less than {asked} centavos, which is what is asked")
    return bank.invoices.pay(invoice_id, now, amount)


def _credit(bank: Bank, invoice_id: str, now: datetime, given: Given) -> Row:
    row = bank.invoices.get(invoice_id)
    if row["status"] in ("created", "overdue"):
        bank.invoices.pay(invoice_id, now)
    if not do_now(bank, "invoice.credit", invoice_id, now):
        raise Refusal.of("invalidOperation", f"Invoice {invoice_id} has nothing left to be credited")
    return row


def _overdue(bank: Bank, invoice_id: str, now: datetime, given: Given) -> Row:
    row = bank.invoices.get(invoice_id)
    if row["status"] != "created":
        raise Refusal.of("invalidOperation", f"Invoice {invoice_id} is {row['status']}, not created")
    row["due"] = time_text(now)
    do_now(bank, "invoice.overdue", invoice_id, now)
    return row


def _expire(bank: Bank, invoice_id: str, now: datetime, given: Given) -> Row:
    row = bank.invoices.get(invoice_id)
    if row["status"] == "created":
        _overdue(bank, invoice_id, now, given)
    if row["status"] != "overdue":
        raise Refusal.of(
            "invalidOperation", f"Invoice {invoice_id} is {row['status']}, not created or overdue"
        )
    row["expiration"] = 0
    do_now(bank, "invoice.expire", invoice_id, now)
    return row


def _reverse(bank: Bank, invoice_id: str, now: datetime, given: Given) -> Row:
    # Forced: a reversal after the money was forwarded is exactly what tests want to see.
    return bank.invoices.begin_reversal(invoice_id, _amount_of(given) or 0, now, forced=True)


def _settle(bank: Bank, transfer_id: str, now: datetime, given: Given) -> Row:
    row = bank.transfers.get(transfer_id)
    if row["status"] not in ("created", "processing"):
        raise Refusal.of("invalidAction", f"Transfer {transfer_id} is {row['status']} already")
    do_now(bank, "transfer.process", transfer_id, now)
    do_now(bank, "transfer.settle", transfer_id, now)
    return row


# --- events ---------------------------------------------------------------------------------------------------


def _redeliver(bank: Bank, event_id: str, now: datetime, given: Given) -> int:
    count, forged, seconds = given["count"], given["forged"], given["seconds"]
    return bank.events.redeliver(event_id, now, count=count, forged=forged, delay_seconds=seconds)


def _planned(bank: Bank, event_id: str) -> list[tuple[str, tuple[Any, ...]]]:
    """The planned deliveries of an event, taken off the agenda."""
    bank.events.rows.find(event_id)
    return bank.agenda.take(lambda name, args: name == "event.deliver" and args[0] == event_id)


def _delay(bank: Bank, event_id: str, now: datetime, given: Given) -> int:
    taken = _planned(bank, event_id)
    for name, args in taken:
        bank.agenda.push(now + timedelta(seconds=given["seconds"]), name, *args)
    return len(taken)


# --- the table ------------------------------------------------------------------------------------------------


def _with_status(*statuses: str) -> Callable[[Bank, Row], bool]:
    return lambda bank, row: row["status"] in statuses


def _can_be_credited(bank: Bank, row: Row) -> bool:
    return row["status"] in ("created", "overdue") or (
        row["status"] == "paid" and row["id"] not in bank.invoices.credited
    )


def _can_be_reversed(bank: Bank, row: Row) -> bool:
    book = bank.invoices
    return row["status"] == "paid" and row["id"] in book.credited and row["id"] not in book.reversals


_IS_UNPAID = _with_status("created", "overdue")
_IS_UNDER_WAY = _with_status("created", "processing")
_SECONDS = typed(Annotated[float, Meta(ge=0, le=YEAR_SECONDS)], WRONG, "seconds must be from 0 to a year")
_COPIES = whole(WRONG, f"count must be a whole number from 1 to {COPIES_MAX}", 1, COPIES_MAX)
FORGED = flag(WRONG, "forged must be true or false").defaulting(False)  # noqa: FBT003 - the default of any kind of field

ACTIONS = (
    Action("invoice", "pay", "A payer pays an invoice: what is asked, or `amount`.",
           lambda bank, row_id, now, given: bank.invoices.pay(row_id, now, _amount_of(given)),
           _amount(1, "What is paid instead of what is asked."), when=_IS_UNPAID),
    Action("invoice", "underpay", "A payer pays half of an invoice, or a lower `amount`.", _underpay,
           _amount(1, "What is paid (default: half)."), when=_IS_UNPAID, is_rare=True),
    Action("invoice", "credit", "The money of an invoice arrives now; it is paid first if it must.", _credit,
           when=_can_be_credited),
    Action("invoice", "overdue", "The due date of an invoice passes.", _overdue,
           when=_with_status("created"), is_rare=True),
    Action("invoice", "expire", "The due date and the expiration of an invoice pass.", _expire, when=_IS_UNPAID),
    Action("invoice", "cancel", "An invoice is canceled, as its owner could.",
           lambda bank, row_id, now, given: bank.invoices.patch(row_id, {"status": "canceled"}, now),
           when=_IS_UNPAID),
    Action("invoice", "reverse", "The payer of an invoice gets the money back, except what remains.", _reverse,
           _amount(0, "What remains of it (default 0: all goes back)."), when=_can_be_reversed),
    Action("transfer", "settle", "A transfer is judged and arrives now.", _settle, when=_IS_UNDER_WAY),
    Action("transfer", "fail", "A transfer ends; money that was taken comes back.",
           lambda bank, row_id, now, given: bank.transfers.fail(row_id, given["reason"], now),
           {"reason": text("reason", WRONG, 2_000, empty=True).defaulting("Failed by hand")
            .described("What its log says.")}, when=_IS_UNDER_WAY),
    Action("transfer", "cancel", "A transfer is canceled, as its owner could: only before it is processed.",
           lambda bank, row_id, now, given: bank.transfers.cancel(row_id, now), when=_with_status("created"),
           is_rare=True),
    Action("event", "redeliver", "Post an event again to all its webhooks.", _redeliver,
           {"count": _COPIES.defaulting(1).described("How many copies (default 1)."),
            "forged": FORGED.described("Signed with a wrong key."),
            "seconds": _SECONDS.defaulting(0.0).described("Emulated time to wait.")}, "deliveries"),
    Action("event", "delay", "Hold back what is planned of an event.", _delay,
           {"seconds": _SECONDS.defaulting(3600.0)}, "delayed"),
    Action("event", "drop", "Never make the posts of an event that are planned.",
           lambda bank, row_id, now, given: len(_planned(bank, row_id)), key="dropped"),
)  # fmt: skip
