"""The forwarder's loop: when it wakes, what it survives, how it ends."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

import pytest

from payments.errors import LedgerUnavailable
from payments.settlement import Settlement
from payments.transfer import TRANSFERS_PER_CALL_MAX
from tests.running import wait_until
from webhooks import forwarder
from webhooks.forwarder import Forwarder

IDLE = Settlement()
FULL = Settlement(claimed=TRANSFERS_PER_CALL_MAX)


class Work:
    """Stands where settlement stands: does what it is told, one result a run, then nothing."""

    def __init__(self) -> None:
        self.results: list[Settlement | Exception] = []
        self.runs = 0
        self.due_at: datetime | None = None

    def settle(self) -> Settlement:
        """One run."""
        self.runs += 1
        result = self.results.pop(0) if self.results else IDLE
        if isinstance(result, Exception):
            raise result
        return result

    def next_due_at(self) -> datetime | None:
        """When there is more."""
        return self.due_at


@pytest.fixture
def work() -> Work:
    """Nothing to do."""
    return Work()


@pytest.fixture
def start(work: Work) -> Iterator[Callable[[], Forwarder]]:
    """Starts a forwarder over ``work``; it is stopped at the end."""
    with ExitStack() as started:

        def begin() -> Forwarder:
            made = Forwarder(work.settle, work.next_due_at, lambda: datetime.now(UTC))
            made.start()
            started.callback(made.stop)
            return made

        yield begin


@pytest.fixture
def never_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the tick, only a cause can wake it."""
    monkeypatch.setattr(forwarder, "TICK_SECONDS", 3600.0)


@pytest.mark.usefixtures("never_ticks")
def test_it_runs_at_once_when_woken(work: Work, start: Callable[[], Forwarder]) -> None:
    """A new credit does not wait for a tick."""
    loop = start()
    wait_until(lambda: work.runs == 1, "it has looked once")
    loop.wake()
    wait_until(lambda: work.runs == 2, "it was woken")


@pytest.mark.usefixtures("never_ticks")
def test_a_wake_during_a_run_is_not_lost(start: Callable[[], Forwarder], work: Work) -> None:
    """What came in while it was settling is settled next."""
    begun, go_on = threading.Event(), threading.Event()
    settle = work.settle

    def slow() -> Settlement:
        begun.set()
        assert go_on.wait(20)
        return settle()

    work.settle = slow  # type: ignore[method-assign]
    loop = start()
    assert begun.wait(20)
    loop.wake()
    go_on.set()
    wait_until(lambda: work.runs == 2, "it ran again")


@pytest.mark.usefixtures("never_ticks")
def test_it_goes_on_as_long_as_there_may_be_more(work: Work, start: Callable[[], Forwarder]) -> None:
    """More than one call's worth: no pause in between."""
    work.results = [FULL, FULL, Settlement(claimed=3)]
    start()
    wait_until(lambda: not work.results, "it has found nothing more")


@pytest.mark.usefixtures("never_ticks")
def test_it_sleeps_no_longer_than_until_something_falls_due(
    work: Work, start: Callable[[], Forwarder]
) -> None:
    """A retry or an ended lease wakes it, although nobody calls."""
    due_at = datetime.now(UTC) + timedelta(seconds=0.2)
    work.due_at = due_at
    start()
    wait_until(lambda: work.runs >= 2, "it ran when it was due")
    assert datetime.now(UTC) >= due_at
    work.due_at = None


def test_it_looks_for_what_other_processes_stored(work: Work, start: Callable[[], Forwarder]) -> None:
    """Another web process's credit is found by the tick."""
    start()
    wait_until(lambda: work.runs >= 3, "it has ticked twice")


@pytest.mark.parametrize("failure", [LedgerUnavailable("locked"), ZeroDivisionError("a bug")])
def test_it_survives_what_goes_wrong(
    work: Work, start: Callable[[], Forwarder], failure: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A locked database or a bug, in settling or in asking what is due next, costs a pause; the thread lives on."""
    monkeypatch.setattr(forwarder, "PAUSE_SECONDS", 0.0)
    asked: list[Exception] = [failure]

    def next_due_at() -> None:
        if asked:
            raise asked.pop()

    work.results = [failure, failure, Settlement(claimed=1)]
    work.next_due_at = next_due_at  # type: ignore[method-assign]
    loop = start()
    wait_until(lambda: work.runs >= 5 and not asked, "it went on")
    assert loop.is_alive


@pytest.mark.usefixtures("never_ticks")
def test_stopping_ends_it_from_its_sleep(work: Work, start: Callable[[], Forwarder]) -> None:
    """SIGTERM does not wait for a tick, which comes in an hour here: stop() returns and every thread has ended."""
    loop = start()
    wait_until(lambda: work.runs == 1, "it sleeps")
    loop.stop()
    assert not loop.is_alive


def test_stopping_waits_for_the_call_that_is_under_way(start: Callable[[], Forwarder], work: Work) -> None:
    """Money that is being sent is recorded before the process ends: a second thread ends, the calling one does not."""
    begun, go_on = threading.Event(), threading.Event()
    order: list[str] = []

    def slow() -> Settlement:
        begun.set()
        assert go_on.wait(20)
        order.append("recorded")
        return Settlement(claimed=1)

    def stop() -> None:
        loop.stop()
        order.append("stopped")

    work.settle = slow  # type: ignore[method-assign]
    loop = start()
    assert begun.wait(20)
    stopping = threading.Thread(target=stop)
    stopping.start()
    wait_until(lambda: not loop.is_alive, "the threads without a call have ended")
    assert order == []
    go_on.set()
    stopping.join(20)
    assert order == ["recorded", "stopped"]


def test_a_stop_is_not_missed_by_a_thread_that_was_just_about_to_look(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Woken to end, and the waking forgotten in the same moment: it ends all the same, or no process ever would."""
    is_looking, goes_on = threading.Event(), threading.Event()

    class Held(threading.Event):
        """Holds the second thread just before it forgets that it was woken."""

        def clear(self) -> None:
            if threading.current_thread().name == "forwarder-2" and not goes_on.is_set():
                is_looking.set()
                goes_on.wait(10)
            super().clear()

    monkeypatch.setattr(threading, "Event", Held)
    work.results = [FULL]
    loop = Forwarder(work.settle, work.next_due_at, lambda: datetime.now(UTC), threads=2)
    loop.start()
    assert is_looking.wait(10)
    stopper = threading.Thread(target=loop.stop, daemon=True)
    stopper.start()
    wait_until(lambda: not loop.is_alive, "the first thread has ended")
    goes_on.set()
    stopper.join(10)
    assert not stopper.is_alive()
