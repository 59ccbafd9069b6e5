"""The tests' own PostgreSQL: there when asked for, gone afterwards whatever happens."""

import os
import signal
import subprocess
import sys
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


def test_every_test_has_books_of_its_own(postgresql: Databases) -> None:
    """Copies of one migrated template."""
    first, second = postgresql.create(), postgresql.create()
    with connection_to(first) as one, connection_to(second) as other:
        one.execute("INSERT INTO issuing_windows VALUES (1, 't', now(), 5, 8)")
        assert other.execute("SELECT count(*) FROM issuing_windows").fetchone() == (0,)
    for each in (first, second):
        postgresql.drop(each)
        with pytest.raises(psycopg.OperationalError, match="does not exist"), connection_to(each):
            pass


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
