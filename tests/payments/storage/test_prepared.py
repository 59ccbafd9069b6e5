"""Statements that run on the driver itself: as strict as those that do not."""

import pytest
from sqlalchemy import bindparam, insert, select, update

from payments.storage.database import Database
from payments.storage.prepared import Prepared
from payments.storage.schema import attentions
from tests.payments.builders import NOW

RAISE = Prepared(insert(attentions).values(kind="k", subject=bindparam("s"), detail="d", raised_at=NOW))
ALL = Prepared(select(attentions.c.subject, attentions.c.raised_at, attentions.c.resolved_at))
RESOLVE = Prepared(
    update(attentions)
    .where(attentions.c.subject == bindparam("s"))
    .values(resolved_at=bindparam("now", type_=attentions.c.resolved_at.type))
)


def test_values_and_rows_pass_through_our_own_types(database: Database) -> None:
    """A moment goes in and comes out as a moment; NULL as None; columns are named."""
    with database.transaction() as connection:
        assert RAISE.run(connection, {"s": "a"}) == []
        [row] = ALL.run(connection, {})
        RESOLVE.run(connection, {"s": "a", "now": NOW})
        [resolved] = ALL.run(connection, {})
    assert (row.subject, row.raised_at, row.resolved_at) == ("a", NOW, None)
    assert resolved.resolved_at == NOW


def test_a_parameter_may_be_none_but_not_forgotten(database: Database) -> None:
    """A misspelt name would compare with NULL, change no row, and say nothing."""
    with database.transaction() as connection:
        RAISE.run(connection, {"s": "a"})
        RESOLVE.run(connection, {"s": "a", "now": None})
        with pytest.raises(KeyError, match="s"):
            RESOLVE.run(connection, {"subject": "a", "now": NOW})


def test_one_row_is_one_row(database: Database) -> None:
    """None or two where one is expected is a bug, and says so."""
    with database.transaction() as connection:
        assert ALL.run(connection, {}).one_or_none() is None
        assert ALL.run(connection, {}).scalar() is None
        with pytest.raises(ValueError, match="0 rows"):
            ALL.run(connection, {}).one()
        RAISE.run(connection, {"s": "a"})
        assert ALL.run(connection, {}).scalar_one() == ALL.run(connection, {}).scalar() == "a"
        RAISE.run(connection, {"s": "b"})
        assert sorted(ALL.run(connection, {}).scalars()) == ["a", "b"]
        with pytest.raises(ValueError, match="2 rows"):
            ALL.run(connection, {}).one_or_none()


def test_what_it_writes_belongs_to_the_connection_s_transaction(database: Database) -> None:
    """Though SQLAlchemy does not see the statement."""
    with pytest.raises(KeyError), database.transaction() as connection:  # noqa: PT012
        RAISE.run(connection, {"s": "a"})
        RAISE.run(connection, {})
    with database.reading() as connection:
        assert ALL.run(connection, {}) == []
