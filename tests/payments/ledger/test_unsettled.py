"""A transfer that the bank accepted and does not decide: raised once after a day."""

import pytest

from payments.ledger import bank_reports
from payments.ledger.bank_reports import UNSETTLED_AFTER
from payments.operator.actions import Operator, close_attention
from payments.operator.lists import list_attentions
from tests.payments.builders import at_bank
from tests.payments.conftest import Books

ANA = Operator("ana", "the bank knows of it")


def test_a_transfer_that_the_bank_does_not_decide_is_raised_once_after_a_day(books: Books) -> None:
    """Once resolved by a person, it is not raised again."""
    books.credit()
    books.send()
    books.pass_time(UNSETTLED_AFTER.total_seconds() - 1)
    assert bank_reports.raise_unsettled(books.database, books.now) == 0
    books.pass_time(1)
    assert bank_reports.raise_unsettled(books.database, books.now) == 1
    assert books.attention == ["transfer_unsettled"]
    [attention] = list_attentions(books.database, open_only=True, after=None).items
    assert attention.detail.startswith("the bank accepted it as A at 2026-03-02 15:00 UTC")
    assert bank_reports.raise_unsettled(books.database, books.now) == 0
    close_attention(books.database, attention.id, ANA, books.now)
    assert bank_reports.raise_unsettled(books.database, books.now) == 0


@pytest.mark.parametrize("status", ["success", "failed"])
def test_its_outcome_resolves_it(books: Books, status: str) -> None:
    """Either way."""
    books.credit()
    books.send()
    books.pass_time(UNSETTLED_AFTER.total_seconds())
    bank_reports.raise_unsettled(books.database, books.now)
    books.news(at_bank("A", status), *([] if status == "success" else ["no funds"]))
    assert books.attention == []
