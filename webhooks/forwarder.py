"""The threads that forward: settle what is due, sleep until woken, until something falls due, or for a tick.

They are threads because the bank's SDK blocks. One is enough for a trickle; the others join while there is more than
one call's worth, so that a slow bank has several calls in flight. Every process may run some: the ledger's claims
decide who sends what.
"""

import threading
from collections.abc import Callable
from datetime import datetime

import structlog

from payments.errors import LedgerUnavailable
from payments.settlement import Settlement

log = structlog.get_logger()

# How often it looks for work that another process stored. Its own process wakes it immediately.
TICK_SECONDS = 0.5

# After a fault of the storage, or a bug, so that neither fills the log.
PAUSE_SECONDS = 1.0

# How many calls to the bank may be under way in this process: a slow bank then has several in flight. With a bank that
# takes 50 ms, four carry more transfers than a database records beside the events.
THREADS = 4


class Forwarder:
    """``settle`` does one call's worth and says what it did; ``next_due_at`` says when there will be more."""

    def __init__(
        self,
        settle: Callable[[], Settlement],
        next_due_at: Callable[[], datetime | None],
        clock: Callable[[], datetime],
        threads: int = THREADS,
    ) -> None:
        self._settle = settle
        self._next_due_at = next_due_at
        self._clock = clock
        self._stopping = threading.Event()
        self._wakings = [threading.Event() for _ in range(threads)]
        self._threads = [
            threading.Thread(target=self._run, args=(number,), name=f"forwarder-{number + 1}", daemon=True)
            for number in range(threads)
        ]

    def start(self) -> None:
        """Begin to forward."""
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Something is due now."""
        self._wakings[0].set()

    def stop(self) -> None:
        """End after the calls that are under way; what is still due waits for the next start."""
        self._stopping.set()
        for waking in self._wakings:
            waking.set()
        for thread in self._threads:
            thread.join()

    @property
    def is_alive(self) -> bool:
        """False when it was stopped, or one of its threads died, which is a bug."""
        return all(thread.is_alive() for thread in self._threads)

    def _run(self, number: int) -> None:
        woken = self._wakings[number]
        if number > 0:
            woken.wait()  # until the first one asks for help
        while not self._stopping.is_set():
            woken.clear()
            if self._stopping.is_set():
                return  # stop() may have woken us just before that was forgotten
            try:
                if self._settle().has_more:
                    self._ask_for_help(number)
                else:
                    woken.wait(self._idle_seconds() if number == 0 else None)
            except LedgerUnavailable as error:
                log.error("forwarder.ledger_unavailable", reason=str(error))
                self._stopping.wait(PAUSE_SECONDS)
            except Exception:
                log.exception("forwarder.failed")
                self._stopping.wait(PAUSE_SECONDS)

    def _ask_for_help(self, number: int) -> None:
        for waking in self._wakings[number + 1 : number + 2]:
            waking.set()

    def _idle_seconds(self) -> float:
        due_at = self._next_due_at()
        if due_at is None:
            return TICK_SECONDS
        return min(TICK_SECONDS, max(0.001, (due_at - self._clock()).total_seconds()))
