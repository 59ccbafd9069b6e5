"""``/console/changes``: a stream that notifies open pages when the database has changed; they then reload themselves.

The database is read only while a page listens, once a second for all pages together. A stream ends when its page is
closed, after some minutes, and when the process ends: a server waits for open streams.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Hashable, Iterator

import structlog
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from payments.errors import LedgerUnavailable

log = structlog.get_logger()

LISTENERS_MAX = 64
POLL_SECONDS = 1.0

# Proxies cut a connection that is silent for a minute.
HEARTBEAT_SECONDS = 20.0

# Then the browser connects again, and its session is checked again.
STREAM_SECONDS = 600.0


class LiveUpdates:
    """``read_mark`` returns a value that differs whenever the database has changed; it runs in a thread."""

    def __init__(self, read_mark: Callable[[], Hashable]) -> None:
        self._read_mark = read_mark
        self._listeners: set[asyncio.Event] = set()
        self._polling: asyncio.Task[None] | None = None
        self._has_ended = False

    async def answer(self, _: Request) -> Response:
        """One stream for one page."""
        if self._has_ended or len(self._listeners) >= LISTENERS_MAX:
            return PlainTextResponse("no more listeners now\n", 503, {"Retry-After": "30"})
        # Without a proxy's buffering, which would hold a change back.
        headers = {"X-Accel-Buffering": "no"}
        return StreamingResponse(self._stream(), media_type="text/event-stream", headers=headers)

    def end(self) -> None:
        """End every stream; later ones are refused. Called on the event loop."""
        self._has_ended = True
        for listener in self._listeners:
            listener.set()

    @property
    def listeners(self) -> int:
        """How many streams are open."""
        return len(self._listeners)

    async def _stream(self) -> AsyncIterator[str]:
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + STREAM_SECONDS
        with self._listening() as changed:
            yield "retry: 2000\n\n"
            while not self._has_ended and loop.time() < ends_at:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(changed.wait(), HEARTBEAT_SECONDS)
                is_changed = changed.is_set()
                changed.clear()
                if not self._has_ended:
                    yield "event: changed\ndata:\n\n" if is_changed else ": heartbeat\n\n"

    @contextlib.contextmanager
    def _listening(self) -> Iterator[asyncio.Event]:
        """An event that is set at each change, until the block ends."""
        listener = asyncio.Event()
        self._listeners.add(listener)
        if self._polling is None or self._polling.done():
            self._polling = asyncio.create_task(self._poll())
        try:
            yield listener
        finally:
            self._listeners.discard(listener)

    async def _poll(self) -> None:
        known: Hashable = None
        while self._listeners and not self._has_ended:
            try:
                mark = await asyncio.to_thread(self._read_mark)
            except LedgerUnavailable:
                mark = known
            except Exception:
                log.exception("console.live_updates_failed")
                mark = known
            if known is not None and mark != known:
                for listener in self._listeners:
                    listener.set()
            known = mark
            await asyncio.sleep(POLL_SECONDS)
