"""``python -m worker``: issues invoices on schedule and reconciles, until SIGTERM. It stays up after its window."""

import argparse
import os
import secrets
import signal
import socket
import sys
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

import structlog

from payments.bank.client import open_bank
from payments.errors import RepasseError
from payments.observability.alerts import open_alerts
from payments.observability.heartbeat import Heartbeat
from payments.observability.logging import configure_logging
from payments.operator.processes import Process, refuse_other_hosts
from payments.settings import Settings, load_settings, misspelt_settings
from payments.storage.clock import open_clock
from payments.storage.database import Database, open_database
from payments.storage.migrate import migrate
from payments.version import VERSION
from worker.schedule import Schedule, issuing_job, open_or_continue, reconciliation_job, rules_from, utc_now

log = structlog.get_logger()


# What ends the worker. Blocked in every thread and taken by main(), so that neither interrupts anything and neither is
# lost: one that comes while the parts start ends the worker once they have started, and further ones change nothing.
ENDING = {signal.SIGTERM, signal.SIGINT}


class Part(Protocol):
    """Something that the worker runs, in threads of its own."""

    def start(self) -> None:
        """Begin."""

    def stop(self) -> None:
        """Finish what is under way, and end."""


def main() -> int:
    """Run until SIGTERM or SIGINT; 0 after a clean end, 2 with one line when it cannot start."""
    argparse.ArgumentParser(
        prog="python -m worker",
        description="Issue invoices on schedule and reconcile with the bank, until SIGTERM. "
        "Every setting comes from the environment or from .env.",
    ).parse_args()
    try:
        settings = load_settings()
        configure_logging(settings.log_level, settings.log_format, "worker")
        for name, like in misspelt_settings().items():
            log.warning("setting.unknown", name=name, meant=like)
        database = open_database(settings.database_url.get_secret_value())
        migrate(database)
        process = Process(secrets.token_hex(8), "worker", socket.gethostname(), os.getpid(), VERSION)
        parts = open_parts(settings, database, process)
    except RepasseError as error:
        print(f"repasse: {error}", file=sys.stderr)
        return 2
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    for part in parts:
        part.start()
    log.info(
        "worker.started",
        database=database.name,
        environment=settings.starkbank_environment,
        version=VERSION,
        process_id=process.id,
    )
    signal.sigwait(ENDING)
    for part in reversed(parts):
        part.stop()
    database.close()
    log.info("worker.stopped")
    return 0


def open_parts(settings: Settings, database: Database, process: Process) -> list[Part]:
    """Everything that the worker runs, in the order of starting; the schedule comes last. Raises RepasseError."""
    clock = open_clock(database, utc_now)
    refuse_other_hosts(database, process.host, clock())
    count_call, count_alert, page = _open_metrics(settings, database, clock)
    bank = open_bank(
        environment=settings.starkbank_environment,
        project_id=settings.starkbank_project_id,
        private_key_pem=settings.private_key_pem,
        api_url=settings.starkbank_api_url,
        timeout_seconds=settings.bank_timeout_seconds,
        on_call=count_call,
    )
    window = open_or_continue(database, settings, clock)
    schedule = Schedule(
        window,
        issuing_job(database, bank, rules_from(settings), window, clock),
        reconciliation_job(database, bank, settings, clock),
        retry_seconds=settings.retry_base_seconds,
        reconcile_seconds=settings.reconcile_interval_seconds,
    )
    heartbeat = Heartbeat(database, process, clock)
    alerts = open_alerts(settings, database, clock, count_alert)
    return [part for part in (heartbeat, alerts, page, schedule) if part is not None]


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

    assert settings.operator_token is not None  # load_settings has checked that
    metrics = Metrics(CollectorRegistry())
    token = settings.operator_token.get_secret_value()
    page = MetricsPage(settings.host, settings.metrics_port, token, metrics_page(metrics, database, clock))
    return metrics.count_bank_call, metrics.count_alert, page


if __name__ == "__main__":
    sys.exit(main())
