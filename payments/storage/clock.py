"""One time for all machines on one database: PostgreSQL's, because every process that claims compares leases with it.

Machines' clocks may differ by a minute, and a lease of a minute would be over for one while another holds it. So each
machine asks the database for the time now and then, and in between counts on from there by its monotonic clock, which
no one can set. On SQLite there is one machine, and its clock will do.

A clock may be set while a process runs. StepWatch notices; payments/observability/heartbeat.py says so, and has what is
stored follow.
"""

import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy import func, select

from payments.errors import LedgerUnavailable
from payments.storage.database import Database

# Monotonic clocks drift by a few milliseconds a minute at the very worst.
MEASURE_EVERY_SECONDS = 30.0

# An answer that took longer than this says little about the time.
ROUND_TRIP_SECONDS_MAX = 2.0


# A clock that is kept by NTP moves by less than a second.
STEP_SECONDS_MIN = 60.0


def elapsed_seconds() -> float:
    """Seconds since some moment, which no one can set. Where the system can, they go on while the machine sleeps."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


class StepWatch:
    """Notices when a clock is set: it moves by more than STEP_SECONDS_MIN beside the time that has passed."""

    def __init__(self, clock: Callable[[], datetime], elapsed: Callable[[], float] = elapsed_seconds) -> None:
        self._clock = clock
        self._elapsed = elapsed
        self._seen = clock(), elapsed()

    def look(self) -> float | None:
        """By how many seconds the clock was set since the last look (below 0: back); None when it was not."""
        (before, began), self._seen = self._seen, (self._clock(), self._elapsed())
        now, at = self._seen
        step = (now - before).total_seconds() - (at - began)
        return step if abs(step) > STEP_SECONDS_MIN else None


def open_clock(
    database: Database,
    machine_clock: Callable[[], datetime],
    monotonic: Callable[[], float] = elapsed_seconds,
) -> Callable[[], datetime]:
    """The clock to be used with this database, in UTC; safe to share between threads. Raises LedgerUnavailable."""
    return DatabaseClock(database, monotonic) if database.is_postgresql else machine_clock


class DatabaseClock:
    """Returns PostgreSQL's time without asking for it each time. While the database is away, it runs on by itself."""

    def __init__(self, database: Database, monotonic: Callable[[], float] = elapsed_seconds) -> None:
        self._database = database
        self._monotonic = monotonic
        self._measuring = threading.Lock()
        self._measured = self._measure()  # replaced whole, so that no reader sees half of it
        self._tried_at = self._monotonic()

    def __call__(self) -> datetime:
        """The time now, in UTC."""
        if self._monotonic() - self._tried_at >= MEASURE_EVERY_SECONDS and self._measuring.acquire(
            blocking=False
        ):
            try:
                self._tried_at = self._monotonic()
                self._measured = self._measure()
            except LedgerUnavailable:
                pass  # the caller will meet the fault itself, if it lasts
            finally:
                self._measuring.release()
        told_at, reading = self._measured
        return told_at + timedelta(seconds=self._monotonic() - reading)

    def _measure(self) -> tuple[datetime, float]:
        """The database's time, and what the monotonic clock showed in the middle of asking."""
        with self._database.reading() as connection:
            # A second time, should the first have been slow.
            for _ in range(2):
                before = self._monotonic()
                told_at: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
                after = self._monotonic()
                if after - before <= ROUND_TRIP_SECONDS_MAX:
                    return told_at, (before + after) / 2
        raise LedgerUnavailable("the database takes seconds to say what time it is")
