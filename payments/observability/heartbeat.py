"""Work that a process does every few seconds beside its main work, and the first of it: saying that it is alive.

Each process writes its row at its start, every few seconds, and at a clean end; so others see which processes are
alive and which died, and whose clock was set. An error ends in the log, and the next tick tries again.
"""

import threading
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import structlog

from payments.errors import LedgerUnavailable
from payments.operator.processes import (
    ClockStep,
    Process,
    last_heartbeat,
    record_alive,
    record_stopped,
)
from payments.storage.clock import STEP_SECONDS_MIN, StepWatch
from payments.storage.database import Database

log = structlog.get_logger()

# A process is shown as dead after twenty seconds of silence, so three beats may be lost.
BEAT_SECONDS = 5.0

# How long a stopping process waits for a tick that is under way. A service that never finishes its answer to an alert
# must not keep it from ending.
STOP_SECONDS = 30.0


class Ticker:
    """Calls ``tick`` immediately and then every ``seconds``, in a thread ``name``, which begins its log events too."""

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
        """End after the tick that is under way, or after STOP_SECONDS."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        while not self._stopping.is_set():
            guarded(self._name, self._tick)
            self._stopping.wait(self._seconds)


class Heartbeat(Ticker):
    """Says that ``process`` is alive, and notices when a clock is set.

    ``bank_key_age_seconds`` returns how long ago this process fetched the bank's key, or None when it has none;
    ``last_bank_call`` returns the verdict of its last call to the bank and how many seconds ago that was, or None.
    ``watches`` are of the clocks that it goes by; ``follow`` is called with the seconds by which one was set, and again
    with the next beat when it raises LedgerUnavailable.
    """

    def __init__(
        self,
        database: Database,
        process: Process,
        clock: Callable[[], datetime],
        bank_key_age_seconds: Callable[[], float | None] = lambda: None,
        last_bank_call: Callable[[], tuple[str, float] | None] = lambda: None,
        watches: Sequence[StepWatch] = (),
        follow: Callable[[float], None] = lambda _: None,
    ) -> None:
        super().__init__("heartbeat", self.beat, BEAT_SECONDS)
        self._database = database
        self._process = process
        self._clock = clock
        self._bank_key_age_seconds = bank_key_age_seconds
        self._last_bank_call = last_bank_call
        self._watches = watches
        self._follow = follow
        self._beating = threading.Lock()
        self._has_begun = False
        self._step: ClockStep | None = None  # the last one
        self._to_follow: float | None = None

    def beat(self) -> None:
        """Write one beat now. Raises LedgerUnavailable."""
        with self._beating:
            self._look_at_clocks()
            if self._to_follow is not None:
                self._follow(self._to_follow)
                self._to_follow = None
            now, age, call = self._clock(), self._bank_key_age_seconds(), self._last_bank_call()
            fetched_at = None if age is None else now - timedelta(seconds=age)
            last_call = None if call is None else (call[0], now - timedelta(seconds=call[1]))
            record_alive(self._database, self._process, now, fetched_at, last_call, self._step)

    def _look_at_clocks(self) -> None:
        steps = [step for watch in self._watches if (step := watch.look()) is not None]
        if not self._has_begun and self._watches:
            # Others were alive, by a clock that was ahead of ours: it was set back while we were not looking.
            last = last_heartbeat(self._database)
            ahead = 0.0 if last is None else (last - self._clock()).total_seconds()
            steps += [-ahead] if ahead > STEP_SECONDS_MIN else []
            self._has_begun = True
        for seconds in steps:
            self._step, self._to_follow = ClockStep(seconds, self._clock()), seconds
            log.warning("clock.stepped", seconds=round(seconds, 1))

    def stop(self) -> None:
        """Beat no more, and record a clean end."""
        super().stop()
        guarded("heartbeat", lambda: record_stopped(self._database, self._process, self._clock()))


def guarded(name: str, run: Callable[[], object]) -> None:
    """Run something whose failure must not stop the process: an error ends in the log, under ``name``."""
    try:
        run()
    except LedgerUnavailable as error:
        log.error(f"{name}.ledger_unavailable", reason=str(error))
    except Exception:
        log.exception(f"{name}.failed")
