"""The management API /emulator/...: what a bank would never let its customers do.

For tests, demos and simulations on the same machine: unsigned, apart from /v2, money in whole centavos. It holds no
rules of its own; the bank decides, and `endpoint` reads requests and writes answers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.routing import Route

from emulator.behaviour.bank import Bank
from emulator.behaviour.faults import FAULT, FAULTS, PACKS, SCENARIOS
from emulator.books import preset
from emulator.books.checks import WEBHOOK
from emulator.books.deposits import DEPOSIT
from emulator.books.fields import Schema, object_schema, one_of, pattern, text, typed, whole
from emulator.books.formats import time_text
from emulator.books.table import Table
from emulator.clock import Clock
from emulator.management import state
from emulator.management.actions import ACTIONS, FORGED, WRONG, Action, delivery_of, table_of
from emulator.management.endpoint import Body, Call, Handler, Note, NotReady, endpoint_of
from emulator.management.openapi import document
from emulator.management.statement import statement
from emulator.management.timing import CLOCK, change_clock, show_clock
from emulator.management.triggers import DEFAULT_CENTAVOS, TRIGGERS, trigger
from emulator.protocol.credentials import PROJECT, PROJECT_KEY, Credentials, Project
from emulator.protocol.deliveries import Deliveries, headers_of
from emulator.protocol.entities import reference
from emulator.protocol.history import Entry, History, shown
from emulator.protocol.repeats import repeat

REQUEST_FILTERS = ("method", "path", "status", "fault", "project")
DELIVERY_FILTERS = (
    "event", "subscription", "type", "entity", "webhook", "url", "status", "code", "forged", "attempt",
)  # fmt: skip
# How many planned entries GET agenda shows.
AGENDA_MAX = 1_000

_URL = pattern(r"https?://[^\s#@]+", WRONG, "url must be an http or https address", 2_000)
_STATUS: Mapping[str, Schema] = {"status": {"type": "string"}}
_HEALTH: Mapping[str, Schema] = {
    **_STATUS, "emulated_now": {"type": "string"}, "project_id": {"type": "string"}, "seed": {"type": "integer"},
}  # fmt: skip
_CLEARED: Mapping[str, Schema] = {"cleared": {"type": "integer"}}
_STATE: Mapping[str, Schema] = {
    "emulator_state": {"type": "integer"}, "clock": {"type": "object"}, "projects": {"type": "array"},
    "open_deliveries": {"type": "array"}, "books": {"type": "object"},
}  # fmt: skip
_STORY: Mapping[str, Schema] = {
    "story": {"enum": list(TRIGGERS)},
    "deliveries": {"type": "integer"},
    "reversed_centavos": {"type": "integer"},
    **{kind: reference(kind.capitalize()) for kind in ("invoice", "transfer", "deposit")},
}
_CLOCK: Mapping[str, Schema] = {
    "clock": {
        "type": "object",
        "properties": {
            "now": {"type": "string", "format": "date-time"},
            "speed": {"type": "number"},
            "paused": {"type": "boolean"},
            "next_at": {"type": ["string", "null"], "format": "date-time"},
            "planned": {"type": "integer"},
        },
        "additionalProperties": False,
    }
}
_REPEAT: Schema = {
    "type": "object",
    "properties": {
        **{name: {"type": "string"} for name in ("at", "method", "url", "message", "answer")},
        "number": {"type": "integer"},
        "status": {"type": ["integer", "null"]},
        "ms": {"type": "number"},
    },
    "additionalProperties": False,
}
_PROJECT: Schema = {
    "type": "object",
    "properties": {
        **{name: {"type": "string"} for name in ("id", "kind", "name", "workspace_id", "public_key")},
        "private_key_path": {"type": ["string", "null"]},
        "private_key": {"type": ["string", "null"]},
        "allowed_ips": {"type": "array", "items": {"type": "string"}},
        "requests_per_minute": {"type": ["integer", "null"]},
    },
    "additionalProperties": False,
}


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
        # What forms did, newest first: as many as a person looks back at.
        self.notes: deque[Note] = deque(maxlen=5)
        # Set by the application: whether the bank is being stepped.
        self.is_alive: Callable[[], bool] = lambda: False

    def routes(self) -> list[Route]:
        """All routes, for the application."""
        return [
            Route(
                f"/emulator/{call.path}",
                endpoint_of(call, self._bank, self._clock, self.notes),
                methods=[call.method],
            )
            for call in self.calls()
        ]

    def calls(self) -> list[Call]:
        """Every call of the management API."""
        return [
            *self._general_calls(),
            *map(self._action_call, ACTIONS),
            *self._fault_calls(),
            *self._event_calls(),
            *self._caller_calls(),
        ]

    # --- health, clock, settings, state -------------------------------------------------------------------

    def _general_calls(self) -> list[Call]:
        settings = {"settings": preset.SETTINGS_SCHEMA}
        return [
            Call("GET", "health", "Whether it runs, and for which project.", self._health, _HEALTH),
            Call("GET", "health/live", "The same as health.", self._health, _HEALTH),
            Call("GET", "health/ready", "Whether the bank is stepped and its books balance.", self._ready, _STATUS),
            Call("GET", "activity", "How much happened so far.", self._activity, _named(
                "emulated_now", "emulated_seconds", "invoices", "credited", "transfers", "events", "deliveries",
                "webhooks", "balance_centavos", "requests", "faults_struck",
            )),
            Call("GET", "agenda", "What the bank will do next, soonest first.", self._agenda,
                 _named("count", "agenda")),
            Call("GET", "statement", "Where every centavo is.", self._statement, _named(
                "emulated_now", "invoices", "invoice_count", "credited", "transfers", "transfer_count",
                "opening_balance_centavos", "balance_centavos", "reversed_centavos", "deposited_centavos", "balanced",
                "accounts_centavos", "forwarded_exactly_once", "nothing_to_forward", "unpaid", "in_flight",
                "paid_twice", "wrong_amount", "foreign", "exact", "payouts", "foreign_transfers",
            ), query={"details": {"type": "boolean", "default": True}}),
            Call("GET", "clock", "What time it is at the bank, and how fast it passes.",
                 lambda request, body: self._shown_clock(), _CLOCK),
            *_both("clock", "Change the speed of the clock, pause it, or jump ahead.",
                   lambda request, body: {"clock": change_clock(self._clock, self._bank, body)}, _CLOCK,
                   fields=CLOCK),
            Call("GET", "openapi.json", "This description.", lambda request, body: document(self.calls()),
                 _named("openapi", "info", "servers", "paths", "components")),
            Call("GET", "settings", "How the bank behaves.", lambda request, body: self._shown_settings(), settings),
            *_both("settings", "Change how the bank behaves: all of these or none.", self._change_settings, settings,
                   schema=preset.SETTINGS_SCHEMA),
            Call("POST", "preset", "Change all settings to those of a preset.", self._change_preset, settings,
                 {"name": one_of(tuple(preset.PRESETS), "name", WRONG).needed}),
            Call("POST", "stop-paying", "No further invoice is paid.",
                 lambda request, body: self._change_settings(request, {"paying": False}), settings),
            Call("POST", "deposits", "A payer sends money without an invoice.",
                 lambda request, body: {"deposit": self._bank.deposits.receive(body, self._clock.now())},
                 {"deposit": reference("Deposit")}, schema=object_schema(DEPOSIT)),
            Call("POST", "trigger", "A whole story, such as `invoice.credited`.",
                 lambda request, body: trigger(self._bank, body["name"], self._clock.now(), body["amount"]),
                 _STORY, {
                     "name": one_of(TRIGGERS, "name", WRONG).needed,
                     "amount": whole(WRONG, "amount must be a whole number of centavos, at least 1", 1, 10**14)
                     .defaulting(DEFAULT_CENTAVOS),
                 }),
            Call("GET", "state", "The whole bank as JSON.", self._save, _STATE),
            Call("PUT", "state", "Return to a saved state.", self._load, _CLOCK, schema={
                "type": "object", "properties": _STATE, "required": list(_STATE),
            }),
        ]  # fmt: skip

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
            "invoices": {status: sums["count"] for status, sums in bank.invoices.by_status().items()},
            "credited": {
                "count": len(credits),
                "net_centavos": sum(credit.net_centavos for credit in credits),
            },
            "transfers": bank.transfers.by_status(),
            "events": {
                "delivered": len(events.rows) - len(events.undelivered),
                "undelivered": len(events.undelivered),
            },
            "deliveries": {
                "posts": events.posts,
                "under_way": len(self._deliveries.open_deliveries()),
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

    def _shown_settings(self) -> Body:
        return {"settings": self._bank.preset.to_json()}

    def _change_settings(self, request: Request, body: Body) -> Body:
        self._bank.preset.change(body)
        return self._shown_settings()

    def _change_preset(self, request: Request, body: Body) -> Body:
        name = body["name"]
        self._bank.preset.change(preset.preset(name).to_json())
        if name in PACKS:
            self._bank.faults.add({"name": name})
        return self._shown_settings()

    def _save(self, request: Request, body: Body) -> Body:
        return state.save(self._bank, self._clock, self._credentials, self._deliveries)

    def _load(self, request: Request, body: Body) -> Body:
        state.load(body, self._bank, self._clock, self._credentials)
        # The outcome of a delivery from the old books must not be recorded in the new ones; none can be before the
        # next `await`.
        self._deliveries.abandon()
        return self._shown_clock()

    def _action_call(self, action: Action) -> Call:
        """The call that does something to the row in its path."""

        def handler(request: Request, body: Body) -> Body:
            row_id = _id_of(table_of(self._bank, action.kind), request)
            return action.perform(self._bank, row_id, self._clock.now(), body)

        answer: dict[str, Schema] = {action.key or action.kind: {"type": "integer"}}
        if not action.key:
            answer = {action.kind: reference(action.kind.capitalize())}
        if action.name == "reverse":
            answer["reversed_centavos"] = {"type": "integer"}
        path = f"{action.kind}s/{{id}}/{action.name}"
        return Call("POST", path, action.words, handler, answer, action.fields)

    # --- faults -------------------------------------------------------------------------------------------

    def _fault_calls(self) -> list[Call]:
        which = {
            "name": text("name", WRONG, 100),
            "id": typed(int | str, WRONG, "id must be the number of a fault"),
        }
        asked = {name: {"type": "string"} for name in which}
        return [
            Call("GET", "faults", "Which misbehaviours are on, and which there are.", self._faults,
                 _named("faults", "struck", "known", "scenarios", "packs", "triggers")),
            Call("POST", "faults", "Switch a misbehaviour on: a fault, a scenario or a pack.", self._add_fault,
                 _named("fault", "faults"), schema=object_schema(FAULT)),
            Call("DELETE", "faults", "Switch misbehaviours off: all, those of a name, or one.", self._clear_faults,
                 _CLEARED, which, query=asked),
            Call("POST", "faults/clear", "The same as DELETE, for forms.", self._clear_faults, _CLEARED, which,
                 query=asked),
        ]  # fmt: skip

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
        added = [fault.to_json() for fault in self._bank.faults.add(body)]
        return {"faults": added} if body["name"] in PACKS else {"fault": added[0]}

    def _clear_faults(self, request: Request, body: Body) -> Body:
        named = {**request.query_params, **{name: value for name, value in body.items() if value is not None}}
        wanted = str(named.get("id", ""))
        if wanted and not (wanted.isascii() and wanted.isdigit()):
            raise ValueError("id must be the number of a fault")
        return {"cleared": self._bank.faults.clear(named.get("name"), int(wanted[:12]) if wanted else None)}

    # --- webhooks, events, deliveries ---------------------------------------------------------------------

    def _event_calls(self) -> list[Call]:
        webhooks = self._bank.events.webhooks
        return [
            Call("POST", "webhooks", "Register a webhook.", self._add_webhook, {"webhook": reference("Webhook")},
                 schema=object_schema(WEBHOOK)),
            Call("DELETE", "webhooks/{id}", "Remove a webhook.",
                 lambda request, body: {"webhook": webhooks.remove(_id_of(webhooks, request))},
                 {"webhook": reference("Webhook")}),
            Call("POST", "events/{id}/send", "Post an event to one address now, and show the answer.", self._send,
                 _named("delivery"), {"webhook": text("webhook", WRONG, 100), "url": _URL, "forged": FORGED}),
            *_history_calls("deliveries", "delivery", self._deliveries.history, DELIVERY_FILTERS),
            Call("POST", "deliveries/{number}/repeat", "Post the same bytes again, to its URL or another.",
                 self._repeat_delivery, {"repeat": _REPEAT}, {"url": _URL}),
        ]  # fmt: skip

    def _add_webhook(self, request: Request, body: Body) -> Body:
        if isinstance(body.get("subscriptions"), str):
            body = {**body, "subscriptions": body["subscriptions"].replace(" ", "").split(",")}
        return {"webhook": self._bank.events.register(body, self._clock.now())}

    async def _send(self, request: Request, body: Body) -> Body:
        event_id = _id_of(self._bank.events.rows, request)
        delivery = delivery_of(self._bank, event_id, body["webhook"], body["url"], forged=body["forged"])
        return {"delivery": shown(await self._deliveries.deliver(delivery))}

    async def _repeat_delivery(self, request: Request, body: Body) -> Body:
        entry = _entry_of(self._deliveries.history, request)
        at, headers = time_text(self._clock.now()), headers_of(entry["signature"])
        return {"repeat": await repeat(entry, "POST", body["url"] or entry["url"], headers, at)}

    # --- keys, projects, requests -------------------------------------------------------------------------

    def _caller_calls(self) -> list[Call]:
        callers = self._credentials
        project, body = {"project": _PROJECT}, object_schema(PROJECT)
        limit = {"type": ["integer", "null"], "minimum": 0, "maximum": 10**9}
        body = {**body, "properties": {**body["properties"], "requests_per_minute": limit}}
        return [
            Call("POST", "key/rotate", "The bank signs with a new key.",
                 lambda request, body: {"public_key": callers.rotate(self._clock.now())},
                 {"public_key": reference("PublicKey")}),
            Call("GET", "projects", "Who may call, from where and how often.",
                 lambda request, body: {"projects": [project.to_json() for project in callers.projects()]},
                 {"projects": {"type": "array", "items": _PROJECT}}),
            Call("POST", "projects", "Make a project, with a key of its own or the given one.",
                 lambda request, body: _with_key(*callers.add_project(body)), project, schema=body),
            Call("PATCH", "projects/{id}", "Change the name, the addresses or the limit of a project.",
                 lambda request, body: {
                     "project": callers.change_project(request.path_params["id"], body).to_json()
                 }, project, schema=body),
            Call("POST", "projects/{id}/key", "Give a project a new key.",
                 lambda request, body: _with_key(*callers.replace_key(request.path_params["id"], body)), project,
                 schema=object_schema(PROJECT_KEY)),
            *_history_calls("requests", "request", self._requests, REQUEST_FILTERS),
            Call("POST", "requests/{number}/repeat", "Send the same request again, to this emulator or another URL.",
                 self._repeat_request, {"repeat": _REPEAT}, {"url": _URL}),
        ]  # fmt: skip

    async def _repeat_request(self, request: Request, body: Body) -> Body:
        entry = _entry_of(self._requests, request)
        url, at = body["url"] or own_url(request, entry), time_text(self._clock.now())
        return {"repeat": await repeat(entry, entry["method"], url, entry["headers"], at)}


# --- reading paths ------------------------------------------------------------------------------------


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


def _id_of(table: Table, request: Request) -> str:
    """The id in the path; `last` stands for the newest row."""
    given: str = request.path_params["id"]
    if given != "last":
        return given
    rows, _ = table.page(limit=1)
    if not rows:
        raise ValueError(f"there is no {table.name} yet")
    return str(rows[0]["id"])


# --- answers ----------------------------------------------------------------------------------------------


def _with_key(project: Project, private_key: str | None) -> Body:
    return {"project": {**project.to_json(), "private_key": private_key}}


def _history_calls(plural: str, single: str, history: History, filters: tuple[str, ...]) -> list[Call]:
    """The calls that list, clear and show the entries of a history."""

    def entry(request: Request, body: Body) -> Body:
        return {single: shown(_entry_of(history, request))}

    asked: dict[str, Schema] = {
        **{name: {"type": "string"} for name in filters},
        "since": {"type": "integer", "minimum": 0},
        "limit": {"type": "integer", "minimum": 0},
        "bodies": {"type": "boolean", "default": False},
    }
    find = lambda request, body: {plural: history.find(request.query_params, filters)}  # noqa: E731
    rows: Schema = {"type": "array", "items": {"type": "object"}}
    return [
        Call("GET", plural, f"The {plural} that are kept, oldest first.", find, {plural: rows}, query=asked),
        Call(
            "DELETE",
            plural,
            f"Forget the {plural}.",
            lambda request, body: {"cleared": history.clear()},
            _CLEARED,
        ),
        Call("GET", f"{plural}/{{number}}", f"One {single}, with its bodies.", entry, _named(single)),
    ]


def _both(path: str, words: str, handler: Handler, answer: Mapping[str, Schema], **given: Any) -> list[Call]:
    """A change that forms and commands may also POST."""
    return [Call(method, path, words, handler, answer, **given) for method in ("PATCH", "POST")]


def _named(*names: str) -> dict[str, Schema]:
    """Properties that the description only names."""
    return {name: {} for name in names}
