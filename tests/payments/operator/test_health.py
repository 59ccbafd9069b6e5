"""What machines watch: ages, states and counts as of one moment."""

from datetime import timedelta

from payments.ledger import batches
from payments.ledger.attention import AttentionKind
from payments.ledger.reconciliations import record_reconciliation
from payments.operator.actions import Operator, pause
from payments.operator.health import read_health
from payments.operator.processes import Process, record_alive, record_stopped
from payments.storage.database import Database
from tests.payments.builders import NOW
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
    assert health.paused == {"forwarding": False, "issuing": False}
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
    batches.plan_batch(database, "repasse-k3-slot-1", 0, PLAN, NOW, True, NOW)
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
    """One that stopped, and one that was silent for more than a minute, are not alive."""
    record_alive(database, a_process("worker"), NOW)
    record_alive(database, a_process("web", 1), NOW, NOW - 5 * MINUTE)
    record_alive(database, a_process("web", 2), NOW, NOW - 60 * MINUTE)
    record_alive(database, a_process("web", 3), NOW)
    health = read_health(database, NOW + MINUTE)
    assert health.processes_by_kind == {"web": 3, "worker": 1}
    assert (health.bank_key_age_seconds, health.bank_keys_missing) == (61 * 60, 1)
    record_stopped(database, a_process("web", 2), NOW + MINUTE)
    health = read_health(database, NOW + MINUTE)
    assert (health.processes_by_kind["web"], health.bank_key_age_seconds) == (2, 6 * 60)
    assert read_health(database, NOW + 2.1 * MINUTE).processes_by_kind == {"web": 0, "worker": 0}


def test_a_pause_is_reported(database: Database) -> None:
    """So that an alert that follows from it can be understood."""
    pause(database, "forwarding", Operator("ana", "the destination asked for it"), NOW)
    assert read_health(database, NOW).paused == {"forwarding": True, "issuing": False}
