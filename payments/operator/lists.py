"""The operator's lists, newest first. Reads only.

Each list walks one index backwards from a cursor, so a page costs the same however much the database holds; with a
filter that no index serves (see filters.py) it looks at every row, which a hundred thousand credits bear. What a filter
leaves is added up beside it. Tax ids are masked here, so that no page or command can show one. INVOICES is in
invoices.py.
"""

import base64
import binascii
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, Generic, Self, TypeVar

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Select,
    TextClause,
    and_,
    case,
    exists,
    func,
    literal_column,
    or_,
    select,
    tuple_,
)

from payments.ledger.attention import AttentionKind
from payments.ledger.balance import in_state
from payments.ledger.inbox import Outcome
from payments.note import Note, read_note
from payments.operator.actions import Action, action_from, plain_text
from payments.operator.filters import NO_FILTER, Filter, Totals, has_gross_or_net
from payments.operator.labels import ACTION_KINDS
from payments.operator.recovery import GONE, read_claim_back
from payments.storage.database import Database
from payments.storage.schema import (
    actions,
    attentions,
    credits,
    destinations,
    inbox_events,
    invoice_batches,
    invoices,
    is_live,
    made_no_credit,
    reversals,
    transfers,
)
from payments.tax_id import mask_tax_id, mask_tax_ids
from payments.transfer import LIVE_STATES, TransferState

# More than a person reads on one page, and than a page may weigh.
LIMIT_MAX = 500

Item = TypeVar("Item")
Condition = ColumnElement[bool] | TextClause

# The states by which transfers are listed.
SHOWN_STATES = (*TransferState, "abandoned")

# Columns that hold notes; in the words in them, which come from outside, a tax id may stand.
_NOTES = ("reason", "detail")
# What credits are listed by: where their money is, or that the bank took some of it back.
CREDIT_STATES = (
    *("pending", "sending", "sent", "settled", "dead", "abandoned"),
    *("nothing_to_forward", "not_ours", "reversed"),
)

# Money that may be lost first, then money that does not move, then what only needs to be known.
MOST_URGENT_FIRST = (
    AttentionKind.PAID_TWICE,
    AttentionKind.RETURNED,
    AttentionKind.REVERSED_AFTER_SENDING,
    AttentionKind.TRANSFER_DEAD,
    AttentionKind.BANK_REFUSES_US,
    AttentionKind.UNREADABLE_EVENT,
    AttentionKind.SECOND_CREDIT,
    AttentionKind.TRANSFER_STUCK,
    AttentionKind.TRANSFER_UNSETTLED,
    AttentionKind.BATCH_REFUSED,
    AttentionKind.CLOCK_STEPPED,
    AttentionKind.NOTHING_TO_FORWARD,
)


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """Some rows, newest first. ``next`` continues after them; None at the end."""

    items: Sequence[Item]
    next: str | None


@dataclass(frozen=True, slots=True)
class Line:
    """One row of a list: fields are columns of the same name, unless they are given."""

    @classmethod
    def of(cls, row: Any, **given: Any) -> Self:
        """A line from a database row."""
        values = {each.name: getattr(row, each.name) for each in fields(cls) if each.name not in given}
        notes = {name: masked_note(values[name]) for name in _NOTES if name in values}
        return cls(**values | notes | given)


@dataclass(frozen=True, slots=True)
class DestinationLine(Line):
    """The account that a transfer is sent to. Tax id masked."""

    bank_code: str
    branch_code: str
    account_number: str
    account_type: str
    name: str
    tax_id: str


@dataclass(frozen=True, slots=True)
class TransferLine(Line):
    """One transfer. ``reason`` is why it is where it is, in the bank's words or ours, or None.

    ``destination`` is the account that it was made with, whatever the settings are today. ``claim_back_centavos`` were
    forwarded by it although its credit was reversed, and have not come back.
    """

    external_id: str
    invoice_id: str
    generation: int
    amount_centavos: int
    state: str
    attempt: int
    bank_transfer_id: str | None
    reason: Note | None
    created_at: datetime
    due_at: datetime | None  # of a pending one
    sent_at: datetime | None
    settled_at: datetime | None
    abandoned_at: datetime | None
    destination: DestinationLine
    claim_back_centavos: int

    @property
    def shown_state(self) -> str:
        """Its state, or ``abandoned``: a dead one that an operator gave up, so that it waits for no one."""
        return "abandoned" if self.state == TransferState.DEAD and self.abandoned_at else self.state


@dataclass(frozen=True, slots=True)
class CreditLine(Line):
    """One credit with its live transfer, or the newest if none is live (None when it has none).

    ``transfer_state`` is ``abandoned`` for a dead transfer that an operator gave up. ``claim_back_centavos`` were
    forwarded and then reversed, and have not come back; ``recovered_centavos`` have.
    """

    invoice_id: str
    gross_centavos: int
    fee_centavos: int
    net_centavos: int
    disposition: str
    recorded_at: datetime
    transfer_state: str | None
    external_id: str | None
    claim_back_centavos: int
    recovered_centavos: int


@dataclass(frozen=True, slots=True)
class EventLine(Line):
    """One event of the inbox."""

    event_id: str
    source: str
    subscription: str
    log_type: str
    subject: str | None
    outcome: str
    reason: Note | None
    received_at: datetime


@dataclass(frozen=True, slots=True)
class BatchLine(Line):
    """One batch. ``slot`` counts from 0; None when it was issued by hand."""

    id: int
    slot: int | None
    tag: str
    state: str
    late: bool
    due_at: datetime
    issued_at: datetime | None
    attempt: int
    reason: Note | None
    planned_invoices: int
    issued_invoices: int
    credited_invoices: int


@dataclass(frozen=True, slots=True)
class AttentionLine(Line):
    """Something that needs, or needed, a person's attention.

    Where it is about a credit: the invoice, its payer as far as known, and the money that is concerned (what is to be
    claimed back, or else the credit's net).
    """

    id: int
    kind: str
    subject: str
    detail: Note
    raised_at: datetime
    resolved_at: datetime | None
    invoice_id: str | None
    amount_centavos: int | None
    payer_name: str | None


@dataclass(frozen=True, slots=True)
class Listing(Generic[Item]):
    """One list: it walks an index backwards from a cursor, narrowed by a filter and by one of its ``choices``.

    ``key`` are the columns of that index, the last of which tells equal ones apart; ``sorted_by`` has the column that
    comes before them where a choice has an index of its own. ``conditions`` are those of a filter and a choice (None:
    all) but for ``by``, the column that holds the choice where one does. ``lines`` makes lines of rows, and
    ``count_choices`` counts by choice what no single column tells.
    """

    name: str
    query: Select[Any]
    key: tuple[Column[Any], ...]
    conditions: Callable[[Filter, str | None], Sequence[Condition]]
    line: type[Item]
    lines: Callable[[Connection, Sequence[Any]], list[Item]]
    choices: Sequence[str] = ()
    sorted_by: Mapping[str, Column[Any]] = field(default_factory=dict)
    by: Column[str] | None = None
    count_choices: Callable[[Connection, Filter], dict[str, int]] | None = None
    amount: Column[int] | None = None
    fee: Column[int] | None = None

    def read(
        self,
        database: Database,
        after: str | None = None,
        where: Filter = NO_FILTER,
        choice: str | None = None,
        limit: int = 50,
    ) -> Page[Item]:
        """One page on one snapshot, newest first. Raises ValueError for an unknown choice or another list's cursor."""
        limit = max(1, min(limit, LIMIT_MAX))
        name = f"{self.name} {choice}" if choice else self.name
        first = self.sorted_by.get(choice or "")
        key = self.key if first is None else (first, *self.key)
        conditions = [*self.narrowed(where, choice)]
        if after is not None:
            types = [column.type for column in key]
            conditions.append(tuple_(*key) < tuple_(*_decode(name, key, after), types=types))
        newest_first = [column.desc() for column in key]
        query = self.query.where(*conditions).order_by(*newest_first).limit(limit + 1)
        with database.reading() as connection:
            rows = connection.execute(query).all()
            found = self.lines(connection, rows[:limit])
        following = None
        if len(rows) > limit:
            following = _encode(name, [getattr(rows[limit - 1], each.name) for each in key])
        return Page(found, following)

    def every(
        self, database: Database, where: Filter = NO_FILTER, choice: str | None = None
    ) -> Iterator[Item]:
        """Every line, page by page, each on a snapshot of its own: a slow reader keeps nothing locked."""
        after = None
        while True:
            page = self.read(database, after, where, choice, LIMIT_MAX)
            yield from page.items
            after = page.next
            if after is None:
                return

    def total(self, database: Database, where: Filter = NO_FILTER, choice: str | None = None) -> Totals:
        """How many a filter and a choice leave, and their centavos. Raises ValueError for an unknown choice."""
        assert self.amount is not None
        with database.reading() as connection:
            return read_totals(connection, self.amount, self.fee, self.narrowed(where, choice))

    def count(self, database: Database, where: Filter = NO_FILTER) -> dict[str, int]:
        """How many a filter leaves, by choice."""
        with database.reading() as connection:
            return self.counts(connection, where)

    def counts(self, connection: Connection, where: Filter) -> dict[str, int]:
        """The same, as a transaction sees it."""
        if self.count_choices is not None:
            return self.count_choices(connection, where)
        assert self.by is not None
        rows = connection.execute(
            select(self.by.label("choice"), func.count().label("number"))
            .where(*self.conditions(where, None))
            .group_by(self.by)
            .order_by(self.by)
        )
        return {row.choice: row.number for row in rows}

    def narrowed(self, where: Filter, choice: str | None) -> Sequence[Condition]:
        """The conditions of a filter and a choice. Raises ValueError for an unknown choice."""
        if choice is not None and choice not in self.choices:
            raise ValueError(
                f"{self.name} are not listed by {choice!r}: put one of {', '.join(self.choices)}"
            )
        is_chosen = [] if choice is None or self.by is None else [self.by == choice]
        return [*self.conditions(where, choice), *is_chosen]


def most_urgent(connection: Connection, limit: int) -> list[AttentionLine]:
    """What needs attention, the most urgent kinds first, and of one kind the oldest first."""
    ranks = {str(kind): rank for rank, kind in enumerate(MOST_URGENT_FIRST)}
    rows = connection.execute(
        select(attentions)
        .where(attentions.c.resolved_at.is_(None))
        .order_by(case(ranks, value=attentions.c.kind, else_=len(ranks)), attentions.c.id)
        .limit(limit)
    )
    return attention_lines(connection, rows.all())


def count_attentions(database: Database, limit: int) -> int:
    """How many need attention, counted no further than ``limit``."""
    open_ones = select(attentions.c.id).where(attentions.c.resolved_at.is_(None)).limit(limit)
    with database.reading() as connection:
        return connection.execute(select(func.count()).select_from(open_ones.subquery())).scalar_one()


# --- lines, for the timeline, search and audit too ---


def transfer_lines(connection: Connection, rows: Sequence[Any]) -> list[TransferLine]:
    """Lines from rows of transfers, each with its destination and what is to be claimed back of it."""
    ids = {row.destination_id for row in rows}
    accounts = {
        row.id: DestinationLine.of(row, tax_id=mask_tax_id(row.tax_id))
        for row in connection.execute(select(destinations).where(destinations.c.id.in_(ids)))
    }
    gone = {row.invoice_id for row in rows if row.state in GONE}
    claim_back = read_claim_back(connection, gone) if gone else {}
    return [
        TransferLine.of(
            row,
            due_at=row.due_at if row.state == TransferState.PENDING else None,
            destination=accounts[row.destination_id],
            claim_back_centavos=claim_back.get(row.invoice_id, 0) if row.state in GONE else 0,
        )
        for row in rows
    ]


def credit_lines(connection: Connection, rows: Sequence[Any]) -> list[CreditLine]:
    """Lines from rows of credits, each with its transfer."""
    current = current_transfers(connection, [row.number for row in rows])
    return [
        CreditLine.of(
            row,
            transfer_state=transfer and transfer.shown_state,
            external_id=transfer and transfer.external_id,
            claim_back_centavos=transfer.claim_back_centavos if transfer else 0,
        )
        for row in rows
        for transfer in [current.get(row.number)]
    ]


def attention_lines(connection: Connection, rows: Sequence[Any]) -> list[AttentionLine]:
    """Lines from rows of attentions, each with the money and the payer of its credit."""
    ids = {row.invoice_id for row in rows if row.invoice_id is not None}
    known = {
        row.invoice_id: row
        for row in connection.execute(
            select(credits.c.invoice_id, credits.c.net_centavos, invoices.c.payer_name)
            .outerjoin(invoices, invoices.c.bank_invoice_id == credits.c.invoice_id)
            .where(credits.c.invoice_id.in_(ids))
        )
    }
    claim_back = read_claim_back(connection, ids) if ids else {}
    return [
        AttentionLine.of(
            row,
            amount_centavos=claim_back.get(row.invoice_id, credit and credit.net_centavos),
            payer_name=credit and credit.payer_name,
        )
        for row in rows
        for credit in [known.get(row.invoice_id)]
    ]


def current_transfers(connection: Connection, credit_numbers: Sequence[int]) -> Mapping[int, TransferLine]:
    """For each of these credits the transfer that stands for it: the live one, or else the newest."""
    if not credit_numbers:
        return {}
    rows = connection.execute(
        select(transfers)
        .where(transfers.c.credit_number.in_(credit_numbers))
        .order_by(transfers.c.generation)
    ).all()
    newest = {row.credit_number: row for row in rows}
    live = {row.credit_number: row for row in rows if row.state in LIVE_STATES}
    current = newest | live
    return dict(zip(current, transfer_lines(connection, list(current.values())), strict=True))


def batch_lines(connection: Connection, rows: Sequence[Any]) -> list[BatchLine]:
    """Lines from rows of batches, each with what became of its invoices."""
    counts = {
        row.batch_id: row
        for row in connection.execute(
            select(
                invoices.c.batch_id,
                func.count().label("planned"),
                func.count(invoices.c.bank_invoice_id).label("issued"),
                func.count(credits.c.number).label("credited"),
            )
            .outerjoin(credits, credits.c.invoice_id == invoices.c.bank_invoice_id)
            .where(invoices.c.batch_id.in_([row.id for row in rows]))
            .group_by(invoices.c.batch_id)
        )
    }
    return [
        BatchLine.of(
            row,
            planned_invoices=counts[row.id].planned if row.id in counts else 0,
            issued_invoices=counts[row.id].issued if row.id in counts else 0,
            credited_invoices=counts[row.id].credited if row.id in counts else 0,
        )
        for row in rows
    ]


def masked_note(text: str | None) -> Note | None:
    """A stored note, or None, without tax ids."""
    return None if text is None else read_note(mask_tax_ids(text))


def read_totals(
    connection: Connection,
    amount: Column[int],
    fee: Column[int] | None,
    conditions: Sequence[Condition],
) -> Totals:
    """Add up what conditions leave of the table of ``amount``; ``fee`` where it has one."""
    sums = [func.coalesce(func.sum(column), 0) for column in (amount, fee) if column is not None]
    row = connection.execute(select(func.count(), *sums).select_from(amount.table).where(*conditions)).one()
    return Totals(*(int(value) for value in row))


# --- transfers ---


def _transfers_where(where: Filter, state: str | None) -> list[Condition]:
    # of settled ones the days are those on which they settled
    at = transfers.c.settled_at if state == TransferState.SETTLED else transfers.c.created_at
    return [
        *_in_shown_state(state),
        *where.is_within(at),
        *where.has_amount(transfers.c.amount_centavos),
        *where.has_payer(transfers.c.invoice_id),
    ]


def _in_shown_state(state: str | None) -> list[Condition]:
    if state is None:
        return []
    is_abandoned = transfers.c.abandoned_at.is_not(None)
    match state:
        case "abandoned":
            return [*in_state(TransferState.DEAD), is_abandoned]
        case TransferState.DEAD:
            return [*in_state(TransferState.DEAD), ~is_abandoned]
    return [*in_state(TransferState(state))]


def _count_transfers(connection: Connection, where: Filter) -> dict[str, int]:
    """Of all: beside a filter they would say something else than the list."""
    return {} if where.is_narrow else _counts_by_state(connection, SHOWN_STATES)


def _counts_by_state(connection: Connection, states: Sequence[str]) -> dict[str, int]:
    return {
        str(state): connection.execute(
            select(func.count()).select_from(transfers).where(*_in_shown_state(state))
        ).scalar_one()
        for state in states
    }


TRANSFERS = Listing(
    name="transfers",
    query=select(transfers),
    key=(transfers.c.id,),
    conditions=_transfers_where,
    line=TransferLine,
    lines=transfer_lines,
    choices=SHOWN_STATES,
    # The columns of the partial indexes that hold the transfers of these states. The others share one by id.
    sorted_by={
        "pending": transfers.c.due_at,
        "sending": transfers.c.lease_expires_at,
        "sent": transfers.c.sent_at,
        "settled": transfers.c.settled_at,
    },
    count_choices=_count_transfers,
    amount=transfers.c.amount_centavos,
)


# --- credits ---


def _credits_where(where: Filter, state: str | None) -> list[Condition]:
    """A filter's amount is gross or net."""
    return [
        *where.is_within(credits.c.recorded_at),
        *has_gross_or_net(where),
        *where.has_payer(credits.c.invoice_id),
        *_is_credit_in(state),
    ]


def _is_credit_in(state: str | None) -> list[Condition]:
    if state is None:
        return []
    if state in ("nothing_to_forward", "not_ours"):
        # with the condition of the index that holds the few that are not forwarded
        return [credits.c.disposition == state, credits.c.disposition != literal_column("'forward'")]
    if state == "reversed":
        return [credits.c.invoice_id.in_(select(reversals.c.invoice_id))]
    is_its = transfers.c.credit_number == credits.c.number
    if state == "settled":  # nearly every credit is: looked up for each, until the page is full
        return [exists().where(is_its, *_in_shown_state(state), is_live)]
    return [credits.c.number.in_(select(transfers.c.credit_number).where(*_in_shown_state(state)))]


def _count_credits(connection: Connection, where: Filter) -> dict[str, int]:
    """``all`` of them and by state; those reversed may be in another state too. Of all, as with transfers."""
    if where.is_narrow:
        return {}
    counts = _counts_by_state(connection, [state for state in CREDIT_STATES if state in SHOWN_STATES])
    for state in ("nothing_to_forward", "not_ours"):
        counts[state] = connection.execute(
            select(func.count()).select_from(credits).where(*_is_credit_in(state))
        ).scalar_one()
    number = select(func.count(credits.c.number))
    counts["all"] = connection.execute(number).scalar_one()
    counts["reversed"] = connection.execute(number.where(*_is_credit_in("reversed"))).scalar_one()
    return counts


CREDITS = Listing(
    name="credits",
    query=select(credits),
    key=(credits.c.recorded_at, credits.c.number),
    conditions=_credits_where,
    line=CreditLine,
    lines=credit_lines,
    choices=CREDIT_STATES,
    count_choices=_count_credits,
    amount=credits.c.gross_centavos,
    fee=credits.c.fee_centavos,
)


# --- events, batches, attentions, actions ---


EVENTS = Listing(
    name="events",
    # Without the bytes, which are most of a row.
    query=select(*(each for each in inbox_events.c if each.name not in ("body", "digital_signature"))),
    key=(inbox_events.c.received_at, inbox_events.c.event_id),
    conditions=lambda where, _: where.is_within(inbox_events.c.received_at),
    line=EventLine,
    lines=lambda _, rows: [EventLine.of(row) for row in rows],
    choices=tuple(Outcome),
    by=inbox_events.c.outcome,
)


def is_about(subjects: Sequence[str], event_id: str | None) -> ColumnElement[bool]:
    """The condition for events about these, and for the one that made a credit: the index by subject leaves it out."""
    is_one = and_(inbox_events.c.subject.in_(subjects), made_no_credit)
    return is_one if event_id is None else or_(is_one, inbox_events.c.event_id == event_id)


BATCHES = Listing(
    name="batches",
    query=select(invoice_batches),
    key=(invoice_batches.c.id,),
    conditions=lambda _where, _choice: [],
    line=BatchLine,
    lines=batch_lines,
)

# All, or what needs attention now.
ATTENTIONS = Listing(
    name="attentions",
    query=select(attentions),
    key=(attentions.c.id,),
    conditions=lambda _, choice: [] if choice is None else [attentions.c.resolved_at.is_(None)],
    line=AttentionLine,
    lines=attention_lines,
    choices=("open",),
)


# What operators did.
ACTIONS = Listing(
    name="actions",
    query=select(actions),
    key=(actions.c.id,),
    conditions=lambda where, _: [
        *where.is_within(actions.c.at),
        *([] if where.who is None else [actions.c.who == plain_text(where.who)]),
    ],
    line=Action,
    lines=lambda _, rows: [action_from(row) for row in rows],
    choices=ACTION_KINDS,
    by=actions.c.kind,
)


# --- below: cursors ---


def _encode(name: str, values: Sequence[Any]) -> str:
    plain = [value.isoformat() if isinstance(value, datetime) else value for value in values]
    return base64.urlsafe_b64encode(json.dumps([name, *plain]).encode()).decode().rstrip("=")


def _decode(name: str, key: Sequence[Column[Any]], cursor: str) -> list[datetime | int | str]:
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        found, *plain = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        if found != name or len(plain) != len(key):
            raise ValueError
        return [_value(column, each) for column, each in zip(key, plain, strict=True)]
    except (ValueError, TypeError, binascii.Error, RecursionError):
        raise ValueError(
            f"the cursor {cursor[:40]!r} is not one that this list gave: leave it out to begin at the newest"
        ) from None


def _value(column: Column[Any], plain: Any) -> datetime | int | str:
    """A cursor comes back from outside: a value of another type than the column's never reaches the database."""
    kind = column.type.python_type
    value = datetime.fromisoformat(plain) if kind is datetime else plain
    is_out_of_range = isinstance(value, int) and abs(value) >= 2**63
    is_unclean = isinstance(value, str) and not (value.isascii() and value.isprintable())
    is_naive = isinstance(value, datetime) and value.tzinfo is None
    if type(value) is not kind or is_out_of_range or is_unclean or is_naive:
        raise ValueError
    checked: datetime | int | str = value
    return checked
