"""Reconciliation through the real SDK against the emulator: whatever the webhook missed is found, once."""

from collections.abc import Callable

import pytest

from payments.bank.client import Bank
from payments.event import read_event
from payments.ledger import inbox
from payments.ledger.batches import open_window
from payments.ledger.reconciliations import last_complete_reconciliation
from tests.contract.conftest import SOON_SECONDS, Stage
from tests.payments.builders import english

DAY = 86_400.0
HOUR = 3600.0


def subscribe_nobody(stage: Stage) -> None:
    """A webhook at an address where nobody listens: events exist, and stay undelivered."""
    stage.bank.create_webhook("http://127.0.0.1:9/webhooks/starkbank", ["invoice", "transfer"])


def undelivered(stage: Stage) -> int:
    """How many events the bank still holds for us."""
    return len(list(stage.bank.undelivered_events()))


def wait_for_events(stage: Stage) -> None:
    """Let the events of the last logs be made, and tried."""
    stage.advance(120)


def test_undelivered_events_are_taken_in_and_marked(stage: Stage) -> None:
    """The web app was down: every event is stored once, its credit becomes a transfer, and the list is empty."""
    subscribe_nobody(stage)
    stage.pay_invoices(10_000, 20_000)
    wait_for_events(stage)
    held = undelivered(stage)
    assert held == 6  # created, paid and credited of each
    counts = stage.reconcile()
    assert counts.failures == []
    assert counts.events == held
    assert counts.invoice_logs == 0, "the events had told of the credits already"
    assert undelivered(stage) == 0
    assert stage.books.credits == 2
    assert stage.books.transfers["pending"] == 2
    assert stage.rows("SELECT DISTINCT source FROM inbox_events") == [("reconciliation",)]


def test_an_event_that_came_by_the_webhook_and_stayed_undelivered_is_no_second_credit(stage: Stage) -> None:
    """Our 200 was lost: the event is known, only the mark is missing."""
    subscribe_nobody(stage)
    stage.pay_invoices(10_000)
    wait_for_events(stage)
    arrivals = [inbox.Arrival(read_event(body), "signature") for body in stage.bank.undelivered_events()]
    inbox.accept(stage.database, arrivals, "webhook", stage.policy, stage.now())
    counts = stage.reconcile()
    assert counts.found == 0
    assert undelivered(stage) == 0
    assert stage.books.credits == 1
    assert stage.rows("SELECT count(*) FROM transfers") == [(1,)]


def test_credits_are_found_in_the_logs_when_no_event_was_ever_made(stage: Stage) -> None:
    """No webhook was registered, or it was down for longer than the bank tries: the logs remain."""
    ids = stage.pay_invoices(10_000, 20_000, 30_000)
    counts = stage.reconcile()
    assert (counts.events, counts.invoice_logs) == (0, 3)
    assert {invoice_id for (invoice_id,) in stage.rows("SELECT invoice_id FROM credits")} == set(ids)
    assert stage.reconcile().found == 0, "what is known is not recorded again"
    stage.settle()
    stage.finish()
    assert stage.emulator.statement()["exact"]


def test_a_reversal_is_found_in_the_logs(stage: Stage) -> None:
    """Its event never came either."""
    (invoice_id,) = stage.credit(10_000)
    stage.emulator.ask("POST", f"invoices/{invoice_id}/reverse")
    stage.advance(30)
    assert stage.reconcile().invoice_logs > 0
    assert stage.books.reversed_centavos == 10_000


def test_the_outcome_of_a_transfer_in_flight_is_found(stage: Stage) -> None:
    """Its success event never came: after a lease's time the bank is asked for its logs."""
    stage.credit(10_000)
    stage.settle()
    stage.advance(SOON_SECONDS)
    assert stage.reconcile().outcomes == 0, "its event may still be on the way"
    stage.advance(stage.policy.lease_seconds)
    assert stage.reconcile().outcomes == 1
    assert stage.books.settled_centavos == 10_000


def test_more_transfers_in_flight_than_one_question_takes_are_all_found(stage: Stage) -> None:
    """A hundred ids a question, and no transfer is asked for twice."""
    stage.credit(*range(1_000, 1_080))
    stage.credit(*range(2_000, 2_080))
    stage.settle()
    stage.settle()
    stage.advance(SOON_SECONDS + stage.policy.lease_seconds)
    assert stage.reconcile().outcomes == 160
    assert stage.books.transfers["settled"] == 160


def test_a_transfer_that_stays_open_at_the_bank_is_asked_for_once_a_run(stage: Stage) -> None:
    """Without an outcome there is nothing to record, and no endless asking."""
    stage.emulator.ask("PATCH", "settings", process_delay_seconds=[DAY, DAY])
    stage.credit(10_000)
    stage.settle()
    stage.advance(SOON_SECONDS + stage.policy.lease_seconds)
    assert stage.reconcile().outcomes == 0
    assert len(stage.emulator.requests("GET", "transfer/log")) == 1
    assert stage.books.in_flight_centavos == 10_000


def test_a_transfer_without_an_outcome_for_a_day_is_raised_until_it_has_one(stage: Stage) -> None:
    """A person asks the bank; when the bank decides, the matter is closed."""
    stage.emulator.ask("PATCH", "settings", process_delay_seconds=[1.5 * DAY, 1.5 * DAY])
    stage.credit(10_000)
    stage.settle()
    stage.advance(DAY - 1)
    stage.reconcile()
    assert stage.books.attention == 0
    stage.advance(2)
    stage.reconcile()
    assert stage.books.attention == 1
    stage.advance(DAY)
    stage.reconcile()
    assert stage.books.settled_centavos == 10_000
    assert stage.books.attention == 0


@pytest.mark.parametrize(
    ("route", "question", "still_found"),
    [
        ("GET event", "undelivered events", "invoice_logs"),
        ("GET invoice/log", "invoice logs", "events"),
        ("GET transfer/log", "transfers in flight", "events"),
    ],
)
def test_a_question_that_fails_does_not_stop_the_others(
    stage: Stage, route: str, question: str, still_found: str
) -> None:
    """Each is asked; the failure is named, and the run does not count as one that heard everything."""
    stage.credit(10_000)
    stage.settle()
    complete = last_complete_reconciliation(stage.database)
    stage.advance(stage.policy.lease_seconds + SOON_SECONDS)
    subscribe_nobody(stage)
    stage.pay_invoices(20_000)
    wait_for_events(stage)
    stage.emulator.fault("error_500", route)
    counts = stage.reconcile()
    assert [english(failure).partition(":")[0] for failure in counts.failures] == [question]
    assert getattr(counts, still_found) > 0
    assert last_complete_reconciliation(stage.database) == complete
    stage.emulator.clear_faults()
    assert stage.reconcile().failures == []
    assert last_complete_reconciliation(stage.database) == stage.now()
    assert stage.books.credits == 2


def test_a_credit_older_than_the_last_complete_run_is_still_found_after_failures(stage: Stage) -> None:
    """The list is read from the last run that heard everything, however long ago that was."""
    stage.credit(10_000)
    stage.emulator.fault("error_500", "GET invoice/log")
    stage.pay_invoices(20_000)
    for _ in range(5):
        stage.advance(DAY)
        assert stage.reconcile().invoice_logs == 0
    stage.emulator.clear_faults()
    assert stage.reconcile().invoice_logs == 1
    assert stage.books.credits == 2


def test_credits_from_before_our_time_are_left_alone(stage: Stage) -> None:
    """A first start on an old account forwards nothing that was credited before the window was opened."""
    stage.pay_invoices(10_000)
    stage.advance(HOUR)
    open_window(stage.database, 3 * HOUR, 8, "abcd", stage.now())
    stage.pay_invoices(20_000)
    stage.reconcile()
    assert stage.rows("SELECT gross_centavos FROM credits") == [(20_000,)]


def test_a_bank_that_cannot_be_reached_is_named_for_every_question(
    stage: Stage, connect: Callable[..., Bank]
) -> None:
    """Nothing is recorded as heard."""
    counts = stage.reconcile(connect(api_url="http://127.0.0.1:9"))
    assert len(counts.failures) == 2, "nothing is in flight, so the third has nothing to ask"
    assert last_complete_reconciliation(stage.database) is None
