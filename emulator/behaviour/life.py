"""What the bank does without being asked: pay, credit, expire, settle, and turn every log into an event.

Plans on the agenda and acts on the books when the time comes. Its chances depend on the seed and on the id
of the row alone, so they do not shift when unrelated calls come in between. It never sleeps and sends
nothing.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

from emulator.behaviour.events import Events
from emulator.behaviour.faults import Faults, Subject
from emulator.books import checks
from emulator.books.book import ReversibleBook
from emulator.books.deposits import Deposits
from emulator.books.invoices import Invoices, expires_at
from emulator.books.preset import Preset, Range
from emulator.books.table import Row
from emulator.books.transfers import Transfers
from emulator.clock import Agenda


@dataclass(frozen=True)
class CreditPlan:
    """When the money of a paid invoice is credited and when both events are sent, in seconds after the payment."""

    credit_after_seconds: float
    paid_event_after_seconds: float
    credited_event_after_seconds: float


class Life:
    """The bank's own actions, on the agenda."""

    def __init__(
        self,
        seed: int,
        agenda: Agenda,
        preset: Preset,
        faults: Faults,
        invoices: Invoices,
        transfers: Transfers,
        deposits: Deposits,
        events: Events,
    ) -> None:
        self._seed = seed
        self._agenda = agenda
        self._preset = preset
        self._faults = faults
        self._invoices = invoices
        self._transfers = transfers
        self._events = events
        self._credited_first: set[str] = set()
        agenda.teach("invoice.pay", self._pay)
        agenda.teach("invoice.credit", self._credit)
        agenda.teach("invoice.overdue", invoices.go_overdue)
        agenda.teach("invoice.expire", invoices.expire)
        agenda.teach("invoice.reversal", partial(self._step_reversal, invoices))
        agenda.teach("invoice.take_back", self._take_back)
        agenda.teach("transfer.process", self._process)
        agenda.teach("transfer.settle", transfers.succeed)
        agenda.teach("deposit.credit", deposits.credit)
        agenda.teach("deposit.reversal", partial(self._step_reversal, deposits))

    def react(self, subscription: str, log: Row, now: datetime) -> None:
        """Plan what follows from a log: its event, and the next change of its entity."""
        row: Row = log[subscription]
        log_type: str = log["type"]
        is_paid = subscription == "invoice" and log_type == "paid"
        if is_paid and self._faults.strikes("credited_first", Subject.of("invoice", row)):
            self._credited_first.add(row["id"])
        delay_seconds = self._event_delay_seconds(subscription, log)
        self._events.plan(subscription, log, now + timedelta(seconds=delay_seconds))
        if log_type == "reversing":
            at = now + timedelta(seconds=self._preset.reversal_step_seconds)
            self._agenda.push(at, f"{subscription}.reversal", row["id"], "sending")
        elif subscription == "invoice":
            self._after_invoice_log(row, log_type, now)
        elif subscription == "deposit":
            if log_type == "created":
                # Guess: as long as from an invoice's payment to its credit.
                at = self._after(row, "credit", self._preset.credit_delay_seconds, now)
                self._agenda.push(at, "deposit.credit", row["id"])
        elif log_type == "created":
            start = max(now, checks.moment_of(row["scheduled"]))
            at = self._after(row, "process", self._preset.process_delay_seconds, start)
            self._agenda.push(at, "transfer.process", row["id"])
        elif log_type == "sending":
            at = self._after(row, "success", self._preset.success_delay_seconds, now)
            at += timedelta(seconds=self._faults.measure("slow_transfer", Subject.of("transfer", row)) or 0)
            self._agenda.push(at, "transfer.settle", row["id"])

    def _after_invoice_log(self, row: Row, log_type: str, now: datetime) -> None:
        if log_type == "created":
            chance = self._chance(row, "pay")
            if chance.random() < self._preset.paid_share:
                at = now + timedelta(seconds=chance.uniform(*self._preset.pay_delay_seconds))
                self._agenda.push(self._in_cluster(at, chance), "invoice.pay", row["id"])
        if log_type in ("created", "updated"):
            self._agenda.push(max(now, checks.moment_of(row["due"])), "invoice.overdue", row["id"])
        elif log_type == "paid":
            plan = self.credit_plan(row)
            self._agenda.push(now + timedelta(seconds=plan.credit_after_seconds), "invoice.credit", row["id"])
        elif log_type == "credited":
            seconds = self._faults.measure("taken_back", Subject.of("invoice", row))
            if seconds is not None:
                self._agenda.push(now + timedelta(seconds=seconds), "invoice.take_back", row["id"])
        elif log_type == "overdue":
            self._agenda.push(max(now, expires_at(row)), "invoice.expire", row["id"])

    def _in_cluster(self, at: datetime, chance: random.Random) -> datetime:
        """The time itself, or just after the next round mark when payments come in clusters."""
        every_seconds = self._preset.pay_cluster_seconds
        if every_seconds <= 0:
            return at
        mark = math.ceil(at.timestamp() / every_seconds) * every_seconds
        # Observed: 11 to 76 s after the mark.
        return datetime.fromtimestamp(mark, UTC) + timedelta(seconds=chance.uniform(10, 80))

    def credit_plan(self, row: Row) -> CreditPlan:
        """The plan of an invoice's credit: the same each time it is asked for."""
        chance = self._chance(row, "credit")
        credit_after = chance.uniform(*self._preset.credit_delay_seconds)
        paid_event = chance.uniform(*self._preset.event_delay_seconds)
        credited_event = chance.uniform(*self._preset.event_delay_seconds)
        # The chance is always drawn, so that the fault does not shift later ones.
        if chance.random() < self._preset.credited_first_share or row["id"] in self._credited_first:
            # The event of `paid` waits until after that of `credited`.
            paid_event = credit_after + credited_event + chance.uniform(*self._preset.event_delay_seconds)
        else:
            credited_event = max(credited_event, paid_event - credit_after)
        return CreditPlan(credit_after, paid_event, credited_event)

    def _event_delay_seconds(self, subscription: str, log: Row) -> float:
        if subscription == "invoice":
            if log["type"] == "created":
                return self._chance(log, "event").uniform(*self._preset.created_event_delay_seconds)
            if log["type"] == "paid":
                return self.credit_plan(log["invoice"]).paid_event_after_seconds
            if log["type"] == "credited":
                return self.credit_plan(log["invoice"]).credited_event_after_seconds
        return self._chance(log, "event").uniform(*self._preset.event_delay_seconds)

    def _pay(self, invoice_id: str, at: datetime) -> None:
        # Observed: overdue invoices were never paid by the sandbox (0 of 14).
        row = self._invoices.get(invoice_id)
        if not self._preset.paying or row["status"] != "created":
            return
        subject = Subject.of("invoice", row)
        if self._faults.strikes("never_paid", subject):
            return
        percent = self._faults.measure("underpaid", subject)
        amount_centavos = None if percent is None else max(1, row["amount"] * percent // 100)
        self._invoices.pay(invoice_id, at, amount_centavos)

    def _credit(self, invoice_id: str, at: datetime) -> None:
        self._invoices.credit(invoice_id, at, self._preset.invoice_fee_centavos)

    def _step_reversal(self, book: ReversibleBook, row_id: str, step: str, at: datetime) -> None:
        following = book.step_reversal(row_id, step, at)
        if following is not None:
            later = at + timedelta(seconds=self._preset.reversal_step_seconds)
            self._agenda.push(later, f"{book.kind}.reversal", row_id, following)

    def _take_back(self, invoice_id: str, at: datetime) -> None:
        row = self._invoices.get(invoice_id)
        if row["status"] == "paid" and row["amount"] > 0 and invoice_id not in self._invoices.reversals:
            self._invoices.begin_reversal(invoice_id, 0, at, forced=True)

    def _process(self, transfer_id: str, at: datetime) -> None:
        subject = Subject.of("transfer", self._transfers.get(transfer_id))
        self._transfers.process(transfer_id, at, self._faults.measure("blocked_destination", subject))

    def _after(self, row: Row, what: str, delay_seconds: Range, start: datetime) -> datetime:
        return start + timedelta(seconds=self._chance(row, what).uniform(*delay_seconds))

    def _chance(self, row: Row, what: str) -> random.Random:
        return random.Random(f"{self._seed}:{what}:{row['id']}")
