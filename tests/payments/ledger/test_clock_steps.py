"""What is stored after the clock was set: nothing waits for a moment that had been reached once."""

from datetime import timedelta
from random import Random

import pytest
from sqlalchemy import select

from payments.language import language_of
from payments.ledger import alerts, batches
from payments.ledger.clock_steps import follow_clock
from payments.ledger.reconciliations import last_complete_reconciliation, record_reconciliation
from payments.operator.health import read_health
from payments.operator.processes import Process, record_alive
from payments.operator.wording import note_text
from payments.storage.schema import attentions
from tests.payments.conftest import Books
from worker.payers import random_payers

DAY = 86_400.0
LEASE = 60.0


def set_clock(books: Books, seconds: float) -> None:
    """The clock is set by so much, and a process has noticed."""
    books.pass_time(seconds)
    follow_clock(books.database, "caixa-1", seconds, LEASE, books.now)


@pytest.mark.parametrize("seconds", [-61.0, -7_200.0, -4 * 365 * DAY])
def test_a_transfer_that_waits_is_due_when_the_clock_goes_back(books: Books, seconds: float) -> None:
    """Throttled, with a wait of a minute; it may be claimed at once, and waits again as the bank asks."""
    books.credit()
    books.release(books.claim(), wait_seconds=60)
    assert books.claim_all() == []
    set_clock(books, seconds)
    books.release(books.claim(), wait_seconds=60)
    books.pass_time(59)
    assert books.claim_all() == []
    books.pass_time(1)
    assert len(books.claim_all()) == 1


@pytest.mark.parametrize("seconds", [-61.0, -7_200.0, 61.0, 4 * 365 * DAY])
def test_a_lease_lasts_no_longer_than_a_lease(books: Books, seconds: float) -> None:
    """Whoever held it is heard, until it is over by the clock; then it is looked up, however the clock was set."""
    books.credit()
    books.unclear(books.claim())
    set_clock(books, seconds)
    if seconds < 0:
        assert books.claim_all() == []
        books.pass_time(LEASE)
    [claim] = books.claim_all()
    assert claim.attempt == 2
    assert not claim.is_fresh


def test_a_batch_and_an_alert_that_wait_are_due(books: Books) -> None:
    """A batch that was released, one whose claim is unclear, and an alert that was not taken."""
    database = books.database
    payers = random_payers(Random(1), 2)
    for tag, payer in zip(("released", "unclear"), payers, strict=True):
        assert batches.plan_batch(database, tag, None, [(payer, 1_000)], books.now, late=False, now=books.now)
        claim = batches.claim_batch(database, LEASE, books.now)
        assert claim is not None
        if tag == "released":
            batches.release_batch(
                database, claim, "no", books.now + timedelta(hours=1), refused=True, now=books.now
            )
    alert = alerts.claim_alert(database, LEASE, books.now)
    assert alert is not None
    alerts.record_undelivered(database, alert, books.now + timedelta(minutes=15))
    set_clock(books, -7_200)
    again = batches.claim_batch(database, LEASE, books.now)
    assert again is not None
    assert again.tag == "released"
    assert alerts.claim_alert(database, LEASE, books.now) is not None
    assert batches.claim_batch(database, LEASE, books.now) is None
    books.pass_time(LEASE)
    tags = {claim.tag for _ in range(2) if (claim := batches.claim_batch(database, LEASE, books.now))}
    assert "unclear" in tags


def test_the_dead_do_not_seem_alive_nor_an_old_reconciliation_new(books: Books) -> None:
    """Until the clock is there again, they would."""
    record_alive(books.database, Process("p", "web", "caixa-1", 1, "1"), books.now)
    record_reconciliation(books.database, books.now, books.now, 0, None)
    set_clock(books, -7_200)
    assert last_complete_reconciliation(books.database) == books.now
    books.pass_time(60)
    assert read_health(books.database, books.now).processes_by_kind["web"] == 0


@pytest.mark.parametrize(
    ("seconds", "detail"),
    [
        (-7_200.4, "the clock of caixa-1 was set back by 2 h"),
        (61.0, "the clock of caixa-1 was set forward by 1 min"),
    ],
)
def test_an_operator_is_told_when_money_was_waiting(books: Books, seconds: float, detail: str) -> None:
    """Once for a machine, whichever of its processes noticed; not when nothing waits."""
    set_clock(books, seconds)
    assert books.attention == []
    books.credit()
    set_clock(books, seconds)
    set_clock(books, seconds)
    assert books.attention == ["clock_stepped"]
    with books.database.reading() as connection:
        row = connection.execute(select(attentions)).one()
    assert (row.subject, note_text(row.detail, language_of("en"))) == ("caixa-1", detail)


def test_waits_that_are_no_longer_than_they_may_be_stay(books: Books) -> None:
    """A clock that is set forward makes them due by itself."""
    books.credit()
    books.release(books.claim(), wait_seconds=60)
    due_at = books.now + timedelta(seconds=60)
    set_clock(books, 61)
    assert books.row().due_at == due_at
