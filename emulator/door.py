"""The HTTP side of the protocol face: reads a request, checks who signed it, lets faults strike, answers.

The calls themselves are in `api`. Success is exactly 200 and a refusal exactly 400. It keeps a short history
of requests for tests to read.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from emulator import api
from emulator.bank import Bank
from emulator.clock import Clock
from emulator.credentials import Credentials
from emulator.faults import Fault, Matter
from emulator.formats import time_text
from emulator.refusal import Refusal

# Unknown at the bank. Room for 100 full invoices many times over.
MOST_BODY_BYTES = 5_000_000
# Enough for a whole day of a test; the oldest fall out.
HISTORY = 10_000
# A hanging answer ends after this long, so that forgotten faults do not keep connections for ever.
HANG_SECONDS = 60.0
# Long enough to be felt and shorter than the SDKs' patience of 15 s.
SLOW_SECONDS = 5.0

log = logging.getLogger("emulator.door")


class Door:
    """The ASGI endpoint of everything outside /emulator."""

    def __init__(self, bank: Bank, credentials: Credentials, clock: Clock) -> None:
        self._bank = bank
        self._credentials = credentials
        self._clock = clock
        self.history: deque[dict[str, Any]] = deque(maxlen=HISTORY)
        self.request_count = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        started_seconds = time.perf_counter()
        try:
            body = await self._body(request)
        except ClientDisconnect:
            return
        segments = api.segments_of(request.url.path)
        fault = self._fault(request, segments, body) if segments else None
        takes_effect = fault is None or fault.accepted
        answer = self._answer(request, segments, body) if takes_effect else _json({}, 503)
        status = answer.status_code if fault is None else _STATUS_OF.get(fault.name, answer.status_code)
        self._note(request, status, started_seconds, fault)
        if fault is None:
            await answer(scope, receive, send)
        else:
            await _strike(fault, answer, scope, receive, send)

    def _fault(self, request: Request, segments: tuple[str, ...], body: bytes) -> Fault | None:
        faults = self._bank.faults
        amounts = _amounts(body) if faults.look_at_amounts else ()
        return faults.for_request(Matter(api.subject_of(request.method, segments), amounts, segments))

    async def _body(self, request: Request) -> bytes:
        chunks = bytearray()
        async for chunk in request.stream():
            # Read to the end even when it is too long, so that the sender gets an answer and not a reset.
            if len(chunks) <= MOST_BODY_BYTES:
                chunks += chunk
        return bytes(chunks)

    def _answer(self, request: Request, segments: tuple[str, ...], body: bytes) -> Response:
        now = self._clock.now()
        try:
            if not segments:
                raise api.NoSuchRoute(f"{request.method} {request.url.path}")
            self._bank.step(now)
            self._authenticate(request, segments, body)
            query = dict(parse_qsl(request.url.query, keep_blank_values=True))
            call = api.Call(request.method, segments, query, body, now, self._clock.client_now())
            return _json(api.answer(self._bank, self._credentials, call))
        except Refusal as refusal:
            return _json(refusal.to_json(), 400)
        except api.NoSuchRoute as missing:
            # Guess: the facts do not say what an unknown path gets.
            return _json(Refusal.of("routeNotFound", f"There is no route {missing}").to_json(), 404)
        except Exception:
            log.exception("%s %s failed inside the emulator", request.method, request.url.path)
            return _json(
                Refusal.of("internalServerError", "The emulator failed; its log says why").to_json(), 500
            )

    def _authenticate(self, request: Request, segments: tuple[str, ...], body: bytes) -> None:
        # The public key is public: SDKs sign this call as well, but it is also answered to a caller without
        # headers.
        if segments == ("public-key",) and "access-id" not in request.headers:
            return
        if len(body) > MOST_BODY_BYTES:
            raise Refusal.of("invalidJson", f"The body is longer than {MOST_BODY_BYTES} bytes")
        self._credentials.check_request(request.headers, body)

    def _note(self, request: Request, status: int, started_seconds: float, fault: Fault | None) -> None:
        self.request_count += 1
        self.history.append(
            {
                "at": time_text(self._clock.now()),
                "method": request.method,
                "path": request.url.path,
                "query": request.url.query,
                "status": status,
                "ms": round((time.perf_counter() - started_seconds) * 1000, 3),
                "fault": None if fault is None else fault.name,
            }
        )


def _json(body: dict[str, Any], status: int = 200) -> Response:
    return Response(msgspec.json.encode(body), status, media_type="application/json")


# What the history says of a request that a fault struck; 0 for one that was never answered.
_STATUS_OF = {
    "drop_answer": 0,
    "hang": 0,
    "error_500": 500,
    "error_502": 502,
    "error_503": 503,
    "key_endpoint_down": 503,
    "throttle_429": 429,
    "wrong_body": 200,
}


async def _strike(fault: Fault, answer: Response, scope: Scope, receive: Receive, send: Send) -> None:
    name = fault.name
    if name == "slow_answer":
        await asyncio.sleep(float(fault.options.get("seconds", SLOW_SECONDS)))
        await answer(scope, receive, send)
    elif name == "hang":
        seconds = float(fault.options.get("seconds", HANG_SECONDS))
        try:
            async with asyncio.timeout(seconds):
                while (await receive())["type"] != "http.disconnect":
                    pass
        except TimeoutError:
            await _hang_up(scope, receive, send)
    elif name == "drop_answer":
        await _hang_up(scope, receive, send)
    elif name == "cut_body":
        await send(
            {"type": "http.response.start", "status": answer.status_code, "headers": answer.raw_headers}
        )
        half = bytes(answer.body)[: len(answer.body) // 2]
        await send({"type": "http.response.body", "body": half, "more_body": True})
        await _hang_up(scope, receive, send, flush=True)
    elif name == "wrong_body":
        await Response("<html>Service temporarily odd</html>", media_type="text/html")(scope, receive, send)
    elif name == "empty_page":
        emptied = _json(_emptied(bytes(answer.body)), answer.status_code)
        await emptied(scope, receive, send)
    elif name == "throttle_429":
        retry_after = fault.options.get("retry_after")
        headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        # Unknown: the bank's body of a 429, if it has any.
        await Response("Too Many Requests", 429, headers, "text/plain")(scope, receive, send)
    else:
        body = Refusal.of("internalServerError", "Houston, we have a problem").to_json()
        await _json(body, _STATUS_OF[name])(scope, receive, send)


def _amounts(body: bytes) -> tuple[int, ...]:
    """The amounts of all elements in a request's body, for rules on amount; none where there is no list."""
    try:
        wrapped = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return ()
    lists = [each for each in wrapped.values() if isinstance(each, list)] if isinstance(wrapped, dict) else []
    elements = [element for each in lists for element in each if isinstance(element, dict)]
    return tuple(amount for each in elements if type(amount := each.get("amount")) is int)


def _emptied(body: bytes) -> dict[str, Any]:
    answer: dict[str, Any] = msgspec.json.decode(body)
    if "cursor" not in answer:
        return answer
    return {key: [] if isinstance(value, list) else None for key, value in answer.items()}


async def _hang_up(scope: Scope, receive: Receive, send: Send, *, flush: bool = False) -> None:
    """Close the connection under the answer; without one (in-process tests) an empty 502 stands for that."""
    transport = scope.get("emulator.transport")
    if transport is None:
        if not flush:
            await send({"type": "http.response.start", "status": 502, "headers": []})
        await send({"type": "http.response.body", "body": b""})
        return
    if flush:
        transport.close()
    else:
        transport.abort()
    while (await receive())["type"] != "http.disconnect":
        pass
