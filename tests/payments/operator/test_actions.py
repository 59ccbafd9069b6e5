"""What an operator may do and may not, that it is recorded, and that two of them cannot both do it."""

import json
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from payments.errors import ActRefused
from payments.event import Event, read_event, read_log
from payments.invoice import Payer
from payments.ledger import bank_reports, batches, inbox, transfers
from payments.ledger.bank_reports import UNSETTLED_AFTER
from payments.ledger.lineages import GENERATIONS_MAX
from payments.operator import actions as acts
from payments.operator import replay
from payments.operator.actions import Act, Operator
from payments.operator.lists import list_acts, list_attentions
from payments.operator.statement import recount_statement
from payments.storage.database import Database, open_database
from payments.storage.schema import inbox_events
from payments.transfer import external_id_for
from tests.payments.builders import INVOICE, NOW, a_body, a_policy, an_invoice_log, at_bank
from tests.payments.conftest import Books

ANA = Operator("ana", "the account is open again")
FIRST = external_id_for(INVOICE, 1)


def retry(books: Books, generation: int = 1) -> Act:
    """Ana retries a transfer of the default invoice."""
    return acts.retry_transfer(
        books.database, external_id_for(INVOICE, generation), ANA, books.policy, books.now
    )


def abandon(books: Books, generation: int = 1) -> Act:
    """Ana gives it up."""
    return acts.abandon_transfer(
        books.database, external_id_for(INVOICE, generation), ANA, books.policy, books.now
    )


def refused(do: Callable[[], object], says: str, books: Books) -> None:
    """An act that is refused leaves nothing behind."""
    before = len(list_acts(books.database, None).items)
    with pytest.raises(ActRefused, match=says):
        do()
    assert len(list_acts(books.database, None).items) == before


# --- who and why ---


@pytest.mark.parametrize(
    ("who", "reason", "says"),
    [
        ("", "a good reason", "has 0 characters: give 1 to 64"),
        (" \n", "a good reason", "has 0 characters"),
        ("a" * 65, "a good reason", "has 65 characters"),
        ("ana", "ok", "the reason has 2 characters: give 3 to 500"),
        ("ana", "x" * 501, "the reason has 501 characters"),
    ],
)
def test_an_act_needs_a_name_and_a_reason(who: str, reason: str, says: str) -> None:
    """Of a length that can be read."""
    with pytest.raises(ActRefused, match=says):
        Operator(who, reason)


def test_what_a_person_typed_is_kept_on_one_line_and_storable(books: Books) -> None:
    """No control characters, no halves of characters: both databases take it, and no terminal obeys it."""
    by = Operator(" ana\x1b[2J ", "line one\nline\x00 two \udc80")
    act = acts.pause(books.database, "issuing", by, books.now)
    assert (act.who, act.reason) == ("ana [2J", "line one line two ?")
    assert list_acts(books.database, None).items == [act]


def test_an_act_is_recorded_with_who_when_and_why(books: Books) -> None:
    """And with what came of it."""
    books.credit()
    books.refuse(books.claim())
    act = retry(books)
    assert (act.who, act.at, act.reason) == ("ana", books.now, "the account is open again")
    assert (act.kind, act.subject) == ("retry", FIRST)
    assert act.result == "it was dead, and is pending; the bank is asked before anything is sent"
    assert list_acts(books.database, None).items == [act]


def test_an_act_whose_work_runs_elsewhere_is_recorded(books: Books) -> None:
    """Others have functions of their own."""
    act = acts.record_act(books.database, "reconcile", "the bank", "found 3", ANA, books.now)
    assert list_acts(books.database, None).items == [act]
    with pytest.raises(ValueError, match="'retry' is an act with a function of its own"):
        acts.record_act(books.database, "retry", FIRST, "", ANA, books.now)


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


def test_a_dead_transfer_that_the_bank_has_is_adopted(books: Books) -> None:
    """The refusal was of a repetition; the money was on its way."""
    books.credit()
    books.refuse(books.claim())
    retry(books)
    assert books.look_up(books.claim(), at_bank("A", "processing")).outcome == "found"
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


def test_when_reissues_are_used_up_a_retry_grants_one_more_at_once(books: Books) -> None:
    """Looked up first, as ever; and the one after that is dead again, until somebody retries it."""
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


def test_a_retry_sends_nothing_while_the_bank_hides_what_it_told_of(books: Books) -> None:
    """It waits, like every other."""
    books.policy = a_policy(reissue_max=0)
    books.credit()
    books.send()
    books.lose("A", "no funds")
    retry(books)
    assert books.look_up(books.claim()).outcome == "released"
    assert books.states == ["pending"]


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
    refused(lambda: retry(books, GENERATIONS_MAX), f"{GENERATIONS_MAX} transfers of this credit", books)


def test_a_waiting_transfer_becomes_due_now(books: Books) -> None:
    """Whether it must be looked up does not change."""
    books.credit()
    books.release(books.claim())
    books.pass_time(1)
    assert books.claim_all() == []
    act = retry(books)
    assert act.result == "it waited, and is due now"
    assert not books.claim().is_fresh
    assert books.row().attempt == 2


def test_hurrying_a_reissue_grants_no_other(books: Books) -> None:
    """Only retrying a dead one does."""
    books.policy = a_policy(reissue_max=1)
    books.credit()
    books.send()
    books.lose("A", "no funds")
    retry(books, 2)
    ready = books.look_up(books.claim(), at_bank("A", "failed")).to_send
    assert ready is not None
    books.accept(ready, at_bank("B", generation=2))
    books.lose("B", "no funds", generation=2)
    assert books.states == ["failed", "dead"]


@pytest.mark.parametrize(
    ("state", "says"),
    [
        ("due", "is pending and due already: it is sent as soon as a web process runs"),
        ("sending", "is sending: somebody is sending it"),
        ("sent", "is sent: the bank has accepted it"),
        ("settled", "is settled: it is paid"),
        ("failed", "is failed: it failed at the bank for good"),
        ("stopped", "is stopped: it was withdrawn"),
    ],
)
def test_a_retry_that_is_not_legal_says_why(books: Books, state: str, says: str) -> None:
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
    refused(lambda: retry(books), says, books)


def test_a_retry_of_a_reversed_credit_is_refused(books: Books) -> None:
    """Nothing is owed."""
    books.credit()
    books.refuse(books.claim())
    books.reverse()
    refused(lambda: retry(books), "its credit was reversed, nothing is owed", books)


def test_a_retry_of_what_the_bank_has_paid_is_refused(books: Books) -> None:
    """Under our name, but not what we ordered: a person must look."""
    books.credit()
    books.news(at_bank("A", "success", amount=1))
    refused(lambda: retry(books), "the bank reports success for A", books)


@pytest.mark.parametrize("external_id", ["", "credit-nobody", "'; --", "\udc80\x00", "x" * 9999])
def test_an_unknown_transfer_is_refused(books: Books, external_id: str) -> None:
    """With what to give."""
    refused(
        lambda: acts.retry_transfer(books.database, external_id, ANA, books.policy, books.now),
        "there is no transfer .*: give its external_id",
        books,
    )


def test_a_retry_while_forwarding_is_paused_says_so(books: Books) -> None:
    """It is done, and waits."""
    books.credit()
    books.refuse(books.claim())
    acts.pause(books.database, "forwarding", ANA, books.now)
    assert "forwarding is paused, so it waits" in retry(books).result


# --- abandon ---


def test_an_abandoned_transfer_stays_dead_and_is_closed(books: Books) -> None:
    """In the statement as ever; no act moves it any more."""
    books.credit()
    books.refuse(books.claim())
    abandon(books)
    assert books.states == ["dead"]
    assert books.attention == []
    assert books.statement.dead_centavos == 48_662
    assert books.row().reason == "abandoned by ana: the account is open again"
    refused(lambda: retry(books), "was given up for good", books)
    refused(lambda: abandon(books), "was given up for good", books)


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
    refused(lambda: abandon(books), f"is {state}: only a dead transfer", books)


@pytest.mark.parametrize("generation", [1, 2])
def test_success_after_abandoning_settles_and_tells_that_it_may_be_paid_twice(
    books: Books, generation: int
) -> None:
    """Whoever paid by hand must know, whichever of the lineage the bank paid."""
    books.policy = a_policy(reissue_max=1)
    books.credit()
    books.send()
    books.lose("A", "no funds")
    books.become_due()
    ready = books.look_up(books.claim(), at_bank("A", "failed")).to_send
    assert ready is not None
    books.accept(ready, at_bank("B", generation=2))
    books.lose("B", "no funds", generation=2)
    abandon(books, 2)
    books.news(at_bank("AB"[generation - 1], "success", generation=generation))
    assert books.states == (["settled", "stopped"] if generation == 1 else ["failed", "settled"])
    assert books.attention == ["paid_twice"]


# --- matters ---


def test_a_matter_is_closed_once(books: Books) -> None:
    """The second is told when it was."""
    books.credit(amount=50)
    act = acts.resolve_attention(books.database, 1, ANA, books.now)
    assert act.result == f"closed nothing_to_forward of {INVOICE}"
    assert books.attention == []
    refused(
        lambda: acts.resolve_attention(books.database, 1, ANA, books.now),
        r"matter 1 was closed at 2026-03-02 15:00:00 UTC already",
        books,
    )


@pytest.mark.parametrize("attention_id", [7, 0, -1, 2**70])
def test_an_unknown_matter_is_refused(books: Books, attention_id: int) -> None:
    """Also a number that no database holds."""
    refused(
        lambda: acts.resolve_attention(books.database, attention_id, ANA, books.now),
        "there is no matter",
        books,
    )


# --- pause and resume ---


def test_paused_forwarding_claims_nothing_in_any_process_or_after_any_restart(books: Books) -> None:
    """Credits are still taken in; the forwarder is not kept awake by what it may not claim."""
    acts.pause(books.database, "forwarding", ANA, books.now)
    books.credit()
    restarted = open_database(books.database.url.render_as_string(hide_password=False))
    for database in (books.database, restarted):
        assert transfers.claim(database, "call", books.policy, 100, books.now) == []
        assert transfers.next_due_at(database) is None
    restarted.close()
    assert books.states == ["pending"]
    assert acts.paused(books.database) == {"forwarding": books.now}
    acts.resume(books.database, "forwarding", ANA, books.now)
    assert acts.paused(books.database) == {}
    assert books.claim().is_fresh


def test_what_was_claimed_before_a_pause_is_finished(books: Books) -> None:
    """A call under way cannot be taken back."""
    books.credit()
    claim = books.claim()
    acts.pause(books.database, "forwarding", ANA, books.now)
    books.accept(claim, at_bank("A"))
    books.news(at_bank("A", "success"))
    assert books.states == ["settled"]


def test_paused_issuing_plans_claims_and_skips_nothing(books: Books) -> None:
    """Not even a slot that is to be skipped when late: that is decided when it runs again."""
    database = books.database
    plan = [(Payer("Ana", "529.982.247-25"), 100)]
    assert batches.plan_batch(database, "a", 0, plan, NOW, late=False, now=NOW)
    acts.pause(database, "issuing", ANA, NOW)
    assert batches.claim_batch(database, 60, NOW) is None
    assert not batches.plan_batch(database, "b", 1, plan, NOW, late=False, now=NOW)
    assert not batches.skip_slot(database, "c", 2, NOW, NOW)
    assert batches.taken_slots(database) == {0}
    acts.resume(database, "issuing", ANA, NOW)
    claim = batches.claim_batch(database, 60, NOW)
    assert claim is not None
    assert claim.tag == "a"


def test_one_switch_does_not_turn_the_other(books: Books) -> None:
    """Forwarding goes on while issuing is paused."""
    acts.pause(books.database, "issuing", ANA, books.now)
    books.credit()
    assert books.claim().is_fresh


def test_pausing_twice_and_resuming_what_runs_are_refused(books: Books) -> None:
    """With since when."""
    database = books.database
    refused(lambda: acts.resume(database, "issuing", ANA, NOW), "issuing is not paused", books)
    acts.pause(database, "issuing", ANA, NOW)
    refused(
        lambda: acts.pause(database, "issuing", ANA, NOW),
        "issuing is paused already, since 2026-03-02 15:00:00 UTC",
        books,
    )
    acts.resume(database, "issuing", ANA, NOW)
    refused(lambda: acts.resume(database, "issuing", ANA, NOW), "issuing is not paused", books)


# --- two operators at once ---


@pytest.mark.parametrize("deed", ["retry", "abandon", "either", "resolve", "pause"])
def test_two_operators_at_once_cannot_both_do_it(books: Books, deed: str) -> None:
    """Each on a connection of their own, as in two processes: one act is recorded, the other refused."""
    books.credit()
    books.refuse(books.claim())
    url = books.database.url.render_as_string(hide_password=False)
    ready = threading.Barrier(2)
    outcomes: list[str] = []
    deeds: dict[str, Callable[[Database, Operator], object]] = {
        "retry": lambda database, by: acts.retry_transfer(database, FIRST, by, books.policy, books.now),
        "abandon": lambda database, by: acts.abandon_transfer(database, FIRST, by, books.policy, books.now),
        "resolve": lambda database, by: acts.resolve_attention(database, 1, by, books.now),
        "pause": lambda database, by: acts.pause(database, "forwarding", by, books.now),
    }

    def act(name: str, do: Callable[[Database, Operator], object]) -> None:
        database = open_database(url)
        try:
            ready.wait(timeout=10)
            do(database, Operator(name, "I was first"))
            outcomes.append("done")
        except ActRefused:
            outcomes.append("refused")
        finally:
            database.close()

    chosen = [deeds["retry"], deeds["abandon"]] if deed == "either" else [deeds[deed]] * 2
    threads = [
        threading.Thread(target=act, args=(name, do)) for name, do in zip(("ana", "rui"), chosen, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert sorted(outcomes) == ["done", "refused"]
    assert len(list_acts(books.database, None).items) == 1


# --- replay ---

ODD = an_invoice_log("credited", amount="48712", log_id="odd")


@pytest.fixture
def newer_readers(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """A program of tomorrow that can read ODD: installs itself when called."""

    def read(body: bytes) -> Event:
        return read_event(body.replace(b'"amount": "48712"', b'"amount": 48712'))

    def install() -> None:
        def read_and_keep(body: bytes) -> Event:
            return read(body)._replace(body=body)

        monkeypatch.setattr(replay, "read_event", read_and_keep)

    return install


def replay_odd(books: Books) -> tuple[Act, inbox.Receipt]:
    """Ana replays the event that could not be read."""
    return replay.replay_event(books.database, "event-of-odd", ANA, books.policy, books.now)


def inbox_row(books: Books, event_id: str) -> Any:
    """An event as it is stored."""
    with books.database.reading() as connection:
        return connection.execute(select(inbox_events).where(inbox_events.c.event_id == event_id)).one()


def test_a_replay_reads_what_an_older_program_could_not(
    books: Books, newer_readers: Callable[[], None]
) -> None:
    """Its credit is recorded and forwarded, its row rewritten, its matter closed."""
    [receipt] = books.tell(ODD)
    assert receipt.outcome == "unreadable"
    newer_readers()
    act, receipt = replay_odd(books)
    assert receipt.outcome == "credit"
    assert receipt.net_centavos == 48_662
    assert act.result == "it was unreadable, and is now credit"
    row = inbox_row(books, "event-of-odd")
    assert (row.outcome, row.reason, row.subject) == ("credit", None, INVOICE)
    assert row.body == a_body(ODD)
    assert books.attention == []
    assert books.claim().amount_centavos == 48_662


def test_a_replay_of_what_is_still_unreadable_changes_nothing(books: Books) -> None:
    """The matter stays open."""
    books.tell(ODD)
    _, receipt = replay_odd(books)
    assert receipt.outcome == "unreadable"
    assert books.attention == ["unreadable_event"]


def test_a_replay_of_what_had_its_effect_changes_nothing(books: Books) -> None:
    """Every kind of event, after all of them had their say; no matter that a person closed opens again."""
    books.credit()
    books.credit(log_id="second", amount=5)
    books.reverse(40_000)
    books.send()
    books.news(at_bank("A", "success", amount=39_950))
    books.news(at_bank("A", "failed", amount=39_950), "taken back")
    books.tell(an_invoice_log("created"))
    for matter in list_attentions(books.database, open_only=True, after=None).items:
        acts.resolve_attention(books.database, matter.id, ANA, books.now)
    before = (books.statement, books.states, books.history())
    matters = len(list_attentions(books.database, open_only=False, after=None).items)
    outcomes = {row.event_id: row.outcome for row in _all_events(books)}
    act, news = replay.replay_since(books.database, NOW, ANA, books.policy, books.now)
    assert news == []
    assert act.result == "6 events were read again; something new followed from 0"
    assert (books.statement, books.states, books.history()) == before
    assert len(list_attentions(books.database, open_only=False, after=None).items) == matters
    assert {row.event_id: row.outcome for row in _all_events(books)} == outcomes
    assert recount_statement(books.database).balanced


def _all_events(books: Books) -> list[Any]:
    with books.database.reading() as connection:
        return list(connection.execute(select(inbox_events)))


def test_a_replay_leaves_a_credit_that_was_not_ours(books: Books) -> None:
    """Settings that changed since do not forward what somebody else may have forwarded meanwhile."""
    books.policy = a_policy(only_issued=True)
    receipt = books.credit()
    assert receipt.outcome == "not_ours"
    books.policy = a_policy()
    _, again = replay.replay_event(books.database, receipt.event_id, ANA, books.policy, books.now)
    assert again.outcome == "known_credit"
    assert books.states == []
    assert inbox_row(books, receipt.event_id).outcome == "not_ours"


def test_a_replay_goes_through_everything_in_groups(books: Books, newer_readers: Callable[[], None]) -> None:
    """Oldest first, whatever group it falls into; also those of one moment."""
    many = replay.EVENTS_PER_TRANSACTION + 5
    books.tell(*(an_invoice_log("created", invoice_id=f"{number}") for number in range(many)))
    books.tell(ODD)
    newer_readers()
    act, news = replay.replay_since(books.database, NOW, ANA, books.policy, books.now)
    assert [receipt.outcome for receipt in news] == ["credit"]
    assert act.result == f"{many + 1} events were read again; something new followed from 1"
    assert act.subject == "since 2026-03-02T15:00:00Z"


def test_a_replay_since_later_leaves_the_earlier_alone(
    books: Books, newer_readers: Callable[[], None]
) -> None:
    """By when they were received."""
    books.tell(ODD)
    newer_readers()
    _, news = replay.replay_since(books.database, NOW + timedelta(seconds=1), ANA, books.policy, books.now)
    assert news == []


def test_an_unknown_event_is_not_replayed(books: Books) -> None:
    """It says so, by its id."""
    refused(lambda: replay_odd(books), "there is no event 'event-of-odd' in the inbox", books)


@pytest.mark.parametrize("body", [b"{}", b'{"id": "7", "type": "credited"}'])
def test_a_log_that_reconciliation_found_is_read_as_a_log(books: Books, body: bytes) -> None:
    """With its id or without; a replay knows by which reader it came."""
    event = read_log("invoice", body)
    arrival = inbox.Arrival(event)
    inbox.accept(books.database, [arrival], "reconciliation", books.policy, books.now)
    _, receipt = replay.replay_event(books.database, event.event_id, ANA, books.policy, books.now)
    assert receipt.outcome == "unreadable"
    assert inbox_row(books, event.event_id).reason == event.unreadable


def test_a_later_delivery_that_can_be_read_has_its_effect(books: Books) -> None:
    """The bank repeats the same bytes, and a newer program reads them."""
    books.tell(ODD)
    readable = read_event(a_body(ODD).replace(b'"amount": "48712"', b'"amount": 48712'))
    newer = Event(
        readable.event_id, "invoice", "credited", readable.subject, readable.fact, None, a_body(ODD)
    )
    [receipt] = inbox.accept(books.database, [inbox.Arrival(newer)], "webhook", books.policy, books.now)
    assert receipt.outcome == "credit"
    assert books.states == ["pending"]
    assert books.attention == []
    [again] = inbox.accept(books.database, [inbox.Arrival(newer)], "webhook", books.policy, books.now)
    assert again.outcome == "repeated"


def test_other_bytes_under_the_id_of_an_unreadable_event_stay_for_a_person(books: Books) -> None:
    """The bank does not change an event."""
    books.tell(ODD)
    [receipt] = books.tell(an_invoice_log("credited", log_id="odd"))
    assert receipt.outcome == "repeated"
    assert books.states == []
    assert books.attention == ["unreadable_event"]


def test_the_same_credit_by_reconciliation_closes_the_matter_of_its_unreadable_event(books: Books) -> None:
    """The money is recorded; nobody need look."""
    books.tell(ODD)
    log = an_invoice_log("credited")
    event = read_log("invoice", json.dumps(log).encode())
    inbox.accept(books.database, [inbox.Arrival(event)], "reconciliation", books.policy, books.now)
    assert books.states == ["pending"]
    assert books.attention == []


# --- what waits too long for its outcome ---


def test_a_transfer_that_the_bank_does_not_decide_is_raised_once_after_a_day(books: Books) -> None:
    """A person who has closed it is not told again; its outcome closes it."""
    books.credit()
    books.send()
    books.pass_time(UNSETTLED_AFTER.total_seconds() - 1)
    assert bank_reports.raise_unsettled(books.database, books.now) == 0
    books.pass_time(1)
    assert bank_reports.raise_unsettled(books.database, books.now) == 1
    assert books.attention == ["transfer_unsettled"]
    [matter] = list_attentions(books.database, open_only=True, after=None).items
    assert matter.detail.startswith("the bank accepted it as A at 2026-03-02 15:00 UTC")
    assert bank_reports.raise_unsettled(books.database, books.now) == 0
    acts.resolve_attention(books.database, matter.id, ANA, books.now)
    assert bank_reports.raise_unsettled(books.database, books.now) == 0


@pytest.mark.parametrize("status", ["success", "failed"])
def test_its_outcome_closes_the_matter(books: Books, status: str) -> None:
    """Either way."""
    books.credit()
    books.send()
    books.pass_time(UNSETTLED_AFTER.total_seconds())
    bank_reports.raise_unsettled(books.database, books.now)
    books.news(at_bank("A", status), *([] if status == "success" else ["no funds"]))
    assert books.attention == []
