"""How a call of the management API comes in and goes out: JSON, or a form of the page.

A handler takes the request and its checked body and returns a dict. A wrong argument gets 400 with the reason.
`routes` says what each call means.
"""

from __future__ import annotations

import inspect
import logging
import re
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from emulator.behaviour.bank import Bank
from emulator.books.fields import Fields, Schema, complete, object_schema, read
from emulator.books.refusal import Refusal
from emulator.clock import Clock
from emulator.management.sentences import sentence

# Room for a saved state with some ten thousand invoices.
MOST_BODY_BYTES = 200_000_000

log = logging.getLogger("emulator.management")

Body = dict[str, Any]
Handler = Callable[[Request, Body], Any]
Endpoint = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True)
class Call:
    """One call of the management API: what it does, and what it takes and answers, for its description.

    The handler gets each of `fields` with its default; with `schema` it gets the body as it came and checks it itself.
    `answer` are the properties of the answer, `query` the parameters that the handler reads.
    """

    method: str
    path: str
    words: str
    handler: Handler
    answer: Mapping[str, Schema]
    fields: Fields = field(default_factory=dict)
    schema: Schema | None = None
    query: Mapping[str, Schema] = field(default_factory=dict)

    @property
    def body(self) -> Schema:
        """The JSON Schema of the body."""
        return object_schema(self.fields) if self.schema is None else self.schema

    def read(self, body: Body) -> Body:
        """What the handler gets of a body; raises `Refusal`."""
        if self.schema is not None:
            return body
        return complete(read(body, "the body", self.fields, "invalidRequest"), self.fields)


class NotReady(Exception):
    """Why the bank is not ready; the answer is 503 with this text."""


@dataclass(frozen=True)
class Note:
    """One thing that was done by a form, or refused."""

    at: datetime
    words: str
    is_good: bool


def endpoint_of(call: Call, bank: Bank, clock: Clock, notes: deque[Note]) -> Endpoint:
    """The endpoint of one call, whose handler may be a coroutine; what a form did is noted, newest first."""

    async def endpoint(request: Request) -> Response:
        is_form = False
        status, back = 200, ""
        try:
            raw = await request.body()
            is_form = _is_form(request, raw)
            body = _form(raw, call.body) if is_form else _body(raw)
            back = str(body.pop("back", "")) if is_form else ""
            bank.step(clock.now())
            answer = call.handler(request, call.read(body))
            if inspect.isawaitable(answer):
                answer = await answer
            # Entries that this made due now is done now, so that the next call sees it.
            bank.step(clock.now())
        except Refusal as refusal:
            status, answer = 400, refusal.to_json()
        except NotReady as reason:
            return json_answer({"status": str(reason)}, 503)
        except (ValueError, RecursionError) as error:
            status, answer = 400, Refusal.of("invalidRequest", str(error)).to_json()
        except Exception:
            log.exception("%s %s failed inside the emulator", request.method, request.url.path)
            status, answer = 500, Refusal.of("internalServerError", "See the emulator's log").to_json()
        if not is_form:
            return json_answer(answer, status)
        notes.appendleft(Note(clock.now(), sentence(answer), status == 200))
        return RedirectResponse(_place(back), 303)

    return endpoint


def _place(back: str) -> str:
    """Where a form leads back to: a section of the page, or the page of one entry, and nowhere else."""
    if re.fullmatch(r"view/(event|request|delivery)/\d{1,20}", back, re.ASCII):
        return f"/emulator/{back}"
    return f"/emulator/#{back if re.fullmatch(r'[a-z]{1,20}', back) else ''}"


def _is_form(request: Request, raw: bytes) -> bool:
    """Whether a form of the page was sent; curl gives this content type to JSON too."""
    is_said = request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
    return is_said and not raw.lstrip().startswith(b"{")


def _body(raw: bytes) -> Body:
    if len(raw) > MOST_BODY_BYTES:
        raise ValueError(f"the body is longer than {MOST_BODY_BYTES} bytes")
    body = msgspec.json.decode(raw) if raw else {}
    if not isinstance(body, dict):
        raise ValueError("the body must be a JSON object")
    return body


def _form(raw: bytes, schema: Schema) -> Body:
    """A form's fields as a JSON body, by the types of its schema; a field left empty was not filled in."""
    found: Body = {}
    for name, value in parse_qsl(raw.decode("utf-8", "replace")):
        types = _types(schema.get("properties", {}).get(name, {}))
        if types & {"integer", "number"} and re.fullmatch(r"-?\d{1,15}(\.\d{1,9})?", value, re.ASCII):
            found[name] = float(value) if "." in value else int(value)
        elif "boolean" in types and value in ("true", "false"):
            found[name] = value == "true"
        else:
            found[name] = value
    return found


def _types(schema: Schema) -> set[str]:
    """The JSON types that a schema allows."""
    types = schema.get("type", [])
    return set([types] if isinstance(types, str) else types).union(*map(_types, schema.get("anyOf", ())))


def json_answer(body: Body, status: int = 200) -> Response:
    """An answer in JSON."""
    return Response(msgspec.json.encode(body), status, media_type="application/json")
