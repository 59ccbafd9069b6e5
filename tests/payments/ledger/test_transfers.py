"""The sender's side of transfers: claimed, recorded, lost, looked up, and fenced against late sleepers."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from payments.ledger import transfers
from payments.ledger.transfers import Claim
from payments.storage.schema import transfers as transfers_table
from payments.transfer import lineage_for
from tests.payments.builders import EMPTY, INVOICE, NET, NOW, at_bank, english
from tests.payments.conftest import ON_SQLITE, Books

# --- claiming ---


def test_a_credit_is_claimed_immediately_and_by_one_alone(books: Books) -> None:
    """The second claimer comes away empty until the lease ends."""
    books.credit()
    claim = books.claim("call-1")
    assert (claim.external_id, claim.amount_centavos, claim.attempt) == (lineage_for(INVOICE), NET, 1)
    assert claim.is_fresh
    assert claim.lease_expires_at == books.now + timedelta(seconds=60)
    assert books.claim_all("call-2") == []


def test_the_call_s_tag_is_in_the_books_before_the_call_is_made(books: Books) -> None:
    """The process that finds the row after a crash must know what to ask the bank for."""
    books.credit()
    claim = books.claim("call-1")
    assert (books.row().call_tag, books.row().calls, books.row().state) == ("call-1", 1, "sending")
    assert claim.order.tags == (lineage_for(INVOICE), "call-1")


def test_an_expired_claim_is_taken_over_with_a_new_attempt_and_the_old_tag(books: Books) -> None:
    """The tag of the call that may have reached the bank must not be overwritten before it was looked up."""
    books.credit()
    books.claim("call-1")
    books.pass_time(60 - 1e-6)
    assert books.claim_all() == [], "the last microsecond is the first claimer's"
    books.pass_time(1e-6)
    again = books.claim("call-2")
    assert (again.attempt, again.call_tag, again.is_fresh) == (2, "call-1", False)


def test_claims_stop_at_the_limit_and_the_rest_stays_due(books: Books) -> None:
    """One call takes so many; nothing is claimed that cannot be sent."""
    for number in range(5):
        books.credit(f"10{number}")
    assert [claim.invoice_id for claim in books.claim_all(limit=3)] == ["100", "101", "102"]
    assert [claim.invoice_id for claim in books.claim_all(limit=3)] == ["103", "104"]


def test_a_share_of_each_call_is_kept_for_expired_ones(books: Books) -> None:
    """A steady stream of new ones, which cost no look-up, starves none whose lease ran out."""
    for invoice_id in ("100", "101", "102"):
        books.credit(invoice_id)
    books.claim_all()
    books.pass_time(60)
    for invoice_id in ("103", "104", "105", "106"):
        books.credit(invoice_id)
    claimed = [claim.invoice_id for claim in books.claim_all(limit=4)]
    assert claimed == ["100", "103", "104", "105"]
    assert [claim.invoice_id for claim in books.claim_all(limit=4)] == ["101", "102", "106"]


def test_what_is_due_longest_is_claimed_first(books: Books) -> None:
    """A released one waits its turn behind those that came due before."""
    books.credit("100")
    books.release(books.claim(), wait_seconds=30)
    books.pass_time(10)
    books.credit("101")
    books.pass_time(30)
    assert [claim.invoice_id for claim in books.claim_all(limit=1)] == ["101"]


def test_nothing_is_claimed_from_empty_books(books: Books) -> None:
    """And nothing is due."""
    assert books.claim_all() == []
    assert transfers.next_due_at(books.database) is None


def test_the_next_due_moment_is_that_of_the_first_pending_or_the_first_lease(books: Books) -> None:
    """The forwarder sleeps until then."""
    books.credit("100")
    assert transfers.next_due_at(books.database) == NOW
    claim = books.claim()
    assert transfers.next_due_at(books.database) == NOW + timedelta(seconds=60)
    books.release(claim)
    assert transfers.next_due_at(books.database) == NOW + timedelta(seconds=5)


@ON_SQLITE
@pytest.mark.parametrize("calls", [1, 2])
def test_one_call_is_looked_up_by_its_tag_and_several_by_lineage(books: Books, calls: int) -> None:
    """The call's tag answers for a hundred transfers together, but only while no other call was made."""
    books.credit()
    books.unclear(books.claim("call-1"))
    books.pass_time(60)
    if calls == 2:
        verdict = books.look_up(books.claim(), call_tag="call-2")
        assert verdict.to_send is not None
        assert verdict.to_send.call_tag == "call-2"
        books.pass_time(60)
    expected = "call-1" if calls == 1 else lineage_for(INVOICE)
    assert books.claim("call-3").look_up_tag == expected


@ON_SQLITE
def test_a_call_that_tells_too_little_is_followed_by_the_lineage(books: Books) -> None:
    """Another deployment on the same account may have sent the credit: its transfer does not carry our call's tag."""
    books.credit()
    books.unclear(books.claim("call-1"))
    books.pass_time(60)
    books.release(books.claim("call-2"))
    books.pass_time(60)
    assert books.claim("call-3").look_up_tag == lineage_for(INVOICE)


@ON_SQLITE
def test_a_reissue_is_never_fresh_and_is_looked_up_by_its_lineage(books: Books) -> None:
    """Its lineage has been at the bank: sending it unasked could pay twice."""
    books.credit()
    books.send("A")
    books.lose("A", EMPTY)
    books.become_due()
    claim = books.claim("call-2")
    assert not claim.is_fresh
    assert claim.look_up_tag == lineage_for(INVOICE)
    assert (books.row(2).calls, books.row(2).call_tag) == (0, None)


# --- recording what came of a call ---


def test_an_accepted_transfer_is_sent_and_then_settled_by_its_success(books: Books) -> None:
    """The straight way."""
    books.credit()
    books.send("A")
    assert (books.states, books.row().bank_transfer_id, books.row().sent_at) == (["sent"], "A", NOW)
    books.pass_time(7)
    books.news(at_bank("A", "success"))
    assert (books.states, books.row().settled_at) == (["settled"], NOW + timedelta(seconds=7))
    assert books.history() == ["claimed", "sent", "settled"]
    assert books.attention == []


def test_an_unclear_outcome_keeps_its_lease(books: Books) -> None:
    """Unclear is never turned into final: no one touches it until the lease ends."""
    books.credit()
    claim = books.claim()
    books.pass_time(15)
    books.unclear(claim)
    row = books.row()
    assert (row.state, row.reason, row.lease_expires_at) == ("sending", "timeout", claim.lease_expires_at)


@ON_SQLITE
@pytest.mark.parametrize(("wait_seconds", "expected"), [(None, 5.0), (1.0, 5.0), (90.0, 90.0)])
def test_a_released_claim_waits_the_longer_of_its_delay_and_the_bank_s_wish(
    books: Books, wait_seconds: float | None, expected: float
) -> None:
    """Retry-After can only lengthen our own patience."""
    books.credit()
    books.release(books.claim(), wait_seconds)
    assert books.states == ["pending"]
    assert books.row().due_at == NOW + timedelta(seconds=expected)


@ON_SQLITE
def test_releases_back_off(books: Books) -> None:
    """5 s, 10 s, 20 s."""
    books.credit()
    waits = []
    for _ in range(3):
        books.become_due()
        books.release(books.claim())
        waits.append((books.row().due_at - books.now).total_seconds())
    assert waits == [5, 10, 20]


def test_a_refused_transfer_is_dead_and_raised(books: Books) -> None:
    """Nothing but a person moves it, and its money shows as unforwarded."""
    books.credit()
    books.refuse(books.claim())
    books.pass_time(10**6)
    assert (books.states, books.claim_all(), books.attention) == (["dead"], [], ["transfer_dead"])
    assert books.statement.dead_centavos == NET


def test_a_refusal_of_the_caller_is_raised_once_and_resolved_by_the_next_success(books: Books) -> None:
    """The key is refused for every transfer: that is one item, not a hundred."""
    for invoice in ("100", "101"):
        books.credit(invoice)
    claims = books.claim_all()
    for claim in claims:
        transfers.release(books.database, [claim], "bad key", books.policy, NOW, is_caller_refused=True)
    assert books.attention == ["bank_refuses_us"]
    books.become_due()
    for claim in books.claim_all():
        ready = books.look_up(claim).to_send
        assert ready is not None
        books.accept(ready, at_bank(claim.invoice_id, invoice_id=claim.invoice_id))
    assert books.attention == []


@ON_SQLITE
def test_ten_attempts_without_an_answer_are_raised_while_it_goes_on_trying(books: Books) -> None:
    """And the attention closes itself when the bank answers at last."""
    books.credit()
    for attempt in range(1, 11):
        books.become_due()
        books.unclear(books.claim()) if attempt % 2 else books.release(books.claim())
        assert books.attention == (["transfer_stuck"] if attempt == 10 else [])
    books.become_due()
    books.look_up(books.claim(), at_bank("A"))
    assert (books.states, books.attention) == (["sent"], [])


# --- a late sleeper ---


def assert_too_late(books: Books, lost: Claim) -> None:
    """Nothing that is recorded for this claim changes a transfer; it says so, and raises nothing."""
    with books.database.reading() as connection:
        before = connection.execute(select(transfers_table)).all()
    living = at_bank("A", invoice_id=lost.invoice_id)
    assert books.accept(lost, living) == 0
    assert books.look_up(lost).outcome == "overtaken"
    assert books.look_up(lost, living).outcome == "overtaken"
    books.unclear(lost)
    books.release(lost)
    books.refuse(lost)
    with books.database.reading() as connection:
        assert connection.execute(select(transfers_table)).all() == before


@pytest.mark.parametrize("holder", ["claimed again", "sent", "settled", "pending again", "dead"])
def test_a_late_sleeper_changes_nothing(books: Books, holder: str) -> None:
    """Someone else acted while it slept; what it brings home concerns an attempt that is over."""
    books.credit()
    late = books.claim()
    books.pass_time(60)
    newer = books.claim()
    if holder == "sent":
        books.accept(newer, at_bank("B"))
    elif holder == "settled":
        books.accept(newer, at_bank("B", "success"))
    elif holder == "pending again":
        books.release(newer)
    elif holder == "dead":
        books.refuse(newer)
    assert_too_late(books, late)


def test_a_claim_that_a_failover_lost_changes_nothing_of_who_has_its_number_now(books: Books) -> None:
    """A server that never heard of it gives the same number to another credit's transfer, in the same attempt."""
    books.credit(invoice_id="1")
    lost = books.claim()
    books.credit(invoice_id="2")
    assert_too_late(books, replace(lost, transfer_id=books.claim().transfer_id))


def test_a_claim_whose_credit_a_failover_lost_changes_nothing(books: Books) -> None:
    """Reconciliation finds the credit again later, and looks its transfer up before anything is sent."""
    books.credit(invoice_id="1")
    assert_too_late(books, replace(books.claim(), invoice_id="9", external_id="credit-9"))


@ON_SQLITE
def test_what_a_late_sleeper_was_told_is_remembered(books: Books) -> None:
    """Its record is void, but the bank's transfer exists: an empty page is not believed any more."""
    books.credit()
    late = books.claim()
    books.pass_time(60)
    newer = books.claim()
    books.accept(late, at_bank("A"))
    assert books.look_up(newer).outcome == "released"


# --- looking up ---


@ON_SQLITE
@pytest.mark.parametrize("is_found", [True, False], ids=["in a look-up", "in the answer"])
def test_a_success_that_comes_with_the_transfer_settles_it(books: Books, is_found: bool) -> None:
    """The bank may be quick, and its event may never come."""
    books.credit()
    claim = books.claim()
    if is_found:
        books.unclear(claim)
        books.become_due()
        books.look_up(books.claim(), at_bank("A", "success"))
    else:
        assert books.accept(claim, at_bank("A", "success")) == 1
    assert books.states == ["settled"]


def test_a_found_transfer_is_adopted(books: Books) -> None:
    """The answer was lost, the transfer was not."""
    books.credit()
    books.unclear(books.claim())
    books.become_due()
    verdict = books.look_up(books.claim(), at_bank("A", "processing"))
    assert (verdict.outcome, verdict.to_send) == ("found", None)
    assert (books.states, books.row().bank_transfer_id) == (["sent"], "A")
    assert books.history() == ["claimed", "unclear", "claimed", "found"]


def test_when_the_bank_has_nothing_the_same_id_is_sent_in_a_call_that_is_committed_first(
    books: Books,
) -> None:
    """Should this call's answer be lost too, the books know that there were two."""
    books.credit()
    books.unclear(books.claim("call-1"))
    books.become_due()
    verdict = books.look_up(books.claim("call-2"), call_tag="call-2")
    assert verdict.outcome == "clear"
    assert verdict.to_send is not None
    assert verdict.to_send.external_id == lineage_for(INVOICE)
    assert (books.row().calls, books.row().call_tag, verdict.to_send.calls) == (2, "call-2", 2)
    assert verdict.to_send.order.call_tag == "call-2"


@ON_SQLITE
def test_a_failure_is_not_acted_upon_before_its_reason_is_known(books: Books) -> None:
    """It could be a duplicate of one that lives and is not shown."""
    books.credit()
    books.unclear(books.claim())
    books.become_due()
    claim = books.claim()
    verdict = books.look_up(claim, at_bank("A", "failed"))
    assert (verdict.outcome, verdict.ask_why, books.states) == ("ask_why", ("A",), ["sending"])
    books.lose("A", EMPTY)
    assert books.look_up(claim, at_bank("A", "failed")).outcome == "failed"
    assert books.states == ["failed", "pending"]


@ON_SQLITE
def test_a_transfer_with_our_tag_and_a_foreign_id_is_for_a_person(books: Books) -> None:
    """Another program uses our tags, or another deployment reissued: it must not be guessed."""
    books.credit()
    books.unclear(books.claim())
    books.become_due()
    books.look_up(books.claim(), at_bank("A", external_id="credit-of-someone-else"))
    assert (books.states, books.attention) == (["dead"], ["transfer_dead"])


@ON_SQLITE
@pytest.mark.parametrize(
    "changes", [{"amount_centavos": NET - 1}, {"account_number": "1"}, {"tax_id": "529.982.247-25"}]
)
def test_a_found_transfer_that_differs_is_never_adopted(books: Books, changes: dict[str, Any]) -> None:
    """Same id, other content: dead, with its reason, for a person."""
    books.credit()
    books.unclear(books.claim())
    books.become_due()
    books.look_up(books.claim(), at_bank("A", **changes))
    assert (books.states, books.attention) == (["dead"], ["transfer_dead"])
    assert "differs from ours" in english(books.row().reason)


def test_several_look_ups_are_judged_apart(books: Books) -> None:
    """One page answers for many transfers; each gets its own verdict."""
    for invoice in ("100", "101", "102"):
        books.credit(invoice)
    for claim in books.claim_all():
        books.unclear(claim)
    books.become_due()
    claims = books.claim_all()
    pages = [(claims[0], [at_bank("A", invoice_id="100")]), (claims[1], []), (claims[2], [])]
    verdicts = transfers.record_lookups(books.database, pages, "call-2", books.policy, books.now)
    assert [verdict.outcome for verdict in verdicts] == ["found", "clear", "clear"]
