"""What machines watch in the books: ages, states and counts as of one moment."""

from datetime import timedelta

from payments.ledger import batches
from payments.ledger.attention import AttentionKind
from payments.ledger.inbox import Outcome
from payments.ledger.reconciliations import record_reconciliation
from payments.operator.actions import Operator, pause
from payments.operator.health import read_vital_signs
from payments.operator.processes import Process, record_alive, record_stopped
from payments.storage.database import Database
from tests.payments.builders import NOW, at_bank
from tests.payments.conftest import Books
from tests.payments.ledger.test_batches import PLAN, claimed, created

MINUTE = timedelta(minutes=1)


def a_process(kind: str, number: int = 1) -> Process:
    """One of ours."""
    return Process(f"{kind}-{number}", kind, "host", number, "0.1.0")


def test_empty_books_have_every_name_and_no_age(database: Database) -> None:
    """A metric that is there from the start is one that an alert can be made of."""
    signs = read_vital_signs(database, NOW)
    assert set(signs.events_by_outcome) == set(Outcome) - {Outcome.REPEATED}
    assert signs.attention_by_kind == dict.fromkeys(AttentionKind, 0)
    assert signs.processes_by_kind == {"web": 0, "worker": 0}
    assert signs.paused == {"forwarding": False, "issuing": False}
    assert (signs.slots_by_state, signs.slots_late) == ({}, 0)
    assert (signs.reconciliation_age_seconds, signs.bank_key_age_seconds) == (None, None)
    assert set(signs.settled_within.values()) == {0}


def test_the_books_tell_of_events_settlements_and_matters(books: Books) -> None:
    """As one credit that was settled after a while; a repeated event is in the books once."""
    books.credit()
    books.credit()
    books.pass_time(20)
    books.send("T1")
    books.news(at_bank("T1", "success"))
    signs = read_vital_signs(books.database, books.now)
    assert {name: number for name, number in signs.events_by_outcome.items() if number} == {
        "credit": 1,
        "transfer_news": 1,
    }
    assert {bound: number for bound, number in signs.settled_within.items() if number} == {60.0: 1}


def test_a_slot_is_coming_until_its_batch_is_planned_and_overdue_when_a_tenth_has_passed(
    database: Database,
) -> None:
    """18 minutes of 3 hours; a batch that was issued late stays late, one that was skipped is over."""
    batches.open_window(database, 10_800, 3, "k3", NOW)

    def slots(minutes: float) -> tuple[dict[str, int], int]:
        signs = read_vital_signs(database, NOW + minutes * MINUTE)
        return {state: number for state, number in signs.slots_by_state.items() if number}, signs.slots_late

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
    """Before the first one it counts from the opening of the window: a worker that never succeeds is noticed."""
    batches.open_window(database, 10_800, 8, "k3", NOW)
    assert read_vital_signs(database, NOW + 7 * MINUTE).reconciliation_age_seconds == 420
    record_reconciliation(database, NOW, NOW + MINUTE, 3, None)
    record_reconciliation(database, NOW + 5 * MINUTE, NOW + 6 * MINUTE, 1, "invoice logs: timeout")
    signs = read_vital_signs(database, NOW + 8 * MINUTE)
    assert signs.reconciliation_age_seconds == 480
    counts = {name: each.number for name, each in signs.totals.items() if name.startswith("reconciliations")}
    assert counts == {
        "reconciliations.complete": 1,
        "reconciliations.incomplete": 1,
        "reconciliations.found": 4,
    }


def test_only_living_processes_count_and_the_oldest_key_among_them(database: Database) -> None:
    """One that stopped, and one that was silent for more than a minute, are not alive."""
    record_alive(database, a_process("worker"), NOW)
    record_alive(database, a_process("web", 1), NOW, NOW - 5 * MINUTE)
    record_alive(database, a_process("web", 2), NOW, NOW - 60 * MINUTE)
    record_alive(database, a_process("web", 3), NOW)
    signs = read_vital_signs(database, NOW + MINUTE)
    assert signs.processes_by_kind == {"web": 3, "worker": 1}
    assert (signs.bank_key_age_seconds, signs.bank_keys_missing) == (61 * 60, 1)
    record_stopped(database, a_process("web", 2), NOW + MINUTE)
    signs = read_vital_signs(database, NOW + MINUTE)
    assert (signs.processes_by_kind["web"], signs.bank_key_age_seconds) == (2, 6 * 60)
    assert read_vital_signs(database, NOW + 2.1 * MINUTE).processes_by_kind == {"web": 0, "worker": 0}


def test_what_an_operator_paused_is_told(database: Database) -> None:
    """So that an alert that follows from it can be understood."""
    pause(database, "forwarding", Operator("ana", "the destination asked for it"), NOW)
    assert read_vital_signs(database, NOW).paused == {"forwarding": True, "issuing": False}
