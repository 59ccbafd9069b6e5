"""How the worker starts and ends."""

import os
import signal
import threading
from collections.abc import Iterator
from datetime import UTC
from typing import Any

import pytest
from apscheduler.schedulers.blocking import BlockingScheduler

from worker.__main__ import run_until_signal


@pytest.fixture
def handlers() -> Iterator[None]:
    """Put the handlers back that pytest had."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_before_the_scheduler_runs_ends_it_all_the_same(number: signal.Signals) -> None:
    """A supervisor may change its mind at any moment; a signal that is lost would be followed by SIGKILL."""

    class Signalled(BlockingScheduler):  # type: ignore[misc]
        def start(self, *arguments: Any, **options: Any) -> None:
            os.kill(os.getpid(), number)
            super().start(*arguments, **options)

    scheduler = Signalled(timezone=UTC)
    # So that a lost signal fails the test, and does not hang it.
    rescue = threading.Timer(20, scheduler.shutdown)
    rescue.start()
    run_until_signal(scheduler)
    was_rescued = not rescue.is_alive()
    rescue.cancel()
    assert not was_rescued


@pytest.mark.usefixtures("handlers")
def test_a_job_that_is_under_way_is_finished_first() -> None:
    """A call to the bank is recorded before the process ends; a second signal changes nothing."""
    scheduler: Any = BlockingScheduler(timezone=UTC)
    begun, finished = threading.Event(), []

    def job() -> None:
        begun.set()
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        begun.wait(0.2)
        threading.Event().wait(0.2)
        finished.append(True)

    scheduler.add_job(job)
    run_until_signal(scheduler)
    assert finished == [True]
