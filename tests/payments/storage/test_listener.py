"""Forwarders on other machines are woken when transfers fall due."""

import threading
from collections.abc import Iterator

import pytest

from payments.storage.database import Database, open_database
from payments.storage.listener import Listener
from tests.payments.conftest import ON_SQLITE, Books
from tests.postgresql import Server, connection_to
from tests.running import wait_until

on_postgresql = pytest.mark.parametrize("database", ["postgresql"], indirect=True)


class Woken:
    """A forwarder that counts how often it was woken."""

    def __init__(self, database: Database) -> None:
        self._event = threading.Event()
        self.listener = Listener(database, self._event.set)
        self.listener.start()
        self.wait()  # it begins by looking once

    def wait(self) -> None:
        """Wait until it is woken again."""
        assert self._event.wait(30)
        self._event.clear()

    def is_left_alone(self, seconds: float) -> bool:
        """True when nothing wakes it for so long."""
        return not self._event.wait(seconds)


@pytest.fixture
def other_machine(database: Database) -> Iterator[Woken]:
    """It has connections of its own."""
    opened = open_database(database.url.render_as_string(hide_password=False))
    woken = Woken(opened)
    yield woken
    woken.listener.stop()
    opened.close()


@on_postgresql
def test_a_credit_wakes_forwarders_on_other_machines_when_it_is_committed(
    books: Books, other_machine: Woken
) -> None:
    """Also one that reconciliation found in a process that does not forward."""
    books.credit()
    other_machine.wait()
    assert books.states == ["pending"]
    books.reverse(0, invoice_id="9")  # nothing is due because of this
    assert other_machine.is_left_alone(0.2)


@on_postgresql
def test_a_lost_connection_is_made_again_and_what_was_missed_is_looked_for(
    books: Books, other_machine: Woken
) -> None:
    """An administrator, a failover or a network may end it."""
    with connection_to(books.database.url.render_as_string(hide_password=False)) as administrator:
        ended = administrator.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE query LIKE 'LISTEN%' AND datname = current_database()"
        ).fetchall()
    assert ended == [(True,)]
    other_machine.wait()
    books.credit()
    other_machine.wait()


@ON_SQLITE
def test_on_sqlite_no_thread_listens(database: Database) -> None:
    """Forwarders look twice a second; that is enough on one machine."""
    listener = Listener(database, lambda: None)
    listener.start()
    assert not any(thread.name == "listener" for thread in threading.enumerate())
    listener.stop()


def test_it_listens_again_after_the_server_crashed(own_server: Server) -> None:
    """Without help."""
    database = open_database(own_server.url())
    woken = Woken(database)
    own_server.stop("immediate")
    own_server.start()
    woken.wait()
    with connection_to(own_server.url()) as anyone:
        wait_until(
            lambda: anyone.execute("SELECT 1 FROM pg_stat_activity WHERE query LIKE 'LISTEN%'").fetchone(),
            "it listens",
        )
        anyone.execute("NOTIFY repasse_transfers_due")
    woken.wait()
    woken.listener.stop()
    database.close()
