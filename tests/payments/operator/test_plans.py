"""Every statement of the sender's side and of the inbox finds its rows by an index, on both databases."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from payments.ledger import inbox
from payments.operator import actions as acts
from payments.operator import overview, period, search, statement
from payments.operator import timeline as stories
from payments.operator.actions import Operator
from payments.operator.lists import list_attentions, list_credits, list_events
from payments.storage.database import Database
from tests.payments.builders import INVOICE, an_arrival, an_invoice_log, at_bank
from tests.payments.conftest import Books
from tests.payments.operator.test_timeline import note_statements

BY = Operator("ana@caixa", "to see how it is found")

# What grows with every credit. The other tables hold a few rows, or one for each slot, minute, act or reversal.
GROWING = ("inbox_events", "credits", "transfers", "transfer_history", "bank_transfers")

# Indexes that are walked along: of what is due, which hold few rows; and by time, for a page of a list or a period.
OF_WHAT_IS_DUE = ("transfers_due", "transfers_leased", "transfers_in_flight")
BY_TIME = ("credits_by_time", "inbox_events_by_time")
# The audit reads all credits in the end; PostgreSQL may join them with their planned invoices in that order.
BY_INVOICE = ("a_credit_once_per_invoice",)


@pytest.mark.parametrize("is_list", [False, True], ids=["a lineage's life", "lists"])
def test_no_statement_walks_through_a_growing_table(
    database: Database, policy: Any, now: Any, is_list: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every act on a credit: recorded, claimed, looked up, failed, replaced, retried, reversed, settled, searched."""
    books = Books(database, policy, now)
    if is_list:
        _live(books)
    statements = note_statements(database, monkeypatch)
    (_list if is_list else _live)(books)
    monkeypatch.undo()
    along = (*OF_WHAT_IS_DUE, *BY_TIME, *BY_INVOICE) if is_list else OF_WHAT_IS_DUE
    walks_of = _walks_of_postgresql if database.is_postgresql else _walks_of_sqlite
    with database.transaction() as connection:
        driver = connection.connection.driver_connection
        if database.is_postgresql:
            # in books as small as these it would walk for choice
            connection.execute(text("SET LOCAL enable_seqscan = off"))
        walks = {sql: found for sql, values in statements if (found := walks_of(driver, sql, values, along))}
    assert len({sql for sql, _ in statements}) > (10 if is_list else 60)
    assert not walks


def _live(books: Books) -> None:
    for number in range(3):
        books.tell(*(an_invoice_log(invoice_id=f"{number}{each}") for each in range(3)))
    books.credit("5-r2")
    for claim in books.claim_all():
        books.accept(claim, at_bank(f"A{claim.external_id}", "created", 48_662, claim.invoice_id))
    books.credit()
    books.credit(log_id="another")
    claim = books.claim()
    books.unclear(claim)
    books.pass_time(61)
    again = books.look_up(books.claim()).to_send
    assert again is not None
    books.accept(again, at_bank("A"))
    books.lose("A", "Account blocked")
    books.become_due()
    reissue = books.claim()
    assert books.look_up(reissue, at_bank("A", "failed")).to_send is not None
    books.refuse(reissue)
    acts.retry_transfer(books.database, f"credit-{INVOICE}-r2", BY, books.policy, books.now)
    books.reverse(10_000)
    books.reverse(0, "11")
    books.tell({"id": "odd", "type": "credited", "invoice": {"id": "12", "amount": "x"}}, event_id="odd")
    inbox.accept(
        books.database,
        [an_arrival(an_invoice_log(invoice_id="13")), an_arrival(an_invoice_log(invoice_id="12"), "even")],
        "reconciliation",
        books.policy,
        books.now,
    )
    books.news(at_bank("A", "success"))
    for wanted in (INVOICE, "12", f"credit-{INVOICE}-r2", "A", f"credited-{INVOICE}", "odd"):
        search.search(books.database, wanted)
    for invoice_id in (INVOICE, "12", "5-r2"):
        assert stories.read_credit(books.database, invoice_id) is not None


def _list(books: Books) -> None:
    list_credits(books.database, None)
    list_events(books.database, None, None)
    list_attentions(books.database, open_only=False, after=None)
    overview.read_overview(books.database, books.now, timedelta(days=1), 48)
    statement.read_oldest_unforwarded(books.database)
    period.read_period(books.database, books.now, books.now)
    list(period.read_audit(books.database))


def _walks_of_sqlite(driver: Any, sql: str, values: Any, along: Sequence[str]) -> list[str]:
    if " VALUES " in sql:
        return []  # SQLite shows the search for orphans, which it makes only while there are some
    steps = [row[3] for row in driver.execute(f"EXPLAIN QUERY PLAN {sql}", values)]
    return [
        step
        for step in steps
        if step.startswith("SCAN") and step.split()[1] in GROWING and not any(name in step for name in along)
    ]


def _walks_of_postgresql(driver: Any, sql: str, values: Any, along: Sequence[str]) -> list[str]:
    if not sql.lstrip("( ").startswith(("SELECT", "UPDATE", "INSERT", "DELETE", "WITH")):
        return []
    [(plan,)] = driver.execute(f"EXPLAIN (FORMAT JSON) {sql}", values).fetchall()
    return [
        f"{node['Node Type']} on {node['Relation Name']} by {node.get('Index Name')}"
        for node in _nodes(plan[0]["Plan"])
        if node.get("Relation Name") in GROWING
        and (
            node["Node Type"] == "Seq Scan"
            # all of an index, looking at each row
            or ("Index Name" in node and "Index Cond" not in node and node["Index Name"] not in along)
        )
    ]


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from _nodes(child)
