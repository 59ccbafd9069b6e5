"""The pages that are read: overview, lists, one credit, one event, one batch, system, search.

Each reads the ledger and renders in a thread, so that the webhook never waits for an operator. Pages take their
place in a list from an opaque cursor in the address, never a number of rows to skip.
"""

import asyncio
import re
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from typing import Any, TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from payments.errors import LedgerUnavailable
from payments.operator.actions import paused
from payments.operator.lists import (
    list_acts,
    list_attentions,
    list_batches,
    list_credits,
    list_events,
    list_transfers,
)
from payments.operator.overview import read_overview, read_system
from payments.operator.search import search
from payments.operator.statement import read_statement
from payments.operator.timeline import read_batch, read_credit, read_event
from payments.storage.database import Database
from webhooks.console import words
from webhooks.console.bodies import read_body
from webhooks.console.door import HOME
from webhooks.console.links import link_to
from webhooks.console.overview import SPANS, charts_of, headline_of, statement_lines
from webhooks.console.reader import Reader
from webhooks.console.rendering import Pages
from webhooks.console.seals import Seal

OUTCOME_COOKIE = "repasse_outcome"
ZONE_COOKIE = "repasse_zone"

# The badge beside "Attention" counts no further.
MATTERS_MAX = 99

# A story of a thousand attempts is read at its two ends.
ENTRIES_FIRST, ENTRIES_LAST = 20, 60

# The largest number that the databases hold.
_ID_MAX = 2**63 - 1

Listed = TypeVar("Listed")


class Desk:
    """What every page needs: the books, the templates, the time, and what the browser keeps for us."""

    def __init__(
        self, database: Database, pages: Pages, seal: Seal, clock: Callable[[], datetime], can_issue: bool
    ) -> None:
        self.database = database
        self.clock = clock
        self.seal = seal
        self.can_issue = can_issue
        self._pages = pages

    async def answer(self, request: Request, page: Callable[[Request], Response]) -> Response:
        """Make a page in a thread; 503 when the database does not answer."""
        try:
            return await asyncio.to_thread(page, request)
        except LedgerUnavailable as error:
            return self.bare(request, "problem", 503, title="The database does not answer", detail=str(error))

    def reader(self, request: Request) -> Reader:
        """How whoever asks reads times."""
        return Reader(self.clock(), request.cookies.get(ZONE_COOKIE))

    def page(self, request: Request, name: str, status: int = 200, **values: Any) -> Response:
        """Render a page with its frame: what waits, what is paused, what the last act came to."""
        matters = list_attentions(self.database, True, None, limit=MATTERS_MAX + 1)
        frame = {"matters": len(matters.items), "paused": paused(self.database)}
        return self.bare(request, name, status, **{**frame, **values})

    def bare(self, request: Request, name: str, status: int = 200, **values: Any) -> Response:
        """Render a page that needs nothing of the books."""
        sealed = request.cookies.get(OUTCOME_COOKIE)
        frame = {
            "reader": self.reader(request),
            "session": request.state.session,
            "path": request.url.path,
            "here": request.url.path + (f"?{request.url.query}" if request.url.query else ""),
            "outcome": self.seal.open_outcome(sealed) if sealed else None,
            "matters": 0,
            "matters_max": MATTERS_MAX,
            "paused": {},
            "can_issue": self.can_issue,
        }
        response = HTMLResponse(self._pages.render(name, **{**frame, **values}), status)
        if sealed:  # told once
            response.delete_cookie(OUTCOME_COOKIE, path=HOME)
        return response


class Reading:
    """The pages. ``settings`` is what the system page shows of them, without secrets."""

    def __init__(self, desk: Desk, default_span: str, settings: Mapping[str, str]) -> None:
        self._desk = desk
        self._database = desk.database
        self._default_span = default_span
        self._settings = settings

    @property
    def routes(self) -> list[Route]:
        """Where each page is."""
        pages: dict[str, Callable[[Request], Response]] = {
            "": self._overview,
            "/transfers": self._transfers,
            "/credits": self._credits,
            "/credits/{invoice_id:path}": self._credit,
            "/inbox": self._inbox,
            "/inbox/{event_id:path}": self._event,
            "/batches": self._batches,
            "/batches/{batch_id:int}": self._batch,
            "/attention": self._attention,
            "/acts": self._acts,
            "/system": self._system,
            "/search": self._search,
        }
        return [Route(f"{HOME}{path}", self._endpoint(page)) for path, page in pages.items()]

    def _endpoint(self, page: Callable[[Request], Response]) -> Callable[[Request], Any]:
        async def endpoint(request: Request) -> Response:
            return await self._desk.answer(request, page)

        return endpoint

    def _overview(self, request: Request) -> Response:
        reader = self._desk.reader(request)
        name = request.query_params.get("span", "")
        span = SPANS.get(name) or SPANS[self._default_span]
        overview = read_overview(self._database, reader.now, span.length, span.bars)
        return self._desk.page(
            request,
            "overview",
            overview=overview,
            headline=headline_of(overview, reader.now),
            lines=statement_lines(overview.statement),
            charts=charts_of(overview, span, reader),
            spans=SPANS.values(),
            span=span,
        )

    def _transfers(self, request: Request) -> Response:
        state = _one_of(request, "state", words.TRANSFER_STATES)
        page = _listed(lambda: list_transfers(self._database, state, _after(request)))
        counts = read_statement(self._database).transfers
        return self._desk.page(request, "transfers", page=page, state=state, counts=counts)

    def _credits(self, request: Request) -> Response:
        reader = self._desk.reader(request)
        asked = {name: request.query_params.get(name, "").strip() for name in ("amount", "since", "until")}
        wrong: list[str] = []
        amount = _read(asked["amount"], centavos_in, "an amount such as 1.234,56", wrong)
        since = _read(asked["since"], day_in, "a first day such as 2026-03-02", wrong)
        until = _read(asked["until"], day_in, "a last day such as 2026-03-02", wrong)
        page = None
        if not wrong:
            page = _listed(
                lambda: list_credits(
                    self._database,
                    _after(request),
                    amount,
                    reader.bounds(since)[0] if since else None,
                    reader.bounds(until)[1] if until else None,
                )
            )
        status = 400 if wrong else 200
        return self._desk.page(request, "credits", status, page=page, asked=asked, wrong=wrong)

    def _credit(self, request: Request) -> Response:
        story = read_credit(self._database, request.path_params["invoice_id"])
        if story is None:
            raise HTTPException(404, "there is no credit of this invoice")
        entries = list(story.entries)
        hidden = max(0, len(entries) - ENTRIES_FIRST - ENTRIES_LAST)
        return self._desk.page(
            request,
            "credit",
            story=story,
            first=entries[:ENTRIES_FIRST] if hidden else entries,
            hidden=hidden,
            last=entries[-ENTRIES_LAST:] if hidden else [],
            bodies=[(event, read_body(event.body) if event.body else None) for event in story.events[:10]],
        )

    def _inbox(self, request: Request) -> Response:
        outcome = _one_of(request, "outcome", words.OUTCOMES)
        page = _listed(lambda: list_events(self._database, outcome, _after(request)))
        return self._desk.page(request, "inbox", page=page, chosen=outcome)

    def _event(self, request: Request) -> Response:
        event = read_event(self._database, request.path_params["event_id"])
        if event is None:
            raise HTTPException(404, "there is no such event in the inbox")
        body = read_body(event.body) if event.body else None
        return self._desk.page(request, "event", event=event, body=body)

    def _batches(self, request: Request) -> Response:
        page = _listed(lambda: list_batches(self._database, _after(request)))
        return self._desk.page(request, "batches", page=page)

    def _batch(self, request: Request) -> Response:
        batch_id = request.path_params["batch_id"]
        story = read_batch(self._database, batch_id) if batch_id <= _ID_MAX else None
        if story is None:
            raise HTTPException(404, "there is no such batch")
        return self._desk.page(request, "batch", story=story)

    def _attention(self, request: Request) -> Response:
        shows_all = request.query_params.get("show") == "all"
        page = _listed(lambda: list_attentions(self._database, not shows_all, _after(request)))
        return self._desk.page(request, "attention", page=page, shows_all=shows_all)

    def _acts(self, request: Request) -> Response:
        page = _listed(lambda: list_acts(self._database, _after(request)))
        return self._desk.page(request, "acts", page=page)

    def _system(self, request: Request) -> Response:
        system = read_system(self._database, self._desk.clock())
        return self._desk.page(
            request, "system", system=system, database=self._database.name, settings=self._settings
        )

    def _search(self, request: Request) -> Response:
        text = request.query_params.get("q", "").strip()[:200]
        if (amount := centavos_in(text)) is not None:
            reais = f"{amount // 100},{amount % 100:02d}"
            return RedirectResponse(f"{HOME}/credits?amount={reais}", 303)
        if (day := day_in(text)) is not None:
            return RedirectResponse(f"{HOME}/credits?since={day}&until={day}", 303)
        found = search(self._database, text) if text else []
        # A credit's story tells of its events too; only what has no credit is a matter of choice.
        links = {link_to(each.kind, each.id) for each in found}
        links = {each for each in links if each.startswith(f"{HOME}/credits/")} or links
        if len(links) == 1:
            return RedirectResponse(links.pop(), 303)
        return self._desk.page(request, "search", found=found, text=text)


def centavos_in(text: str) -> int | None:
    """Read ``R$ 1.234,56``, ``1234,56`` or ``R$ 10``; None for anything else, such as an id."""
    found = re.fullmatch(
        r"(R\$)?\s*([0-9]{1,3}(?:\.[0-9]{3}){0,5}|[0-9]{1,15})(?:,([0-9]{2}))?", text, re.ASCII | re.I
    )
    if found is None or not (found[1] or found[3]):
        return None
    return int(found[2].replace(".", "")) * 100 + int(found[3] or 0)


def day_in(text: str) -> date | None:
    """Read ``2026-03-02`` or ``02/03/2026``; None for anything else."""
    if found := re.fullmatch(r"([0-9]{2})/([0-9]{2})/([0-9]{4})", text, re.ASCII):
        text = f"{found[3]}-{found[2]}-{found[1]}"
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text, re.ASCII):
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    # Near the ends of the calendar a day has no beginning in another zone.
    return day if timedelta(days=2) < day - date.min and date.max - day > timedelta(days=2) else None


def _read(text: str, reading: Callable[[str], Listed | None], what: str, wrong: list[str]) -> Listed | None:
    if not text:
        return None
    found = reading(text)
    if found is None and reading is centavos_in:
        found = reading(f"R$ {text}")  # in the field for amounts, 10 means R$ 10,00
    if found is None:
        wrong.append(f"{text[:60]!r} is not {what}")
    return found


def _after(request: Request) -> str | None:
    return request.query_params.get("after") or None


def _one_of(request: Request, name: str, known: Mapping[str, Any]) -> str | None:
    value = request.query_params.get(name) or None
    if value is not None and value not in known:
        raise HTTPException(400, f"{name} is none of {', '.join(known)}")
    return value


def _listed(read: Callable[[], Listed]) -> Listed:
    try:
        return read()
    except ValueError as error:  # the cursor is not one of ours
        raise HTTPException(400, str(error)) from None
