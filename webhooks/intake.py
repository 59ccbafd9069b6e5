"""Many events, one durable commit: whoever waits while a commit is under way shares the next one.

Each answer still waits for its own commit. A disk that takes a millisecond to sync would otherwise allow a
thousand events a second at most, however many arrive.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import structlog

from payments.errors import LedgerUnavailable
from payments.ledger.inbox import Receipt

log = structlog.get_logger()

# Two statements of 64 rows for each table (many.py). A larger group costs no less an event, and with 256 connections it
# took nearly all of them: then the event loop had nothing to check while the thread stored, and the thread nothing to
# store while the loop checked. One transaction holds the write lock for some 10 ms.
EVENTS_PER_COMMIT_MAX = 128

# When the last group was large, more are about to come: the thread waits a moment for a group that is worth a commit,
# and leaves the interpreter to the event loop meanwhile. An event that comes alone never waits.
EVENTS_OF_A_BUSY_COMMIT = 16
EVENTS_WORTH_A_COMMIT = 64
LINGER_SECONDS = 0.004

# Beyond this the answer is 503 at once: the bank tries again, and memory stays bounded.
WAITING_MAX = 5_000

Arrival = TypeVar("Arrival")

# Told what became of an arrival: its receipt once that is durable, or why nothing is stored.
Told = Callable[[Receipt | Exception], None]


class Intake(Generic[Arrival]):
    """Stores arrivals through ``accept``, a blocking function, in ``threads`` of its own: so many commits at once.

    A thread takes the next group by itself. Were it handed out by the event loop, the thread would lie idle while
    the loop is busy with the signatures of whatever has just come in, some milliseconds each time.
    """

    def __init__(self, accept: Callable[[Sequence[Arrival]], list[Receipt]], threads: int = 1) -> None:
        self._accept = accept
        self._waiting: deque[tuple[Arrival, Told]] = deque()
        self._changed = threading.Condition()
        self._is_busy = False
        self._is_closing = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._threads = [
            threading.Thread(target=self._run, name=f"intake-{number + 1}", daemon=True)
            for number in range(threads)
        ]

    def put(self, arrival: Arrival, told: Told) -> None:
        """Store the arrival and its consequences; ``told`` is called in the event loop, once, when that is over.

        Call it in the event loop. Raises LedgerUnavailable when too many wait: then nothing is stored, and ``told``
        is not called.
        """
        if len(self._waiting) >= WAITING_MAX:
            raise LedgerUnavailable(f"{WAITING_MAX} events are waiting for the database")
        self._waiting.append((arrival, told))
        # Those are the numbers that somebody may be waiting for; in between, nobody is to be disturbed.
        if len(self._waiting) == 1 or len(self._waiting) >= EVENTS_WORTH_A_COMMIT:
            with self._changed:
                self._changed.notify_all()
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            for thread in self._threads:
                thread.start()

    async def close(self) -> None:
        """Finish what is waiting, and tell everybody."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        if self._loop is not None:
            for thread in self._threads:
                await asyncio.to_thread(thread.join)
            await asyncio.sleep(0)  # what they have asked for last is done in the loop by now

    def _run(self) -> None:
        while group := self._next_group():
            self._store(group)

    def _next_group(self) -> list[tuple[Arrival, Told]]:
        """Wait for a group; an empty one when all is done."""
        with self._changed:
            if self._is_busy:
                self._wait_for(EVENTS_WORTH_A_COMMIT, LINGER_SECONDS)
            self._wait_for(1, None)
            size = min(len(self._waiting), EVENTS_PER_COMMIT_MAX)
            self._is_busy = size >= EVENTS_OF_A_BUSY_COMMIT
            return [self._waiting.popleft() for _ in range(size)]

    def _wait_for(self, number: int, seconds: float | None) -> None:
        self._changed.wait_for(lambda: len(self._waiting) >= number or self._is_closing, seconds)

    def _store(self, group: Sequence[tuple[Arrival, Told]]) -> None:
        try:
            told: Sequence[Receipt | Exception] = self._accept([arrival for arrival, _ in group])
        except Exception as error:
            if len(group) > 1 and not isinstance(error, LedgerUnavailable):
                # One of them meets a bug; the others must not suffer for it.
                log.exception("intake.group_failed", count=len(group))
                for single in group:
                    self._store([single])
                return
            told = [error] * len(group)
        assert self._loop is not None  # put() has set it
        self._loop.call_soon_threadsafe(_tell, [each for _, each in group], told)


def _tell(whom: Sequence[Told], what: Sequence[Receipt | Exception]) -> None:
    for told, each in zip(whom, what, strict=True):
        try:
            told(each)
        except Exception:  # a bug in one answer must not keep the others from theirs
            log.exception("intake.answer_failed")
