"""The management face /emulator/...: what a bank would never let its customers do.

For tests, demos and simulations on the same machine: unsigned, apart from /v2, money as integer centavos. It
holds no rules of its own; everything is asked of the bank, and `endpoint` reads and writes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.routing import Route

from emulator.behaviour.bank import Bank
from emulator.behaviour.faults import FAULTS, PACKS, SCENARIOS
from emulator.books import preset
from emulator.books.formats import time_text
from emulator.books.table import Table
from emulator.clock import Clock
from emulator.management import actions, state
from emulator.management.arguments import centavos, flag, number, only, text, whole
from emulator.management.endpoint import Face, NotReady
from emulator.management.sentences import Notes
from emulator.management.statement import statement
from emulator.management.timing import change_clock, show_clock
from emulator.management.triggers import DEFAULT_CENTAVOS, TRIGGERS, trigger
from emulator.protocol.credentials import Credentials
from emulator.protocol.deliveries import Deliveries
from emulator.protocol.endpoint import ProtocolEndpoint
from emulator.protocol.history import History, shown

REQUEST_FILTERS = ("method", "path", "status", "fault", "project")
DELIVERY_FILTERS = (
    "event", "subscription", "type", "entity", "webhook", "url", "status", "code", "forged", "attempt",
)  # fmt: skip

Body = dict[str, Any]


class Control:
    """The routes of the management face."""

    def __init__(
        self,
        bank: Bank,
        credentials: Credentials,
        clock: Clock,
        endpoint: ProtocolEndpoint,
        posts: Deliveries,
    ) -> None:
        self._bank = bank
        self._credentials = credentials
        self._clock = clock
        self._door = endpoint
        self._posts = posts
        self.notes = Notes()
        # Set by the application: whether the bank is being stepped.
        self.is_alive: Callable[[], bool] = lambda: False

    def routes(self) -> list[Route]:
        """All routes, for the application."""
        table: list[tuple[str, str, Callable[..., Any]]] = [
            ("GET", "health", self._health),
            ("GET", "health/live", self._health),
            ("GET", "health/ready", self._ready),
            ("GET", "activity", self._activity),
            ("GET", "agenda", self._agenda),
            ("GET", "statement", self._statement),
            ("GET", "clock", self._show_clock),
            ("PATCH", "clock", self._change_clock),
            ("POST", "clock", self._change_clock),
            ("POST", "invoices/{id}/pay", self._pay),
            ("POST", "invoices/{id}/underpay", self._underpay),
            ("POST", "invoices/{id}/credit", self._invoice_act(actions.credit)),
            ("POST", "invoices/{id}/overdue", self._invoice_act(actions.overdue)),
            ("POST", "invoices/{id}/expire", self._invoice_act(actions.expire)),
            ("POST", "invoices/{id}/cancel", self._invoice_act(actions.cancel_invoice)),
            ("POST", "invoices/{id}/reverse", self._reverse),
            ("POST", "transfers/{id}/settle", self._settle),
            ("POST", "transfers/{id}/fail", self._fail),
            ("POST", "transfers/{id}/cancel", self._cancel_transfer),
            ("POST", "deposits", self._deposit),
            ("POST", "trigger", self._trigger),
            ("POST", "webhooks", self._add_webhook),
            ("GET", "faults", self._faults),
            ("POST", "faults", self._add_fault),
            ("DELETE", "faults", self._clear_faults),
            ("POST", "faults/clear", self._clear_faults),
            ("POST", "events/{id}/redeliver", self._redeliver),
            ("POST", "events/{id}/send", self._send),
            ("POST", "events/{id}/delay", self._delay),
            ("POST", "events/{id}/drop", self._drop),
            ("POST", "key/rotate", self._rotate),
            ("GET", "projects", self._projects),
            ("POST", "projects", self._add_project),
            ("PATCH", "projects/{id}", self._change_project),
            ("POST", "projects/{id}/key", self._replace_key),
            ("GET", "requests", self._requests),
            ("DELETE", "requests", self._clear_requests),
            ("GET", "requests/{number}", self._request),
            ("GET", "deliveries", self._deliveries),
            ("DELETE", "deliveries", self._clear_deliveries),
            ("GET", "deliveries/{number}", self._delivery),
            ("GET", "settings", self._settings),
            ("PATCH", "settings", self._change_settings),
            ("POST", "settings", self._change_settings),
            ("POST", "preset", self._change_preset),
            ("POST", "stop-paying", self._stop_paying),
            ("GET", "state", self._save),
            ("PUT", "state", self._load),
        ]
        face = Face(self._bank, self._clock, self.notes)
        return [
            Route(f"/emulator/{path}", face.endpoint(act), methods=[method]) for method, path, act in table
        ]

    # --- how it stands ------------------------------------------------------------------------------------

    def _health(self, request: Request, body: Body) -> Body:
        return {
            "status": "ok",
            "emulated_now": time_text(self._clock.now()),
            "project_id": self._credentials.project.project_id,
            "seed": self._bank.seed,
        }

    def _ready(self, request: Request, body: Body) -> Body:
        if not self.is_alive():
            raise NotReady("the bank's own life does not run")
        self._bank.accounts.check()
        return {"status": "ready"}

    def _activity(self, request: Request, body: Body) -> Body:
        bank = self._bank
        delivered = len(bank.events.rows) - len(bank.events.undelivered)
        credits = bank.invoices.credited.values()
        return {
            "emulated_now": time_text(self._clock.now()),
            "emulated_seconds": (self._clock.now() - bank.opened_at).total_seconds(),
            "invoices": {status: count for status, count in bank.invoices.status_counts.items() if count},
            "credited": {
                "count": len(bank.invoices.credited),
                "net_centavos": sum(credit.net_centavos for credit in credits),
            },
            "transfers": {
                status: {"count": count, "centavos": bank.transfers.status_centavos[status]}
                for status, count in bank.transfers.status_counts.items()
                if count
            },
            "events": {"delivered": delivered, "undelivered": len(bank.events.undelivered)},
            "deliveries": {
                "posts": bank.events.posts,
                "under_way": self._posts.under_way,
                "failed_attempts": len(bank.events.attempts),
            },
            "webhooks": len(bank.events.webhooks),
            "balance_centavos": bank.accounts.customer_centavos,
            "requests": self._door.history.count,
            "faults_struck": dict(bank.faults.struck),
        }

    def _agenda(self, request: Request, body: Body) -> Body:
        shown_entries = [
            {"at": time_text(at), "what": name, "about": [each for each in args if isinstance(each, str)]}
            for at, name, args in self._bank.agenda.entries(1_000)
        ]
        return {"count": len(self._bank.agenda), "agenda": shown_entries}

    def _statement(self, request: Request, body: Body) -> Body:
        details = request.query_params.get("details", "true").lower() != "false"
        return {"emulated_now": time_text(self._clock.now()), **statement(self._bank, details=details)}

    # --- time ---------------------------------------------------------------------------------------------

    def _show_clock(self, request: Request, body: Body) -> Body:
        return {"clock": show_clock(self._clock, self._bank)}

    def _change_clock(self, request: Request, body: Body) -> Body:
        change_clock(self._clock, self._bank, body)
        return {"clock": show_clock(self._clock, self._bank)}

    # --- invoices, transfers, deposits --------------------------------------------------------------------

    def _pay(self, request: Request, body: Body) -> Body:
        amount = centavos(body, at_least=1)
        return {"invoice": actions.pay(self._bank, self._invoice_id(request), self._clock.now(), amount)}

    def _underpay(self, request: Request, body: Body) -> Body:
        amount = centavos(body, at_least=1)
        return {"invoice": actions.underpay(self._bank, self._invoice_id(request), self._clock.now(), amount)}

    def _invoice_act(self, act: Callable[..., Body]) -> Callable[[Request, Body], Body]:
        def acting(request: Request, body: Body) -> Body:
            only(body)
            return {"invoice": act(self._bank, self._invoice_id(request), self._clock.now())}

        return acting

    def _reverse(self, request: Request, body: Body) -> Body:
        remaining = centavos(body, at_least=0) or 0
        return {
            "invoice": actions.reverse(self._bank, self._invoice_id(request), self._clock.now(), remaining)
        }

    def _settle(self, request: Request, body: Body) -> Body:
        only(body)
        return {"transfer": actions.settle(self._bank, self._transfer_id(request), self._clock.now())}

    def _fail(self, request: Request, body: Body) -> Body:
        only(body, "reason")
        reason = text(body, "reason", "Failed by the management face")
        return {"transfer": actions.fail(self._bank, self._transfer_id(request), self._clock.now(), reason)}

    def _cancel_transfer(self, request: Request, body: Body) -> Body:
        only(body)
        return {
            "transfer": actions.cancel_transfer(self._bank, self._transfer_id(request), self._clock.now())
        }

    def _invoice_id(self, request: Request) -> str:
        return _id_of(self._bank.invoices.rows, request)

    def _transfer_id(self, request: Request) -> str:
        return _id_of(self._bank.transfers.rows, request)

    def _event_id(self, request: Request) -> str:
        return _id_of(self._bank.events.rows, request)

    def _deposit(self, request: Request, body: Body) -> Body:
        return {"deposit": self._bank.deposits.receive(body, self._clock.now())}

    def _trigger(self, request: Request, body: Body) -> Body:
        only(body, "name", "amount")
        amount = whole(body, "amount", DEFAULT_CENTAVOS, at_least=1)
        return trigger(self._bank, text(body, "name", ""), self._clock.now(), amount)

    def _add_webhook(self, request: Request, body: Body) -> Body:
        if isinstance(body.get("subscriptions"), str):
            body = {**body, "subscriptions": body["subscriptions"].replace(" ", "").split(",")}
        return {"webhook": self._bank.events.register(body, self._clock.now())}

    # --- faults -------------------------------------------------------------------------------------------

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

    # --- events -------------------------------------------------------------------------------------------

    def _redeliver(self, request: Request, body: Body) -> Body:
        only(body, "count", "forged", "seconds")
        event_id = self._event_id(request)
        # No more copies than a receiver can be asked to bear at once.
        count = whole(body, "count", 1, at_least=1, at_most=1_000)
        planned = self._bank.events.redeliver(
            event_id,
            self._clock.now(),
            count=count,
            forged=flag(body, "forged", False),
            delay_seconds=number(body, "seconds", 0.0),
        )
        return {"deliveries": planned}

    async def _send(self, request: Request, body: Body) -> Body:
        only(body, "webhook", "url", "forged")
        url = text(body, "url", "") or None
        if url is not None and not re.fullmatch(r"https?://[^\s#@]+", url, re.ASCII):
            raise ValueError("url must be an http or https address")
        delivery = actions.delivery(
            self._bank,
            self._event_id(request),
            text(body, "webhook", "") or None,
            url,
            forged=flag(body, "forged", False),
        )
        return {"delivery": shown(await self._posts.send(delivery))}

    def _delay(self, request: Request, body: Body) -> Body:
        only(body, "seconds")
        seconds = number(body, "seconds", 3600.0)
        return {
            "delayed": actions.delay(self._bank, self._event_id(request), self._clock.now(), seconds),
        }

    def _drop(self, request: Request, body: Body) -> Body:
        only(body)
        return {"dropped": actions.drop(self._bank, self._event_id(request))}

    # --- keys and projects --------------------------------------------------------------------------------

    def _rotate(self, request: Request, body: Body) -> Body:
        return {"public_key": self._credentials.rotate(self._clock.now())}

    def _projects(self, request: Request, body: Body) -> Body:
        return {"projects": [project.to_json() for project in self._credentials.projects()]}

    def _add_project(self, request: Request, body: Body) -> Body:
        project, private_key = self._credentials.add_project(body)
        return {"project": {**project.to_json(), "private_key": private_key}}

    def _change_project(self, request: Request, body: Body) -> Body:
        return {"project": self._credentials.change_project(request.path_params["id"], body).to_json()}

    def _replace_key(self, request: Request, body: Body) -> Body:
        project, private_key = self._credentials.replace_key(request.path_params["id"], body)
        return {"project": {**project.to_json(), "private_key": private_key}}

    # --- histories ----------------------------------------------------------------------------------------

    def _requests(self, request: Request, body: Body) -> Body:
        return {"requests": self._door.history.find(request.query_params, REQUEST_FILTERS)}

    def _clear_requests(self, request: Request, body: Body) -> Body:
        return {"cleared": self._door.history.clear()}

    def _request(self, request: Request, body: Body) -> Body:
        return {"request": _entry(self._door.history, request.path_params["number"])}

    def _deliveries(self, request: Request, body: Body) -> Body:
        return {"deliveries": self._posts.history.find(request.query_params, DELIVERY_FILTERS)}

    def _clear_deliveries(self, request: Request, body: Body) -> Body:
        return {"cleared": self._posts.history.clear()}

    def _delivery(self, request: Request, body: Body) -> Body:
        return {"delivery": _entry(self._posts.history, request.path_params["number"])}

    # --- settings and state -------------------------------------------------------------------------------

    def _settings(self, request: Request, body: Body) -> Body:
        return {"settings": self._bank.preset.to_json()}

    def _change_settings(self, request: Request, body: Body) -> Body:
        self._bank.preset.change(body)
        return {"settings": self._bank.preset.to_json()}

    def _change_preset(self, request: Request, body: Body) -> Body:
        only(body, "name")
        name = text(body, "name", "")
        self._bank.preset.change(preset.preset(name).to_json())
        if name in PACKS:
            self._bank.faults.add_pack(name)
        return {"settings": self._bank.preset.to_json()}

    def _stop_paying(self, request: Request, body: Body) -> Body:
        self._bank.preset.paying = False
        return {"settings": self._bank.preset.to_json()}

    def _save(self, request: Request, body: Body) -> Body:
        return state.save(self._bank, self._clock, self._credentials, self._posts)

    def _load(self, request: Request, body: Body) -> Body:
        # Posts of the books that are given up must not be noted in the new ones.
        state.check(body)
        self._posts.abandon()
        state.load(body, self._bank, self._clock, self._credentials)
        return {"clock": show_clock(self._clock, self._bank)}


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


def _entry(history: History, number: str) -> Body:
    found = history.get(int(number)) if number.isascii() and number.isdigit() else None
    if found is None:
        raise ValueError(f"there is no entry {number[:20]}, or no longer")
    return shown(found)
