"""``POST /webhooks/starkbank``: check the signature over the raw bytes, store, and only then answer 200.

Anything but 200 makes the bank try again after 5, 30 and 120 minutes, and then no more. So: 200 for whatever is
stored, wanted or not; 401 for what the bank did not sign; 503 for what we could not check or store.

``Receiver.take`` decides. Two doors lead to it: ``delivery_protocol.py``, the short way of nearly every delivery, and
``Receiver`` itself as an ASGI application, for any server and for whatever is out of the ordinary.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from time import monotonic, perf_counter
from typing import NamedTuple

import msgspec
import structlog
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from payments.bank.signature import BankKeys, KeyUnavailable
from payments.errors import LedgerUnavailable
from payments.ledger.inbox import Arrival, Outcome, Receipt
from payments.observability.metrics import Metrics
from webhooks.intake import Intake

log = structlog.get_logger()

PATH = "/webhooks/starkbank"

# Recorded events are 1 to 3 kB; a megabyte is far above any, and bounds what a stranger can make us hold.
BODY_BYTES_MAX = 1_048_576

# A flood of forged events is told of in one line a second, not in one line each.
REFUSALS_SECONDS = 1.0

_RETRY_SOON = (b"retry-after", b"30")


class Signed(NamedTuple):
    """A body that the bank has signed, and its ``Digital-Signature``."""

    body: bytes
    signature: str


class Answer:
    """A status, a JSON object as bytes, and headers besides its type and length."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, body: dict[str, str], *headers: tuple[bytes, bytes]) -> None:
        self.status = status
        self.body = msgspec.json.encode(body)
        self.headers = headers


_UNSIGNED = Answer(401, {"error": "the Digital-Signature header is missing"})
_FORGED = Answer(401, {"error": "the Digital-Signature does not fit the body"})
_NOT_CHECKED = Answer(503, {"error": "the bank's public key is not available now"}, _RETRY_SOON)
_NOT_STORED = Answer(503, {"error": "the event could not be stored now"}, _RETRY_SOON)
_TOO_LARGE = Answer(413, {"error": f"the body is larger than {BODY_BYTES_MAX} bytes"})
_CUT_OFF = Answer(400, {"error": "the connection ended before the body did"})
_ONLY_POST = Answer(405, {"error": "only POST is answered here"}, (b"allow", b"POST"))
_BUG = Answer(500, {"error": "an error of ours; it is in the log"})


class Receiver:
    """Takes deliveries, and counts what it answers."""

    def __init__(self, keys: BankKeys, intake: Intake[Signed], metrics: Metrics) -> None:
        self._keys = keys
        self._intake = intake
        self._metrics = metrics
        self._refused = _Refusals()

    def take(self, body: bytes, signature: str, reply: Callable[[Answer], None]) -> None:
        """Check and store one delivery; ``reply`` is called once, in the event loop: now, or after the commit.

        Call it in the event loop. ``signature`` is the header's value, empty when there is none.
        """
        began = perf_counter()

        def answer(chosen: Answer) -> None:
            self._metrics.count_event(chosen.status, perf_counter() - began)
            reply(chosen)

        try:
            self._take(body, signature, answer)
        except Exception:  # a bug; the bank tries again, and the server does not take it for a bad request
            log.exception("event.not_taken")
            answer(_BUG)

    def _take(self, body: bytes, signature: str, answer: Callable[[Answer], None]) -> None:
        if not signature:
            self._metrics.signature_refusals.inc()
            return answer(_UNSIGNED)
        try:
            # 0.04 ms, in which libsecp256k1 lets the other threads go on
            is_signed = self._keys.check_cached(body, signature)
        except KeyUnavailable as error:
            return answer(_not_checked(error))
        if is_signed is None:
            return self._refresh(body, signature, answer)
        self._store(is_signed, body, signature, answer)

    def _refresh(self, body: bytes, signature: str, answer: Callable[[Answer], None]) -> None:
        """Only the bank can tell; asked in a thread."""
        asking = asyncio.get_running_loop().run_in_executor(
            None, self._keys.refresh_and_check, body, signature
        )
        asking.add_done_callback(partial(self._go_on, body, signature, answer))

    def _go_on(
        self, body: bytes, signature: str, answer: Callable[[Answer], None], asked: "asyncio.Future[bool]"
    ) -> None:
        try:
            is_signed = asked.result()
        except KeyUnavailable as error:
            return answer(_not_checked(error))
        except Exception:
            log.exception("event.not_checked")
            return answer(_BUG)
        self._store(is_signed, body, signature, answer)

    def _store(self, is_signed: bool, body: bytes, signature: str, answer: Callable[[Answer], None]) -> None:
        if not is_signed:
            self._metrics.signature_refusals.inc()
            self._refused.note(len(body))
            return answer(_FORGED)

        def told(what: Receipt | Exception) -> None:
            if isinstance(what, Receipt):
                answer(Answer(200, {"event_id": what.event_id, "outcome": what.outcome.value}))
            else:
                answer(_not_stored(what))

        try:
            self._intake.put(Signed(body, signature), told)
        except LedgerUnavailable as error:
            answer(_not_stored(error))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one delivery as an ASGI application."""
        await _send(await self._receive(scope, receive), send)

    async def _receive(self, scope: Scope, receive: Receive) -> Answer:
        began = perf_counter()
        refused: Answer | None = None
        body: bytes | None = None
        signature, announced = "", b""
        for name, value in scope["headers"]:
            if name == b"digital-signature":
                signature = value.decode("latin-1")
            elif name == b"content-length":
                announced = value
        if scope["method"] != "POST":
            refused = _ONLY_POST
        elif announced.isdigit() and int(announced) > BODY_BYTES_MAX:
            refused = _TOO_LARGE
        else:
            try:
                body = await _bounded_body(receive)
            except ClientDisconnect:
                refused = _CUT_OFF
        if refused is None and body is not None:
            taken: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
            self.take(body, signature, partial(_resolve, taken))
            return await taken
        refused = refused or _TOO_LARGE
        self._metrics.count_event(refused.status, perf_counter() - began)
        return refused


def _resolve(taken: "asyncio.Future[Answer]", answer: Answer) -> None:
    if not taken.cancelled():  # the server has given the request up
        taken.set_result(answer)


def _not_checked(error: KeyUnavailable) -> Answer:
    log.error("event.not_checked", reason=str(error))
    return _NOT_CHECKED


def _not_stored(error: Exception) -> Answer:
    if isinstance(error, LedgerUnavailable):
        log.error("event.not_stored", reason=str(error))
        return _NOT_STORED
    log.error("event.not_stored", exc_info=error)
    return _BUG


async def _send(answer: Answer, send: Send) -> None:
    length = str(len(answer.body)).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", length), *answer.headers]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


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
    for arrival, receipt in zip(arrivals, receipts, strict=True):
        write = log.warning if receipt.outcome in _REMARKABLE else log.info
        write("event.stored", **_fact(arrival, receipt))


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
