"""The timeline of a credit, an event and a batch: everything that happened, in order, without whole tax ids."""

import json
from dataclasses import replace
from hashlib import sha256

from sqlalchemy import update

from payments.invoice import Payer
from payments.language import language_of
from payments.ledger import batches, transfers
from payments.operator.actions import Operator, retry_transfer
from payments.operator.lists import ATTENTIONS, BATCHES, TRANSFERS
from payments.operator.timeline import read_batch, read_credit, read_stored_event
from payments.operator.wording import account_text
from payments.storage.database import Database
from payments.storage.schema import invoices
from tests.payments.builders import DESTINATION, INVOICE, NOW, a_policy, at_bank, english
from tests.payments.conftest import Books

ANA = Operator("ana", "the account is open again")


def test_the_timeline_has_everything_in_the_order_in_which_it_happened(books: Books) -> None:
    """From the event to the settlement, with the bank's reports, the attention and the operator's action."""
    books.credit()
    claim = books.claim()
    books.pass_time(1)
    books.refuse(claim)
    books.pass_time(60)
    retry_transfer(books.database, claim.external_id, ANA, books.policy, books.now)
    books.pass_time(1)
    again = books.ready()
    books.pass_time(1)
    books.accept(again, at_bank("A"))
    books.pass_time(1)
    books.news(at_bank("A", "success"))

    found = read_credit(books.database, INVOICE)
    assert found is not None
    entries = [(entry.kind, english(entry.title)) for entry in found.entries]
    assert entries == [
        ("event", "Webhook received: invoice.credited (credit)"),
        ("credit", "R$ 487,12 credited, fee R$ 0,50, net R$ 486,62: to be forwarded"),
        ("transfer", "Transfer of R$ 486,62 queued"),
        ("attempt", "Attempt 1 started"),
        ("attempt", "Blocked: manual action required"),
        ("attention", "Needs attention: Transfer blocked: manual action required"),
        ("action", "ana: Retry; retry queued; repasse checks with the bank before sending"),
        ("attention", "Resolved: Transfer blocked: manual action required"),
        ("attempt", "Attempt 3 started"),
        ("attempt", "Accepted by the bank"),
        ("event", "Webhook received: transfer.success (transfer update)"),
        ("attempt", "Settled: the bank reports success"),
        ("bank_report", "The bank reports a transfer of R$ 486,62: “success”"),
    ]
    assert [entry.at for entry in found.entries] == sorted(entry.at for entry in found.entries)
    assert [english(entry.title) for entry in found.entries if not entry.is_folded] == [
        "R$ 487,12 credited, fee R$ 0,50, net R$ 486,62: to be forwarded",
        "Transfer of R$ 486,62 queued",
        "Blocked: manual action required",
        "ana: Retry; retry queued; repasse checks with the bank before sending",
        "Accepted by the bank",
        "Settled: the bank reports success",
    ]
    assert found.credit.transfer_state == "settled"
    assert found.owed_centavos == 48_662
    assert [line.state for line in found.transfers] == ["settled"]
    assert [action.reason for action in found.actions] == [ANA.reason]
    assert [event.line.outcome for event in found.events] == ["credit", "bank_report"]
    assert english(found.entries[4].detail) == "invalidAccount: no such account"


def test_a_transfer_shows_the_account_that_it_was_made_with_and_the_payers_pix(books: Books) -> None:
    """Not the one of today's settings; its tax id masked. The payer's end-to-end id is a tag of the paid invoice."""
    books.credit()
    books.policy = a_policy(destination=replace(DESTINATION, account_number="1"))
    books.credit("8")
    found, other = read_credit(books.database, INVOICE), read_credit(books.database, "8")
    assert found is not None
    assert other is not None
    assert account_text(found.transfers[0].destination, language_of("en")) == (
        "Stark Bank S.A. (**.018.183/****-**), bank 20018183, branch 0001, payment account 6341320293482496"
    )
    assert other.transfers[0].destination.account_number == "1"
    assert found.payer_end_to_end_id == "E20018183202603021510KQ3VZ81MAPT"


def test_the_timeline_has_reversals_and_reissues(books: Books) -> None:
    """Each generation, and the amount that was reversed."""
    books.credit()
    books.send()
    books.lose("A", "no funds")
    books.reverse(20_000)
    found = read_credit(books.database, INVOICE)
    assert found is not None
    titles = [english(entry.title) for entry in found.entries]
    assert "Replacement 1 of R$ 199,50 queued" in titles
    assert "Credit reversed by the bank; R$ 200,00 remaining" in titles
    assert titles.index("Rejected by the bank") < titles.index("Replacement 1 of R$ 199,50 queued")
    shown = [english(entry.title) for entry in found.entries if not entry.is_folded]
    assert len(shown) == len(set(shown))
    assert found.owed_centavos == 19_950
    assert found.credit.external_id == f"credit-{INVOICE}-r2"


def test_no_timeline_shows_a_whole_tax_id(books: Books) -> None:
    """Neither in an event, nor in the bank's words, nor of a payer; the hash is that of the bytes as received."""
    books.credit()
    claim = books.claim()
    transfers.refuse(
        books.database, claim, "invalidTaxId: 529.982.247-25 is unknown", books.policy, books.now
    )
    batches.plan_batch(
        books.database, "b", None, [(Payer("Ana", "529.982.247-25"), 100)], NOW, late=False, now=NOW
    )
    found = read_credit(books.database, INVOICE)
    assert found is not None
    body = found.events[0].body
    assert body is not None
    assert json.loads(body)["event"]["log"]["invoice"]["taxId"] == "***.982.247-**"
    batch = read_batch(books.database, 1)
    assert batch is not None
    assert batch.invoices[0].payer_tax_id == "***.982.247-**"
    for said in (
        found,
        batch,
        TRANSFERS.read(books.database),
        ATTENTIONS.read(books.database, choice="open"),
    ):
        assert "529.982.247-25" not in repr(said)
        assert "982.247" in repr(said)
    with books.database.reading() as connection:
        true = connection.exec_driver_sql("SELECT body FROM inbox_events").scalar_one()
    assert found.events[0].sha256 == sha256(true).hexdigest()


def test_what_does_not_exist_has_no_timeline(database: Database) -> None:
    """None, whatever the id."""
    assert read_credit(database, "nobody") is None
    assert read_credit(database, "\udc80\x00") is None
    assert read_stored_event(database, "\udc80\x00") is None
    assert read_stored_event(database, "nothing") is None
    assert read_batch(database, 1) is None
    assert read_batch(database, -(2**70)) is None


def test_a_batch_shows_how_far_each_invoice_got(books: Books) -> None:
    """Planned, at the bank, or as far as its transfer got."""
    plan = [(Payer(f"Payer {each}", "529.982.247-25"), 48_712) for each in range(3)]
    batches.plan_batch(books.database, "b", 0, plan, NOW, late=True, now=NOW)
    with books.database.transaction() as connection:
        for position, bank_id in ((1, INVOICE), (2, "8")):
            connection.execute(
                update(invoices)
                .where(invoices.c.position == position)
                .values(bank_invoice_id=bank_id, state="open", reported_at=NOW, payer_tax_id_to_issue=None)
            )
    books.credit()
    batch = read_batch(books.database, 1)
    assert batch is not None
    assert [line.became for line in batch.invoices] == ["pending", "open", "planned"]
    assert (batch.batch.planned_invoices, batch.batch.issued_invoices, batch.batch.credited_invoices) == (
        3,
        2,
        1,
    )
    assert BATCHES.read(books.database).items == [batch.batch]
