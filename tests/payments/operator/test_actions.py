"""What an operator may and may not do, that it is recorded, and that two operators cannot both do it."""

import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial

import pytest

from payments.errors import ActionRefused
from payments.invoice import Payer
from payments.ledger import batches, transfers
from payments.ledger.lineages import GENERATIONS_MAX
from payments.ledger.pauses import Pause, paused
from payments.operator import actions
from payments.operator.actions import Action, Operator
from payments.operator.lists import ACTIONS, CREDITS, TRANSFERS
from payments.storage.database import Database, open_database
from payments.transfer import external_id_for
from tests.payments.builders import INVOICE, NOW, a_policy, at_bank, english
from tests.payments.conftest import Books

ANA = Operator("ana", "the account is open again")
FIRST = external_id_for(INVOICE, 1)


def retry(books: Books, generation: int = 1) -> Action:
    """Ana retries a transfer of the default invoice."""
    return actions.retry_transfer(
        books.database, external_id_for(INVOICE, generation), ANA, books.policy, books.now
    )


def abandon(books: Books, generation: int = 1) -> Action:
    """Ana abandons it."""
    return actions.abandon_transfer(
        books.database, external_id_for(INVOICE, generation), ANA, books.policy, books.now
    )


def assert_refused(do: Callable[[], object], says: str, books: Books) -> None:
    """The action is refused with these words, and leaves nothing behind."""
    before = len(ACTIONS.read(books.database).items)
    with pytest.raises(ActionRefused) as refused:
        do()
    assert re.search(says, english(str(refused.value)))
    assert len(ACTIONS.read(books.database).items) == before


# --- who and why ---


@pytest.mark.parametrize(
    ("who", "reason", "says"),
    [
        ("", "a good reason", "your name must have 1 to 64 characters"),
        (" \n", "a good reason", "your name must have 1 to 64"),
        ("a" * 65, "a good reason", "your name must have 1 to 64"),
        ("ana", "ok", "the reason must have 3 to 500 characters"),
        ("ana", "x" * 501, "the reason must have 3 to 500"),
    ],
)
def test_an_action_needs_a_name_and_a_reason(who: str, reason: str, says: str) -> None:
    """Of a length that can be read."""
    with pytest.raises(ActionRefused) as refused:
        Operator(who, reason)
    assert says in english(str(refused.value))


def test_what_a_person_typed_is_kept_on_one_line_and_storable(books: Books) -> None:
    """No control characters, no halves of characters: both databases take it, and no terminal obeys it."""
    by = Operator(" ana\x1b[2J ", "line one\nline\x00 two \udc80")
    action = actions.pause(books.database, "issuing", by, books.now)
    assert (action.who, action.reason) == ("ana [2J", "line one line two ?")
    assert ACTIONS.read(books.database).items == [action]


def test_an_action_is_recorded_with_who_when_and_why(books: Books) -> None:
    """And with its result."""
    books.credit()
    books.refuse(books.claim())
    action = retry(books)
    assert (action.who, action.at, action.reason) == ("ana", books.now, "the account is open again")
    assert (action.kind, action.subject) == ("retry", FIRST)
    assert english(action.result) == "retry queued; repasse checks with the bank before sending"
    assert ACTIONS.read(books.database).items == [action]


def test_an_action_whose_work_runs_elsewhere_is_recorded(books: Books) -> None:
    """Others have functions of their own."""
    action = actions.record_action(books.database, "reconcile", "the bank", "found 3", ANA, books.now)
    assert ACTIONS.read(books.database).items == [action]
    with pytest.raises(ValueError, match="'retry' is an action with a function of its own"):
        actions.record_action(books.database, "retry", FIRST, "", ANA, books.now)


# --- retry ---


def test_a_dead_transfer_is_looked_up_before_it_is_sent_again(books: Books) -> None:
    """By its whole lineage; under the same external_id when the bank has nothing of it."""
    books.credit()
    books.refuse(books.claim())
    assert books.attention == ["transfer_dead"]
    retry(books)
    assert books.attention == []
    claim = books.claim("call-9")
    assert not claim.is_fresh
    assert claim.look_up_tag == FIRST
    verdict = books.look_up(claim)
    assert verdict.to_send is not None
    assert verdict.to_send.external_id == FIRST
    books.accept(verdict.to_send, at_bank("A"))
    assert books.states == ["sent"]


def test_one_that_died_before_it_was_ever_claimed_is_not_taken_for_fresh(books: Books) -> None:
    """The bank had paid something else under its name: sending it blindly would be a second payment."""
    books.credit()
    books.news(at_bank("A", "success", amount=1))
    assert books.states == ["dead"]
    with books.database.transaction() as connection:  # as if that sighting had been another deployment's
        connection.exec_driver_sql("UPDATE bank_transfers SET status = 'created'")
    retry(books)
    assert not books.claim().is_fresh


def test_when_reissues_are_used_up_a_retry_grants_one_more_immediately(books: Books) -> None:
    """Looked up first, as ever; and the one after that is dead again, until an operator retries it."""
    books.policy = a_policy(reissue_max=0)
    books.credit()
    books.send()
    books.lose("A", "no funds")
    assert books.states == ["dead"]

    retry(books)
    assert books.look_up(books.claim(), at_bank("A", "failed")).outcome == "failed"
    assert books.states == ["failed", "pending"]
    assert books.row(2).due_at == books.now

    claim = books.claim()
    assert not claim.is_fresh
    ready = books.look_up(claim, at_bank("A", "failed")).to_send
    assert ready is not None
    books.accept(ready, at_bank("B", generation=2))
    books.lose("B", "no funds", generation=2)
    assert books.states == ["failed", "dead"]

    retry(books, 2)
    verdict = books.look_up(books.claim(), at_bank("A", "failed"), at_bank("B", "failed", generation=2))
    assert verdict.outcome == "failed"
    assert books.states == ["failed", "failed", "pending"]


def test_a_retry_may_not_outgrow_what_a_look_up_judges(books: Books) -> None:
    """After the last generation it stays dead, and the refusal says what to do."""
    books.policy = a_policy(reissue_max=0)
    books.credit()
    books.send()
    books.lose("A", "no funds")
    there = [at_bank("A", "failed")]
    for generation in range(1, GENERATIONS_MAX):
        retry(books, generation)
        assert books.look_up(books.claim(), *there).outcome == "failed"
        ready = books.look_up(books.claim(), *there).to_send
        assert ready is not None
        bank_id = f"B{generation}"
        books.accept(ready, at_bank(bank_id, generation=generation + 1))
        books.lose(bank_id, "no funds", generation=generation + 1)
        there.append(at_bank(bank_id, "failed", generation=generation + 1))
    assert books.states == ["failed"] * (GENERATIONS_MAX - 1) + ["dead"]
    assert_refused(
        lambda: retry(books, GENERATIONS_MAX), f"{GENERATIONS_MAX} transfers of this credit", books
    )


def test_a_waiting_transfer_becomes_due_now(books: Books) -> None:
    """Whether it must be looked up does not change."""
    books.credit()
    books.release(books.claim())
    books.pass_time(1)
    assert books.claim_all() == []
    action = retry(books)
    assert english(action.result) == "queued to be tried now"
    assert not books.claim().is_fresh
    assert books.row().attempt == 2


def test_trying_a_reissue_now_grants_no_other(books: Books) -> None:
    """Only retrying a dead one does."""
    books.policy = a_policy(reissue_max=1)
    books.credit()
    books.send()
    books.lose("A", "no funds")
    retry(books, 2)
    ready = books.ready(at_bank("A", "failed"))
    books.accept(ready, at_bank("B", generation=2))
    books.lose("B", "no funds", generation=2)
    assert books.states == ["failed", "dead"]


@pytest.mark.parametrize(
    ("state", "says"),
    [
        ("due", "is queued and due already; it is sent once a web process runs"),
        ("sending", "cannot retry .*: it is being sent"),
        ("sent", "cannot retry .*: the bank has accepted it"),
        ("settled", "cannot retry .*: already settled"),
        ("failed", "cannot retry .*: it failed at the bank"),
        ("stopped", "cannot retry .*: it was withdrawn"),
    ],
)
def test_a_retry_that_is_not_allowed_says_why(books: Books, state: str, says: str) -> None:
    """In every state but dead and waiting."""
    books.credit()
    if state == "sending":
        books.claim()
    if state in ("sent", "settled", "failed"):
        books.send()
    if state == "settled":
        books.news(at_bank("A", "success"))
    if state == "failed":
        books.lose()
    if state == "stopped":
        books.reverse()
    assert_refused(lambda: retry(books), says, books)


def test_a_retry_of_a_reversed_credit_is_refused(books: Books) -> None:
    """Nothing is owed."""
    books.credit()
    books.refuse(books.claim())
    books.reverse()
    assert_refused(lambda: retry(books), "its credit was reversed, so nothing is owed", books)


def test_a_retry_of_what_the_bank_has_paid_is_refused(books: Books) -> None:
    """Under our name, but not what we ordered: a person must look."""
    books.credit()
    books.news(at_bank("A", "success", amount=1))
    assert_refused(lambda: retry(books), "the bank reports success for A", books)


def test_an_unknown_transfer_is_refused(books: Books) -> None:
    """With what to give."""
    for external_id in ("", "credit-nobody", "'; --", "\udc80\x00", "x" * 9999):
        assert_refused(
            partial(actions.retry_transfer, books.database, external_id, ANA, books.policy, books.now),
            "there is no transfer .*: its ID is like credit-",
            books,
        )


def test_a_retry_while_forwarding_is_paused_says_so(books: Books) -> None:
    """It is done, and waits."""
    books.credit()
    books.refuse(books.claim())
    actions.pause(books.database, "forwarding", ANA, books.now)
    assert "forwarding is paused, so it waits" in english(retry(books).result)


# --- abandon ---


def test_an_abandoned_transfer_stays_dead_and_is_closed(books: Books) -> None:
    """It stays in the statement; no action moves it any more."""
    books.credit()
    books.refuse(books.claim())
    abandon(books)
    assert books.states == ["dead"]
    assert books.attention == []
    assert books.statement.dead_centavos == 48_662
    assert english(books.row().reason) == "abandoned by ana: the account is open again"
    assert_refused(lambda: retry(books), "abandoned by ana", books)
    assert_refused(lambda: abandon(books), "abandoned by ana", books)
    statement = books.statement
    assert (statement.dead_centavos, statement.abandoned, statement.abandoned_centavos) == (48_662, 1, 48_662)
    assert TRANSFERS.read(books.database, None, choice="dead").items == []
    [line] = TRANSFERS.read(books.database, None, choice="abandoned").items
    assert (line.state, line.shown_state) == ("dead", "abandoned")
    [credit] = CREDITS.read(books.database).items
    assert credit.transfer_state == "abandoned"


@pytest.mark.parametrize("state", ["pending", "sending", "sent", "settled"])
def test_only_a_dead_one_can_be_abandoned(books: Books, state: str) -> None:
    """Any other may still be on its way."""
    books.credit()
    if state == "sending":
        books.claim()
    if state in ("sent", "settled"):
        books.send()
    if state == "settled":
        books.news(at_bank("A", "success"))
    assert_refused(lambda: abandon(books), "only a blocked transfer can be abandoned", books)


@pytest.mark.parametrize("generation", [1, 2])
def test_success_after_abandoning_settles_and_warns_of_a_double_payment(
    books: Books, generation: int
) -> None:
    """It may have been paid by hand, whichever transfer of the lineage the bank paid."""
    books.policy = a_policy(reissue_max=1)
    books.credit()
    books.send()
    books.lose("A", "no funds")
    books.become_due()
    ready = books.ready(at_bank("A", "failed"))
    books.accept(ready, at_bank("B", generation=2))
    books.lose("B", "no funds", generation=2)
    abandon(books, 2)
    books.news(at_bank("AB"[generation - 1], "success", generation=generation))
    assert books.states == (["settled", "stopped"] if generation == 1 else ["failed", "settled"])
    assert books.attention == ["paid_twice"]


# --- attention ---


def test_an_attention_is_resolved_once(books: Books) -> None:
    """The refusal says when."""
    books.credit(amount=50)
    action = actions.close_attention(books.database, 1, ANA, books.now)
    assert english(action.result) == f"resolved: Nothing to forward, {INVOICE}"
    assert books.attention == []
    assert_refused(
        lambda: actions.close_attention(books.database, 1, ANA, books.now),
        "item 1 was resolved already, at 2026-03-02 15:00:00 UTC",
        books,
    )


def test_an_unknown_attention_is_refused(books: Books) -> None:
    """Also a number that no database holds."""
    for number in (7, 0, -1, 2**70):
        assert_refused(
            partial(actions.close_attention, books.database, number, ANA, books.now),
            "there is no item",
            books,
        )


# --- pause and resume ---


def test_paused_forwarding_claims_nothing_in_any_process_or_after_any_restart(books: Books) -> None:
    """Credits are still taken in; the forwarder is not kept awake by what it may not claim."""
    actions.pause(books.database, "forwarding", ANA, books.now)
    books.credit()
    restarted = open_database(books.database.url.render_as_string(hide_password=False))
    for database in (books.database, restarted):
        assert transfers.claim(database, "call", books.policy, 100, books.now) == []
        assert transfers.next_due_at(database) is None
    restarted.close()
    assert books.states == ["pending"]
    assert paused(books.database) == {"forwarding": Pause(books.now, ANA.who, ANA.reason)}
    actions.resume(books.database, "forwarding", ANA, books.now)
    assert paused(books.database) == {}
    assert books.claim().is_fresh


def test_what_was_claimed_before_a_pause_is_finished(books: Books) -> None:
    """A call under way cannot be taken back."""
    books.credit()
    claim = books.claim()
    actions.pause(books.database, "forwarding", ANA, books.now)
    books.accept(claim, at_bank("A"))
    books.news(at_bank("A", "success"))
    assert books.states == ["settled"]


def test_paused_issuing_plans_claims_and_skips_nothing(books: Books) -> None:
    """Not even a slot that is to be skipped when late: that is decided when it runs again."""
    database = books.database
    plan = [(Payer("Ana", "529.982.247-25"), 100)]
    assert batches.plan_batch(database, "a", 0, plan, NOW, late=False, now=NOW)
    actions.pause(database, "issuing", ANA, NOW)
    assert batches.claim_batch(database, 60, NOW) is None
    assert not batches.plan_batch(database, "b", 1, plan, NOW, late=False, now=NOW)
    assert not batches.skip_slot(database, "c", 2, NOW, NOW)
    assert batches.taken_slots(database) == {0}
    actions.resume(database, "issuing", ANA, NOW)
    claim = batches.claim_batch(database, 60, NOW)
    assert claim is not None
    assert claim.tag == "a"


def test_one_switch_does_not_turn_the_other(books: Books) -> None:
    """Forwarding goes on while issuing is paused."""
    actions.pause(books.database, "issuing", ANA, books.now)
    books.credit()
    assert books.claim().is_fresh


def test_pausing_twice_and_resuming_what_runs_are_refused(books: Books) -> None:
    """With since when."""
    database = books.database
    assert_refused(lambda: actions.resume(database, "issuing", ANA, NOW), "issuing is not paused", books)
    actions.pause(database, "issuing", ANA, NOW)
    assert_refused(
        lambda: actions.pause(database, "issuing", ANA, NOW),
        "issuing has been paused since 2026-03-02 15:00:00 UTC by ana: the account is open again",
        books,
    )
    actions.resume(database, "issuing", ANA, NOW)
    assert_refused(lambda: actions.resume(database, "issuing", ANA, NOW), "issuing is not paused", books)


# --- two operators ---


@pytest.mark.parametrize("deed", ["retry", "abandon", "either", "resolve", "pause"])
def test_two_operators_cannot_both_do_it(books: Books, deed: str) -> None:
    """Each on a connection of their own, as in two processes: one action is recorded, the other is refused."""
    books.credit()
    books.refuse(books.claim())
    url = books.database.url.render_as_string(hide_password=False)
    ready = threading.Barrier(2)
    deeds: dict[str, Callable[[Database, Operator], object]] = {
        "retry": lambda database, by: actions.retry_transfer(database, FIRST, by, books.policy, books.now),
        "abandon": lambda database, by: actions.abandon_transfer(
            database, FIRST, by, books.policy, books.now
        ),
        "resolve": lambda database, by: actions.close_attention(database, 1, by, books.now),
        "pause": lambda database, by: actions.pause(database, "forwarding", by, books.now),
    }

    def run(name: str, do: Callable[[Database, Operator], object]) -> str:
        with closing(open_database(url)) as database:
            ready.wait(timeout=10)
            try:
                do(database, Operator(name, "I was first"))
            except ActionRefused:
                return "refused"
            return "done"

    chosen = [deeds["retry"], deeds["abandon"]] if deed == "either" else [deeds[deed]] * 2
    with ThreadPoolExecutor(2) as threads:
        outcomes = list(threads.map(run, ("ana", "rui"), chosen))
    assert sorted(outcomes) == ["done", "refused"]
    assert len(ACTIONS.read(books.database).items) == 1


# --- a batch by hand ---


def test_a_requested_batch_is_planned_and_claimed_once(books: Books) -> None:
    """The request and its action are one transaction; the worker plans the batch under the requested tag."""
    database = books.database
    action = actions.request_batch(database, "by-hand", ANA, NOW)
    assert (action.kind, action.subject) == ("issue", "by-hand")
    assert batches.claim_batch(database, 60, NOW) is None
    assert batches.requested_batches(database, NOW) == ["by-hand"]
    plan = [(Payer("Ana", "529.982.247-25"), 100)]
    assert batches.plan_batch(database, "by-hand", None, plan, NOW, late=False, now=NOW)
    assert not batches.plan_batch(database, "by-hand", None, plan, NOW, late=False, now=NOW)
    assert batches.requested_batches(database, NOW) == []
    claim = batches.claim_batch(database, 60, NOW)
    assert claim is not None
    assert [order.tag for order in claim.missing] == ["by-hand-01"]
