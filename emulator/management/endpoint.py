"""How a call of the management API comes in and goes out: JSON, or a form of the page.

A handler takes the request and its body and returns a dict. A wrong argument gets 400 with the reason; requests
that pages of other sites make get 403. `routes` says what each call means.
"""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from emulator.behaviour.bank import Bank
from emulator.books.refusal import Refusal
from emulator.clock import Clock
from emulator.management.sentences import Notes, sentence

# Room for a saved state with some ten thousand invoices.
MOST_BODY_BYTES = 200_000_000

log = logging.getLogger("emulator.management")

Body = dict[str, Any]
Endpoint = Callable[[Request], Awaitable[Response]]


class NotReady(Exception):
    """Why the bank is not ready; the answer is 503 with this text."""


class Endpoints:
    """Makes Starlette endpoints of handlers."""

    def __init__(self, bank: Bank, clock: Clock, notes: Notes) -> None:
        self._bank = bank
        self._clock = clock
        self._notes = notes

    def endpoint(self, handler: Callable[[Request, Body], Any]) -> Endpoint:
        """The endpoint of one handler, which may be a coroutine."""

        async def endpoint(request: Request) -> Response:
            is_form = False
            status, back = 200, ""
            try:
                _refuse_other_sites(request)
                raw = await request.body()
                is_form = _is_form(request, raw)
                body = _body(raw, is_form)
                back = str(body.pop("back", "")) if is_form else ""
                self._bank.step(self._clock.now())
                answer = handler(request, body)
                if inspect.isawaitable(answer):
                    answer = await answer
                # Entries that this made due now is done now, so that the next call sees it.
                self._bank.step(self._clock.now())
            except Refusal as refusal:
                status, answer = 400, refusal.to_json()
            except _OtherSite as refused:
                return _json(Refusal.of("forbidden", str(refused)).to_json(), 403)
            except NotReady as reason:
                return _json({"status": str(reason)}, 503)
            except (ValueError, RecursionError) as error:
                status, answer = 400, Refusal.of("invalidRequest", str(error)).to_json()
            except Exception:
                log.exception("%s %s failed inside the emulator", request.method, request.url.path)
                status, answer = 500, Refusal.of("internalServerError", "See the emulator's log").to_json()
            if not is_form:
                return _json(answer, status)
            self._notes.add(self._clock.now(), sentence(answer), is_good=status == 200)
            return RedirectResponse(_place(back), 303)

        return endpoint


def _place(back: str) -> str:
    """Where a form leads back to: a section of the page, or the page of one entry, and nowhere else."""
    if re.fullmatch(r"view/(event|request|delivery)/\d{1,20}", back, re.ASCII):
        return f"/emulator/{back}"
    return f"/emulator/#{back if re.fullmatch(r'[a-z]{1,20}', back) else ''}"


class _OtherSite(Exception):
    """A browser sends this for a page of another site."""


def _refuse_other_sites(request: Request) -> None:
    """Refuse a request that another site made a browser send; programs send no Origin."""
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        raise _OtherSite(f"the management API does not answer pages of {origin[:200]}")
    if request.method != "GET" and request.headers.get("sec-fetch-site") in ("cross-site", "same-site"):
        raise _OtherSite("the management API does not answer pages of other sites")


def _is_form(request: Request, raw: bytes) -> bool:
    """Whether a form of the page was sent; curl gives this content type to JSON too."""
    is_said = request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
    return is_said and not raw.lstrip().startswith(b"{")


def _body(raw: bytes, is_form: bool) -> Body:
    if len(raw) > MOST_BODY_BYTES:
        raise ValueError(f"the body is longer than {MOST_BODY_BYTES} bytes")
    if is_form:
        return _form(raw)
    body = msgspec.json.decode(raw) if raw.strip() else {}
    if not isinstance(body, dict):
        raise ValueError("the body must be a JSON object")
    return body


# What a form's field is read as: everything else is a text.
_NUMBERS = {"amount", "times", "rate", "seconds", "count", "ends_in", "speed", "advance", "steps", "percent"}
_NUMBERS |= {"at_least_centavos", "at_most_centavos", "retry_after", "paid_share"}
_FLAGS = {"paused", "forged", "paying", "accepted"}


def _form(raw: bytes) -> Body:
    """A form's fields as a JSON body; a field left empty was not filled in."""
    found: Body = {}
    for name, value in parse_qsl(raw.decode("utf-8", "replace")):
        if name in _NUMBERS and re.fullmatch(r"-?\d{1,15}(\.\d{1,9})?", value, re.ASCII):
            found[name] = float(value) if "." in value else int(value)
        elif name in _FLAGS and value in ("true", "false"):
            found[name] = value == "true"
        else:
            found[name] = value
    return found


def _json(body: Body, status: int = 200) -> Response:
    return Response(msgspec.json.encode(body), status, media_type="application/json")
