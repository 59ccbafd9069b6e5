"""The statement: where every centavo is, as of one moment, or of the credits of a period. Reads only."""

from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, func, literal_column, select

from payments.language import Language
from payments.ledger.attention import count_open
from payments.ledger.balance import (
    Balance,
    in_state,
    read_balance,
    read_balance_of,
    read_unaccounted,
    recorded_within,
)
from payments.operator.recovery import read_claim_back
from payments.storage.database import Database
from payments.storage.schema import credits, invoice_batches, invoices, is_not_credited, transfers
from payments.transfer import TransferState

# How many credits that are not accounted for are named.
UNACCOUNTED_MAX = 20


@dataclass(frozen=True, slots=True)
class Statement(Balance):
    """All credits. Transfers are counted by state; a lineage may count under failed several times.

    ``abandoned`` counts those dead transfers that an operator gave up; they are in ``dead`` too.
    """

    abandoned: int
    abandoned_centavos: int
    batches_planned: int
    batches_issued: int
    batches_late: int
    batches_skipped: int
    invoices: int
    claim_back_centavos: int
    recovered_centavos: int
    attention: int

    @property
    def is_finished(self) -> bool:
        """True when nothing is left to send, to settle or to issue."""
        waiting = (TransferState.PENDING, TransferState.SENDING, TransferState.SENT)
        return self.batches_planned == self.batches_issued + self.batches_skipped and not any(
            self.transfers[state] for state in waiting
        )

    def to_json(self) -> dict[str, Any]:
        """The object that ``repasse job statement --json`` prints."""
        return {
            "batches": {
                "planned": self.batches_planned,
                "issued": self.batches_issued,
                "late": self.batches_late,
                "skipped": self.batches_skipped,
            },
            "invoices": self.invoices,
            **_to_json(self),
            "claim_back_centavos": self.claim_back_centavos,
            "recovered_centavos": self.recovered_centavos,
            "attention": self.attention,
            "balanced": self.balanced,
        }


@dataclass(frozen=True, slots=True)
class PeriodStatement(Balance):
    """The credits recorded from ``since`` on and before ``until`` (None: no bound), with their live transfers."""

    abandoned: int
    abandoned_centavos: int
    since: datetime | None
    until: datetime | None

    def to_json(self) -> dict[str, Any]:
        """The object that ``repasse job statement --from ... --json`` prints; names as in Statement."""
        return {
            "from": None if self.since is None else self.since.isoformat(),
            "to": None if self.until is None else self.until.isoformat(),
            **_to_json(self),
            "balanced": self.balanced,
        }


def read_statement(database: Database) -> Statement:
    """Read the statement on one snapshot. Raises LedgerUnavailable."""
    with database.reading() as connection:
        return statement_within(connection)


def statement_within(connection: Connection) -> Statement:
    """The statement as a transaction sees it, with what it has not committed yet."""
    batches = {
        row.state: row
        for row in connection.execute(
            select(
                invoice_batches.c.state,
                func.count().label("number"),
                func.count().filter(invoice_batches.c.late).label("late"),
            )
            .where(invoice_batches.c.state != "requested")  # not planned yet
            .group_by(invoice_batches.c.state)
        )
    }
    issued, skipped = (batches[state].number if state in batches else 0 for state in ("issued", "skipped"))
    abandoned, abandoned_centavos = _abandoned(connection)
    return Statement(
        **asdict(read_balance(connection)),
        abandoned=abandoned,
        abandoned_centavos=abandoned_centavos,
        batches_planned=sum(row.number for row in batches.values()),
        batches_issued=issued,
        batches_late=sum(row.late for state, row in batches.items() if state != "skipped"),
        batches_skipped=skipped,
        invoices=_issued(connection),
        claim_back_centavos=sum(read_claim_back(connection).values()),
        recovered_centavos=_recovered(connection),
        attention=count_open(connection),
    )


def recount_statement(database: Database) -> Statement:
    """Read the statement, and look at each credit by itself as well: balanced only if every one of them is."""
    with database.reading() as connection:
        statement = statement_within(connection)
        is_sound = statement.balanced and not read_unaccounted(connection, limit=1)
        return replace(statement, balanced=is_sound)


def list_unaccounted(database: Database) -> list[str]:
    """The invoices of at most 20 credits that are not accounted for. Looks at every credit."""
    with database.reading() as connection:
        return read_unaccounted(connection, UNACCOUNTED_MAX)


def read_period(database: Database, since: datetime | None, until: datetime | None) -> PeriodStatement:
    """Add up the credits of a period on one snapshot; takes as long as the period has credits."""
    with database.reading() as connection:
        balance = read_balance_of(connection, since, until)
        abandoned, abandoned_centavos = _abandoned(connection, since, until)
    return PeriodStatement(
        **asdict(balance),
        abandoned=abandoned,
        abandoned_centavos=abandoned_centavos,
        since=since,
        until=until,
    )


def oldest_unforwarded(connection: Connection) -> datetime | None:
    """When the oldest credit was recorded whose transfer the bank has not accepted; None when there is none."""
    moments = [
        connection.execute(
            select(func.min(credits.c.recorded_at))
            .join(transfers, transfers.c.credit_number == credits.c.number)
            .where(*in_state(state))
        ).scalar()
        for state in (TransferState.PENDING, TransferState.SENDING)
    ]
    return min((moment for moment in moments if moment is not None), default=None)


# --- line by line ---


class StatementLine(NamedTuple):
    """One line: ``name`` is for programs, ``text`` for people. Parts are where the net is, and make it up."""

    name: str
    text: str
    centavos: int
    is_part: bool = True


def statement_lines(statement: Statement | PeriodStatement, language: Language) -> list[StatementLine]:
    """What came in, less fees, and every part of it."""
    _, pgettext = language.gettext, language.pgettext
    blocked = statement.dead_centavos - statement.abandoned_centavos
    waiting = statement.unforwarded_centavos - statement.dead_centavos
    return [
        StatementLine("gross", _("credited, gross"), statement.gross_centavos, is_part=False),
        StatementLine("fee", _("the bank's fees"), -statement.fee_centavos, is_part=False),
        StatementLine("net", _("credited, net"), statement.net_centavos, is_part=False),
        StatementLine("settled", _("settled at the destination"), statement.settled_centavos),
        StatementLine("in_flight", _("in flight"), statement.in_flight_centavos),
        StatementLine("waiting", _("queued"), waiting),
        StatementLine("dead", _("blocked (needs action)"), blocked),
        StatementLine("abandoned", pgettext("money", "abandoned"), statement.abandoned_centavos),
        StatementLine("reversed", _("reversed before it was sent"), statement.reversed_centavos),
        StatementLine("not_forwarded", _("not to be forwarded"), statement.not_forwarded_centavos),
    ]


# --- below: its parts ---


def _to_json(statement: Statement | PeriodStatement) -> dict[str, Any]:
    """The part that every statement has; ``balanced`` is printed last."""
    return {
        "credits": {
            "count": statement.credits,
            "gross_centavos": statement.gross_centavos,
            "fee_centavos": statement.fee_centavos,
            "net_centavos": statement.net_centavos,
        },
        "transfers": statement.transfers,
        "settled_centavos": statement.settled_centavos,
        "in_flight_centavos": statement.in_flight_centavos,
        "unforwarded_centavos": statement.unforwarded_centavos,
        "dead_centavos": statement.dead_centavos,
        "reversed_centavos": statement.reversed_centavos,
        "not_forwarded_centavos": statement.not_forwarded_centavos,
        "abandoned": statement.abandoned,
        "abandoned_centavos": statement.abandoned_centavos,
    }


def _abandoned(
    connection: Connection, since: datetime | None = None, until: datetime | None = None
) -> tuple[int, int]:
    """The dead transfers that operators abandoned: how many, and their centavos."""
    row = connection.execute(
        select(func.count().label("number"), func.sum(transfers.c.amount_centavos).label("centavos"))
        .join(credits, credits.c.number == transfers.c.credit_number)
        .where(
            *in_state(TransferState.DEAD),
            transfers.c.abandoned_at.is_not(None),
            *recorded_within(since, until),
        )
    ).one()
    return row.number, int(row.centavos or 0)


def _issued(connection: Connection) -> int:
    """How many of our invoices the bank has: all of the index by batch, but for the few that are still planned."""
    ours = connection.execute(select(func.count(invoices.c.batch_id))).scalar_one()
    is_planned = invoices.c.state == literal_column("'planned'")
    planned = connection.execute(
        select(func.count()).select_from(invoices).where(is_planned, is_not_credited)
    ).scalar_one()
    return ours - planned


def _recovered(connection: Connection) -> int:
    # As the partial index says it: SQLite does not match an index's condition with a parameter.
    is_recovered = credits.c.recovered_centavos > literal_column("0")
    total = connection.execute(select(func.sum(credits.c.recovered_centavos)).where(is_recovered)).scalar()
    return int(total or 0)
