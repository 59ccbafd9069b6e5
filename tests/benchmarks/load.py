"""The load: a process of its own that sends prepared requests over kept connections and times each answer.

``python -m tests.benchmarks.load`` reads what to do as one JSON object on standard input (see Order), makes and
signs its requests, says "ready", waits for a line, sends them all, and prints what it saw as one JSON object.
"""

import asyncio
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator
from typing import cast

import msgspec
import uvloop
from coincurve import PrivateKey

from tests.benchmarks.events import requests


class Order(msgspec.Struct):
    """What to send. ``rate`` in requests a second, 0 for as fast as answers come; ``key`` in hexadecimal."""

    port: int
    key: str
    count: int
    seed: int
    connections: int = 256
    rate: float = 0.0
    forged: bool = False
    tell_moments: bool = False


class Seen(msgspec.Struct):
    """What came back: answers by status, seconds from first request to last answer, and times in milliseconds."""

    statuses: dict[str, int]
    seconds: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    sent_at: list[float] = []  # seconds since 1970 by request, when asked for


def main() -> None:
    """Do one order."""
    order = msgspec.json.decode(sys.stdin.readline(), type=Order)
    key = PrivateKey(bytes.fromhex(order.key))
    prepared = list(requests(order.count, order.seed, key, order.forged))
    print("ready", flush=True)
    sys.stdin.readline()
    seen = uvloop.run(_send(order, iter(prepared)))
    print(msgspec.json.encode(seen).decode(), flush=True)


async def _send(order: Order, prepared: Iterator[bytes]) -> Seen:
    loop = asyncio.get_running_loop()
    tally = _Tally(prepared, order.count, loop.create_future())
    connections = []
    for _ in range(min(order.connections, order.count)):
        _, connection = await loop.create_connection(lambda: _Connection(tally), "127.0.0.1", order.port)
        connections.append(connection)
    began = time.perf_counter()
    sent_at: list[float] = []
    if order.rate:
        tally.idle.extend(connections)
        for number in range(order.count):
            due = began + number / order.rate
            if due > time.perf_counter():
                await asyncio.sleep(due - time.perf_counter())
            sent_at.append(time.time())
            # None is sent behind another on one connection, as no client does; it waits for a free one, and its
            # time counts from when it was due.
            if tally.idle:
                tally.idle.popleft().send_next(due)
            else:
                tally.waiting.append(due)
    else:
        for connection in connections:
            connection.goes_on = True
            connection.send_next(time.perf_counter())
    await tally.finished
    seconds = time.perf_counter() - began
    times = sorted(tally.times)
    p50, p95, p99 = (
        times[min(len(times) - 1, int(len(times) * share))] * 1000 for share in (0.5, 0.95, 0.99)
    )
    statuses = {str(status): count for status, count in tally.statuses.items()}
    return Seen(statuses, seconds, p50, p95, p99, sent_at if order.tell_moments else [])


class _Tally:
    def __init__(self, prepared: Iterator[bytes], count: int, finished: "asyncio.Future[None]") -> None:
        self.prepared = prepared
        self.left = count
        self.finished = finished
        self.statuses: Counter[int] = Counter()
        self.times: list[float] = []
        # With a rate: connections without a request, and the moments of requests that found none.
        self.idle: deque[_Connection] = deque()
        self.waiting: deque[float] = deque()

    def note(self, status: int, seconds: float) -> None:
        self.statuses[status] += 1
        self.times.append(seconds)
        self.left -= 1
        if not self.left and not self.finished.done():
            self.finished.set_result(None)


class _Connection(asyncio.Protocol):
    """One kept connection; knows just enough HTTP for answers with a Content-Length."""

    def __init__(self, tally: _Tally) -> None:
        self._tally = tally
        self._since: float | None = None  # of the request that is open
        self._received = b""
        self.goes_on = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own is none by class

    def connection_lost(self, exc: Exception | None) -> None:
        if self._since is not None and not self._tally.finished.done():
            self._tally.finished.set_exception(RuntimeError(f"a connection ended with a request open: {exc}"))

    def send_next(self, since: float) -> None:
        """Send the next request, whose time counts from ``since``."""
        request = next(self._tally.prepared, None)
        if request is not None:
            self._since = since
            self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head = self._received[:end].lower()
            at = head.find(b"content-length: ") + 16
            length = int(head[at : head.find(b"\r\n", at) if b"\r\n" in head[at:] else None])
            if len(self._received) < end + 4 + length:
                return
            self._received = self._received[end + 4 + length :]
            assert self._since is not None  # it answers what was sent
            now = time.perf_counter()
            self._tally.note(int(head[9:12]), now - self._since)
            self._since = None
            if self.goes_on:
                self.send_next(now)
            elif self._tally.waiting:
                self.send_next(self._tally.waiting.popleft())
            else:
                self._tally.idle.append(self)


if __name__ == "__main__":
    main()
