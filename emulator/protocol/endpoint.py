"""The HTTP side of the /v2 API: reads a request, checks who signed it, lets faults strike, answers.

The calls themselves are in `routes`. Success is exactly 200 and a refusal exactly 400. Every request is kept in
a history for tests to read.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from emulator.behaviour.bank import Bank
from emulator.behaviour.faults import Fault, Subject
from emulator.books.formats import time_text
from emulator.books.refusal import Refusal
from emulator.clock import Clock
from emulator.protocol import filters, routes
from emulator.protocol.credentials import Credentials
from emulator.protocol.documents import Document
from emulator.protocol.history import MOST_BODY_BYTES as MOST_KEPT_BYTES
from emulator.protocol.history import Entry, History
from emulator.protocol.language import in_language
from emulator.protocol.limits import Limits
from emulator.protocol.request import Call

# Unknown at the bank. Room for 100 full invoices many times over.
MOST_BODY_BYTES = 5_000_000

# What a request needs to be repeated as it was; the rest is between the client's HTTP library and ours.
_KEPT_HEADERS = (
    "Access-Id", "Access-Time", "Access-Signature", "User-Agent", "Content-Type", "Accept-Language",
)  # fmt: skip

log = logging.getLogger("emulator.protocol")


class ProtocolEndpoint:
    """The ASGI endpoint of everything outside /emulator."""

    def __init__(self, bank: Bank, credentials: Credentials, clock: Clock) -> None:
        self._bank = bank
        self._credentials = credentials
        self._clock = clock
        self._limits = Limits()
        self.history = History()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        started_seconds = time.perf_counter()
        try:
            body = await self._body(request)
        except ClientDisconnect:
            return
        segments = routes.segments_of(request.url.path)
        entry = self._entry(request, body)
        fault = self._fault(request, segments, body) if segments else None
        takes_effect = fault is None or fault.accepted
        answer = self._answer(request, segments, body, entry) if takes_effect else _json({}, 503)
        entry["status"] = answer.status_code
        if fault is not None:
            entry["fault"] = fault.scenario or fault.name
            entry["status"] = _STATUS_OF.get(fault.name, answer.status_code)
        if takes_effect:
            entry["answer"] = bytes(answer.body[:MOST_KEPT_BYTES])
        entry["ms"] = round((time.perf_counter() - started_seconds) * 1000, 3)
        self.history.add(entry)
        if fault is None:
            await answer(scope, receive, send)
        else:
            await _strike(fault, answer, scope, receive, send)

    def _entry(self, request: Request, body: bytes) -> Entry:
        return {
            "at": time_text(self._clock.now()),
            "method": request.method,
            "path": request.url.path,
            "query": request.url.query,
            "status": 0,
            "ms": 0.0,
            "fault": None,
            "project": None,
            "errors": [],
            "headers": {name: value for name in _KEPT_HEADERS if (value := request.headers.get(name))},
            "body": body[:MOST_KEPT_BYTES],
            "answer": b"",
            "repeats": [],
        }

    def _fault(self, request: Request, segments: tuple[str, ...], body: bytes) -> Fault | None:
        faults = self._bank.faults
        amounts = _amounts(body) if faults.look_at_amounts else ()
        return faults.for_request(Subject(routes.subject_of(request.method, segments), amounts, segments))

    async def _body(self, request: Request) -> bytes:
        chunks = bytearray()
        async for chunk in request.stream():
            # Read to the end even when it is too long, so that the sender gets an answer and not a reset.
            if len(chunks) <= MOST_BODY_BYTES:
                chunks += chunk
        return bytes(chunks)

    def _answer(self, request: Request, segments: tuple[str, ...], body: bytes, entry: Entry) -> Response:
        now = self._clock.now()
        found = routes.find(request.method, segments)
        try:
            self._bank.step(now)
            if segments:
                wait_seconds = self._admit(
                    request, body, entry, is_public=found is not None and found[0].is_public
                )
                if wait_seconds:
                    return _throttled(wait_seconds)
            if found is None:
                # Guess: the facts do not say what an unknown path gets.
                words = f"There is no route {request.method} {request.url.path}"
                return _json(Refusal.of("routeNotFound", words).to_json(), 404)
            operation, row_id = found
            query = dict(parse_qsl(request.url.query, keep_blank_values=True))
            given = filters.read(query, operation.parameters)
            caller = request.headers.get("access-id", "") if entry["project"] else ""
            client_now = self._clock.client_now()
            call = Call(row_id, given, body, now, client_now, self._credentials, caller)
            answer = operation.do(self._bank, call)
            if isinstance(answer, Document):
                return Response(answer.content, media_type=answer.media_type)
            return _json(filters.trim(answer, given.get("fields")))
        except Refusal as refusal:
            entry["errors"] = [code for code, _ in refusal.errors]
            return _json(in_language(request.headers, refusal.to_json()), 400)
        except Exception:
            log.exception("%s %s failed inside the emulator", request.method, request.url.path)
            return _json(
                Refusal.of("internalServerError", "The emulator failed; its log says why").to_json(), 500
            )

    def _admit(self, request: Request, body: bytes, entry: Entry, *, is_public: bool) -> int:
        """Authenticate the caller; returns how many seconds it has to wait under its limit, 0 for none."""
        # SDKs sign public calls as well, but these are also answered to a caller without headers.
        if is_public and "access-id" not in request.headers:
            return 0
        if len(body) > MOST_BODY_BYTES:
            raise Refusal.of("invalidJson", f"The body is longer than {MOST_BODY_BYTES} bytes")
        address = request.client.host if request.client is not None else ""
        project = self._credentials.check_request(request.headers, body, address)
        entry["project"] = project.project_id
        limit = project.requests_per_minute
        per_minute = self._bank.preset.requests_per_minute if limit is None else limit
        return self._limits.wait_seconds(project.project_id, per_minute)


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
        await asyncio.sleep(fault.measure)
        await answer(scope, receive, send)
    elif name == "hang":
        try:
            async with asyncio.timeout(fault.measure):
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
        await _emptied(answer)(scope, receive, send)
    elif name == "throttle_429":
        await _throttled(fault.measure)(scope, receive, send)
    else:
        body = Refusal.of("internalServerError", "Houston, we have a problem").to_json()
        said = in_language(Headers(scope=scope), body)
        await _json(said, _STATUS_OF[name])(scope, receive, send)


def _throttled(retry_after: int | None) -> Response:
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    # Unknown: the bank's body of a 429, if it has any.
    return Response("Too Many Requests", 429, headers, "text/plain")


def _amounts(body: bytes) -> tuple[int, ...]:
    """The amounts of all elements in a request's body, for rules on amount; none where there is no list."""
    try:
        wrapped = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return ()
    lists = [each for each in wrapped.values() if isinstance(each, list)] if isinstance(wrapped, dict) else []
    elements = [element for each in lists for element in each if isinstance(element, dict)]
    return tuple(amount for each in elements if type(amount := each.get("amount")) is int)


def _emptied(answer: Response) -> Response:
    """A list without its rows; any other answer as it is."""
    if answer.media_type != "application/json":
        return answer
    found: dict[str, Any] = msgspec.json.decode(answer.body)
    if "cursor" not in found:
        return answer
    empty: dict[str, Any] = {key: [] if isinstance(value, list) else None for key, value in found.items()}
    return _json(empty, answer.status_code)


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
