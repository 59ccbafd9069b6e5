"""Posts events to webhooks: signed, many at once, over kept connections.

It carries out what `events` decided and reports each outcome back; retries and attempts are decided there.
Redirects are not followed and only 200 counts. It uses asyncio streams and uvicorn's own parser, so the
emulator needs no HTTP client of its own at run time.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from urllib.parse import SplitResult, urlsplit

import httptools

from emulator.bank import Bank
from emulator.clock import Clock
from emulator.credentials import Credentials
from emulator.events import BAD_CONNECTION, BAD_STATUS, TIMEOUT, Delivery

# Unknown at the bank. Generous, and in real seconds whatever the speed, so that a slow machine fails no test.
TIMEOUT_SECONDS = 10.0
# How many posts are under way at once; the rest wait their turn.
MOST_AT_ONCE = 64
# An answer's body is read only to keep the connection; a longer one costs the connection instead.
MOST_ANSWER_BYTES = 1_000_000

log = logging.getLogger("emulator.deliveries")


class Deliveries:
    """Posts what the bank hands to it, until it is closed."""

    def __init__(self, bank: Bank, credentials: Credentials, clock: Clock) -> None:
        self._bank = bank
        self._credentials = credentials
        self._clock = clock
        self._posts = asyncio.Semaphore(MOST_AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._idle: dict[tuple[str, str, int], list[_Connection]] = {}
        self.under_way = 0

    def deliver(self, delivery: Delivery) -> None:
        """Begin one post; its outcome goes to the bank's books."""
        self.under_way += 1
        task = asyncio.get_running_loop().create_task(self._deliver(delivery))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def finish(self) -> None:
        """Wait until nothing is under way."""
        while self._tasks:
            await asyncio.gather(*self._tasks)

    async def close(self) -> None:
        """Stop what is under way and close every connection."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for connections in self._idle.values():
            for connection in connections:
                connection.close()
        self._idle.clear()

    async def _deliver(self, delivery: Delivery) -> None:
        code: str | None = None
        message = ""
        try:
            async with self._posts:
                body = delivery.body
                signature = self._credentials.sign(body, delivery.event_id, forged=delivery.forged)
                async with asyncio.timeout(TIMEOUT_SECONDS):
                    status = await self._post(delivery.url, body, signature)
            if status != 200:
                # Documented: anything but 200 is tried again. The words are those of the Postman collection.
                code, message = BAD_STATUS, f"HTTP POST request returned status {status}"
        except TimeoutError:
            code, message = TIMEOUT, "HTTP POST request timed out"
        except (OSError, ValueError, httptools.HttpParserError, asyncio.IncompleteReadError) as error:
            code, message = BAD_CONNECTION, f"HTTP POST request could not connect: {type(error).__name__}"
        finally:
            self.under_way -= 1
        if code is not None:
            log.info("delivery of event %s failed: %s", delivery.event_id, message)
        self._bank.record_delivery(delivery, self._clock.now(), code, message)

    async def _post(self, url: str, body: bytes, signature: str) -> int:
        parts = urlsplit(url)
        head = _head(parts, len(body), signature)
        key = (parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
        idle = self._idle.setdefault(key, [])
        while idle:
            connection = idle.pop()
            try:
                return await self._exchange(connection, key, head + body)
            except (ConnectionError, asyncio.IncompleteReadError):
                # A kept connection may have been closed by the other side meanwhile. Posting again is safe:
                # an event may arrive twice at any time (documented).
                continue
        return await self._exchange(await _Connection.open(*key), key, head + body)

    async def _exchange(self, connection: _Connection, key: tuple[str, str, int], request: bytes) -> int:
        try:
            status, reusable = await connection.exchange(request)
        except BaseException:
            connection.close()
            raise
        if reusable:
            self._idle[key].append(connection)
        else:
            connection.close()
        return status


def _head(parts: SplitResult, length: int, signature: str) -> bytes:
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    # Observed: no other header of the bank's own is documented.
    return (
        f"POST {target} HTTP/1.1\r\nHost: {parts.netloc}\r\nUser-Agent: stark-bank-emulator\r\n"
        f"Content-Type: application/json\r\nContent-Length: {length}\r\n"
        f"Digital-Signature: {signature}\r\n\r\n"
    ).encode("ascii", "strict")


class _Connection:
    """One connection to one receiver."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, scheme: str, host: str, port: int) -> _Connection:
        context = ssl.create_default_context() if scheme == "https" else None
        return cls(*await asyncio.open_connection(host, port, ssl=context))

    async def exchange(self, request: bytes) -> tuple[int, bool]:
        """Send a request; returns the status, and whether the connection may be used again."""
        answer = _AnswerReader()
        parser = answer.parser
        self._writer.write(request)
        await self._writer.drain()
        received = 0
        while not answer.is_complete:
            data = await self._reader.read(65_536)
            if not data:
                if answer.ends_with_connection:
                    break
                raise asyncio.IncompleteReadError(b"", None)
            received += len(data)
            parser.feed_data(data)
            if answer.has_headers and received > MOST_ANSWER_BYTES:
                return parser.get_status_code(), False
        return parser.get_status_code(), answer.is_reusable

    def close(self) -> None:
        self._writer.close()


class _AnswerReader:
    """Receives the parser's calls and notes how far the answer has come."""

    def __init__(self) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.has_headers = False
        self.is_complete = False
        self.is_reusable = False
        self.ends_with_connection = False

    def on_headers_complete(self) -> None:
        self.has_headers = True
        # The parser answers this only while it is inside the message.
        self.ends_with_connection = not self.parser.should_keep_alive()

    def on_message_complete(self) -> None:
        self.is_complete = True
        self.is_reusable = not self.ends_with_connection
