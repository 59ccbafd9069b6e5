"""Every statement of the sender, the inbox and the operator's reads finds its rows by an index, on both databases."""

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event, text

from payments.invoice import InvoiceState
from payments.ledger import inbox
from payments.operator import actions, invoices, lists, overview, search, statement, timeline
from payments.operator.actions import Operator
from payments.operator.audit import read_audit
from payments.operator.filters import Filter
from payments.operator.revision import read_mark
from payments.storage.database import Database
from payments.transfer import TransferState
from tests.payments.builders import INVOICE, an_arrival, an_invoice_log, at_bank
from tests.payments.conftest import Books

BY = Operator("ana@caixa", "to see how it is found")

# What grows with every credit. The other tables hold a few rows, or one for each slot, action or reversal.
GROWING = ("inbox_events", "credits", "transfers", "transfer_history", "bank_transfers")

# Indexes that may be walked along whole: those of rare states, by time for a page or a period, and of the two sums.
OF_RARE_STATES = ("transfers_due", "transfers_leased", "transfers_in_flight")
OF_READS = (
    *("credits_by_time", "inbox_events_by_time", "transfers_settled", "transfers_ended", "credits_withheld"),
    # The audit reads all credits in the end; PostgreSQL may join them with their planned invoices in that order.
    *("credits_not_forwarded", "a_credit_once_per_invoice"),
)
# By time; those that are not credited, which are few; and, to count ours, by batch (which SQLite names by itself).
OF_INVOICES = ("invoices_by_time", "invoices_not_credited", "a_position_once", "sqlite_autoindex_invoices_1")


@pytest.mark.parametrize("is_read", [False, True], ids=["a lineage's life", "reads"])
def test_no_statement_walks_through_a_growing_table(
    database: Database, policy: Any, now: Any, is_read: bool
) -> None:
    """Each statement on a credit, and each page and sum of the operator's, by the database's own plan."""
    books = Books(database, policy, now)
    if is_read:
        _live(books)
    along = (*OF_RARE_STATES, *OF_READS) if is_read else OF_RARE_STATES
    statements, walks = _walks(books, _read if is_read else _live, GROWING, along)
    assert statements > 15
    assert not walks


def test_the_lists_of_invoices_walk_their_own_indexes(database: Database, policy: Any, now: Any) -> None:
    """Only a payer, a tag or an amount is compared with every invoice."""
    books = Books(database, policy, now)
    _live(books)
    statements, walks = _walks(books, _read_invoices, ("invoices",), OF_INVOICES)
    assert statements > 5
    assert not walks


def _walks(
    books: Books, act: Callable[[Books], None], tables: Sequence[str], along: Sequence[str]
) -> tuple[int, dict[str, list[str]]]:
    """How many statements there were, and those that walk through a table, but for these indexes."""
    database = books.database
    statements: list[tuple[str, Any]] = []

    def note(
        _connection: object, _cursor: object, sql: str, parameters: Any, _: object, is_many: bool
    ) -> None:
        statements.append((sql, parameters[0] if isinstance(parameters, list) else parameters))

    # On SQLite two engines; on PostgreSQL one, under two names.
    engines = [database.engine] if database.is_postgresql else [database.engine, database.readers]
    for engine in engines:
        event.listen(engine, "before_cursor_execute", note)
    act(books)
    for engine in engines:
        event.remove(engine, "before_cursor_execute", note)
    walks_of = _walks_of_postgresql if database.is_postgresql else _walks_of_sqlite
    with database.transaction() as connection:
        driver = connection.connection.driver_connection
        if database.is_postgresql:
            # with tables as small as these it would choose to walk
            connection.execute(text("SET LOCAL enable_seqscan = off"))
        walks = {
            sql: found
            for sql, values in statements
            if (found := walks_of(driver, sql, values, tables, along))
        }
    return len({sql for sql, _ in statements}), walks


def _live(books: Books) -> None:
    for number in range(3):
        books.tell(*(an_invoice_log(invoice_id=f"{number}{each}") for each in range(3)))
    for claim in books.claim_all():
        books.accept(claim, at_bank(f"A{claim.external_id}", "created", 48_662, claim.invoice_id))
    books.credit()
    books.credit(log_id="another")
    claim = books.claim()
    books.unclear(claim)
    books.pass_time(61)
    again = books.ready()
    books.accept(again, at_bank("A"))
    books.lose("A", "Account blocked")
    books.become_due()
    reissue = books.claim()
    assert books.look_up(reissue, at_bank("A", "failed")).to_send is not None
    books.refuse(reissue)
    actions.retry_transfer(books.database, f"credit-{INVOICE}-r2", BY, books.policy, books.now)
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


def _read(books: Books) -> None:
    database = books.database
    for state in (None, *TransferState):
        lists.TRANSFERS.read(database, None, choice=state)
    cursor = lists.CREDITS.read(database, None, limit=1).next
    assert cursor is not None
    lists.CREDITS.read(database, cursor, Filter(amount_centavos=48_712, since=books.now))
    lists.EVENTS.read(database, None, choice="unreadable")
    lists.ATTENTIONS.read(database)
    for wanted in (INVOICE, "12", f"credit-{INVOICE}-r2", "A", f"credited-{INVOICE}", "odd"):
        search.search(database, wanted)
    for invoice_id in (INVOICE, "12"):
        assert timeline.read_credit(database, invoice_id) is not None
    overview.read_overview(database, books.now, books.now - timedelta(days=1), timedelta(days=1), 48)
    statement.read_period(database, books.now, books.now)
    list(read_audit(database))
    read_mark(database)


def _read_invoices(books: Books) -> None:
    database = books.database
    invoices.INVOICES.read(database, None, Filter(since=books.now))
    for state in InvoiceState:
        invoices.INVOICES.read(database, None, choice=state)
    invoices.INVOICES.total(database, Filter(since=books.now))
    invoices.INVOICES.count(database)
    assert invoices.read_invoice(database, INVOICE) is not None
    statement.read_statement(database)


def _walks_of_sqlite(
    driver: Any, sql: str, values: Any, tables: Sequence[str], along: Sequence[str]
) -> list[str]:
    if sql.startswith("INSERT"):
        return []  # SQLite shows the search for orphans, which it makes only while there are some
    steps = [row[3] for row in driver.execute(f"EXPLAIN QUERY PLAN {sql}", values)]
    if " LIMIT " in sql and "USE TEMP B-TREE FOR ORDER BY" not in steps:
        return []  # in the order of the list, until its page is full
    return [
        step
        for step in steps
        if step.startswith("SCAN") and step.split()[1] in tables and not any(name in step for name in along)
    ]


def _walks_of_postgresql(
    driver: Any, sql: str, values: Any, tables: Sequence[str], along: Sequence[str]
) -> list[str]:
    if not sql.lstrip("( ").startswith(("SELECT", "UPDATE", "INSERT", "DELETE", "WITH")):
        return []
    [(plan,)] = driver.execute(f"EXPLAIN (FORMAT JSON) {sql}", values).fetchall()
    return [
        f"{node['Node Type']} on {node['Relation Name']} by {node.get('Index Name')}"
        for node, is_limited in _nodes(plan[0]["Plan"], False)
        if node.get("Relation Name") in tables
        and (
            node["Node Type"] == "Seq Scan"
            # all of an index, looking at each row
            or (
                ("Index Name" in node and "Index Cond" not in node and not is_limited)
                and node["Index Name"] not in along
            )
        )
    ]


def _nodes(node: dict[str, Any], is_limited: bool) -> Iterator[tuple[dict[str, Any], bool]]:
    """Every node of a plan, and whether it ends as soon as a page is full."""
    yield node, is_limited
    is_limited = node["Node Type"] == "Limit" or (
        is_limited and node["Node Type"] not in ("Sort", "Aggregate")
    )
    for child in node.get("Plans", ()):
        yield from _nodes(child, is_limited)
