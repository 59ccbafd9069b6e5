"""When we last asked the bank what we missed."""

from datetime import timedelta

from payments.ledger.reconciliations import last_complete_reconciliation, record_reconciliation
from payments.storage.database import Database
from tests.payments.builders import NOW

MINUTE = timedelta(minutes=1)


def test_before_the_first_run_there_is_no_last_one(database: Database) -> None:
    """None, not the dawn of time."""
    assert last_complete_reconciliation(database) is None


def test_a_run_in_which_a_question_failed_does_not_count_as_complete(database: Database) -> None:
    """What it did not hear must be asked again from where the last complete run began."""
    record_reconciliation(database, NOW, NOW + MINUTE, 3, None)
    record_reconciliation(database, NOW + 5 * MINUTE, NOW + 6 * MINUTE, 0, "invoice logs: timeout")
    assert last_complete_reconciliation(database) == NOW


def test_the_last_complete_run_is_known_by_its_beginning(database: Database) -> None:
    """What happened while it ran may have been missed; and runs may end out of order."""
    record_reconciliation(database, NOW + 5 * MINUTE, NOW + 6 * MINUTE, 0, None)
    record_reconciliation(database, NOW, NOW + 9 * MINUTE, 0, None)
    assert last_complete_reconciliation(database) == NOW + 5 * MINUTE
