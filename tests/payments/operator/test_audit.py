"""The auditor's file: every credit of a period once, with its transfer and times."""

import pytest

from payments.invoice import BankInvoice, Payer
from payments.ledger import batches
from payments.operator import audit
from payments.operator.audit import read_audit
from tests.payments.builders import INVOICE, NOW, a_policy, at_bank
from tests.payments.conftest import Books


def test_the_audit_has_the_transfer_and_times_of_each_credit(books: Books) -> None:
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
    ready = books.ready(at_bank("A", "failed"))
    books.accept(ready, at_bank("B", generation=2))
    [line] = read_audit(books.database)
    assert (line.invoice_tag, line.payer_name, line.payer_tax_id) == ("b-01", "Ana", "***.982.247-**")
    assert (line.transfers, line.external_id, line.transfer_state) == (2, f"credit-{INVOICE}-r2", "sent")
    assert (line.bank_transfer_id, line.transfer_centavos) == ("B", 48_662)
    assert line.destination is not None
    assert (line.destination.bank_code, line.destination.branch_code) == ("20018183", "0001")
    assert (line.destination.account_number, line.destination.account_type) == ("6341320293482496", "payment")
    assert (line.destination.name, line.destination.tax_id) == ("Stark Bank S.A.", "**.018.183/****-**")
    assert line.transfer_created_at == line.recorded_at == NOW
    assert (line.transfer_sent_at, line.transfer_settled_at) == (books.now, None)


def test_a_credit_without_a_transfer_is_audited_too(books: Books) -> None:
    """Its transfer columns are empty."""
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
    monkeypatch.setattr(audit, "CREDITS_PER_PAGE", 3)
    for each in range(number):
        books.credit(f"{each}")
        if each % 4 == 3:
            books.pass_time(1)
    assert [line.invoice_id for line in read_audit(books.database)] == [f"{each}" for each in range(number)]


def test_what_is_recorded_while_the_audit_is_read_disturbs_nothing(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does a reader that stops halfway keep the database locked."""
    monkeypatch.setattr(audit, "CREDITS_PER_PAGE", 1)
    books.credit("1")
    books.credit("2")
    lines = read_audit(books.database)
    assert next(lines).invoice_id == "1"
    books.pass_time(1)
    books.credit("3")
    assert [line.invoice_id for line in lines] == ["2", "3"]
