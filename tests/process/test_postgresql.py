"""Several machines on one PostgreSQL, in real processes: killed, with clocks that are wrong, and a database that fails.

The bank's own books decide, as in tests/process/test_rows.py.
"""

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.day import Day
from tests.postgresql import Server, connection_to
from tests.running import wait_until
from tests.simulation.kills import play_round

pytestmark = pytest.mark.process

SECONDS = 12.0


@pytest.fixture
def build_day(tmp_path: Path) -> Iterator[Callable[..., Day]]:
    """Builds a day; whatever still runs at the end is killed."""
    built: list[Day] = []

    def build(**settings: Any) -> Day:
        built.append(Day(tmp_path, seed=5, seconds=SECONDS, **settings))
        return built[-1]

    yield build
    for day in built:
        day.close()


def test_three_webs_and_two_workers_are_killed_and_the_day_is_exact(postgresql_url: str) -> None:
    """On machines whose clocks differ by two minutes, with lost answers, repeats and throttling beside."""
    clocks = {"web-1": 60.0, "web-2": -60.0, "worker-1": 60.0, "worker-2": -60.0}
    counts, wrong = play_round(7, 20, webs=3, workers=2, database_url=postgresql_url, clocks=clocks)
    assert wrong is None
    assert counts["kills of a web"] > 0
    assert counts["kills of a worker"] > 0


def test_when_the_active_worker_is_killed_the_other_issues_the_next_slots_on_time(
    build_day: Callable[..., Day], postgresql_url: str
) -> None:
    """It is never started again; no slot is late, none is issued twice. Their clocks differ by two minutes."""
    clocks = {"worker-1": 60.0, "worker-2": -60.0}
    day = build_day(webs=0, workers=2, database_url=postgresql_url, clocks=clocks)
    day.start()
    for worker in day.running.values():
        worker.wait_for("worker.started")
    wait_until(lambda: issued(day) >= 2, "two slots are issued")
    active = max(day.running, key=lambda name: day.running[name].said.count("batch.issued"))
    day.kill(active)
    wait_until(lambda: issued(day) == 8, "eight slots are issued")
    with connection_to(postgresql_url) as connection:
        waited = connection.execute("SELECT planned_at - due_at FROM invoice_batches").fetchall()
    assert max(waited) < (timedelta(seconds=1),)  # of slots that are 1.5 s apart here, and 3 hours in earnest
    statement = day.statement()
    assert statement is not None
    assert day.control.statement()["invoice_count"] == statement.invoices


def test_a_database_that_turns_read_only_drops_everybody_and_crashes_loses_nothing(
    build_day: Callable[..., Day], own_server: Server
) -> None:
    """A failover as we see it. Events get 503 meanwhile, and the bank brings them again; nobody restarts anything."""
    day = build_day(webs=2, workers=1, database_url=own_server.url(), switches=("--paid-share", "1"))
    day.start()
    wait_until(lambda: issued(day) >= 1, "the first slot is issued")
    for fail in (turn_read_only, drop_everybody, crash):
        before = issued(day)
        fail(own_server, day)
        wait_until(lambda before=before: issued(day) > before, "another slot is issued")  # type: ignore[misc]
    day.wait_for_end()
    assert day.settle() is None
    assert all(running.process.poll() is None for running in day.running.values())
    assert "event.not_stored" in day.running["web-1"].said + day.running["web-2"].said


def issued(day: Day) -> int:
    """How many batches are issued; none are known of while the database is away."""
    statement = day.statement()
    return statement.batches_issued if statement else 0


def turn_read_only(server: Server, day: Day) -> None:
    """As a standby is, or a server whose disk is nearly full; until an event was refused."""
    with connection_to(server.url()) as administrator:
        administrator.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        administrator.execute("SELECT pg_reload_conf()")
        wait_until(
            lambda: any("event.not_stored" in running.said for running in day.running.values()),
            "an event is refused",
        )
        administrator.execute("SET default_transaction_read_only = off")
        administrator.execute("ALTER SYSTEM RESET default_transaction_read_only")
        administrator.execute("SELECT pg_reload_conf()")


def drop_everybody(server: Server, _: Day) -> None:
    """Every connection ends, several times."""
    with connection_to(server.url()) as administrator:
        for _time in range(5):
            administrator.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
            )
            time.sleep(0.05)  # into whatever they are doing by now


def crash(server: Server, _: Day) -> None:
    """The server dies, and is up again a moment later."""
    server.stop("immediate")
    time.sleep(0.5)  # long enough for somebody to find it away
    server.start()
