"""``POST /webhooks/starkbank``: check the signature over the raw bytes, store, and only then answer 200.

Anything but 200 makes the bank try again after 5, 30 and 120 minutes, and then no more. So: 200 for whatever is
stored, wanted or not; 401 for what the bank did not sign; 503 for what we could not check or store.
"""

import asyncio
from collections.abc import Callable
from time import perf_counter

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from payments.bank.signature import BankKeys, KeyUnavailable
from payments.errors import LedgerUnavailable
from payments.event import read_event
from payments.ledger.inbox import Arrival, Outcome, Receipt
from payments.metrics import Metrics
from webhooks.intake import Intake

log = structlog.get_logger()

# Recorded events are 1 to 3 kB; a megabyte is far above any, and bounds what a stranger can make us hold.
BODY_BYTES_MAX = 1_048_576

_RETRY_SOON = {"Retry-After": "30"}


class Receiver:
    """The endpoint. ``wake_forwarder`` is called when a new transfer is due."""

    def __init__(
        self, keys: BankKeys, intake: Intake, metrics: Metrics, wake_forwarder: Callable[[], None]
    ) -> None:
        self._keys = keys
        self._intake = intake
        self._metrics = metrics
        self._wake_forwarder = wake_forwarder

    async def answer(self, request: Request) -> Response:
        """Answer one delivery, and count it."""
        began = perf_counter()
        response = await self._receive(request)
        self._metrics.count_event(response.status_code, perf_counter() - began)
        return response

    async def _receive(self, request: Request) -> Response:
        signature = request.headers.get("digital-signature", "")
        try:
            body = await _bounded_body(request)
        except ClientDisconnect:
            return _refusal(400, "the connection ended before the body did")
        if body is None:
            return _refusal(413, f"the body is larger than {BODY_BYTES_MAX} bytes")
        if not signature:
            self._metrics.signature_refusals.inc()
            return _refusal(401, "the Digital-Signature header is missing")
        try:
            if not await self._is_signed(body, signature):
                self._metrics.signature_refusals.inc()
                log.warning("event.signature_refused", bytes=len(body))
                return _refusal(401, "the Digital-Signature does not fit the body")
            receipt = await self._intake.put(Arrival(read_event(body), signature))
        except KeyUnavailable as error:
            log.error("event.not_checked", reason=str(error))
            return _refusal(503, "the bank's public key is not available now", _RETRY_SOON)
        except LedgerUnavailable as error:
            log.error("event.not_stored", reason=str(error))
            return _refusal(503, "the event could not be stored now", _RETRY_SOON)
        self._tell(receipt)
        return JSONResponse({"event_id": receipt.event_id, "outcome": receipt.outcome})

    async def _is_signed(self, body: bytes, signature: str) -> bool:
        known = self._keys.check_cached(body, signature)
        if known is None:
            return await asyncio.to_thread(self._keys.refresh_and_check, body, signature)
        return known

    def _tell(self, receipt: Receipt) -> None:
        if receipt.outcome == Outcome.CREDIT:
            self._wake_forwarder()
        level = log.warning if receipt.outcome in _REMARKABLE else log.info
        level(
            "event.stored",
            event_id=receipt.event_id,
            outcome=receipt.outcome,
            subject=receipt.subject,
            net_centavos=receipt.net_centavos,
        )


_REMARKABLE = frozenset({Outcome.UNREADABLE, Outcome.SECOND_CREDIT, Outcome.NOTHING_TO_FORWARD})


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


def _refusal(status: int, reason: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"error": reason}, status_code=status, headers=headers)
