"""``/console/changes``: tells open pages that something changed, and nothing more; they ask for themselves again.

The books are looked at only while somebody listens, once a second for all of them together. A stream ends when its
listener goes away, after some minutes, and when the process is to end: a server waits for open streams.
"""

import asyncio
import contextlib
from collections.abc import Callable, Hashable, Iterator

import structlog
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from payments.errors import LedgerUnavailable

log = structlog.get_logger()

LISTENERS_MAX = 64
LOOK_SECONDS = 1.0

# Proxies cut what is silent for a minute.
HEARTBEAT_SECONDS = 20.0

# Then the browser connects again, and its session is checked again.
STREAM_SECONDS = 600.0


class Changes:
    """``read_mark`` returns something that differs whenever the books have changed; it runs in a thread."""

    def __init__(self, read_mark: Callable[[], Hashable]) -> None:
        self._read_mark = read_mark
        self._listeners: set[asyncio.Event] = set()
        self._looking: asyncio.Task[None] | None = None
        self._has_ended = False

    async def answer(self, _: Request) -> Response:
        """One stream for one page."""
        if self._has_ended or len(self._listeners) >= LISTENERS_MAX:
            return PlainTextResponse("no more listeners now\n", 503, {"Retry-After": "30"})
        return _Stream(self)

    def end(self) -> None:
        """End every stream; later ones are refused. Called on the event loop."""
        self._has_ended = True
        for listener in self._listeners:
            listener.set()

    @property
    def has_ended(self) -> bool:
        """True when the process is about to end."""
        return self._has_ended

    @property
    def listeners(self) -> int:
        """How many streams are open."""
        return len(self._listeners)

    @contextlib.contextmanager
    def listening(self) -> Iterator[asyncio.Event]:
        """An event that is set at each change; whoever waits for it clears it."""
        listener = asyncio.Event()
        self._listeners.add(listener)
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        try:
            yield listener
        finally:
            self._listeners.discard(listener)

    async def _look(self) -> None:
        known: Hashable = None
        while self._listeners and not self._has_ended:
            try:
                mark = await asyncio.to_thread(self._read_mark)
            except LedgerUnavailable:
                mark = known
            except Exception:
                log.exception("console.changes_failed")
                mark = known
            if known is not None and mark != known:
                for listener in self._listeners:
                    listener.set()
            known = mark
            await asyncio.sleep(LOOK_SECONDS)


class _Stream(Response):
    """Server-sent events until the listener leaves."""

    def __init__(self, changes: Changes) -> None:
        super().__init__(media_type="text/event-stream")
        self._changes = changes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"x-accel-buffering", b"no")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + STREAM_SECONDS
        leaving = asyncio.create_task(_until_left(receive))
        try:
            with self._changes.listening() as changed:
                await self._send(send, "retry: 2000\n\n")
                while not (leaving.done() or self._changes.has_ended or loop.time() > ends_at):
                    waiting = asyncio.create_task(changed.wait())
                    await asyncio.wait(
                        {waiting, leaving},
                        timeout=HEARTBEAT_SECONDS,
                        return_when=asyncio.FIRST_COMPLETED,
                    )
                    waiting.cancel()
                    if leaving.done():
                        break
                    is_news = changed.is_set() and not self._changes.has_ended
                    changed.clear()
                    await self._send(send, "event: changed\ndata:\n\n" if is_news else ": still here\n\n")
            if not leaving.done():
                await send({"type": "http.response.body", "body": b""})
        finally:
            leaving.cancel()

    async def _send(self, send: Send, text: str) -> None:
        await send({"type": "http.response.body", "body": text.encode(), "more_body": True})


async def _until_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
