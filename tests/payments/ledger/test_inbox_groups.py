"""Events that arrive together are recorded as if they had come one by one: the plain ones first, then the others."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from payments.event import read_event
from payments.ledger import inbox
from payments.ledger.inbox import Arrival
from payments.operator.statement import recount_statement
from payments.storage.database import Database, open_database
from payments.storage.many import InsertMany, SelectAmong
from payments.storage.schema import reversals
from tests.payments.builders import NOW, a_body, a_policy, an_arrival, an_invoice_log

# Few enough that they meet: some invoices, each credited by one of a few logs, in one of a few events. The last of them
# could be taken for a reissue of the first.
_INVOICES = st.sampled_from(["i1", "i2", "i3", "i1-r2"])
_CREDITS = st.builds(
    lambda invoice, log, event, amount: a_body(
        an_invoice_log("credited", invoice, amount, 50, f"log-{log}"), f"event-{event}"
    ),
    _INVOICES,
    st.integers(1, 4),
    st.integers(1, 6),
    st.sampled_from([20_000, 48_712, 50, 10]),
)
_REVERSALS = st.builds(
    lambda invoice, left, event: a_body(
        an_invoice_log("reversed", invoice, left, 50, f"back-{invoice}-{left}"), f"event-{event}"
    ),
    _INVOICES,
    st.sampled_from([0, 10_000]),
    st.integers(5, 9),
)
_OTHERS = st.sampled_from(
    [
        a_body(an_invoice_log("created", "i1"), "event-10"),
        a_body(an_invoice_log("paid", "i2"), "event-2"),
        a_body(an_invoice_log("credited", "i3", amount="much"), "event-11"),
        b"no JSON at all",
    ]
)
_GROUPS = st.lists(
    st.lists(st.one_of(_CREDITS, _REVERSALS, _OTHERS), min_size=1, max_size=9), min_size=1, max_size=3
)


def _accept(database: Database, bodies: list[bytes]) -> list[inbox.Receipt]:
    arrivals = [Arrival(read_event(body), "MEUCIQ==") for body in bodies]
    return inbox.accept(database, arrivals, "webhook", a_policy(), NOW)


def _contents(database: Database) -> dict[str, list[Any]]:
    queries = {
        "inbox": "SELECT event_id, log_type, subject, outcome, body FROM inbox_events ORDER BY event_id",
        "credits": "SELECT invoice_id, log_id, event_id, net_centavos, withheld_centavos, disposition FROM credits "
        "ORDER BY invoice_id",
        "transfers": "SELECT external_id, amount_centavos, state, attempt FROM transfers ORDER BY external_id",
        "reversals": "SELECT log_id, remaining_centavos FROM reversals ORDER BY log_id",
        "attentions": "SELECT kind, subject FROM attentions WHERE resolved_at IS NULL ORDER BY kind, subject",
        "totals": "SELECT name, number, centavos FROM totals WHERE number <> 0 OR centavos <> 0 ORDER BY name",
    }
    with database.reading() as connection:
        return {name: [tuple(row) for row in connection.execute(text(sql))] for name, sql in queries.items()}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(groups=_GROUPS)
def test_together_or_one_by_one_the_books_are_the_same(
    migrated_file: Path, tmp_path: Path, groups: list[list[bytes]]
) -> None:
    """Whatever meets in a group: the same event, two credits of an invoice, a reversal, what cannot be read."""
    books = []
    for name in ("together", "apart"):
        for leftover in tmp_path.glob(f"{name}.db*"):
            leftover.unlink()
        books.append(open_database(f"sqlite:///{shutil.copy(migrated_file, tmp_path / f'{name}.db')}"))
    together, apart = books
    for group in groups:
        receipts = _accept(together, group)
        in_order = sorted(range(len(group)), key=lambda number: inbox.lock_order(read_event(group[number])))
        plain = [position for position in in_order if _is_plain(receipts[position])]
        others = [position for position in in_order if position not in plain]
        singles = {position: _accept(apart, [group[position]])[0] for position in (*plain, *others)}
        assert receipts == [singles[position] for position in range(len(group))]
    assert _contents(together) == _contents(apart)
    assert recount_statement(together).balanced
    for database in books:
        database.close()


def _is_plain(receipt: inbox.Receipt) -> bool:
    return receipt.outcome in (inbox.Outcome.CREDIT, inbox.Outcome.NO_INTEREST)


def test_a_large_group_is_recorded_whole(database: Database) -> None:
    """More than fits one statement, and no power of two."""
    arrivals = [an_arrival(an_invoice_log(invoice_id=f"i{number}")) for number in range(203)]
    receipts = inbox.accept(database, arrivals, "webhook", a_policy(), NOW)
    assert {receipt.outcome for receipt in receipts} == {inbox.Outcome.CREDIT}
    statement = recount_statement(database)
    assert (statement.credits, statement.transfers["pending"], statement.balanced) == (203, 203, True)


def test_a_group_that_fails_leaves_nothing(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug in the last event of a group undoes the first; the intake then tries each alone."""
    bad = Arrival(read_event(a_body(an_invoice_log(invoice_id="i2"), "e2")), digital_signature=object())  # type: ignore[arg-type]
    with pytest.raises(Exception, match=r"type .object. is not supported|cannot adapt type"):
        inbox.accept(database, [an_arrival(an_invoice_log(invoice_id="i1")), bad], "webhook", a_policy(), NOW)
    assert recount_statement(database).credits == 0
    with database.reading() as connection:
        assert connection.execute(text("SELECT count(*) FROM totals")).scalar_one() == 0


def test_a_reconciled_credit_is_looked_up_before_it_is_sent(database: Database) -> None:
    """Older books, or another deployment: the bank may know a transfer of it that we do not."""
    from payments.ledger import transfers

    heard = an_arrival(an_invoice_log(invoice_id="heard"))
    asked = an_arrival(an_invoice_log(invoice_id="asked"))
    inbox.accept(database, [heard], "webhook", a_policy(), NOW)
    inbox.accept(database, [asked], "reconciliation", a_policy(), NOW)
    claims = {claim.invoice_id: claim for claim in transfers.claim(database, "call-1", 60, 100, NOW)}
    assert claims["heard"].is_fresh
    assert not claims["asked"].is_fresh
    assert claims["asked"].look_up_tag == "credit-asked"


@pytest.mark.parametrize("count", [1, 2, 63, 64, 65, 200])
def test_many_rows_and_many_keys(database: Database, count: int) -> None:
    """Every row once, every key found, whatever their number."""
    insert = InsertMany(reversals, "log_id", "invoice_id", "remaining_centavos", "reversed_at", "recorded_at")
    rows = [(f"log-{number}", f"i{number}", number, NOW, NOW) for number in range(count)]
    among = SelectAmong(reversals.select(), reversals.c.invoice_id)
    with database.transaction() as connection:
        assert insert.run(connection, rows) == count
        assert insert.run(connection, rows) == 0
        found = among.run(connection, [f"i{number}" for number in range(count + 5)])
    assert sorted(row.remaining_centavos for row in found) == list(range(count))
    assert {row.recorded_at for row in found} == {NOW}


def test_rows_may_share_values(database: Database) -> None:
    """Given once, and in every row of every statement."""
    insert = InsertMany(
        reversals, "log_id", "invoice_id", "recorded_at", shared=("remaining_centavos", "reversed_at")
    )
    rows = [(f"log-{number}", f"i{number}", NOW) for number in range(70)]
    with database.transaction() as connection:
        assert insert.run(connection, rows, remaining_centavos=7, reversed_at=NOW) == 70
        found = connection.execute(reversals.select()).all()
    assert {(row.remaining_centavos, row.reversed_at, row.recorded_at) for row in found} == {(7, NOW, NOW)}
    with pytest.raises(KeyError, match="reversed_at"), database.transaction() as connection:
        insert.run(connection, rows, remaining_centavos=7)
