"""Which matters were told: each claimed by one, tried again when it was not taken, recorded once."""

import threading
from datetime import timedelta

from sqlalchemy import select

from payments.ledger import totals
from payments.ledger.attention import AttentionKind, raise_attention, resolve_attention
from payments.ledger.notifications import Notice, claim_notice, record_delivered, record_undelivered
from payments.operator.health import read_health
from payments.storage.database import Database, open_database
from payments.storage.schema import attentions
from tests.payments.builders import NOW

LEASE = 30.0
SECOND = timedelta(seconds=1)
DEAD = AttentionKind.TRANSFER_DEAD


def raised(database: Database, *subjects: str) -> None:
    """Raise a matter for each subject."""
    with database.transaction() as connection:
        for subject in subjects:
            raise_attention(connection, DEAD, subject, f"about {subject}", NOW)


def claimed(database: Database, seconds: float = 0) -> Notice | None:
    """Claim what is due after so many seconds."""
    return claim_notice(database, LEASE, NOW + seconds * SECOND)


def test_a_matter_is_claimed_by_one_until_the_lease_ends(database: Database) -> None:
    """Then it may be told again: nobody knows whether the first one did."""
    assert claimed(database) is None
    raised(database, "credit-1")
    first = claimed(database)
    assert first == Notice(1, "transfer_dead", "credit-1", "about credit-1", NOW, 1)
    assert claimed(database, 29) is None
    again = claimed(database, 30)
    assert again is not None
    assert again.attempt == 2


def test_the_oldest_matter_is_told_first(database: Database) -> None:
    """Each once."""
    raised(database, "credit-1", "credit-2")
    subjects = [notice.subject for _ in range(2) if (notice := claimed(database))]
    assert subjects == ["credit-1", "credit-2"]
    assert claimed(database) is None


def test_what_was_delivered_is_not_told_again(database: Database) -> None:
    """Even by the one who claimed it when the first one's lease had run out."""
    raised(database, "credit-1")
    first, second = claimed(database), claimed(database, 40)
    assert first is not None
    assert second is not None
    assert record_delivered(database, first, NOW + 41 * SECOND)
    assert not record_delivered(database, second, NOW + 42 * SECOND)
    assert not record_undelivered(database, second, NOW + 50 * SECOND)
    assert claimed(database, 10_000) is None
    with database.reading() as connection:
        assert connection.execute(select(attentions.c.notified_at)).scalar_one() == NOW + 41 * SECOND


def test_what_was_not_taken_waits_for_its_time(database: Database) -> None:
    """And is counted as undelivered meanwhile."""
    raised(database, "credit-1")
    first = claimed(database)
    assert first is not None
    assert record_undelivered(database, first, NOW + 100 * SECOND)
    assert read_health(database, NOW).alerts_undelivered == 1
    assert claimed(database, 99) is None
    second = claimed(database, 100)
    assert second is not None
    assert not record_undelivered(database, first, NOW), "its claim is over"
    record_delivered(database, second, NOW)
    assert read_health(database, NOW).alerts_undelivered == 0
    with database.reading() as connection:
        kept = totals.read_totals(connection)
    assert kept["notifications.failed"].number == 2
    assert kept["notifications.delivered"].number == 1


def test_a_matter_that_is_over_is_not_told(database: Database) -> None:
    """Nobody need be woken for it; raised again, it is another matter."""
    raised(database, "credit-1")
    with database.transaction() as connection:
        resolve_attention(connection, DEAD, "credit-1", NOW)
    assert claimed(database) is None
    raised(database, "credit-1")
    again = claimed(database)
    assert again is not None
    assert again.attention_id == 2


def test_two_processes_never_claim_the_same_matter(database: Database) -> None:
    """Each has its own connections; every matter is claimed once."""
    raised(database, *(f"credit-{number}" for number in range(40)))
    found: list[int] = []

    def work() -> None:
        own = open_database(database.url.render_as_string(hide_password=False))
        while notice := claimed(own):
            found.append(notice.attention_id)
        own.close()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == list(range(1, 41))
