"""Many events, one durable commit: whoever waits while a commit is under way shares the next one.

Each answer still waits for its own commit. A disk that takes a millisecond to sync would otherwise allow a
thousand events a second at most, however many arrive.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import structlog

from payments.errors import LedgerUnavailable
from payments.ledger.inbox import Arrival, Receipt

log = structlog.get_logger()

# One transaction holds the write lock for as long as it takes; at some 0.2 ms an event this is 50 ms.
EVENTS_PER_COMMIT_MAX = 250

# Beyond this the answer is 503 at once: the bank tries again, and memory stays bounded.
WAITING_MAX = 5_000


class Intake:
    """Stores arrivals through ``accept``, a blocking function that runs in one thread of its own."""

    def __init__(self, accept: Callable[[Sequence[Arrival]], list[Receipt]]) -> None:
        self._accept = accept
        self._waiting: list[tuple[Arrival, asyncio.Future[Receipt]]] = []
        self._writer: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="intake")

    async def put(self, arrival: Arrival) -> Receipt:
        """Return once the arrival and its consequences are durable. Raises LedgerUnavailable: nothing is stored."""
        if len(self._waiting) >= WAITING_MAX:
            raise LedgerUnavailable(f"{WAITING_MAX} events are waiting for the database")
        stored: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        self._waiting.append((arrival, stored))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write())
        return await stored

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

    async def _store(self, group: Sequence[tuple[Arrival, asyncio.Future[Receipt]]]) -> None:
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
            for _, stored in group:
                if not stored.cancelled():
                    stored.set_exception(error)
        else:
            for (_, stored), receipt in zip(group, receipts, strict=True):
                if not stored.cancelled():
                    stored.set_result(receipt)
