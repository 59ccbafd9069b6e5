"""The schedule: one job for each slot of the window, and reconciliation every few minutes.

The stored window and its unique slots are the truth; the scheduler only says when to look. Its jobs are in memory and
are made again at every start. What repeats does so by elapsed time: Every, and begin_again once the clock was set.
"""

import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import structlog
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.schedulers.base import STATE_RUNNING, BaseScheduler
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.date import DateTrigger

from payments.ledger.batches import IssuingWindow, open_window
from payments.observability.heartbeat import guarded
from payments.reconciliation import ReconciliationBank, reconcile_once
from payments.settings import Settings
from payments.storage.database import Database
from worker.issuing import InvoiceBank, IssuingRules, issue_due

log = structlog.get_logger()


def utc_now() -> datetime:
    """This machine's clock."""
    return datetime.now(UTC)


def rules_from(settings: Settings) -> IssuingRules:
    """The part of the settings that issuing needs."""
    return IssuingRules(
        per_batch_min=settings.invoices_per_batch_min,
        per_batch_max=settings.invoices_per_batch_max,
        amount_min_centavos=settings.invoice_amount_min_centavos,
        amount_max_centavos=settings.invoice_amount_max_centavos,
        late_slots=settings.late_slots,
        lease_seconds=settings.transfer_lease_seconds,
        retry_base_seconds=settings.retry_base_seconds,
        retry_max_seconds=settings.retry_max_seconds,
        tax_id_key=settings.tax_id_search_key,
        # Whether the bank takes them already is not documented, and it would refuse a whole batch for one.
        payers_have_letters=settings.starkbank_api_url is not None,
    )


def open_or_continue(
    database: Database, settings: Settings, clock: Callable[[], datetime] = utc_now
) -> IssuingWindow:
    """Open the window now if there is none; else the stored one goes on, even if the settings have changed."""
    token = secrets.token_hex(4)
    window = open_window(
        database, settings.invoice_interval_seconds, settings.slots, token=token, now=clock()
    )
    # Compared as timedeltas, which have whole microseconds.
    interval = timedelta(seconds=settings.invoice_interval_seconds)
    if (window.interval, window.slots) != (interval, settings.slots):
        log.warning(
            "window.settings_ignored",
            reason="the window was opened with other settings and keeps them",
            interval_seconds=window.interval.total_seconds(),
            slots=window.slots,
        )
    # The stored window has another token when it was there before.
    log.info(
        "window.opened" if window.token == token else "window.continued",
        opened_at=window.opened_at.isoformat(),
        slots=window.slots,
        interval_seconds=window.interval.total_seconds(),
    )
    return window


class Schedule:
    """APScheduler with the worker's jobs, in a thread of its own; see add_jobs for the arguments."""

    def __init__(
        self,
        window: IssuingWindow,
        issue: Callable[[], object],
        reconcile: Callable[[], object],
        retry_seconds: float,
        reconcile_seconds: float,
    ) -> None:
        self._scheduler = BackgroundScheduler(timezone=UTC)
        add_jobs(self._scheduler, window, issue, reconcile, retry_seconds, reconcile_seconds)

    def start(self) -> None:
        """Begin to run jobs as they fall due."""
        self._scheduler.start()

    def begin_again(self) -> None:
        """Run what repeats now, and from now on: this machine's clock, by which it was to run next, was set."""
        if self.is_running:
            for job in self._scheduler.get_jobs():
                if isinstance(job.trigger, Every):
                    job.modify(next_run_time=datetime.now(UTC))

    @property
    def is_running(self) -> bool:
        """False before start, and from the moment at which stop begins."""
        return bool(self._scheduler.state == STATE_RUNNING)

    def stop(self) -> None:
        """Begin no more jobs, and wait until those that are under way have finished and recorded what they did."""
        self._scheduler.pause()
        # Waits for a round that is handing jobs to their threads; a shutdown in the middle of it would make it fail on
        # the jobs that are to be taken off the list. Read: APScheduler 3.11.3 schedulers/base.py.
        self._scheduler.get_jobs()
        self._scheduler.shutdown(wait=True)


class Every(BaseTrigger):  # type: ignore[misc]
    """Fires so many seconds after it fired last. What was missed is not made up for.

    APScheduler's own IntervalTrigger lists every firing that was missed: after a clock that was set forward by four
    years, some thirty million of them.
    """

    def __init__(self, seconds: float) -> None:
        self._interval = timedelta(seconds=seconds)

    def get_next_fire_time(self, _previous: datetime | None, now: datetime) -> datetime:
        """Called by APScheduler, after each firing and at the start."""
        return now + self._interval


def add_jobs(
    scheduler: BaseScheduler,
    window: IssuingWindow,
    issue: Callable[[], object],
    reconcile: Callable[[], object],
    retry_seconds: float,
    reconcile_seconds: float,
) -> None:
    """Add one job per slot, one that repeats what was unfinished, and reconciliation.

    A slot that was missed runs immediately; issuing decides whether it is late. Issuing and reconciliation have a
    thread each, so that neither waits for the other nor runs twice together. Where this machine's clock is ahead of
    the database's, which decides, the repetition issues a little later.
    """
    scheduler.add_executor(ThreadPoolExecutor(1), "issuing")
    scheduler.add_executor(ThreadPoolExecutor(1), "reconciling")
    always = {"misfire_grace_time": None, "coalesce": True, "max_instances": 1}
    for slot in range(window.slots):
        scheduler.add_job(
            issue,
            DateTrigger(window.begins_at(slot), timezone=UTC),
            id=f"slot-{slot + 1}",
            executor="issuing",
            **always,
        )
    scheduler.add_job(
        issue,
        Every(retry_seconds),
        id="unfinished",
        executor="issuing",
        **always,
    )
    scheduler.add_job(
        reconcile,
        Every(reconcile_seconds),
        id="reconciliation",
        executor="reconciling",
        next_run_time=datetime.now(UTC),
        **always,
    )


def issuing_job(
    database: Database,
    bank: InvoiceBank,
    rules: IssuingRules,
    window: IssuingWindow,
    clock: Callable[[], datetime] = utc_now,
) -> Callable[[], None]:
    """Issue what is due; errors end in the log, and the next run tries again."""
    return lambda: guarded("issuing", lambda: issue_due(database, bank, rules, window, clock))


def reconciliation_job(
    database: Database, bank: ReconciliationBank, settings: Settings, clock: Callable[[], datetime] = utc_now
) -> Callable[[], None]:
    """Ask the bank what we missed; errors end in the log, and the next run tries again."""
    policy = settings.forwarding_policy
    return lambda: guarded("reconciliation", lambda: reconcile_once(database, bank, policy, clock))
