"""Which of our processes live: each writes a row at its start and a sign of life now and then."""

from dataclasses import dataclass
from datetime import datetime

from payments.ledger.database import Database


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
    """Write a sign of life; the first one is the start. Rows of processes that ended a week ago are removed."""
    raise NotImplementedError


def record_stopped(database: Database, process: Process, now: datetime) -> None:
    """Record a clean end."""
    raise NotImplementedError
