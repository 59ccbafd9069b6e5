"""Posts events to webhooks: signed, many in parallel, over kept connections.

It carries out what `events` decided and reports each outcome back; retries and attempts are decided there.
Redirects are not followed and only 200 counts. It uses asyncio streams and uvicorn's own parser, so the
emulator needs no HTTP client of its own at run time.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from urllib.parse import SplitResult, urlsplit

import httptools

from emulator.behaviour.bank import Bank
from emulator.behaviour.events import BAD_CONNECTION, BAD_STATUS, TIMEOUT, Delivery
from emulator.books.formats import time_text
from emulator.clock import Clock
from emulator.protocol.credentials import Credentials
from emulator.protocol.history import MOST_BODY_BYTES, Entry, History

# Unknown at the bank. Generous, and in real seconds at any speed, so that a slow machine fails no test.
TIMEOUT_SECONDS = 10.0
# How many deliveries are under way in parallel; the rest wait their turn.
MOST_AT_ONCE = 64
# An answer's body is read only to keep the connection; a longer one costs the connection instead.
MOST_ANSWER_BYTES = 1_000_000

log = logging.getLogger("emulator.deliveries")


class Deliveries:
    """Makes the deliveries that the bank decides on, until it is closed."""

    def __init__(self, bank: Bank, credentials: Credentials, clock: Clock) -> None:
        self._bank = bank
        self._credentials = credentials
        self._clock = clock
        self._posts = asyncio.Semaphore(MOST_AT_ONCE)
        self._tasks: set[asyncio.Task[Entry]] = set()
        self._idle: dict[tuple[str, str, int], list[_Connection]] = {}
        self._under_way: dict[int, Delivery] = {}
        self.history = History()

    @property
    def under_way(self) -> int:
        """How many deliveries have no outcome yet."""
        return len(self._under_way)

    def open_deliveries(self) -> list[Delivery]:
        """The deliveries without an outcome; a saved state makes them again."""
        return list(self._under_way.values())

    def deliver(self, delivery: Delivery) -> None:
        """Begin one delivery; its outcome goes to the bank's books."""
        self._under_way[id(delivery)] = delivery
        task = asyncio.get_running_loop().create_task(self._deliver(delivery))
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._end(done, delivery))

    def _end(self, task: asyncio.Task[Entry], delivery: Delivery) -> None:
        self._tasks.discard(task)
        # A task that is canceled before it starts never runs its own `finally`.
        self._under_way.pop(id(delivery), None)

    async def finish(self) -> None:
        """Wait until nothing is under way."""
        while self._tasks:
            await asyncio.gather(*self._tasks)

    def abandon(self) -> None:
        """Stop what is under way, without an outcome."""
        for task in self._tasks:
            task.cancel()

    async def send(self, delivery: Delivery) -> Entry:
        """Make one delivery now and wait for its outcome; returns its entry in the history."""
        return await self._deliver(delivery)

    async def close(self) -> None:
        """Stop what is under way and close every connection."""
        self.abandon()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for connections in self._idle.values():
            for connection in connections:
                connection.close()
        self._idle.clear()

    async def _deliver(self, delivery: Delivery) -> Entry:
        code: str | None = None
        message = ""
        entry = _entry(delivery, time_text(self._clock.now()))
        self._under_way[id(delivery)] = delivery
        started_seconds = time.perf_counter()
        try:
            async with self._posts:
                body = delivery.body
                signature = self._credentials.sign(body, delivery.event_id, forged=delivery.forged)
                entry["signature"] = signature
                started_seconds = time.perf_counter()
                async with asyncio.timeout(TIMEOUT_SECONDS):
                    answer = await self._post(delivery.url, body, signature)
            entry["status"], entry["answer"] = answer.status, answer.body
            if answer.status != 200:
                # Documented: anything but 200 is tried again. The words are those of the Postman collection.
                code, message = BAD_STATUS, f"HTTP POST request returned status {answer.status}"
        except TimeoutError:
            code, message = TIMEOUT, "HTTP POST request timed out"
        except (OSError, ValueError, httptools.HttpParserError, asyncio.IncompleteReadError) as error:
            code, message = BAD_CONNECTION, f"HTTP POST request could not connect: {type(error).__name__}"
        finally:
            self._under_way.pop(id(delivery), None)
        if code is not None:
            log.info("delivery of event %s failed: %s", delivery.event_id, message)
        entry["ms"] = round((time.perf_counter() - started_seconds) * 1000, 3)
        entry["code"], entry["message"] = code, message
        self.history.add(entry)
        self._bank.record_delivery(delivery, self._clock.now(), code, message)
        return entry

    async def _post(self, url: str, body: bytes, signature: str) -> _AnswerReader:
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

    async def _exchange(
        self, connection: _Connection, key: tuple[str, str, int], request: bytes
    ) -> _AnswerReader:
        try:
            answer = await connection.exchange(request)
        except BaseException:
            connection.close()
            raise
        if answer.is_reusable:
            self._idle[key].append(connection)
        else:
            connection.close()
        return answer


def _entry(delivery: Delivery, at: str) -> Entry:
    event = delivery.event
    return {
        "at": at,
        "event": delivery.event_id,
        "subscription": event["subscription"],
        "type": event["log"]["type"],
        "entity": event["log"].get(event["subscription"], {}).get("id"),
        "webhook": delivery.webhook_id,
        "url": delivery.url,
        # None for an extra one, which is not retried.
        "attempt": delivery.attempt,
        "forged": delivery.forged,
        "status": None,
        "code": None,
        "message": "",
        "ms": 0.0,
        "signature": "",
        "body": delivery.body[:MOST_BODY_BYTES],
        "answer": b"",
    }


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

    async def exchange(self, request: bytes) -> _AnswerReader:
        """Send a request and read its answer."""
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
                answer.is_reusable = False
                break
        return answer

    def close(self) -> None:
        self._writer.close()


class _AnswerReader:
    """Receives the parser's calls and knows how much of the answer has arrived."""

    def __init__(self) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.has_headers = False
        self.is_complete = False
        self.is_reusable = False
        self.body = b""
        self.ends_with_connection = False

    @property
    def status(self) -> int:
        """The status of the answer."""
        status: int = self.parser.get_status_code()
        return status

    def on_body(self, data: bytes) -> None:
        self.body = (self.body + data)[:MOST_BODY_BYTES]

    def on_headers_complete(self) -> None:
        self.has_headers = True
        # The parser answers this only while it is inside the message.
        self.ends_with_connection = not self.parser.should_keep_alive()

    def on_message_complete(self) -> None:
        self.is_complete = True
        self.is_reusable = not self.ends_with_connection
