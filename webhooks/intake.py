"""Many events, one durable commit: deliveries that come while a commit is under way share the next one.

Each answer still waits for its own commit. A disk that takes a millisecond to sync would otherwise allow a thousand
events a second at most, however many arrive.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

import structlog

from payments.errors import LedgerUnavailable
from payments.ledger.inbox import Receipt

log = structlog.get_logger()

# One transaction holds SQLite's write lock for some 10 ms then; a larger group costs no less for each event.
EVENTS_PER_COMMIT_MAX = 128

# Beyond this the answer is 503 immediately: the bank tries again, and memory stays bounded.
WAITING_MAX = 5_000

# How long an answer waits for its commit, also when the database, its clock or the groups before it hang: less than the
# bank's patience (unknown, supposed to be 10 s or more).
COMMIT_SECONDS = 8.0

Delivery = TypeVar("Delivery")


class Intake(Generic[Delivery]):
    """Stores deliveries through ``accept``, a blocking function, in a thread: one group at a time."""

    def __init__(self, accept: Callable[[Sequence[Delivery]], list[Receipt]]) -> None:
        self._accept = accept
        # A thread of its own: no other work in a thread may keep a commit waiting.
        self._thread = ThreadPoolExecutor(1, "intake")
        self._waiting: deque[tuple[Delivery, asyncio.Future[Receipt]]] = deque()
        self._committing: asyncio.Task[None] | None = None

    async def put(self, delivery: Delivery) -> Receipt:
        """Store a delivery and its consequences; returns once that is durable.

        Raises LedgerUnavailable when it cannot be stored now. Nothing of it is then, unless it only takes longer than
        COMMIT_SECONDS: it may be stored later, and the bank's repeat is recognised.
        """
        if len(self._waiting) >= WAITING_MAX:
            raise LedgerUnavailable(f"{WAITING_MAX} events are waiting for the database")
        stored: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        self._waiting.append((delivery, stored))
        if self._committing is None or self._committing.done():
            self._committing = asyncio.create_task(self._commit_groups())
        try:
            async with asyncio.timeout(COMMIT_SECONDS):
                return await stored
        except TimeoutError:
            raise LedgerUnavailable(f"the database has not committed within {COMMIT_SECONDS:g} s") from None

    async def close(self) -> None:
        """Finish what is waiting."""
        if self._committing is not None:
            await self._committing
        self._thread.shutdown()

    async def _commit_groups(self) -> None:
        while self._waiting:
            size = min(len(self._waiting), EVENTS_PER_COMMIT_MAX)
            await self._commit([self._waiting.popleft() for _ in range(size)])

    async def _commit(self, group: Sequence[tuple[Delivery, asyncio.Future[Receipt]]]) -> None:
        try:
            receipts = await asyncio.get_running_loop().run_in_executor(
                self._thread, self._accept, [delivery for delivery, _ in group]
            )
        except Exception as error:
            if len(group) > 1 and not isinstance(error, LedgerUnavailable):
                # One of them meets a bug; the others must not suffer for it.
                log.exception("intake.group_failed", count=len(group))
                for single in group:
                    await self._commit([single])
                return
            for _, stored in group:
                if not stored.done():  # the server may have given the request up
                    stored.set_exception(error)
            return
        for (_, stored), receipt in zip(group, receipts, strict=True):
            if not stored.done():
                stored.set_result(receipt)
