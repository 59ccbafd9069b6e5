"""The loop that forwards: settle what is due, sleep until woken, until something falls due, or for a tick.

It runs in a thread of its own, because the bank's SDK blocks. Every process may run one: the ledger's claims
decide who sends what.
"""

import threading
from collections.abc import Callable
from datetime import UTC, datetime

import structlog

from payments.errors import LedgerUnavailable
from payments.settlement import Settlement

log = structlog.get_logger()

# How often it looks for work that another process stored. Its own process wakes it at once.
TICK_SECONDS = 0.5

# After a fault of the storage, or a bug, so that neither fills the log.
PAUSE_SECONDS = 1.0


class Forwarder:
    """``settle`` does one call's worth and says what it did; ``next_due_at`` tells when there will be more."""

    def __init__(self, settle: Callable[[], Settlement], next_due_at: Callable[[], datetime | None]) -> None:
        self._settle = settle
        self._next_due_at = next_due_at
        self._woken = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="forwarder", daemon=True)

    def start(self) -> None:
        """Begin to forward."""
        self._thread.start()

    def wake(self) -> None:
        """Something is due now."""
        self._woken.set()

    def stop(self) -> None:
        """End after the call that is under way; what is still due waits for the next start."""
        self._stopping.set()
        self._woken.set()
        self._thread.join()

    @property
    def is_alive(self) -> bool:
        """False when it was stopped, or died, which is a bug."""
        return self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._woken.clear()
            try:
                if not self._settle().has_more:
                    self._woken.wait(self._idle_seconds())
            except LedgerUnavailable as error:
                log.error("forwarder.ledger_unavailable", reason=str(error))
                self._stopping.wait(PAUSE_SECONDS)
            except Exception:
                log.exception("forwarder.failed")
                self._stopping.wait(PAUSE_SECONDS)

    def _idle_seconds(self) -> float:
        due_at = self._next_due_at()
        if due_at is None:
            return TICK_SECONDS
        return min(TICK_SECONDS, max(0.001, (due_at - datetime.now(UTC)).total_seconds()))
