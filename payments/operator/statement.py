"""Where every centavo is, as of one moment. Reads only.

The statement balances when each credit's net is accounted for once: in a live transfer, withheld because it was
reversed before sending, or not to be forwarded at all.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, literal_column, select

from payments.ledger import totals
from payments.ledger.attention import count_open
from payments.storage.database import Database
from payments.storage.schema import credits, invoice_batches, planned_invoices, reversals, transfers
from payments.transfer import LIVE_STATES, TransferState


@dataclass(frozen=True, slots=True)
class CreditSums:
    """What came in and where it is: the part that every statement has. All amounts in centavos."""

    credits: int
    gross_centavos: int
    fee_centavos: int
    net_centavos: int
    transfers: dict[str, int]
    settled_centavos: int
    in_flight_centavos: int
    unforwarded_centavos: int
    dead_centavos: int
    reversed_centavos: int
    not_forwarded_centavos: int
    balanced: bool

    def credits_to_json(self) -> dict[str, Any]:
        """This part as ``scripts/run_job statement --json`` prints it; whether it is balanced comes last of all."""
        return {
            "credits": {
                "count": self.credits,
                "gross_centavos": self.gross_centavos,
                "fee_centavos": self.fee_centavos,
                "net_centavos": self.net_centavos,
            },
            "transfers": self.transfers,
            "settled_centavos": self.settled_centavos,
            "in_flight_centavos": self.in_flight_centavos,
            "unforwarded_centavos": self.unforwarded_centavos,
            "dead_centavos": self.dead_centavos,
            "reversed_centavos": self.reversed_centavos,
            "not_forwarded_centavos": self.not_forwarded_centavos,
        }


@dataclass(frozen=True, slots=True)
class Statement(CreditSums):
    """All amounts in centavos. Transfers are counted by state; a lineage may count under failed several times."""

    batches_planned: int
    batches_issued: int
    batches_late: int
    batches_skipped: int
    invoices: int
    claim_back_centavos: int
    attention: int

    @property
    def is_finished(self) -> bool:
        """True when nothing is left to send, to settle or to issue."""
        waiting = (TransferState.PENDING, TransferState.SENDING, TransferState.SENT)
        return self.batches_planned == self.batches_issued + self.batches_skipped and not any(
            self.transfers[state] for state in waiting
        )

    def to_json(self) -> dict[str, Any]:
        """The object that ``scripts/run_job statement --json`` prints."""
        return {
            "batches": {
                "planned": self.batches_planned,
                "issued": self.batches_issued,
                "late": self.batches_late,
                "skipped": self.batches_skipped,
            },
            "invoices": self.invoices,
            **self.credits_to_json(),
            "claim_back_centavos": self.claim_back_centavos,
            "attention": self.attention,
            "balanced": self.balanced,
        }


def read_statement(database: Database) -> Statement:
    """Read the statement from the running totals, on one snapshot; it takes as long for millions as for none."""
    with database.reading() as connection:
        return statement_within(connection)


def statement_within(connection: Connection) -> Statement:
    """The same as a transaction sees it, with what it has not committed yet."""
    return _read(connection, totals.read_totals(connection))


def recount_statement(database: Database) -> Statement:
    """Read the statement from every row; it balances only if each credit does and the running totals agree."""
    with database.reading() as connection:
        statement = _read(connection, totals.recount(connection))
        sound = not _unaccounted(connection) and not totals.disagreements(connection)
        return replace(statement, balanced=statement.balanced and sound)


def read_oldest_unforwarded(database: Database) -> datetime | None:
    """When the oldest credit was recorded whose transfer the bank has not accepted; None when there is none."""
    with database.reading() as connection:
        moments = connection.execute(
            select(*(_oldest_in(state) for state in (TransferState.PENDING, TransferState.SENDING)))
        ).one()
    return min((moment for moment in moments if moment is not None), default=None)


def _oldest_in(state: TransferState) -> Any:
    # one state a query, as text: so the partial index of that state serves
    return (
        select(func.min(credits.c.recorded_at))
        .join(transfers, transfers.c.credit_number == credits.c.number)
        .where(transfers.c.state == literal_column(f"'{state}'"))
        .scalar_subquery()
    )


def _read(connection: Connection, kept: dict[str, totals.Sum]) -> Statement:
    batches = {
        row.state: row
        for row in connection.execute(
            select(
                invoice_batches.c.state,
                func.count().label("number"),
                func.count().filter(invoice_batches.c.late).label("late"),
            ).group_by(invoice_batches.c.state)
        )
    }
    invoices = connection.execute(
        select(func.count()).where(planned_invoices.c.bank_invoice_id.is_not(None))
    ).scalar_one()
    sums = {state: kept.get(f"transfers.{state}", _NOTHING) for state in TransferState}
    net = kept.get("credits.net", _NOTHING)
    withheld = kept.get("credits.withheld", _NOTHING).centavos
    not_forwarded = kept.get("credits.not_forwarded", _NOTHING).centavos
    accounted = sum(sums[state].centavos for state in LIVE_STATES) + withheld + not_forwarded
    issued = batches.get("issued")
    skipped = batches.get("skipped")
    return Statement(
        batches_planned=sum(row.number for row in batches.values()),
        batches_issued=issued.number if issued else 0,
        batches_late=sum(row.late for state, row in batches.items() if state != "skipped"),
        batches_skipped=skipped.number if skipped else 0,
        invoices=invoices,
        credits=net.number,
        gross_centavos=kept.get("credits.gross", _NOTHING).centavos,
        fee_centavos=kept.get("credits.fee", _NOTHING).centavos,
        net_centavos=net.centavos,
        transfers={str(state): sums[state].number for state in TransferState},
        settled_centavos=sums[TransferState.SETTLED].centavos,
        in_flight_centavos=sums[TransferState.SENDING].centavos + sums[TransferState.SENT].centavos,
        unforwarded_centavos=sums[TransferState.PENDING].centavos + sums[TransferState.DEAD].centavos,
        dead_centavos=sums[TransferState.DEAD].centavos,
        reversed_centavos=withheld,
        not_forwarded_centavos=not_forwarded,
        claim_back_centavos=_claim_back(connection),
        attention=count_open(connection),
        balanced=accounted == net.centavos,
    )


def _claim_back(connection: Connection) -> int:
    """What was forwarded, or may have been, beyond what its reversed credit still owes."""
    remaining = (
        select(reversals.c.invoice_id, func.min(reversals.c.remaining_centavos).label("remaining"))
        .group_by(reversals.c.invoice_id)
        .subquery()
    )
    gone = (TransferState.SENDING, TransferState.SENT, TransferState.SETTLED)
    rows = connection.execute(
        select(transfers.c.amount_centavos, credits.c.fee_centavos, remaining.c.remaining)
        .join(credits, credits.c.number == transfers.c.credit_number)
        .join(remaining, remaining.c.invoice_id == credits.c.invoice_id)
        .where(transfers.c.state.in_(gone))
    )
    return sum(
        max(0, int(row.amount_centavos) - max(0, int(row.remaining) - int(row.fee_centavos))) for row in rows
    )


def _unaccounted(connection: Connection) -> int:
    """Credits whose live transfer and withheld part do not make up their net. Always 0, or there is a bug."""
    live = (
        select(transfers.c.credit_number, transfers.c.amount_centavos)
        .where(transfers.c.state.in_(sorted(LIVE_STATES)))
        .subquery()
    )
    return connection.execute(
        select(func.count())
        .select_from(credits.outerjoin(live, live.c.credit_number == credits.c.number))
        .where(
            credits.c.disposition == "forward",
            func.coalesce(live.c.amount_centavos, 0) + credits.c.withheld_centavos != credits.c.net_centavos,
        )
    ).scalar_one()


_NOTHING = totals.Sum(0, 0)
