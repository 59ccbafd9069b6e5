"""Which processes are alive: one row each, from the first heartbeat to a clean end or silence."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from payments.errors import LedgerUnusable
from payments.operator.health import read_health
from payments.operator.processes import (
    KEPT_FOR,
    Process,
    record_alive,
    record_stopped,
    refuse_other_hosts,
)
from payments.storage.database import Database
from payments.storage.schema import processes
from tests.payments.builders import NOW

WEB = Process("p", "web", "caixa-2", 17, "1.0")
LATER = NOW + timedelta(seconds=20)


def rows(database: Database) -> dict[str, Any]:
    """The table by id."""
    with database.reading() as connection:
        return {row.id: row for row in connection.execute(select(processes))}


def test_the_first_heartbeat_is_the_start(database: Database) -> None:
    """Later ones only say that the process is alive; one without the bank's key or a call forgets nothing."""
    record_alive(database, WEB, NOW, bank_key_fetched_at=NOW, last_bank_call=("unclear", NOW))
    record_alive(database, WEB, LATER)
    [row] = rows(database).values()
    assert (row.kind, row.host, row.pid, row.version) == ("web", "caixa-2", 17, "1.0")
    assert (row.started_at, row.seen_at, row.stopped_at) == (NOW, LATER, None)
    assert row.bank_key_fetched_at == NOW
    assert (row.bank_verdict, row.bank_called_at) == ("unclear", NOW)


def test_a_clean_end_is_recorded(database: Database) -> None:
    """From then on it does not count as alive, however lately it was seen."""
    record_alive(database, WEB, NOW)
    record_stopped(database, WEB, LATER)
    assert rows(database)["p"].stopped_at == LATER
    assert read_health(database, LATER).processes_by_kind["web"] == 0
    refuse_other_hosts(database, "caixa-1", LATER)


def test_rows_of_a_week_ago_are_removed_at_the_next_start(database: Database) -> None:
    """Those that ended and those that died alike; one that is alive stays."""
    record_alive(database, Process("old", "worker", "host", 1, "1"), NOW)
    record_alive(database, Process("long", "worker", "host", 2, "1"), NOW)
    later = NOW + KEPT_FOR + timedelta(seconds=1)
    record_alive(database, Process("long", "worker", "host", 2, "1"), later)
    record_alive(database, WEB, later)
    assert rows(database).keys() == {"long", "p"}


def test_a_name_longer_than_its_column_is_cut(database: Database) -> None:
    """A host's name may be anything; a heartbeat must not fail for it."""
    record_alive(database, Process("p", "web", "h" * 300, 1, "v" * 300), NOW)
    assert len(rows(database)["p"].host) == 128


def test_a_sqlite_file_serves_one_machine_and_postgresql_any_number(database: Database) -> None:
    """Another machine is refused while a process is alive on the first; the line has the remedy."""
    record_alive(database, WEB, NOW)
    refuse_other_hosts(database, "caixa-2", LATER)
    refuse_other_hosts(database, "caixa-1", NOW + timedelta(seconds=61))
    if database.is_postgresql:
        refuse_other_hosts(database, "caixa-1", LATER)
        return
    with pytest.raises(
        LedgerUnusable, match="in use by web 17 on the machine caixa-2, and this is caixa-1"
    ) as caught:
        refuse_other_hosts(database, "caixa-1", LATER)
    assert "postgresql+psycopg://" in str(caught.value)
    assert "\n" not in str(caught.value)
