"""The ledger under anything that can happen, in any order, against a bank that never lies about money.

Hypothesis chooses what happens: credits, reversals, events late, repeated and out of order, calls that end in
every way, pages that are empty, partial or old by mistake, late sleepers, crashes, time. After every step no
credit may be payable twice and every centavo must be accounted for. At the end the faults stop, and every
credit must come to be paid exactly once, by itself.
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from unittest import TestCase

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy import Row, select

from payments.event import read_log
from payments.ledger import bank_reports, inbox, transfers
from payments.ledger.balance import read_balance
from payments.ledger.inbox import Arrival
from payments.ledger.transfers import Claim
from payments.operator.statement import recount_statement
from payments.storage.database import open_database
from payments.storage.migrate import migrate
from payments.storage.schema import attentions
from payments.storage.schema import transfers as transfers_table
from payments.transfer import LOST_STATUSES, BankTransfer, TransferOrder, lineage_for
from tests.payments.builders import NOW, a_policy, a_transfer_log, an_arrival, an_invoice_log

DUPLICATED = "Duplicated transfer"


@dataclass
class ModelBank:
    """Accepts whatever is sent; refuses a repeated external_id late, on a transfer of its own."""

    transfers: dict[str, BankTransfer] = field(default_factory=dict)
    doomed: set[str] = field(default_factory=set)
    logs: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    outbox: list[dict[str, Any]] = field(default_factory=list)

    def take(self, order: TransferOrder) -> BankTransfer:
        """Create it, whatever it is."""
        there = BankTransfer(
            f"bank-{len(self.transfers) + 1}",
            order.external_id,
            "created",
            order.amount_centavos,
            order.destination.bank_code,
            order.destination.branch_code,
            order.destination.account_number,
            order.destination.tax_id,
            order.tags,
        )
        if any(other.external_id == order.external_id for other in self.transfers.values()):
            self.doomed.add(there.id)
        self._tell(there, ())
        return there

    def decide(self, bank_id: str, status: str) -> None:
        """Let time do its work on one transfer: a repeat always fails, whatever was drawn for it."""
        if bank_id in self.doomed:
            status = "failed"
        reason = DUPLICATED if bank_id in self.doomed else "Insufficient balance"
        errors = (reason,) if status == "failed" else ()
        self._tell(replace(self.transfers[bank_id], status=status), errors)

    @property
    def undecided(self) -> list[str]:
        """Transfers without an outcome."""
        final = LOST_STATUSES | {"success"}
        return [there.id for there in self.transfers.values() if there.status not in final]

    def page(self, tag: str) -> list[BankTransfer]:
        """Every transfer that carries the tag: the truth."""
        return [there for there in self.transfers.values() if tag in there.tags]

    def paid(self, invoice_id: str) -> list[BankTransfer]:
        """The transfers of one credit that moved money."""
        return [there for there in self.page(lineage_for(invoice_id)) if there.status == "success"]

    def _tell(self, there: BankTransfer, errors: tuple[str, ...]) -> None:
        self.transfers[there.id] = there
        logs = self.logs.setdefault(there.id, [])
        logs.append(a_transfer_log(there, errors=errors, log_id=f"log-{there.id}-{len(logs)}"))
        self.outbox.append(logs[-1])


@dataclass
class Hand:
    """Someone who holds, or believes to hold, a claim; ``ready`` when it may be sent."""

    claim: Claim
    ready: bool


# Few, so that much happens to each.
CREDITS_MAX = 3

PAGES = ("empty", "partial", "old")
ANSWERS = ("answer lost", "crash after", "crash before", "unclear", "not sent")
REFUSALS = ("throttled", "caller refused", "refused")


class Life(RuleBasedStateMachine):
    """One life of a ledger: what must hold after every step, and how it must end."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(mkdtemp(prefix="repasse-machine-", dir=_fast_folder()))
        shutil.copy(_migrated(), self.folder / "repasse.db")
        self.database = open_database(f"sqlite:///{self.folder}/repasse.db")
        self.policy = a_policy(reissue_max=10_000, retry_max_seconds=60.0)
        self.bank = ModelBank()
        self.now: datetime = NOW
        self.net: dict[str, int] = {}
        self.reversed: set[str] = set()
        self.refused: set[str] = set()
        self.hands: list[Hand] = []
        self.delivered: list[dict[str, Any]] = []
        self.calls = 0

    # --- what happens around us ---

    def credit(self, amount: int, fee: int) -> None:
        """An invoice is credited; the event is on its way."""
        invoice_id = f"{1000 + len(self.net)}"
        self.net[invoice_id] = amount - fee
        self.bank.outbox.append(an_invoice_log("credited", invoice_id, amount, fee))

    def every_event_arrives(self) -> None:
        """All that are on their way, together, in one transaction."""
        self._deliver(self.bank.outbox)
        self.bank.outbox = []

    # --- what must hold, always ---

    @invariant()
    def no_credit_can_be_paid_twice(self) -> None:
        """Not only was not: of all that the bank has of a credit, one at most may ever move money."""
        for invoice_id in self.net:
            payable = [
                there
                for there in self.bank.page(lineage_for(invoice_id))
                if there.id not in self.bank.doomed and there.status not in LOST_STATUSES
            ]
            assert len(payable) <= 1, payable

    @invariant()
    def the_books_are_true(self) -> None:
        """In every state, and not only when all is quiet."""
        with self.database.reading() as connection:
            balance = read_balance(connection)
            rows = connection.execute(select(transfers_table)).all()
            raised = set(connection.execute(select(attentions.c.kind)).scalars())
        assert balance.balanced, balance
        self._assert_settled_was_paid(rows)
        # This bank never pays twice and never takes a success back.
        assert not raised & {"paid_twice", "returned_after_settlement", "unreadable_event", "second_credit"}

    def _assert_settled_was_paid(self, rows: Sequence[Row[Any]]) -> None:
        """Our books never say more than the bank did, and one live transfer is all that a credit has."""
        live = [row.invoice_id for row in rows if row.state not in ("failed", "stopped")]
        assert len(live) == len(set(live))
        for row in rows:
            if row.state == "settled":
                there = self.bank.transfers[row.bank_transfer_id]
                assert (there.status, there.external_id) == ("success", row.external_id)
                assert there.amount_centavos == row.amount_centavos
            assert (row.state == "sending") == (row.lease_expires_at is not None)

    # --- the end: faults stop, and everything must settle ---

    def teardown(self) -> None:
        """Drain, then compare with the bank."""
        try:
            self._drain()
            self._compare()
        finally:
            self.database.close()
            shutil.rmtree(self.folder)

    def _drain(self) -> None:
        for _ in range(300):
            for bank_id in self.bank.undecided:
                self.bank.decide(bank_id, "success")
            self.every_event_arrives()
            for bank_id in bank_reports.in_flight(self.database, self.now, 1000):
                self._read_logs(bank_id)
            if transfers.next_due_at(self.database) is None:
                return
            self._settle("truth", "recorded", None)
        raise AssertionError(f"still not settled after 300 rounds: {recount_statement(self.database)}")

    def _compare(self) -> None:
        self.no_credit_can_be_paid_twice()
        self.the_books_are_true()
        for invoice_id, net in self.net.items():
            paid = [there.amount_centavos for there in self.bank.paid(invoice_id)]
            if net <= 0:
                assert paid == [], f"{invoice_id} had nothing to forward"
            elif invoice_id in self.reversed | self.refused:
                assert len(paid) <= 1
            else:
                assert paid == [net], f"{invoice_id} was paid {paid} instead of {net}"
        statement = recount_statement(self.database)
        assert statement.balanced, statement
        assert statement.transfers["sent"] == statement.transfers["pending"] == 0
        paid_in_all = sum(
            there.amount_centavos for there in self.bank.transfers.values() if there.status == "success"
        )
        if not self.reversed:
            assert statement.settled_centavos == paid_in_all

    # --- the hands ---

    def _deliver(self, logs: Sequence[dict[str, Any]], event_id: str | None = None) -> None:
        arrivals = [an_arrival(log, event_id) for log in logs]
        inbox.accept(self.database, arrivals, "webhook", self.policy, self.now)
        self.delivered += [log for log in logs if log not in self.delivered]

    def _settle(self, page: str, answer: str, data: st.DataObject | None) -> None:
        due_at = transfers.next_due_at(self.database)
        self.now = max(self.now, due_at or self.now)
        for claim in self._claim(100):
            ready: Claim | None = claim
            if not claim.is_fresh:
                ready = self._look_up(claim, self._page(claim, page, data))
            if ready is not None:
                self._send(ready, answer)

    def _claim(self, limit: int) -> list[Claim]:
        self.calls += 1
        return transfers.claim(self.database, f"call-{self.calls}", self.policy, limit, self.now)

    def _page(self, claim: Claim, kind: str, data: st.DataObject | None) -> list[BankTransfer]:
        page = self.bank.page(claim.look_up_tag)
        if kind == "empty":
            return []
        if kind == "partial" and page and data is not None:
            page.pop(data.draw(st.integers(0, len(page) - 1)))
        if kind == "old":
            return [replace(there, status="created") for there in page]
        return page

    def _look_up(self, claim: Claim, found: Sequence[BankTransfer]) -> Claim | None:
        """As settlement does: look, ask why if need be, look at the same page again."""
        self.calls += 1
        found = [there for there in found if lineage_for(claim.invoice_id) in there.tags]
        for _ in range(2):
            [verdict] = transfers.record_lookups(
                self.database, [(claim, found)], f"call-{self.calls}", self.policy, self.now
            )
            if not verdict.ask_why:
                return verdict.to_send
            for bank_id in verdict.ask_why:
                self._read_logs(bank_id)
        raise AssertionError(f"the bank said why a transfer of {claim.external_id} failed, and was not heard")

    def _read_logs(self, bank_id: str) -> None:
        arrivals = [
            Arrival(read_log("transfer", json.dumps(log).encode())) for log in self.bank.logs[bank_id]
        ]
        inbox.accept(self.database, arrivals, "reconciliation", self.policy, self.now)

    def _send(self, claim: Claim, answer: str) -> None:
        if answer == "crash before":
            return
        if answer == "not sent":
            transfers.release(self.database, [claim], answer, self.policy, self.now)
            return
        if answer != "unclear":
            there = self.bank.take(claim.order)
            if answer == "recorded":
                accepted = {claim.external_id: there}
                transfers.record_sent(self.database, [claim], accepted, self.policy, self.now)
        if answer in ("answer lost", "unclear"):
            transfers.record_unclear(self.database, [claim], answer, self.policy, self.now)


class ManyCredits(Life):
    """Everything that can happen, to a few credits together."""

    @initialize(count=st.integers(1, CREDITS_MAX))
    def credits_have_arrived(self, count: int) -> None:
        """There is something to forward from the beginning; of equal amounts, so that nothing tells them apart."""
        for _ in range(count):
            self.credit(100, 0)
        self.every_event_arrives()

    @precondition(lambda self: len(self.net) < CREDITS_MAX)
    @rule(amount=st.integers(1, 400), fee=st.sampled_from([0, 0, 5, 300]))
    def an_invoice_is_credited(self, amount: int, fee: int) -> None:
        """The event is on its way."""
        self.credit(amount, fee)

    @precondition(lambda self: self.net)
    @rule(data=st.data(), remaining=st.integers(0, 300))
    def a_credit_is_reversed(self, data: st.DataObject, remaining: int) -> None:
        """In whole or in part; the event may overtake the credit's own."""
        invoice_id = data.draw(st.sampled_from(sorted(self.net)))
        self.reversed.add(invoice_id)
        log_id = f"reversed-{invoice_id}-{remaining}"
        self.bank.outbox.append(an_invoice_log("reversed", invoice_id, remaining, 0, log_id))

    @precondition(lambda self: self.bank.outbox)
    @rule(data=st.data(), count=st.integers(1, 4))
    def events_arrive(self, data: st.DataObject, count: int) -> None:
        """Some of those on their way, in any order."""
        for _ in range(min(count, len(self.bank.outbox))):
            index = data.draw(st.integers(0, len(self.bank.outbox) - 1))
            self._deliver([self.bank.outbox.pop(index)])

    @precondition(lambda self: self.delivered)
    @rule(data=st.data(), from_another_webhook=st.booleans())
    def an_event_is_repeated(self, data: st.DataObject, from_another_webhook: bool) -> None:
        """The same one, or the same log in another event."""
        log = data.draw(st.sampled_from(self.delivered))
        self._deliver([log], event_id=f"again-{log['id']}" if from_another_webhook else None)

    @rule(seconds=st.sampled_from([1, 10, 60, 61, 1000]))
    def time_passes(self, seconds: int) -> None:
        """Leases end, delays end."""
        self.now += timedelta(seconds=seconds)

    @rule()
    def the_webhook_catches_up(self) -> None:
        """Every event arrives."""
        self.every_event_arrives()

    @precondition(lambda self: self.bank.undecided)
    @rule(
        data=st.data(),
        status=st.sampled_from(["success", "failed", "failed", "canceled", "processing"]),
        tells_at_once=st.booleans(),
    )
    def the_bank_decides(self, data: st.DataObject, status: str, tells_at_once: bool) -> None:
        """About one of its transfers; the event may be quick, or lie with the others."""
        self.bank.decide(data.draw(st.sampled_from(self.bank.undecided)), status)
        if tells_at_once:
            self._deliver([self.bank.outbox.pop()])

    # --- what we do ---

    @rule(
        data=st.data(),
        page=st.sampled_from(("truth", *PAGES)),
        answer=st.sampled_from(("recorded", "recorded", *ANSWERS)),
    )
    def the_forwarder_runs(self, data: st.DataObject, page: str, answer: str) -> None:
        """The whole of a settlement, as soon as something is due, with at most one fault of each kind."""
        self._settle(page, answer, data)

    @rule(limit=st.integers(1, 5))
    def someone_claims(self, limit: int) -> None:
        """Earlier holders keep what they believe to hold: they may wake up late."""
        self.hands += [Hand(claim, claim.is_fresh) for claim in self._claim(limit)]

    @precondition(lambda self: any(not hand.ready for hand in self.hands))
    @rule(data=st.data(), page=st.sampled_from(("truth", *PAGES)), dies=st.booleans())
    def someone_looks_up(self, data: st.DataObject, page: str, dies: bool) -> None:
        """The page may be wrong in ways that a bank's index can be; then the holder goes on, or dies."""
        hand = data.draw(st.sampled_from([hand for hand in self.hands if not hand.ready]))
        self.hands.remove(hand)
        found = self._page(hand.claim, page, data)
        ready = self._look_up(hand.claim, found)
        if ready is not None and not dies:
            self.hands.append(Hand(ready, ready=True))

    @precondition(lambda self: any(hand.ready for hand in self.hands))
    @rule(data=st.data(), answer=st.sampled_from(("recorded", *ANSWERS)))
    def someone_sends(self, data: st.DataObject, answer: str) -> None:
        """With every way in which one call can end."""
        hand = data.draw(st.sampled_from([hand for hand in self.hands if hand.ready]))
        self.hands.remove(hand)
        self._send(hand.claim, answer)

    @precondition(lambda self: any(hand.ready for hand in self.hands))
    @rule(data=st.data(), refusal=st.sampled_from(REFUSALS))
    def someone_is_refused(self, data: st.DataObject, refusal: str) -> None:
        """The bank refuses immediately: nothing of the call was done."""
        hand = data.draw(st.sampled_from([hand for hand in self.hands if hand.ready]))
        self.hands.remove(hand)
        if refusal == "refused":
            self.refused.add(hand.claim.invoice_id)
            transfers.refuse(self.database, hand.claim, "invalidJson: no", self.policy, self.now)
        else:
            wait = 30.0 if refusal == "throttled" else None
            us = refusal == "caller refused"
            transfers.release(
                self.database,
                [hand.claim],
                refusal,
                self.policy,
                self.now,
                wait_seconds=wait or 0,
                is_caller_refused=us,
            )


# What the bank makes of a good transfer in one round, and of one that repeats an external_id.
FATES = ("wait", "wait", "wait", "processing", "failed", "failed", "canceled", "success")
FATES_OF_A_REPEAT = ("wait", "failed", "failed")


class OneLineage(Life):
    """One credit after the other, round by round, with answers that are lost and pages that are wrong.

    Few choices, so that Hypothesis comes deep into what one lineage can live through.
    """

    @rule(
        data=st.data(),
        page=st.sampled_from(("truth", "empty", "partial", "old")),
        answer=st.sampled_from(("recorded", "answer lost")),
        told=st.sampled_from((True, True, False)),
    )
    def a_round(self, data: st.DataObject, page: str, answer: str, told: bool) -> None:
        """The forwarder runs, then the bank decides what it likes, and may be heard."""
        if transfers.next_due_at(self.database) is None and not self.bank.undecided:
            self.credit(100, 0)
            self.every_event_arrives()
        self._settle(page, answer, data)
        for bank_id in self.bank.undecided:
            fates = FATES_OF_A_REPEAT if bank_id in self.bank.doomed else FATES
            fate = data.draw(st.sampled_from(fates))
            if fate != "wait":
                self.bank.decide(bank_id, fate)
        if told:
            self.every_event_arrives()


@cache
def _migrated() -> Path:
    path = Path(mkdtemp(prefix="repasse-migrated-")) / "repasse.db"
    database = open_database(f"sqlite:///{path}")
    migrate(database)
    database.close()
    return path


def _fast_folder() -> str | None:
    # Durability is tested elsewhere; here thousands of commits matter more than the disk they reach.
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def _lives(kind: type[Life], examples: int, steps: int) -> type[TestCase]:
    # Hypothesis makes one test case of a machine, so that others of it are others of a class below it.
    case = type(kind.__name__, (kind,), {}).TestCase  # type: ignore[attr-defined]
    case.settings = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    return case  # type: ignore[no-any-return]


def _long(case: type[TestCase]) -> type[TestCase]:
    return pytest.mark.long(pytest.mark.timeout(900)(case))


# Some lives after each change; four times as many as a long proof.
TestManyCredits = _lives(ManyCredits, 30, 40)
TestOneLineage = _lives(OneLineage, 100, 8)
TestMoreOfManyCredits = _long(_lives(ManyCredits, 120, 40))
TestMoreOfOneLineage = _long(_lives(OneLineage, 400, 8))
