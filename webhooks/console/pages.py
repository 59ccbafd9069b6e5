"""The pages that are read: overview, lists, one credit, one event, one batch, system, search.

A list continues from an opaque cursor in the address, never from a number of rows to skip.
"""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import date, timedelta
from typing import TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from payments.language import N_
from payments.ledger.batches import read_window
from payments.ledger.inbox import Outcome
from payments.money import parse_brl
from payments.operator import lists
from payments.operator.health import headline_of
from payments.operator.lists import Page
from payments.operator.overview import read_overview, read_system
from payments.operator.search import search
from payments.operator.statement import read_statement
from payments.operator.timeline import read_batch, read_credit, read_stored_event
from webhooks.console.bulk import BULK
from webhooks.console.context import Context
from webhooks.console.overview import charts_of, labelled_slots, span_title, spans_of, statement_lines
from webhooks.console.rendering import as_json, readable_body
from webhooks.console.runbook import runbook
from webhooks.console.urls import HOME, link_to

# A timeline of a thousand attempts is read at its two ends.
ENTRIES_FIRST, ENTRIES_LAST = 20, 60

# How many open attentions are on their page, the most urgent ones: a person settles no hundred on one page.
ATTENTIONS_SHOWN = 100

# How many events of a credit are shown whole.
EVENTS_SHOWN = 10

Value = TypeVar("Value")


class Pages:
    """``settings`` is the part of the settings that the system page shows, without secrets."""

    def __init__(self, context: Context, settings: Mapping[str, str]) -> None:
        self._context = context
        self._database = context.database
        self._settings = settings

    @property
    def routes(self) -> list[Route]:
        """Where each page is."""
        pages: dict[str, Callable[[Request], Response]] = {
            "": self._overview,
            "/transfers": self._transfers,
            "/credits": self._credits,
            "/credits/{invoice_id:path}/timeline.json": self._credit_json,
            "/credits/{invoice_id:path}": self._credit,
            "/inbox": self._inbox,
            "/inbox/{event_id:path}": self._event,
            "/batches": self._batches,
            "/batches/{batch_id:int}": self._batch,
            "/attention": self._attention,
            "/acts": self._actions,
            "/system": self._system,
            "/runbook": self._runbook,
            "/search": self._search,
        }
        return [Route(f"{HOME}{path}", self._endpoint(page)) for path, page in pages.items()]

    def _endpoint(self, page: Callable[[Request], Response]) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            return await self._context.answer(request, page)

        return endpoint

    def _overview(self, request: Request) -> Response:
        times, language = self._context.times(request), self._context.language(request)
        spans = spans_of(read_window(self._database), times.now)
        span = spans.get(request.query_params.get("span", "")) or next(iter(spans.values()))
        since = span.since or times.now - span.length
        overview = read_overview(self._database, times.now, since, span.length, span.bars)
        return self._context.render(
            request,
            "overview",
            overview=overview,
            headline=headline_of(overview.health, language),
            lines=statement_lines(overview.health.statement, language),
            slots=labelled_slots(overview.health.slots, language),
            charts=charts_of(overview, span, times, language),
            spans=[(each, span_title(each, language)) for each in spans.values()],
            span=span,
        )

    def _transfers(self, request: Request) -> Response:
        state = _choice(request, "state", lists.SHOWN_STATES)
        page = _list(lambda: lists.list_transfers(self._database, state, _after(request)))
        statement = read_statement(self._database)
        counts = statement.transfers | {
            "dead": statement.transfers["dead"] - statement.abandoned,
            "abandoned": statement.abandoned,
        }
        return self._context.render(request, "transfers", page=page, state=state, counts=counts, bulk=BULK)

    def _credits(self, request: Request) -> Response:
        _ = self._context.language(request).gettext
        asked = {name: request.query_params.get(name, "").strip() for name in ("amount", "since", "until")}
        wrong: list[str] = []
        amount, since, until = _amount(asked["amount"]), day_in(asked["since"]), day_in(asked["until"])
        if asked["amount"] and amount is None:
            wrong.append(_("“%(text)s” is not an amount such as 1.234,56.", text=asked["amount"][:60]))
        for name, day in (("since", since), ("until", until)):
            if asked[name] and day is None:
                wrong.append(_("“%(text)s” is not a day such as 02/03/2026.", text=asked[name][:60]))
        bounds = self._context.times(request).bounds
        begins, ends = bounds(since)[0] if since else None, bounds(until)[1] if until else None
        page = None
        if not wrong:
            page = _list(lambda: lists.list_credits(self._database, _after(request), amount, begins, ends))
        status = 400 if wrong else 200
        return self._context.render(request, "credits", status, page=page, asked=asked, wrong=wrong)

    def _credit(self, request: Request) -> Response:
        timeline = read_credit(self._database, request.path_params["invoice_id"])
        if timeline is None:
            raise HTTPException(404, N_("This invoice has not been credited."))
        entries = [each for each in timeline.entries if not each.is_folded]
        hidden = max(0, len(entries) - ENTRIES_FIRST - ENTRIES_LAST)
        return self._context.render(
            request,
            "credit",
            timeline=timeline,
            first=entries[:ENTRIES_FIRST] if hidden else entries,
            hidden=hidden,
            last=entries[-ENTRIES_LAST:] if hidden else [],
            folded=[each for each in timeline.entries if each.is_folded][-ENTRIES_LAST:],
            events=[(event, readable_body(event.body)) for event in timeline.events[:EVENTS_SHOWN]],
        )

    def _credit_json(self, request: Request) -> Response:
        timeline = read_credit(self._database, request.path_params["invoice_id"])
        if timeline is None:
            raise HTTPException(404, N_("This invoice has not been credited."))
        name = re.sub(r"[^A-Za-z0-9-]", "_", timeline.credit.invoice_id)
        headers = {"Content-Disposition": f'attachment; filename="credit-{name}.json"'}
        return Response(as_json(timeline), media_type="application/json", headers=headers)

    def _inbox(self, request: Request) -> Response:
        outcome = _choice(request, "outcome", list(Outcome))
        page = _list(lambda: lists.list_events(self._database, outcome, _after(request)))
        return self._context.render(request, "inbox", page=page, outcome=outcome)

    def _event(self, request: Request) -> Response:
        event = read_stored_event(self._database, request.path_params["event_id"])
        if event is None:
            raise HTTPException(404, N_("There is no such event."))
        return self._context.render(request, "event", event=event, body=readable_body(event.body))

    def _batches(self, request: Request) -> Response:
        page = _list(lambda: lists.list_batches(self._database, _after(request)))
        return self._context.render(request, "batches", page=page)

    def _batch(self, request: Request) -> Response:
        found = read_batch(self._database, request.path_params["batch_id"])
        if found is None:
            raise HTTPException(404, N_("There is no such batch."))
        return self._context.render(request, "batch", batch=found.batch, invoices=found.invoices)

    def _attention(self, request: Request) -> Response:
        shows_all = request.query_params.get("show") == "all"
        if shows_all:
            page = _list(lambda: lists.list_attentions(self._database, _after(request), open_only=False))
        else:
            page = Page(lists.list_most_urgent(self._database, ATTENTIONS_SHOWN), None)
        return self._context.render(
            request, "attention", page=page, shows_all=shows_all, attentions_shown=ATTENTIONS_SHOWN
        )

    def _runbook(self, request: Request) -> Response:
        page = runbook(self._context.language(request).code)
        if page is None:
            raise HTTPException(
                404, "The runbook is not on this machine: read docs/runbook.md of the repository."
            )
        return self._context.render(request, "runbook", runbook=page)

    def _actions(self, request: Request) -> Response:
        page = _list(lambda: lists.list_actions(self._database, _after(request)))
        return self._context.render(request, "actions", page=page)

    def _system(self, request: Request) -> Response:
        system = read_system(self._database, self._context.clock(), self._context.language(request))
        return self._context.render(
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
        # The page of a credit has its events too; there is a choice only among things that have no credit.
        links = {link_to(each.kind, each.id) for each in found}
        links = {each for each in links if each.startswith(f"{HOME}/credits/")} or links
        if len(links) == 1:
            return RedirectResponse(links.pop(), 303)
        return self._context.render(request, "search", found=found, text=text)


def centavos_in(text: str) -> int | None:
    """Read ``R$ 1.234,56``, ``1234,56`` or ``R$ 10``; None for anything else, such as an id."""
    return _amount(text) if re.match(r"R\$", text, re.I) or re.search(r",[0-9]{2}\Z", text) else None


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


def _amount(text: str) -> int | None:
    try:
        return parse_brl(text.upper())
    except ValueError:
        return None


def _after(request: Request) -> str | None:
    return request.query_params.get("after") or None


def _choice(request: Request, name: str, known: Sequence[str]) -> str | None:
    value = request.query_params.get(name) or None
    if value is not None and value not in known:
        raise HTTPException(400, N_("The address asks for something that this page does not know."))
    return value


def _list(read: Callable[[], Page[Value]]) -> Page[Value]:
    try:
        return read()
    except ValueError:  # the cursor is not one of ours
        raise HTTPException(400, N_("This list has no such place: begin at the newest.")) from None
