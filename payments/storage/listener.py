"""Wakes this process's forwarder when another process has committed transfers that are due.

PostgreSQL's LISTEN and NOTIFY; postgresql.Notifier is the other half. Nothing relies on it: forwarders also look by
themselves, twice a second. On SQLite nothing is to be done; looking is enough there.
"""

import threading
from collections.abc import Callable

import structlog

from payments.errors import LedgerUnavailable
from payments.storage.database import Database

log = structlog.get_logger()

# How long it may take to notice that it is to stop.
_STOP_SECONDS = 0.5

# After a lost connection, until the next try.
_PAUSE_SECONDS = 1.0

# Many busy machines notify often. Twenty wakings a second are enough, and leave whole calls' worth to claim.
_REST_SECONDS = 0.05


class Listener:
    """Calls ``wake`` when another process notifies, and after each new connection, for what was missed."""

    def __init__(self, database: Database, wake: Callable[[], None]) -> None:
        self._database = database
        self._wake = wake
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="listener", daemon=True)

    def start(self) -> None:
        """Begin to listen, on PostgreSQL."""
        if self._database.is_postgresql:
            self._thread.start()

    def stop(self) -> None:
        """End within half a second."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._listen()
            except LedgerUnavailable as error:
                log.warning("listener.disconnected", reason=str(error))
            except Exception:
                log.exception("listener.failed")
            self._stopping.wait(_PAUSE_SECONDS)

    def _listen(self) -> None:
        from payments.storage import postgresql  # here, because psycopg takes a tenth of a second to import

        with postgresql.own_connection(self._database.engine) as connection:
            connection.execute("LISTEN repasse_transfers_due")
            self._wake()
            while not self._stopping.is_set():
                # All notices that are there say the same.
                if list(connection.notifies(timeout=_STOP_SECONDS, stop_after=1)):
                    self._wake()
                    self._stopping.wait(_REST_SECONDS)
