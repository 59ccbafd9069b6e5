"""Posts events to webhooks: signed, many in parallel, over kept connections.

It carries out what `events` decided and reports each outcome back; retries and attempts are decided there.
Redirects are not followed and only 200 counts.
"""

from __future__ import annotations

import asyncio
import logging
import time
from urllib.parse import urlsplit

import httptools

from emulator.behaviour.bank import Bank
from emulator.behaviour.events import BAD_CONNECTION, BAD_STATUS, TIMEOUT, Delivery
from emulator.books.formats import time_text
from emulator.clock import Clock
from emulator.protocol.credentials import Credentials
from emulator.protocol.history import MOST_BODY_BYTES, Entry, History
from emulator.protocol.http_client import Answer, Connection, Origin, head, origin_of

# Unknown at the bank. Generous, and in real seconds at any speed, so that a slow machine fails no test.
TIMEOUT_SECONDS = 10.0
# How many deliveries are under way in parallel; the rest wait their turn.
MOST_AT_ONCE = 64

log = logging.getLogger("emulator.deliveries")


class Deliveries:
    """Makes the deliveries that the bank decides on, until it is closed."""

    def __init__(self, bank: Bank, credentials: Credentials, clock: Clock) -> None:
        self._bank = bank
        self._credentials = credentials
        self._clock = clock
        self._posts = asyncio.Semaphore(MOST_AT_ONCE)
        self._tasks: dict[asyncio.Task[Entry], Delivery] = {}
        self._idle: dict[Origin, list[Connection]] = {}
        self.history = History()

    def open_deliveries(self) -> list[Delivery]:
        """The deliveries without an outcome; a saved state makes them again."""
        return [delivery for task, delivery in self._tasks.items() if not task.done()]

    def deliver(self, delivery: Delivery) -> asyncio.Task[Entry]:
        """Begin one delivery; its outcome goes to the bank's books, and its entry to the history."""
        task = asyncio.get_running_loop().create_task(self._deliver(delivery))
        self._tasks[task] = delivery
        task.add_done_callback(self._tasks.pop)
        return task

    async def finish(self) -> None:
        """Wait until nothing is under way."""
        while self._tasks:
            await asyncio.gather(*self._tasks)

    def abandon(self) -> None:
        """Stop what is under way, without an outcome."""
        for task in self._tasks:
            task.cancel()

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
        if code is not None:
            log.info("delivery of event %s failed: %s", delivery.event_id, message)
        entry["ms"] = round((time.perf_counter() - started_seconds) * 1000, 3)
        entry["code"], entry["message"] = code, message
        self.history.add(entry)
        self._bank.events.record(delivery, self._clock.now(), code, message)
        return entry

    async def _post(self, url: str, body: bytes, signature: str) -> Answer:
        parts = urlsplit(url)
        request = head("POST", parts, headers_of(signature), len(body)) + body
        origin = origin_of(parts)
        idle = self._idle.setdefault(origin, [])
        while idle:
            connection = idle.pop()
            try:
                return await self._exchange(connection, origin, request)
            except (ConnectionError, asyncio.IncompleteReadError):
                # A kept connection may have been closed by the other side meanwhile. Posting again is safe:
                # an event may arrive twice at any time (documented).
                continue
        return await self._exchange(await Connection.open(origin), origin, request)

    async def _exchange(self, connection: Connection, origin: Origin, request: bytes) -> Answer:
        try:
            answer = await connection.exchange(request)
        except BaseException:
            connection.close()
            raise
        if answer.is_reusable:
            self._idle[origin].append(connection)
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
        "repeats": [],
    }


def headers_of(signature: str) -> dict[str, str]:
    """The headers of a post to a webhook."""
    # Observed: no other header of the bank's own is documented.
    return {
        "User-Agent": "stark-bank-emulator",
        "Content-Type": "application/json",
        "Digital-Signature": signature,
    }
