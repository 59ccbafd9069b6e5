"""``POST /webhooks/starkbank``: check the signature over the raw bytes, store, and only then answer 200.

Anything but 200 makes the bank try again after 5, 30 and 120 minutes, and then no more. So: 200 for whatever is
stored, wanted or not; 401 for what the bank did not sign; 503 for what we could not check or store.

It is plain ASGI, without Starlette's Request and Response: a third of what a request costs otherwise
(docs/performance.md).
"""

import asyncio
from collections.abc import Callable, Sequence
from time import monotonic, perf_counter

import msgspec
import structlog
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from payments.bank.signature import BankKeys, KeyUnavailable
from payments.errors import LedgerUnavailable
from payments.event import read_event
from payments.ledger.inbox import Arrival, Outcome, Receipt
from payments.metrics import Metrics
from payments.observability import write_facts
from webhooks.intake import Intake

log = structlog.get_logger()

# Recorded events are 1 to 3 kB; a megabyte is far above any, and bounds what a stranger can make us hold.
BODY_BYTES_MAX = 1_048_576

# A flood of forged events is told of in one line a second, not in one line each.
REFUSALS_SECONDS = 1.0

_RETRY_SOON = (b"retry-after", b"30")


class Receiver:
    """The endpoint, an ASGI application."""

    def __init__(self, keys: BankKeys, intake: Intake, metrics: Metrics) -> None:
        self._keys = keys
        self._intake = intake
        self._metrics = metrics
        self._refused = _Refusals()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one delivery, and count it."""
        began = perf_counter()
        try:
            answer = await self._receive(scope, receive)
        except Exception:
            self._metrics.count_event(500, perf_counter() - began)  # the server answers it
            raise
        await answer.send(send)
        self._metrics.count_event(answer.status, perf_counter() - began)

    async def _receive(self, scope: Scope, receive: Receive) -> "_Answer":
        if scope["method"] != "POST":
            return _Answer(405, {"error": "only POST is answered here"}, (b"allow", b"POST"))
        signature, announced = "", b""
        for name, value in scope["headers"]:
            if name == b"digital-signature":
                signature = value.decode("latin-1")
            elif name == b"content-length":
                announced = value
        if announced.isdigit() and int(announced) > BODY_BYTES_MAX:
            return _too_large()
        try:
            body = await _bounded_body(receive)
        except ClientDisconnect:
            return _Answer(400, {"error": "the connection ended before the body did"})
        if body is None:
            return _too_large()
        if not signature:
            self._metrics.signature_refusals.inc()
            return _Answer(401, {"error": "the Digital-Signature header is missing"})
        try:
            if not await self._is_signed(body, signature):
                self._metrics.signature_refusals.inc()
                self._refused.note(len(body))
                return _Answer(401, {"error": "the Digital-Signature does not fit the body"})
            receipt = await self._intake.put(Arrival(read_event(body), signature))
        except KeyUnavailable as error:
            log.error("event.not_checked", reason=str(error))
            return _Answer(503, {"error": "the bank's public key is not available now"}, _RETRY_SOON)
        except LedgerUnavailable as error:
            log.error("event.not_stored", reason=str(error))
            return _Answer(503, {"error": "the event could not be stored now"}, _RETRY_SOON)
        return _Answer(200, {"event_id": receipt.event_id, "outcome": receipt.outcome.value})

    async def _is_signed(self, body: bytes, signature: str) -> bool:
        # 0.04 ms, in which libsecp256k1 lets the other threads go on
        known = self._keys.check_cached(body, signature)
        if known is None:
            return await asyncio.to_thread(self._keys.refresh_and_check, body, signature)
        return known


class _Answer:
    """A status and a JSON object."""

    __slots__ = ("_body", "_extra", "status")

    def __init__(self, status: int, body: dict[str, str], *extra: tuple[bytes, bytes]) -> None:
        self.status = status
        self._body = msgspec.json.encode(body)
        self._extra = extra

    async def send(self, send: Send) -> None:
        length = str(len(self._body)).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", length), *self._extra]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self._body})


class _Refusals:
    """Tells of refused signatures: the first at once, then one line a second with how many there were."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._count = 0
        self._told_at = -REFUSALS_SECONDS

    def note(self, size: int) -> None:
        self._count += 1
        now = self._clock()
        if now - self._told_at >= REFUSALS_SECONDS:
            log.warning("event.signature_refused", count=self._count, last_bytes=size)
            self._count, self._told_at = 0, now


def tell(arrivals: Sequence[Arrival], receipts: Sequence[Receipt]) -> None:
    """One line for each event that was stored; receipts are in the order of the arrivals."""
    stored = list(zip(arrivals, receipts, strict=True))
    for level, chosen in (
        ("info", [each for each in stored if each[1].outcome not in _REMARKABLE]),
        ("warning", [each for each in stored if each[1].outcome in _REMARKABLE]),
    ):
        if chosen:
            write_facts("event.stored", level, (_fact(*each) for each in chosen))


def _fact(arrival: Arrival, receipt: Receipt) -> dict[str, str | int | None]:
    return {
        "event_id": receipt.event_id,
        **arrival.event.followed_by,
        "outcome": receipt.outcome.value,
        "subject": receipt.subject,
        "net_centavos": receipt.net_centavos,
    }


_REMARKABLE = frozenset({Outcome.UNREADABLE, Outcome.SECOND_CREDIT, Outcome.NOTHING_TO_FORWARD})


async def _bounded_body(receive: Receive) -> bytes | None:
    """The raw bytes, or None when there are too many; never holds more than the limit."""
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size > BODY_BYTES_MAX:
            return None
        chunks.append(chunk)
        if not message.get("more_body"):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _too_large() -> _Answer:
    return _Answer(413, {"error": f"the body is larger than {BODY_BYTES_MAX} bytes"})
