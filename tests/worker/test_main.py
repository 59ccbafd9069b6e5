"""How the worker starts and ends: its command line, and what a signal finishes first."""

import signal
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from apscheduler.executors.pool import ThreadPoolExecutor

import worker.schedule
from payments.ledger.batches import IssuingWindow
from tests.emulated import EmulatorProcess
from tests.running import Runner, Running, plain_environment, wait_until
from worker.schedule import Schedule


@pytest.fixture
def bank(start_emulator_process: Callable[..., EmulatorProcess]) -> EmulatorProcess:
    """A bank in which no one pays."""
    return start_emulator_process("--paid-share", "0")


@pytest.fixture
def environment(bank: EmulatorProcess, tmp_path: Path) -> dict[str, str]:
    """What a worker needs."""
    return plain_environment(**bank.environment) | {"DATABASE_URL": f"sqlite:///{tmp_path / 'repasse.db'}"}


def test_help_and_wrong_arguments_start_no_worker(call: Callable[..., Any], tmp_path: Path) -> None:
    """It has no options, and says so without reading a setting."""
    for argument, status, says in (("--help", 0, "usage: python -m worker"), ("--once", 2, "--once")):
        ended = call("worker.__main__", argument, environment={})
        assert ended.returncode == status
        assert says in ended.stdout + ended.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.process
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_call_to_the_bank_that_is_under_way_is_recorded_before_it_ends(
    runner: Runner, environment: dict[str, str], bank: EmulatorProcess, number: signal.Signals
) -> None:
    """The signal comes, twice, while the bank creates the invoices; the batch is issued when the process is gone."""
    bank.fault("slow_answer", "POST invoice", seconds=1)
    running = runner.start("-m", "worker", environment=environment)
    wait_until(lambda: _is_issuing(running, environment), "the batch is claimed")
    wait_until(lambda: bank.requests("POST", "invoice"), "the bank is creating the invoices")
    running.process.send_signal(number)
    running.process.send_signal(number)
    assert running.stop(number) == 0
    assert '"event":"batch.issued"' in running.said
    assert '"event":"worker.stopped"' in running.said
    assert "Traceback" not in running.said


def _is_issuing(running: Running, environment: dict[str, str]) -> bool:
    assert running.process.poll() is None, running.said
    return '"event":"batch.planned"' in running.said


def a_schedule(issue: Callable[[], object], slots: int = 1) -> Schedule:
    """One slot that begins now."""
    window = IssuingWindow("abcd", datetime.now(UTC), timedelta(hours=3), slots)
    return Schedule(window, issue, lambda: None, retry_seconds=3600, reconcile_seconds=3600)


def test_what_repeats_begins_again_when_the_clock_was_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its next time was by the clock as it was, two hours ahead; a slot keeps to the clock."""
    runs: list[str] = []
    window = IssuingWindow("abcd", datetime.now(UTC) + timedelta(hours=1), timedelta(hours=3), 1)
    schedule = Schedule(window, lambda: runs.append("issue"), lambda: runs.append("reconcile"), 3600, 3600)
    schedule.begin_again()
    assert runs == []
    schedule.start()
    wait_until(lambda: runs == ["reconcile"], "it reconciles at its start")
    schedule.begin_again()
    wait_until(lambda: sorted(runs) == ["issue", "reconcile", "reconcile"], "both run again")
    schedule.stop()
    schedule.begin_again()
    assert len(runs) == 3


def test_stopping_waits_for_the_job_that_is_under_way() -> None:
    """Money that moves is recorded first."""
    begun, go_on = threading.Event(), threading.Event()
    finished: list[bool] = []

    def issue() -> None:
        begun.set()
        finished.append(go_on.wait(20))

    schedule = a_schedule(issue)
    schedule.start()
    assert begun.wait(20)
    stopping = threading.Thread(target=schedule.stop)
    stopping.start()
    wait_until(lambda: not schedule.is_running, "it begins no more jobs")
    assert finished == []
    go_on.set()
    stopping.join(20)
    assert finished == [True]


def test_stopping_in_the_middle_of_a_round_breaks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The slot's job has been handed to its thread and is about to be taken off the list; a thread that broke there
    would fail this test by its exception.
    """
    issued, stopped = threading.Event(), threading.Event()
    schedules: list[Schedule] = []

    def stop() -> None:
        schedules[0].stop()
        stopped.set()

    class Interrupted(ThreadPoolExecutor):  # type: ignore[misc]
        def submit_job(self, job: Any, run_times: list[datetime]) -> None:
            super().submit_job(job, run_times)
            if job.id == "slot-1":
                threading.Thread(target=stop).start()
                wait_until(lambda: not schedules[0].is_running, "it is being stopped")

    monkeypatch.setattr(worker.schedule, "ThreadPoolExecutor", Interrupted)
    schedules.append(a_schedule(issued.set))
    schedules[0].start()
    assert stopped.wait(20)
    assert issued.is_set()
