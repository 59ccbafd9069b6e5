"""The management face /emulator/...: what a bank would never let its customers do.

For tests, demos and simulations on the same machine: unsigned, apart from /v2, money as integer centavos. It
holds no rules of its own; everything is asked of the bank.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from emulator.bank import Bank
from emulator.clock import Clock
from emulator.credentials import Credentials
from emulator.deliveries import Deliveries
from emulator.door import Door
from emulator.faults import FAULTS
from emulator.formats import time_text
from emulator.refusal import Refusal
from emulator.statement import statement

MOST_BODY_BYTES = 1_000_000

log = logging.getLogger("emulator.control")

Endpoint = Callable[[Request], Awaitable[Response]]


class Control:
    """The routes of the management face."""

    def __init__(
        self, bank: Bank, credentials: Credentials, clock: Clock, door: Door, posts: Deliveries
    ) -> None:
        self._bank = bank
        self._credentials = credentials
        self._clock = clock
        self._door = door
        self._posts = posts

    def routes(self) -> list[Route]:
        """All routes, for the application."""
        table: list[tuple[str, str, Callable[..., Any]]] = [
            ("GET", "/emulator/health", self._health),
            ("GET", "/emulator/activity", self._activity),
            ("GET", "/emulator/statement", self._statement),
            ("POST", "/emulator/invoices/{id}/pay", self._pay),
            ("POST", "/emulator/invoices/{id}/reverse", self._reverse),
            ("POST", "/emulator/transfers/{id}/fail", self._fail),
            ("GET", "/emulator/faults", self._faults),
            ("POST", "/emulator/faults", self._add_fault),
            ("DELETE", "/emulator/faults", self._clear_faults),
            ("POST", "/emulator/events/{id}/redeliver", self._redeliver),
            ("POST", "/emulator/key/rotate", self._rotate),
            ("GET", "/emulator/requests", self._requests),
            ("DELETE", "/emulator/requests", self._clear_requests),
            ("GET", "/emulator/settings", self._settings),
            ("PATCH", "/emulator/settings", self._change_settings),
            ("POST", "/emulator/stop-paying", self._stop_paying),
        ]
        return [Route(path, self._endpoint(act), methods=[method]) for method, path, act in table]

    def _endpoint(self, act: Callable[[Request, dict[str, Any]], dict[str, Any]]) -> Endpoint:
        async def endpoint(request: Request) -> Response:
            raw = await request.body()
            try:
                if len(raw) > MOST_BODY_BYTES:
                    raise ValueError(f"the body is longer than {MOST_BODY_BYTES} bytes")
                body = msgspec.json.decode(raw) if raw.strip() else {}
                if not isinstance(body, dict):
                    raise ValueError("the body must be a JSON object")
                self._bank.step(self._clock.now())
                return _json(act(request, body))
            except Refusal as refusal:
                return _json(refusal.to_json(), 400)
            except (ValueError, RecursionError) as error:
                return _json(Refusal.of("invalidRequest", str(error)).to_json(), 400)
            except Exception:
                log.exception("%s %s failed inside the emulator", request.method, request.url.path)
                return _json(Refusal.of("internalServerError", "See the emulator's log").to_json(), 500)

        return endpoint

    def _health(self, request: Request, body: dict[str, Any]) -> dict[str, Any]:
        return {
            "status": "ok",
            "emulated_now": time_text(self._clock.now()),
            "project_id": self._credentials.project.project_id,
            "seed": self._bank.seed,
        }

    def _activity(self, request: Request, body: dict[str, Any]) -> dict[str, Any]:
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

    def _statement(self, request: Request, body: dict[str, Any]) -> dict[str, Any]:
        details = request.query_params.get("details", "true").lower() != "false"
        return {"emulated_now": time_text(self._clock.now()), **statement(self._bank, details=details)}

    def _pay(self, request: Request, body: dict[str, Any]) -> dict[str, Any]:
        amount = _centavos(body, ("amount", "amount_centavos"), at_least=1)
        return {"invoice": self._bank.invoices.pay(request.path_params["id"], self._clock.now(), amount)}

    def _reverse(self, request: Request, body: dict[str, Any]) -> dict[str, Any]:
        remaining = _centavos(body, ("amount", "amount_centavos"), at_least=0) or 0
        # Forced: a reversal after the money was forwarded is exactly what tests want to see.
        row = self._bank.invoices.begin_reversal(
            request.path_params["id"], remaining, self._clock.now(), forced=True
        )
        return {"invoice": row}

    def _fail(self, request: Request, body: dict[str, Any]) -> dict[str, Any]:
        _only(body, ("reason",))
        reason = body.get("reason", "Failed by the management face")
        if not isinstance(reason, str):
            raise ValueError("reason must be a text")
        return {"transfer": self._bank.transfers.fail(request.path_params["id"], reason, self._clock.now())}

    def _faults(self, request: Request, body: dict[str, Any]) -> dict[str, Any]:
        faults = self._bank.faults
        return {
            "faults": [fault.to_json() for fault in faults.active()],
            "struck": dict(faults.struck),
            "known": FAULTS,
        }

    def _add_fault(self, request: Request, body: dict[str, Any]) -> dict[str, Any]:
        return {"fault": self._bank.faults.add(body).to_json()}

    def _clear_faults(self, request: Request, body: dict[str, Any]) -> dict[str, Any]:
        return {"cleared": self._bank.faults.clear(request.query_params.get("name"))}

    def _redeliver(self, request: Request, body: dict[str, Any]) -> dict[str, Any]:
        return {"deliveries": self._bank.events.redeliver(request.path_params["id"], self._clock.now())}

    def _rotate(self, request: Request, body: dict[str, Any]) -> dict[str, Any]:
        return {"public_key": self._credentials.rotate(self._clock.now())}

    def _requests(self, request: Request, body: dict[str, Any]) -> dict[str, Any]:
        filters = ("method", "path", "status", "fault", "project")
        return {"requests": self._door.history.find(request.query_params, filters)}

    def _clear_requests(self, request: Request, body: dict[str, Any]) -> dict[str, Any]:
        return {"cleared": self._door.history.clear()}

    def _settings(self, request: Request, body: dict[str, Any]) -> dict[str, Any]:
        return {"settings": self._bank.preset.to_json()}

    def _change_settings(self, request: Request, body: dict[str, Any]) -> dict[str, Any]:
        self._bank.preset.change(body)
        return {"settings": self._bank.preset.to_json()}

    def _stop_paying(self, request: Request, body: dict[str, Any]) -> dict[str, Any]:
        self._bank.preset.paying = False
        return {"settings": self._bank.preset.to_json()}


def _centavos(body: dict[str, Any], names: tuple[str, ...], at_least: int) -> int | None:
    _only(body, names)
    given = [body[name] for name in names if name in body]
    if not given:
        return None
    if len(given) > 1 or type(given[0]) is not int or given[0] < at_least:
        raise ValueError(f"{names[0]} must be a whole number of centavos, at least {at_least}")
    return given[0]


def _only(body: dict[str, Any], names: tuple[str, ...]) -> None:
    unknown = sorted(set(body) - set(names))
    if unknown:
        raise ValueError(f"unknown keys {', '.join(unknown)}; known are {', '.join(names)}")


def _json(body: dict[str, Any], status: int = 200) -> Response:
    return Response(msgspec.json.encode(body), status, media_type="application/json")
