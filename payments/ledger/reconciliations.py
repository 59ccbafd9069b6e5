"""When we last asked the bank what we missed, and what came of it. One public function, one transaction."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, insert, select

from payments.storage.database import Database
from payments.storage.schema import reconciliations


@dataclass(frozen=True, slots=True)
class Reconciliations:
    """How many runs were complete or not, and how many facts they found that were new to us."""

    complete: int
    incomplete: int
    found: int


def record_reconciliation(
    database: Database, started_at: datetime, ended_at: datetime, found: int, failure: str | None
) -> None:
    """Record one run: ``found`` facts were new to us; ``failure`` is None when every question was answered."""
    with database.transaction() as connection:
        connection.execute(
            insert(reconciliations).values(
                started_at=started_at, ended_at=ended_at, found=found, failure=failure
            )
        )


def last_complete_reconciliation(database: Database) -> datetime | None:
    """When the last run began in which every question was answered; None when there was none."""
    with database.reading() as connection:
        return connection.execute(
            select(reconciliations.c.started_at)
            .where(reconciliations.c.failure.is_(None))
            .order_by(reconciliations.c.started_at.desc())
            .limit(1)
        ).scalar()


def read_reconciliations(database: Database) -> Reconciliations:
    """Add up every run; with one run in five minutes a year has 105,000."""
    with database.reading() as connection:
        row = connection.execute(
            select(
                func.count().label("runs"),
                func.count(reconciliations.c.failure).label("incomplete"),
                func.coalesce(func.sum(reconciliations.c.found), 0).label("found"),
            )
        ).one()
    return Reconciliations(row.runs - row.incomplete, row.incomplete, int(row.found))
