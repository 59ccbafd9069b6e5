"""The credits of a period, and what became of them: the statement of a day or a month, and the auditor's file.

Reads only. The audit is read in pages, each on a snapshot of its own: a reader that is slow, or waits, must not keep
the database from tidying up. A line is true as of the moment it was read; a month that is over does not change.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, case, func, or_, select

from payments.operator.list_rows import CreditLine, credit_line, masked, transfers_of
from payments.operator.statement import CreditSums
from payments.storage.database import Database
from payments.storage.schema import credits, is_live, planned_invoices, transfers
from payments.tax_id import mask_tax_id
from payments.transfer import LIVE_STATES, TransferState

# How many credits are read at once: some milliseconds' worth, some hundred kilobytes.
CREDITS_PER_PAGE = 1000

# Which of the statement's sums each live state belongs to.
_IN_FLIGHT = (TransferState.SENDING, TransferState.SENT)
_UNFORWARDED = (TransferState.PENDING, TransferState.DEAD)


@dataclass(frozen=True, slots=True)
class PeriodStatement(CreditSums):
    """Of the credits recorded from ``since`` on and before ``until`` (None: no bound). Amounts in centavos.

    ``transfers`` counts the live transfer of each credit by state.
    """

    since: datetime | None
    until: datetime | None

    def to_json(self) -> dict[str, Any]:
        """The object that ``scripts/run_job statement --from ... --json`` prints; names as in Statement."""
        return {
            "from": None if self.since is None else self.since.isoformat(),
            "to": None if self.until is None else self.until.isoformat(),
            **self.credits_to_json(),
            "balanced": self.balanced,
        }


@dataclass(frozen=True, slots=True)
class AuditLine:
    """One credit, the transfer that stands for it (the live one, or else the newest), and when each thing happened.

    Amounts in centavos; what does not exist is None. ``transfers`` counts all transfers of the credit. The payer is
    known of invoices that we issued.
    """

    invoice_id: str
    invoice_tag: str | None
    payer_name: str | None
    payer_tax_id: str | None
    log_id: str
    event_id: str
    credited_at: datetime
    recorded_at: datetime
    gross_centavos: int
    fee_centavos: int
    net_centavos: int
    withheld_centavos: int
    disposition: str
    transfers: int
    external_id: str | None
    bank_transfer_id: str | None
    transfer_state: str | None
    transfer_centavos: int | None
    transfer_created_at: datetime | None
    transfer_sent_at: datetime | None
    transfer_settled_at: datetime | None
    transfer_reason: str | None


def read_period(database: Database, since: datetime | None, until: datetime | None) -> PeriodStatement:
    """Add up the credits of a period on one snapshot; takes as long as the period has credits."""
    with database.reading() as connection:
        return _add_up(connection, since, until)


def read_audit(
    database: Database, since: datetime | None = None, until: datetime | None = None
) -> Iterator[AuditLine]:
    """Every credit recorded from ``since`` on and before ``until``, oldest first, in constant memory."""
    after: tuple[datetime, str] | None = None
    while True:
        with database.reading() as connection:
            lines = _read_page(connection, since, until, after)
        yield from lines
        if len(lines) < CREDITS_PER_PAGE:
            return
        after = (lines[-1].recorded_at, lines[-1].invoice_id)


def read_unaccounted(database: Database, limit: int = 20) -> list[CreditLine]:
    """Credits whose live transfer and withheld part do not make up their net, oldest first: none, or there is a bug.

    Looks at every credit.
    """
    with database.reading() as connection:
        rows = connection.execute(
            select(credits)
            .outerjoin(transfers, and_(transfers.c.credit_number == credits.c.number, is_live))
            .where(
                credits.c.disposition == "forward",
                func.coalesce(transfers.c.amount_centavos, 0) + credits.c.withheld_centavos
                != credits.c.net_centavos,
            )
            .order_by(credits.c.recorded_at)
            .limit(limit)
        ).all()
        standing = transfers_of(connection, [row.invoice_id for row in rows])
        return [credit_line(row, standing.get(row.invoice_id)) for row in rows]


# --- below: its parts ---


def _within(since: datetime | None, until: datetime | None) -> list[Any]:
    return [
        *([] if since is None else [credits.c.recorded_at >= since]),
        *([] if until is None else [credits.c.recorded_at < until]),
    ]


def _add_up(connection: Connection, since: datetime | None, until: datetime | None) -> PeriodStatement:
    totals = connection.execute(
        select(
            func.count().label("number"),
            *(
                func.coalesce(func.sum(column), 0).label(name)
                for name, column in (
                    ("gross", credits.c.gross_centavos),
                    ("fee", credits.c.fee_centavos),
                    ("net", credits.c.net_centavos),
                    ("withheld", credits.c.withheld_centavos),
                    (
                        "not_forwarded",
                        case((credits.c.disposition != "forward", credits.c.net_centavos), else_=0),
                    ),
                )
            ),
        ).where(*_within(since, until))
    ).one()
    by_state = {
        row.state: (int(row.number), int(row.centavos))
        for row in connection.execute(
            select(
                transfers.c.state,
                func.count().label("number"),
                func.sum(transfers.c.amount_centavos).label("centavos"),
            )
            .select_from(credits)
            .join(transfers, and_(transfers.c.credit_number == credits.c.number, is_live))
            .where(*_within(since, until))
            .group_by(transfers.c.state)
        )
    }

    def centavos_in(*states: TransferState) -> int:
        return sum(by_state.get(state, (0, 0))[1] for state in states)

    withheld, not_forwarded = int(totals.withheld), int(totals.not_forwarded)
    return PeriodStatement(
        since=since,
        until=until,
        credits=int(totals.number),
        gross_centavos=int(totals.gross),
        fee_centavos=int(totals.fee),
        net_centavos=int(totals.net),
        transfers={
            str(state): by_state.get(state, (0, 0))[0] for state in TransferState if state in LIVE_STATES
        },
        settled_centavos=centavos_in(TransferState.SETTLED),
        in_flight_centavos=centavos_in(*_IN_FLIGHT),
        unforwarded_centavos=centavos_in(*_UNFORWARDED),
        dead_centavos=centavos_in(TransferState.DEAD),
        reversed_centavos=withheld,
        not_forwarded_centavos=not_forwarded,
        balanced=centavos_in(*LIVE_STATES) + withheld + not_forwarded == int(totals.net),
    )


def _read_page(
    connection: Connection,
    since: datetime | None,
    until: datetime | None,
    after: tuple[datetime, str] | None,
) -> list[AuditLine]:
    conditions = _within(since, until)
    if after is not None:
        at, invoice_id = after
        conditions += [
            credits.c.recorded_at >= at,
            or_(credits.c.recorded_at > at, credits.c.invoice_id > invoice_id),
        ]
    rows = connection.execute(
        select(
            credits,
            planned_invoices.c.tag,
            planned_invoices.c.payer_name,
            planned_invoices.c.payer_tax_id,
        )
        .outerjoin(planned_invoices, planned_invoices.c.bank_invoice_id == credits.c.invoice_id)
        .where(*conditions)
        .order_by(credits.c.recorded_at, credits.c.invoice_id)
        .limit(CREDITS_PER_PAGE)
    ).all()
    invoice_ids = [row.invoice_id for row in rows]
    standing = transfers_of(connection, invoice_ids)
    counts = _count_transfers(connection, [row.number for row in rows])
    return [_audit_line(row, standing.get(row.invoice_id), counts.get(row.number, 0)) for row in rows]


def _count_transfers(connection: Connection, credit_numbers: list[int]) -> dict[int, int]:
    rows = connection.execute(
        select(transfers.c.credit_number, func.count().label("transfers"))
        .where(transfers.c.credit_number.in_(credit_numbers))
        .group_by(transfers.c.credit_number)
    )
    return {row.credit_number: row.transfers for row in rows}


def _audit_line(row: Any, transfer: Any, number: int) -> AuditLine:
    return AuditLine(
        invoice_id=row.invoice_id,
        invoice_tag=row.tag,
        payer_name=row.payer_name,
        payer_tax_id=None if row.payer_tax_id is None else mask_tax_id(row.payer_tax_id),
        log_id=row.log_id,
        event_id=row.event_id,
        credited_at=row.credited_at,
        recorded_at=row.recorded_at,
        gross_centavos=row.gross_centavos,
        fee_centavos=row.fee_centavos,
        net_centavos=row.net_centavos,
        withheld_centavos=row.withheld_centavos,
        disposition=row.disposition,
        transfers=number,
        external_id=transfer and transfer.external_id,
        bank_transfer_id=transfer and transfer.bank_transfer_id,
        transfer_state=transfer and transfer.state,
        transfer_centavos=transfer and transfer.amount_centavos,
        transfer_created_at=transfer and transfer.created_at,
        transfer_sent_at=transfer and transfer.sent_at,
        transfer_settled_at=transfer and transfer.settled_at,
        transfer_reason=masked(transfer.reason) if transfer else None,
    )
