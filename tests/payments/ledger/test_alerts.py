"""Which attentions were sent: each claimed by one process, due again when it was not taken, recorded once."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from sqlalchemy import select

from payments.ledger.alerts import Alert, claim_alert, record_delivered, record_undelivered
from payments.ledger.attention import AttentionKind, raise_attention, resolve_attention
from payments.storage.database import Database, open_database
from payments.storage.schema import attentions
from tests.payments.builders import NOW

LEASE = 30.0
SECOND = timedelta(seconds=1)
DEAD = AttentionKind.TRANSFER_DEAD


def raised(database: Database, *subjects: str) -> None:
    """Raise an attention for each subject."""
    with database.transaction() as connection:
        for subject in subjects:
            raise_attention(connection, DEAD, subject, f"about {subject}", NOW)


def claimed(database: Database, seconds: float = 0) -> Alert | None:
    """Claim what is due after so many seconds."""
    return claim_alert(database, LEASE, NOW + seconds * SECOND)


def test_an_attention_is_claimed_by_one_process_until_the_lease_ends(database: Database) -> None:
    """After that another may send it, because no one knows whether the first one did."""
    assert claimed(database) is None
    raised(database, "credit-1")
    first = claimed(database)
    assert first == Alert(1, "transfer_dead", "credit-1", "about credit-1", NOW, 1)
    assert claimed(database, 29) is None
    again = claimed(database, 30)
    assert again is not None
    assert again.attempt == 2


def test_the_oldest_attention_is_claimed_first(database: Database) -> None:
    """Each once."""
    raised(database, "credit-1", "credit-2")
    subjects = [alert.subject for _ in range(2) if (alert := claimed(database))]
    assert subjects == ["credit-1", "credit-2"]
    assert claimed(database) is None


def test_a_delivered_alert_is_not_sent_again(database: Database) -> None:
    """Not even by the process that claimed it when the first one's lease had run out."""
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


def test_an_alert_that_was_not_taken_is_due_at_its_time(database: Database) -> None:
    """A process whose claim is over no longer decides when."""
    raised(database, "credit-1")
    first = claimed(database)
    assert first is not None
    assert record_undelivered(database, first, NOW + 100 * SECOND)
    assert claimed(database, 99) is None
    assert claimed(database, 100) is not None
    assert not record_undelivered(database, first, NOW)
    assert claimed(database, 129) is None


def test_a_resolved_attention_is_not_sent(database: Database) -> None:
    """Raised again, it is another attention."""
    raised(database, "credit-1")
    with database.transaction() as connection:
        resolve_attention(connection, DEAD, "credit-1", NOW)
    assert claimed(database) is None
    raised(database, "credit-1")
    again = claimed(database)
    assert again is not None
    assert again.attention_id == 2


def test_processes_that_claim_together_claim_each_attention_once(database: Database) -> None:
    """Each has its own connections; the database decides."""
    raised(database, *(f"credit-{number}" for number in range(40)))
    found: list[int] = []

    def work() -> None:
        own = open_database(database.url.render_as_string(hide_password=False))
        while alert := claimed(own):
            found.append(alert.attention_id)
        own.close()

    with ThreadPoolExecutor(3) as threads:
        for each in [threads.submit(work) for _ in range(3)]:
            each.result()
    assert sorted(found) == list(range(1, 41))
