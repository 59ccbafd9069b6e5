"""Issuing against the emulator: each slot once, planned before it is sent, and no invoice twice."""

import shutil
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any, Literal

import pytest

from payments.bank.client import Bank
from payments.errors import ActionRefused
from payments.invoice import BankInvoice, InvoiceOrder
from payments.ledger import batches
from payments.ledger.batches import IssuingWindow, open_window
from payments.operator.actions import Operator, pause, request_batch, resume
from payments.operator.statement import read_statement
from payments.storage.database import Database, open_database
from tests.emulated import EmulatedBank
from tests.payments.builders import english
from worker.issuing import Issuing, IssuingRules, issue_due, issue_waiting, plan_by_hand
from worker.payers import random_payers

HOUR = 3600.0
LEASE = 60.0


class Desk:
    """A worker's work, one run at a time, on the bank's own clock."""

    def __init__(self, database: Database, bank: Bank, rules: IssuingRules, emulator: EmulatedBank) -> None:
        self.database = database
        self.bank = bank
        self.rules = rules
        self.emulator = emulator
        self.window: IssuingWindow = open_window(database, 3 * HOUR, 8, "abcd", emulator.clock.now())

    def issue(self, bank: Any = None) -> Issuing:
        """Issue what is due now."""
        return issue_due(self.database, bank or self.bank, self.rules, self.window, self.emulator.clock.now)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What stands in the books."""
        with closing(sqlite3.connect(str(self.database.url.database))) as connection:
            return connection.execute(query).fetchall()

    def batches(self) -> list[tuple[int, str, bool]]:
        """Slot, state and lateness of each batch."""
        query = "SELECT slot + 1, state, late FROM invoice_batches ORDER BY slot"
        return [(slot, state, bool(late)) for slot, state, late in self.rows(query)]

    def at_bank(self) -> int:
        """How many invoices the bank has."""
        return int(self.emulator.statement()["invoice_count"])

    def planned(self) -> int:
        """How many invoices are planned."""
        return int(self.rows("SELECT count(*) FROM invoices")[0][0])

    def matters(self) -> list[tuple[str, str]]:
        """Kind and detail of what a person should look at."""
        return [
            (kind, detail)
            for kind, detail in self.rows("SELECT kind, detail FROM attentions WHERE resolved_at IS NULL")
        ]


@pytest.fixture
def desk(database: Database, bank: Bank, rules: IssuingRules, emulator: EmulatedBank) -> Desk:
    """A window that has just been opened."""
    return Desk(database, bank, rules, emulator)


def assert_issued_once(desk: Desk) -> None:
    """Everything that was planned is at the bank, and nothing else."""
    assert desk.at_bank() == desk.planned()
    assert desk.rows("SELECT count(*) FROM invoices WHERE bank_invoice_id IS NULL") == [(0,)]


# --- the straight way ---


def test_the_first_slot_is_issued_when_the_window_opens(desk: Desk) -> None:
    """Eight to twelve invoices in one call, each with our tag, the batch's and its own."""
    counts = desk.issue()
    assert (counts.planned, counts.issued, counts.unfinished) == (1, 1, 0)
    assert 8 <= counts.invoices <= 12
    assert desk.batches() == [(1, "issued", False)]
    assert len(desk.emulator.requests("POST", "invoice")) == 1
    there = desk.bank.find_invoices("repasse-abcd-slot-1")
    assert sorted(invoice.tags for invoice in there) == [
        ("repasse", "repasse-abcd-slot-1", f"repasse-abcd-slot-1-{number:02d}")
        for number in range(1, counts.invoices + 1)
    ]
    assert all(1_000 <= invoice.amount_centavos <= 50_000 for invoice in there)
    assert_issued_once(desk)


def test_a_slot_is_issued_once_however_often_it_is_looked_at(desk: Desk) -> None:
    """The scheduler only says when to look."""
    desk.issue()
    for _ in range(3):
        assert desk.issue() == Issuing()
    assert len(desk.emulator.requests("POST", "invoice")) == 1


def test_a_slot_is_not_issued_before_it_begins(desk: Desk) -> None:
    """The second one begins three hours after the first, to the second."""
    desk.issue()
    desk.emulator.advance(3 * HOUR - 1)
    assert desk.issue().issued == 0
    desk.emulator.advance(1)
    assert desk.issue().issued == 1
    assert desk.batches() == [(1, "issued", False), (2, "issued", False)]


def test_a_clock_that_is_set_back_repeats_nothing(desk: Desk) -> None:
    """The slots are rows, not memories of a time."""
    desk.emulator.advance(3 * HOUR)
    desk.issue()
    before = desk.at_bank()
    earlier = desk.emulator.clock.now() - timedelta(hours=4)
    counts = issue_due(desk.database, desk.bank, desk.rules, desk.window, lambda: earlier)
    assert counts == Issuing()
    assert desk.at_bank() == before


# --- late slots ---


def test_slots_that_were_missed_are_issued_late_once_and_marked(desk: Desk) -> None:
    """Down for ten hours: the first four are made up for, the fourth of them hardly late at all."""
    desk.emulator.advance(9 * HOUR + 60)
    assert desk.issue().issued == 4
    assert desk.batches() == [
        (1, "issued", True),
        (2, "issued", True),
        (3, "issued", True),
        (4, "issued", False),
    ]
    assert desk.issue() == Issuing()
    assert_issued_once(desk)


@pytest.mark.parametrize(("after", "late"), [(0.1 * 3 * HOUR, False), (0.1 * 3 * HOUR + 1, True)])
def test_a_tenth_of_the_interval_is_still_in_time(desk: Desk, after: float, late: bool) -> None:
    """A slow start is not a missed slot."""
    desk.emulator.advance(after)
    desk.issue()
    assert desk.batches() == [(1, "issued", late)]


def test_missed_slots_are_skipped_for_good_when_the_operator_says_so(desk: Desk) -> None:
    """LATE_SLOTS=skip: nothing is issued late, not after a change of mind either."""
    desk.rules = replace(desk.rules, late_slots="skip")
    desk.emulator.advance(9 * HOUR + 60)
    counts = desk.issue()
    assert (counts.skipped, counts.issued) == (3, 1)
    desk.rules = replace(desk.rules, late_slots="issue")
    assert desk.issue() == Issuing()
    assert [state for _, state, _ in desk.batches()] == ["skipped", "skipped", "skipped", "issued"]
    assert_issued_once(desk)


@pytest.mark.parametrize("late_slots", ["issue", "skip"])
def test_slots_that_went_by_while_issuing_was_paused_are_late_afterwards(
    desk: Desk, late_slots: Literal["issue", "skip"]
) -> None:
    """By the same rule as when the worker was down; until then nothing is planned, skipped or asked of the bank."""
    ana = Operator("ana", "the bank asked us to wait")
    desk.rules = replace(desk.rules, late_slots=late_slots)
    pause(desk.database, "issuing", ana, desk.emulator.clock.now())
    desk.emulator.advance(3 * HOUR + 60)
    assert desk.issue() == Issuing()
    assert desk.batches() == []
    resume(desk.database, "issuing", ana, desk.emulator.clock.now())
    desk.issue()
    first = (1, "issued", True) if late_slots == "issue" else (1, "skipped", True)
    assert desk.batches() == [first, (2, "issued", False)]
    assert_issued_once(desk)


# --- what goes wrong ---


def test_a_batch_is_stored_whole_before_it_is_sent(desk: Desk) -> None:
    """At the moment of the call, another program reads every payer, amount and tag of it, and the claim."""
    seen: list[tuple[Any, ...]] = []

    class Watched:
        """The same bank; the books are read while it creates."""

        timeout_seconds = desk.bank.timeout_seconds
        find_invoices = staticmethod(desk.bank.find_invoices)

        def create_invoices(self, orders: Sequence[InvoiceOrder]) -> list[BankInvoice]:
            seen.extend(desk.rows("SELECT payer_name, amount_centavos, tag FROM invoices"))
            assert desk.batches() == [(1, "issuing", False)]
            assert seen == [(each.payer.name, each.amount_centavos, each.tag) for each in orders]
            return desk.bank.create_invoices(orders)

    desk.issue(Watched())
    assert len(seen) == desk.at_bank() >= 8


@pytest.mark.parametrize(
    ("fault", "options"),
    [
        ("drop_answer", {}),
        ("cut_body", {}),
        ("wrong_body", {}),
        ("error_500", {"accepted": True}),
        ("error_503", {"accepted": True}),
    ],
)
def test_after_an_answer_that_was_lost_the_bank_is_asked_and_nothing_is_created_twice(
    desk: Desk, fault: str, options: dict[str, bool]
) -> None:
    """It waits for the lease, looks up the batch's tag, and finds them all there."""
    desk.emulator.fault(fault, "POST invoice", times=1, **options)
    assert desk.issue().unfinished == 1
    assert desk.batches() == [(1, "issuing", False)]
    desk.emulator.advance(LEASE - 1)
    assert desk.issue() == Issuing()
    desk.emulator.advance(1)
    assert desk.issue().issued == 1
    assert len(desk.emulator.requests("POST", "invoice")) == 1
    assert_issued_once(desk)


def test_after_an_unclear_call_that_was_not_done_it_is_created_then(desk: Desk) -> None:
    """The look-up shows nothing, so all of it is missing."""
    desk.emulator.fault("error_500", "POST invoice", times=1)
    desk.issue()
    desk.emulator.advance(LEASE)
    assert desk.issue().issued == 1
    assert_issued_once(desk)


@pytest.mark.parametrize("fault", ["error_500", "drop_answer", "wrong_body", "throttle_429"])
def test_while_the_look_up_fails_nothing_is_created(desk: Desk, fault: str) -> None:
    """A missing answer proves nothing."""
    desk.emulator.fault("drop_answer", "POST invoice", times=1)
    desk.issue()
    desk.emulator.fault(fault, "GET invoice")
    for _ in range(4):
        desk.emulator.advance(LEASE)
        desk.issue()
    assert len(desk.emulator.requests("POST", "invoice")) == 1
    desk.emulator.clear_faults()
    desk.emulator.advance(HOUR)
    desk.issue()
    assert desk.batches()[0] == (1, "issued", False)
    assert_issued_once(desk)


def test_only_what_is_missing_is_created(desk: Desk) -> None:
    """Half of the batch is at the bank, by whatever accident: the other half is created, none twice."""
    desk.rules = replace(desk.rules, per_batch_min=10, per_batch_max=10)
    plan_by_hand(desk.database, desk.rules, "half", desk.emulator.clock.now())
    claim = batches.claim_batch(desk.database, LEASE, desk.emulator.clock.now())
    assert claim is not None
    desk.bank.create_invoices(claim.missing[::2])  # and died
    desk.emulator.advance(LEASE)
    counts = issue_waiting(desk.database, desk.bank, desk.rules, desk.emulator.clock.now)
    assert (counts.issued, counts.invoices) == (1, 10)
    assert_issued_once(desk)


def test_a_death_after_planning_is_issued_at_the_next_start(desk: Desk) -> None:
    """Planned and never claimed: the same payers and amounts, and no second plan."""
    begins_at, tag = desk.window.begins_at(0), desk.window.batch_tag(0)
    plan = [(payer, 5_000) for payer in random_payers(Random(4), 9)]
    batches.plan_batch(desk.database, tag, 0, plan, begins_at, late=False, now=begins_at)
    counts = desk.issue()
    assert (counts.planned, counts.issued, counts.invoices) == (0, 1, 9)
    assert desk.batches() == [(1, "issued", False)]
    assert_issued_once(desk)


@pytest.mark.parametrize("accepted", [True, False])
def test_a_death_inside_the_call_leaves_no_invoice_twice(desk: Desk, accepted: bool) -> None:
    """Claimed, perhaps created, never recorded: the next one asks before it creates."""
    plan_by_hand(desk.database, desk.rules, "killed", desk.emulator.clock.now())
    claim = batches.claim_batch(desk.database, LEASE, desk.emulator.clock.now())
    assert claim is not None
    if accepted:
        desk.bank.create_invoices(claim.missing)
    assert issue_waiting(desk.database, desk.bank, desk.rules, desk.emulator.clock.now) == Issuing()
    desk.emulator.advance(LEASE)
    assert issue_waiting(desk.database, desk.bank, desk.rules, desk.emulator.clock.now).issued == 1
    assert len(desk.emulator.requests("POST", "invoice")) == 1
    assert len(desk.emulator.requests("GET", "invoice")) == 1
    assert_issued_once(desk)


def test_a_throttled_batch_waits_as_long_as_the_bank_wishes(desk: Desk) -> None:
    """429 with Retry-After: not done, and not tried before."""
    desk.emulator.fault("throttle_429", "POST invoice", times=1, retry_after=600)
    assert desk.issue().unfinished == 1
    desk.emulator.advance(599)
    assert desk.issue() == Issuing()
    desk.emulator.advance(1)
    assert desk.issue().issued == 1
    assert_issued_once(desk)


def test_a_bank_that_cannot_be_reached_is_tried_again(desk: Desk, connect: Callable[..., Bank]) -> None:
    """The slot is planned and waits; it counts as its slot whenever it goes out."""
    assert desk.issue(connect(api_url="http://127.0.0.1:9")).unfinished == 1
    assert desk.batches() == [(1, "planned", False)]
    desk.emulator.advance(5)
    assert desk.issue().issued == 1
    assert_issued_once(desk)


@pytest.mark.parametrize(
    ("wrong", "code", "name"),
    [
        ({"project_id": "4242424242424242"}, "invalidProject", "STARKBANK_PROJECT_ID"),
        ({"private_key_pem": ""}, "invalidCredentials", "STARKBANK_PRIVATE_KEY"),
    ],
)
def test_a_batch_that_the_bank_refuses_is_tried_again_and_shown(
    desk: Desk, connect: Callable[..., Bank], wrong: dict[str, str], code: str, name: str
) -> None:
    """The bank's code and what to do stand in the matter; it is closed once the batch is issued."""
    if "private_key_pem" in wrong:
        from emulator.protocol import credentials

        wrong = {"private_key_pem": credentials.in_memory(seed=2)[1]}
    refused = desk.issue(connect(**wrong))
    assert refused.unfinished == 1
    ((kind, detail),) = desk.matters()
    assert kind == "batch_refused"
    assert code in detail
    assert name in english(detail)
    desk.emulator.advance(5)
    assert desk.issue(connect(**wrong)).unfinished == 1
    assert len(desk.matters()) == 1
    desk.emulator.advance(HOUR)
    assert desk.issue().issued == 1
    assert desk.matters() == []
    assert_issued_once(desk)


@pytest.mark.parametrize("claimed_before", [False, True])
def test_no_call_creates_that_could_outlive_its_lease(desk: Desk, claimed_before: bool) -> None:
    """Whoever overslept gives the batch back: someone else may be creating it by then."""
    plan_by_hand(desk.database, desk.rules, "slept", desk.emulator.clock.now())
    if claimed_before:
        batches.claim_batch(desk.database, LEASE, desk.emulator.clock.now())
        desk.emulator.advance(LEASE)
    desk.rules = replace(desk.rules, lease_seconds=desk.bank.timeout_seconds)
    assert issue_waiting(desk.database, desk.bank, desk.rules, desk.emulator.clock.now).unfinished == 1
    assert desk.emulator.requests("POST", "invoice") == []
    desk.rules = replace(desk.rules, lease_seconds=LEASE)
    desk.emulator.advance(HOUR)
    assert issue_waiting(desk.database, desk.bank, desk.rules, desk.emulator.clock.now).issued == 1
    assert_issued_once(desk)


# --- two workers ---


def test_books_restored_from_an_older_copy_find_what_was_issued_since(
    desk: Desk, empty_books: Path, tmp_path: Path
) -> None:
    """The slot is planned anew from its tag, the same to the centavo, and nothing is created twice."""
    assert desk.issue().issued == 1
    before = desk.at_bank()
    file = tmp_path / "restored.db"
    shutil.copyfile(empty_books, file)
    restored = open_database(f"sqlite:///{file}")
    window = open_window(restored, 3 * HOUR, 8, "abcd", desk.window.opened_at)
    counts = issue_due(restored, desk.bank, desk.rules, window, desk.emulator.clock.now)
    assert (counts.issued, desk.at_bank()) == (1, before)
    assert read_statement(restored).invoices == before
    restored.close()


def test_a_batch_that_an_operator_requested_is_planned_once_and_issued(desk: Desk) -> None:
    """Two workers that read the request make one batch of it."""
    desk.issue()
    before = desk.at_bank()
    request_batch(desk.database, "by-hand", Operator("Ana", "to show it"), desk.emulator.clock.now())
    desk.issue()
    desk.issue()
    [(slot, state, planned)] = desk.rows(
        "SELECT slot, invoice_batches.state, count(*) FROM invoice_batches "
        "JOIN invoices ON batch_id = invoice_batches.id WHERE invoice_batches.tag = 'by-hand'"
    )
    assert (slot, state) == (None, "issued")
    assert desk.at_bank() == before + planned


def test_a_batch_that_was_requested_long_ago_is_not_planned_any_more(desk: Desk) -> None:
    """It was meant for then: the worker was down for hours."""
    request_batch(desk.database, "by-hand", Operator("Ana", "to show it"), desk.emulator.clock.now())
    desk.emulator.advance(2 * HOUR)
    desk.issue()
    assert desk.rows("SELECT state FROM invoice_batches WHERE tag = 'by-hand'") == [("requested",)]
    assert read_statement(desk.database).batches_planned == 1


def test_no_batch_can_be_requested_while_issuing_is_paused(desk: Desk) -> None:
    """It would come as a surprise when issuing is resumed; an earlier request waits."""
    now = desk.emulator.clock.now()
    request_batch(desk.database, "before", Operator("Ana", "to show it"), now)
    pause(desk.database, "issuing", Operator("Ana", "too many"), now)
    with pytest.raises(ActionRefused, match="issuing_is_paused"):
        request_batch(desk.database, "after", Operator("Ana", "to show it"), now)
    desk.issue()
    assert desk.rows("SELECT tag, state FROM invoice_batches") == [("before", "requested")]
    assert batches.requested_batches(desk.database, now) == ["before"]
