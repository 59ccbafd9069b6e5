"""Which processes use this database: each writes a row at its start and a heartbeat every few seconds."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, func, select, update

from payments.errors import LedgerUnusable
from payments.storage.database import Database, insert_new
from payments.storage.schema import processes

# Long enough to see on Monday what died on Friday.
KEPT_FOR = timedelta(days=7)

# A process writes a heartbeat every five seconds. After this long without one, pages and metrics show it as dead ...
SEEN_WITHIN = timedelta(seconds=20)

# ... and after this long it is taken for dead where that lets others use the database.
ALIVE_WITHIN = timedelta(minutes=1)


# Verdicts of calls (payments.bank.transport.Verdict) to which the bank gave no answer.
UNANSWERED = ("not_sent", "throttled", "unclear")


@dataclass(frozen=True, slots=True)
class Process:
    """This process, as others see it. ``id`` is new at each start."""

    id: str
    kind: str  # web or worker
    host: str
    pid: int
    version: str


@dataclass(frozen=True, slots=True)
class ClockStep:
    """A clock was set by ``seconds`` (below 0: back), as was noticed then."""

    seconds: float
    noticed_at: datetime


def last_heartbeat(database: Database) -> datetime | None:
    """When any process was last alive, by the clock of that time; None before the first."""
    with database.reading() as connection:
        return connection.execute(select(func.max(processes.c.seen_at))).scalar()


def record_alive(
    database: Database,
    process: Process,
    now: datetime,
    bank_key_fetched_at: datetime | None = None,
    last_bank_call: tuple[str, datetime] | None = None,
    clock_step: ClockStep | None = None,
) -> None:
    """Write a heartbeat; the first one is the start. Rows of processes that ended a week ago are removed.

    ``bank_key_fetched_at`` None leaves what is known of the key as it is; so do ``last_bank_call`` (its verdict, and
    when it ended) and ``clock_step`` None.
    """
    verdict, called_at = last_bank_call or (None, None)
    noticed = {
        "bank_key_fetched_at": bank_key_fetched_at,
        "bank_verdict": verdict,
        "bank_called_at": called_at,
        "clock_stepped_at": clock_step and clock_step.noticed_at,
        "clock_step_seconds": clock_step and clock_step.seconds,
    }
    row = {
        "id": process.id,
        "kind": process.kind,
        "host": process.host[:128],
        "pid": process.pid,
        "version": process.version[:32],
        "started_at": now,
        "seen_at": now,
        **noticed,
    }
    with database.transaction() as connection:
        if insert_new(connection, processes, [row], "id"):
            # Only at a start: there is no need to look every few seconds.
            connection.execute(delete(processes).where(processes.c.seen_at < now - KEPT_FOR))
            return
        known = {name: value for name, value in noticed.items() if value is not None}
        connection.execute(
            update(processes)
            .where(processes.c.id == process.id)
            .values(seen_at=now, stopped_at=None, **known)
        )


def record_stopped(database: Database, process: Process, now: datetime) -> None:
    """Record a clean end."""
    with database.transaction() as connection:
        connection.execute(
            update(processes).where(processes.c.id == process.id).values(seen_at=now, stopped_at=now)
        )


def refuse_other_hosts(database: Database, host: str, now: datetime) -> None:
    """Refuse a SQLite file that a process on another machine uses. Call it when a process starts.

    ``host`` is the name under which our own processes write their heartbeats. Raises LedgerUnusable.
    """
    if database.is_postgresql:
        return
    with database.reading() as connection:
        other = connection.execute(
            select(processes)
            .where(
                processes.c.stopped_at.is_(None),
                processes.c.seen_at > now - ALIVE_WITHIN,
                processes.c.host != host[:128],
            )
            .limit(1)
        ).one_or_none()
    if other is not None:
        raise LedgerUnusable(
            f"DATABASE_URL: {database.name} is in use by {other.kind} {other.pid} on the machine {other.host}, and "
            f"this is {host}: one SQLite file serves one machine; put postgresql+psycopg://... on both, or stop that "
            f"one and wait {int(ALIVE_WITHIN.total_seconds())} s"
        )
