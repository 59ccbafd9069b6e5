"""``python -m worker``: issues invoices on schedule and reconciles, until SIGTERM. It stays up after its window."""

import signal
import sys
import threading
from datetime import UTC

import structlog
from apscheduler.events import EVENT_SCHEDULER_STARTED
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
    log.info("worker.started", database=database.name, environment=settings.starkbank_environment)
    run_until_signal(scheduler)
    database.close()
    log.info("worker.stopped")
    return 0


def run_until_signal(scheduler: BlockingScheduler) -> None:
    """Run until SIGTERM or SIGINT; a call to the bank that is under way is finished and recorded first.

    A signal that comes before the scheduler runs ends it as soon as it does.
    """
    wanted = threading.Event()

    def shut_down() -> None:
        wanted.wait()
        scheduler.shutdown(wait=True)

    # A thread, because shutting down joins the jobs, and a handler would do it inside the scheduler's own wait.
    ending = threading.Thread(target=shut_down, name="ending", daemon=True)
    scheduler.add_listener(lambda _: ending.start(), EVENT_SCHEDULER_STARTED)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: wanted.set())
    scheduler.start()
    # The scheduler's loop may end before its last job does.
    ending.join()


if __name__ == "__main__":
    sys.exit(main())
