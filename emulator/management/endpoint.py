"""How a call of the management face comes in and goes out: JSON, or a form of the page.

A call is told its request and its body, and answers with a dict. What is wrong is a 400 with the reason;
pages of other sites are turned away. What a call means is the business of `routes`.
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
    """Why the bank is not ready; the text is for the answer, which is 503."""


class Face:
    """Makes endpoints of calls."""

    def __init__(self, bank: Bank, clock: Clock, notes: Notes) -> None:
        self._bank = bank
        self._clock = clock
        self._notes = notes

    def endpoint(self, act: Callable[[Request, Body], Any]) -> Endpoint:
        """The endpoint of one call, which may be a coroutine."""

        async def endpoint(request: Request) -> Response:
            is_form = False
            status, back = 200, ""
            try:
                _turn_away_strangers(request)
                raw = await request.body()
                is_form = _is_form(request, raw)
                body = _body(raw, is_form)
                back = str(body.pop("back", "")) if is_form else ""
                self._bank.step(self._clock.now())
                answer = act(request, body)
                if inspect.isawaitable(answer):
                    answer = await answer
                # What is due at once is done at once, so that the next call sees it.
                self._bank.step(self._clock.now())
            except Refusal as refusal:
                status, answer = 400, refusal.to_json()
            except _Stranger as stranger:
                return _json(Refusal.of("forbidden", str(stranger)).to_json(), 403)
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
            # Only a place on the page, whatever the form says.
            place = back if re.fullmatch(r"[a-z]{1,20}", back) else ""
            return RedirectResponse(f"/emulator/#{place}", 303)

        return endpoint


class _Stranger(Exception):
    """A page of another site that makes a browser call."""


def _turn_away_strangers(request: Request) -> None:
    """Refuse what a browser was made to send by another site; programs send no Origin."""
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        raise _Stranger(f"the management face does not answer pages of {origin[:200]}")
    if request.method != "GET" and request.headers.get("sec-fetch-site") in ("cross-site", "same-site"):
        raise _Stranger("the management face does not answer pages of other sites")


def _is_form(request: Request, raw: bytes) -> bool:
    """Whether a page's form was sent; curl says so of everything, JSON too."""
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
