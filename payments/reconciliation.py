"""Reconciliation: asks the bank what we have missed, and records it through the same door as the webhook.

It never sends and never deletes. Three questions: which events were not delivered, which invoices were credited
or reversed, what became of transfers still in flight. Each is asked even when another fails.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from itertools import islice
from typing import Protocol

import structlog

from payments.credit import Credit
from payments.errors import BankError, LedgerUnavailable, Rejected
from payments.event import Event, read_event, read_log
from payments.ledger import bank_reports, inbox
from payments.ledger.batches import read_window
from payments.ledger.reconciliations import last_complete_reconciliation, record_reconciliation
from payments.note import note, note_of
from payments.policy import ForwardingPolicy
from payments.storage.database import Database
from payments.transfer import BankReport

log = structlog.get_logger()

# How many facts are recorded in one transaction, and how many ids are asked for in one call: a page of the bank's.
_PAGE = 100

# For logs that the bank lists late. (That it reads dates as São Paulo days is the client's business.)
_MARGIN = timedelta(days=1)

# What was credited before the window was opened is not ours to forward: it may have been forwarded already. Clocks
# differ by some minutes; none of our own invoices exists so early.
_CLOCK_MARGIN = timedelta(minutes=10)

# Other programs of the same workspace may rely on the list of undelivered events; these two are what we registered.
_OUR_SUBSCRIPTIONS = frozenset({"invoice", "transfer"})

_FINAL_LOG_TYPES = frozenset({"success", "failed", "canceled"})


class ReconciliationBank(Protocol):
    """What reconciliation needs of the bank. Every method raises BankError and nothing else."""

    def undelivered_events(self) -> Iterable[bytes]:
        """Every event that no endpoint has answered with 200, as raw JSON."""
        ...

    def mark_delivered(self, event_id: str) -> None:
        """Take an event off that list."""
        ...

    def invoice_logs(self, types: Sequence[str], after: date) -> Iterable[bytes]:
        """Every invoice log of these types since a day, as raw JSON."""
        ...

    def transfer_logs(self, transfer_ids: Sequence[str]) -> Iterable[bytes]:
        """Every log of these transfers, as raw JSON."""
        ...


@dataclass(slots=True)
class Reconciliation:
    """What one run found that we did not know: events, credits or reversals, outcomes. And what failed."""

    events: int = 0
    invoice_logs: int = 0
    outcomes: int = 0
    failures: list[str] = field(default_factory=list)

    @property
    def failure(self) -> str | None:
        """A note of all that failed; None when every question was answered."""
        return note("unanswered", parts=self.failures) if self.failures else None

    @property
    def found(self) -> int:
        """How many facts were new to us."""
        return self.events + self.invoice_logs + self.outcomes


def reconcile_once(
    database: Database,
    bank: ReconciliationBank,
    policy: ForwardingPolicy,
    clock: Callable[[], datetime],
) -> Reconciliation:
    """Ask all three questions once. Raises LedgerUnavailable; what was recorded before stays recorded."""
    window = read_window(database)
    run = _Run(database, bank, policy, clock, window.opened_at if window else None)
    started_at = clock()
    counts = Reconciliation()
    for question, ask in (
        ("undelivered_events", run.ask_events),
        ("invoice_logs", run.ask_invoice_logs),
        ("transfers_in_flight", run.ask_transfers),
    ):
        try:
            ask(counts)
        except BankError as error:
            counts.failures.append(note(question, why=note_of(error)))
            log.warning("reconciliation.question_failed", question=question, reason=str(error))
        except LedgerUnavailable:
            raise
        except Exception as error:
            # A bug in one question must not keep the others from being asked.
            counts.failures.append(note(question, why=note("bug", name=type(error).__name__)))
            log.exception("reconciliation.question_broke", question=question)
    bank_reports.raise_unsettled(database, clock())
    record_reconciliation(database, started_at, clock(), counts.found, counts.failure)
    log.info(
        "reconciliation.ended",
        events=counts.events,
        invoice_logs=counts.invoice_logs,
        outcomes=counts.outcomes,
        failures=len(counts.failures),
    )
    return counts


@dataclass(frozen=True, slots=True)
class _Run:
    database: Database
    bank: ReconciliationBank
    policy: ForwardingPolicy
    clock: Callable[[], datetime]
    opened_at: datetime | None  # when the issuing window was; None when no worker has started yet

    def ask_events(self, counts: Reconciliation) -> None:
        """Take in events that the bank could not deliver, then report to it that we have them."""
        for page in _pages(self.bank.undelivered_events()):
            read = [read_event(body) for body in page]
            events = [
                event
                for event in read
                if event.subscription in _OUR_SUBSCRIPTIONS and not self._is_before_our_time(event)
            ]
            counts.events += self._accept(events)
            for event in events:
                try:
                    self.bank.mark_delivered(event.event_id)
                except Rejected as error:
                    # It stays on the bank's list, which is harmless; the others must not wait for it.
                    log.warning("event.not_marked", event_id=event.event_id, reason=str(error))

    def ask_invoice_logs(self, counts: Reconciliation) -> None:
        """Find credits and reversals in the bank's logs, which it keeps even when an event was lost."""
        since = self._credited_since()
        # One type a call: a bank that did not know one of them would refuse the whole list. "voided" only follows
        # "reversed", which says what is left.
        for log_type in ("credited", "reversed"):
            self._ask_invoice_logs_of(log_type, since, counts)

    def _ask_invoice_logs_of(self, log_type: str, since: datetime, counts: Reconciliation) -> None:
        for page in _pages(self.bank.invoice_logs((log_type,), (since - _MARGIN).date())):
            events = [read_log("invoice", body) for body in page]
            known = inbox.known_logs(
                self.database, [event.event_id.removeprefix("invoice-log-") for event in events]
            )
            counts.invoice_logs += self._accept(
                [
                    event
                    for event in events
                    if event.event_id.removeprefix("invoice-log-") not in known
                    and not self._is_before_our_time(event)
                ]
            )

    def ask_transfers(self, counts: Reconciliation) -> None:
        """Learn the outcome of transfers whose events we may have missed."""
        patience = timedelta(seconds=self.policy.lease_seconds)
        asked: set[str] = set()
        while waiting := [
            bank_id
            for bank_id in bank_reports.in_flight(self.database, self.clock() - patience, _PAGE + len(asked))
            if bank_id not in asked
        ]:
            asked.update(waiting)
            for page in _pages(self.bank.transfer_logs(waiting)):
                events = [read_log("transfer", body) for body in page]
                counts.outcomes += self._accept(
                    [
                        event
                        for event in events
                        if isinstance(event.fact, BankReport) and event.log_type in _FINAL_LOG_TYPES
                    ]
                )

    def _credited_since(self) -> datetime:
        """Since when we may have missed a credit: the last run that heard everything, or the opening."""
        last = last_complete_reconciliation(self.database)
        now = self.clock()
        return min(last if last is not None else self.opened_at or now, now)

    def _is_before_our_time(self, event: Event) -> bool:
        if not isinstance(event.fact, Credit):
            return False
        if self.opened_at is None:
            # No worker has opened a window: what came before we first asked may have been forwarded by another program.
            return event.fact.credited_at < self._credited_since() - _MARGIN
        return event.fact.credited_at < self.opened_at - _CLOCK_MARGIN

    def _accept(self, events: Sequence[Event]) -> int:
        receipts = inbox.accept(
            self.database,
            [inbox.Arrival(event) for event in events],
            "reconciliation",
            self.policy,
            self.clock(),
        )
        new = [each for each in zip(events, receipts, strict=True) if each[1].is_new]
        for event, receipt in new:
            log.info(
                "reconciliation.found",
                event_id=receipt.event_id,
                **event.followed_by,
                outcome=receipt.outcome,
                subject=receipt.subject,
            )
        return len(new)


def _pages(bodies: Iterable[bytes]) -> Iterator[list[bytes]]:
    iterator = iter(bodies)
    while page := list(islice(iterator, _PAGE)):
        yield page
