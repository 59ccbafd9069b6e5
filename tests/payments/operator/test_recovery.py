"""Money that was forwarded although its credit was reversed: claimed back, recovered, and counted."""

import pytest

from payments.errors import ActionRefused
from payments.operator.actions import Action, Operator
from payments.operator.lists import ATTENTIONS, CREDITS
from payments.operator.recovery import recover_credit
from payments.operator.timeline import read_credit
from tests.payments.builders import INVOICE, at_bank, english
from tests.payments.conftest import Books

ANA = Operator("ana", "their bank sent it back")
NET = 48_662


def recover(books: Books, invoice_id: str = INVOICE) -> Action:
    """Ana records that it came back."""
    return recover_credit(books.database, invoice_id, ANA, books.policy, books.now)


def settled_and_reversed(books: Books, remaining: int = 0) -> None:
    """A credit whose transfer has arrived, and that was reversed afterwards."""
    books.credit()
    books.send()
    books.news(at_bank("A", "success"))
    books.reverse(remaining)


def test_what_came_back_is_no_longer_claimed_and_stays_countable(books: Books) -> None:
    """Its attention is resolved; statement, list and timeline say that it was recovered."""
    settled_and_reversed(books)
    [line] = CREDITS.read(books.database).items
    assert (line.transfer_state, line.claim_back_centavos, line.recovered_centavos) == ("settled", NET, 0)
    [open_one] = ATTENTIONS.read(books.database, choice="open").items
    assert english(open_one.detail).startswith("the bank reversed R$ 486,62 after transfer ")
    action = recover(books)
    assert (action.kind, action.subject) == ("recover", INVOICE)
    assert english(action.result) == "R$ 486,62 came back from the destination"
    [line] = CREDITS.read(books.database).items
    assert (line.claim_back_centavos, line.recovered_centavos) == (0, NET)
    statement = books.statement
    assert (statement.claim_back_centavos, statement.recovered_centavos) == (0, NET)
    assert statement.balanced
    assert ATTENTIONS.read(books.database, choice="open").items == []
    timeline = read_credit(books.database, INVOICE)
    assert timeline is not None
    assert action in timeline.actions


def test_a_further_reversal_is_claimed_back_anew(books: Books) -> None:
    """Only what it added: the rest has come back."""
    settled_and_reversed(books, 20_000)
    recover(books)
    books.reverse(0)
    statement = books.statement
    assert (statement.claim_back_centavos, statement.recovered_centavos) == (19_950, NET - 19_950)
    assert [each.kind for each in ATTENTIONS.read(books.database, choice="open").items] == [
        "reversed_after_sending"
    ]
    recover(books)
    assert books.statement.recovered_centavos == NET


def test_what_is_not_to_be_claimed_back_cannot_be_recovered(books: Books) -> None:
    """Neither twice, nor of a credit without a reversal, nor of one that nobody knows."""
    for invoice_id in (INVOICE, "\x00"):
        with pytest.raises(ActionRefused, match="nothing_to_claim_back"):
            recover(books, invoice_id)
    settled_and_reversed(books)
    recover(books)
    with pytest.raises(ActionRefused, match="nothing_to_claim_back"):
        recover(books)


def test_nothing_is_recovered_before_the_transfer_has_settled(books: Books) -> None:
    """It may still fail, and then nothing has left."""
    books.credit()
    books.send()
    books.reverse()
    with pytest.raises(ActionRefused, match="not_settled_yet"):
        recover(books)
