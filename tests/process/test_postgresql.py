"""Several machines on one PostgreSQL, in real processes: killed, doubled, their clocks wrong, the server failing."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from tests.day import Day
from tests.postgresql import Server, connection_to
from tests.running import wait_until
from tests.simulation.kills import play_round

pytestmark = pytest.mark.process


@pytest.mark.long
def test_three_webs_and_two_workers_are_killed_and_the_day_is_exact(postgresql_url: str) -> None:
    """On machines whose clocks differ by two minutes, with lost answers, repeats and throttling."""
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
    day = build_day(seed=5, seconds=10.0, webs=0, workers=2, database_url=postgresql_url, clocks=clocks)
    day.start()
    day.wait_for_start()
    day.wait_for_batches(2)
    day.kill(max(day.names, key=lambda name: day.said(name).count("batch.issued")))
    day.wait_for_batches(8)
    with connection_to(postgresql_url) as connection:
        waited = connection.execute("SELECT planned_at - due_at FROM invoice_batches").fetchall()
    assert max(waited) < (
        timedelta(seconds=1),
    )  # of slots that are 1.25 s apart here, and 3 hours in earnest
    ours = day.statement()
    assert ours is not None
    assert day.bank.statement()["invoice_count"] == ours.invoices


@pytest.mark.long
def test_a_server_that_turns_read_only_drops_connections_and_crashes_loses_nothing(
    build_day: Callable[..., Day], own_server: Server
) -> None:
    """A failover as we see it. What comes meanwhile is put off and done later; no one restarts a process."""
    day = build_day(
        seed=5, seconds=12.0, webs=2, database_url=own_server.url(), switches=("--paid-share", "1")
    )
    day.start()
    day.wait_for_batches(1)
    for fail in (turn_read_only, drop_connections, crash):
        before = day.issued()
        fail(own_server, day)
        day.wait_for_batches(min(8, before + 1))
    day.assert_ends_exact()
    day.assert_all_run()


def wait_for_a_refusal(day: Day) -> None:
    """Wait until one more piece of work is put off: an event is answered 503, or a claim or a batch waits."""

    def refusals() -> int:
        said = day.said("web") + day.said("worker")
        return said.count("event.not_stored") + said.count("ledger_unavailable")

    before = refusals()
    wait_until(lambda: refusals() > before, "a process meets the database as it is")


def turn_read_only(server: Server, day: Day) -> None:
    """As a standby is, or a server whose disk is nearly full; until a process has met it."""
    with connection_to(server.url()) as administrator:
        administrator.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        administrator.execute("SELECT pg_reload_conf()")
        wait_for_a_refusal(day)
        administrator.execute("SET default_transaction_read_only = off")
        administrator.execute("ALTER SYSTEM RESET default_transaction_read_only")
        administrator.execute("SELECT pg_reload_conf()")


def drop_connections(server: Server, _: Day) -> None:
    """Every connection ends, and each time new ones have been opened, they end again."""
    others = "FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
    with connection_to(server.url()) as administrator:
        for _time in range(5):
            wait_until(
                lambda: administrator.execute(f"SELECT 1 {others}").fetchone(), "a process is connected"
            )
            administrator.execute(f"SELECT pg_terminate_backend(pid) {others}")


def crash(server: Server, day: Day) -> None:
    """The server dies, and is started again once a process has missed it."""
    server.stop("immediate")
    wait_for_a_refusal(day)
    server.start()
