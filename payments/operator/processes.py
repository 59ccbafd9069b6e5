"""Which of our processes live: each writes a row at its start and a sign of life now and then."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, update

from payments.storage.database import Database, insert_new
from payments.storage.schema import processes

# Long enough to see on Monday what died on Friday.
KEPT_FOR = timedelta(days=7)

# A process that has given no sign for so long is taken for dead; they give one every few seconds.
ALIVE_WITHIN = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Process:
    """This process, as others see it. ``id`` is made anew at each start."""

    id: str
    kind: str  # web or worker
    host: str
    pid: int
    version: str


def record_alive(
    database: Database, process: Process, now: datetime, bank_key_fetched_at: datetime | None = None
) -> None:
    """Write a sign of life; the first one is the start. Rows of processes that ended a week ago are removed.

    ``bank_key_fetched_at`` None leaves what is known of the key as it is.
    """
    row = {
        "id": process.id,
        "kind": process.kind,
        "host": process.host[:128],
        "pid": process.pid,
        "version": process.version[:32],
        "started_at": now,
        "seen_at": now,
        "bank_key_fetched_at": bank_key_fetched_at,
    }
    with database.transaction() as connection:
        if insert_new(connection, processes, [row], "id"):
            # Only at a start: there is no need to look every few seconds.
            connection.execute(delete(processes).where(processes.c.seen_at < now - KEPT_FOR))
            return
        news = {"seen_at": now, "stopped_at": None}
        if bank_key_fetched_at is not None:
            news["bank_key_fetched_at"] = bank_key_fetched_at
        connection.execute(update(processes).where(processes.c.id == process.id).values(news))


def record_stopped(database: Database, process: Process, now: datetime) -> None:
    """Record a clean end."""
    with database.transaction() as connection:
        connection.execute(
            update(processes).where(processes.c.id == process.id).values(seen_at=now, stopped_at=now)
        )
