"""``POST /webhooks/starkbank``: check the signature over the raw bytes, store, and only then answer 200.

Anything but 200 makes the bank try again after 5, 30 and 120 minutes, and then no more (docs/starkbank.md). So: 200 for
all that is stored, wanted or not; 401 for what the bank did not sign; 408 for a body that does not come; 503 for what
could not be received, checked or stored.
"""

import asyncio
from collections.abc import Sequence
from time import monotonic, perf_counter
from typing import NamedTuple

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from payments.bank.signature import BankKeys, KeyUnavailable
from payments.errors import LedgerUnavailable
from payments.ledger.inbox import Arrival, Outcome, Receipt
from payments.observability.metrics import Metrics
from webhooks.intake import Intake

log = structlog.get_logger()

PATH = "/webhooks/starkbank"

# Recorded events are 1 to 3 kB; a megabyte is far above any, and bounds what a stranger can make us hold.
BODY_BYTES_MAX = 1_048_576

# How long a body may take to come. The bank sends its few kB in one piece; a connection that is left open must not
# hold a file descriptor forever.
BODY_SECONDS = 30.0

# How many bodies may be coming at the same moment, where the limit on open files allows it: 250 MB at the worst, from
# strangers, before any signature is checked. At 500 events a second some dozens are, nearly all of them whole already.
RECEIVING_MAX = 250

# A flood of forged events is logged in one line a second, and not in one line each; bodies that do not come, in one
# line a minute.
REFUSALS_SECONDS = 1.0
CUTS_SECONDS = 60.0


class Delivery(NamedTuple):
    """A body that the bank has signed, and its ``Digital-Signature``."""

    body: bytes
    signature: str


class Receiver:
    """Answers deliveries, and counts what it answers. At most ``receiving_max`` bodies may be coming together."""

    def __init__(
        self, keys: BankKeys, intake: Intake[Delivery], metrics: Metrics, receiving_max: int = RECEIVING_MAX
    ) -> None:
        self._keys = keys
        self._intake = intake
        self._metrics = metrics
        self._receiving_max = receiving_max
        self._receiving = 0
        self._forged = _Summary("event.signature_refused", REFUSALS_SECONDS)
        self._cut = _Summary("event.body_cut", CUTS_SECONDS)
        self._crowd = _Summary("event.too_many_bodies", CUTS_SECONDS)

    async def answer(self, request: Request) -> Response:
        """Receive one delivery; the route's endpoint."""
        began = perf_counter()
        try:
            response = await self._receive(request)
        except Exception:  # a bug; the bank tries again
            log.exception("event.failed")
            response = _refuse(500, "an error of ours; it is in the log")
        self._metrics.count_event(response.status_code, perf_counter() - began)
        return response

    async def _receive(self, request: Request) -> Response:
        """The whole way of one delivery, from its bytes to its answer."""
        if self._receiving >= self._receiving_max:
            self._crowd.note()
            return _refuse(503, "too many deliveries are being received", _SOON | _CLOSE)
        self._receiving += 1
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = await _bounded_body(request)
        except ClientDisconnect:
            return _refuse(400, "the connection ended before the body did")
        except TimeoutError:
            self._cut.note()
            return _refuse(408, f"the body did not come within {BODY_SECONDS:g} s", _CLOSE)
        finally:
            self._receiving -= 1
        if body is None:
            return _refuse(413, f"the body is larger than {BODY_BYTES_MAX} bytes", _CLOSE)

        signature = request.headers.get("digital-signature", "")
        if not signature:
            self._metrics.signature_refusals.inc()
            return _refuse(401, "the Digital-Signature header is missing")
        try:
            is_signed = self._keys.check_cached(body, signature)
            if is_signed is None:  # only the bank's newest keys can decide: asked in a thread
                is_signed = await asyncio.to_thread(self._keys.refresh_and_check, body, signature)
        except KeyUnavailable as error:
            log.error("event.not_checked", reason=str(error))
            return _refuse(503, "the bank's public key is not available now", _SOON)
        if not is_signed:
            self._metrics.signature_refusals.inc()
            self._forged.note(last_bytes=len(body))
            return _refuse(401, "the Digital-Signature does not fit the body")

        try:
            receipt = await self._intake.put(Delivery(body, signature))
        except LedgerUnavailable as error:
            log.error("event.not_stored", reason=str(error))
            return _refuse(503, "the event could not be stored now", _SOON)
        return JSONResponse({"event_id": receipt.event_id, "outcome": receipt.outcome})


async def _bounded_body(request: Request) -> bytes | None:
    """The raw bytes, or None when there are too many; never holds more than the limit."""
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > BODY_BYTES_MAX:
        return None
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > BODY_BYTES_MAX:
            return None
        chunks.append(chunk)
    return b"".join(chunks)


def _refuse(status: int, reason: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"error": reason}, status, headers)


# With a 503: a balancer or a person may try again soon; the bank has its own times.
_SOON = {"Retry-After": "30"}

# With an answer to a request whose body has not come whole: what follows it on the connection is not read.
_CLOSE = {"Connection": "close"}


class _Summary:
    """Logs what may happen very often: the first immediately, then a line every ``seconds`` with their number."""

    def __init__(self, event: str, seconds: float) -> None:
        self._event = event
        self._seconds = seconds
        self._count = 0
        self._logged_at = -seconds

    def note(self, **facts: object) -> None:
        self._count += 1
        now = monotonic()
        if now - self._logged_at >= self._seconds:
            log.warning(self._event, count=self._count, **facts)
            self._count, self._logged_at = 0, now


_REMARKABLE = frozenset({Outcome.UNREADABLE, Outcome.SECOND_CREDIT, Outcome.NOTHING_TO_FORWARD})


def log_stored(arrivals: Sequence[Arrival], receipts: Sequence[Receipt]) -> None:
    """One line for each event that was stored; receipts are in the order of the arrivals."""
    for arrival, receipt in zip(arrivals, receipts, strict=True):
        write = log.warning if receipt.outcome in _REMARKABLE else log.info
        write(
            "event.stored",
            event_id=receipt.event_id,
            **arrival.event.followed_by,
            outcome=receipt.outcome,
            subject=receipt.subject,
            net_centavos=receipt.net_centavos,
        )
