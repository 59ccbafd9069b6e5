"""The operator's lists, newest first. Reads only.

A page costs the same whatever the books hold: each list walks one index backwards from a cursor, and one with a
filter that no index serves looks at a bounded number of rows.
"""

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Select,
    TextClause,
    and_,
    func,
    literal_column,
    or_,
    select,
    text,
)

from payments.operator.actions import Act, act_from, plain_text
from payments.operator.list_rows import (
    AttentionLine,
    BatchLine,
    CreditLine,
    EventLine,
    Page,
    TransferLine,
    attention_lines,
    credit_line,
    event_line,
    masked,
    transfer_line,
    transfers_of,
)
from payments.storage.database import Database
from payments.storage.schema import (
    actions,
    attentions,
    credits,
    inbox_events,
    invoice_batches,
    is_ended,
    planned_invoices,
    transfers,
)
from payments.transfer import TransferState

# How many rows one page of a filtered list looks at: some milliseconds' worth.
ROWS_LOOKED_AT = 2000

# More than a person reads at once, and than a page may weigh.
LIMIT_MAX = 500

Item = TypeVar("Item")
_Value = datetime | int | str
_Condition = ColumnElement[bool] | TextClause


def list_transfers(
    database: Database, state: str | None, after: str | None, limit: int = 50
) -> Page[TransferLine]:
    """Transfers of a state (None: all), newest first by the moment that counts there: due, lease, sent or settled.

    Raises ValueError for an unknown state or a cursor of another list.
    """
    if state is not None and state not in tuple(TransferState):
        raise ValueError(f"{state!r} is no state of a transfer: put one of {', '.join(TransferState)}")
    name = f"transfers {state}" if state else "transfers"
    conditions: list[_Condition] = []
    key: tuple[Column[Any], ...] = (transfers.c.id,)
    if state is not None:
        # As literals, or SQLite does not see that a partial index serves.
        conditions = [transfers.c.state == literal_column(f"'{TransferState(state)}'")]
        if state in _MOMENT_OF_STATE:
            key = (transfers.c[_MOMENT_OF_STATE[TransferState(state)]], transfers.c.id)
        else:
            conditions.append(is_ended)
    walk = _Walk(name, key, select(transfers), conditions)
    with database.reading() as connection:
        rows, following = walk.page(connection, after, limit)
        return Page([transfer_line(row) for row in rows], following)


def list_credits(
    database: Database,
    after: str | None,
    amount_centavos: int | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int = 50,
) -> Page[CreditLine]:
    """Credits, newest first; ``amount_centavos`` matches gross or net.

    Bounds are of ``recorded_at``: from ``since`` on, and before ``until``. Raises ValueError for a bad cursor.
    """
    conditions: list[_Condition] = []
    if since is not None:
        conditions.append(credits.c.recorded_at >= since)
    if until is not None:
        conditions.append(credits.c.recorded_at < until)
    unserved = None
    if amount_centavos is not None:
        if not 0 <= amount_centavos < 2**63:  # what a column holds
            return Page([], None)
        unserved = or_(credits.c.gross_centavos == amount_centavos, credits.c.net_centavos == amount_centavos)
    walk = _Walk(
        "credits", (credits.c.recorded_at, credits.c.invoice_id), select(credits), conditions, unserved
    )
    with database.reading() as connection:
        rows, following = walk.page(connection, after, limit)
        standing = transfers_of(connection, [row.invoice_id for row in rows])
        return Page([credit_line(row, standing.get(row.invoice_id)) for row in rows], following)


def list_events(
    database: Database, outcome: str | None, after: str | None, limit: int = 50
) -> Page[EventLine]:
    """The inbox, newest first; ``outcome`` as inbox.Outcome has them. Raises ValueError for a bad cursor."""
    if outcome is not None:
        outcome = plain_text(outcome)
    # Without the bytes, which are most of a row.
    columns = [column for column in inbox_events.c if column.name not in ("body", "digital_signature")]
    walk = _Walk(
        f"events {outcome}" if outcome else "events",
        (inbox_events.c.received_at, inbox_events.c.event_id),
        select(*columns),
        [],
        None if outcome is None else inbox_events.c.outcome == outcome,
    )
    with database.reading() as connection:
        rows, following = walk.page(connection, after, limit)
        return Page([event_line(row) for row in rows], following)


def list_batches(database: Database, after: str | None, limit: int = 50) -> Page[BatchLine]:
    """Batches, newest first. Raises ValueError for a bad cursor."""
    walk = _Walk("batches", (invoice_batches.c.id,), select(invoice_batches), [])
    with database.reading() as connection:
        rows, following = walk.page(connection, after, limit)
        return Page(batch_lines(connection, rows), following)


def list_attentions(
    database: Database, open_only: bool, after: str | None, limit: int = 50
) -> Page[AttentionLine]:
    """Matters, newest first. Raises ValueError for a bad cursor."""
    conditions: list[_Condition] = [text("resolved_at IS NULL")] if open_only else []
    name = "open attentions" if open_only else "attentions"
    walk = _Walk(name, (attentions.c.id,), select(attentions), conditions)
    with database.reading() as connection:
        rows, following = walk.page(connection, after, limit)
        return Page(attention_lines(connection, rows), following)


def list_acts(database: Database, after: str | None, limit: int = 50) -> Page[Act]:
    """What operators did, newest first. Raises ValueError for a bad cursor."""
    walk = _Walk("acts", (actions.c.id,), select(actions), [])
    with database.reading() as connection:
        rows, following = walk.page(connection, after, limit)
        return Page([act_from(row) for row in rows], following)


def batch_lines(connection: Connection, rows: Sequence[Any]) -> list[BatchLine]:
    """Lines from rows of batches, each with what became of its invoices."""
    counts = {
        row.batch_id: row
        for row in connection.execute(
            select(
                planned_invoices.c.batch_id,
                func.count().label("planned"),
                func.count(planned_invoices.c.bank_invoice_id).label("issued"),
                func.count(credits.c.invoice_id).label("credited"),
            )
            .outerjoin(credits, credits.c.invoice_id == planned_invoices.c.bank_invoice_id)
            .where(planned_invoices.c.batch_id.in_([row.id for row in rows]))
            .group_by(planned_invoices.c.batch_id)
        )
    }
    return [
        BatchLine(
            id=row.id,
            slot=row.slot,
            tag=row.tag,
            state=row.state,
            late=row.late,
            due_at=row.due_at,
            issued_at=row.issued_at,
            attempt=row.attempt,
            reason=masked(row.reason),
            planned_invoices=counts[row.id].planned if row.id in counts else 0,
            issued_invoices=counts[row.id].issued if row.id in counts else 0,
            credited_invoices=counts[row.id].credited if row.id in counts else 0,
        )
        for row in rows
    ]


# --- below: walking an index ---

# By what each state is listed: the column of the partial index that holds its transfers. The others share one by id.
_MOMENT_OF_STATE = {
    TransferState.PENDING: "due_at",
    TransferState.SENDING: "lease_expires_at",
    TransferState.SENT: "sent_at",
    TransferState.SETTLED: "settled_at",
}


@dataclass(frozen=True, slots=True)
class _Walk:
    """Backwards along an index over ``key``: a column, and perhaps a second one that tells equal ones apart.

    ``conditions`` are served by that index; ``unserved`` is not, so it bounds the rows that are looked at.
    """

    name: str
    key: tuple[Column[Any], ...]
    query: Select[Any]
    conditions: Sequence[_Condition]
    unserved: ColumnElement[bool] | None = None

    def page(self, connection: Connection, after: str | None, limit: int) -> tuple[list[Any], str | None]:
        """Up to ``limit`` rows after the cursor, and the cursor after them."""
        limit = max(1, min(limit, LIMIT_MAX))
        conditions = list(self.conditions)
        if after is not None:
            conditions.append(_before(self.key, self._decode(after)))
        end = None
        query = self.query.where(*conditions)
        if self.unserved is not None:
            end = self._last_looked_at(connection, conditions)
            query = query.where(self.unserved, *([_not_before(self.key, end)] if end else []))
        rows = list(connection.execute(query.order_by(*self._newest_first).limit(limit + 1)))
        if len(rows) > limit:
            rows = rows[:limit]
            return rows, self._encode([getattr(rows[-1], column.name) for column in self.key])
        return rows, self._encode(end) if end else None

    @property
    def _newest_first(self) -> list[Any]:
        return [column.desc() for column in self.key]

    def _last_looked_at(
        self, connection: Connection, conditions: Sequence[_Condition]
    ) -> Sequence[Any] | None:
        """The key of the last row that a page may look at; None when the index ends before."""
        return connection.execute(
            select(*self.key)
            .where(*conditions)
            .order_by(*self._newest_first)
            .limit(1)
            .offset(ROWS_LOOKED_AT - 1)
        ).first()

    def _encode(self, values: Sequence[Any]) -> str:
        plain = [value.isoformat() if isinstance(value, datetime) else value for value in values]
        return base64.urlsafe_b64encode(json.dumps([self.name, *plain]).encode()).decode().rstrip("=")

    def _decode(self, cursor: str) -> list[_Value]:
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


def _value(column: Column[Any], plain: Any) -> _Value:
    """A cursor comes back from outside: what is not of the column's kind never reaches the database."""
    kind = column.type.python_type
    value = datetime.fromisoformat(plain) if kind is datetime else plain
    if type(value) is not kind or (isinstance(value, datetime) and value.tzinfo is None):
        raise ValueError
    if isinstance(value, int) and abs(value) >= 2**63:
        raise ValueError
    if isinstance(value, str) and not (value.isascii() and value.isprintable()):
        raise ValueError
    return value


def _before(key: Sequence[Column[Any]], values: Sequence[_Value]) -> ColumnElement[bool]:
    if len(key) == 1:
        return key[0] < values[0]
    return and_(key[0] <= values[0], or_(key[0] < values[0], key[1] < values[1]))


def _not_before(key: Sequence[Column[Any]], values: Sequence[_Value]) -> ColumnElement[bool]:
    if len(key) == 1:
        return key[0] >= values[0]
    return and_(key[0] >= values[0], or_(key[0] > values[0], key[1] >= values[1]))
