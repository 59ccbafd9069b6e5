"""``python -m worker``: issues invoices on schedule and reconciles, until SIGTERM. It stays up after its window."""

import argparse
import os
import secrets
import signal
import socket
import sys
from collections.abc import Callable
from datetime import datetime

import structlog

from payments.bank.client import open_bank
from payments.errors import RepasseError
from payments.ledger.clock_steps import follow_clock
from payments.observability.alerts import open_alerts
from payments.observability.bank_watch import BankWatch
from payments.observability.heartbeat import Heartbeat
from payments.observability.logging import configure_logging
from payments.observability.streams import complain, open_standard_streams
from payments.operator.processes import Process, refuse_other_hosts
from payments.parts import Part
from payments.settings import Settings, load_settings, misspelt_settings
from payments.storage.clock import StepWatch, open_clock
from payments.storage.database import Database, open_database
from payments.storage.migrate import migrate
from payments.version import VERSION
from worker.schedule import Schedule, issuing_job, open_or_continue, reconciliation_job, rules_from, utc_now

log = structlog.get_logger()


# What ends the worker. Blocked in every thread and taken by run(), so that neither interrupts anything and neither is
# lost: one that comes while the parts start ends the worker once they have started, and further ones change nothing.
ENDING = {signal.SIGTERM, signal.SIGINT}


class Worker:
    """Everything that the worker is made of. Raises RepasseError when it cannot be built."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.database = open_database(settings.database_url.get_secret_value())
        migrate(self.database)
        clock = open_clock(self.database, utc_now)
        self.process = Process(secrets.token_hex(8), "worker", socket.gethostname(), os.getpid(), VERSION)
        refuse_other_hosts(self.database, self.process.host, clock())
        count_call, count_alert, page = _open_metrics(settings, self.database, clock)
        self.bank = open_bank(
            environment=settings.starkbank_environment,
            project_id=settings.starkbank_project_id,
            private_key_pem=settings.private_key_pem,
            api_url=settings.starkbank_api_url,
            timeout_seconds=settings.bank_timeout_seconds,
            on_call=count_call,
        )
        window = open_or_continue(self.database, settings, clock)
        schedule = Schedule(
            window,
            issuing_job(self.database, self.bank, rules_from(settings), window, clock),
            reconciliation_job(self.database, self.bank, settings, clock),
            retry_seconds=settings.retry_base_seconds,
            reconcile_seconds=settings.reconcile_interval_seconds,
        )

        def follow(step_seconds: float) -> None:
            schedule.begin_again()
            lease_seconds = settings.transfer_lease_seconds
            follow_clock(self.database, self.process.host, step_seconds, lease_seconds, clock())

        # The scheduler goes by this machine's clock, and what is stored by the database's.
        watches = [StepWatch(utc_now), *([StepWatch(clock)] if self.database.is_postgresql else [])]
        heartbeat = Heartbeat(
            self.database,
            self.process,
            clock,
            last_bank_call=self.bank.last_call,
            watches=watches,
            follow=follow,
        )
        watch = BankWatch(self.bank, heartbeat.beat)
        alerts = open_alerts(settings, self.database, clock, count_alert)
        # Started in this order, and stopped in the opposite one.
        parts: tuple[Part | None, ...] = (heartbeat, watch, alerts, page, schedule)
        self.parts = [part for part in parts if part is not None]

    def run(self) -> None:
        """Start every part, wait for SIGTERM or SIGINT, and stop them all."""
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
        for part in self.parts:
            part.start()
        log.info(
            "worker.started",
            database=self.database.name,
            environment=self.settings.starkbank_environment,
            version=VERSION,
            process_id=self.process.id,
        )
        signal.sigwait(ENDING)
        for part in reversed(self.parts):
            part.stop()
        self.bank.close()
        self.database.close()
        log.info("worker.stopped")


def main() -> int:
    """``python -m worker``: run; a word on the command line is refused, or answered with help."""
    argparse.ArgumentParser(
        prog="python -m worker",
        description="Issue invoices on schedule and reconcile with the bank, until SIGTERM. "
        "Every setting comes from the environment or from .env.",
    ).parse_args()
    return run()


def run() -> int:
    """Run until SIGTERM or SIGINT; 0 after a clean end, 2 with one line when it cannot start."""
    open_standard_streams()
    try:
        settings = load_settings()
        configure_logging(settings.log_level, settings.log_format, "worker")
        for name, like in misspelt_settings().items():
            log.warning("setting.unknown", name=name, meant=like)
        worker = Worker(settings)
    except RepasseError as error:
        complain(str(error))
        return 2
    worker.run()
    return 0


def _open_metrics(
    settings: Settings, database: Database, clock: Callable[[], datetime]
) -> tuple[Callable[[str, str, str, float], None] | None, Callable[[str], None], Part | None]:
    """What counts calls to the bank, what counts alerts, and the page. Raises SettingsError."""
    if settings.metrics_port is None:
        return None, lambda _: None, None
    # That variable is for several workers of one web process; here it would leave files that no one removes.
    os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)
    from prometheus_client import CollectorRegistry

    from payments.observability.metrics import Metrics, metrics_page
    from worker.metrics_page import MetricsPage

    metrics = Metrics(CollectorRegistry())
    registry = metrics_page(metrics, database, clock)
    page = MetricsPage(settings.host, settings.metrics_port, settings.accounts, registry)
    return metrics.count_bank_call, metrics.count_alert, page


if __name__ == "__main__":
    sys.exit(main())
