"""The live page: what the bank holds and does, with buttons to make it do something else.

Everything shown is read from the bank at each request; every form goes to the management calls. The headers let a
browser load nothing from elsewhere, and the few lines of JavaScript only fetch the same page again.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import jinja2
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from emulator.behaviour.bank import Bank
from emulator.behaviour.events import Delivery
from emulator.behaviour.faults import FAULTS, PACKS, SCENARIOS
from emulator.books.formats import reais, time_text
from emulator.clock import Clock
from emulator.management.actions import possible, reversed_centavos
from emulator.management.endpoint import Note
from emulator.management.page import charts
from emulator.management.page.api import HEADERS
from emulator.management.page.bodies import difference, pretty, readable
from emulator.management.routes import own_url
from emulator.management.sentences import fault_rules
from emulator.management.triggers import TRIGGERS
from emulator.protocol.deliveries import Deliveries
from emulator.protocol.history import Entry, History

# As many as fit a screen or two; the management calls list the rest.
ROWS = 15
# How many deliveries back the page of an event looks.
DELIVERIES_MAX = 1_000

# What a status means to a person who looks for trouble.
_TONES = {
    "paid": "good", "success": "good", "credited": "good", "delivered": "good",
    "failed": "bad", "expired": "bad", "canceled": "bad", "voided": "bad", "undelivered": "bad",
    "overdue": "warn", "processing": "warn", "sending": "warn",
}  # fmt: skip


class Page:
    """The pages of one bank."""

    def __init__(
        self, bank: Bank, clock: Clock, requests: History, deliveries: Deliveries, notes: deque[Note]
    ) -> None:
        self._bank = bank
        self._clock = clock
        self._requests = requests
        self._deliveries = deliveries
        self._notes = notes
        self._templates = _templates()
        self._templates.globals["possible"] = partial(possible, bank)
        self._templates.globals["reversed_centavos"] = lambda row: reversed_centavos(bank, row)

    def routes(self) -> list[Route]:
        """The routes of the page, for the application."""
        table: list[tuple[str, Callable[[Request], Awaitable[Response]]]] = [
            ("/emulator", self._redirect),
            ("/emulator/", self._dashboard),
            ("/emulator/day/{date}", self._day),
            ("/emulator/view/{kind}/{id}", self._details),
        ]
        return [Route(path, endpoint, methods=["GET"]) for path, endpoint in table]

    async def _redirect(self, request: Request) -> Response:
        return RedirectResponse("/emulator/", 308)

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
            size=charts.chart_size(),
            day=self._charts(charts.last_hours(self._clock.now())),
        )

    def _charts(self, start: datetime) -> charts.Day:
        return charts.day(self._bank, self._requests, self._deliveries.history, start)

    async def _day(self, request: Request) -> Response:
        self._bank.step(self._clock.now())
        try:
            start = datetime.strptime(request.path_params["date"], "%Y-%m-%d").replace(tzinfo=UTC)
            before, after = (f"{start + timedelta(days=days):%Y-%m-%d}" for days in (-1, 1))
        except (ValueError, OverflowError):
            return self._answer("missing.html", 404, title="Nothing")
        return self._answer(
            "day.html",
            title=f"{start:%d/%m/%Y}",
            size=charts.chart_size(),
            day=self._charts(start),
            before=before,
            after=after,
        )

    async def _details(self, request: Request) -> Response:
        self._bank.step(self._clock.now())
        kind, row_id = request.path_params["kind"], request.path_params["id"]
        if kind in ("request", "delivery"):
            return self._exchange(request, kind, row_id)
        found = self._found(kind, row_id)
        if found is None:
            return self._answer("missing.html", 404, title="Nothing")
        return self._answer("details.html", title=f"{kind} {row_id}", kind=kind, notes=self._notes, **found)

    def _found(self, kind: str, row_id: str) -> dict[str, Any] | None:
        """What the template needs for one row of the bank; None when there is no such row, or no longer."""
        bank = self._bank
        if kind == "event":
            row = bank.events.rows.get(row_id)
            if row is None:
                return None
            newest_deliveries = self._deliveries.history.newest(DELIVERIES_MAX)
            tries = [each for each in newest_deliveries if each["event"] == row_id]
            return {"row": row, "deliveries": tries, "sent": Delivery(row, "", "", None).body}
        book = {"invoice": bank.invoices, "transfer": bank.transfers, "deposit": bank.deposits}.get(kind)
        row = None if book is None else book.rows.get(row_id)
        if book is None or row is None:
            return None
        return {"row": row, "logs": book.logs.having(f"{kind}Id", row_id)}

    def _exchange(self, request: Request, kind: str, number: str) -> Response:
        """The page of one request or delivery, compared with another one when `with` names it."""
        history = self._requests if kind == "request" else self._deliveries.history
        entry, with_number = _entry(history, number), request.query_params.get("with", "")
        if entry is None:
            return self._answer("missing.html", 404, title="Nothing")
        if kind == "request":
            url, words = own_url(request, entry), f"{entry['method']} {entry['path']}"
        else:
            url, words = entry["url"], f"{entry['subscription']}.{entry['type']} to {entry['url']}"
        return self._answer(
            "exchange.html",
            title=f"{kind} {entry['number']}",
            kind=kind,
            plural="requests" if kind == "request" else "deliveries",
            line=words,
            entry=entry,
            url=url,
            compared=_entry(history, with_number),
            with_number=with_number,
            facts=[fact for fact in entry.items() if fact[0] not in ("body", "answer", "repeats")],
            notes=self._notes,
        )

    def _answer(self, template: str, status: int = 200, **values: Any) -> Response:
        document = self._templates.get_template(template).render(values)
        return Response(document, status, HEADERS, "text/html")


def _entry(history: History, number: str) -> Entry | None:
    return history.get(int(number)) if number.isascii() and number.isdigit() and len(number) < 20 else None


def _templates() -> jinja2.Environment:
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.globals["tones"] = _TONES
    templates.globals["difference_of"] = difference
    templates.filters.update(
        money=reais,
        moment=lambda text: f"{datetime.fromisoformat(text).astimezone(UTC):%d/%m %H:%M:%S}",
        time_text=time_text,
        fault_rules=fault_rules,
        newest=lambda table: table.page(limit=ROWS)[0],
        short=_short,
        json=_json,
        fact=_fact,
        pretty=pretty,
        words=lambda body, characters_max: _short(readable(body), characters_max),
    )
    return templates


def _short(text: Any, characters_max: int = 34) -> str:
    """A text cut to fit a column."""
    words = str(text)
    return words if len(words) <= characters_max else words[: characters_max - 1] + "…"


def _fact(value: Any) -> str:
    """One field of a history, as a person would write it."""
    if value is None:
        return ""
    return str(value) if isinstance(value, str) else _json(value)


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
