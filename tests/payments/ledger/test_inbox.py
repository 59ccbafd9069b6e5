"""The inbox: every event once, with all that follows from it or with nothing."""

import json

import pytest
from sqlalchemy import select

from payments.event import read_event, read_log
from payments.ledger import inbox
from payments.ledger.inbox import Arrival, Receipt
from payments.storage.database import Database
from payments.storage.schema import inbox_events
from tests.payments.builders import (
    INVOICE,
    NOW,
    a_body,
    a_policy,
    an_invoice_log,
)
from tests.payments.conftest import ON_SQLITE, Books


def stored(database: Database, event_id: str) -> dict[str, object]:
    """An event's row."""
    with database.reading() as connection:
        found = connection.execute(select(inbox_events).where(inbox_events.c.event_id == event_id)).one()
        return dict(found._mapping)


def test_a_credited_event_becomes_a_credit_and_a_pending_transfer(books: Books) -> None:
    """In one transaction; the receipt says what is to be forwarded."""
    receipt = books.credit()
    assert receipt == Receipt(f"event-of-credited-{INVOICE}", inbox.Outcome.CREDIT, INVOICE, 48_662)
    assert receipt.is_new
    credit = books.credit_row()
    assert (credit.gross_centavos, credit.fee_centavos, credit.net_centavos) == (48_712, 50, 48_662)
    assert (books.states, books.row().amount_centavos, books.row().due_at) == (["pending"], 48_662, NOW)


def test_an_event_is_kept_to_the_byte_with_its_signature(books: Books) -> None:
    """For audit and replay: the bank's own words, as they were signed."""
    log = an_invoice_log(name="João Conceição", tags=("côr",))
    body = json.dumps(json.loads(a_body(log, "77")), ensure_ascii=False).encode()
    arrival = Arrival(read_event(body), "MEUCIQ==")
    inbox.accept(books.database, [arrival], "webhook", books.policy, NOW)
    row = stored(books.database, "77")
    assert (row["body"], row["digital_signature"], row["source"]) == (body, "MEUCIQ==", "webhook")
    assert (row["subscription"], row["log_type"], row["subject"]) == ("invoice", "credited", INVOICE)
    assert (row["outcome"], row["reason"], row["received_at"]) == ("credit", None, NOW)


def test_a_redelivered_event_creates_no_second_transfer(books: Books) -> None:
    """Five times together, or days later."""
    first, *others = books.tell(*[an_invoice_log()] * 5)
    [late] = books.tell(an_invoice_log())
    assert first.outcome == "credit"
    assert {receipt.outcome for receipt in (*others, late)} == {"repeated"}
    assert not late.is_new
    assert books.states == ["pending"]


@ON_SQLITE
def test_an_altered_event_of_a_known_id_changes_nothing(books: Books) -> None:
    """A replay with other content is still the same event."""
    books.credit()
    [receipt] = books.tell(an_invoice_log(amount=999_999), event_id=f"event-of-credited-{INVOICE}")
    assert receipt.outcome == "repeated"
    assert books.credit_row().gross_centavos == 48_712


def test_the_same_log_through_two_events_is_one_credit(books: Books) -> None:
    """Two webhooks of one workspace: two events, one log."""
    books.credit()
    [receipt] = books.tell(an_invoice_log(), event_id="of-the-other-webhook")
    assert (receipt.outcome, receipt.is_new) == ("known_credit", False)
    assert (books.states, books.attention) == (["pending"], [])
    assert stored(books.database, "of-the-other-webhook")["outcome"] == "known_credit"


def test_the_same_log_from_the_list_and_from_the_event_is_one_credit(books: Books) -> None:
    """Reconciliation and the webhook race; either may win."""
    listed = Arrival(read_log("invoice", json.dumps(an_invoice_log()).encode()))
    [receipt] = inbox.accept(books.database, [listed], "reconciliation", books.policy, NOW)
    assert (receipt.event_id, receipt.outcome) == (f"invoice-log-credited-{INVOICE}", "credit")
    assert books.credit().outcome == "known_credit"
    assert stored(books.database, receipt.event_id)["digital_signature"] is None


def test_a_second_credited_log_of_an_invoice_is_for_a_person(books: Books) -> None:
    """One automatic lineage per invoice: only the first is forwarded."""
    books.credit()
    receipt = books.credit(log_id="another-log")
    assert (receipt.outcome, receipt.is_new) == ("second_credit", True)
    assert (books.states, books.attention) == (["pending"], ["second_credit"])
    assert books.statement.net_centavos == 48_662


@pytest.mark.parametrize("changes", [{"amount": 48_713}, {"fee": 0}, {"invoice_id": "another"}])
def test_a_known_log_with_other_content_is_for_a_person(books: Books, changes: dict[str, object]) -> None:
    """The same id with other content is never a harmless repeat."""
    books.tell(an_invoice_log(log_id="9"))
    [receipt] = books.tell(an_invoice_log(log_id="9", **changes), event_id="other")  # type: ignore[arg-type]
    assert receipt.outcome == "second_credit"
    assert books.attention == ["second_credit"]
    assert books.statement.credits == 1


@ON_SQLITE
@pytest.mark.parametrize(("amount", "fee"), [(50, 50), (30, 50), (0, 0)])
def test_a_credit_that_the_fee_ate_is_recorded_and_said(books: Books, amount: int, fee: int) -> None:
    """No transfer of nothing, and no silence about it."""
    receipt = books.credit(amount=amount, fee=fee)
    assert (receipt.outcome, receipt.net_centavos) == ("nothing_to_forward", amount - fee)
    assert (books.states, books.attention) == ([], ["nothing_to_forward"])
    assert books.statement.not_forwarded_centavos == amount - fee


@ON_SQLITE
def test_with_only_issued_a_stranger_s_invoice_is_not_forwarded(books: Books) -> None:
    """A shared workspace delivers the invoices of all its users."""
    books.policy = a_policy(only_issued=True)
    assert books.credit("100").outcome == "not_ours"
    assert books.credit("101", tags=("repasse", "repasse-k3-slot-1")).outcome == "credit"
    assert (books.states_of("100"), books.states_of("101")) == ([], ["pending"])
    assert books.statement.not_forwarded_centavos == 48_662


@ON_SQLITE
def test_a_stranger_s_invoice_is_not_forwarded_by_its_reversal_either(books: Books) -> None:
    """Nothing of it concerns us."""
    books.policy = a_policy(only_issued=True)
    books.credit()
    assert books.reverse(0).outcome == "reversal"
    assert (books.states, books.attention) == ([], [])


@ON_SQLITE
@pytest.mark.parametrize("log_type", ["created", "paid", "overdue"])
def test_other_invoice_events_are_stored_and_nothing_else(books: Books, log_type: str) -> None:
    """paid before or after credited, in any order, moves no money."""
    [receipt] = books.tell(an_invoice_log(log_type))
    assert (receipt.outcome, receipt.net_centavos) == ("ignored", None)
    assert books.statement.credits == 0


def test_an_unknown_subscription_is_stored(books: Books) -> None:
    """Whatever the bank invents; a name of any length."""
    body = json.dumps({"event": {"id": "5", "subscription": "d" * 200, "log": {"type": "t" * 200}}}).encode()
    [receipt] = inbox.accept(books.database, [Arrival(read_event(body))], "webhook", books.policy, NOW)
    assert receipt.outcome == "ignored"
    assert stored(books.database, "5")["body"] == body


@pytest.mark.parametrize(
    "body",
    [
        b"\xff not json",
        a_body(an_invoice_log(amount="R$ 1,00")),
        a_body(an_invoice_log(amount=2**63)),
        a_body(an_invoice_log(created="0001-01-01T00:00:00+23:59")),
        b'{"event": {"id": "1", "subscription": "invoice"}}',
    ],
    ids=["bytes", "text for money", "too much money", "impossible time", "no log"],
)
def test_an_unreadable_event_is_stored_whole_and_raised(books: Books, body: bytes) -> None:
    """Signed by the bank, but its money cannot be read: never lost, never guessed."""
    arrival = Arrival(read_event(body))
    first, again = (
        inbox.accept(books.database, [arrival], "webhook", books.policy, NOW)[0].outcome for _ in range(2)
    )
    assert (first, again) == ("unreadable", "repeated")
    row = stored(books.database, arrival.event.event_id)
    assert (row["body"], row["outcome"]) == (body, "unreadable")
    assert row["reason"]
    assert books.attention == ["unreadable_event"]
    assert books.statement.credits == 0


def test_the_largest_readable_credit_fits_the_books_many_times(books: Books) -> None:
    """Neither a column nor the statement's sums overflow."""
    for number in range(20):
        assert books.credit(f"{number}", amount=10**15, fee=0).outcome == "credit"
    assert books.statement.net_centavos == 20 * 10**15


def test_a_credit_from_the_dawn_of_time_can_be_read_back(books: Books) -> None:
    """Moments keep one width on SQLite, whatever the year."""
    books.credit(created="0001-01-01T00:00:00+00:00")
    assert books.credit_row().credited_at.year == 1
    assert books.claim().amount_centavos == 48_662


def test_receipts_come_in_the_order_of_the_arrivals(books: Books) -> None:
    """Each waiting request gets its own."""
    logs = [an_invoice_log(invoice_id=str(number)) for number in (3, 1, 2)]
    assert [receipt.subject for receipt in books.tell(*logs)] == ["3", "1", "2"]
    assert books.tell() == []


def test_logs_that_had_their_effect_are_known(books: Books) -> None:
    """Reconciliation need not read them again; a log that was only announced, or is unknown, it must."""
    books.credit(log_id="10")
    books.tell(an_invoice_log("reversed", amount=20_000, log_id="11"))
    books.tell(an_invoice_log("paid", log_id="12"))
    assert inbox.known_logs(books.database, ["10", "11", "12", "13"]) == {"10", "11"}
    assert inbox.known_logs(books.database, []) == set()
