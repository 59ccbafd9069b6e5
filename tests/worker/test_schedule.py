"""The schedule over the full 24 hours, on a frozen clock that is moved from one firing to the next."""

import sqlite3
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import structlog
from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_EXECUTED, EVENT_JOB_SUBMITTED, JobEvent
from apscheduler.schedulers.base import BaseScheduler
from freezegun import freeze_time

from payments.bank.client import Bank
from payments.errors import LedgerUnavailable
from payments.ledger.batches import IssuingWindow
from payments.settings import Settings
from payments.storage.database import Database
from tests.emulated import EmulatedBank
from tests.payments.builders import NOW
from tests.running import wait_until
from worker.schedule import add_jobs, issuing_job, open_or_continue, reconciliation_job, rules_from

HOUR = 3600.0


class SteppedScheduler(BaseScheduler):  # type: ignore[misc]
    """APScheduler without its thread: whoever has it says when to look, and waits until the jobs are done."""

    def __init__(self) -> None:
        super().__init__(timezone=UTC)
        self.fired: list[tuple[str, datetime]] = []
        self._under_way = 0
        self._count = threading.Lock()
        self.add_listener(self._note, EVENT_JOB_SUBMITTED | EVENT_JOB_EXECUTED | EVENT_JOB_ERROR)

    def _note(self, event: JobEvent) -> None:
        with self._count:
            self._under_way += 1 if event.code == EVENT_JOB_SUBMITTED else -1
            if event.code == EVENT_JOB_SUBMITTED:
                self.fired.append((event.job_id, datetime.now(UTC)))

    def wakeup(self) -> None:
        """Nobody sleeps here."""

    def shutdown(self, wait: bool = True) -> None:
        """End it like any other."""
        super().shutdown(wait)

    def step(self) -> float | None:
        """Run what is due now; the seconds until there is more, None for never."""
        seconds: float | None = self._process_jobs()
        wait_until(lambda: self._under_way == 0, "the jobs are done")
        return seconds


class Worker:
    """What ``worker.__main__`` puts together, as often as it is started, on a clock that stands still."""

    def __init__(
        self,
        database: Database,
        bank: Bank,
        emulator: EmulatedBank,
        settings: Settings,
        clock: Any,
    ) -> None:
        self.database = database
        self.bank = bank
        self.emulator = emulator
        self.settings = settings
        self.clock = clock
        self.fired: list[tuple[str, float]] = []

    def hours(self) -> float:
        """Hours since the beginning."""
        return (datetime.now(UTC) - NOW).total_seconds() / HOUR

    def run(self, until_hours: float) -> None:
        """Start, run until then, and stop."""
        window = open_or_continue(self.database, self.settings)
        scheduler = SteppedScheduler()
        add_jobs(
            scheduler,
            window,
            issuing_job(self.database, self.bank, rules_from(self.settings), window),
            reconciliation_job(self.database, self.bank, self.settings),
            retry_seconds=0.5 * HOUR,
            reconcile_seconds=2 * HOUR,
        )
        scheduler.start()
        while True:
            seconds = scheduler.step()
            end = (until_hours - self.hours()) * HOUR
            if seconds is None or seconds > end:
                self.be_down(end)
                break
            self.be_down(seconds)
        self.jobs_left = {job.id for job in scheduler.get_jobs()}
        scheduler.shutdown()
        self.fired += [(name, (at - NOW).total_seconds() / HOUR) for name, at in scheduler.fired]

    def be_down(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.tick(timedelta(seconds=seconds))

    def slots_fired(self) -> list[tuple[str, float]]:
        """Which slots' jobs ran, and after how many hours."""
        return [(name, round(hours, 6)) for name, hours in self.fired if name.startswith("slot-")]

    def batches(self) -> list[tuple[int, str, bool, float]]:
        """Slot, state, lateness, and the hour in which it was planned."""
        query = "SELECT slot + 1, state, late, planned_at FROM invoice_batches ORDER BY slot"
        with closing(sqlite3.connect(str(self.database.url.database))) as connection:
            return [
                (slot, state, bool(late), (datetime.fromisoformat(at) - NOW).total_seconds() / HOUR)
                for slot, state, late, at in connection.execute(query)
            ]


ON_TIME = [(slot, "issued", False, 3.0 * (slot - 1)) for slot in range(1, 9)]


@pytest.fixture
def worker(
    database: Database, bank: Bank, emulator: EmulatedBank, settings: Callable[..., Settings]
) -> Iterator[Worker]:
    """A worker that was never started, on a clock that stands still."""
    with freeze_time(NOW, ignore=["starkcore", "tests.running", "_pytest"], real_asyncio=True) as clock:
        yield Worker(database, bank, emulator, settings(), clock)


def assert_no_invoice_twice(worker: Worker) -> None:
    """The bank has what we planned, and one call was made for each batch that was issued."""
    issued = [batch for batch in worker.batches() if batch[1] == "issued"]
    assert len(worker.emulator.requests("POST", "invoice")) == len(issued)
    with closing(sqlite3.connect(str(worker.database.url.database))) as connection:
        planned = connection.execute("SELECT count(*) FROM invoices").fetchone()[0]
    assert worker.emulator.statement()["invoice_count"] == planned


def test_a_day_has_eight_firings_three_hours_apart_and_none_at_its_end(worker: Worker) -> None:
    """At 0, 3, ... 21 hours; at 24 the window ends and no ninth begins, but the worker goes on reconciling."""
    worker.run(until_hours=30)
    assert worker.slots_fired() == [(f"slot-{slot}", 3.0 * (slot - 1)) for slot in range(1, 9)]
    assert worker.batches() == ON_TIME
    assert_no_invoice_twice(worker)
    assert 64 <= worker.emulator.statement()["invoice_count"] <= 96
    # only issuing ends
    assert worker.jobs_left == {"unfinished", "reconciliation"}
    assert ("reconciliation", 28.0) in [(name, round(hours, 6)) for name, hours in worker.fired]


@pytest.mark.parametrize(
    "stops",
    [
        [2.999, 3.0, 3.001],
        [0.0, 0.5, 7.0, 21.0, 23.9],
        [minute / 60 for minute in (0.2, 0.4, 0.6, 0.8)],  # a supervisor that restarts it in a loop
    ],
)
def test_restarts_neither_repeat_nor_lose_a_slot(worker: Worker, stops: list[float]) -> None:
    """Whenever it is stopped and started again, exactly at a slot too, the same window goes on."""
    for hours in [*stops, 30.0]:
        worker.run(until_hours=hours)
    assert worker.batches() == ON_TIME
    assert_no_invoice_twice(worker)


def test_a_worker_that_was_down_over_slots_issues_them_late_once(worker: Worker) -> None:
    """Down from hour 7 to 13.5: the slots of 9 and 12 are made up for at the start, and marked."""
    worker.run(until_hours=7)
    worker.be_down(6.5 * HOUR)
    worker.run(until_hours=14)
    worker.run(until_hours=30)
    made_up = [(4, "issued", True, 13.5), (5, "issued", True, 13.5)]
    assert worker.batches() == ON_TIME[:3] + made_up + ON_TIME[5:]
    assert_no_invoice_twice(worker)


def test_a_worker_that_starts_after_its_window_makes_up_for_all_that_is_missing(worker: Worker) -> None:
    """Down for two days: late, but none lost."""
    worker.run(until_hours=1)
    worker.be_down(47 * HOUR)
    worker.run(until_hours=49)
    assert [batch[:3] for batch in worker.batches()] == [
        (1, "issued", False),
        *((slot, "issued", True) for slot in range(2, 9)),
    ]
    assert_no_invoice_twice(worker)


def test_a_batch_that_could_not_be_finished_is_finished_between_slots(worker: Worker) -> None:
    """The bank was away at 3 hours; nobody waits for the slot of 6."""
    worker.run(until_hours=2.9)
    worker.emulator.fault("error_503", "POST invoice", times=1)
    worker.run(until_hours=5)
    assert worker.batches() == ON_TIME[:2]


def test_the_window_keeps_the_settings_that_it_was_opened_with(
    worker: Worker, settings: Callable[..., Settings]
) -> None:
    """A change in the middle of the day would repeat or lose slots: it is ignored, and said so."""
    worker.run(until_hours=4)
    worker.settings = settings(invoice_interval_seconds=3600)
    with structlog.testing.capture_logs() as said:
        worker.run(until_hours=30)
    assert [line["event"] for line in said].count("window.settings_ignored") == 1
    assert worker.batches() == ON_TIME


def test_settings_that_did_not_change_are_not_said_to_be_ignored(
    worker: Worker, settings: Callable[..., Settings]
) -> None:
    """An interval that has no exact end in binary or in microseconds is the same interval after a restart."""
    worker.settings = settings(invoice_interval_seconds=1 / 3 * 10, invoice_window_seconds=8 / 3 * 10)
    with structlog.testing.capture_logs() as said:
        open_or_continue(worker.database, worker.settings)
        open_or_continue(worker.database, worker.settings)
    assert [line["event"] for line in said] == ["window.opened", "window.continued"]


def test_a_clock_that_is_set_forward_by_years_costs_one_firing(worker: Worker) -> None:
    """Those that were missed are not listed: there would be millions."""
    worker.run(until_hours=1)
    window = open_or_continue(worker.database, worker.settings)
    scheduler = SteppedScheduler()
    add_jobs(scheduler, window, lambda: None, lambda: None, retry_seconds=1, reconcile_seconds=1)
    scheduler.start()
    scheduler.step()
    scheduler.fired.clear()
    worker.be_down(4 * 365 * 24 * HOUR)
    tracemalloc.start()
    scheduler.step()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    scheduler.shutdown()
    names = sorted(name for name, _ in scheduler.fired if not name.startswith("slot"))
    assert names == ["reconciliation", "unfinished"]
    assert peak < 1_000_000


# --- the jobs ---


def test_a_reconciliation_that_hangs_delays_no_batch() -> None:
    """Each has a thread of its own."""
    go_on, issued = threading.Event(), threading.Event()
    scheduler = SteppedScheduler()
    window = IssuingWindow("abcd", datetime.now(UTC), timedelta(hours=3), 1)
    add_jobs(scheduler, window, issued.set, lambda: go_on.wait(20), 3600, 3600)
    scheduler.start()
    scheduler._process_jobs()
    was_issued = issued.wait(20)
    assert sorted(name for name, _ in scheduler.fired) == ["reconciliation", "slot-1"]
    go_on.set()
    scheduler.shutdown()
    assert was_issued


class Broken:
    """A bank that must not be reached: the books fail before, or a bug does."""

    timeout_seconds = 1.0

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __getattr__(self, name: str) -> Any:
        raise self.error


@pytest.mark.parametrize("error", [LedgerUnavailable("locked"), ZeroDivisionError("a bug")])
def test_a_job_that_fails_says_so_and_lives_on(
    worker: Worker, settings: Callable[..., Settings], error: Exception
) -> None:
    """Its next run tries again: nothing is raised into the scheduler, which would only log it elsewhere."""
    window = open_or_continue(worker.database, worker.settings)
    broken: Any = Broken(error)
    with structlog.testing.capture_logs() as said:
        issuing_job(worker.database, broken, rules_from(worker.settings), window)()
        reconciliation_job(worker.database, broken, worker.settings)()
    failures = [line["event"] for line in said if line["log_level"] == "error"]
    if isinstance(error, LedgerUnavailable):
        assert failures == ["issuing.ledger_unavailable", "reconciliation.ledger_unavailable"]
    else:
        # the second question is asked whatever became of the first; the third has nothing to ask about
        assert failures == ["issuing.failed"] + ["reconciliation.question_broke"] * 2
