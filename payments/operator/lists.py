"""The operator's lists, newest first. Reads only.

Each list walks one index backwards from a cursor, so a page costs the same however much the database holds; with a
filter that no index serves (see filters.py) it looks at every row, which a hundred thousand credits bear. What a filter
leaves is added up beside it. Tax ids are masked here, so that no page or command can show one.
"""

import base64
import binascii
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any, Generic, Self, TypeVar

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Select,
    TextClause,
    case,
    exists,
    func,
    literal_column,
    select,
    tuple_,
)

from payments.ledger.attention import AttentionKind
from payments.ledger.balance import in_state
from payments.note import Note, read_note
from payments.operator.actions import Action, action_from, plain_text
from payments.operator.filters import NO_FILTER, Filter, Totals, has_gross_or_net
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

    ``destination`` is the account that it was made with, whatever the settings are today. In lists,
    ``claim_back_centavos`` were forwarded by it although its credit was reversed, and have not come back.
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
    claim_back_centavos: int = 0

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


def list_transfers(
    database: Database,
    after: str | None,
    where: Filter = NO_FILTER,
    state: str | None = None,
    limit: int = 50,
) -> Page[TransferLine]:
    """Transfers of a state (None: all), newest first by the time that matters in it: due, lease, sent or settled.

    ``abandoned`` are the dead ones that operators gave up; ``dead`` are the others. A filter's days are those on which
    they settled, of settled ones, and else those on which they were made.

    Raises ValueError for an unknown state or a cursor of another list.
    """
    stored = _stored_state(state)
    sorted_by = _TIME_OF_STATE.get(stored) if stored else None
    key = (transfers.c.id,) if sorted_by is None else (transfers.c[sorted_by], transfers.c.id)
    name = f"transfers {state}" if state else "transfers"
    walk = Walk(name, key, select(transfers), _transfers_where(state, where))
    return walk.read(database, after, limit, _marked_transfer_lines)


def total_transfers(database: Database, where: Filter = NO_FILTER, state: str | None = None) -> Totals:
    """How many transfers a state and a filter leave, and their centavos. Raises ValueError for an unknown state."""
    amount = transfers.c.amount_centavos
    with database.reading() as connection:
        return read_totals(connection, amount, None, _transfers_where(state, where))


def count_transfers(database: Database) -> dict[str, int]:
    """How many transfers there are of each of SHOWN_STATES."""
    with database.reading() as connection:
        return _counts_by_state(connection, SHOWN_STATES)


def list_credits(
    database: Database,
    after: str | None,
    where: Filter = NO_FILTER,
    state: str | None = None,
    limit: int = 50,
) -> Page[CreditLine]:
    """Credits, newest first; a filter's amount is gross or net, and its days those on which they were recorded.

    ``state`` is one of CREDIT_STATES; None: all. Raises ValueError for another, and for a bad cursor.
    """
    key = (credits.c.recorded_at, credits.c.number)
    walk = Walk("credits", key, select(credits), credits_where(state, where))
    return walk.read(database, after, limit, credit_lines)


def total_credits(database: Database, where: Filter = NO_FILTER, state: str | None = None) -> Totals:
    """How many credits a state and a filter leave, and their centavos. Raises ValueError for an unknown state."""
    with database.reading() as connection:
        gross, fee = credits.c.gross_centavos, credits.c.fee_centavos
        return read_totals(connection, gross, fee, credits_where(state, where))


def count_credits(database: Database) -> dict[str, int]:
    """How many credits there are, ``all`` and of each of CREDIT_STATES; those reversed may be in another state too."""
    number = func.count()
    with database.reading() as connection:
        counts = _counts_by_state(connection, [state for state in CREDIT_STATES if state in SHOWN_STATES])
        for state in ("nothing_to_forward", "not_ours"):
            counts[state] = connection.execute(
                select(number).select_from(credits).where(*_is_credit_in(state))
            ).scalar_one()
        counts["all"] = connection.execute(select(func.count(credits.c.number))).scalar_one()
        counts["reversed"] = connection.execute(
            select(func.count(credits.c.number)).where(*_is_credit_in("reversed"))
        ).scalar_one()
        return counts


def list_events(
    database: Database,
    after: str | None,
    where: Filter = NO_FILTER,
    outcome: str | None = None,
    limit: int = 50,
) -> Page[EventLine]:
    """The inbox, newest first; ``outcome`` as inbox.Outcome has them, days by when an event was received.

    Raises ValueError for a bad cursor.
    """
    outcome = None if outcome is None else plain_text(outcome)
    # Without the bytes, which are most of a row.
    columns = [column for column in inbox_events.c if column.name not in ("body", "digital_signature")]
    walk = Walk(
        f"events {outcome}" if outcome else "events",
        (inbox_events.c.received_at, inbox_events.c.event_id),
        select(*columns),
        [
            *where.is_within(inbox_events.c.received_at),
            *([] if outcome is None else [inbox_events.c.outcome == outcome]),
        ],
    )
    return walk.read(database, after, limit, lambda _, rows: [EventLine.of(row) for row in rows])


def count_events(database: Database, where: Filter = NO_FILTER) -> dict[str, int]:
    """How many events came, by outcome."""
    with database.reading() as connection:
        return count_events_within(connection, where)


def count_events_within(connection: Connection, where: Filter) -> dict[str, int]:
    """The same, as a transaction sees it."""
    rows = connection.execute(
        select(inbox_events.c.outcome, func.count().label("number"))
        .where(*where.is_within(inbox_events.c.received_at))
        .group_by(inbox_events.c.outcome)
        .order_by(inbox_events.c.outcome)
    )
    return {row.outcome: row.number for row in rows}


def list_batches(database: Database, after: str | None, limit: int = 50) -> Page[BatchLine]:
    """Batches, newest first. Raises ValueError for a bad cursor."""
    walk = Walk("batches", (invoice_batches.c.id,), select(invoice_batches), [])
    return walk.read(database, after, limit, batch_lines)


def list_attentions(
    database: Database, after: str | None, limit: int = 50, *, open_only: bool
) -> Page[AttentionLine]:
    """What needs attention (``open_only``), or ever did, newest first. Raises ValueError for a bad cursor."""
    conditions = [attentions.c.resolved_at.is_(None)] if open_only else []
    name = "open attentions" if open_only else "attentions"
    walk = Walk(name, (attentions.c.id,), select(attentions), conditions)
    return walk.read(database, after, limit, attention_lines)


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


def list_most_urgent(database: Database, limit: int) -> list[AttentionLine]:
    """The same, on a snapshot of its own."""
    with database.reading() as connection:
        return most_urgent(connection, limit)


def count_attentions(database: Database, limit: int) -> int:
    """How many need attention, counted no further than ``limit``."""
    open_ones = select(attentions.c.id).where(attentions.c.resolved_at.is_(None)).limit(limit)
    with database.reading() as connection:
        return connection.execute(select(func.count()).select_from(open_ones.subquery())).scalar_one()


def list_actions(
    database: Database,
    after: str | None,
    where: Filter = NO_FILTER,
    kind: str | None = None,
    limit: int = 50,
) -> Page[Action]:
    """What operators did, newest first. Raises ValueError for a bad cursor."""
    is_kind = [] if kind is None else [actions.c.kind == plain_text(kind)]
    walk = Walk("actions", (actions.c.id,), select(actions), [*_actions_where(where), *is_kind])
    return walk.read(database, after, limit, lambda _, rows: [action_from(row) for row in rows])


def count_actions(database: Database, where: Filter = NO_FILTER) -> dict[str, int]:
    """How many actions there are, by kind."""
    with database.reading() as connection:
        rows = connection.execute(
            select(actions.c.kind, func.count().label("number"))
            .where(*_actions_where(where))
            .group_by(actions.c.kind)
            .order_by(actions.c.kind)
        )
        return {row.kind: row.number for row in rows}


# --- lines, for the timeline, search and audit too ---


def transfer_lines(connection: Connection, rows: Sequence[Any]) -> list[TransferLine]:
    """Lines from rows of transfers, each with its destination."""
    ids = {row.destination_id for row in rows}
    accounts = {
        row.id: DestinationLine.of(row, tax_id=mask_tax_id(row.tax_id))
        for row in connection.execute(select(destinations).where(destinations.c.id.in_(ids)))
    }
    return [
        TransferLine.of(
            row,
            due_at=row.due_at if row.state == TransferState.PENDING else None,
            destination=accounts[row.destination_id],
            claim_back_centavos=0,
        )
        for row in rows
    ]


def credit_lines(connection: Connection, rows: Sequence[Any]) -> list[CreditLine]:
    """Lines from rows of credits, each with its transfer."""
    current = current_transfers(connection, [row.number for row in rows])
    claim_back = read_claim_back(connection, [row.invoice_id for row in rows])
    return [
        CreditLine.of(
            row,
            claim_back_centavos=claim_back.get(row.invoice_id, 0),
            transfer_state=current[row.number].shown_state if row.number in current else None,
            external_id=current[row.number].external_id if row.number in current else None,
        )
        for row in rows
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


# --- below: what a list is narrowed to ---


def _stored_state(state: str | None) -> TransferState | None:
    if state is not None and state not in SHOWN_STATES:
        raise ValueError(f"{state!r} is no state of a transfer: put one of {', '.join(SHOWN_STATES)}")
    return TransferState.DEAD if state == "abandoned" else TransferState(state) if state else None


def _transfers_where(state: str | None, where: Filter) -> list[Condition]:
    stored = _stored_state(state)
    at = transfers.c.settled_at if stored == TransferState.SETTLED else transfers.c.created_at
    return [
        *_in_shown_state(state),
        *where.is_within(at),
        *where.has_amount(transfers.c.amount_centavos),
        *where.has_payer(transfers.c.invoice_id),
    ]


def _in_shown_state(state: str | None) -> list[Condition]:
    stored = _stored_state(state)
    if stored is None:
        return []
    conditions: list[Condition] = [*in_state(stored)]
    if stored == TransferState.DEAD:
        is_abandoned = transfers.c.abandoned_at.is_not(None)
        conditions.append(is_abandoned if state == "abandoned" else ~is_abandoned)
    return conditions


def _counts_by_state(connection: Connection, states: Sequence[str]) -> dict[str, int]:
    return {
        str(state): connection.execute(
            select(func.count()).select_from(transfers).where(*_in_shown_state(state))
        ).scalar_one()
        for state in states
    }


def credits_where(state: str | None, where: Filter) -> list[Condition]:
    """The conditions for the credits of a list. Raises ValueError for an unknown state."""
    return [
        *where.is_within(credits.c.recorded_at),
        *has_gross_or_net(where),
        *where.has_payer(credits.c.invoice_id),
        *_is_credit_in(state),
    ]


def _is_credit_in(state: str | None) -> list[Condition]:
    if state is None:
        return []
    if state not in CREDIT_STATES:
        raise ValueError(f"{state!r} is no state of a credit: put one of {', '.join(CREDIT_STATES)}")
    if state in ("nothing_to_forward", "not_ours"):
        # with the condition of the index that holds the few that are not forwarded
        return [credits.c.disposition == state, credits.c.disposition != literal_column("'forward'")]
    if state == "reversed":
        return [credits.c.invoice_id.in_(select(reversals.c.invoice_id))]
    is_its = transfers.c.credit_number == credits.c.number
    if state == "settled":  # nearly every credit is: looked up for each, until the page is full
        return [exists().where(is_its, *_in_shown_state(state), is_live)]
    return [credits.c.number.in_(select(transfers.c.credit_number).where(*_in_shown_state(state)))]


def _actions_where(where: Filter) -> list[Condition]:
    return [
        *where.is_within(actions.c.at),
        *([] if where.who is None else [actions.c.who == plain_text(where.who)]),
    ]


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


def _marked_transfer_lines(connection: Connection, rows: Sequence[Any]) -> list[TransferLine]:
    """Lines of a list, in which money that is to be claimed back is marked."""
    lines = transfer_lines(connection, rows)
    claim_back = read_claim_back(connection, [line.invoice_id for line in lines])
    return [
        replace(line, claim_back_centavos=claim_back.get(line.invoice_id, 0)) if line.state in GONE else line
        for line in lines
    ]


# --- below: walking an index ---

# By what each state is sorted: the column of the partial index that holds its transfers. The others share one by id.
_TIME_OF_STATE = {
    TransferState.PENDING: "due_at",
    TransferState.SENDING: "lease_expires_at",
    TransferState.SENT: "sent_at",
    TransferState.SETTLED: "settled_at",
}


@dataclass(frozen=True, slots=True)
class Walk:
    """A list: backwards along an index over ``key``: a column, and perhaps a second one that tells equal ones apart."""

    name: str
    key: tuple[Column[Any], ...]
    query: Select[Any]
    conditions: Sequence[Condition]

    def read(
        self,
        database: Database,
        after: str | None,
        limit: int,
        lines: Callable[[Connection, Sequence[Any]], list[Item]],
    ) -> Page[Item]:
        """One page of lines, on one snapshot."""
        with database.reading() as connection:
            rows, following = self._rows(connection, after, limit)
            return Page(lines(connection, rows), following)

    def _rows(self, connection: Connection, after: str | None, limit: int) -> tuple[list[Any], str | None]:
        """Up to ``limit`` rows after the cursor, and the cursor after them."""
        limit = max(1, min(limit, LIMIT_MAX))
        newest_first = [column.desc() for column in self.key]
        conditions = list(self.conditions)
        if after is not None:
            keys, types = tuple_(*self.key), [column.type for column in self.key]
            conditions.append(keys < tuple_(*self._decode(after), types=types))
        query = self.query.where(*conditions)
        rows = list(connection.execute(query.order_by(*newest_first).limit(limit + 1)))
        if len(rows) > limit:
            rows = rows[:limit]
            return rows, self._encode([getattr(rows[-1], column.name) for column in self.key])
        return rows, None

    def _encode(self, values: Sequence[Any]) -> str:
        plain = [value.isoformat() if isinstance(value, datetime) else value for value in values]
        return base64.urlsafe_b64encode(json.dumps([self.name, *plain]).encode()).decode().rstrip("=")

    def _decode(self, cursor: str) -> list[datetime | int | str]:
        try:
            padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
            name, *plain = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
            if name != self.name or len(plain) != len(self.key):
                raise ValueError
            return [_value(column, each) for column, each in zip(self.key, plain, strict=True)]
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
