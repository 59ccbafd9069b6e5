"""What the operator reads: overview, lists, search, and the whole story of one credit. Reads only.

Every question costs the same whatever the books hold: lists walk an index from a cursor and look at a bounded
number of rows, sums come from the running totals.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

from payments.ledger.acts import Act
from payments.ledger.database import Database
from payments.ledger.statement import Statement

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """Some rows, newest first. ``next`` continues after them; None at the end.

    A filtered list looks at a bounded number of rows: a page may be short, or empty, and still have a ``next``.
    """

    items: Sequence[Item]
    next: str | None


@dataclass(frozen=True, slots=True)
class TransferLine:
    """One transfer in a list. ``reason`` is why it is where it is, in the bank's words or ours, or None."""

    external_id: str
    invoice_id: str
    generation: int
    amount_centavos: int
    state: str
    attempt: int
    bank_transfer_id: str | None
    reason: str | None
    created_at: datetime
    due_at: datetime | None  # of a pending one
    sent_at: datetime | None
    settled_at: datetime | None


@dataclass(frozen=True, slots=True)
class CreditLine:
    """One credit in a list, with the state of its newest transfer (None when it has none)."""

    invoice_id: str
    gross_centavos: int
    fee_centavos: int
    net_centavos: int
    disposition: str
    recorded_at: datetime
    transfer_state: str | None
    external_id: str | None


@dataclass(frozen=True, slots=True)
class EventLine:
    """One event of the inbox in a list."""

    event_id: str
    source: str
    subscription: str
    log_type: str
    subject: str | None
    outcome: str
    reason: str | None
    received_at: datetime


@dataclass(frozen=True, slots=True)
class InvoiceLine:
    """One planned invoice and what became of it: planned, at_bank, credited, settled, ... Tax id masked."""

    tag: str
    amount_centavos: int
    payer_name: str
    payer_tax_id: str
    bank_invoice_id: str | None
    became: str


@dataclass(frozen=True, slots=True)
class BatchLine:
    """One batch. ``slot`` counts from 0; None when it was issued by hand."""

    id: int
    slot: int | None
    tag: str
    state: str
    late: bool
    due_at: datetime
    issued_at: datetime | None
    attempt: int
    reason: str | None
    planned_invoices: int
    issued_invoices: int
    credited_invoices: int


@dataclass(frozen=True, slots=True)
class AttentionLine:
    """One matter that waits for a person, or waited. ``invoice_id`` where it is about a credit of ours."""

    id: int
    kind: str
    subject: str
    detail: str
    raised_at: datetime
    resolved_at: datetime | None
    invoice_id: str | None


@dataclass(frozen=True, slots=True)
class SlotLine:
    """One slot of the window: ``state`` is planned, issuing, issued, late, skipped, next or coming."""

    slot: int
    begins_at: datetime
    state: str
    planned_invoices: int
    issued_invoices: int


@dataclass(frozen=True, slots=True)
class Tally:
    """How many of something, and how many centavos, fell into one bar of a chart, which begins at ``at``."""

    at: datetime
    number: int
    centavos: int


@dataclass(frozen=True, slots=True)
class Overview:
    """All that the first page shows. Charts have one entry a bar; durations count transfers by upper bound."""

    statement: Statement
    slots: Sequence[SlotLine]
    attentions: Sequence[AttentionLine]  # open ones, at most 20, the gravest kinds first
    oldest_unforwarded_at: datetime | None
    credited: Sequence[Tally]
    settled: Sequence[Tally]
    events_by_outcome: dict[str, int]
    settled_within: Sequence[
        tuple[float, int]
    ]  # (seconds, how many took at most so long and more than the last)
    paused: dict[str, datetime]


@dataclass(frozen=True, slots=True)
class StoryEntry:
    """One fact of a credit's story. ``kind`` is event, credit, reversal, transfer, attempt, sighting, act, attention.

    ``title`` is a sentence; ``detail`` may hold the bank's words; ``ids`` are worth copying, by label.
    """

    at: datetime
    kind: str
    title: str
    detail: str | None
    ids: dict[str, str]
    tone: str  # neutral, good, waiting, bad


@dataclass(frozen=True, slots=True)
class CreditStory:
    """Everything that is known of one credit, in the order in which it happened."""

    credit: CreditLine
    owed_centavos: int
    transfers: Sequence[TransferLine]
    events: Sequence["StoredEvent"]
    entries: Sequence[StoryEntry]
    attentions: Sequence[AttentionLine]
    acts: Sequence[Act]


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """One event whole: the bytes as received (None when archived) and the signature that was verified."""

    line: EventLine
    digital_signature: str | None  # None when reconciliation fetched it
    body: bytes | None


@dataclass(frozen=True, slots=True)
class BatchStory:
    """One batch and its invoices."""

    batch: BatchLine
    invoices: Sequence[InvoiceLine]


@dataclass(frozen=True, slots=True)
class System:
    """Who is alive and when we last asked the bank."""

    processes: Sequence[dict[str, Any]]  # the columns of the table, and "alive": seen within a minute
    reconciliations: Sequence[dict[str, Any]]  # the last 10: started_at, ended_at, found, failure
    revision: str
    paused: dict[str, datetime]


@dataclass(frozen=True, slots=True)
class Found:
    """A search's hit: ``kind`` is credit, transfer, event, batch; ``id`` is what its page takes."""

    kind: str
    id: str
    title: str


def read_overview(database: Database, now: datetime, span: timedelta, bars: int) -> Overview:
    """Read the first page on one snapshot; charts cover the last ``span`` in ``bars`` bars."""
    raise NotImplementedError


def list_transfers(
    database: Database, state: str | None, after: str | None, limit: int = 50
) -> Page[TransferLine]:
    """Transfers of a state (None: all), newest first."""
    raise NotImplementedError


def list_credits(
    database: Database,
    after: str | None,
    amount_centavos: int | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int = 50,
) -> Page[CreditLine]:
    """Credits, newest first; ``amount_centavos`` matches gross or net; bounds are of ``recorded_at``."""
    raise NotImplementedError


def list_events(
    database: Database, outcome: str | None, after: str | None, limit: int = 50
) -> Page[EventLine]:
    """The inbox, newest first."""
    raise NotImplementedError


def list_batches(database: Database, after: str | None, limit: int = 50) -> Page[BatchLine]:
    """Batches, newest first."""
    raise NotImplementedError


def list_attentions(
    database: Database, open_only: bool, after: str | None, limit: int = 50
) -> Page[AttentionLine]:
    """Matters, newest first."""
    raise NotImplementedError


def list_acts(database: Database, after: str | None, limit: int = 50) -> Page[Act]:
    """What operators did, newest first."""
    raise NotImplementedError


def search(database: Database, text: str) -> Sequence[Found]:
    """Look one id up, exactly: of an invoice, transfer (ours or the bank's), event, log, batch tag."""
    raise NotImplementedError


def read_credit(database: Database, invoice_id: str) -> CreditStory | None:
    """The whole story of one credit; None when there is none."""
    raise NotImplementedError


def read_event(database: Database, event_id: str) -> StoredEvent | None:
    """One event whole; None when there is none."""
    raise NotImplementedError


def read_batch(database: Database, batch_id: int) -> BatchStory | None:
    """One batch with its invoices; None when there is none."""
    raise NotImplementedError


def read_system(database: Database, now: datetime) -> System:
    """Processes, reconciliations, version."""
    raise NotImplementedError
