"""Where every centavo is, in every state that money can be in."""

from datetime import datetime, timedelta

import pytest
from sqlalchemy import text

from payments.invoice import Payer
from payments.ledger import batches
from payments.operator.audit import read_audit
from payments.operator.filters import Filter
from payments.operator.health import read_health
from payments.operator.statement import (
    list_unaccounted,
    read_period,
    read_statement,
    recount_statement,
)
from payments.storage.database import Database
from payments.transfer import LIVE_STATES
from tests.payments.builders import INVOICE, NOW, at_bank
from tests.payments.conftest import Books

NET = 48_662


def test_empty_books_balance(books: Books) -> None:
    """Nothing is somewhere."""
    statement = books.statement
    assert statement.balanced
    assert statement.is_finished
    assert set(statement.transfers.values()) == {0}
    assert (statement.credits, statement.attention) == (0, 0)


def bring(books: Books, state: str) -> None:
    """Bring the one credit's transfer into a state."""
    books.credit()
    if state in ("sending", "dead"):
        claim = books.claim()
        if state == "dead":
            books.refuse(claim)
    elif state != "pending" and state != "stopped":
        books.send("A")
    if state == "settled":
        books.news(at_bank("A", "success"))
    elif state == "failed":
        books.lose("A", "Insufficient balance")
    elif state == "stopped":
        books.reverse(0)


@pytest.mark.parametrize(
    ("state", "column"),
    [
        ("pending", "unforwarded_centavos"),
        ("sending", "in_flight_centavos"),
        ("sent", "in_flight_centavos"),
        ("settled", "settled_centavos"),
        ("failed", "unforwarded_centavos"),  # its reissue is queued
        ("dead", "unforwarded_centavos"),
        ("stopped", "reversed_centavos"),
    ],
)
def test_the_net_is_in_exactly_one_column_whatever_the_state(books: Books, state: str, column: str) -> None:
    """Nowhere twice, nowhere lost."""
    bring(books, state)
    statement = books.statement
    columns = ("settled_centavos", "in_flight_centavos", "unforwarded_centavos", "reversed_centavos")
    assert {name: getattr(statement, name) for name in columns} == dict.fromkeys(columns, 0) | {column: NET}
    assert statement.transfers[state] == 1
    assert statement.balanced
    assert statement.net_centavos == NET
    assert statement.is_finished == (state in ("settled", "dead", "stopped"))


def test_a_day_s_mixture_balances(books: Books) -> None:
    """Every kind of credit side by side."""
    books.credit("1", 10_000, 0)
    books.send("A1", "1")
    books.news(at_bank("A1", "success", 10_000, "1"))
    books.credit("2", 7_000, 50)
    books.send("A2", "2")
    books.reverse(5_000, "2")
    books.credit("3", 30, 50)
    books.credit("4", 900, 0)
    books.reverse(400, "4", fee=0)
    statement = books.statement
    assert statement.balanced
    assert (statement.gross_centavos, statement.fee_centavos, statement.net_centavos) == (17_930, 100, 17_830)
    assert (statement.settled_centavos, statement.in_flight_centavos) == (10_000, 6_950)
    assert (statement.unforwarded_centavos, statement.reversed_centavos) == (400, 500)
    assert statement.not_forwarded_centavos == -20
    assert statement.claim_back_centavos == 2_000
    assert statement.attention == 2


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE transfers SET amount_centavos = amount_centavos - 1",
        "UPDATE transfers SET state = 'failed'",
        "UPDATE credits SET withheld_centavos = 1",
        "UPDATE credits SET disposition = 'not_ours'",
    ],
)
def test_a_lost_or_doubled_centavo_unbalances_it(database: Database, books: Books, damage: str) -> None:
    """The balance is a check that can fail."""
    books.credit()
    with database.transaction() as connection:
        connection.execute(text(damage))
    assert not read_statement(database).balanced
    with database.transaction() as connection:  # the fixture asserts that they balance at the end
        connection.execute(text("UPDATE transfers SET amount_centavos = 48662, state = 'pending'"))
        connection.execute(text("UPDATE credits SET withheld_centavos = 0, disposition = 'forward'"))


def test_errors_that_cancel_out_are_seen_too(database: Database, books: Books) -> None:
    """One credit short of a centavo and another with one too many: the sums agree, the credits do not."""
    books.credit("1")
    books.credit("2")
    with database.transaction() as connection:
        connection.execute(text("UPDATE transfers SET amount_centavos = 48661 WHERE invoice_id = '1'"))
        connection.execute(text("UPDATE transfers SET amount_centavos = 48663 WHERE invoice_id = '2'"))
    assert read_statement(database).balanced
    assert not recount_statement(database).balanced
    assert list_unaccounted(database) == ["1", "2"]
    with database.transaction() as connection:
        connection.execute(text("UPDATE transfers SET amount_centavos = 48662"))


@pytest.mark.parametrize(
    ("remaining", "claim_back"), [(48_712, 0), (20_000, NET - 19_950), (50, NET), (10, NET), (0, NET)]
)
def test_what_was_forwarded_beyond_what_is_owed_is_to_be_claimed_back(
    books: Books, remaining: int, claim_back: int
) -> None:
    """Never more than was forwarded, and the fee stays ours to bear."""
    books.credit()
    books.send("A")
    books.reverse(remaining)
    assert books.statement.claim_back_centavos == claim_back


def test_batches_are_counted_by_what_became_of_them(database: Database) -> None:
    """Planned are all; late are those that were issued after their time."""
    ana = Payer("Ana", "529.982.247-25")
    batches.plan_batch(database, "b-1", 0, [(ana, 100), (ana, 200)], NOW, late=False, now=NOW)
    batches.plan_batch(database, "b-2", 1, [(ana, 100)], NOW, late=True, now=NOW)
    batches.skip_slot(database, "b-3", 2, NOW, NOW)
    statement = read_statement(database)
    assert (statement.batches_planned, statement.batches_issued) == (3, 0)
    assert (statement.batches_late, statement.batches_skipped, statement.invoices) == (1, 1, 0)
    assert not statement.is_finished


def oldest_unforwarded_at(books: Books) -> datetime | None:
    """When the oldest credit was recorded that the bank has not accepted a transfer of."""
    return read_health(books.database, books.now).oldest_unforwarded_at


def test_the_oldest_unforwarded_credit_is_the_one_recorded_first(books: Books) -> None:
    """Until the bank accepts its transfer."""
    assert oldest_unforwarded_at(books) is None
    books.credit("1")
    books.pass_time(30)
    books.credit("2")
    assert oldest_unforwarded_at(books) == NOW
    for claim in books.claim_all(limit=1):
        books.accept(claim, at_bank("A1", invoice_id="1"))
    assert oldest_unforwarded_at(books) == NOW + timedelta(seconds=30)
    for claim in books.claim_all():
        books.accept(claim, at_bank("A2", invoice_id="2"))
    assert oldest_unforwarded_at(books) is None


def test_the_age_of_a_credit_survives_its_reissue(books: Books) -> None:
    """The money has waited since it was credited, not since its transfer failed."""
    bring(books, "failed")
    books.pass_time(1000)
    assert oldest_unforwarded_at(books) == NOW
    assert books.states_of(INVOICE) == ["failed", "pending"]


# --- of a period ---


def a_day(books: Books) -> None:
    """Credits that are settled, sent, dead, queued, partly reversed, and less than the fee."""
    books.credit("1", amount=1_050)
    books.send("A", "1")
    books.news(at_bank("A", "success", 1_000, "1"))
    books.credit("2", amount=2_050)
    books.send("B", "2")
    books.credit("3", amount=3_050)
    books.refuse(books.claim())
    books.credit("4", amount=4_050)
    books.credit("5", amount=5_050)
    books.reverse(1_050, "5")
    books.credit("6", amount=50)


def test_a_period_accounts_for_each_of_its_credits(books: Books) -> None:
    """In the same sums as the statement of everything."""
    a_day(books)
    read = read_period(books.database, NOW, NOW + timedelta(seconds=1))
    whole = books.statement
    assert read.balanced
    assert read.transfers == {str(state): whole.transfers[state] for state in LIVE_STATES}
    for name in (
        "gross",
        "fee",
        "net",
        "settled",
        "in_flight",
        "unforwarded",
        "dead",
        "reversed",
        "not_forwarded",
    ):
        assert getattr(read, f"{name}_centavos") == getattr(whole, f"{name}_centavos")
    assert read.credits == 6


def test_a_period_takes_its_first_moment_and_not_its_last(books: Books) -> None:
    """So that days follow each other without gap or overlap."""
    books.credit("1")
    books.pass_time(60)
    books.credit("2")
    later = books.now
    assert read_period(books.database, NOW, later).credits == 1
    assert read_period(books.database, later, None).credits == 1
    assert read_period(books.database, None, NOW).credits == 0
    assert read_period(books.database, None, None).credits == 2
    assert [line.invoice_id for line in read_audit(books.database, Filter(NOW, later))] == ["1"]


def test_an_empty_period_balances(books: Books) -> None:
    """Nothing is nothing."""
    read = read_period(books.database, NOW, NOW)
    assert (read.credits, read.net_centavos, read.balanced) == (0, 0, True)
