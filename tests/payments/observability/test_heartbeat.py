"""Signs of life, and the small things that a process does beside its work: they stop nothing."""

import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timedelta
from typing import Any

import pytest
import structlog

from payments.errors import LedgerUnavailable
from payments.observability import heartbeat
from payments.observability.heartbeat import Heartbeat, Ticker
from payments.operator.processes import Process, record_alive
from payments.storage import sqlite
from payments.storage.clock import StepWatch
from payments.storage.database import Database, open_database
from tests.payments.builders import NOW
from tests.payments.conftest import ON_SQLITE
from tests.running import wait_until

PROCESS = Process("abc", "web", "host", 4711, "0.1.0")


def rows(database: Database) -> list[tuple[Any, ...]]:
    """What others see of our processes."""
    query = (
        "SELECT id, kind, pid, version, started_at, seen_at, stopped_at, bank_key_fetched_at FROM processes"
    )
    with closing(sqlite3.connect(str(database.url.database))) as connection:
        return connection.execute(query).fetchall()


def written(moment: datetime) -> str:
    """A moment as the books have it."""
    return f"{moment.replace(tzinfo=None).isoformat(timespec='microseconds')}Z"


@ON_SQLITE
def test_a_process_is_seen_from_its_start_to_its_clean_end(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its row tells when it began, when it was last seen, how old its key is, and that it ended well."""
    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 0.01)
    moments = iter(NOW + timedelta(seconds=second) for second in range(1_000))
    beating = Heartbeat(database, PROCESS, lambda: next(moments), lambda: 60.0)
    beating.start()
    wait_until(
        lambda: rows(database) and rows(database)[0][5] >= written(NOW + timedelta(seconds=2)), "it beats"
    )
    [row] = rows(database)
    assert row[:5] == ("abc", "web", 4711, "0.1.0", written(NOW))
    assert row[6] is None
    assert datetime.fromisoformat(row[5]) - datetime.fromisoformat(row[7]) == timedelta(minutes=1)
    beating.stop()
    [row] = rows(database)
    assert row[5] == row[6] is not None


@ON_SQLITE
def test_a_sign_that_cannot_be_written_stops_nothing(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database is locked for a while, also at the end: each is a line in the log, and the next one is tried."""
    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 0.01)
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.01)
    hasty = open_database(str(database.url))
    beating = Heartbeat(hasty, PROCESS, lambda: NOW)
    with structlog.testing.capture_logs() as said:
        with closing(sqlite3.connect(str(database.url.database), isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            beating.start()
            wait_until(lambda: len(said) >= 2, "two were lost")
            assert rows(database) == []
        wait_until(lambda: rows(database), "it beats again")
        with closing(sqlite3.connect(str(database.url.database), isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            beating.stop()
    assert {line["event"] for line in said} == {"heartbeat.ledger_unavailable"}
    hasty.close()


@pytest.mark.parametrize(
    ("error", "event"),
    [(LedgerUnavailable("locked"), "watch.ledger_unavailable"), (ZeroDivisionError("a bug"), "watch.failed")],
)
def test_a_tick_that_fails_is_followed_by_the_next(error: Exception, event: str) -> None:
    """Whatever went wrong."""
    ticks: list[int] = []

    def tick() -> None:
        ticks.append(1)
        raise error

    ticking = Ticker("watch", tick, 0.01)
    with structlog.testing.capture_logs() as said:
        ticking.start()
        wait_until(lambda: len(ticks) >= 3, "it ticks on")
        ticking.stop()
    assert {line["event"] for line in said} == {event}


def test_stopping_waits_for_the_tick_that_is_under_way() -> None:
    """A post that was begun is recorded before the process is gone."""
    begun, go_on, finished = threading.Event(), threading.Event(), threading.Event()

    def tick() -> None:
        begun.set()
        go_on.wait(20)
        finished.set()

    ticking = Ticker("watch", tick, 3_600)
    ticking.start()
    assert begun.wait(20)
    threading.Timer(0.05, go_on.set).start()
    ticking.stop()
    assert finished.is_set()


def test_what_was_never_started_can_be_stopped() -> None:
    """A start that failed half-way ends like any other."""
    never: Callable[[], None] = lambda: pytest.fail("it ticked")  # noqa: E731
    Ticker("watch", never, 1).stop()
    assert heartbeat.guarded("watch", lambda: None) is None  # type: ignore[func-returns-value]


class MovableClock:
    """A clock that is set, and the time that passes beside it."""

    def __init__(self) -> None:
        self.now = NOW
        self.elapsed = 0.0

    def pass_time(self, seconds: float) -> None:
        self.elapsed += seconds
        self.now += timedelta(seconds=seconds)

    def watch(self) -> StepWatch:
        return StepWatch(lambda: self.now, lambda: self.elapsed)


def steps(database: Database) -> list[tuple[Any, ...]]:
    """What an operator sees of clocks that were set."""
    query = "SELECT id, clock_step_seconds, clock_stepped_at FROM processes ORDER BY id"
    with closing(sqlite3.connect(str(database.url.database))) as connection:
        return connection.execute(query).fetchall()


@ON_SQLITE
@pytest.mark.parametrize("seconds", [-7_200.0, 126_230_400.0])
def test_a_clock_that_was_set_is_logged_shown_and_followed(database: Database, seconds: float) -> None:
    """With the next beat; when that cannot be written, with the one after it."""
    clock, followed, fails = MovableClock(), [], [True]

    def follow(step: float) -> None:
        if fails.pop() if fails else False:
            raise LedgerUnavailable("locked")
        followed.append(step)

    beating = Heartbeat(database, PROCESS, lambda: clock.now, watches=[clock.watch()], follow=follow)
    with structlog.testing.capture_logs() as said:
        beating.beat()
        clock.pass_time(15)
        clock.now += timedelta(seconds=seconds)
        with pytest.raises(LedgerUnavailable):
            beating.beat()
        noticed = clock.now
        for _ in range(3):
            clock.pass_time(15)
            beating.beat()
    assert [(line["event"], line["seconds"]) for line in said] == [("clock.stepped", seconds)]
    assert followed == [seconds]
    assert steps(database) == [("abc", seconds, written(noticed))]


@ON_SQLITE
@pytest.mark.parametrize(("ahead", "step"), [(60.0, None), (61.0, -61.0), (7_200.0, -7_200.0)])
def test_a_clock_that_was_set_back_while_nothing_ran_is_noticed_at_the_start(
    database: Database, ahead: float, step: float | None
) -> None:
    """Another process was alive in what is the future now."""
    record_alive(database, Process("before", "web", "host", 1, "1"), NOW + timedelta(seconds=ahead))
    clock, followed = MovableClock(), list[float]()
    Heartbeat(database, PROCESS, lambda: NOW, watches=[clock.watch()], follow=followed.append).beat()
    assert followed == ([] if step is None else [step])
    assert steps(database)[0] == ("abc", step, None if step is None else written(NOW))
