"""Several machines on one PostgreSQL: what each does is stopped just before its commit, while another acts.

Each test has two real connections in two threads. Nothing is left to chance: a thread is let go only when the other
waits for it in PostgreSQL, or has ended.
"""

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar

import pytest
from sqlalchemy import event, select

from payments.invoice import Payer
from payments.ledger import batches, inbox, transfers
from payments.storage.database import open_database
from payments.storage.schema import credits
from tests.payments.builders import a_transfer_log, an_arrival, an_invoice_log, at_bank
from tests.payments.conftest import Books
from tests.postgresql import connection_to
from tests.running import wait_until

Result = TypeVar("Result")

pytestmark = pytest.mark.parametrize("database", ["postgresql"], indirect=True)


@pytest.fixture
def other(books: Books) -> Iterator[Books]:
    """The same books, on another machine."""
    database = open_database(books.database.url.render_as_string(hide_password=False))
    yield replace(books, database=database)
    database.close()


@pytest.fixture
def run() -> Iterator[Callable[..., "Future[Any]"]]:
    """Run something in a thread."""
    with ThreadPoolExecutor(16) as threads:
        yield threads.submit


@contextmanager
def held_before_commit(
    books: Books, run: Callable[..., "Future[Any]"], act: Callable[[], Any]
) -> Iterator[None]:
    """``act`` has done everything but to commit, for as long as the block lasts."""
    reached, go = threading.Event(), threading.Event()

    def hold(_: object) -> None:
        reached.set()
        assert go.wait(30)

    event.listen(books.database.engine, "commit", hold)
    acting = run(act)
    assert reached.wait(30), acting.result()
    try:
        yield
    finally:
        go.set()
        try:
            acting.result(30)
        finally:
            event.remove(books.database.engine, "commit", hold)


def wait_until_blocked_or_ended(books: Books, acting: "Future[Any]", sessions: int = 1) -> None:
    """Until so many other sessions wait for a lock, or this one has no need to."""
    with connection_to(books.database.url.render_as_string(hide_password=False)) as connection:
        waiting = (
            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        wait_until(
            lambda: acting.done() or len(connection.execute(waiting).fetchall()) >= sessions,
            "it waits or has ended",
        )


# --- one lineage, two machines ---


@pytest.mark.parametrize("first", ["credit", "reversal"])
@pytest.mark.parametrize(("remaining", "states", "amount"), [(0, [], 0), (20_000, ["pending"], 19_950)])
def test_a_credit_and_its_reversal_at_the_same_moment_see_each_other(
    books: Books,
    other: Books,
    run: Callable[..., "Future[Any]"],
    first: str,
    remaining: int,
    states: list[str],
    amount: int,
) -> None:
    """Neither is visible to the other before it commits; still no more than what is owed is forwarded."""
    acts: dict[str, Callable[[Books], object]] = {
        "credit": lambda books: books.credit(),
        "reversal": lambda books: books.reverse(remaining),
    }
    [second] = acts.keys() - {first}
    with held_before_commit(books, run, lambda: acts[first](books)):
        acting = run(acts[second], other)
        wait_until_blocked_or_ended(books, acting)
    acting.result(30)
    live = [state for state in books.states if state != "stopped"]
    assert live == states
    assert books.credit_row().withheld_centavos == 48_662 - amount
    assert [claim.amount_centavos for claim in books.claim_all()] == ([amount] if amount else [])


def test_a_transfer_that_is_being_lowered_is_not_claimed_meanwhile(
    books: Books, other: Books, run: Callable[..., "Future[Any]"]
) -> None:
    """It is skipped, and then claimed at what is owed: sending the old amount would pay too much."""
    books.credit()
    with held_before_commit(books, run, lambda: books.reverse(20_000)):
        assert other.claim_all() == []
    [claim] = other.claim_all()
    assert claim.amount_centavos == books.row().amount_centavos == 19_950


def test_a_transfer_that_is_being_claimed_is_not_lowered_meanwhile(
    books: Books, other: Books, run: Callable[..., "Future[Any]"]
) -> None:
    """The claim counts, since it may be sent immediately; the reversal is money to claim back."""
    books.credit()
    with held_before_commit(books, run, books.claim):
        acting = run(other.reverse, 20_000)
        wait_until_blocked_or_ended(books, acting)
    acting.result(30)
    assert books.row().amount_centavos == 48_662
    assert books.states == ["sending"]
    assert books.attention == ["reversed_after_sending"]


def test_an_outcome_that_comes_while_the_acceptance_is_recorded_is_not_lost(
    books: Books, other: Books, run: Callable[..., "Future[Any]"]
) -> None:
    """The bank's event may be quicker than our own commit."""
    books.credit()
    claim = books.claim()
    with held_before_commit(books, run, lambda: books.accept(claim, at_bank("A"))):
        acting = run(other.news, at_bank("A", "success"))
        wait_until_blocked_or_ended(books, acting)
    acting.result(30)
    assert books.states == ["settled"]


def test_a_claim_whose_lease_ran_out_is_taken_by_one_machine(
    books: Books, other: Books, run: Callable[..., "Future[Any]"]
) -> None:
    """While one takes it over, the others pass it by; the late one is fenced off."""
    books.credit()
    late = books.claim()
    books.pass_time(61)
    other.now = books.now
    with held_before_commit(books, run, books.claim):
        assert other.claim_all() == []
    assert books.accept(late, at_bank("A")) == 0
    assert books.row().attempt == 2


# --- many lineages ---


def test_machines_that_claim_together_share_what_is_due(
    books: Books, run: Callable[..., "Future[Any]"]
) -> None:
    """Every transfer goes to exactly one, and none waits for another."""
    books.tell(*(an_invoice_log(invoice_id=f"{number}") for number in range(100)))

    def claim_until_nothing_is_due(number: int) -> list[str]:
        mine = replace(
            books, database=open_database(books.database.url.render_as_string(hide_password=False))
        )
        try:
            claimed: list[str] = []
            while claims := mine.claim_all(f"call-{number}", limit=7):
                claimed += [claim.external_id for claim in claims]
            return claimed
        finally:
            mine.database.close()

    shares = [each.result(60) for each in [run(claim_until_nothing_is_due, number) for number in range(4)]]
    claimed = [external_id for share in shares for external_id in share]
    assert len(claimed) == len(set(claimed)) == 100


def test_the_same_events_through_many_processes_in_any_order_are_recorded_once(
    books: Books, run: Callable[..., "Future[Any]"]
) -> None:
    """Credits, reversals and news of many lineages: no deadlock is left to the caller, and nothing counts twice."""
    invoices = [f"{number}" for number in range(25)]
    arrivals = [an_arrival(an_invoice_log(invoice_id=invoice)) for invoice in invoices]
    arrivals += [
        an_arrival(an_invoice_log("reversed", invoice, 20_000, log_id=f"r-{invoice}"))
        for invoice in invoices[:8]
    ]
    arrivals += [
        an_arrival(a_transfer_log(at_bank(f"B{invoice}", "success", invoice_id=invoice)))
        for invoice in invoices[8:]
    ]

    def deliver(seed: int) -> None:
        database = open_database(books.database.url.render_as_string(hide_password=False))
        chance = random.Random(seed)
        mine = chance.sample(arrivals, len(arrivals))
        try:
            while mine:
                group, mine = mine[:12], mine[12:]
                inbox.accept(database, group, "webhook", books.policy, books.now)
        finally:
            database.close()

    for each in [run(deliver, seed) for seed in range(8)]:
        each.result(60)
    with books.database.reading() as connection:
        assert len(connection.execute(select(credits)).all()) == 25
    books.tell(
        *(
            a_transfer_log(at_bank(f"B{each}", "success", invoice_id=each), log_id=f"again-{each}")
            for each in invoices[8:]
        )
    )
    assert {books.states_of(each)[0] for each in invoices[8:]} == {"settled"}
    assert {books.credit_row(each).withheld_centavos for each in invoices[:8]} == {48_662 - 19_950}


def test_a_transaction_that_postgresql_undid_for_another_is_repeated(
    books: Books, run: Callable[..., "Future[Any]"]
) -> None:
    """A deadlock, made by hand: a stranger locks two lineages in the other order. We look first, so we are undone."""
    books.tell(*(an_invoice_log(invoice_id=each) for each in "123"))
    claims = books.claim_all()
    accepted = {
        claim.external_id: at_bank(claim.external_id, invoice_id=claim.invoice_id) for claim in claims
    }
    address = books.database.url.render_as_string(hide_password=False)
    lock = "SELECT 1 FROM credits WHERE invoice_id = %s FOR UPDATE"
    with connection_to(address) as stranger, connection_to(address) as gate:
        stranger.execute("SET deadlock_timeout = '30s'")
        gate.execute(f"ALTER DATABASE {books.database.url.database} SET deadlock_timeout = '20ms'")
        books.database.engine.dispose()  # so that its next sessions know
        for other, invoice_id in ((stranger, "3"), (gate, "2")):
            other.execute("BEGIN")
            other.execute(lock, [invoice_id])
        acting = run(transfers.record_sent, books.database, claims, accepted, books.policy, books.now)
        wait_until_blocked_or_ended(books, acting)  # it has the first, and waits for the second
        queued = run(stranger.execute, lock, ["1"])
        wait_until_blocked_or_ended(books, queued, sessions=2)
        gate.execute("COMMIT")  # now it waits for the third, and sees the deadlock
        queued.result(30)
        assert not acting.done()
        stranger.execute("COMMIT")
    assert acting.result(30) == 3
    assert {state for each in "123" for state in books.states_of(each)} == {"sent"}


# --- batches ---


def test_a_slot_is_planned_by_one_worker_and_claimed_by_one(
    books: Books, other: Books, run: Callable[..., "Future[Any]"]
) -> None:
    """The unique slot decides who plans; the lease who issues."""
    plan = [(Payer("Ana", "012.345.678-90"), 1000)]

    def plan_it(books: Books) -> bool:
        return batches.plan_batch(books.database, "tag", 0, plan, books.now, late=False, now=books.now)

    with held_before_commit(books, run, lambda: plan_it(books)):
        acting = run(plan_it, other)
        wait_until_blocked_or_ended(books, acting)
    assert acting.result(30) is False
    with held_before_commit(books, run, lambda: batches.claim_batch(books.database, 60, books.now)):
        assert batches.claim_batch(other.database, 60, books.now) is None
    assert batches.claim_batch(other.database, 60, books.now) is None
    books.pass_time(61)
    taken_over = batches.claim_batch(other.database, 60, books.now)
    assert taken_over is not None
    assert taken_over.attempt == 2
