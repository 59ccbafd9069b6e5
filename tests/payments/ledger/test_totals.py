"""The running totals agree with the books, and cost the same whatever the books hold."""

from datetime import timedelta

import pytest
from sqlalchemy import text

from payments.ledger import totals
from payments.operator.statement import read_statement, recount_statement
from payments.storage.database import Database
from tests.payments.builders import INVOICE, NOW, at_bank
from tests.payments.conftest import Books


def kept(database: Database) -> dict[str, totals.Sum]:
    """What the totals say, without the zeros."""
    with database.reading() as connection:
        return {name: each for name, each in totals.read_totals(connection).items() if any(each)}


def test_a_credit_moves_through_the_totals_with_its_transfer(books: Books) -> None:
    """One name at a time, with its money."""
    books.credit()
    assert kept(books.database)["transfers.pending"] == (1, 48_662)
    claim = books.claim()
    assert kept(books.database)["transfers.sending"] == (1, 48_662)
    assert "transfers.pending" not in kept(books.database)
    books.accept(claim, at_bank("A"))
    assert kept(books.database)["transfers.sent"] == (1, 48_662)
    books.pass_time(4)
    books.news(at_bank("A", "success"))
    found = kept(books.database)
    assert found["transfers.settled"] == found["credits.net"] == (1, 48_662)
    assert found["settled_within.5"] == found["settled"] == found["sent"] == found["credited"] == (1, 48_662)


def test_what_happened_is_tallied_by_the_minute(books: Books) -> None:
    """For charts: when, how often, how much."""
    books.credit("1")
    books.pass_time(61)
    books.credit("2")
    books.credit("3")
    with books.database.reading() as connection:
        told = totals.read_tallies(connection, ["credited", "events.credit"], NOW)
        late = totals.read_tallies(connection, ["credited"], NOW + timedelta(minutes=1))
    minute = NOW.replace(second=0)
    assert [(each.minute, each.name, each.number, each.centavos) for each in told] == [
        (minute, "credited", 1, 48_662),
        (minute, "events.credit", 1, 0),
        (minute + timedelta(minutes=1), "credited", 2, 97_324),
        (minute + timedelta(minutes=1), "events.credit", 2, 0),
    ]
    assert [each.number for each in late] == [2]


def test_a_transaction_that_fails_leaves_the_totals_alone(books: Books) -> None:
    """Gathered, and forgotten with everything else; the next transaction starts with nothing."""

    def fail() -> None:
        with books.database.transaction() as connection:
            totals.add(connection, "transfers.pending", 1, 100)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert kept(books.database) == {}
    books.credit()
    assert kept(books.database)["transfers.pending"] == (1, 48_662)


def test_a_total_that_disagrees_is_named_and_unbalances_the_recount(books: Books) -> None:
    """Damage to a row or to a total shows as the difference between the two."""
    books.credit()
    with books.database.transaction() as connection:
        connection.execute(text("UPDATE totals SET centavos = centavos - 1 WHERE name = 'transfers.pending'"))
    with books.database.reading() as connection:
        [difference] = totals.disagreements(connection)
    assert difference.startswith("transfers.pending: ")
    assert not read_statement(books.database).balanced
    assert not recount_statement(books.database).balanced
    with books.database.transaction() as connection:
        connection.execute(text("UPDATE totals SET centavos = centavos + 1 WHERE name = 'transfers.pending'"))


@pytest.mark.parametrize(
    ("seconds", "name"), [(0, "1"), (1, "1"), (1.5, "5"), (300, "300"), (43_201, "inf"), (10**6, "inf")]
)
def test_a_settlement_counts_under_its_lowest_bound(books: Books, seconds: float, name: str) -> None:
    """Once, so that the bounds add up to all."""
    with books.database.transaction() as connection:
        totals.add_settlement(connection, seconds, 100, NOW)
    assert kept(books.database) == {f"settled_within.{name}": (1, 100)}


def test_the_statement_from_totals_is_the_one_from_rows(books: Books) -> None:
    """In every figure, after reversals, failures and reissues."""
    books.credit("1")
    books.credit("2")
    books.reverse(20_000, "2")
    books.credit()
    for claim in books.claim_all():
        books.accept(
            claim, at_bank(f"B{claim.invoice_id}", "created", claim.amount_centavos, claim.invoice_id)
        )
    books.lose(f"B{INVOICE}", "Insufficient balance")
    assert read_statement(books.database) == recount_statement(books.database)
