"""What the bank says of transfers: in any order, repeated, of another's transfers, and nothing at all."""

from datetime import timedelta

import pytest

from payments.ledger import bank_reports, transfers
from payments.ledger.bank_reports import UNSETTLED_AFTER
from payments.operator import timeline
from payments.operator.actions import Operator, close_attention
from payments.operator.lists import ATTENTIONS
from tests.payments.builders import EMPTY, INVOICE, NOW, a_transfer_log, at_bank, english
from tests.payments.conftest import ON_SQLITE, Books

ANA = Operator("ana", "the bank knows of it")


# --- reports in any order ---


@ON_SQLITE
def test_success_before_we_knew_that_it_was_sent(books: Books) -> None:
    """The event is quicker than the answer to our call; the answer then changes nothing."""
    books.credit()
    claim = books.claim()
    books.news(at_bank("A", "success"))
    assert books.states == ["settled"]
    assert books.accept(claim, at_bank("A")) == 0
    assert (books.states, books.row().bank_transfer_id) == (["settled"], "A")


@ON_SQLITE
def test_failure_before_we_knew_that_it_was_sent(books: Books) -> None:
    """It is remembered, and takes effect when the answer says that this transfer is ours."""
    books.credit()
    claim = books.claim()
    books.lose("A", EMPTY)
    assert books.states == ["sending"]
    books.accept(claim, at_bank("A"))
    assert (books.states, english(books.row().reason)) == (
        ["failed", "pending"],
        f"the bank says “{EMPTY}”",
    )


@ON_SQLITE
@pytest.mark.parametrize("late", ["created", "processing"])
def test_old_news_after_success_changes_nothing(books: Books, late: str) -> None:
    """Events come in any order; a final word stays."""
    books.credit()
    books.send("A")
    books.news(at_bank("A", "success"))
    books.news(at_bank("A", late))
    assert (books.states, books.attention) == (["settled"], [])


@ON_SQLITE
def test_old_news_after_failure_does_not_bring_it_back(books: Books) -> None:
    """Neither in the state nor in what the next look-up is judged by."""
    books.credit()
    books.send("A")
    books.lose("A", EMPTY)
    books.news(at_bank("A", "created"))
    books.become_due()
    verdict = books.look_up(books.claim(), at_bank("A", "failed"))
    assert (verdict.outcome, books.states) == ("clear", ["failed", "sending"])


@ON_SQLITE
@pytest.mark.parametrize(("status", "states"), [("success", ["settled"]), ("failed", ["failed", "pending"])])
def test_an_outcome_that_is_reported_twice_counts_once(books: Books, status: str, states: list[str]) -> None:
    """Through two webhooks, or reconciliation."""
    books.credit()
    books.send("A")
    for log_id in ("9", "10"):
        books.news(at_bank("A", status), *([EMPTY] if status == "failed" else []), log_id=log_id)
    assert (books.states, books.attention) == (states, [])
    assert books.history() == ["claimed", "sent", states[0]]


@ON_SQLITE
def test_a_report_on_a_stranger_s_transfer_is_ignored(books: Books) -> None:
    """The workspace may have other programs and people in it."""
    books.credit()
    receipt = books.news(at_bank("X", "success", external_id="rent-of-march"))
    assert (receipt.outcome, books.states) == ("ignored", ["pending"])


@ON_SQLITE
def test_success_of_a_dead_transfer_settles_it_and_closes_the_attention(books: Books) -> None:
    """A person paid by the bank's pages, or the refusal was wrong: the money has moved."""
    books.credit()
    books.refuse(books.claim())
    books.news(at_bank("A", "success"))
    assert (books.states, books.attention) == (["settled"], [])


@ON_SQLITE
@pytest.mark.parametrize("held", ["pending", "sending", "sent"])
def test_a_success_that_differs_stops_the_transfer_for_a_person(books: Books, held: str) -> None:
    """Money moved under our id, but not as we ordered: neither settled nor sent again."""
    books.credit()
    if held == "sending":
        books.claim()
    elif held == "sent":
        books.send("A")
    books.news(at_bank("A", "success", account_number="666"))
    assert (books.states, books.attention) == (["dead"], ["transfer_dead"])
    assert "differs from ours in: account" in english(books.row().reason)


@ON_SQLITE
def test_a_credit_paid_twice_is_raised(books: Books) -> None:
    """It should never happen; if it does, it must not be overlooked."""
    books.credit()
    books.send("A")
    books.news(at_bank("A", "success"))
    books.news(at_bank("B", "success"))
    assert (books.states, books.attention) == (["settled"], ["paid_twice"])


@ON_SQLITE
def test_success_of_an_earlier_one_while_its_reissue_may_be_at_the_bank_is_raised(books: Books) -> None:
    """Whether two were paid will be seen; the reissue is not forgotten meanwhile."""
    books.credit()
    books.send("A")
    books.lose("A", EMPTY)
    books.become_due()
    ready = books.ready(at_bank("A", "failed"))
    books.accept(ready, at_bank("B", generation=2))
    books.news(at_bank("A", "success"))
    assert (books.states, books.attention) == (["failed", "sent"], ["paid_twice"])


@ON_SQLITE
def test_a_success_that_the_bank_takes_back_is_raised(books: Books) -> None:
    """The money came back: a person decides what becomes of it, no machine sends it again."""
    books.credit()
    books.send("A")
    books.news(at_bank("A", "success"))
    books.lose("A", "Refunded by the receiver")
    assert (books.states, books.attention) == (["settled"], ["returned_after_settlement"])


@ON_SQLITE
def test_equal_amounts_to_the_same_account_are_kept_apart(books: Books) -> None:
    """The bank would block them without an external_id; we would confuse them without one."""
    for invoice in ("100", "101"):
        books.credit(invoice)
    claims = books.claim_all()
    accepted = {
        claim.external_id: at_bank(f"A{claim.invoice_id}", invoice_id=claim.invoice_id) for claim in claims
    }
    transfers.record_sent(books.database, claims, accepted, books.policy, books.now)
    books.news(at_bank("A101", "success", invoice_id="101"))
    books.news(at_bank("A100", "failed", invoice_id="100"), EMPTY)
    assert (books.states_of("101"), books.states_of("100")) == (["settled"], ["failed", "pending"])


@ON_SQLITE
def test_news_of_another_deployments_reissue_is_kept(books: Books) -> None:
    """It is of a credit of ours, so a look-up that shows it can be judged."""
    books.credit()
    other = at_bank("X", "failed", external_id=f"credit-{INVOICE}-r3")
    assert books.news(other, "Account blocked").outcome == "bank_report"
    assert books.states == ["pending"]


@ON_SQLITE
def test_a_transfer_seen_before_its_credit_was_known_is_its_credit_s(books: Books) -> None:
    """In a look-up for another, by a tag that both carry: it is for a person there, and settles here."""
    books.credit()
    books.unclear(books.claim())
    books.pass_time(61)
    books.look_up(books.claim(), at_bank("B", invoice_id="99"))
    assert books.attention == ["transfer_dead"]
    books.credit("99")
    books.news(at_bank("B", "success", invoice_id="99"))
    assert books.states_of("99") == ["settled"]
    credit = timeline.read_credit(books.database, "99")
    assert credit is not None
    assert "bank_report" in [entry.kind for entry in credit.entries]


# --- which have no outcome yet ---


def test_transfers_without_an_outcome_are_listed_oldest_first(books: Books) -> None:
    """Reconciliation asks about those that have been under way for a while."""
    for invoice in ("100", "101", "102"):
        books.credit(invoice)
        claim = books.claim()
        books.accept(claim, at_bank(f"A{invoice}", invoice_id=invoice))
        books.pass_time(10)
    books.news(at_bank("A101", "success", invoice_id="101"))
    assert bank_reports.in_flight(books.database, books.now, 10) == ["A100", "A102"]
    assert bank_reports.in_flight(books.database, books.now, 1) == ["A100"]
    assert bank_reports.in_flight(books.database, NOW + timedelta(seconds=19), 10) == ["A100"]


def test_a_transfer_that_the_bank_does_not_decide_is_raised_once_after_a_day(books: Books) -> None:
    """Once resolved by a person, it is not raised again."""
    books.credit()
    books.send()
    books.pass_time(UNSETTLED_AFTER.total_seconds() - 1)
    assert bank_reports.raise_unsettled(books.database, books.now) == 0
    books.pass_time(1)
    assert bank_reports.raise_unsettled(books.database, books.now) == 1
    assert books.attention == ["transfer_unsettled"]
    [attention] = ATTENTIONS.read(books.database, choice="open").items
    assert english(attention.detail).startswith("the bank accepted it as A at 2026-03-02 15:00:00 UTC")
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


def test_a_transfer_that_the_bank_names_for_two_credits_concludes_nothing(books: Books) -> None:
    """Its event is stored all the same, both transfers stay as they are, and a person is asked to look."""
    other = "5713348842127361"
    books.credit()
    books.send("A")
    books.credit(other)
    claim = books.claim()
    books.news(at_bank("A", "success", invoice_id=other))
    assert (books.states, books.states_of(other)) == (["sent"], ["sending"])
    assert books.attention == ["transfer_stuck"]
    assert books.accept(claim, at_bank("A", "created", invoice_id=other)) == 0
    assert (books.states_of(other), books.attention) == (["sending"], ["transfer_stuck"])
    books.pass_time(61)
    [again] = books.claim_all()
    verdict = books.look_up(again, at_bank("A", "created", invoice_id=other))
    assert (verdict.outcome, books.states_of(other)) == ("released", ["pending"])


def test_what_is_raised_and_settled_in_one_group_needs_no_one(books: Books) -> None:
    """A report that differs and the right one, together: as if one had come after the other."""
    books.credit()
    books.send("A")
    books.tell(
        a_transfer_log(at_bank("A", "success", account_number="666"), log_id="odd"),
        a_transfer_log(at_bank("A", "success"), log_id="right"),
    )
    assert (books.states, books.attention) == (["settled"], [])
