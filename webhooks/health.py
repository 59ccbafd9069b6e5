"""``/health/live``, ``/health/ready`` and ``/metrics``: what machines ask about this process."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from math import ceil

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from payments.bank.signature import BankKeys
from payments.errors import LedgerUnavailable
from payments.ledger.database import Database
from payments.ledger.migrate import NEWEST_REVISION, revision_of
from payments.ledger.statement import read_oldest_unforwarded, read_statement
from payments.observability import Metrics
from webhooks.access import Gate
from webhooks.forwarder import Forwarder


async def live(_: Request) -> Response:
    """200 as long as the event loop turns."""
    return JSONResponse({"status": "live"})


class Ready:
    """200 when an event would be accepted and forwarded now; 503 with what is missing otherwise."""

    def __init__(self, database: Database, keys: BankKeys, forwarder: Forwarder) -> None:
        self._database = database
        self._keys = keys
        self._forwarder = forwarder

    async def answer(self, _: Request) -> Response:
        checks = await asyncio.to_thread(self._check)
        ready = all(checks.values())
        return JSONResponse(
            {"status": "ready" if ready else "not ready", "checks": checks}, 200 if ready else 503
        )

    def _check(self) -> dict[str, bool]:
        try:
            database = revision_of(self._database) == NEWEST_REVISION
        except LedgerUnavailable:
            database = False
        return {
            "database": database,
            "bank_key": self._keys.fetched_at is not None or self._keys.refresh(),
            "forwarder": self._forwarder.is_alive,
        }


class MetricsPage:
    """The Prometheus page, for whoever has the operator's token; 404 when no token is set."""

    def __init__(
        self,
        registry: CollectorRegistry,
        metrics: Metrics,
        database: Database,
        gate: Gate | None,
        clock: Callable[[], datetime],
    ) -> None:
        self._registry = registry
        self._metrics = metrics
        self._database = database
        self._gate = gate
        self._clock = clock

    async def answer(self, request: Request) -> Response:
        if self._gate is None:
            return PlainTextResponse("not found", 404)
        if refusal := self._gate.refusal_of(request):
            if refusal.wait_seconds:
                wait = {"Retry-After": str(ceil(refusal.wait_seconds))}
                return PlainTextResponse("too many wrong tokens: wait", 429, wait)
            return PlainTextResponse(
                "the operator's token is needed", 401, {"WWW-Authenticate": 'Basic realm="repasse"'}
            )
        page = await asyncio.to_thread(self._render)
        return Response(page, media_type=CONTENT_TYPE_LATEST, headers={"Cache-Control": "no-store"})

    def _render(self) -> bytes:
        try:
            statement = read_statement(self._database)
            oldest = read_oldest_unforwarded(self._database)
        except LedgerUnavailable:
            return generate_latest(self._registry)  # the counters are worth having even now
        for state, count in statement.transfers.items():
            self._metrics.transfers.labels(state).set(count)
        age = 0.0 if oldest is None else (self._clock() - oldest).total_seconds()
        self._metrics.oldest_unforwarded_seconds.set(max(0.0, age))
        self._metrics.money_at_risk_centavos.set(
            statement.unforwarded_centavos + statement.in_flight_centavos
        )
        self._metrics.attention.set(statement.attention)
        return generate_latest(self._registry)
