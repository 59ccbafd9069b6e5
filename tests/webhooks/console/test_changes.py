"""The stream of changes: says so when the books change, looks only while somebody listens, and ends in time."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from starlette.requests import Request
from starlette.types import Message

from payments.errors import LedgerUnavailable
from webhooks.console import changes
from webhooks.console.changes import LISTENERS_MAX, Changes

REQUEST = Request({"type": "http", "method": "GET", "headers": []})


class Books:
    """Something that changes when a test says so."""

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

    def __init__(self, stream: Changes) -> None:
        self.said: list[bytes] = []
        self.has_left = asyncio.Event()
        self.status = 0
        self.task = asyncio.create_task(self._listen(stream))

    async def _listen(self, stream: Changes) -> None:
        response = await stream.answer(REQUEST)
        await response(REQUEST.scope, self._receive, self._send)

    async def _receive(self) -> Message:
        await self.has_left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        self.said.append(message.get("body", b""))

    async def hears(self, text: bytes) -> None:
        """Wait until it was told."""
        await until(lambda: any(text in each for each in self.said))


async def until(what: Callable[[], object]) -> None:
    """Wait for a condition, with a deadline."""
    async with asyncio.timeout(30):
        while not what():  # noqa: ASYNC110 - what is waited for is no event
            await asyncio.sleep(0.002)


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test does not wait a second for each look."""
    monkeypatch.setattr(changes, "LOOK_SECONDS", 0.002)


def run(scene: Callable[[Books, Changes], Coroutine[Any, Any, None]]) -> None:
    """Play a scene on an event loop of its own."""

    async def play() -> None:
        books = Books()
        await scene(books, Changes(books.read))

    asyncio.run(play())


def test_every_listener_is_told_of_a_change_and_only_that() -> None:
    """Not what it was: the page asks for itself."""

    async def scene(books: Books, stream: Changes) -> None:
        listeners = [Listener(stream), Listener(stream)]
        await until(lambda: books.looks > 2)
        assert all(b"changed" not in b"".join(each.said) for each in listeners)
        books.mark += 1
        for each in listeners:
            await each.hears(b"event: changed\ndata:\n\n")
            each.has_left.set()
            await each.task

    run(scene)


def test_nobody_looks_at_the_books_while_nobody_listens() -> None:
    """A listener that leaves is noticed at once, without having to be told something."""

    async def scene(books: Books, stream: Changes) -> None:
        listener = Listener(stream)
        await until(lambda: books.looks > 2)
        listener.has_left.set()
        await listener.task
        assert stream.listeners == 0
        await until(lambda: stream._looking is not None and stream._looking.done())
        looks = books.looks
        again = Listener(stream)
        await until(lambda: books.looks > looks)
        again.has_left.set()
        await again.task

    run(scene)


def test_streams_end_when_the_process_is_to_end_and_none_begins_anew() -> None:
    """A server waits for open streams."""

    async def scene(books: Books, stream: Changes) -> None:
        listener = Listener(stream)
        await listener.hears(b"retry:")
        stream.end()
        await listener.task
        assert listener.said[-1] == b""
        assert b"changed" not in b"".join(listener.said)
        assert (await stream.answer(REQUEST)).status_code == 503

    run(scene)


def test_there_is_a_limit_to_listeners() -> None:
    """A stranger has no token, but a forgotten script may have."""

    async def scene(books: Books, stream: Changes) -> None:
        listeners = [Listener(stream) for _ in range(LISTENERS_MAX)]
        await until(lambda: stream.listeners == LISTENERS_MAX)
        assert (await stream.answer(REQUEST)).status_code == 503
        stream.end()
        await asyncio.gather(*(each.task for each in listeners))

    run(scene)


def test_a_locked_database_ends_no_stream() -> None:
    """It is looked at again."""

    async def scene(books: Books, stream: Changes) -> None:
        listener = Listener(stream)
        await until(lambda: books.looks > 1)
        books.is_locked = True
        looks = books.looks
        await until(lambda: books.looks > looks + 1)
        books.is_locked = False
        books.mark += 1
        await listener.hears(b"event: changed")
        listener.has_left.set()
        await listener.task

    run(scene)
