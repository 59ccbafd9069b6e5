"""The pages that are read: overview, attention, batches, one credit, one event, one batch, system.

The lists that are narrowed, and the search, are in lists.py.

A list continues from an opaque cursor in the address, never from a number of rows to skip.
"""

import re
from collections.abc import Callable, Mapping

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from payments.language import N_
from payments.ledger.batches import read_window
from payments.operator.export import to_json
from payments.operator.health import headline_of
from payments.operator.lists import ATTENTIONS, BATCHES, Page, most_urgent
from payments.operator.overview import read_overview, read_system
from payments.operator.timeline import CreditTimeline, read_batch, read_credit, read_stored_event
from webhooks.console.context import Context
from webhooks.console.lists import after_in, read_page
from webhooks.console.overview import balance_lines, charts_of, labelled_slots, span_title, spans_of
from webhooks.console.rendering import readable_body
from webhooks.console.runbook import runbook
from webhooks.console.urls import HOME

# A timeline of a thousand attempts is read at its two ends.
ENTRIES_FIRST, ENTRIES_LAST = 20, 60

# How many open attentions are on their page, the most urgent ones: a person settles no hundred on one page.
ATTENTIONS_SHOWN = 100

# How many events of a credit are shown whole.
EVENTS_SHOWN = 10


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
            "/credits/{invoice_id:path}/timeline.json": self._credit_json,
            "/credits/{invoice_id:path}": self._credit,
            "/inbox/{event_id:path}": self._event,
            "/batches": self._batches,
            "/batches/{batch_id:int}": self._batch,
            "/attention": self._attention,
            "/system": self._system,
            "/runbook": self._runbook,
        }
        return [Route(f"{HOME}{path}", self._context.page(page)) for path, page in pages.items()]

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
            lines=balance_lines(overview.health.statement, language),
            slots=labelled_slots(overview.health.slots, language),
            charts=charts_of(overview, span, times, language),
            spans=[(each, span_title(each, language)) for each in spans.values()],
            span=span,
        )

    def _credit(self, request: Request) -> Response:
        timeline = self._read_credit(request)
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

    def _read_credit(self, request: Request) -> CreditTimeline:
        timeline = read_credit(self._database, request.path_params["invoice_id"])
        if timeline is None:
            raise HTTPException(404, N_("This invoice has not been credited."))
        return timeline

    def _credit_json(self, request: Request) -> Response:
        timeline = self._read_credit(request)
        name = re.sub(r"[^A-Za-z0-9-]", "_", timeline.credit.invoice_id)
        headers = {"Content-Disposition": f'attachment; filename="credit-{name}.json"'}
        text = to_json(timeline, indent=2, ensure_ascii=False)
        return Response(text, media_type="application/json", headers=headers)

    def _event(self, request: Request) -> Response:
        event = read_stored_event(self._database, request.path_params["event_id"])
        if event is None:
            raise HTTPException(404, N_("There is no such event."))
        return self._context.render(request, "event", event=event, body=readable_body(event.body))

    def _batches(self, request: Request) -> Response:
        page = read_page(lambda: BATCHES.read(self._database, after_in(request)))
        return self._context.render(request, "batches", page=page)

    def _batch(self, request: Request) -> Response:
        found = read_batch(self._database, request.path_params["batch_id"])
        if found is None:
            raise HTTPException(404, N_("There is no such batch."))
        return self._context.render(request, "batch", batch=found.batch, invoices=found.invoices)

    def _attention(self, request: Request) -> Response:
        shows_all = request.query_params.get("show") == "all"
        if shows_all:
            page = read_page(lambda: ATTENTIONS.read(self._database, after_in(request)))
        else:
            with self._database.reading() as connection:
                page = Page(most_urgent(connection, ATTENTIONS_SHOWN), None)
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

    def _system(self, request: Request) -> Response:
        system = read_system(self._database, self._context.clock(), self._context.language(request))
        return self._context.render(
            request, "system", system=system, database=self._database.name, settings=self._settings
        )
