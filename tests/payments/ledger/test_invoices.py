"""What the bank reports of invoices: columns that are only ever completed, whatever the order of the events."""

from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest
from sqlalchemy import select

from payments.invoice import BankInvoice, Payer
from payments.ledger import batches
from payments.storage.database import Database
from payments.storage.schema import invoices
from payments.tax_id import hash_tax_id
from tests.payments.builders import INVOICE, NOW, an_invoice_log
from tests.payments.conftest import Books

PLAN = [(Payer("Ana Conceição", "529.982.247-25"), 48_712)]
PIX = "e20018183202603021510kq3vz81mapt"


def the_invoice(database: Database, invoice_id: str = INVOICE) -> Any:
    """Its row; there is only one."""
    with database.reading() as connection:
        return connection.execute(select(invoices).where(invoices.c.bank_invoice_id == invoice_id)).one()


def log_of(log_type: str, minute: int, **changes: Any) -> dict[str, Any]:
    """A log of that type, written by the bank at that minute."""
    log = an_invoice_log(log_type, created=f"2026-03-02T15:{minute:02}:00.000000+00:00", tags=())
    status = {"credited": "paid", "updated": "created"}.get(log_type, log_type)
    log["invoice"] |= {"status": status, "tags": [], **changes}
    return log


@pytest.mark.parametrize(
    ("logs", "state"),
    [
        ([("created", 1)], "open"),
        ([("created", 1), ("paid", 2)], "paid"),
        ([("created", 1), ("paid", 2), ("credited", 3)], "credited"),
        ([("created", 1), ("overdue", 2)], "overdue"),
        ([("created", 1), ("overdue", 2), ("paid", 3)], "paid"),
        ([("created", 1), ("overdue", 2), ("updated", 3)], "open"),
        ([("created", 1), ("canceled", 2)], "canceled"),
        ([("overdue", 2), ("expired", 3)], "expired"),
        # one moment: a payment still is one
        ([("created", 1), ("paid", 1), ("credited", 1)], "credited"),
    ],
)
def test_the_state_is_the_same_in_whatever_order_events_come(
    books: Books, logs: list[tuple[str, int]], state: str
) -> None:
    """A credit is final, a payment gives way to a credit only, of the others the bank's last word holds."""
    for number, order in enumerate(permutations(logs)):
        invoice_id = f"{number}"
        for log_type, minute in order:
            log = log_of(log_type, minute, id=invoice_id) | {"id": f"{log_type}{number}"}
            books.tell(log)
        assert the_invoice(books.database, invoice_id).state == state, order


def test_a_group_of_events_reports_together(books: Books) -> None:
    """Several of one invoice, and of others, in one transaction."""
    books.tell(log_of("credited", 3), log_of("created", 1), log_of("paid", 2))
    row = the_invoice(books.database)
    assert (row.state, row.paid_at) == ("credited", NOW + timedelta(minutes=2))


def test_an_invoice_of_another_system_has_its_payer(books: Books) -> None:
    """Its tax id masked and hashed, its name as it is searched for, its Pix, its link."""
    log = an_invoice_log("credited", name="  José  da SILVA ", tags=("theirs", PIX))
    log["invoice"] |= {"link": "https://example.starkbank.com/invoicelink/1", "due": "2026-03-04"}
    books.tell(log)
    row = the_invoice(books.database)
    assert (row.payer_search, row.payer_tax_id) == ("jose da silva", "***.982.247-**")
    assert row.payer_tax_id_hash == hash_tax_id(books.policy.tax_id_key, "52998224725")
    assert row.payer_end_to_end_id == PIX.upper()
    assert (row.tags, row.link) == (f'["theirs","{PIX}"]', "https://example.starkbank.com/invoicelink/1")
    # a day of the bank's ends three hours after that of UTC
    assert row.due_at == NOW.replace(day=5, hour=2, minute=59, second=59, microsecond=999_999)
    assert (row.batch_id, row.tag, row.payer_tax_id_to_issue) == (None, None, None)


@pytest.mark.parametrize(
    "odd",
    [
        {"name": None, "taxId": 5, "link": {}, "due": True, "status": []},
        {"name": "\x00", "taxId": "\x00", "due": "2026-99-99", "created": "yesterday", "link": "x" * 9000},
        {
            "name": "x" * 9000,
            "taxId": "x" * 9000,
            "due": "0001-01-01",
            "created": "0001-01-01T00:00:00+23:00",
        },
    ],
)
def test_odd_words_of_the_bank_never_hold_up_a_credit(books: Books, odd: dict[str, Any]) -> None:
    """What people read is not what money rests on."""
    books.tell(log_of("credited", 3, **odd))
    assert books.states == ["pending"]
    assert the_invoice(books.database).state == "credited"


def plan_and_claim(books: Books) -> batches.BatchClaim:
    """A batch of one invoice, about to be issued."""
    batches.plan_batch(
        books.database, "b", 0, PLAN, NOW, late=False, now=NOW, tax_id_key=books.policy.tax_id_key
    )
    claim = batches.claim_batch(books.database, 60, NOW)
    assert claim is not None
    return claim


def test_a_whole_tax_id_is_kept_until_the_bank_has_the_invoice(books: Books) -> None:
    """It is sent with the invoice; afterwards the masked one and the hash are enough."""
    claim = plan_and_claim(books)
    assert claim.missing[0].payer.tax_id == "529.982.247-25"
    there = BankInvoice(INVOICE, "created", 48_712, ("b", "b-01"), NOW, NOW + timedelta(days=2), "https://x")
    assert batches.record_issued(books.database, claim, [there], NOW) == ()
    row = the_invoice(books.database)
    assert (row.state, row.payer_tax_id, row.payer_tax_id_to_issue) == ("open", "***.982.247-**", None)
    assert (row.issued_at, row.due_at, row.link) == (NOW, NOW + timedelta(days=2), "https://x")
    assert row.payer_tax_id_hash == hash_tax_id(books.policy.tax_id_key, "529.982.247-25")
    assert batches.record_issued(books.database, claim, [there], NOW) == ()


def test_an_event_that_overtakes_the_answer_to_its_batch_is_taken_over(books: Books) -> None:
    """Until then the invoice looks like another system's; then it is ours, with all that was reported."""
    claim = plan_and_claim(books)
    books.tell(log_of("created", 1, tags=["b", "b-01"]), log_of("paid", 2, tags=["b", "b-01", PIX]))
    assert the_invoice(books.database).batch_id is None
    there = BankInvoice(INVOICE, "created", 48_712, ("b", "b-01"), NOW, link="https://x")
    assert batches.record_issued(books.database, claim, [there], NOW + timedelta(hours=1)) == ()
    row = the_invoice(books.database)
    assert (row.batch_id, row.tag, row.payer_name) == (claim.batch_id, "b-01", "Ana Conceição")
    assert (row.state, row.paid_at) == ("paid", NOW + timedelta(minutes=2))
    assert (row.payer_end_to_end_id, row.link) == (PIX.upper(), "https://x")
