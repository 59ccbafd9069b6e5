"""Who uses the books: named while alive; one SQLite file serves one machine."""

from datetime import timedelta

import pytest

from payments.errors import LedgerUnusable
from payments.operator import processes
from payments.operator.presence import living, refuse_other_hosts
from payments.storage.database import Database
from tests.payments.builders import NOW

THERE = processes.Process("a", "worker", "caixa-2", 17, "0.2.0")
LATER = NOW + timedelta(seconds=20)


def test_living_processes_are_named(database: Database) -> None:
    """Until they end, or have been silent for a minute."""
    processes.record_alive(database, THERE, NOW)
    with database.reading() as connection:
        assert living(connection, LATER) == ["worker 17 on caixa-2 (seen 20 s ago)"]
        assert living(connection, NOW + timedelta(seconds=60)) == []
    processes.record_stopped(database, THERE, LATER)
    with database.reading() as connection:
        assert living(connection, LATER) == []


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_sqlite_file_that_another_machine_uses_is_refused(database: Database) -> None:
    """Only while it lives there; the line has the remedy."""
    processes.record_alive(database, THERE, NOW)
    refuse_other_hosts(database, "caixa-2", LATER)
    refuse_other_hosts(database, "caixa-1", NOW + timedelta(seconds=61))
    with pytest.raises(
        LedgerUnusable, match="in use by worker 17 on the machine caixa-2, and this is caixa-1"
    ) as caught:
        refuse_other_hosts(database, "caixa-1", LATER)
    assert "postgresql+psycopg://" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_postgresql_serves_any_number_of_machines(database: Database) -> None:
    """That is what it is for."""
    processes.record_alive(database, THERE, NOW)
    refuse_other_hosts(database, "caixa-1", LATER)
