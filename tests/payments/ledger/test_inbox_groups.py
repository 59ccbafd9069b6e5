"""Events that arrive together are recorded as if they had come one by one, in one order that is always the same."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from payments.credit import Credit, Reversal
from payments.event import read_event
from payments.ledger import inbox, transfers
from payments.ledger.inbox import Arrival
from payments.operator.statement import recount_statement
from payments.storage.database import Database, open_database
from tests.payments.builders import NOW, a_body, a_policy, a_transfer_log, an_arrival, an_invoice_log, at_bank

# Few enough that they meet: some invoices, each credited by one of a few logs, in one of a few events.
_INVOICES = st.sampled_from(["i1", "i2", "i3"])
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
_REPORTS = st.builds(
    # The bank's ids are its own: no transfer of one credit has the id of another's.
    lambda invoice, which, status, event: a_body(
        a_transfer_log(at_bank(f"{which}-{invoice}", status, 19_950, invoice)), f"event-{event}"
    ),
    _INVOICES,
    st.sampled_from(["A", "B"]),
    st.sampled_from(["created", "processing", "success", "failed"]),
    st.integers(12, 20),
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
    st.lists(st.one_of(_CREDITS, _REVERSALS, _REPORTS, _OTHERS), min_size=1, max_size=9),
    min_size=1,
    max_size=3,
)


def _accept(database: Database, bodies: list[bytes]) -> list[inbox.Receipt]:
    arrivals = [Arrival(read_event(body), "MEUCIQ==") for body in bodies]
    return inbox.accept(database, arrivals, "webhook", a_policy(), NOW)


def _contents(database: Database) -> dict[str, list[Any]]:
    queries = {
        "inbox": "SELECT event_id, log_type, subject, outcome, body FROM inbox_events ORDER BY event_id",
        "credits": "SELECT invoice_id, log_id, event_id, net_centavos, withheld_centavos, disposition FROM credits "
        "ORDER BY invoice_id",
        "transfers": "SELECT external_id, amount_centavos, state, attempt, bank_transfer_id FROM transfers "
        "ORDER BY external_id",
        "sightings": "SELECT bank_transfer_id, external_id, status FROM bank_transfers ORDER BY bank_transfer_id",
        "history": "SELECT external_id, fact, h.state FROM transfer_history h JOIN transfers t ON t.id = transfer_id "
        "ORDER BY external_id, h.id",
        "reversals": "SELECT log_id, remaining_centavos FROM reversals ORDER BY log_id",
        "attentions": "SELECT kind, subject FROM attentions WHERE resolved_at IS NULL ORDER BY kind, subject",
    }
    with database.reading() as connection:
        return {name: [tuple(row) for row in connection.execute(text(sql))] for name, sql in queries.items()}


@contextmanager
def _copy_of(books: Path) -> Iterator[Database]:
    # In memory where that can be: thousands of commits matter more here than the disk that they reach.
    with TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        database = open_database(f"sqlite:///{shutil.copy(books, folder)}")
        yield database
        database.close()


@settings(max_examples=80, deadline=None)
@given(groups=_GROUPS)
def test_together_or_one_by_one_the_books_are_the_same(empty_books: Path, groups: list[list[bytes]]) -> None:
    """Whatever meets in a group: the same event, two credits of an invoice, a reversal, what cannot be read."""
    with _copy_of(empty_books) as together, _copy_of(empty_books) as apart:
        for group in groups:
            receipts = _accept(together, group)
            singles = {position: _accept(apart, [group[position]])[0] for position in _in_turn(apart, group)}
            assert receipts == [singles[position] for position in range(len(group))]
        assert _contents(together) == _contents(apart)
        assert recount_statement(together).balanced


def _in_turn(database: Database, group: list[bytes]) -> list[int]:
    """Reversals of what is not credited yet, credits by their invoice, reports and the rest, the other reversals.

    Last comes whatever repeats the id of an earlier event.
    """
    events = [read_event(body) for body in group]
    ids = [event.event_id for event in events]
    with database.reading() as connection:
        credited = set(connection.execute(text("SELECT invoice_id FROM credits")).scalars())

    def rank(position: int) -> tuple[int, str]:
        if ids.index(ids[position]) != position:
            return 4, ""
        match events[position].fact:
            case Reversal() as reversal:
                return 3 if reversal.invoice_id in credited else 0, ""
            case Credit() as credit:
                return 1, credit.invoice_id
        return 2, ""

    return sorted(range(len(group)), key=rank)


def test_a_large_group_is_recorded_whole(database: Database) -> None:
    """Some two hundred credits, in one transaction."""
    arrivals = [an_arrival(an_invoice_log(invoice_id=f"i{number}")) for number in range(203)]
    receipts = inbox.accept(database, arrivals, "webhook", a_policy(), NOW)
    assert {receipt.outcome for receipt in receipts} == {inbox.Outcome.CREDIT}
    statement = recount_statement(database)
    assert (statement.credits, statement.transfers["pending"], statement.balanced) == (203, 203, True)


def test_a_group_that_fails_leaves_nothing(database: Database) -> None:
    """A bug in the last event of a group undoes the first; the intake then tries each alone."""
    bad = Arrival(read_event(a_body(an_invoice_log(invoice_id="i2"), "e2")), digital_signature=object())  # type: ignore[arg-type]
    with pytest.raises(Exception, match=r"type .object. is not supported|cannot adapt type"):
        inbox.accept(database, [an_arrival(an_invoice_log(invoice_id="i1")), bad], "webhook", a_policy(), NOW)
    assert recount_statement(database).credits == 0


def test_a_reconciled_credit_is_looked_up_before_it_is_sent(database: Database) -> None:
    """Older books, or another deployment: the bank may know a transfer of it that we do not."""
    heard = an_arrival(an_invoice_log(invoice_id="heard"))
    asked = an_arrival(an_invoice_log(invoice_id="asked"))
    inbox.accept(database, [heard], "webhook", a_policy(), NOW)
    inbox.accept(database, [asked], "reconciliation", a_policy(), NOW)
    claims = {claim.invoice_id: claim for claim in transfers.claim(database, "call-1", a_policy(), 100, NOW)}
    assert claims["heard"].is_fresh
    assert not claims["asked"].is_fresh
    assert claims["asked"].look_up_tag == "credit-asked"
