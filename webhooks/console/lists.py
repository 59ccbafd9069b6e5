"""The lists that an operator narrows, each with its totals and as CSV, one invoice's page, and the search.

Every filter stands in the address, so a list can be sent to someone else. What is typed is read as it is written in
Brazil, whatever the browser's language: 02/03/2026, ontem, 1.234,56.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from payments.language import N_
from payments.operator.audit import AuditLine, read_audit
from payments.operator.export import csv_lines
from payments.operator.filters import Filter
from payments.operator.invoices import INVOICES, batch_id_of, explain, read_invoice
from payments.operator.lists import ACTIONS, CREDITS, EVENTS, TRANSFERS, Listing, Page
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
    """A page: the list on it, what may be typed to narrow it, and the parameter that takes one of its choices.

    ``audit`` is what its CSV has in place of the list's lines.
    """

    listing: Listing[Any]
    typed: tuple[str, ...]
    chosen_by: str = "state"
    audit: tuple[type[Any], Callable[[Database, Filter, str | None], Iterator[Any]]] | None = None


_DAYS = ("since", "until")
_OF_A_PAYER = (*_DAYS, "amount", "payer")

# By where each is, below /console.
LISTS = {
    "invoices": NarrowedList(INVOICES, (*_OF_A_PAYER, "batch")),
    "transfers": NarrowedList(TRANSFERS, _OF_A_PAYER),
    "credits": NarrowedList(CREDITS, _OF_A_PAYER, audit=(AuditLine, read_audit)),
    "inbox": NarrowedList(EVENTS, _DAYS, "outcome"),
    "acts": NarrowedList(ACTIONS, (*_DAYS, "who"), "kind"),
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
        asked, listing = self.asked(each, request), each.listing
        page = total = None
        counts: Mapping[str, int] = {}
        if not asked.wrong:
            page = read_page(
                lambda: listing.read(self._database, after_in(request), asked.where, asked.choice)
            )
            if listing.amount is not None:
                total = listing.total(self._database, asked.where, asked.choice)
            counts = listing.count(self._database, asked.where)
        status = 400 if asked.wrong else 200
        return self._context.render(
            request, listing.name, status, asked=asked, page=page, totals=total, counts=counts
        )

    def _csv(self, each: NarrowedList, request: Request) -> Response:
        asked, listing = self.asked(each, request), each.listing
        if asked.wrong:
            raise HTTPException(400, " ".join(asked.wrong))
        day = self._context.times(request).today()
        line, every = each.audit or (listing.line, listing.every)
        return StreamingResponse(
            csv_lines(line, every(self._database, asked.where, asked.choice)),
            media_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="repasse-{listing.name}-{day}.csv"'},
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
        for listing in (CREDITS, INVOICES, TRANSFERS):
            totals = listing.total(self._database, where)
            if totals.number:
                found.append((f"{HOME}/{listing.name}?{query}", listing.name, totals.number, totals.centavos))
        return found

    # --- what they share ---

    def asked(self, each: NarrowedList, request: Request) -> Asked:
        """What a request narrows this list to. 400 for a choice that there is not."""
        _ = self._context.language(request).gettext
        times = self._context.times(request)
        choice = request.query_params.get(each.chosen_by) or None
        if choice is not None and choice not in each.listing.choices:
            raise HTTPException(400, f"{each.chosen_by} must be one of {', '.join(each.listing.choices)}")
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
            batch_id=batch_id_of(self._database, batch) or 0 if batch else None,
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
