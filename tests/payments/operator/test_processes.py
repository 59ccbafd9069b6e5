"""Which processes live: one row each, from the first sign of life to a clean end or silence."""

from datetime import timedelta
from typing import Any

from sqlalchemy import select

from payments.operator.processes import KEPT_FOR, Process, record_alive, record_stopped
from payments.storage.database import Database
from payments.storage.schema import processes
from tests.payments.builders import NOW

WEB = Process("p", "web", "host", 17, "1.0")


def rows(database: Database) -> dict[str, Any]:
    """The table by id."""
    with database.reading() as connection:
        return {row.id: row for row in connection.execute(select(processes))}


def test_the_first_sign_of_life_is_the_start(database: Database) -> None:
    """The later ones only say that it lives."""
    record_alive(database, WEB, NOW)
    record_alive(database, WEB, NOW + timedelta(seconds=10))
    [row] = rows(database).values()
    assert (row.kind, row.host, row.pid, row.version) == ("web", "host", 17, "1.0")
    assert (row.started_at, row.seen_at) == (NOW, NOW + timedelta(seconds=10))
    assert row.stopped_at is None


def test_the_age_of_the_banks_key_is_kept_until_another_is_fetched(database: Database) -> None:
    """A sign of life that knows of none forgets nothing."""
    record_alive(database, WEB, NOW)
    assert rows(database)["p"].bank_key_fetched_at is None
    record_alive(database, WEB, NOW, bank_key_fetched_at=NOW)
    record_alive(database, WEB, NOW + timedelta(seconds=10))
    assert rows(database)["p"].bank_key_fetched_at == NOW


def test_a_clean_end_is_recorded(database: Database) -> None:
    """So that it is not taken for dead."""
    record_alive(database, WEB, NOW)
    record_stopped(database, WEB, NOW + timedelta(seconds=5))
    assert rows(database)["p"].stopped_at == NOW + timedelta(seconds=5)


def test_rows_of_a_week_ago_are_removed_at_the_next_start(database: Database) -> None:
    """Those that ended and those that died alike; one that lives is seen."""
    record_alive(database, Process("old", "worker", "host", 1, "1"), NOW)
    record_alive(database, Process("long", "worker", "host", 2, "1"), NOW)
    later = NOW + KEPT_FOR + timedelta(seconds=1)
    record_alive(database, Process("long", "worker", "host", 2, "1"), later)
    record_alive(database, WEB, later)
    assert rows(database).keys() == {"long", "p"}


def test_a_name_longer_than_its_column_is_cut(database: Database) -> None:
    """A host's name may be anything; a sign of life must not fail for it."""
    record_alive(database, Process("p", "web", "h" * 300, 1, "v" * 300), NOW)
    assert len(rows(database)["p"].host) == 128
