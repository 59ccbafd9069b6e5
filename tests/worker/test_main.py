"""How the worker ends: at once, cleanly, and after what is under way, whenever the signal comes."""

import os
import signal
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from apscheduler.executors.pool import ThreadPoolExecutor

from worker.__main__ import Scheduler


@pytest.fixture
def scheduler() -> Iterator[Scheduler]:
    """The worker's scheduler, listening to signals; pytest's handlers come back, and no test hangs on a lost signal."""
    made = Scheduler()
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.signal(number, made.end) for number in numbers}
    made.rescued = False

    def rescue() -> None:
        made.rescued = True
        made.shutdown(wait=False)

    timer = threading.Timer(20, rescue)
    timer.start()
    yield made
    timer.cancel()
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_before_the_scheduler_runs_ends_it_all_the_same(
    scheduler: Scheduler, number: signal.Signals
) -> None:
    """A supervisor may change its mind at any moment; a signal that is lost would be followed by SIGKILL."""
    os.kill(os.getpid(), number)
    scheduler.start()
    assert not scheduler.rescued


def test_a_signal_while_it_sleeps_ends_it(scheduler: Scheduler) -> None:
    """There may be hours until the next slot."""
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM)).start()
    scheduler.start()
    assert not scheduler.rescued


def test_a_job_that_is_under_way_is_finished_first(scheduler: Scheduler) -> None:
    """A call to the bank is recorded before the process ends; a second signal changes nothing."""
    finished = []

    def job() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        threading.Event().wait(0.2)
        finished.append(True)

    scheduler.add_job(job)
    scheduler.start()
    assert finished == [True]
    assert not scheduler.rescued


def test_a_signal_in_the_middle_of_a_round_ends_it_without_an_error(scheduler: Scheduler) -> None:
    """The slot's job has just been handed to its thread and is about to be taken off the list."""
    finished = []

    class Interrupted(ThreadPoolExecutor):  # type: ignore[misc]
        def submit_job(self, job: Any, run_times: list[datetime]) -> None:
            super().submit_job(job, run_times)
            os.kill(os.getpid(), signal.SIGTERM)
            # Long enough for whoever would shut it down from another thread.
            threading.Event().wait(0.3)

    scheduler.add_executor(Interrupted(1), "interrupted")
    scheduler.add_job(
        lambda: finished.append(True), "date", run_date=datetime.now(UTC), executor="interrupted"
    )
    scheduler.start()
    assert finished == [True]
    assert not scheduler.rescued
