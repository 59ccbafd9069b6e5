"""Posting to real sockets: what counts as delivered and what becomes an attempt."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from emulator.clock import Clock
from emulator.protocol import deliveries
from emulator.protocol.credentials import in_memory
from emulator.protocol.deliveries import Deliveries

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def deliver(make_day: Any, talk: Talk, invoices: int = 1, url: str = "") -> tuple[Any, int]:
    """Deliver `created` events to a server that does `talk`; returns the day and the count of connections."""
    return asyncio.run(_deliver(make_day, talk, invoices, url))


async def _deliver(make_day: Any, talk: Talk, invoices: int, url: str) -> tuple[Any, int]:
    day = make_day(paid_share=0.0, retry_delays_seconds=())
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        try:
            await talk(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    own = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook?x=1"
    day.bank.register_webhook(url or own, ["invoice"], day.now)
    posts = Deliveries(day.bank, in_memory(seed=1)[0], Clock(day.now))
    day.bank.events.deliver = posts.deliver
    for _ in range(invoices):
        day.invoice()
        day.run(minutes=2)
        await posts.finish()
    await posts.close()
    server.close()
    return day, connections


async def request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    (length,) = [
        line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
    ]
    return head + await reader.readexactly(int(length))


def answering(*answers: bytes, close: bool = False) -> Talk:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            await request(reader)
            writer.write(answer)
            await writer.drain()
        if not close:
            await reader.read()

    return talk


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def attempts(day: Any) -> list[tuple[str, str]]:
    return [(attempt["code"], attempt["message"]) for attempt in day.bank.events.attempts.all()]


def test_one_connection_is_kept_for_many_deliveries(make_day: Any) -> None:
    """Deliveries to one receiver share a connection."""
    day, connections = deliver(make_day, answering(OK, OK, OK), invoices=3)
    assert (connections, attempts(day), dict(day.bank.events.undelivered)) == (1, [], {})


def test_a_kept_connection_that_was_closed_meanwhile_is_replaced(make_day: Any) -> None:
    """A delivery is posted again over a new connection when the kept one has been closed."""
    day, connections = deliver(make_day, answering(OK, close=True), invoices=3)
    assert (connections, attempts(day)) == (3, [])


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\nuntil the end",
    ],
)
def test_every_form_of_200_counts(make_day: Any, answer: bytes) -> None:
    """A 200 with any framing of its body marks the event delivered."""
    day, _ = deliver(make_day, answering(answer, close=True))
    assert attempts(day) == []


@pytest.mark.parametrize("status", [201, 204, 302, 404, 500])
def test_anything_but_200_is_an_attempt_with_its_status(make_day: Any, status: int) -> None:
    """Any other status is recorded as a failed attempt, redirects included."""
    answer = f"HTTP/1.1 {status} X\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n".encode()
    day, connections = deliver(make_day, answering(answer))
    assert attempts(day) == [("badHttpStatus", f"HTTP POST request returned status {status}")]
    assert connections == 1, "a redirect is not followed"


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", b"what?\r\n\r\n"]
)
def test_a_broken_answer_is_a_bad_connection(make_day: Any, answer: bytes) -> None:
    """An answer that is not HTTP is recorded as badConnection."""
    day, _ = deliver(make_day, answering(answer, close=True))
    assert [code for code, _ in attempts(day)] == ["badConnection"]


def test_no_answer_in_time_is_a_timeout(make_day: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A receiver that stays silent is recorded as timeout."""
    monkeypatch.setattr(deliveries, "TIMEOUT_SECONDS", 0.05)
    day, _ = deliver(make_day, answering())
    assert attempts(day) == [("timeout", "HTTP POST request timed out")]


def test_nobody_listening_is_a_bad_connection(make_day: Any) -> None:
    """A refused connection is recorded as badConnection."""
    day, _ = deliver(make_day, answering(OK), url="http://127.0.0.1:1/")
    assert [code for code, _ in attempts(day)] == ["badConnection"]
