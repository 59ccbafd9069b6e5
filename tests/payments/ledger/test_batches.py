"""The window and its slots: opened once, each slot once, nothing issued twice."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from payments.errors import LedgerUnavailable
from payments.invoice import BankInvoice, InvoiceOrder, Payer
from payments.ledger import batches
from payments.ledger.batches import BatchClaim
from payments.operator.statement import read_statement
from payments.storage.database import Database, open_database
from tests.payments.builders import NOW
from tests.payments.conftest import ON_SQLITE

PLAN = [(Payer("Ana Conceição", "529.982.247-25"), 1_000), (Payer("João", "529.982.247-25"), 2_500)]
LEASE = 60.0
HOUR = timedelta(hours=1)


def plan(database: Database, slot: int | None = 0, tag: str = "repasse-k3-slot-1") -> bool:
    """Plan the batch of a slot."""
    return batches.plan_batch(database, tag, slot, PLAN, NOW, late=False, now=NOW)


def claimed(database: Database, seconds: float = 0) -> BatchClaim:
    """Claim what is due after so many seconds."""
    claim = batches.claim_batch(database, LEASE, NOW + timedelta(seconds=seconds))
    assert claim is not None
    return claim


def created(orders: Sequence[InvoiceOrder], prefix: str = "I") -> list[BankInvoice]:
    """The invoices that the bank made of these orders; it adds tags of its own."""
    return [
        BankInvoice(f"{prefix}-{order.tag}", "created", order.amount_centavos, (*order.tags, "e2001"))
        for order in orders
    ]


def test_the_window_is_opened_once_and_survives_restarts(database: Database) -> None:
    """A restart neither restarts the 24 hours nor changes what was decided."""
    assert batches.read_window(database) is None
    first = batches.open_window(database, 10_800, 8, "k3", NOW)
    again = batches.open_window(database, 5, 100, "zz", NOW + HOUR)
    assert again == first == batches.read_window(database)
    assert (first.token, first.opened_at, first.slots) == ("k3", NOW, 8)


@ON_SQLITE
def test_the_slots_of_a_window_begin_at_its_steps(database: Database) -> None:
    """0, 3, ... 21 hours after it was opened; tags count from one."""
    window = batches.open_window(database, 10_800, 8, "k3", NOW)
    begins = [window.begins_at(slot) - NOW for slot in range(window.slots)]
    assert begins == [timedelta(hours=3 * slot) for slot in range(8)]
    assert window.batch_tag(7) == "repasse-k3-slot-8"


@pytest.mark.parametrize("tag", ["repasse-k3-slot-1", "another-tag"])
def test_a_slot_is_planned_once(database: Database, tag: str) -> None:
    """The second one gets False, and nothing of its plan is stored."""
    assert plan(database)
    assert not plan(database, tag=tag)
    assert batches.taken_slots(database) == {0}
    assert len(claimed(database).missing) == 2


def test_a_tag_is_planned_once(database: Database) -> None:
    """Two batches of one tag could not be told apart at the bank."""
    assert plan(database, slot=0)
    assert not plan(database, slot=1)


@ON_SQLITE
def test_batches_by_hand_take_no_slot(database: Database) -> None:
    """Any number of them, each with its tag."""
    assert plan(database, slot=None, tag="by-hand-1")
    assert plan(database, slot=None, tag="by-hand-2")
    assert batches.taken_slots(database) == set()


def test_two_workers_plan_a_slot_once_between_them(database: Database) -> None:
    """Each with a connection of its own, at the same moment."""
    other = open_database(str(database.url))
    barrier = threading.Barrier(2)
    planned: list[bool] = []

    def work(mine: Database, tag: str) -> None:
        barrier.wait()
        planned.extend(plan(mine, slot, f"{tag}-{slot}") for slot in range(8))

    with ThreadPoolExecutor(2) as threads:
        for each in [threads.submit(work, database, "one"), threads.submit(work, other, "two")]:
            each.result()
    other.close()
    assert sorted(planned) == [False] * 8 + [True] * 8
    assert read_statement(database).batches_planned == 8


def test_a_batch_is_claimed_by_one_worker_alone(database: Database) -> None:
    """Until its lease ends."""
    plan(database)
    claim = claimed(database)
    assert (claim.slot, claim.tag, claim.attempt) == (0, "repasse-k3-slot-1", 1)
    assert claim.lease_expires_at == NOW + timedelta(seconds=60)
    assert batches.claim_batch(database, LEASE, NOW + timedelta(seconds=59.999)) is None
    assert batches.next_batch_at(database) == claim.lease_expires_at
    second = claimed(database, 60)
    assert second.attempt == 2


def test_the_earliest_slot_is_claimed_first(database: Database) -> None:
    """Late ones before the one whose turn it is."""
    batches.plan_batch(database, "b-2", 1, PLAN, NOW + HOUR, late=False, now=NOW)
    batches.plan_batch(database, "b-1", 0, PLAN, NOW, late=True, now=NOW)
    claim = claimed(database)
    assert (claim.slot, claim.late) == (0, True)


def test_an_answered_batch_is_issued(database: Database) -> None:
    """Every order has its invoice: nothing is left to claim."""
    plan(database)
    claim = claimed(database)
    assert batches.record_issued(database, claim, created(claim.missing), NOW) == ()
    assert batches.read_slots(database) == {0: ("issued", 2)}
    assert batches.next_batch_at(database) is None
    assert batches.claim_batch(database, LEASE, NOW + HOUR) is None


def test_only_what_is_missing_is_ordered_again(database: Database) -> None:
    """The look-up found the first of two; the second alone is created."""
    plan(database)
    claim = claimed(database)
    batches.record_batch_unclear(database, claim, "timeout")
    assert batches.claim_batch(database, LEASE, NOW) is None
    again = claimed(database, 60)
    assert again.missing == claim.missing
    [missing] = batches.record_issued(database, again, created(claim.missing[:1]), NOW)
    assert missing == claim.missing[1]
    assert batches.read_slots(database) == {0: ("issuing", 1)}
    assert batches.record_issued(database, again, created([missing]), NOW) == ()


@ON_SQLITE
def test_an_invoice_counts_once_however_often_it_is_shown(database: Database) -> None:
    """Pages repeat, and a doubled invoice of one tag does not count for its neighbour."""
    plan(database)
    claim = claimed(database)
    first = claim.missing[:1]
    [missing] = batches.record_issued(
        database, claim, [*created(first), *created(first), *created(first, "twin")], NOW
    )
    assert missing == claim.missing[1]


@ON_SQLITE
def test_strangers_invoices_issue_nothing(database: Database) -> None:
    """Neither without tags, nor with those of another batch."""
    plan(database)
    plan(database, slot=1, tag="repasse-k3-slot-2")
    claim = claimed(database)
    strangers = [
        BankInvoice("X", "created", 1_000, ()),
        BankInvoice("Y", "created", 1_000, ("repasse", "repasse-k3-slot-2", "repasse-k3-slot-2-01")),
    ]
    assert batches.record_issued(database, claim, strangers, NOW) == claim.missing


def test_what_the_bank_has_is_recorded_even_by_a_worker_that_lost_its_claim(database: Database) -> None:
    """Facts do not depend on who brings them; the newer claim then finds nothing to do."""
    plan(database)
    late = claimed(database)
    newer = claimed(database, 60)
    assert batches.record_issued(database, late, created(late.missing), NOW) == ()
    batches.release_batch(database, newer, "timeout", NOW, refused=False, now=NOW)
    assert batches.read_slots(database) == {0: ("issued", 2)}


@ON_SQLITE
@pytest.mark.parametrize("refused", [True, False])
def test_a_worker_that_lost_its_claim_releases_nothing(database: Database, refused: bool) -> None:
    """Nor does it raise anything: another worker holds the batch."""
    plan(database)
    late = claimed(database)
    newer = claimed(database, 60)
    batches.release_batch(database, late, "slow", NOW, refused=refused, now=NOW)
    batches.record_batch_unclear(database, late, "slow")
    assert batches.read_slots(database) == {0: ("issuing", 0)}
    assert batches.next_batch_at(database) == newer.lease_expires_at
    assert read_statement(database).attention == 0


def test_a_claim_that_a_failover_lost_changes_nothing_of_who_has_its_number_now(database: Database) -> None:
    """A server that never heard of it gives the same number to another slot's batch, in the same attempt."""
    plan(database)
    lost = replace(claimed(database), tag="another")
    with pytest.raises(LedgerUnavailable, match="batch another is not in the database"):
        batches.record_issued(database, lost, created(lost.missing), NOW)
    batches.release_batch(database, lost, "slow", NOW, refused=True, now=NOW)
    batches.record_batch_unclear(database, lost, "slow")
    assert batches.claim_batch(database, 60, NOW) is None
    assert batches.read_slots(database) == {0: ("issuing", 0)}


@ON_SQLITE
def test_a_refusal_after_the_batch_was_issued_raises_nothing(database: Database) -> None:
    """Nothing would ever close it again."""
    plan(database)
    claim = claimed(database)
    batches.record_issued(database, claim, created(claim.missing), NOW)
    batches.release_batch(database, claim, "invalidJson", NOW, refused=True, now=NOW)
    assert batches.read_slots(database) == {0: ("issued", 2)}
    assert read_statement(database).attention == 0


def test_a_released_batch_is_tried_again_at_its_time(database: Database) -> None:
    """A refused one is raised once, until it is issued after all."""
    plan(database)
    batches.release_batch(database, claimed(database), "invalidJson", NOW + HOUR, refused=True, now=NOW)
    assert batches.claim_batch(database, LEASE, NOW + timedelta(minutes=59)) is None
    assert batches.next_batch_at(database) == NOW + HOUR
    assert read_statement(database).attention == 1
    again = claimed(database, 3600)
    assert again.attempt == 2
    batches.record_issued(database, again, created(again.missing), NOW + HOUR)
    assert read_statement(database).attention == 0


def test_a_skipped_slot_is_never_issued(database: Database) -> None:
    """LATE_SLOTS=skip: taken, for good."""
    assert batches.skip_slot(database, "b-1", 0, NOW, NOW)
    assert not batches.skip_slot(database, "b-1", 0, NOW, NOW)
    assert not plan(database)
    assert batches.claim_batch(database, LEASE, NOW + HOUR) is None
    assert batches.read_slots(database) == {0: ("skipped", 0)}


@ON_SQLITE
def test_a_planned_slot_is_not_skipped(database: Database) -> None:
    """Its invoices may be at the bank already."""
    plan(database)
    assert not batches.skip_slot(database, "other", 0, NOW, NOW)
    assert len(claimed(database).missing) == 2
