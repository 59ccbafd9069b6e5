"""Builds the web app: what it is made of, its routes, and what starts and stops with it."""

import asyncio
import logging
import secrets
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from functools import partial
from types import FrameType

import structlog
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.routing import Route

from payments.bank.client import open_bank
from payments.bank.signature import BankKeys
from payments.ledger import inbox
from payments.ledger.database import open_database
from payments.ledger.migrate import migrate
from payments.ledger.transfers import next_due_at
from payments.observability import Metrics, configure_logging
from payments.reconciliation import Reconciliation, reconcile_once
from payments.settings import Settings, load_settings
from payments.settlement import Settlement, settle_once
from webhooks.access import Gate
from webhooks.console.acts import Work
from webhooks.console.site import Console
from webhooks.forwarder import Forwarder
from webhooks.health import MetricsPage, Ready, live
from webhooks.intake import Intake
from webhooks.receive import Receiver

log = structlog.get_logger()

# An operator's "forward now" is over at last, however fast credits come in: ten thousand transfers.
_CALLS_MAX = 100


def create_app(settings: Settings | None = None) -> Starlette:
    """Build the app from the environment's settings, or those given. Raises SettingsError or LedgerUnusable.

    The database is opened and migrated here; threads start with the lifespan and end with it.
    """
    settings = settings or load_settings()
    configure_logging(settings.log_level, settings.log_format, "web")
    logging.captureWarnings(True)
    policy = settings.forwarding_policy
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    database = open_database(settings.database_url.get_secret_value())
    migrate(database)
    bank = open_bank(
        environment=settings.starkbank_environment,
        project_id=settings.starkbank_project_id,
        private_key_pem=settings.private_key_pem,
        api_url=settings.starkbank_api_url,
        timeout_seconds=settings.bank_timeout_seconds,
        on_call=metrics.count_bank_call,
    )
    keys = BankKeys(bank.public_keys, time.monotonic)
    intake = Intake(lambda arrivals: inbox.accept(database, arrivals, "webhook", policy, _utc_now()))

    def settle() -> Settlement:
        settlement = settle_once(database, bank, policy, _utc_now, _new_call_tag)
        metrics.count_transfers(settlement.outcomes)
        return settlement

    forwarder = Forwarder(settle, next_due_at=partial(next_due_at, database))

    token = settings.operator_token.get_secret_value() if settings.operator_token else None
    gate = Gate(token) if token else None
    console = None
    if token and gate:
        work = Work(
            wake_forwarder=forwarder.wake,
            forward=partial(_forward_all, settle),
            reconcile=lambda: _said_of(reconcile_once(database, bank, policy, _utc_now)),
            new_batch_tag=_new_batch_tag if settings.starkbank_api_url else None,
        )
        console = Console(database, settings, token, gate, work, _utc_now)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        fetching = asyncio.create_task(asyncio.to_thread(keys.refresh))
        forwarder.start()
        log.info("web.started", database=database.name, environment=settings.starkbank_environment)
        with _told_of_the_end(console.end if console else lambda: None):
            yield
        await intake.close()
        await asyncio.to_thread(forwarder.stop)
        await fetching
        database.close()
        log.info("web.stopped")

    return Starlette(
        routes=[
            Route(
                "/webhooks/starkbank",
                Receiver(keys, intake, metrics, forwarder.wake).answer,
                methods=["POST"],
            ),
            Route("/health/live", live),
            Route("/health/ready", Ready(database, keys, forwarder).answer),
            Route("/metrics", MetricsPage(registry, metrics, database, gate, _utc_now).answer),
            *(console.routes if console else []),
        ],
        lifespan=lifespan,
    )


def _forward_all(settle: Callable[[], Settlement]) -> str:
    """Send what is due, as ``run_job forward`` does, and say how it went."""
    sent = found = 0
    for _ in range(_CALLS_MAX):
        counts = settle()
        if counts.is_idle:
            break
        sent += counts.sent
        found += counts.found
    return f"sent {sent}, found {found} at the bank already"


def _said_of(run: Reconciliation) -> str:
    failed = f"; not answered: {'; '.join(run.failures)}" if run.failures else ""
    return f"found {run.found} that we did not know{failed}"


@contextmanager
def _told_of_the_end(end: Callable[[], None]) -> Iterator[None]:
    """Call ``end`` on the event loop as soon as the process is asked to end.

    The server waits for open streams before it ends the lifespan, so that would be too late. Read: uvicorn 0.54.0
    server.py, its handlers of signals stand before the lifespan begins. Outside the main thread there are none.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def handle(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(end)
        handler = before[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)

    for number in before:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is handle:
                signal.signal(number, handler)


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _new_call_tag() -> str:
    return f"call-{secrets.token_hex(8)}"


def _new_batch_tag() -> str:
    return f"repasse-{secrets.token_hex(4)}-manual"
