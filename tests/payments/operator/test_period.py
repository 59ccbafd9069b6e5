"""The statement of a period and the auditor's file: every credit of it once, and what became of it."""

from datetime import timedelta

import pytest

from payments.invoice import BankInvoice, Payer
from payments.ledger import batches
from payments.operator import period
from payments.operator.period import read_audit, read_period, read_unaccounted
from payments.transfer import LIVE_STATES
from tests.payments.builders import INVOICE, NOW, a_policy, at_bank
from tests.payments.conftest import Books


def a_day(books: Books) -> None:
    """Credits of every fate: settled, sent, dead, waiting, partly reversed, eaten by the fee."""
    books.credit("1", amount=1_050)
    books.send("A", "1")
    books.news(at_bank("A", "success", 1_000, "1"))
    books.credit("2", amount=2_050)
    books.send("B", "2")
    books.credit("3", amount=3_050)
    books.refuse(books.claim())
    books.credit("4", amount=4_050)
    books.credit("5", amount=5_050)
    books.reverse(1_050, "5")
    books.credit("6", amount=50)


def test_a_period_accounts_for_each_of_its_credits(books: Books) -> None:
    """In the same sums as the statement of everything."""
    a_day(books)
    read = read_period(books.database, NOW, NOW + timedelta(seconds=1))
    whole = books.statement
    assert read.balanced
    assert read.transfers == {str(state): whole.transfers[state] for state in LIVE_STATES}
    for name in (
        "gross",
        "fee",
        "net",
        "settled",
        "in_flight",
        "unforwarded",
        "dead",
        "reversed",
        "not_forwarded",
    ):
        assert getattr(read, f"{name}_centavos") == getattr(whole, f"{name}_centavos")
    assert read.credits == 6


def test_a_period_takes_its_first_moment_and_not_its_last(books: Books) -> None:
    """So that days follow each other without gap or overlap."""
    books.credit("1")
    books.pass_time(60)
    books.credit("2")
    later = books.now
    assert read_period(books.database, NOW, later).credits == 1
    assert read_period(books.database, later, None).credits == 1
    assert read_period(books.database, None, NOW).credits == 0
    assert read_period(books.database, None, None).credits == 2
    assert [line.invoice_id for line in read_audit(books.database, NOW, later)] == ["1"]


def test_an_empty_period_balances(books: Books) -> None:
    """Nothing is nothing."""
    read = read_period(books.database, NOW, NOW)
    assert (read.credits, read.net_centavos, read.balanced) == (0, 0, True)


def test_the_audit_tells_each_credits_transfer_and_times(books: Books) -> None:
    """The live one of the lineage, how many there were, and the payer of an invoice of ours, masked."""
    plan = [(Payer("Ana", "529.982.247-25"), 48_712)]
    batches.plan_batch(books.database, "b", None, plan, NOW, late=False, now=NOW)
    claim = batches.claim_batch(books.database, 60, NOW)
    assert claim is not None
    batches.record_issued(books.database, claim, [BankInvoice(INVOICE, "paid", 48_712, ("b-01",))], NOW)
    books.credit()
    books.send()
    books.lose("A", "no funds")
    books.become_due()
    ready = books.look_up(books.claim(), at_bank("A", "failed")).to_send
    assert ready is not None
    books.accept(ready, at_bank("B", generation=2))
    [line] = read_audit(books.database)
    assert (line.invoice_tag, line.payer_name, line.payer_tax_id) == ("b-01", "Ana", "***.982.247-**")
    assert (line.transfers, line.external_id, line.transfer_state) == (2, f"credit-{INVOICE}-r2", "sent")
    assert (line.bank_transfer_id, line.transfer_centavos) == ("B", 48_662)
    assert line.transfer_created_at == line.recorded_at == NOW
    assert (line.transfer_sent_at, line.transfer_settled_at) == (books.now, None)


def test_a_credit_without_a_transfer_is_audited_too(books: Books) -> None:
    """With nothing where nothing is."""
    books.policy = a_policy(only_issued=True)
    books.credit()
    [line] = read_audit(books.database)
    assert (line.disposition, line.transfers, line.external_id, line.transfer_reason) == (
        "not_ours",
        0,
        None,
        None,
    )


@pytest.mark.parametrize("number", [0, 3, 4, 9])
def test_the_audit_is_whole_however_many_pages_it_takes(
    books: Books, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each credit once, oldest first, also where a page ends among credits of one moment."""
    monkeypatch.setattr(period, "CREDITS_PER_PAGE", 3)
    for each in range(number):
        books.credit(f"{each}")
        if each % 4 == 3:
            books.pass_time(1)
    assert [line.invoice_id for line in read_audit(books.database)] == [f"{each}" for each in range(number)]


def test_what_is_recorded_while_the_audit_is_read_disturbs_nothing(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does a reader that stops halfway keep the books locked."""
    monkeypatch.setattr(period, "CREDITS_PER_PAGE", 1)
    books.credit("1")
    books.credit("2")
    lines = read_audit(books.database)
    assert next(lines).invoice_id == "1"
    books.pass_time(1)
    books.credit("3")
    assert [line.invoice_id for line in lines] == ["2", "3"]


def test_sound_books_have_no_unaccounted_credit(books: Books) -> None:
    """Whatever became of them."""
    a_day(books)
    assert read_unaccounted(books.database) == []
