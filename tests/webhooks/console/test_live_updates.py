"""Live updates: each page is notified of a change, the database is read only while a page listens, streams end."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from starlette.requests import Request
from starlette.types import Message

from payments.errors import LedgerUnavailable
from webhooks.console import live_updates
from webhooks.console.live_updates import LISTENERS_MAX, LiveUpdates

REQUEST = Request({"type": "http", "method": "GET", "headers": []})


class Books:
    """A database that changes when a test says so."""

    def __init__(self) -> None:
        self.mark = 0
        self.looks = 0
        self.is_locked = False

    def read(self) -> int:
        """The mark of now."""
        self.looks += 1
        if self.is_locked:
            raise LedgerUnavailable("locked")
        return self.mark


class Listener:
    """One browser on the stream."""

    def __init__(self, stream: LiveUpdates) -> None:
        self.received: list[bytes] = []
        self.has_left = asyncio.Event()
        self.status = 0
        self.task = asyncio.create_task(self._listen(stream))

    async def _listen(self, stream: LiveUpdates) -> None:
        response = await stream.answer(REQUEST)
        await response(REQUEST.scope, self._receive, self._send)

    async def _receive(self) -> Message:
        await self.has_left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        self.received.append(message.get("body", b""))

    async def receives(self, text: bytes) -> None:
        """Wait until this has arrived."""
        await until(lambda: any(text in each for each in self.received))


async def until(what: Callable[[], object]) -> None:
    """Wait for a condition, with a deadline."""
    async with asyncio.timeout(30):
        while not what():  # noqa: ASYNC110 - what is waited for is no event
            await asyncio.sleep(0.002)


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test does not wait a second for each reading."""
    monkeypatch.setattr(live_updates, "POLL_SECONDS", 0.002)


def run(scene: Callable[[Books, LiveUpdates], Coroutine[Any, Any, None]]) -> None:
    """Play a scene on an event loop of its own."""

    async def play() -> None:
        books = Books()
        await scene(books, LiveUpdates(books.read))

    asyncio.run(play())


def test_every_listener_is_notified_of_a_change_and_only_that() -> None:
    """Not what changed: the page reloads itself."""

    async def scene(books: Books, stream: LiveUpdates) -> None:
        listeners = [Listener(stream), Listener(stream)]
        await until(lambda: books.looks > 2)
        assert all(b"changed" not in b"".join(each.received) for each in listeners)
        books.mark += 1
        for each in listeners:
            await each.receives(b"event: changed\ndata:\n\n")
            each.has_left.set()
            await each.task

    run(scene)


def test_the_database_is_not_read_while_no_page_listens() -> None:
    """A page that is closed is noticed immediately, without a message to it."""

    async def scene(books: Books, stream: LiveUpdates) -> None:
        listener = Listener(stream)
        await until(lambda: books.looks > 2)
        listener.has_left.set()
        await listener.task
        assert stream.listeners == 0
        await until(lambda: stream._polling is not None and stream._polling.done())
        looks = books.looks
        again = Listener(stream)
        await until(lambda: books.looks > looks)
        again.has_left.set()
        await again.task

    run(scene)


def test_streams_end_with_the_process_and_no_new_one_begins() -> None:
    """A server waits for open streams."""

    async def scene(books: Books, stream: LiveUpdates) -> None:
        listener = Listener(stream)
        await listener.receives(b"retry:")
        stream.end()
        await listener.task
        assert listener.received[-1] == b""
        assert b"changed" not in b"".join(listener.received)
        assert (await stream.answer(REQUEST)).status_code == 503

    run(scene)


def test_there_is_a_limit_to_listeners() -> None:
    """A stranger has no token, but a forgotten script may have."""

    async def scene(books: Books, stream: LiveUpdates) -> None:
        listeners = [Listener(stream) for _ in range(LISTENERS_MAX)]
        await until(lambda: stream.listeners == LISTENERS_MAX)
        assert (await stream.answer(REQUEST)).status_code == 503
        stream.end()
        await asyncio.gather(*(each.task for each in listeners))

    run(scene)


def test_a_locked_database_ends_no_stream() -> None:
    """It is read again, and the next change arrives."""

    async def scene(books: Books, stream: LiveUpdates) -> None:
        listener = Listener(stream)
        await until(lambda: books.looks > 1)
        books.is_locked = True
        looks = books.looks
        await until(lambda: books.looks > looks + 1)
        books.is_locked = False
        books.mark += 1
        await listener.receives(b"event: changed")
        listener.has_left.set()
        await listener.task

    run(scene)
