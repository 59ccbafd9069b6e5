"""The live page: what the bank holds and does, with buttons to make it do something else.

Everything shown is read from the bank at each request; every form goes to the management calls. The headers let a
browser load nothing from elsewhere, and the few lines of JavaScript only fetch the same page again.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from emulator.behaviour.bank import Bank
from emulator.behaviour.faults import FAULTS, PACKS, SCENARIOS
from emulator.books.formats import time_text
from emulator.books.table import Row
from emulator.clock import Clock
from emulator.management.actions import newest
from emulator.management.page.headers import HEADERS
from emulator.management.sentences import Notes, fault_rules, money
from emulator.management.triggers import TRIGGERS
from emulator.protocol.deliveries import Deliveries
from emulator.protocol.history import History, shown

# As many as fit a screen or two; the management calls list the rest.
ROWS = 15
# How many deliveries back the page of an event looks.
DELIVERIES_MAX = 1_000

_FOLDER = Path(__file__).parent
_FILES = {"style.css": "text/css", "page.js": "text/javascript"}
# What a status means to a person who looks for trouble.
_TONES = {
    "paid": "good", "success": "good", "credited": "good", "delivered": "good",
    "failed": "bad", "expired": "bad", "canceled": "bad", "voided": "bad", "undelivered": "bad",
    "overdue": "warn", "processing": "warn", "sending": "warn",
}  # fmt: skip


class Page:
    """The pages of one bank."""

    def __init__(
        self, bank: Bank, clock: Clock, requests: History, deliveries: Deliveries, notes: Notes
    ) -> None:
        self._bank = bank
        self._clock = clock
        self._requests = requests
        self._deliveries = deliveries
        self._notes = notes
        self._templates = _templates()
        self._templates.globals["invoice_actions"] = self._invoice_actions

    def routes(self) -> list[Route]:
        """The routes of the page, for the application."""
        table: list[tuple[str, Callable[[Request], Awaitable[Response]]]] = [
            ("/emulator", self._redirect),
            ("/emulator/", self._dashboard),
            ("/emulator/view/{kind}/{id}", self._details),
            ("/emulator/static/{name}", self._static),
        ]
        return [Route(path, endpoint, methods=["GET"]) for path, endpoint in table]

    async def _redirect(self, request: Request) -> Response:
        return RedirectResponse("/emulator/", 308)

    async def _static(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in _FILES:
            return Response("not found", 404)
        return Response((_FOLDER / "static" / name).read_text(), 200, HEADERS, _FILES[name])

    async def _dashboard(self, request: Request) -> Response:
        self._bank.step(self._clock.now())
        return self._answer(
            "dashboard.html",
            title="Emulator",
            bank=self._bank,
            clock=self._clock,
            now=time_text(self._clock.now()),
            notes=self._notes,
            requests=self._requests,
            deliveries=self._deliveries,
            triggers=TRIGGERS,
            scenarios=SCENARIOS,
            packs=PACKS,
            faults=FAULTS,
            rows=ROWS,
        )

    async def _details(self, request: Request) -> Response:
        kind, row_id = request.path_params["kind"], request.path_params["id"]
        found = self._found(kind, row_id)
        if found is None:
            return self._answer("missing.html", 404, title="Nothing")
        return self._answer("details.html", title=f"{kind} {row_id}", kind=kind, **found)

    def _found(self, kind: str, row_id: str) -> dict[str, Any] | None:
        """What the template needs for one thing; None when there is no such thing, or no longer."""
        bank = self._bank
        if kind in ("request", "delivery"):
            history = self._requests if kind == "request" else self._deliveries.history
            entry = history.get(int(row_id)) if row_id.isascii() and row_id.isdigit() else None
            if entry is None:
                return None
            facts = [fact for fact in entry.items() if fact[0] not in ("body", "answer")]
            return {"entry": shown(entry), "facts": facts}
        if kind == "event":
            row = bank.events.rows.get(row_id)
            tries = [
                each for each in self._deliveries.history.newest(DELIVERIES_MAX) if each["event"] == row_id
            ]
            return None if row is None else {"row": row, "deliveries": tries}
        book = {"invoice": bank.invoices, "transfer": bank.transfers, "deposit": bank.deposits}.get(kind)
        row = None if book is None else book.rows.get(row_id)
        if book is None or row is None:
            return None
        return {"row": row, "logs": book.logs.having(f"{kind}Id", row_id)}

    def _invoice_actions(self, row: Row, *, short: bool = False) -> list[str]:
        """What can be done to an invoice as it stands; `short` is for a list and leaves out the rarer ones."""
        if row["status"] in ("created", "overdue"):
            rare = ["underpay", *(["overdue"] if row["status"] == "created" else [])]
            return ["pay", "credit", "expire", "cancel", *([] if short else rare)]
        if row["status"] != "paid" or row["id"] in self._bank.invoices.reversals:
            return []
        return ["reverse"] if row["id"] in self._bank.invoices.credited else ["credit"]

    def _answer(self, template: str, status: int = 200, **values: Any) -> Response:
        document = self._templates.get_template(template).render(values)
        return Response(document, status, HEADERS, "text/html")


def _templates() -> jinja2.Environment:
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.globals["tones"] = _TONES
    templates.filters.update(
        money=money,
        moment=lambda text: f"{datetime.fromisoformat(text):%d/%m %H:%M:%S}",
        time_text=time_text,
        fault_rules=fault_rules,
        newest=lambda table: newest(table, ROWS),
        short=_short,
        json=_json,
        pretty=_pretty,
    )
    return templates


def _short(text: Any, characters_max: int = 34) -> str:
    """A text cut to fit a column."""
    words = str(text)
    return words if len(words) <= characters_max else words[: characters_max - 1] + "…"


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _pretty(text: str) -> str:
    """JSON with line breaks; any other text as it is."""
    try:
        return _json(json.loads(text))
    except (ValueError, RecursionError):
        return text
