"""The operator's lists: what they hold, page by page, and that a cursor from outside breaks nothing."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments.operator import lists
from payments.operator.actions import Operator, close_attention
from payments.operator.filters import Filter
from payments.operator.lists import (
    ACTIONS,
    ATTENTIONS,
    CREDITS,
    EVENTS,
    TRANSFERS,
    count_attentions,
    most_urgent,
)
from payments.operator.timeline import read_credit
from payments.storage.schema import actions
from payments.transfer import TransferState
from tests.payments.builders import INVOICE, an_invoice_log, at_bank, english
from tests.payments.conftest import Books

ANA = Operator("ana", "the account is open again")


def test_the_transfer_that_stands_for_a_credit_is_the_live_one(books: Books) -> None:
    """Not a later reissue that was stopped because an earlier one succeeded after all."""
    books.credit()
    books.send()
    books.lose()
    books.news(at_bank("A", "success"))
    assert books.states == ["settled", "stopped"]
    [line] = CREDITS.read(books.database).items
    assert (line.transfer_state, line.external_id) == ("settled", f"credit-{INVOICE}")


@pytest.mark.parametrize("changes", [{"log_id": "another"}, {"amount": 48_713}])
def test_the_attention_of_a_second_credit_knows_its_invoice(books: Books, changes: dict[str, Any]) -> None:
    """Whether the second log is another one or the first with other content."""
    books.credit(log_id="first")
    books.tell(an_invoice_log(**({"log_id": "first"} | changes)), event_id="second")
    [line] = ATTENTIONS.read(books.database, choice="open").items
    assert (line.kind, line.invoice_id) == ("second_credit", INVOICE)
    found = read_credit(books.database, INVOICE)
    assert found is not None
    assert found.attentions == [line]


def test_an_attention_knows_its_credit(books: Books) -> None:
    """One that is about no credit of ours knows none."""
    books.credit()
    books.refuse(books.claim())
    books.credit("7", amount=50)
    books.tell({"id": "x", "type": "credited", "invoice": {"id": "9"}})
    lines = ATTENTIONS.read(books.database, choice="open").items
    assert [(line.kind, line.invoice_id) for line in lines] == [
        ("unreadable_event", None),
        ("nothing_to_forward", "7"),
        ("transfer_dead", INVOICE),
    ]
    assert [line.amount_centavos for line in lines] == [None, 0, 48_662]
    with books.database.reading() as connection:
        urgent = most_urgent(connection, 2)
    assert [line.kind for line in urgent] == ["transfer_dead", "unreadable_event"]
    assert (count_attentions(books.database, 2), count_attentions(books.database, 99)) == (2, 3)
    close_attention(books.database, lines[0].id, ANA, books.now)
    assert len(ATTENTIONS.read(books.database, choice="open").items) == 2
    assert len(ATTENTIONS.read(books.database).items) == 3
    [action] = ACTIONS.read(books.database).items
    assert (action.kind, action.subject, english(action.result)) == (
        "resolve",
        "3",
        f"resolved: Event not readable, {lines[0].subject}",
    )


def test_pages_follow_each_other_without_gap_or_repeat(books: Books) -> None:
    """However many were recorded at one moment."""
    for number in range(7):
        books.credit(f"{number}")
        if number % 3 == 0:
            books.pass_time(1)
    for walk in (
        lambda after: CREDITS.read(books.database, after, limit=2),
        lambda after: EVENTS.read(books.database, after, limit=2),
        lambda after: TRANSFERS.read(books.database, after, choice="pending", limit=2),
        lambda after: TRANSFERS.read(books.database, after, limit=2),
    ):
        seen = list(_all(walk))
        assert len(seen) == len({repr(line) for line in seen}) == 7


def _all(walk: Callable[[str | None], Any]) -> Iterator[Any]:
    after = None
    while True:
        page = walk(after)
        yield from page.items
        after = page.next
        if after is None:
            return


def test_credits_are_found_by_amount_and_time(books: Books) -> None:
    """Gross or net; from since on, before until."""
    books.credit("1", amount=1000)
    books.pass_time(60)
    books.credit("2", amount=1050)
    books.credit("3", amount=2000)
    by_amount = CREDITS.read(books.database, None, Filter(amount_centavos=1000)).items
    assert [line.invoice_id for line in by_amount] == ["2", "1"]
    later = CREDITS.read(books.database, None, Filter(since=books.now)).items
    assert [line.invoice_id for line in later] == ["3", "2"]
    earlier = CREDITS.read(books.database, None, Filter(until=books.now)).items
    assert [line.invoice_id for line in earlier] == ["1"]


def test_transfers_are_listed_by_state(books: Books) -> None:
    """Each state has its list, even when it is empty; the refusal of another names those that there are."""
    books.credit()
    books.credit("7")
    books.claim_all(limit=1)
    expected = {None: 2, "pending": 1, "sending": 1}
    for state in (None, *TransferState):
        assert len(TRANSFERS.read(books.database, None, choice=state).items) == expected.get(state, 0)
    with pytest.raises(ValueError, match="transfers are not listed by 'lost': put one of pending"):
        TRANSFERS.read(books.database, None, choice="lost")


def test_a_cursor_that_this_list_did_not_give_is_refused_in_one_clear_line(books: Books) -> None:
    """It comes back from outside; that of another list would begin at a random place."""
    books.credit()
    books.credit("7")
    others = CREDITS.read(books.database, None, limit=1).next
    assert others is not None
    for cursor in (
        *(others, "", "x", "bm9uc2Vuc2U", "W10", "é", "WyJjcmVkaXRzIiwgMSwgMl0", "=" * 9),
        *("[" * 100_000, "\udc80"),
    ):
        with pytest.raises(ValueError, match="is not one that this list gave: leave it out"):
            EVENTS.read(books.database, cursor)


@given(st.text())
def test_no_text_is_a_cursor_by_accident(text: str) -> None:
    """Nor does any raise another error."""
    with pytest.raises(ValueError, match="is not one that this list gave"):
        lists._decode("x", (actions.c.id,), text)
