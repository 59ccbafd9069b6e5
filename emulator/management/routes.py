"""The management API /emulator/...: what a bank would never let its customers do.

For tests, demos and simulations on the same machine: unsigned, apart from /v2, money in whole centavos. It holds no
rules of its own; the bank decides, and `endpoint` reads requests and writes answers.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.routing import Route

from emulator.behaviour.bank import Bank
from emulator.behaviour.faults import FAULTS, PACKS, SCENARIOS
from emulator.books import preset
from emulator.books.formats import time_text
from emulator.books.table import Row, Table
from emulator.clock import Clock
from emulator.management import actions, state
from emulator.management.arguments import centavos, flag, number, only, text, whole
from emulator.management.endpoint import Endpoints, NotReady
from emulator.management.sentences import Notes
from emulator.management.statement import statement, transfers_by_status
from emulator.management.timing import change_clock, show_clock
from emulator.management.triggers import DEFAULT_CENTAVOS, TRIGGERS, trigger
from emulator.protocol.credentials import Credentials, Project
from emulator.protocol.deliveries import Deliveries
from emulator.protocol.history import Entry, History, shown
from emulator.protocol.repeats import repeat_delivery, repeat_request

REQUEST_FILTERS = ("method", "path", "status", "fault", "project")
DELIVERY_FILTERS = (
    "event", "subscription", "type", "entity", "webhook", "url", "status", "code", "forged", "attempt",
)  # fmt: skip
# As many copies of an event as a receiver can be asked to take together.
COPIES_MAX = 1_000
# How many planned entries GET agenda shows.
AGENDA_MAX = 1_000

Body = dict[str, Any]
Handler = Callable[[Request, Body], Any]


class ManagementApi:
    """The routes of the management API."""

    def __init__(
        self, bank: Bank, credentials: Credentials, clock: Clock, requests: History, deliveries: Deliveries
    ) -> None:
        self._bank = bank
        self._credentials = credentials
        self._clock = clock
        self._requests = requests
        self._deliveries = deliveries
        self.notes = Notes()
        # Set by the application: whether the bank is being stepped.
        self.is_alive: Callable[[], bool] = lambda: False

    def routes(self) -> list[Route]:
        """All routes, for the application."""
        endpoints = Endpoints(self._bank, self._clock, self.notes)
        table = [
            *self._general_calls(),
            *self._money_calls(),
            *self._fault_calls(),
            *self._event_calls(),
            *self._caller_calls(),
        ]
        return [
            Route(f"/emulator/{path}", endpoints.endpoint(handler), methods=methods.split())
            for methods, path, handler in table
        ]

    # --- health, clock, settings, state -------------------------------------------------------------------

    def _general_calls(self) -> list[tuple[str, str, Handler]]:
        return [
            ("GET", "health", self._health),
            ("GET", "health/live", self._health),
            ("GET", "health/ready", self._ready),
            ("GET", "activity", self._activity),
            ("GET", "agenda", self._agenda),
            ("GET", "statement", self._statement),
            ("GET", "clock", lambda request, body: self._shown_clock()),
            ("PATCH POST", "clock", self._change_clock),
            ("GET", "settings", lambda request, body: self._shown_settings()),
            ("PATCH POST", "settings", self._change_settings),
            ("POST", "preset", self._change_preset),
            ("POST", "stop-paying", lambda request, body: self._change_settings(request, {"paying": False})),
            ("GET", "state", self._save),
            ("PUT", "state", self._load),
        ]

    def _health(self, request: Request, body: Body) -> Body:
        return {
            "status": "ok",
            "emulated_now": time_text(self._clock.now()),
            "project_id": self._credentials.project.project_id,
            "seed": self._bank.seed,
        }

    def _ready(self, request: Request, body: Body) -> Body:
        if not self.is_alive():
            raise NotReady("the bank is not being stepped")
        self._bank.accounts.check()
        return {"status": "ready"}

    def _activity(self, request: Request, body: Body) -> Body:
        bank, events = self._bank, self._bank.events
        credits = bank.invoices.credited.values()
        return {
            "emulated_now": time_text(self._clock.now()),
            "emulated_seconds": (self._clock.now() - bank.opened_at).total_seconds(),
            "invoices": {status: count for status, count in bank.invoices.status_counts.items() if count},
            "credited": {
                "count": len(credits),
                "net_centavos": sum(credit.net_centavos for credit in credits),
            },
            "transfers": transfers_by_status(bank),
            "events": {
                "delivered": len(events.rows) - len(events.undelivered),
                "undelivered": len(events.undelivered),
            },
            "deliveries": {
                "posts": events.posts,
                "under_way": self._deliveries.under_way,
                "failed_attempts": len(events.attempts),
            },
            "webhooks": len(events.webhooks),
            "balance_centavos": bank.accounts.customer_centavos,
            "requests": self._requests.count,
            "faults_struck": dict(bank.faults.struck),
        }

    def _agenda(self, request: Request, body: Body) -> Body:
        entries = [
            {"at": time_text(at), "what": name, "about": [each for each in args if isinstance(each, str)]}
            for at, name, args in self._bank.agenda.entries(AGENDA_MAX)
        ]
        return {"count": len(self._bank.agenda), "agenda": entries}

    def _statement(self, request: Request, body: Body) -> Body:
        details = request.query_params.get("details", "true").lower() != "false"
        return {"emulated_now": time_text(self._clock.now()), **statement(self._bank, details=details)}

    def _shown_clock(self) -> Body:
        return {"clock": show_clock(self._clock, self._bank)}

    def _change_clock(self, request: Request, body: Body) -> Body:
        change_clock(self._clock, self._bank, body)
        return self._shown_clock()

    def _shown_settings(self) -> Body:
        return {"settings": self._bank.preset.to_json()}

    def _change_settings(self, request: Request, body: Body) -> Body:
        self._bank.preset.change(body)
        return self._shown_settings()

    def _change_preset(self, request: Request, body: Body) -> Body:
        only(body, "name")
        name = text(body, "name", "")
        self._bank.preset.change(preset.preset(name).to_json())
        if name in PACKS:
            self._bank.faults.add_pack(name)
        return self._shown_settings()

    def _save(self, request: Request, body: Body) -> Body:
        return state.save(self._bank, self._clock, self._credentials, self._deliveries)

    def _load(self, request: Request, body: Body) -> Body:
        state.load(body, self._bank, self._clock, self._credentials)
        # The outcome of a delivery from the old books must not be recorded in the new ones; none can be before the
        # next `await`.
        self._deliveries.abandon()
        return self._shown_clock()

    # --- invoices, transfers, deposits --------------------------------------------------------------------

    def _money_calls(self) -> list[tuple[str, str, Handler]]:
        bank = self._bank
        invoices, transfers = ("invoice", bank.invoices.rows), ("transfer", bank.transfers.rows)
        return [
            ("POST", "invoices/{id}/pay", self._act(*invoices, actions.pay, _amount)),
            ("POST", "invoices/{id}/underpay", self._act(*invoices, actions.underpay, _amount)),
            ("POST", "invoices/{id}/credit", self._act(*invoices, actions.credit)),
            ("POST", "invoices/{id}/overdue", self._act(*invoices, actions.overdue)),
            ("POST", "invoices/{id}/expire", self._act(*invoices, actions.expire)),
            ("POST", "invoices/{id}/cancel", self._act(*invoices, actions.cancel_invoice)),
            ("POST", "invoices/{id}/reverse", self._reverse),
            ("POST", "transfers/{id}/settle", self._act(*transfers, actions.settle)),
            ("POST", "transfers/{id}/fail", self._act(*transfers, actions.fail, _reason)),
            ("POST", "transfers/{id}/cancel", self._act(*transfers, actions.cancel_transfer)),
            ("POST", "deposits", self._deposit),
            ("POST", "trigger", self._trigger),
        ]

    def _act(
        self, kind: str, table: Table, act: Callable[..., Any], read: Callable[[Body], Body] | None = None
    ) -> Handler:
        """A call that does something to the row in the path; `read` makes arguments of its body."""

        def handler(request: Request, body: Body) -> Body:
            if read is None:
                only(body)
            arguments = {} if read is None else read(body)
            return {kind: act(self._bank, _id_of(table, request), self._clock.now(), **arguments)}

        return handler

    def _reverse(self, request: Request, body: Body) -> Body:
        invoice_id = _id_of(self._bank.invoices.rows, request)
        row = actions.reverse(self._bank, invoice_id, self._clock.now(), **_remaining(body))
        return {"invoice": row, "reversed_centavos": actions.reversed_centavos(self._bank, row)}

    def _deposit(self, request: Request, body: Body) -> Body:
        return {"deposit": self._bank.deposits.receive(body, self._clock.now())}

    def _trigger(self, request: Request, body: Body) -> Body:
        only(body, "name", "amount")
        amount = whole(body, "amount", DEFAULT_CENTAVOS, at_least=1)
        return trigger(self._bank, text(body, "name", ""), self._clock.now(), amount)

    # --- faults -------------------------------------------------------------------------------------------

    def _fault_calls(self) -> list[tuple[str, str, Handler]]:
        return [
            ("GET", "faults", self._faults),
            ("POST", "faults", self._add_fault),
            ("DELETE", "faults", self._clear_faults),
            ("POST", "faults/clear", self._clear_faults),
        ]

    def _faults(self, request: Request, body: Body) -> Body:
        faults = self._bank.faults
        return {
            "faults": [fault.to_json() for fault in faults.active()],
            "struck": dict(faults.struck),
            "known": FAULTS,
            "scenarios": SCENARIOS,
            "packs": PACKS,
            "triggers": TRIGGERS,
        }

    def _add_fault(self, request: Request, body: Body) -> Body:
        if body.get("name") in PACKS:
            only(body, "name")
            return {"faults": [fault.to_json() for fault in self._bank.faults.add_pack(body["name"])]}
        return {"fault": self._bank.faults.add(body).to_json()}

    def _clear_faults(self, request: Request, body: Body) -> Body:
        only(body, "name", "id")
        named = {**request.query_params, **body}
        wanted = str(named.get("id", ""))
        if wanted and not wanted.isdigit():
            raise ValueError("id must be the number of a fault")
        return {"cleared": self._bank.faults.clear(named.get("name"), int(wanted) if wanted else None)}

    # --- webhooks, events, deliveries ---------------------------------------------------------------------

    def _event_calls(self) -> list[tuple[str, str, Handler]]:
        events = self._bank.events.rows
        return [
            ("POST", "webhooks", self._add_webhook),
            ("DELETE", "webhooks/{id}", self._act("webhook", self._bank.events.webhooks, _remove_webhook)),
            ("POST", "events/{id}/redeliver", self._redeliver),
            ("POST", "events/{id}/send", self._send),
            ("POST", "events/{id}/delay", self._act("delayed", events, actions.delay, _delay)),
            ("POST", "events/{id}/drop", self._act("dropped", events, actions.drop)),
            *_history_calls("deliveries", "delivery", self._deliveries.history, DELIVERY_FILTERS),
            ("POST", "deliveries/{number}/repeat", self._repeat_delivery),
        ]

    def _add_webhook(self, request: Request, body: Body) -> Body:
        if isinstance(body.get("subscriptions"), str):
            body = {**body, "subscriptions": body["subscriptions"].replace(" ", "").split(",")}
        return {"webhook": self._bank.events.register(body, self._clock.now())}

    def _redeliver(self, request: Request, body: Body) -> Body:
        only(body, "count", "forged", "seconds")
        planned = self._bank.events.redeliver(
            _id_of(self._bank.events.rows, request),
            self._clock.now(),
            count=whole(body, "count", 1, at_least=1, at_most=COPIES_MAX),
            forged=flag(body, "forged", False),
            delay_seconds=number(body, "seconds", 0.0),
        )
        return {"deliveries": planned}

    async def _send(self, request: Request, body: Body) -> Body:
        only(body, "webhook", "url", "forged")
        url = _url(body, "") or None
        delivery = actions.delivery(
            self._bank,
            _id_of(self._bank.events.rows, request),
            text(body, "webhook", "") or None,
            url,
            forged=flag(body, "forged", False),
        )
        return {"delivery": shown(await self._deliveries.send(delivery))}

    async def _repeat_delivery(self, request: Request, body: Body) -> Body:
        only(body, "url")
        entry = _entry_of(self._deliveries.history, request)
        return {"repeat": await repeat_delivery(entry, _url(body, entry["url"]), self._now())}

    # --- keys, projects, requests -------------------------------------------------------------------------

    def _caller_calls(self) -> list[tuple[str, str, Handler]]:
        return [
            ("POST", "key/rotate", self._rotate),
            ("GET", "projects", self._projects),
            ("POST", "projects", self._add_project),
            ("PATCH", "projects/{id}", self._change_project),
            ("POST", "projects/{id}/key", self._replace_key),
            *_history_calls("requests", "request", self._requests, REQUEST_FILTERS),
            ("POST", "requests/{number}/repeat", self._repeat_request),
        ]

    async def _repeat_request(self, request: Request, body: Body) -> Body:
        only(body, "url")
        entry = _entry_of(self._requests, request)
        url = _url(body, own_url(request, entry))
        return {"repeat": await repeat_request(entry, url, self._now())}

    def _now(self) -> str:
        return time_text(self._clock.now())

    def _rotate(self, request: Request, body: Body) -> Body:
        return {"public_key": self._credentials.rotate(self._clock.now())}

    def _projects(self, request: Request, body: Body) -> Body:
        return {"projects": [project.to_json() for project in self._credentials.projects()]}

    def _add_project(self, request: Request, body: Body) -> Body:
        return _with_key(*self._credentials.add_project(body))

    def _change_project(self, request: Request, body: Body) -> Body:
        return {"project": self._credentials.change_project(request.path_params["id"], body).to_json()}

    def _replace_key(self, request: Request, body: Body) -> Body:
        return _with_key(*self._credentials.replace_key(request.path_params["id"], body))


# --- reading bodies and paths -----------------------------------------------------------------------------


def _amount(body: Body) -> Body:
    return {"amount_centavos": centavos(body, at_least=1)}


def _remaining(body: Body) -> Body:
    return {"remaining_centavos": centavos(body, at_least=0) or 0}


def _reason(body: Body) -> Body:
    only(body, "reason")
    return {"reason": text(body, "reason", "Failed by the management API")}


def _url(body: Body, default: str) -> str:
    url = text(body, "url", "") or default
    if url and not re.fullmatch(r"https?://[^\s#@]+", url, re.ASCII):
        raise ValueError("url must be an http or https address")
    return url


def own_url(request: Request, entry: Entry) -> str:
    """Where a request of the history came in, by the address that this process listens on."""
    host, port = request.scope["server"]
    query = f"?{entry['query']}" if entry["query"] else ""
    return f"http://{f'[{host}]' if ':' in host else host}:{port}{quote(entry['path'])}{query}"


def _entry_of(history: History, request: Request) -> Entry:
    """The entry of the number in the path."""
    number = request.path_params["number"]
    found = history.get(int(number)) if number.isascii() and number.isdigit() else None
    if found is None:
        raise ValueError(f"there is no entry {number[:20]}, or no longer")
    return found


def _delay(body: Body) -> Body:
    only(body, "seconds")
    return {"seconds": number(body, "seconds", 3600.0)}


def _remove_webhook(bank: Bank, webhook_id: str, now: datetime) -> Row:
    return bank.events.unregister(webhook_id)


def _id_of(table: Table, request: Request) -> str:
    """The id in the path; `last` stands for the newest row."""
    given: str = request.path_params["id"]
    if given != "last":
        return given
    rows = actions.newest(table, 1)
    if not rows:
        raise ValueError(f"there is no {table.name} yet")
    newest: str = rows[0]["id"]
    return newest


# --- answers ----------------------------------------------------------------------------------------------


def _with_key(project: Project, private_key: str | None) -> Body:
    return {"project": {**project.to_json(), "private_key": private_key}}


def _history_calls(
    plural: str, single: str, history: History, filters: tuple[str, ...]
) -> list[tuple[str, str, Handler]]:
    """The calls that list, clear and show the entries of a history."""

    def entry(request: Request, body: Body) -> Body:
        return {single: shown(_entry_of(history, request))}

    return [
        ("GET", plural, lambda request, body: {plural: history.find(request.query_params, filters)}),
        ("DELETE", plural, lambda request, body: {"cleared": history.clear()}),
        ("GET", f"{plural}/{{number}}", entry),
    ]
