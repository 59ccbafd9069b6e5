"""``python -m worker``: issues invoices on schedule and reconciles, until SIGTERM. It stays up after its window."""

import os
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import structlog
from apscheduler.events import EVENT_SCHEDULER_STARTED
from apscheduler.schedulers.blocking import BlockingScheduler

from payments.bank.client import open_bank
from payments.errors import RepasseError
from payments.observability.alerts import open_notifying
from payments.observability.heartbeat import Heartbeat
from payments.observability.logging import configure_logging
from payments.operator.processes import Process, refuse_other_hosts
from payments.settings import Settings, load_settings, misspelt_settings
from payments.storage.clock import open_clock
from payments.storage.database import Database, open_database
from payments.storage.migrate import migrate
from payments.version import VERSION
from worker.schedule import add_jobs, issuing_job, open_or_continue, reconciliation_job, rules_from, utc_now

if TYPE_CHECKING:
    from payments.bank.transport import OnCall
    from worker.metrics_page import MetricsPage

log = structlog.get_logger()


def main() -> int:
    """Run until SIGTERM or SIGINT; 0 after a clean end, 2 with one line when it cannot start."""
    try:
        settings = load_settings()
        configure_logging(settings.log_level, settings.log_format, "worker")
        for name, like in misspelt_settings().items():
            log.warning("setting.unknown", name=name, meant=like)
        database = open_database(settings.database_url.get_secret_value())
        migrate(database)
        clock = open_clock(database, utc_now)
        refuse_other_hosts(database, socket.gethostname(), clock())
        page, count_call = _open_metrics(settings, database, clock)
        bank = open_bank(
            environment=settings.starkbank_environment,
            project_id=settings.starkbank_project_id,
            private_key_pem=settings.private_key_pem,
            api_url=settings.starkbank_api_url,
            timeout_seconds=settings.bank_timeout_seconds,
            on_call=count_call,
        )
        window = open_or_continue(database, settings, clock)
    except RepasseError as error:
        print(f"repasse: {error}", file=sys.stderr)
        return 2
    scheduler = Scheduler()
    add_jobs(
        scheduler,
        window,
        issuing_job(database, bank, rules_from(settings), window, clock),
        reconciliation_job(database, bank, settings, clock),
        settings.retry_base_seconds,
        settings.reconcile_interval_seconds,
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, scheduler.end)
    process = Process(secrets.token_hex(8), "worker", socket.gethostname(), os.getpid(), VERSION)
    heartbeat = Heartbeat(database, process, clock)
    beside = [each for each in (heartbeat, open_notifying(settings, database, clock), page) if each]
    for each in beside:
        each.start()
    log.info(
        "worker.started",
        database=database.name,
        environment=settings.starkbank_environment,
        version=VERSION,
        process_id=process.id,
    )
    scheduler.start()
    for each in reversed(beside):
        each.stop()
    database.close()
    log.info("worker.stopped")
    return 0


def _open_metrics(
    settings: Settings, database: Database, clock: Callable[[], datetime]
) -> "tuple[MetricsPage | None, OnCall | None]":
    """The page and what counts for it; both None without METRICS_PORT. Raises SettingsError."""
    if settings.metrics_port is None:
        return None, None
    # That variable is for several workers of one web process; here it would need a folder that nobody cleans.
    os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)
    from prometheus_client import CollectorRegistry

    from payments.observability.metrics import Metrics, MetricsText
    from worker.metrics_page import MetricsPage

    assert settings.operator_token is not None  # load_settings has seen to it
    metrics = Metrics(CollectorRegistry())
    text = MetricsText(metrics, database, clock)
    token = settings.operator_token.get_secret_value()
    page = MetricsPage(settings.host, settings.metrics_port, token, text.render)
    return page, metrics.count_bank_call


class Scheduler(BlockingScheduler):  # type: ignore[misc]
    """APScheduler's, which can be asked to end from a signal handler, at any moment and any number of times.

    It shuts down between two rounds and in its own thread. Read: APScheduler 3.11.3 schedulers/base.py, shutting
    down from another thread makes the round that is under way fail on the jobs that it has just run.
    """

    def __init__(self) -> None:
        super().__init__(timezone=UTC)
        self._is_to_end = threading.Event()
        # Waking it up takes the lock of the scheduler's own wait, which a handler may have interrupted.
        waker = threading.Thread(target=self._wake_to_end, name="waker", daemon=True)
        self.add_listener(lambda _: waker.start(), EVENT_SCHEDULER_STARTED)

    def end(self, *_: object) -> None:
        """Finish and record what is under way, then return from ``start``; before the start, end as it begins."""
        self._is_to_end.set()

    def _wake_to_end(self) -> None:
        self._is_to_end.wait()
        self.wakeup()

    def _process_jobs(self) -> float | None:
        if self._is_to_end.is_set():
            self.shutdown(wait=True)
            return None
        seconds: float | None = super()._process_jobs()
        return seconds


if __name__ == "__main__":
    sys.exit(main())
