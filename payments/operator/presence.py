"""Who uses these books now, by the signs of life that processes write; see processes.py."""

from datetime import datetime

from sqlalchemy import Connection, select

from payments.errors import LedgerUnusable
from payments.operator.processes import ALIVE_WITHIN
from payments.storage.database import Database
from payments.storage.schema import processes


def living(connection: Connection, now: datetime) -> list[str]:
    """Each process that has not ended, in words: its kind, pid and host, and when it was last seen."""
    rows = connection.execute(
        select(processes)
        .where(processes.c.stopped_at.is_(None), processes.c.seen_at > now - ALIVE_WITHIN)
        .order_by(processes.c.kind, processes.c.id)
    )
    return [
        f"{row.kind} {row.pid} on {row.host} (seen {max(0, int((now - row.seen_at).total_seconds()))} s ago)"
        for row in rows
    ]


def refuse_other_hosts(database: Database, host: str, now: datetime) -> None:
    """Refuse a SQLite file that a living process of another machine uses. For a process's start; one reading.

    ``host`` is the name under which our own processes write their signs of life. Raises LedgerUnusable.
    """
    if database.is_postgresql:
        return
    with database.reading() as connection:
        other = connection.execute(
            select(processes.c.kind, processes.c.pid, processes.c.host)
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
