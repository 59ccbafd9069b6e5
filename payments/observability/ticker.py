"""Something small that a process does every few seconds beside its work, in a thread of its own.

It stops nothing and nobody waits for it: what goes wrong ends in the log, and the next tick tries again.
"""

import threading
from collections.abc import Callable

import structlog

from payments.errors import LedgerUnavailable

log = structlog.get_logger()


class Ticker:
    """Calls ``tick`` at once and then every ``seconds``. ``name`` is the thread's, and begins its log events."""

    def __init__(self, name: str, tick: Callable[[], object], seconds: float) -> None:
        self._name = name
        self._tick = tick
        self._seconds = seconds
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin to tick."""
        self._thread.start()

    def stop(self) -> None:
        """End after the tick that is under way."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            guarded(self._name, self._tick)
            self._stopping.wait(self._seconds)


def guarded(name: str, run: Callable[[], object]) -> None:
    """Run something that must stop nothing: an error ends in the log, under ``name``."""
    try:
        run()
    except LedgerUnavailable as error:
        log.warning(f"{name}.ledger_unavailable", reason=str(error))
    except Exception:
        log.exception(f"{name}.failed")
