"""Transfers in our books: every way in which one can be claimed, lost, found, paid, failed and replaced."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from payments.ledger import bank_reports, transfers
from payments.ledger.transfers import Claim
from payments.operator import timeline as stories
from payments.transfer import BankTransfer, lineage_for
from tests.payments.builders import INVOICE, NOW, a_policy, an_invoice_log, at_bank
from tests.payments.conftest import Books

DUPLICATED = "Duplicated transfer"
EMPTY = "Insufficient balance"
NET = 48_662


# --- claiming ---


def test_a_credit_is_claimed_at_once_and_by_one_alone(books: Books) -> None:
    """The second claimer comes away empty until the lease ends."""
    books.credit()
    claim = books.claim("call-1")
    assert (claim.external_id, claim.amount_centavos, claim.attempt) == (lineage_for(INVOICE), NET, 1)
    assert claim.is_fresh
    assert claim.lease_expires_at == books.now + timedelta(seconds=60)
    assert books.claim_all("call-2") == []


def test_the_call_s_tag_is_in_the_books_before_the_call_is_made(books: Books) -> None:
    """Whoever finds the row after a crash must know what to ask the bank for."""
    books.credit()
    claim = books.claim("call-1")
    assert (books.row().call_tag, books.row().calls, books.row().state) == ("call-1", 1, "sending")
    assert claim.order.tags == (lineage_for(INVOICE), "call-1")


def test_an_expired_claim_is_taken_over_with_a_new_attempt_and_the_old_tag(books: Books) -> None:
    """The tag of the call that may have reached the bank must not be overwritten before it was looked up."""
    books.credit()
    books.claim("call-1")
    books.pass_time(60)
    again = books.claim("call-2")
    assert (again.attempt, again.call_tag, again.is_fresh) == (2, "call-1", False)


def test_a_lease_that_has_not_quite_ended_protects_its_holder(books: Books) -> None:
    """The last microsecond belongs to the first claimer."""
    books.credit()
    books.claim()
    books.pass_time(60 - 1e-6)
    assert books.claim_all() == []
    books.pass_time(1e-6)
    assert len(books.claim_all()) == 1


def test_claims_stop_at_the_limit_and_the_rest_stays_due(books: Books) -> None:
    """One call takes so many; nothing is claimed that cannot be sent."""
    for number in range(5):
        books.credit(f"10{number}")
    assert [claim.invoice_id for claim in books.claim_all(limit=3)] == ["100", "101", "102"]
    assert [claim.invoice_id for claim in books.claim_all(limit=3)] == ["103", "104"]


def test_a_share_of_each_call_is_kept_for_expired_ones(books: Books) -> None:
    """A steady stream of new ones, which cost no look-up, starves nobody whose lease ran out."""
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


@pytest.mark.parametrize("calls", [1, 2])
def test_one_call_is_looked_up_by_its_tag_and_several_by_lineage(books: Books, calls: int) -> None:
    """The call's tag answers for a hundred transfers at once, but only while no other call was made."""
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


def test_a_call_that_tells_too_little_is_followed_by_the_lineage(books: Books) -> None:
    """Another deployment on the same account may have sent the credit: its transfer does not carry our call's tag."""
    books.credit()
    books.unclear(books.claim("call-1"))
    books.pass_time(60)
    books.release(books.claim("call-2"))
    books.pass_time(60)
    assert books.claim("call-3").look_up_tag == lineage_for(INVOICE)


def test_news_of_another_deployments_reissue_is_kept(books: Books) -> None:
    """It is of a credit in our books, so a look-up that shows it can be judged."""
    books.credit()
    other = at_bank("X", "failed", external_id=f"credit-{INVOICE}-r3")
    assert books.news(other, "Account blocked").outcome == "transfer_news"
    assert books.states == ["pending"]


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


def test_one_answer_settles_a_whole_call(books: Books) -> None:
    """A hundred rows, one commit."""
    for number in range(3):
        books.credit(f"10{number}")
    claims = books.claim_all()
    accepted = {claim.external_id: at_bank(claim.invoice_id, invoice_id=claim.invoice_id) for claim in claims}
    assert transfers.record_sent(books.database, claims, accepted, books.policy, books.now) == 3


def test_an_answer_that_already_says_success_settles(books: Books) -> None:
    """The bank may be quick."""
    books.credit()
    claim = books.claim()
    assert books.accept(claim, at_bank("A", "success")) == 1
    assert books.states == ["settled"]


def test_an_unclear_outcome_keeps_its_lease(books: Books) -> None:
    """Unclear is never turned into final: nobody touches it until the lease ends."""
    books.credit()
    claim = books.claim()
    books.pass_time(15)
    books.unclear(claim)
    row = books.row()
    assert (row.state, row.reason, row.lease_expires_at) == ("sending", "timeout", claim.lease_expires_at)


@pytest.mark.parametrize(("wait_seconds", "expected"), [(None, 5.0), (1.0, 5.0), (90.0, 90.0)])
def test_a_released_claim_waits_the_longer_of_its_delay_and_the_bank_s_wish(
    books: Books, wait_seconds: float | None, expected: float
) -> None:
    """Retry-After can only lengthen our own patience."""
    books.credit()
    books.release(books.claim(), wait_seconds)
    assert books.states == ["pending"]
    assert books.row().due_at == NOW + timedelta(seconds=expected)


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
    """The key is refused for every transfer: that is one matter, not a hundred."""
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


def test_ten_attempts_without_an_answer_are_raised_while_it_goes_on_trying(books: Books) -> None:
    """And the matter closes itself when the bank answers at last."""
    books.credit()
    for attempt in range(1, 11):
        books.become_due()
        books.unclear(books.claim()) if attempt % 2 else books.release(books.claim())
        assert books.attention == (["transfer_stuck"] if attempt == 10 else [])
    books.become_due()
    books.look_up(books.claim(), at_bank("A"))
    assert (books.states, books.attention) == (["sent"], [])


# --- a late sleeper ---


LATE_ACTS = ["accept", "unclear", "release", "refuse", "look_up", "look_up_living"]


def act_too_late(books: Books, act: str, lost: Claim) -> None:
    """Record something for a claim that is none any more; it says so, and raises nothing."""
    living = at_bank("A", invoice_id=lost.invoice_id)
    if act == "accept":
        assert books.accept(lost, living) == 0
    elif act == "look_up":
        assert books.look_up(lost).outcome == "overtaken"
    elif act == "look_up_living":
        assert books.look_up(lost, living).outcome == "overtaken"
    else:
        getattr(books, act)(lost)


@pytest.mark.parametrize("act", LATE_ACTS)
@pytest.mark.parametrize("holder", ["claimed again", "sent", "settled", "pending again", "dead"])
def test_a_late_sleeper_changes_nothing(books: Books, act: str, holder: str) -> None:
    """Someone else acted while it slept; whatever it brings home concerns an attempt that is over."""
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
    before = books.row()
    act_too_late(books, act, late)
    assert books.row() == before


@pytest.mark.parametrize("act", LATE_ACTS)
def test_a_claim_that_a_failover_lost_changes_nothing_of_who_has_its_number_now(
    books: Books, act: str
) -> None:
    """A server that never heard of it gives the same number to another credit's transfer, in the same attempt."""
    books.credit(invoice_id="1")
    lost = books.claim()
    books.credit(invoice_id="2")
    lost = replace(lost, transfer_id=books.claim().transfer_id)
    before = books.row(invoice_id="1"), books.row(invoice_id="2")
    act_too_late(books, act, lost)
    assert (books.row(invoice_id="1"), books.row(invoice_id="2")) == before


@pytest.mark.parametrize("act", LATE_ACTS)
def test_a_claim_whose_credit_a_failover_lost_changes_nothing(books: Books, act: str) -> None:
    """Reconciliation finds the credit again later, and looks its transfer up before anything is sent."""
    books.credit(invoice_id="1")
    lost = replace(books.claim(), invoice_id="9", external_id="credit-9")
    before = books.row(invoice_id="1")
    act_too_late(books, act, lost)
    assert books.row(invoice_id="1") == before


def test_what_a_late_sleeper_was_told_is_remembered(books: Books) -> None:
    """Its record is void, but the bank's transfer exists: an empty page is not believed any more."""
    books.credit()
    late = books.claim()
    books.pass_time(60)
    newer = books.claim()
    books.accept(late, at_bank("A"))
    assert books.look_up(newer).outcome == "released"


# --- looking up ---


def test_a_found_transfer_is_adopted(books: Books) -> None:
    """The answer was lost, the transfer was not."""
    books.credit()
    books.unclear(books.claim())
    books.become_due()
    verdict = books.look_up(books.claim(), at_bank("A", "processing"))
    assert (verdict.outcome, verdict.to_send) == ("found", None)
    assert (books.states, books.row().bank_transfer_id) == (["sent"], "A")
    assert books.history() == ["claimed", "unclear", "claimed", "found"]


def test_a_found_success_settles_at_once(books: Books) -> None:
    """Its event may never come."""
    books.credit()
    books.unclear(books.claim())
    books.become_due()
    books.look_up(books.claim(), at_bank("A", "success"))
    assert books.states == ["settled"]


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


def test_a_page_that_hides_what_we_know_of_is_not_believed(books: Books) -> None:
    """An empty page by mistake must not lead to a second payment."""
    books.credit()
    books.unclear(books.claim())
    books.news(at_bank("A"))
    books.become_due()
    assert books.look_up(books.claim()).outcome == "released"
    books.become_due()
    assert books.look_up(books.claim(), at_bank("A")).outcome == "found"


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


def test_a_duplicate_without_its_twin_waits(books: Books) -> None:
    """Somewhere there is the one that it repeats."""
    books.credit()
    books.unclear(books.claim())
    books.lose("B", DUPLICATED)
    books.become_due()
    assert books.look_up(books.claim(), at_bank("B", "failed")).outcome == "released"
    assert books.states == ["pending"]


def test_a_transfer_with_our_tag_and_a_foreign_id_is_for_a_person(books: Books) -> None:
    """Another program uses our tags, or another deployment reissued: nobody may guess."""
    books.credit()
    books.unclear(books.claim())
    books.become_due()
    books.look_up(books.claim(), at_bank("A", external_id="credit-of-someone-else"))
    assert (books.states, books.attention) == (["dead"], ["transfer_dead"])


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
    assert "differs in" in books.row().reason


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


# --- failing, and being replaced ---


@pytest.mark.parametrize("status", ["failed", "canceled"])
def test_a_lost_transfer_is_replaced_after_a_while(books: Books, status: str) -> None:
    """The id is spent: the next generation is put in line, and looked up before it is sent."""
    books.credit()
    books.send("A")
    books.news(at_bank("A", status), EMPTY)
    assert books.states == ["failed", "pending"]
    assert books.claim_all() == []
    assert books.row(2).due_at == NOW + timedelta(seconds=40)
    books.become_due()
    ready = books.look_up(books.claim(), at_bank("A", status)).to_send
    assert ready is not None
    assert (ready.external_id, ready.amount_centavos) == (f"credit-{INVOICE}-r2", NET)
    assert books.accept(ready, at_bank("B", generation=2)) == 1
    books.news(at_bank("B", "success", generation=2))
    assert books.states == ["failed", "settled"]
    assert books.attention == []


def test_an_answer_that_already_says_failed_is_replaced(books: Books) -> None:
    """Accepted and lost in one breath."""
    books.credit()
    books.accept(books.claim(), at_bank("A", "failed"))
    assert books.states == ["failed", "pending"]


def test_reissues_end_at_the_bound_in_a_person_s_hands(books: Books) -> None:
    """REISSUE_MAX counts the transfers after the first."""
    books.policy = a_policy(reissue_max=2)
    books.credit()
    pages: list[BankTransfer] = []
    for generation in (1, 2, 3):
        books.become_due()
        claim = books.claim()
        ready = claim if claim.is_fresh else books.look_up(claim, *pages).to_send
        assert ready is not None
        bank_id = f"A{generation}"
        books.accept(ready, at_bank(bank_id, generation=generation))
        books.lose(bank_id, "Blocked", generation=generation)
        pages.append(at_bank(bank_id, "failed", generation=generation))
    assert books.states == ["failed", "failed", "dead"]
    assert books.attention == ["transfer_dead"]
    books.pass_time(10**7)
    assert books.claim_all() == []


def test_a_failed_twin_cannot_fail_the_good_one(books: Books) -> None:
    """A repeat of our id is refused late, on a transfer of its own; ours lives on."""
    books.credit()
    books.send("A")
    books.lose("B", DUPLICATED)
    assert books.states == ["sent"]
    books.news(at_bank("A", "success"))
    books.lose("C", DUPLICATED)
    assert (books.states, books.attention) == (["settled"], [])


def test_the_success_of_a_twin_settles_the_transfer_that_holds_another(books: Books) -> None:
    """We recorded the repeat; the first call's transfer is the one that was paid."""
    books.credit()
    books.send("B")
    books.news(at_bank("A", "success"))
    assert (books.states, books.row().bank_transfer_id) == (["settled"], "A")
    books.lose("B", DUPLICATED)
    assert (books.states, books.attention) == (["settled"], [])


def test_the_success_of_a_twin_withdraws_the_reissue(books: Books) -> None:
    """The repeat failed first and was about to be replaced; the money had moved all along."""
    books.credit()
    books.send("B")
    books.lose("B", DUPLICATED)
    books.news(at_bank("A", "success"))
    assert (books.states, books.attention) == (["settled", "stopped"], [])
    books.pass_time(10**6)
    assert books.claim_all() == []


def test_the_success_of_a_twin_overtakes_a_reissue_that_is_about_to_be_looked_up(books: Books) -> None:
    """It was claimed, but nothing of it can be at the bank yet."""
    books.credit()
    books.send("B")
    books.lose("B", DUPLICATED)
    books.become_due()
    claim = books.claim()
    books.news(at_bank("A", "success"))
    assert books.states == ["settled", "stopped"]
    assert books.look_up(claim, at_bank("B", "failed")).outcome == "overtaken"


def test_a_reissue_s_look_up_adopts_the_earlier_transfer_that_lives(books: Books) -> None:
    """The row of the id it carries is revived, the reissue stopped: one live transfer, as ever."""
    books.credit()
    books.send("B")
    books.lose("B", DUPLICATED)
    books.become_due()
    verdict = books.look_up(books.claim(), at_bank("B", "failed"), at_bank("A", "processing"))
    assert (verdict.outcome, books.states) == ("found", ["sent", "stopped"])
    assert books.row(1).bank_transfer_id == "A"
    books.news(at_bank("A", "success"))
    assert (books.states, books.attention) == (["settled", "stopped"], [])


def test_a_revived_transfer_that_fails_after_all_is_replaced_by_a_generation_of_its_own(
    books: Books,
) -> None:
    """The second generation was stopped and keeps its id: the third is next."""
    books.credit()
    books.send("B")
    books.lose("B", DUPLICATED)
    books.become_due()
    books.look_up(books.claim(), at_bank("B", "failed"), at_bank("A", "processing"))
    books.lose("A", EMPTY)
    assert books.states == ["failed", "stopped", "pending"]
    books.become_due()
    ready = books.look_up(books.claim(), at_bank("B", "failed"), at_bank("A", "failed")).to_send
    assert ready is not None
    assert ready.external_id == f"credit-{INVOICE}-r3"


def test_stopped_generations_count_towards_the_bound(books: Books) -> None:
    """However a lineage wanders, it does not wander for ever."""
    books.policy = a_policy(reissue_max=1)
    books.credit()
    books.send("B")
    books.lose("B", DUPLICATED)
    books.become_due()
    books.look_up(books.claim(), at_bank("B", "failed"), at_bank("A", "processing"))
    books.lose("A", EMPTY)
    assert (books.states, books.attention) == (["dead", "stopped"], ["transfer_dead"])


def test_a_page_older_than_the_failure_revives_nothing(books: Books) -> None:
    """The bank's list lags behind its events: what was told lost stays lost."""
    books.credit()
    books.send("A")
    books.lose("A", EMPTY)
    books.become_due()
    verdict = books.look_up(books.claim(), at_bank("A", "processing"))
    assert (verdict.outcome, books.states) == ("clear", ["failed", "sending"])


# --- news in any order ---


def test_success_before_we_knew_that_it_was_sent(books: Books) -> None:
    """The event is quicker than the answer to our call; the answer then changes nothing."""
    books.credit()
    claim = books.claim()
    books.news(at_bank("A", "success"))
    assert books.states == ["settled"]
    assert books.accept(claim, at_bank("A")) == 0
    assert (books.states, books.row().bank_transfer_id) == (["settled"], "A")


def test_failure_before_we_knew_that_it_was_sent(books: Books) -> None:
    """It is remembered, and takes effect when the answer says that this transfer is ours."""
    books.credit()
    claim = books.claim()
    books.lose("A", EMPTY)
    assert books.states == ["sending"]
    books.accept(claim, at_bank("A"))
    assert (books.states, books.row().reason) == (["failed", "pending"], EMPTY)


def test_success_before_the_lost_answer_needs_no_look_up(books: Books) -> None:
    """Nothing is due any more."""
    books.credit()
    books.unclear(books.claim())
    books.news(at_bank("A", "success"))
    books.pass_time(10**6)
    assert books.claim_all() == []


@pytest.mark.parametrize("late", ["created", "processing"])
def test_old_news_after_success_changes_nothing(books: Books, late: str) -> None:
    """Events come in any order; a final word stays."""
    books.credit()
    books.send("A")
    books.news(at_bank("A", "success"))
    books.news(at_bank("A", late))
    assert (books.states, books.attention) == (["settled"], [])


def test_old_news_after_failure_does_not_bring_it_back(books: Books) -> None:
    """Neither in the state nor in what the next look-up is judged by."""
    books.credit()
    books.send("A")
    books.lose("A", EMPTY)
    books.news(at_bank("A", "created"))
    books.become_due()
    verdict = books.look_up(books.claim(), at_bank("A", "failed"))
    assert (verdict.outcome, books.states) == ("clear", ["failed", "sending"])


def test_the_same_success_told_twice_settles_once(books: Books) -> None:
    """Through two webhooks, or reconciliation."""
    books.credit()
    books.send("A")
    books.news(at_bank("A", "success"), log_id="9")
    books.news(at_bank("A", "success"), log_id="10")
    assert books.history().count("settled") == 1
    assert books.attention == []


def test_the_same_failure_told_twice_is_replaced_once(books: Books) -> None:
    """The second telling finds the reissue in line."""
    books.credit()
    books.send("A")
    books.lose("A", EMPTY)
    books.lose("A", EMPTY)
    assert books.states == ["failed", "pending"]


def test_news_of_a_stranger_s_transfer_is_of_no_interest(books: Books) -> None:
    """The workspace may have other programs and people in it."""
    books.credit()
    receipt = books.news(at_bank("X", "success", external_id="rent-of-march"))
    assert (receipt.outcome, books.states) == ("no_interest", ["pending"])


def test_success_of_a_dead_transfer_settles_it_and_closes_the_matter(books: Books) -> None:
    """A person paid by the bank's pages, or the refusal was wrong: the money has moved."""
    books.credit()
    books.refuse(books.claim())
    books.news(at_bank("A", "success"))
    assert (books.states, books.attention) == (["settled"], [])


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
    assert "differs in account" in books.row().reason


def test_a_credit_paid_twice_is_raised(books: Books) -> None:
    """It should never happen; if it does, nobody may overlook it."""
    books.credit()
    books.send("A")
    books.news(at_bank("A", "success"))
    books.news(at_bank("B", "success"))
    assert (books.states, books.attention) == (["settled"], ["paid_twice"])


def test_success_of_an_earlier_one_while_its_reissue_may_be_at_the_bank_is_raised(books: Books) -> None:
    """Whether two were paid will be seen; the reissue is not forgotten meanwhile."""
    books.credit()
    books.send("A")
    books.lose("A", EMPTY)
    books.become_due()
    ready = books.look_up(books.claim(), at_bank("A", "failed")).to_send
    assert ready is not None
    books.accept(ready, at_bank("B", generation=2))
    books.news(at_bank("A", "success"))
    assert (books.states, books.attention) == (["failed", "sent"], ["paid_twice"])


def test_a_success_that_the_bank_takes_back_is_raised(books: Books) -> None:
    """The money came back: a person decides what becomes of it, no machine sends it again."""
    books.credit()
    books.send("A")
    books.news(at_bank("A", "success"))
    books.lose("A", "Refunded by the receiver")
    assert (books.states, books.attention) == (["settled"], ["returned_after_settlement"])


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


# --- an invoice that could be taken for another's reissue ---


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
    story = stories.read_credit(books.database, "99")
    assert story is not None
    assert "sighting" in [entry.kind for entry in story.entries]


def _accept_all(books: Books) -> None:
    """The bank takes whatever is due, and calls each as we do."""
    for claim in books.claim_all():
        there = at_bank(claim.external_id, invoice_id=claim.invoice_id, external_id=claim.external_id)
        assert books.accept(claim, there) == 1


# --- in flight ---


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


# --- reversals ---


def test_a_credit_reversed_before_it_was_sent_is_not_sent(books: Books) -> None:
    """The money is gone from the account."""
    books.credit()
    books.reverse(0)
    assert (books.states, books.claim_all(), books.attention) == (["stopped"], [], [])
    assert books.statement.reversed_centavos == NET


def test_a_credit_reversed_in_part_before_it_was_sent_forwards_the_rest(books: Books) -> None:
    """What remains of the amount, less the fee."""
    books.credit()
    books.reverse(20_000)
    claim = books.claim()
    assert claim.amount_centavos == 19_950
    books.accept(claim, at_bank("A", "success", 19_950))
    assert (books.states, books.attention) == (["settled"], [])
    assert books.statement.reversed_centavos == NET - 19_950


@pytest.mark.parametrize("remaining", [50, 30, 0])
def test_a_rest_that_the_fee_eats_is_not_sent(books: Books, remaining: int) -> None:
    """Nothing is owed then, and no transfer of nothing is made."""
    books.credit()
    books.reverse(remaining)
    assert books.states == ["stopped"]


def test_reversals_told_out_of_order_count_as_the_lowest(books: Books) -> None:
    """What remains only ever shrinks."""
    books.credit()
    books.reverse(10_000)
    books.reverse(20_000)
    assert books.claim().amount_centavos == 9_950


def test_a_credit_reversed_after_it_was_sent_is_money_to_claim_back(books: Books) -> None:
    """No machine takes it back from the destination."""
    books.credit()
    books.send("A")
    books.reverse(20_000)
    assert (books.states, books.attention) == (["sent"], ["reversed_after_sending"])
    assert books.statement.claim_back_centavos == NET - 19_950
    books.news(at_bank("A", "success"))
    assert books.attention == ["reversed_after_sending"]


def test_a_credit_reversed_after_it_was_paid_is_money_to_claim_back(books: Books) -> None:
    """All of it."""
    books.credit()
    books.send("A")
    books.news(at_bank("A", "success"))
    books.reverse(0)
    assert (books.states, books.attention) == (["settled"], ["reversed_after_sending"])
    assert books.statement.claim_back_centavos == NET


@pytest.mark.parametrize(("remaining", "states"), [(20_000, ["sending"]), (0, ["stopped"])])
def test_a_reversal_while_unclear_waits_for_the_look_up_that_finds_nothing(
    books: Books, remaining: int, states: list[str]
) -> None:
    """Only then is it known that the bank has nothing: the transfer shrinks or stops, the matter closes."""
    books.credit()
    books.unclear(books.claim())
    books.reverse(remaining)
    assert books.attention == ["reversed_after_sending"]
    books.become_due()
    verdict = books.look_up(books.claim())
    assert (books.states, books.attention) == (states, [])
    assert (verdict.to_send.amount_centavos if verdict.to_send else None) == (19_950 if remaining else None)


def test_a_reversal_while_unclear_is_claimed_back_when_the_look_up_finds_it(books: Books) -> None:
    """It was sent before the reversal was known."""
    books.credit()
    books.unclear(books.claim())
    books.reverse(0)
    books.become_due()
    books.look_up(books.claim(), at_bank("A"))
    assert (books.states, books.attention) == (["sent"], ["reversed_after_sending"])


def test_a_released_transfer_is_not_shrunk_before_the_bank_was_asked(books: Books) -> None:
    """Its call was begun once: whether the bank has it is not known, whatever the release said."""
    books.credit()
    books.release(books.claim())
    books.reverse(20_000)
    assert (books.row().amount_centavos, books.attention) == (NET, ["reversed_after_sending"])


def test_a_failed_transfer_of_a_reversed_credit_is_replaced_by_what_is_still_owed(books: Books) -> None:
    """Nothing is to be claimed back then: the first one never moved any money."""
    books.credit()
    books.send("A")
    books.reverse(20_000)
    books.lose("A", EMPTY)
    assert (books.states, books.attention) == (["failed", "pending"], [])
    assert books.row(2).amount_centavos == 19_950


def test_a_failed_transfer_of_a_wholly_reversed_credit_is_not_replaced(books: Books) -> None:
    """Nothing is owed."""
    books.credit()
    books.send("A")
    books.reverse(0)
    books.lose("A", EMPTY)
    assert (books.states, books.attention) == (["failed"], [])
    assert books.statement.reversed_centavos == NET


def test_the_full_amount_found_at_the_bank_undoes_a_withheld_part(books: Books) -> None:
    """The reissue had been lowered, but the first transfer lives with all of it: that is to be claimed back."""
    books.credit()
    books.send("B")
    books.lose("B", DUPLICATED)
    books.reverse(20_000)
    assert books.row(2).amount_centavos == 19_950
    books.become_due()
    books.look_up(books.claim(), at_bank("B", "failed"), at_bank("A"))
    assert (books.states, books.attention) == (["sent", "stopped"], ["reversed_after_sending"])
    assert books.statement.claim_back_centavos == NET - 19_950
    assert books.credit_row().withheld_centavos == 0


def test_a_late_success_after_everything_was_withheld_is_claimed_back(books: Books) -> None:
    """The twin lived after all, and no transfer was live any more."""
    books.credit()
    books.send("B")
    books.reverse(0)
    books.lose("B", DUPLICATED)
    assert books.states == ["failed"]
    books.news(at_bank("A", "success"))
    assert (books.states, books.attention) == (["settled"], ["reversed_after_sending"])
    assert books.statement.claim_back_centavos == NET


def test_a_dead_transfer_of_a_reversed_credit_is_raised(books: Books) -> None:
    """Whether the bank has it, a person must find out before anything is sent."""
    books.credit()
    books.refuse(books.claim())
    books.reverse(0)
    assert books.attention == ["reversed_after_sending", "transfer_dead"]


def test_a_reversal_of_an_unknown_credit_waits_for_it(books: Books) -> None:
    """Events come in any order."""
    books.reverse(20_000)
    books.credit()
    assert books.claim().amount_centavos == 19_950


def test_a_repeated_reversal_changes_nothing(books: Books) -> None:
    """The same log through two webhooks."""
    books.credit()
    books.reverse(20_000)
    same = an_invoice_log("reversed", INVOICE, 20_000, 50, f"reversed-{INVOICE}-20000")
    books.tell(same, event_id="another-event")
    assert books.row().amount_centavos == 19_950
    assert books.history() == ["lowered"]
