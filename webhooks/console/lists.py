"""The lists that an operator narrows, each with its totals and as CSV, one invoice's page, and the search.

Every filter stands in the address, so a list can be sent to someone else. What is typed is read as it is written in
Brazil, whatever the browser's language: 02/03/2026, ontem, 1.234,56.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from payments.invoice import InvoiceState
from payments.language import N_
from payments.ledger.inbox import Outcome
from payments.operator import invoices, lists
from payments.operator.actions import Action
from payments.operator.audit import AuditLine, audit_of
from payments.operator.csv_file import csv_lines, every
from payments.operator.filters import Filter
from payments.operator.invoices import InvoiceLine, explain, read_invoice
from payments.operator.lists import EventLine, Page, TransferLine
from payments.operator.search import Found, centavos_in, day_in, search
from webhooks.console.context import Context
from webhooks.console.urls import HOME, link_to

Value = TypeVar("Value")

# Of a longer text no one means every letter.
_TEXT_LENGTH_MAX = 128


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request narrows a list to: as it was typed, as it was read, and what could not be read, in sentences."""

    typed: Mapping[str, str]
    where: Filter
    wrong: tuple[str, ...]
    choices: Mapping[str, str | None]

    @property
    def query(self) -> dict[str, str]:
        """What of it an address needs, to ask the same again."""
        chosen = {name: value for name, value in self.choices.items() if value}
        return {name: value for name, value in self.typed.items() if value} | chosen

    @property
    def is_narrowed(self) -> bool:
        """Whether anything was typed; a state is no filter but another list."""
        return any(self.typed.values())


class ListPages:
    """``tax_id_key`` is what payers' tax ids are hashed with."""

    def __init__(self, context: Context, tax_id_key: bytes) -> None:
        self._context = context
        self._database = context.database
        self._tax_id_key = tax_id_key

    @property
    def routes(self) -> list[Route]:
        """Where each list is; as CSV at the same address with ``.csv``."""
        pages: dict[str, Callable[[Request], Response]] = {
            "/invoices": self._invoices,
            "/invoices.csv": self._invoices_csv,
            "/invoices/{key:path}": self._invoice,
            "/transfers": self._transfers,
            "/transfers.csv": self._transfers_csv,
            "/credits": self._credits,
            "/credits.csv": self._credits_csv,
            "/inbox": self._events,
            "/inbox.csv": self._events_csv,
            "/acts": self._actions,
            "/acts.csv": self._actions_csv,
            "/search": self._search,
        }
        return [Route(f"{HOME}{path}", self._endpoint(page)) for path, page in pages.items()]

    def _endpoint(self, page: Callable[[Request], Response]) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            return await self._context.answer(request, page)

        return endpoint

    # --- invoices ---

    def _invoices(self, request: Request) -> Response:
        asked, state, batch_id = self._asked_of_invoices(request)
        page = totals = None
        counts: Mapping[str, int] = {}
        if not asked.wrong:
            page = read_page(
                lambda: invoices.list_invoices(
                    self._database, after_in(request), asked.where, state, batch_id
                )
            )
            totals = invoices.total_invoices(self._database, asked.where, state, batch_id)
            counts = invoices.count_invoices(self._database, asked.where, batch_id)
        return self._render(request, "invoices", asked, page=page, totals=totals, state=state, counts=counts)

    def _invoices_csv(self, request: Request) -> Response:
        asked, state, batch_id = self._asked_of_invoices(request)
        items = every(
            lambda after, limit: invoices.list_invoices(
                self._database, after, asked.where, state, batch_id, limit
            )
        )
        return self._csv(request, "invoices", asked, InvoiceLine, items)

    def _asked_of_invoices(self, request: Request) -> tuple[Asked, str | None, int | None]:
        state = _choice(request, "state", list(InvoiceState))
        asked = self._asked(request, ("since", "until", "amount", "payer", "batch"), {"state": state})
        batch_id = None
        if tag := asked.typed["batch"]:
            batch_id = invoices.batch_id_of(self._database, tag) or 0  # no batch has it
        return asked, state, batch_id

    def _invoice(self, request: Request) -> Response:
        language, times = self._context.language(request), self._context.times(request)
        found = read_invoice(self._database, request.path_params["key"])
        if found is None:
            raise HTTPException(
                404, N_("This invoice is not known: we did not plan it, and the bank has not reported it.")
            )
        sentences = explain(found, language, times.plain)
        return self._context.render(request, "invoice", found=found, sentences=sentences)

    # --- transfers, credits ---

    def _transfers(self, request: Request) -> Response:
        asked, state = self.asked_of_transfers(request)
        page = totals = None
        if not asked.wrong:
            page = read_page(
                lambda: lists.list_transfers(self._database, state, after_in(request), where=asked.where)
            )
            totals = lists.total_transfers(self._database, state, asked.where)
        # The numbers on the tabs are of all: beside a filter they would say something else than the list.
        counts = {} if asked.is_narrowed else lists.count_transfers(self._database)
        shown = {"page": page, "totals": totals, "state": state, "counts": counts}
        return self._render(request, "transfers", asked, **shown)

    def _transfers_csv(self, request: Request) -> Response:
        asked, state = self.asked_of_transfers(request)
        items = every(
            lambda after, limit: lists.list_transfers(self._database, state, after, limit, asked.where)
        )
        return self._csv(request, "transfers", asked, TransferLine, items)

    def asked_of_transfers(self, request: Request) -> tuple[Asked, str | None]:
        """What the list of transfers is narrowed to, and its state."""
        state = _choice(request, "state", lists.SHOWN_STATES)
        return self._asked(request, ("since", "until", "amount", "payer"), {"state": state}), state

    def _credits(self, request: Request) -> Response:
        asked, state = self._asked_of_credits(request)
        page = totals = None
        if not asked.wrong:
            page = read_page(
                lambda: lists.list_credits(self._database, after_in(request), asked.where, state)
            )
            totals = lists.total_credits(self._database, asked.where, state)
        counts = {} if asked.is_narrowed else lists.count_credits(self._database)
        return self._render(request, "credits", asked, page=page, totals=totals, state=state, counts=counts)

    def _credits_csv(self, request: Request) -> Response:
        asked, state = self._asked_of_credits(request)
        return self._csv(request, "credits", asked, AuditLine, audit_of(self._database, asked.where, state))

    def _asked_of_credits(self, request: Request) -> tuple[Asked, str | None]:
        state = _choice(request, "state", lists.CREDIT_STATES)
        return self._asked(request, ("since", "until", "amount", "payer"), {"state": state}), state

    # --- events, actions ---

    def _events(self, request: Request) -> Response:
        asked, outcome = self._asked_of_events(request)
        page = None
        counts: Mapping[str, int] = {}
        if not asked.wrong:
            page = read_page(
                lambda: lists.list_events(self._database, outcome, after_in(request), where=asked.where)
            )
            counts = lists.count_events(self._database, asked.where)
        return self._render(request, "inbox", asked, page=page, outcome=outcome, counts=counts)

    def _events_csv(self, request: Request) -> Response:
        asked, outcome = self._asked_of_events(request)
        items = every(
            lambda after, limit: lists.list_events(self._database, outcome, after, limit, asked.where)
        )
        return self._csv(request, "events", asked, EventLine, items)

    def _asked_of_events(self, request: Request) -> tuple[Asked, str | None]:
        outcome = _choice(request, "outcome", list(Outcome))
        return self._asked(request, ("since", "until"), {"outcome": outcome}), outcome

    def _actions(self, request: Request) -> Response:
        asked, who, kind = self._asked_of_actions(request)
        page, number = None, 0
        if not asked.wrong:
            page = read_page(
                lambda: lists.list_actions(
                    self._database, after_in(request), where=asked.where, who=who, kind=kind
                )
            )
            number = lists.count_actions(self._database, asked.where, who, kind)
        kinds = lists.action_kinds(self._database)
        return self._render(request, "actions", asked, page=page, number=number, kind=kind, kinds=kinds)

    def _actions_csv(self, request: Request) -> Response:
        asked, who, kind = self._asked_of_actions(request)
        items = every(
            lambda after, limit: lists.list_actions(self._database, after, limit, asked.where, who, kind)
        )
        return self._csv(request, "actions", asked, Action, items)

    def _asked_of_actions(self, request: Request) -> tuple[Asked, str | None, str | None]:
        kind = request.query_params.get("kind", "")[:_TEXT_LENGTH_MAX] or None
        asked = self._asked(request, ("since", "until", "who"), {"kind": kind})
        return asked, asked.typed["who"] or None, kind

    # --- search ---

    def _search(self, request: Request) -> Response:
        text = request.query_params.get("q", "").strip()[:_TEXT_LENGTH_MAX]
        times = self._context.times(request)
        found = search(self._database, text, self._tax_id_key) if text else []
        days = self._of_day(request, text) if text else []
        # The page of a credit or an invoice has its events and transfers too: there is a choice only among several.
        links = list(dict.fromkeys(link_to(each.kind, each.id) for each in found))
        pages = [link for link in links if link.startswith((f"{HOME}/credits/", f"{HOME}/invoices/"))]
        links = (pages or links) + [link for link, *_ in days]
        if len(links) == 1:
            separator = "&" if "?" in links[0] else "?"
            return RedirectResponse(f"{links[0]}{separator}{urlencode({'q': text})}", 303)
        amount = centavos_in(text)
        groups: dict[str, list[Found]] = {}
        for each in found:
            groups.setdefault(each.kind, []).append(each)
        return self._context.render(
            request,
            "search",
            text=text,
            groups=groups,
            days=days,
            day=day_in(text, times.today()),
            amount=amount,
            can_find_tax_ids=bool(self._tax_id_key),
        )

    def _of_day(self, request: Request, text: str) -> list[tuple[str, str, int, int]]:
        """For a day: the address of each list of it that is not empty, what it lists, how many, and their centavos."""
        times = self._context.times(request)
        day = day_in(text, times.today())
        if day is None:
            return []
        begins, ends = times.bounds(day)
        where, query = (
            Filter(begins, ends),
            urlencode({"since": times.written(day), "until": times.written(day)}),
        )
        found = []
        for name, totals in (
            ("credits", lists.total_credits(self._database, where)),
            ("invoices", invoices.total_invoices(self._database, where)),
            ("transfers", lists.total_transfers(self._database, None, where)),
        ):
            if totals.number:
                found.append((f"{HOME}/{name}?{query}", name, totals.number, totals.centavos))
        return found

    # --- what they share ---

    def _asked(self, request: Request, names: Iterable[str], choices: Mapping[str, str | None]) -> Asked:
        _ = self._context.language(request).gettext
        times = self._context.times(request)
        typed = {name: request.query_params.get(name, "").strip()[:_TEXT_LENGTH_MAX] for name in names}
        wrong: list[str] = []

        def read(name: str, reader: Callable[[str], Value | None], sentence: str) -> Value | None:
            text = typed.get(name, "")
            found = reader(text) if text else None
            if text and found is None:
                wrong.append(sentence)
            return found

        read_day = partial(day_in, today=times.today())
        since, until = (
            read(name, read_day, _("“%(text)s” is not a day. Write it like 02/03/2026.", text=typed[name]))
            for name in ("since", "until")
        )
        amount_text = typed.get("amount", "")
        amount = read(
            "amount",
            centavos_in,
            _("“%(text)s” is not an amount. Write it like 1.234,56.", text=amount_text),
        )
        where = Filter(
            since=times.bounds(since)[0] if since else None,
            until=times.bounds(until)[1] if until else None,
            amount_centavos=amount,
            payer=typed.get("payer") or None,
            tax_id_key=self._tax_id_key,
        )
        return Asked(typed, where, tuple(wrong), choices)

    def _render(self, request: Request, name: str, asked: Asked, **values: Any) -> Response:
        return self._context.render(request, name, 400 if asked.wrong else 200, asked=asked, **values)

    def _csv(
        self, request: Request, name: str, asked: Asked, kind: type[Any], items: Iterator[Any]
    ) -> Response:
        if asked.wrong:
            raise HTTPException(400, " ".join(asked.wrong))
        day = self._context.times(request).today()
        return StreamingResponse(
            csv_lines(kind, items),
            media_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="repasse-{name}-{day}.csv"'},
        )


def after_in(request: Request) -> str | None:
    """The cursor that a list is to go on from."""
    return request.query_params.get("after") or None


def read_page(read: Callable[[], Page[Value]]) -> Page[Value]:
    """A page of a list; 400 for a cursor that is not ours."""
    try:
        return read()
    except ValueError as error:
        raise HTTPException(400, str(error)) from None


def _choice(request: Request, name: str, known: Sequence[str]) -> str | None:
    value = request.query_params.get(name) or None
    if value is not None and value not in known:
        raise HTTPException(400, f"{name} must be one of {', '.join(known)}")
    return value
