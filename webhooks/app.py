"""Builds the web app: what it is made of, its routes, and what starts and stops with it."""

import asyncio
import logging
import os
import secrets
import socket
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial

import structlog
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from payments.bank.client import open_bank
from payments.bank.signature import BankKeys
from payments.event import read_event
from payments.ledger import inbox
from payments.ledger.inbox import Arrival, Outcome, Receipt
from payments.ledger.transfers import next_due_at
from payments.observability.alerts import open_notifying
from payments.observability.heartbeat import Heartbeat
from payments.observability.logging import configure_logging
from payments.observability.metrics import Metrics, MetricsText
from payments.observability.ticker import guarded
from payments.operator.processes import Process
from payments.reconciliation import Reconciliation, reconcile_once
from payments.settings import Settings, load_settings, misspelt_settings
from payments.settlement import Settlement, settle_once
from payments.storage.clock import open_clock
from payments.storage.database import open_database
from payments.storage.listener import Listener
from payments.storage.migrate import migrate
from payments.version import VERSION
from webhooks.access import Gate
from webhooks.console.actions import Work
from webhooks.console.app import Console
from webhooks.delivery_protocol import STATE
from webhooks.draining import Draining
from webhooks.forwarder import Forwarder
from webhooks.health import MetricsPage, Ready, live
from webhooks.intake import Intake
from webhooks.receive import PATH, Receiver, Signed, tell

log = structlog.get_logger()

# An operator's "forward now" is over at last, however fast credits come in: ten thousand transfers.
_CALLS_MAX = 100

# PostgreSQL works on one group while another is prepared; SQLite has one writer.
_COMMITS_AT_ONCE = 2


def create_app(settings: Settings | None = None) -> ASGIApp:
    """Build the app from the environment's settings, or those given. Raises SettingsError or LedgerUnusable.

    The database is opened and migrated here; threads start with the lifespan and end with it.
    """
    settings = settings or load_settings()
    configure_logging(settings.log_level, settings.log_format, "web")
    logging.captureWarnings(True)
    for name, like in misspelt_settings().items():
        log.warning("setting.unknown", name=name, meant=like)
    policy = settings.forwarding_policy
    metrics = Metrics(CollectorRegistry())
    database = open_database(settings.database_url.get_secret_value())
    migrate(database)
    clock = open_clock(database, _utc_now)
    bank = open_bank(
        environment=settings.starkbank_environment,
        project_id=settings.starkbank_project_id,
        private_key_pem=settings.private_key_pem,
        api_url=settings.starkbank_api_url,
        timeout_seconds=settings.bank_timeout_seconds,
        on_call=metrics.count_bank_call,
    )
    keys = BankKeys(bank.public_keys, time.monotonic)

    def accept(signed: Sequence[Signed]) -> list[Receipt]:
        # Read here and not in the event loop, which has enough to do with signatures.
        arrivals = [Arrival(read_event(each.body), each.signature) for each in signed]
        receipts = inbox.accept(database, arrivals, "webhook", policy, clock())
        if any(receipt.outcome == Outcome.CREDIT for receipt in receipts):
            forwarder.wake()
        tell(arrivals, receipts)
        return receipts

    intake = Intake(accept, _COMMITS_AT_ONCE if database.is_postgresql else 1)

    def settle() -> Settlement:
        settlement = settle_once(database, bank, policy, clock, _new_call_tag)
        metrics.count_transfers(settlement.outcomes)
        return settlement

    forwarder = Forwarder(settle, next_due_at=partial(next_due_at, database), clock=clock)
    listener = Listener(database, forwarder.wake)
    draining = Draining(settings.drain_seconds)
    process = Process(secrets.token_hex(8), "web", socket.gethostname(), os.getpid(), VERSION)
    # Connections of their own: writers on one Database take turns, and no event is to wait for these.
    aside = open_database(settings.database_url.get_secret_value())
    heartbeat = Heartbeat(aside, process, clock, partial(_age_of_key, keys))
    notifying = open_notifying(settings, aside, clock)

    def fetch_key() -> None:
        if keys.refresh():
            guarded("heartbeat", heartbeat.beat)  # so that nobody takes us for keyless until the next beat
        else:
            log.warning("bank_key.not_fetched", reason=keys.failure)

    token = settings.operator_token.get_secret_value() if settings.operator_token else None
    gate = Gate(token) if token else None
    console = None
    if token and gate:
        work = Work(
            wake_forwarder=forwarder.wake,
            forward=partial(_forward_all, settle),
            reconcile=lambda: _said_of(reconcile_once(aside, bank, policy, clock)),
            new_batch_tag=_new_batch_tag if settings.starkbank_api_url else None,
        )
        console = Console(aside, settings, token, gate, work, clock, _utc_now)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[dict[str, Receiver]]:
        draining.listen(at_signal=console.end if console else None)
        fetching = asyncio.create_task(asyncio.to_thread(fetch_key))
        forwarder.start()
        listener.start()
        heartbeat.start()
        if notifying:
            notifying.start()
        log.info(
            "web.started",
            database=database.name,
            environment=settings.starkbank_environment,
            version=VERSION,
            process_id=process.id,
        )
        yield {STATE: receiver}  # for DeliveryProtocol
        draining.has_begun = True
        await intake.close()
        await asyncio.to_thread(listener.stop)
        await asyncio.to_thread(forwarder.stop)
        await fetching
        if notifying:
            await asyncio.to_thread(notifying.stop)
        await asyncio.to_thread(heartbeat.stop)
        aside.close()
        database.close()
        log.info("web.stopped")

    receiver = Receiver(keys, intake, metrics)
    pages = Starlette(
        routes=[
            Route("/health/live", live),
            Route("/health/ready", Ready(database, keys, forwarder, draining).answer),
            Route("/metrics", MetricsPage(MetricsText(metrics, database, clock), gate).answer),
            *(console.routes if console else []),
        ],
        lifespan=lifespan,
    )

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        # The bank's deliveries take the short way, past routing and middleware.
        if scope["type"] == "http" and scope["path"] == PATH:
            await receiver(scope, receive, send)
        else:
            await pages(scope, receive, send)

    return app


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
    if run.failures:
        return f"reconciliation incomplete, {run.found} new: {'; '.join(run.failures)}"
    return f"reconciled: {run.found or 'nothing'} new"


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _age_of_key(keys: BankKeys) -> float | None:
    return None if keys.fetched_at is None else time.monotonic() - keys.fetched_at


def _new_call_tag() -> str:
    return f"call-{secrets.token_hex(8)}"


def _new_batch_tag() -> str:
    return f"repasse-{secrets.token_hex(4)}-manual"
