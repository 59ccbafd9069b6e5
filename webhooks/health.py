"""``/health/live``, ``/health/ready`` and ``/metrics``: what machines ask this process."""

import asyncio
from datetime import datetime
from math import ceil

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from payments.bank.signature import BankKeys
from payments.errors import LedgerUnavailable
from payments.ledger.pauses import paused
from payments.observability.logging import masked_text
from payments.storage.database import Database
from payments.storage.migrate import NEWEST_REVISION, revision_of
from webhooks.access import Gate, Refusal
from webhooks.draining import Draining
from webhooks.forwarder import Forwarder

_NOT_KEPT = {"Cache-Control": "no-store"}


async def live(_: Request) -> Response:
    """200 as long as the event loop runs."""
    return JSONResponse({"status": "live"}, headers=_NOT_KEPT)


class Ready:
    """200 when an event would be accepted and forwarded now, else 503 with what is missing and why.

    A pause is an operator's decision and no failure: it is shown, and the answer stays 200.
    """

    def __init__(self, database: Database, keys: BankKeys, forwarder: Forwarder, draining: Draining) -> None:
        self._database = database
        self._keys = keys
        self._forwarder = forwarder
        self._draining = draining

    async def answer(self, _: Request) -> Response:
        reasons, off = await asyncio.to_thread(self._check)
        # Anyone may ask, so a short text, with nothing secret that the bank or the database may have said.
        failed = {name: masked_text(reason)[:200] for name, reason in reasons.items() if reason is not None}
        body = {
            "status": "not ready" if failed else "ready",
            "checks": {name: reason is None for name, reason in reasons.items()},
            "reasons": failed,
            "paused": {name: since.isoformat() for name, since in off.items()},
        }
        return JSONResponse(body, 503 if failed else 200, headers=_NOT_KEPT)

    def _check(self) -> tuple[dict[str, str | None], dict[str, datetime]]:
        """Each check with None, or why it fails; and what is paused."""
        database, migrations, off = self._ask_database()
        return {
            "database": database,
            "migrations": migrations,
            "bank_key": self._ask_key(),
            "forwarder": None if self._forwarder.is_alive else "the forwarder's thread has ended",
            "draining": "this process is stopping" if self._draining.has_begun else None,
        }, off

    def _ask_database(self) -> tuple[str | None, str | None, dict[str, datetime]]:
        try:
            found = revision_of(self._database)
            if found != NEWEST_REVISION:
                wrong = f"the database is at version {found or 'none'}, this program needs {NEWEST_REVISION}"
                return None, wrong, {}
            return None, None, {str(name): pause.since for name, pause in paused(self._database).items()}
        except LedgerUnavailable as error:
            return str(error), "the database does not answer", {}

    def _ask_key(self) -> str | None:
        if self._keys.fetched_at is not None or self._keys.refresh():
            return None
        return f"no public key of the bank is known: {self._keys.failure}"


class MetricsPage:
    """The Prometheus page, which needs an operator's or a reader's token; 404 when no token is set."""

    def __init__(self, page: CollectorRegistry, gate: Gate | None) -> None:
        self._page = page
        self._gate = gate

    async def answer(self, request: Request) -> Response:
        if self._gate is None:
            return PlainTextResponse("not found", 404)
        refusal = self._gate.admit(request)
        if isinstance(refusal, Refusal):
            if refusal.wait_seconds:
                wait = {"Retry-After": str(ceil(refusal.wait_seconds))}
                return PlainTextResponse("too many wrong tokens: wait", 429, wait)
            return PlainTextResponse(
                "the operator's token is needed", 401, {"WWW-Authenticate": 'Basic realm="repasse"'}
            )
        page = await asyncio.to_thread(generate_latest, self._page)
        return Response(page, media_type=CONTENT_TYPE_LATEST, headers=_NOT_KEPT)
