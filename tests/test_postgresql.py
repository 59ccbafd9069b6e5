"""The tests' own PostgreSQL: there when asked for, gone afterwards whatever happens."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from tests.postgresql import Databases, Server, connection_to
from tests.running import ROOT, wait_until

STARTED_AND_LEFT = """
from tests.postgresql import Server
server = Server()
print(server.url(), server._folder, flush=True)
input()
"""


INSERT = (
    "INSERT INTO actions (at, who, kind, subject, reason, result, is_proved) "
    "VALUES (now(), 'ana', 'pause', 'issuing', 'why', 'done', true)"
)


@pytest.fixture(scope="module")
def databases(postgresql: Databases) -> Iterator[Databases]:
    """Databases that are lent to no other test."""
    made = Databases(postgresql.address)
    yield made
    made.close()


def test_a_database_that_was_given_back_is_as_good_as_a_new_one(databases: Databases) -> None:
    """Without rows, and with ids from one."""
    lent = []
    for _ in range(2):
        with databases.lend() as address, connection_to(address) as connection:
            connection.execute(INSERT)
            assert connection.execute("SELECT id FROM actions").fetchall() == [(1,)]
            lent.append(address)
    assert lent[0] == lent[1]


@pytest.mark.parametrize(
    "change",
    [
        "CREATE INDEX another ON actions (who)",
        "ALTER TABLE actions ALTER COLUMN who DROP NOT NULL",
        "CREATE FUNCTION another() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "ALTER TABLE actions DROP CONSTRAINT an_action_has_its_reason",
        "UPDATE alembic_version SET version_num = 'v0'",
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET jit = on', current_database()); END $$",
    ],
)
def test_a_database_that_a_test_changed_is_not_lent_again(databases: Databases, change: str) -> None:
    """In anything but its rows: the next test gets another."""
    with databases.lend() as first, connection_to(first) as connection:
        connection.execute(change)
    with databases.lend() as second:
        assert second != first
    with pytest.raises(psycopg.OperationalError, match="does not exist"), connection_to(first):
        pass


def test_a_database_that_a_test_still_uses_is_not_lent_again(databases: Databases) -> None:
    """A thread that was left behind must not act on the books of the next test."""
    with ExitStack() as left_behind:
        with databases.lend() as first:
            left_behind.enter_context(connection_to(first))
        with databases.lend() as second:
            assert second != first


@pytest.mark.skipif("TEST_DATABASE_URL" in os.environ, reason="no server of our own is started")
@pytest.mark.usefixtures("postgresql")  # which skips where no server can run
def test_nothing_of_the_server_is_left_when_its_test_run_is_killed() -> None:
    """Neither processes nor files: a guard waits for our end."""
    started = subprocess.Popen(
        [sys.executable, "-c", STARTED_AND_LEFT],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert started.stdout is not None
        url, folder = started.stdout.readline().split()
        with connection_to(url) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
    finally:
        started.send_signal(signal.SIGKILL)
        started.communicate()
    wait_until(lambda: not Path(folder).exists(), "its files are gone")
    with pytest.raises(psycopg.OperationalError, match="refused"), connection_to(url):
        pass


def test_it_can_crash_and_come_back() -> None:
    """What was committed is there again."""
    server = Server()
    try:
        with connection_to(server.url()) as connection:
            connection.execute("CREATE TABLE kept (id int)")
        server.stop("immediate")
        with pytest.raises(psycopg.OperationalError), connection_to(server.url()):
            pass
        server.start()
        with connection_to(server.url()) as connection:
            assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)
    finally:
        server.close()
