"""``python -m worker``: issues invoices on schedule and reconciles, until SIGTERM. It stays up after its window."""

import signal
import sys
import threading
from datetime import UTC

import structlog
from apscheduler.schedulers.blocking import BlockingScheduler

from payments.bank.client import open_bank
from payments.errors import RepasseError
from payments.ledger.database import open_database
from payments.ledger.migrate import migrate
from payments.observability import configure_logging
from payments.settings import load_settings
from worker.schedule import add_jobs, issuing_job, open_or_continue, reconciliation_job, rules_from

log = structlog.get_logger()


def main() -> int:
    """Run until SIGTERM or SIGINT; 0 after a clean end, 2 with one line when it cannot start."""
    try:
        settings = load_settings()
        configure_logging(settings.log_level, settings.log_format, "worker")
        database = open_database(settings.database_url.get_secret_value())
        migrate(database)
        bank = open_bank(
            environment=settings.starkbank_environment,
            project_id=settings.starkbank_project_id,
            private_key_pem=settings.private_key_pem,
            api_url=settings.starkbank_api_url,
            timeout_seconds=settings.bank_timeout_seconds,
        )
        window = open_or_continue(database, settings)
    except RepasseError as error:
        print(f"repasse: {error}", file=sys.stderr)
        return 2
    scheduler = BlockingScheduler(timezone=UTC)
    add_jobs(
        scheduler,
        window,
        issuing_job(database, bank, rules_from(settings), window),
        reconciliation_job(database, bank, settings),
        settings.retry_base_seconds,
        settings.reconcile_interval_seconds,
    )
    _end_on_signals(scheduler)
    log.info("worker.started", database=database.name, environment=settings.starkbank_environment)
    scheduler.start()
    database.close()
    log.info("worker.stopped")
    return 0


def _end_on_signals(scheduler: BlockingScheduler) -> None:
    """A call to the bank that is under way is finished and recorded first."""

    def end(*_: object) -> None:
        # In a thread: the handler runs inside the scheduler's own wait, and shutting down joins its jobs.
        threading.Thread(target=_shut_down, args=(scheduler,), daemon=True).start()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)


def _shut_down(scheduler: BlockingScheduler) -> None:
    if scheduler.running:
        scheduler.shutdown(wait=True)


if __name__ == "__main__":
    sys.exit(main())
