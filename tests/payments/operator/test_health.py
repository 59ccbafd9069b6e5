"""What machines watch: ages, states and counts as of one moment."""

from dataclasses import fields, replace
from datetime import timedelta
from typing import Any

import pytest

from payments.language import language_of
from payments.ledger import batches, transfers
from payments.ledger.attention import AttentionKind
from payments.ledger.pauses import Pause
from payments.ledger.reconciliations import record_reconciliation
from payments.operator.actions import Operator, pause
from payments.operator.health import Health, UnansweredCall, headline_of, read_health
from payments.operator.processes import ClockStep, Process, record_alive, record_stopped
from payments.storage.database import Database
from payments.transfer import TransferState
from tests.payments.builders import NOW
from tests.payments.conftest import ON_SQLITE, Books
from tests.payments.ledger.test_batches import PLAN, claimed, created

MINUTE = timedelta(minutes=1)


def a_process(kind: str, number: int = 1) -> Process:
    """One of ours."""
    return Process(f"{kind}-{number}", kind, "host", number, "0.1.0")


def test_empty_books_have_every_name_and_no_age(database: Database) -> None:
    """An alert can be made only of a metric that exists from the start."""
    health = read_health(database, NOW)
    assert health.attention_by_kind == dict.fromkeys(AttentionKind, 0)
    assert health.processes_by_kind == {"web": 0, "worker": 0}
    assert health.pauses == {}
    assert (health.slots_by_state, health.slots_late) == ({}, 0)
    assert (health.reconciliation_age_seconds, health.bank_key_age_seconds) == (None, None)


def test_a_slot_is_coming_until_its_batch_is_planned_and_overdue_when_a_tenth_has_passed(
    database: Database,
) -> None:
    """18 minutes of 3 hours; a batch that was issued late stays late, one that was skipped is over."""
    batches.open_window(database, 10_800, 3, "k3", NOW)

    def slots(minutes: float) -> tuple[dict[str, int], int]:
        health = read_health(database, NOW + minutes * MINUTE)
        return {state: number for state, number in health.slots_by_state.items() if number}, health.slots_late

    assert slots(0) == ({"coming": 3}, 0)
    assert slots(18) == ({"coming": 3}, 0)
    assert slots(18.1) == ({"coming": 2, "overdue": 1}, 1)
    batches.plan_batch(database, "repasse-k3-slot-1", 0, PLAN, NOW, late=True, now=NOW)
    assert slots(5) == ({"planned": 1, "coming": 2}, 0)
    claim = claimed(database)
    assert slots(5) == ({"issuing": 1, "coming": 2}, 0)
    assert slots(20) == ({"overdue": 1, "coming": 2}, 1)
    batches.record_issued(database, claim, created(claim.missing), NOW + 20 * MINUTE)
    assert slots(20) == ({"issued": 1, "coming": 2}, 1)
    batches.skip_slot(database, "repasse-k3-slot-2", 1, NOW + 180 * MINUTE, NOW + 300 * MINUTE)
    assert slots(300) == ({"issued": 1, "skipped": 1, "coming": 1}, 1)


def test_the_age_of_reconciliation_is_that_of_the_last_complete_run(database: Database) -> None:
    """Before the first one it counts from the opening of the window: so a worker that never succeeds is noticed."""
    batches.open_window(database, 10_800, 8, "k3", NOW)
    assert read_health(database, NOW + 7 * MINUTE).reconciliation_age_seconds == 420
    record_reconciliation(database, NOW, NOW + MINUTE, 3, None)
    record_reconciliation(database, NOW + 5 * MINUTE, NOW + 6 * MINUTE, 1, "invoice logs: timeout")
    assert read_health(database, NOW + 8 * MINUTE).reconciliation_age_seconds == 480


def test_only_processes_that_are_alive_count_and_the_oldest_key_among_them(database: Database) -> None:
    """One that stopped, and one that was silent for more than twenty seconds, are not alive."""
    record_alive(database, a_process("worker"), NOW)
    record_alive(database, a_process("web", 1), NOW, NOW - 5 * MINUTE)
    record_alive(database, a_process("web", 2), NOW, NOW - 60 * MINUTE)
    record_alive(database, a_process("web", 3), NOW)
    soon = NOW + MINUTE / 4
    health = read_health(database, soon)
    assert health.processes_by_kind == {"web": 3, "worker": 1}
    assert (health.bank_key_age_seconds, health.bank_keys_missing) == (60 * 60 + 15, 1)
    record_stopped(database, a_process("web", 2), soon)
    health = read_health(database, soon)
    assert (health.processes_by_kind["web"], health.bank_key_age_seconds) == (2, 5 * 60 + 15)
    assert read_health(database, NOW + MINUTE / 2).processes_by_kind == {"web": 0, "worker": 0}


def test_a_pause_is_reported(database: Database) -> None:
    """So that an alert that follows from it can be understood."""
    pause(database, "forwarding", Operator("ana", "the destination asked for it"), NOW)
    pauses = read_health(database, NOW).pauses
    assert pauses == {"forwarding": Pause(NOW, "ana", "the destination asked for it")}


def test_a_failed_reconciliation_is_known_until_one_is_answered(database: Database) -> None:
    """A bank that answers nothing is noticed without any credit in hand."""
    record_reconciliation(database, NOW, NOW, 0, "invoice logs: 503")
    assert read_health(database, NOW).reconciliation_failure == "invoice logs: 503"
    record_reconciliation(database, NOW + MINUTE, NOW + MINUTE, 0, None)
    assert read_health(database, NOW + MINUTE).reconciliation_failure is None


def test_a_call_that_the_bank_did_not_answer_is_known_for_a_minute_while_its_process_lives(
    database: Database,
) -> None:
    """The newest; an answer replaces it, a refusal is an answer, and a web process may make no other for hours."""
    web, worker = a_process("web"), a_process("worker")

    def unanswered(minutes: float) -> tuple[str, str] | None:
        last = read_health(database, NOW + minutes * MINUTE).bank_unanswered
        return (last.kind, last.verdict) if last else None

    record_alive(database, web, NOW, None, ("not_sent", NOW))
    record_alive(database, worker, NOW, None, ("unclear", NOW + MINUTE / 4))
    assert unanswered(0.25) == ("worker", "unclear")
    record_alive(database, worker, NOW + MINUTE, None, ("rejected", NOW + MINUTE))
    assert unanswered(0.3) == ("web", "not_sent")
    record_alive(database, web, NOW + MINUTE)
    assert unanswered(1) is None


def test_a_clock_that_was_set_is_known_for_an_hour_while_its_process_lives(database: Database) -> None:
    """The last one; a process that noticed none says nothing."""
    web, worker = a_process("web"), a_process("worker")
    record_alive(database, web, NOW, clock_step=ClockStep(-7200.0, NOW))
    record_alive(database, worker, NOW + MINUTE / 4)
    assert read_health(database, NOW + MINUTE / 4).clock_step == ClockStep(-7200.0, NOW)
    record_alive(database, web, NOW + 60 * MINUTE)
    assert read_health(database, NOW + 60 * MINUTE).clock_step is None


def test_transfers_that_were_tried_in_vain_are_counted_with_the_last_answer(books: Books) -> None:
    """Given back or unclear; one that nobody has tried is not counted."""
    books.credit("7")
    books.credit("8")
    first, second = books.claim_all()
    transfers.release(books.database, [first], "the bank answered 503", books.policy, books.now)
    books.credit("9")
    health = read_health(books.database, books.now)
    assert (health.transfers_unanswered, health.unanswered_reason) == (1, "the bank answered 503")
    transfers.record_unclear(books.database, [second], "no answer in 15 s", books.policy, books.now)
    health = read_health(books.database, books.now)
    assert (health.transfers_unanswered, health.unanswered_reason) == (2, "no answer in 15 s")


# --- the headline ---


@pytest.fixture
def fine(database: Database) -> Health:
    """Everything runs and nothing has happened yet."""
    record_alive(database, a_process("web"), NOW, NOW)
    record_alive(database, a_process("worker"), NOW)
    return read_health(database, NOW)


def changed(health: Health, **changes: Any) -> Health:
    """The same with other values; names that Health does not have are the statement's."""
    own = {name: value for name, value in changes.items() if name in {each.name for each in fields(Health)}}
    of_statement = {name: value for name, value in changes.items() if name not in own}
    return replace(health, statement=replace(health.statement, **of_statement), **own)


NO_TRANSFERS = dict.fromkeys(TransferState, 0)
WAITING = {"transfers": NO_TRANSFERS | {"pending": 3}, "unforwarded_centavos": 123_456, "dead_centavos": 0}
PAUSED = Pause(NOW - timedelta(hours=2), "ana", "the bank asked for it")


@ON_SQLITE
@pytest.mark.parametrize(
    ("changes", "tone", "text"),
    [
        ({}, "good", "All is quiet"),
        ({"credits": 3}, "good", "All is well"),
        (
            {"credits": 3, **WAITING, "oldest_unforwarded_at": NOW - timedelta(seconds=2)},
            "good",
            "All is well",
        ),
        ({"oldest_unforwarded_at": NOW - timedelta(hours=2)}, "wait", "A credit has waited for 2 h"),
        ({"pauses": {"issuing": PAUSED}}, "wait", "Issuing is paused"),
        ({"pauses": {"forwarding": PAUSED}}, "wait", "Forwarding is paused"),
        (
            {"pauses": {"forwarding": PAUSED}, **WAITING},
            "wait",
            "Forwarding is paused: 3 credits (R$ 1.234,56) are waiting",
        ),
        (
            {"transfers_unanswered": 1, "unanswered_reason": "503"},
            "wait",
            "1 transfer waits for another attempt",
        ),
        (
            {"transfers_unanswered": 2, "unanswered_reason": "503"},
            "wait",
            "2 transfers wait for another attempt",
        ),
        (
            {"bank_unanswered": UnansweredCall("worker", "unclear", NOW), "reconciliation_failure": "503"},
            "wait",
            "The bank does not answer",
        ),
        ({"reconciliation_failure": "503"}, "wait", "The bank did not answer the last reconciliation"),
        ({"reconciliation_age_seconds": 1801.0}, "wait", "No complete reconciliation for 30 min"),
        ({"reconciliation_age_seconds": 1800.0}, "good", "All is quiet"),
        ({"bank_keys_missing": 1}, "wait", "1 web process without the bank's public key"),
        ({"slots_by_state": {"overdue": 2}}, "wait", "2 batches of invoices overdue"),
        ({"clock_step": ClockStep(-7200, NOW)}, "wait", "A clock was set back by 2 h"),
        ({"clock_step": ClockStep(90, NOW)}, "wait", "A clock was set forward by 1 min"),
        ({"alerts_undelivered": 1}, "wait", "1 notification not delivered"),
        ({"attention": 1}, "bad", "1 item needs attention"),
        ({"attention": 2}, "bad", "2 items need attention"),
        ({"processes_by_kind": {"web": 1, "worker": 0}, "attention": 2}, "bad", "No worker is running"),
        ({"processes_by_kind": {"web": 0, "worker": 0}}, "bad", "No web process is running"),
        ({"balanced": False, "attention": 2}, "bad", "The statement does not balance"),
    ],
)
def test_the_headline_is_the_worst_that_was_found(
    fine: Health, changes: dict[str, Any], tone: str, text: str
) -> None:
    """And good only when nothing at all was found."""
    headline = headline_of(changed(fine, **changes), language_of("en"))
    assert (headline.tone, headline.text) == (tone, text)
    assert all(each.tone != "good" for each in headline.others)


@ON_SQLITE
def test_the_headline_is_followed_by_everything_else_that_is_wrong(fine: Health) -> None:
    """The bad before what only waits, each with its reason; a pause with who and why."""
    health = changed(
        fine,
        pauses={"forwarding": PAUSED},
        attention=1,
        reconciliation_failure="tax id 529.982.247-25 unknown",
        processes_by_kind={"web": 1, "worker": 0},
    )
    headline = headline_of(health, language_of("en"))
    assert headline.text == "No worker is running"
    assert [each.text for each in headline.others] == [
        "1 item needs attention",
        "Forwarding is paused",
        "The bank did not answer the last reconciliation",
    ]
    assert headline.others[1].detail == "Paused 2 h ago by ana: the bank asked for it"
    assert "529.982.247-25" not in headline.others[2].detail
