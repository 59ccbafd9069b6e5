"""The lists that an operator narrows, each with its totals and as CSV, one invoice's page, and the search.

Every filter stands in the address, so a list can be sent to someone else. What is typed is read as it is written in
Brazil, whatever the browser's language: 02/03/2026, ontem, 1.234,56.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
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
from payments.operator.audit import AuditLine, read_audit
from payments.operator.csv_file import csv_lines, every
from payments.operator.filters import Filter, Totals
from payments.operator.invoices import InvoiceLine, explain, read_invoice
from payments.operator.labels import ACTIONS
from payments.operator.lists import EventLine, Page, TransferLine
from payments.operator.search import Found, centavos_in, day_in, search
from payments.storage.database import Database
from webhooks.console.context import Context
from webhooks.console.urls import HOME, link_to

Value = TypeVar("Value")

# Of a longer text no one means every letter.
_TEXT_LENGTH_MAX = 128


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request narrows a list to: as it was typed, as it was read, and what could not be read, in sentences.

    ``choice`` is one state, outcome or kind, given under the name ``chosen_by``; None: all of them.
    """

    typed: Mapping[str, str]
    where: Filter
    wrong: tuple[str, ...]
    chosen_by: str
    choice: str | None

    @property
    def query(self) -> dict[str, str]:
        """What of it an address needs, to ask the same again."""
        given = {**self.typed, self.chosen_by: self.choice}
        return {name: value for name, value in given.items() if value}

    @property
    def is_narrowed(self) -> bool:
        """Whether anything was typed; a state is no filter but another list."""
        return any(self.typed.values())


@dataclass(frozen=True, slots=True)
class NarrowedList:
    """A list: what it is called, what narrows it, and how it is read, added up, counted and written as CSV.

    ``chosen_by`` names the parameter that takes one of ``choices``, by which ``count`` counts. ``total`` is None where
    nothing but the counts is to be added up.
    """

    name: str
    typed: tuple[str, ...]
    chosen_by: str
    choices: Sequence[str]
    read: Callable[[Database, str | None, Filter, str | None], Page[Any]]
    total: Callable[[Database, Filter, str | None], Totals] | None
    count: Callable[[Database, Asked], Mapping[str, int]]
    line: type[Any]
    every: Callable[[Database, Filter, str | None], Iterator[Any]]


def _every(read: Callable[..., Page[Any]]) -> Callable[[Database, Filter, str | None], Iterator[Any]]:
    return lambda database, where, choice: every(
        lambda after, limit: read(database, after, where, choice, limit)
    )


_DAYS = ("since", "until")
_OF_A_PAYER = (*_DAYS, "amount", "payer")

# By where each is, below /console. Tabs of transfers and credits have their numbers only without a filter: they are of
# all, and beside one they would say something else than the list.
LISTS = {
    "invoices": NarrowedList(
        name="invoices",
        typed=(*_OF_A_PAYER, "batch"),
        chosen_by="state",
        choices=tuple(InvoiceState),
        read=invoices.list_invoices,
        total=invoices.total_invoices,
        count=lambda database, asked: invoices.count_invoices(database, asked.where),
        line=InvoiceLine,
        every=_every(invoices.list_invoices),
    ),
    "transfers": NarrowedList(
        name="transfers",
        typed=_OF_A_PAYER,
        chosen_by="state",
        choices=lists.SHOWN_STATES,
        read=lists.list_transfers,
        total=lists.total_transfers,
        count=lambda database, asked: {} if asked.is_narrowed else lists.count_transfers(database),
        line=TransferLine,
        every=_every(lists.list_transfers),
    ),
    "credits": NarrowedList(
        name="credits",
        typed=_OF_A_PAYER,
        chosen_by="state",
        choices=lists.CREDIT_STATES,
        read=lists.list_credits,
        total=lists.total_credits,
        count=lambda database, asked: {} if asked.is_narrowed else lists.count_credits(database),
        line=AuditLine,
        every=read_audit,
    ),
    "inbox": NarrowedList(
        name="events",
        typed=_DAYS,
        chosen_by="outcome",
        choices=tuple(Outcome),
        read=lists.list_events,
        total=None,
        count=lambda database, asked: lists.count_events(database, asked.where),
        line=EventLine,
        every=_every(lists.list_events),
    ),
    "acts": NarrowedList(
        name="actions",
        typed=(*_DAYS, "who"),
        chosen_by="kind",
        choices=ACTIONS,
        read=lists.list_actions,
        total=None,
        count=lambda database, asked: lists.count_actions(database, asked.where),
        line=Action,
        every=_every(lists.list_actions),
    ),
}


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
            **{f"/{path}": partial(self._page, each) for path, each in LISTS.items()},
            **{f"/{path}.csv": partial(self._csv, each) for path, each in LISTS.items()},
            "/invoices/{key:path}": self._invoice,
            "/search": self._search,
        }
        return [Route(f"{HOME}{path}", self._context.page(page)) for path, page in pages.items()]

    def _page(self, each: NarrowedList, request: Request) -> Response:
        asked = self.asked(each, request)
        page = total = None
        counts: Mapping[str, int] = {}
        if not asked.wrong:
            page = read_page(lambda: each.read(self._database, after_in(request), asked.where, asked.choice))
            total = each.total and each.total(self._database, asked.where, asked.choice)
            counts = each.count(self._database, asked)
        status = 400 if asked.wrong else 200
        return self._context.render(
            request, each.name, status, asked=asked, page=page, totals=total, counts=counts
        )

    def _csv(self, each: NarrowedList, request: Request) -> Response:
        asked = self.asked(each, request)
        if asked.wrong:
            raise HTTPException(400, " ".join(asked.wrong))
        day = self._context.times(request).today()
        return StreamingResponse(
            csv_lines(each.line, each.every(self._database, asked.where, asked.choice)),
            media_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="repasse-{each.name}-{day}.csv"'},
        )

    def _invoice(self, request: Request) -> Response:
        language, times = self._context.language(request), self._context.times(request)
        found = read_invoice(self._database, request.path_params["key"])
        if found is None:
            raise HTTPException(
                404, N_("This invoice is not known: we did not plan it, and the bank has not reported it.")
            )
        sentences = explain(found, language, times.plain)
        return self._context.render(request, "invoice", found=found, sentences=sentences)

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
            ("transfers", lists.total_transfers(self._database, where)),
        ):
            if totals.number:
                found.append((f"{HOME}/{name}?{query}", name, totals.number, totals.centavos))
        return found

    # --- what they share ---

    def asked(self, each: NarrowedList, request: Request) -> Asked:
        """What a request narrows this list to. 400 for a choice that there is not."""
        _ = self._context.language(request).gettext
        times = self._context.times(request)
        choice = request.query_params.get(each.chosen_by) or None
        if choice is not None and choice not in each.choices:
            raise HTTPException(400, f"{each.chosen_by} must be one of {', '.join(each.choices)}")
        typed = {name: request.query_params.get(name, "").strip()[:_TEXT_LENGTH_MAX] for name in each.typed}
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
        batch = typed.get("batch")
        where = Filter(
            since=times.bounds(since)[0] if since else None,
            until=times.bounds(until)[1] if until else None,
            amount_centavos=amount,
            payer=typed.get("payer") or None,
            tax_id_key=self._tax_id_key,
            # no batch has the number 0
            batch_id=invoices.batch_id_of(self._database, batch) or 0 if batch else None,
            who=typed.get("who") or None,
        )
        return Asked(typed, where, tuple(wrong), each.chosen_by, choice)


def after_in(request: Request) -> str | None:
    """The cursor that a list is to go on from."""
    return request.query_params.get("after") or None


def read_page(read: Callable[[], Page[Value]]) -> Page[Value]:
    """A page of a list; 400 for a cursor that is not ours."""
    try:
        return read()
    except ValueError as error:
        raise HTTPException(400, str(error)) from None
