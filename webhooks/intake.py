"""Many events, one durable commit: whoever waits while a commit is under way shares the next one.

Each answer still waits for its own commit. A disk that takes a millisecond to sync would otherwise allow a
thousand events a second at most, however many arrive.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

import structlog

from payments.errors import LedgerUnavailable
from payments.ledger.inbox import Receipt

log = structlog.get_logger()

# Two statements of 64 rows for each table (many.py). A larger group costs no less an event, and with 256 connections it
# took nearly all of them: then the event loop had nothing to check while the thread stored, and the thread nothing to
# store while the loop checked. One transaction holds the write lock for some 10 ms.
EVENTS_PER_COMMIT_MAX = 128

# Beyond this the answer is 503 at once: the bank tries again, and memory stays bounded.
WAITING_MAX = 5_000

Arrival = TypeVar("Arrival")

# Told what became of an arrival: its receipt once that is durable, or why nothing is stored.
Told = Callable[[Receipt | Exception], None]


class Intake(Generic[Arrival]):
    """Stores arrivals through ``accept``, a blocking function that runs in one thread of its own."""

    def __init__(self, accept: Callable[[Sequence[Arrival]], list[Receipt]]) -> None:
        self._accept = accept
        self._waiting: list[tuple[Arrival, Told]] = []
        self._writer: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="intake")

    def put(self, arrival: Arrival, told: Told) -> None:
        """Store the arrival and its consequences; ``told`` is called in the event loop, once, when that is over.

        A plain call and not a coroutine: a task an event is a fifth of what an event costs.
        Raises LedgerUnavailable when too many wait: then nothing is stored, and ``told`` is not called.
        """
        if len(self._waiting) >= WAITING_MAX:
            raise LedgerUnavailable(f"{WAITING_MAX} events are waiting for the database")
        self._waiting.append((arrival, told))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write())

    async def close(self) -> None:
        """Finish what is waiting."""
        if self._writer is not None:
            await asyncio.wait([self._writer])
        self._thread.shutdown()

    async def _write(self) -> None:
        while self._waiting:
            group = self._waiting[:EVENTS_PER_COMMIT_MAX]
            del self._waiting[:EVENTS_PER_COMMIT_MAX]
            await self._store(group)

    async def _store(self, group: Sequence[tuple[Arrival, Told]]) -> None:
        run = asyncio.get_running_loop().run_in_executor
        try:
            receipts = await run(self._thread, self._accept, [arrival for arrival, _ in group])
        except Exception as error:
            if len(group) > 1 and not isinstance(error, LedgerUnavailable):
                # One of them meets a bug; the others must not suffer for it.
                log.exception("intake.group_failed", count=len(group))
                for single in group:
                    await self._store([single])
                return
            for _, told in group:
                _tell(told, error)
        else:
            for (_, told), receipt in zip(group, receipts, strict=True):
                _tell(told, receipt)


def _tell(told: Told, what: Receipt | Exception) -> None:
    try:
        told(what)
    except Exception:  # a bug in one answer must not keep the others from theirs
        log.exception("intake.answer_failed")
