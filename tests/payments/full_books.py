"""Books with rows in every table, and credits in every state: what a copy must carry over."""

from datetime import timedelta
from typing import Any

from sqlalchemy import select

from payments.invoice import BankInvoice, Payer
from payments.ledger import batches, reconciliations
from payments.operator import actions, processes
from payments.operator.actions import Operator
from payments.storage.database import Database
from payments.storage.schema import metadata
from tests.payments.builders import NOW, a_policy, at_bank
from tests.payments.conftest import Books

BY = Operator("ana@caixa", "to see that it is kept")
WEB = processes.Process("web-1", "web", "caixa", 4711, "0.2.0")


def fill(database: Database) -> Books:
    """A day's worth of everything. No process is alive afterwards."""
    books = Books(database, a_policy(), NOW)
    window = batches.open_window(database, 10_800, 8, "k3", NOW)
    batches.plan_batch(
        database,
        window.batch_tag(0),
        0,
        [(Payer("Ana Conceição", "529.982.247-25"), 1_000)],
        NOW,
        late=False,
        now=NOW,
    )
    claim = batches.claim_batch(database, 60, NOW)
    assert claim is not None
    [order] = claim.missing
    batches.record_issued(
        database, claim, [BankInvoice("77", "created", order.amount_centavos, order.tags)], NOW
    )
    batches.skip_slot(database, window.batch_tag(1), 1, NOW, NOW)
    _credits(books)
    actions.pause(database, "issuing", BY, NOW)
    processes.record_alive(database, WEB, NOW, NOW)
    processes.record_stopped(database, WEB, NOW + timedelta(minutes=1))
    reconciliations.record_reconciliation(database, NOW, NOW + timedelta(seconds=2), 3, "transfers: 503")
    return books


def _credits(books: Books) -> None:
    """Settled, failed and replaced, refused, reversed after sending, withheld, without a net, unreadable, waiting."""
    for number, amount in enumerate((48_712, 10_000, 1, 900_000_000_000, 20_000), 100):
        books.credit(str(number), amount, 0)
    claims = books.claim_all()
    there = {
        claim.external_id: at_bank(
            f"bank-{claim.external_id}", "created", claim.amount_centavos, claim.invoice_id
        )
        for claim in claims
    }
    refused, *sent = claims
    books.refuse(refused)
    for claim in sent:
        books.accept(claim, there[claim.external_id])
    settled, failed, reversed_later, _ = sent
    books.news(_as(there[settled.external_id], "success"))
    books.news(_as(there[failed.external_id], "failed"), "Account blocked")
    books.reverse(100, reversed_later.invoice_id, 0)
    books.credit("withheld", 5_000, 50)
    books.reverse(1_000, "withheld")
    books.credit("nothing", 50, 50)
    books.credit("second", 700, 0, log_id="first-log")
    books.credit("second", 900, 0, log_id="second-log")
    books.tell({"id": "odd", "type": "credited", "invoice": {"id": 5}}, event_id="unreadable-1")


def _as(there: Any, status: str) -> Any:
    return at_bank(
        there.id,
        status,
        there.amount_centavos,
        there.external_id.removeprefix("credit-"),
        external_id=there.external_id,
    )


def content(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table, in an order that does not depend on the database."""
    with database.reading() as connection:
        return {
            table.name: sorted((tuple(row) for row in connection.execute(select(table))), key=repr)
            for table in metadata.sorted_tables
        }
