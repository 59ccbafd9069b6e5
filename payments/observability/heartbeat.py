"""Signs of life: this process writes its row at its start, every few seconds, and at a clean end.

Others see by it who is alive and who died without a word. A sign that cannot be written stops nothing.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

from payments.observability.ticker import Ticker, guarded
from payments.operator.processes import Process, record_alive, record_stopped
from payments.storage.database import Database

# Others take a process for dead after a minute of silence: three signs may be lost.
BEAT_SECONDS = 15.0


class Heartbeat:
    """``bank_key_age_seconds`` tells how long ago the bank's key was fetched; None when it is not known here."""

    def __init__(
        self,
        database: Database,
        process: Process,
        clock: Callable[[], datetime],
        bank_key_age_seconds: Callable[[], float | None] = lambda: None,
    ) -> None:
        self._database = database
        self._process = process
        self._clock = clock
        self._bank_key_age_seconds = bank_key_age_seconds
        self._ticker = Ticker("heartbeat", self.beat, BEAT_SECONDS)

    def start(self) -> None:
        """Give the first sign, and go on."""
        self._ticker.start()

    def beat(self) -> None:
        """Give one sign now. Raises LedgerUnavailable."""
        now, age = self._clock(), self._bank_key_age_seconds()
        fetched_at = None if age is None else now - timedelta(seconds=age)
        record_alive(self._database, self._process, now, fetched_at)

    def stop(self) -> None:
        """Give no more signs, and say that the end is clean."""
        self._ticker.stop()
        guarded("heartbeat", lambda: record_stopped(self._database, self._process, self._clock()))
