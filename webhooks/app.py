"""Builds the web app: its parts, how they hang together, its routes, and what starts and stops with it."""

import asyncio
import logging
import os
import resource
import secrets
import socket
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial

import structlog
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.routing import Route

from payments.bank.client import open_bank
from payments.bank.signature import BankKeys
from payments.event import read_event
from payments.ledger import inbox
from payments.ledger.clock_steps import follow_clock
from payments.ledger.inbox import Arrival, Outcome, Receipt
from payments.ledger.transfers import next_due_at
from payments.note import Note
from payments.observability.alerts import open_alerts
from payments.observability.heartbeat import Heartbeat, Ticker, guarded
from payments.observability.logging import configure_logging
from payments.observability.metrics import Metrics, metrics_page
from payments.operator.processes import Process
from payments.parts import Part
from payments.reconciliation import reconcile_once
from payments.settings import Settings, load_settings, misspelt_settings
from payments.settlement import Settlement, settle_once
from payments.storage.checkpoints import CHECKPOINT_SECONDS, checkpoint
from payments.storage.clock import StepWatch, open_clock
from payments.storage.database import open_database
from payments.storage.migrate import migrate
from payments.version import VERSION
from webhooks.access import Gate
from webhooks.console.actions import Result, Work
from webhooks.console.app import Console
from webhooks.draining import Draining
from webhooks.forwarder import Forwarder
from webhooks.health import MetricsPage, Ready, live
from webhooks.intake import Intake
from webhooks.receive import PATH, RECEIVING_MAX, Delivery, Receiver, log_stored

log = structlog.get_logger()

# An operator's "forward now" ends even while credits come in fast: after ten thousand transfers.
_CALLS_MAX = 100


class Web:
    """The parts of one web process. Raises SettingsError or LedgerUnusable when it cannot be built."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.policy = settings.forwarding_policy
        self.metrics = Metrics(CollectorRegistry())
        address = settings.database_url.get_secret_value()
        self.database = open_database(address)
        migrate(self.database)
        # Connections of their own: writers on one Database take turns, and no event is to wait for these.
        self.aside = open_database(address)
        self.clock = open_clock(self.database, _utc_now)
        self.bank = open_bank(
            environment=settings.starkbank_environment,
            project_id=settings.starkbank_project_id,
            private_key_pem=settings.private_key_pem,
            api_url=settings.starkbank_api_url,
            timeout_seconds=settings.bank_timeout_seconds,
            on_call=self.metrics.count_bank_call,
        )
        self.keys = BankKeys(self.bank.public_keys, time.monotonic)
        self.forwarder = Forwarder(self.settle, partial(next_due_at, self.database), self.clock)
        self.intake = Intake(self.accept)
        self.receiver = Receiver(self.keys, self.intake, self.metrics, _receiving_max())
        self.draining = Draining(settings.drain_seconds)
        self.process = Process(secrets.token_hex(8), "web", socket.gethostname(), os.getpid(), VERSION)
        # What it repeats, it repeats by elapsed time; what is stored goes by the clock.
        self.heartbeat = Heartbeat(
            self.aside,
            self.process,
            self.clock,
            self.key_age_seconds,
            self.bank.last_call,
            watches=[StepWatch(self.clock)],
            follow=self.follow_clock,
        )
        self.gate = Gate(settings.accounts) if settings.accounts else None
        self.console = self._build_console(self.gate) if self.gate else None
        # What starts with the app, in this order, and stops in the opposite one.
        alerts = open_alerts(settings, self.aside, self.clock, self.metrics.count_alert)
        checkpoints = Ticker("checkpoints", partial(checkpoint, self.aside), CHECKPOINT_SECONDS)
        self.parts: list[Part] = [
            self.forwarder,
            self.heartbeat,
            *([] if self.database.is_postgresql else [checkpoints]),
            *([alerts] if alerts else []),
        ]

    def accept(self, deliveries: Sequence[Delivery]) -> list[Receipt]:
        """Store a group of deliveries and their consequences; runs in the intake's thread."""
        arrivals = [Arrival(read_event(delivery.body), delivery.signature) for delivery in deliveries]
        receipts = inbox.accept(self.database, arrivals, "webhook", self.policy, self.clock())
        if any(receipt.outcome == Outcome.CREDIT for receipt in receipts):
            self.forwarder.wake()
        self.metrics.count_receipts(receipts)
        log_stored(arrivals, receipts)
        return receipts

    def settle(self) -> Settlement:
        """Settle one call's worth of what is due; runs in the forwarder's threads."""
        settlement = settle_once(
            self.database, self.bank, self.policy, self.clock, f"call-{secrets.token_hex(8)}"
        )
        self.metrics.count_transfers(settlement.outcomes)
        return settlement

    def settle_all(self) -> Result:
        """Settle what is due, as ``repasse job forward`` does; returns how it went, for the operator."""
        sent = found = 0
        for _ in range(_CALLS_MAX):
            counts = self.settle()
            if counts.is_idle:
                break
            sent += counts.sent
            found += counts.found
        return Result(Note("sent", {"sent": sent, "found": found}))

    def reconcile(self) -> Result:
        """Ask the bank what was missed; returns how it went, for the operator."""
        run = reconcile_once(self.aside, self.bank, self.policy, self.clock)
        if run.failure is not None:
            return Result(Note("reconciled_partly", {"found": run.found, "why": run.failure}), "bad")
        return Result(
            Note("reconciled", {"found": run.found}) if run.found else Note("reconciled_nothing", {})
        )

    def fetch_key(self) -> None:
        """Ask for the bank's public key, so that the first event need not wait for it."""
        if self.keys.refresh():
            # Now, or the process counts as one without a key until the next beat.
            guarded("heartbeat", self.heartbeat.beat)
        else:
            log.warning("bank_key.not_fetched", reason=self.keys.failure)

    def follow_clock(self, step_seconds: float) -> None:
        """Have what is stored follow the clock, which was set by so many seconds."""
        follow_clock(self.aside, self.process.host, step_seconds, self.policy.lease_seconds, self.clock())
        self.forwarder.wake()

    def key_age_seconds(self) -> float | None:
        """How long ago the bank's key was fetched; None when it was not."""
        fetched_at = self.keys.fetched_at
        return None if fetched_at is None else time.monotonic() - fetched_at

    def app(self) -> Starlette:
        """The ASGI application."""
        return Starlette(
            routes=[
                Route(PATH, self.receiver.answer, methods=["POST"]),
                Route("/health/live", live),
                Route("/health/ready", Ready(self.database, self.keys, self.forwarder, self.draining).answer),
                Route(
                    "/metrics",
                    MetricsPage(metrics_page(self.metrics, self.database, self.clock), self.gate).answer,
                ),
                *(self.console.routes if self.console else []),
            ],
            lifespan=self.run,
        )

    @asynccontextmanager
    async def run(self, _: Starlette) -> AsyncIterator[None]:
        """Start every part, serve, and stop them all: the app's lifespan."""
        self.draining.listen(at_signal=self.console.end if self.console else None)
        fetching = asyncio.create_task(asyncio.to_thread(self.fetch_key))
        for part in self.parts:
            part.start()
        log.info(
            "web.started",
            database=self.database.name,
            environment=self.settings.starkbank_environment,
            version=VERSION,
            process_id=self.process.id,
        )
        yield
        self.draining.has_begun = True
        await self.intake.close()
        await fetching
        for part in reversed(self.parts):
            await asyncio.to_thread(part.stop)
        self.bank.close()
        self.aside.close()
        self.database.close()
        log.info("web.stopped")

    def _build_console(self, gate: Gate) -> Console:
        work = Work(
            wake_forwarder=self.forwarder.wake,
            forward=self.settle_all,
            reconcile=self.reconcile,
            new_batch_tag=_new_batch_tag if self.settings.starkbank_api_url else None,
        )
        return Console(self.aside, self.settings, gate, work, self.clock, _utc_now)


def create_app(settings: Settings | None = None) -> Starlette:
    """Build the app from the environment's settings, or those given. Raises SettingsError or LedgerUnusable.

    The database is opened and migrated here; threads start with the lifespan and end with it.
    """
    settings = settings or load_settings()
    configure_logging(settings.log_level, settings.log_format, "web")
    logging.captureWarnings(capture=True)
    for name, like in misspelt_settings().items():
        log.warning("setting.unknown", name=name, meant=like)
    return Web(settings).app()


def _receiving_max() -> int:
    # A quarter of what may be open: health checks, the console, the database and the bank need the rest.
    open_files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return RECEIVING_MAX if open_files == resource.RLIM_INFINITY else min(RECEIVING_MAX, open_files // 4)


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _new_batch_tag() -> str:
    return f"repasse-{secrets.token_hex(4)}-manual"
