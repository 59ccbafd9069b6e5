"""What a person should look at: once, until it is resolved."""

from datetime import timedelta

from sqlalchemy import select

from payments.ledger.attention import AttentionKind, count_open, raise_attention, resolve_attention
from payments.storage.database import Database
from payments.storage.schema import attentions
from tests.payments.builders import NOW
from tests.payments.conftest import ON_SQLITE

DEAD = AttentionKind.TRANSFER_DEAD
STUCK = AttentionKind.TRANSFER_STUCK


def test_an_attention_is_raised_once_while_it_is_open(database: Database) -> None:
    """The first words stay; another kind or subject is another attention."""
    with database.transaction() as connection:
        assert raise_attention(connection, DEAD, "credit-1", "first", NOW)
        assert not raise_attention(connection, DEAD, "credit-1", "second", NOW)
        assert raise_attention(connection, STUCK, "credit-1", "other kind", NOW)
        assert raise_attention(connection, DEAD, "credit-2", "other subject", NOW)
        assert count_open(connection) == 3
        details = set(connection.execute(select(attentions.c.detail)).scalars())
    assert details == {"first", "other kind", "other subject"}


def test_a_resolved_attention_stays_on_record_and_may_be_raised_again(database: Database) -> None:
    """With the time at which each ended."""
    later = NOW + timedelta(hours=1)
    with database.transaction() as connection:
        raise_attention(connection, DEAD, "credit-1", "first", NOW)
        resolve_attention(connection, DEAD, "credit-1", later)
        assert count_open(connection) == 0
        assert raise_attention(connection, DEAD, "credit-1", "again", later)
        rows = connection.execute(select(attentions).order_by(attentions.c.id)).all()
    assert [(row.detail, row.resolved_at) for row in rows] == [("first", later), ("again", None)]


@ON_SQLITE
def test_resolving_what_is_not_open_changes_nothing(database: Database) -> None:
    """Neither another's attention, nor one that is over: its end keeps its time."""
    with database.transaction() as connection:
        raise_attention(connection, DEAD, "credit-1", "x", NOW)
        resolve_attention(connection, STUCK, "credit-1", NOW)
        resolve_attention(connection, DEAD, "credit-2", NOW)
        assert count_open(connection) == 1
        resolve_attention(connection, DEAD, "credit-1", NOW)
        resolve_attention(connection, DEAD, "credit-1", NOW + timedelta(days=1))
        assert connection.execute(select(attentions.c.resolved_at)).scalar_one() == NOW
