"""Copying whole books: everything arrives, whichever two databases; nothing is kept of a copy that went wrong."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import product
from pathlib import Path

import pytest
from sqlalchemy import bindparam, text, update

from payments.errors import BooksRefused, LedgerUnavailable
from payments.ledger.totals import disagreements
from payments.storage import database as database_module
from payments.storage.database import Database, open_database
from payments.storage.migrate import migrate
from payments.storage.schema import attentions, metadata
from payments.upkeep.copying import compare_books, copy_books, is_empty
from tests.payments.builders import NOW, a_policy
from tests.payments.conftest import Books
from tests.payments.full_books import content, fill

OpenEmpty = Callable[[str], Database]


def silent(table: str, done: int, total: int) -> None:
    """Nobody looks at the progress."""


@pytest.fixture
def open_empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OpenEmpty]:
    """Open empty books on ``sqlite`` or ``postgresql``; any number of them."""
    opened: list[tuple[Database, str | None]] = []

    def open_another(kind: str) -> Database:
        address = None
        if kind == "postgresql":
            address = request.getfixturevalue("postgresql").create()
        database = open_database(address or f"sqlite:///{tmp_path / f'books-{len(opened)}.db'}")
        opened.append((database, address))
        migrate(database)
        return database

    yield open_another
    for database, address in opened:
        database.close()
        if address is not None:
            request.getfixturevalue("postgresql").drop(address)


@pytest.fixture
def source(open_empty: OpenEmpty) -> Database:
    """Full books on SQLite."""
    database = open_empty("sqlite")
    fill(database)
    return database


KINDS = ("sqlite", "postgresql")


@pytest.mark.parametrize(("of", "to"), list(product(KINDS, KINDS)))
@pytest.mark.parametrize("lock_source", [True, False], ids=["locked", "snapshot"])
def test_every_row_of_every_table_arrives(open_empty: OpenEmpty, of: str, to: str, lock_source: bool) -> None:
    """Both sides read the same, and a new table cannot be forgotten: the full books have rows in each."""
    source, target = open_empty(of), open_empty(to)
    fill(source)
    before = content(source)
    copy = copy_books(source, target, silent, lock_source=lock_source)
    assert content(target) == before == content(source)
    assert set(copy.rows) == set(metadata.tables)
    assert all(copy.rows.values()), copy.rows
    with target.reading() as connection:
        assert disagreements(connection) == []


@pytest.mark.parametrize("to", KINDS)
def test_the_copied_books_go_on(source: Database, open_empty: OpenEmpty, to: str) -> None:
    """New rows get new numbers, also where the database counts by itself."""
    target = open_empty(to)
    copy_books(source, target, silent, lock_source=True)
    books = Books(target, a_policy(), NOW + timedelta(hours=2))
    books.credit("brand-new", 4_000, 0)
    claim = next(each for each in books.claim_all() if each.invoice_id == "brand-new")
    assert claim.external_id == "credit-brand-new"
    assert books.statement.balanced


def test_a_copy_goes_on_beside_writers(source: Database, open_empty: OpenEmpty) -> None:
    """The snapshot is of one moment: what comes in meanwhile is in the source and not in the copy."""
    target = open_empty("sqlite")
    books = Books(source, a_policy(), NOW)
    before = content(source)

    def receive(table: str, done: int, total: int) -> None:
        books.credit(f"meanwhile-{table}-{done}", 100, 0)

    copy_books(source, target, receive, lock_source=False)
    assert content(target) == before
    assert len(content(source)["credits"]) > len(before["credits"])


def test_nobody_writes_to_a_locked_source(
    source: Database, open_empty: OpenEmpty, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that was overlooked gets an error, and the bank a 503, instead of a row that is left behind."""
    monkeypatch.setattr(database_module, "BUSY_SECONDS", 0.05)
    other = open_database(source.url.render_as_string(hide_password=False))
    refused: list[object] = []

    def receive(table: str, done: int, total: int) -> None:
        if table == "credits" and not refused:
            with pytest.raises(LedgerUnavailable) as caught:
                Books(other, a_policy(), NOW).credit("late", 100, 0)
            refused.append(caught)

    copy_books(source, open_empty("sqlite"), receive, lock_source=True)
    other.close()
    assert refused


@pytest.mark.parametrize("to", KINDS)
def test_a_target_with_rows_is_refused(source: Database, open_empty: OpenEmpty, to: str) -> None:
    """Two books poured together would be neither; the tables with rows are named."""
    target = open_empty(to)
    Books(target, a_policy(), NOW).credit("theirs", 100, 0)
    before = content(target)
    with pytest.raises(BooksRefused, match=r"is not empty: there are rows in .*; name an empty database"):
        copy_books(source, target, silent, lock_source=True)
    assert content(target) == before


@pytest.mark.parametrize("to", KINDS)
@pytest.mark.parametrize("table", ["inbox_events", "transfer_history"])
def test_a_copy_that_dies_leaves_the_target_empty(
    source: Database, open_empty: OpenEmpty, to: str, table: str
) -> None:
    """It is one transaction: a crash at any table rolls all of it back."""
    target = open_empty(to)

    def die(name: str, done: int, total: int) -> None:
        if name == table and done:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        copy_books(source, target, die, lock_source=True)
    assert is_empty(target)
    copy_books(source, target, silent, lock_source=True)


DAMAGE = {
    "a changed row": (
        "UPDATE credits SET recorded_at = '2026-01-01T00:00:00.000000Z'",
        "table credits: its rows differ",
    ),
    "a lost row": (
        "DELETE FROM tallies WHERE rowid = NEW.rowid",
        "table tallies: 11 rows on one side, 4 on the other",
    ),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_copy_that_differs_is_not_kept(source: Database, open_empty: OpenEmpty, kind: str) -> None:
    """A database that stores something else than it was told (here: a trigger) is found out before the commit."""
    target = open_empty("sqlite")
    change, message = DAMAGE[kind]
    table = message.split()[1].rstrip(":")
    number = "(SELECT count(*) FROM tallies) = 5" if kind == "a lost row" else "1"
    with target.transaction() as connection:
        connection.execute(
            text(f"CREATE TRIGGER damage AFTER INSERT ON {table} WHEN {number} BEGIN {change}; END")
        )
    with pytest.raises(BooksRefused, match=message):
        copy_books(source, target, silent, lock_source=True)
    assert is_empty(target)


def test_a_row_that_postgresql_cannot_keep_is_named(source: Database, open_empty: OpenEmpty) -> None:
    """SQLite keeps more characters than a column has; the message names the table, not the value."""
    with source.transaction() as connection:
        connection.execute(update(attentions).values(kind=bindparam("text")), {"text": "a secret" * 10})
    target = open_empty("postgresql")
    with pytest.raises(
        BooksRefused, match="table attentions: the target will not take a row of rows 1 to 5"
    ) as caught:
        copy_books(source, target, silent, lock_source=True)
    assert "secret" not in str(caught.value)
    assert is_empty(target)


def test_books_that_differ_are_told_apart(source: Database, open_empty: OpenEmpty) -> None:
    """Equal numbers of rows are not enough: one centavo less is found."""
    target = open_empty("sqlite")
    copy_books(source, target, silent, lock_source=True)
    compare_books(source, target, silent)
    with target.transaction() as connection:
        connection.execute(
            text("UPDATE bank_transfers SET amount_centavos = amount_centavos - 1 WHERE rowid = 2")
        )
    with pytest.raises(BooksRefused, match="table bank_transfers: its rows differ"):
        compare_books(source, target, silent)


def test_equal_rows_are_counted_and_not_cancelled_out(open_empty: OpenEmpty) -> None:
    """Tables are compared by the sum of their rows' hashes; were they XORed, a pair of equal rows would vanish."""
    from payments.upkeep.copying import Digest

    one, two = Digest(), Digest()
    row: tuple[object, ...] = ("a", 1, None, NOW, b"\xff")
    for _ in range(2):
        one.add(row)  # type: ignore[arg-type]
    assert one.content not in (0, two.content)
