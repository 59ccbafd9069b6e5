"""One time for all machines on one PostgreSQL, whatever their own clocks say."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from payments.storage.clock import MEASURE_EVERY_SECONDS, DatabaseClock, StepWatch, open_clock
from payments.storage.database import Database, open_database
from tests.payments.conftest import ON_SQLITE, Books
from tests.postgresql import Server, connection_to

on_postgresql = pytest.mark.parametrize("database", ["postgresql"], indirect=True)


def a_machine(minutes: float) -> Callable[[], datetime]:
    """A machine whose clock is set wrong by so much."""
    return lambda: datetime.now(UTC) + timedelta(minutes=minutes)


@on_postgresql
def test_a_lease_is_as_long_for_machines_whose_clocks_differ_by_two_minutes(books: Books) -> None:
    """One is a minute slow and holds a transfer; one that is a minute fast must not take it for abandoned."""
    slow = open_clock(books.database, a_machine(-1))
    fast = open_clock(books.database, a_machine(1))
    books.now = slow()
    books.credit()
    claim = books.claim()
    assert replace(books, now=fast()).claim_all() == []
    assert abs(slow() - fast()) < timedelta(seconds=1)
    assert timedelta(seconds=55) < claim.lease_expires_at - fast() <= timedelta(seconds=60)
    # by their own clocks, the lease would have been over before it began
    assert [each.attempt for each in replace(books, now=a_machine(1)()).claim_all()] == [2]


@ON_SQLITE
def test_on_one_machine_its_own_clock_will_do(database: Database) -> None:
    """SQLite has no other."""
    machine = a_machine(7)
    assert open_clock(database, machine) is machine


@on_postgresql
def test_between_two_measurements_the_time_goes_on_by_the_monotonic_clock(database: Database) -> None:
    """Which cannot be set, and which is corrected when it has drifted."""
    seconds = [100.0]
    clock = DatabaseClock(database, lambda: seconds[0])
    began = clock()
    assert abs(began - datetime.now(UTC)) < timedelta(seconds=5)  # the server runs on this machine
    seconds[0] += MEASURE_EVERY_SECONDS - 1
    assert clock() - began == timedelta(seconds=MEASURE_EVERY_SECONDS - 1)
    seconds[0] += 1
    assert clock() - began < timedelta(seconds=5)


def test_it_goes_on_while_the_database_is_away(own_server: Server) -> None:
    """Asking for the time raises nothing."""
    seconds = [100.0]
    database = open_database(own_server.url())
    clock = DatabaseClock(database, lambda: seconds[0])
    began = clock()
    own_server.stop("immediate")
    seconds[0] += MEASURE_EVERY_SECONDS
    assert clock() - began == timedelta(seconds=MEASURE_EVERY_SECONDS)
    own_server.start()
    with connection_to(own_server.url()):
        pass
    seconds[0] += MEASURE_EVERY_SECONDS
    assert clock() - began < timedelta(seconds=30)
    database.close()


@pytest.mark.parametrize(
    ("passed", "moved", "step"),
    [
        (15, 15, None),
        (15, -45, None),  # a minute back is within what NTP may do at a start
        (15, 75, None),
        (15, -46, -61),
        (15, 76, 61),
        (15, 15 - 7_200, -7_200),
        (15, 15 + 126_230_400, 126_230_400),
        (7_200, 7_200, None),  # the machine slept
        (7_200, 15, -7_185),
    ],
)
def test_a_clock_that_was_set_is_noticed_once(passed: float, moved: float, step: float | None) -> None:
    """By what it moved beside the time that has passed."""
    elapsed, shown = [100.0], [datetime(2026, 3, 2, tzinfo=UTC)]
    watch = StepWatch(lambda: shown[0], lambda: elapsed[0])
    elapsed[0] += passed
    shown[0] += timedelta(seconds=moved)
    assert watch.look() == step
    elapsed[0] += 15
    shown[0] += timedelta(seconds=15)
    assert watch.look() is None
