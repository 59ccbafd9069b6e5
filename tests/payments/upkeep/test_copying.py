"""Copying to another database: everything arrives, the old one is closed, and nothing is kept of a failed copy."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import product
from pathlib import Path

import pytest
from sqlalchemy import bindparam, select, text, update

from payments.errors import BooksRefused, LedgerUnavailable, LedgerUnusable
from payments.operator import processes
from payments.operator.processes import ALIVE_WITHIN
from payments.storage import sqlite
from payments.storage.database import Database, open_database
from payments.storage.migrate import migrate, revision_of
from payments.storage.schema import actions, attentions, metadata
from payments.upkeep.copying import Progress, copy_database, digest_of, is_empty, reopen
from payments.upkeep.verify import verify
from tests.payments.builders import NOW, a_policy
from tests.payments.conftest import Books
from tests.payments.full_books import WEB, content, fill

OpenEmpty = Callable[[str], Database]
WHO = "ana@caixa"
KINDS = ("sqlite", "postgresql")


@pytest.fixture
def open_empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OpenEmpty]:
    """Open a database without tables on ``sqlite`` or ``postgresql``; any number of them."""
    opened: list[tuple[Database, str | None]] = []

    def open_another(kind: str) -> Database:
        address = None
        if kind == "postgresql":
            address = request.getfixturevalue("postgresql").create()
        database = open_database(address or f"sqlite:///{tmp_path / f'database-{len(opened)}.db'}")
        opened.append((database, address))
        return database

    yield open_another
    for database, address in opened:
        database.close()
        if address is not None:
            request.getfixturevalue("postgresql").drop(address)


def full(open_empty: OpenEmpty, kind: str) -> Database:
    """A database with rows in every table that no process uses."""
    database = open_empty(kind)
    migrate(database)
    fill(database)
    return database


@pytest.fixture
def source(open_empty: OpenEmpty) -> Database:
    """A full one on SQLite."""
    return full(open_empty, "sqlite")


def silent(text: str) -> None:
    """No one looks at the progress."""


def copied(
    source: Database, target: Database, progress: Progress = silent, now: datetime = NOW
) -> dict[str, int] | None:
    """Copy; the rows of each table."""
    return copy_database(source, target, WHO, now, ALIVE_WITHIN, progress)


def assert_same(target: Database, source: Database) -> None:
    """Every row of every table, but for the one that closes the source."""
    ours, theirs = content(source), content(target)
    assert theirs.pop("relocations") == []
    assert len(ours.pop("relocations")) == 1
    assert theirs == ours


def assert_closed(database: Database) -> None:
    """No process starts on it."""
    with pytest.raises(LedgerUnusable, match="was moved to"):
        migrate(database)


@pytest.mark.parametrize(("of", "to"), list(product(KINDS, KINDS)))
def test_every_row_of_every_table_arrives_and_the_copy_goes_on(
    open_empty: OpenEmpty, of: str, to: str
) -> None:
    """A new table cannot be forgotten, for the full database has rows in each; new rows get new numbers."""
    source, target = full(open_empty, of), open_empty(to)
    rows = copied(source, target)
    assert rows is not None
    assert set(rows) == set(metadata.tables) - {"relocations"}
    assert all(rows.values()), rows
    assert_same(target, source)
    assert verify(target, lambda _: None) == []
    books = Books(target, a_policy(), NOW + timedelta(hours=2))
    books.credit("5000000000000077", 4_000, 0)
    claims = {claim.external_id for claim in books.claim_all()}
    assert "credit-5000000000000077" in claims
    assert books.statement.balanced


def test_the_old_database_is_closed_and_names_the_new_one(source: Database, open_empty: OpenEmpty) -> None:
    """In one line; the new one is open and knows who moved it."""
    target = open_empty("sqlite")
    copied(source, target)
    with pytest.raises(
        LedgerUnusable, match=f"was moved to {target.name}; put that in DATABASE_URL"
    ) as caught:
        migrate(source)
    assert "\n" not in str(caught.value)
    assert not migrate(target)
    with target.reading() as connection:
        action = connection.execute(select(actions).order_by(actions.c.id.desc()).limit(1)).one()
    assert (action.who, action.kind, action.subject) == ("ana@caixa", "move_books", target.name)


def test_a_database_that_a_process_uses_is_not_copied(source: Database, open_empty: OpenEmpty) -> None:
    """It would go on writing to the old one; it is named. A minute after its last heartbeat it counts as dead."""
    target = open_empty("sqlite")
    processes.record_alive(source, processes.Process("web-2", "web", "caixa", 4712, "0.2.0"), NOW)
    with pytest.raises(
        BooksRefused, match=r"1 process\(es\) use these books: web 4712 on caixa \(seen 59 s ago\)"
    ):
        copied(source, target, now=NOW + timedelta(seconds=59))
    assert is_empty(target)
    assert not migrate(source)
    assert copied(source, target, now=NOW + timedelta(seconds=61))


def test_a_process_that_was_stopped_does_not_stand_in_the_way(
    source: Database, open_empty: OpenEmpty
) -> None:
    """Its end is recorded, so there is nothing to wait for."""
    processes.record_alive(source, WEB, NOW)
    processes.record_stopped(source, WEB, NOW)
    assert copied(source, open_empty("sqlite"))


def test_no_one_writes_to_the_source_meanwhile(
    source: Database, open_empty: OpenEmpty, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that was overlooked gets an error, and the bank a 503, instead of a row that is left behind."""
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.05)
    other = open_database(source.url.render_as_string(hide_password=False))
    refused: list[object] = []

    def receive(text: str) -> None:
        if text == "credits" and not refused:
            with pytest.raises(LedgerUnavailable) as caught:
                Books(other, a_policy(), NOW).credit("late", 100, 0)
            refused.append(caught)

    copied(source, open_empty("sqlite"), receive)
    other.close()
    assert refused


# --- when something goes wrong ---


@pytest.mark.parametrize("to", KINDS)
@pytest.mark.parametrize("failure", [BooksRefused("differs"), KeyboardInterrupt()], ids=["refused", "ctrl-c"])
def test_a_copy_that_fails_leaves_the_target_empty_and_the_source_open(
    source: Database, open_empty: OpenEmpty, to: str, failure: BaseException
) -> None:
    """As if nothing had been tried, but for two actions; and it can be done again."""
    target = open_empty(to)

    def fail(text: str) -> None:
        if text == "transfers":
            raise failure

    with pytest.raises(type(failure)):
        copied(source, target, fail)
    assert is_empty(target)
    assert not migrate(source)
    Books(source, a_policy(), NOW).credit("5000000000000078", 100, 0)
    assert copied(source, target)
    assert_same(target, source)


def test_a_copy_that_was_killed_is_done_again(source: Database, open_empty: OpenEmpty) -> None:
    """The source is closed and the target empty; the same command goes on."""
    target = open_empty("sqlite")

    def die(text: str) -> None:
        raise ZeroDivisionError  # as a kill: no one cleans up

    with pytest.raises(ZeroDivisionError):
        copied(source, target, die)
    assert_closed(source)
    assert copied(source, target)
    assert_same(target, source)


def test_a_copy_that_was_killed_after_its_commit_has_nothing_left_to_do(
    source: Database, open_empty: OpenEmpty
) -> None:
    """The same command says that everything is there, also when the new database is in use by now."""
    target = open_empty("sqlite")
    copied(source, target)
    Books(target, a_policy(), NOW).credit("5000000000000079", 100, 0)
    before = content(target)
    assert copied(source, target) is None
    assert content(target) == before


def test_a_target_that_was_used_before_the_copy_was_done_again_is_refused(
    source: Database, open_empty: OpenEmpty
) -> None:
    """The copy was killed, and a process was started on the empty target: it does not hold what the source holds."""
    target = open_empty("sqlite")

    def die(text: str) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        copied(source, target, die)
    Books(target, a_policy(), NOW).credit("5000000000000079", 100, 0)
    with pytest.raises(BooksRefused, match="is not empty"):
        copied(source, target)


def test_a_closed_database_is_not_copied_to_a_second_place(source: Database, open_empty: OpenEmpty) -> None:
    """It would have two homes, and both would take the same credits for their own."""
    target, other = open_empty("sqlite"), open_empty("sqlite")
    copied(source, target)
    with pytest.raises(BooksRefused, match=f"were moved to {target.name} already"):
        copied(source, other)
    assert revision_of(other) is None


@pytest.mark.parametrize("to", KINDS)
def test_a_target_with_rows_is_refused_before_anything_is_closed(
    source: Database, open_empty: OpenEmpty, to: str
) -> None:
    """Two databases poured together would be neither."""
    target = open_empty(to)
    migrate(target)
    Books(target, a_policy(), NOW).credit("5000000000000080", 100, 0)
    before = content(source), content(target)
    with pytest.raises(BooksRefused, match="is not empty: books are moved to an empty database"):
        copied(source, target)
    assert (content(source), content(target)) == before
    assert not migrate(source)


DAMAGE = {
    "credits": "UPDATE credits SET recorded_at = '2026-01-01T00:00:00.000000Z'",
    "transfer_history": "DELETE FROM transfer_history WHERE rowid = NEW.rowid",
}


@pytest.mark.parametrize("table", DAMAGE)
def test_a_copy_that_differs_is_not_kept(source: Database, open_empty: OpenEmpty, table: str) -> None:
    """A database that changes or loses what it was given (here: a trigger) is found out before the commit."""
    target = open_empty("sqlite")
    migrate(target)
    with target.transaction() as connection:
        connection.execute(
            text(
                f"CREATE TRIGGER damage AFTER INSERT ON {table} "
                f"WHEN (SELECT count(*) FROM {table}) = 3 BEGIN {DAMAGE[table]}; END"
            )
        )
    with pytest.raises(BooksRefused, match=rf"table {table}: .* which differ; nothing was kept"):
        copied(source, target)
    assert is_empty(target)
    assert not migrate(source)


def test_a_row_that_postgresql_cannot_keep_is_named(source: Database, open_empty: OpenEmpty) -> None:
    """SQLite keeps more characters than a column has; the message names the table, not the value."""
    with source.transaction() as connection:
        connection.execute(update(attentions).values(kind=bindparam("text")), {"text": "a secret" * 10})
    target = open_empty("postgresql")
    with pytest.raises(BooksRefused, match="table attentions: the target refuses a row: ") as caught:
        copied(source, target)
    assert "secret" not in str(caught.value)
    assert is_empty(target)


def test_equal_rows_are_counted_and_not_cancelled_out() -> None:
    """Were the hashes of rows XORed, a pair of equal rows would vanish."""
    row = ("a", 1, None, NOW, b"\xff")
    assert digest_of([row, row]).content not in (0, digest_of([]).content, digest_of([row]).content)
    assert digest_of([row, row]) == digest_of(iter([row, row]))
    assert digest_of([row, ("b",)]) == digest_of([("b",), row])


# --- what is refused, and the way back ---


def test_a_database_is_opened_again_by_a_command_of_its_own(source: Database, open_empty: OpenEmpty) -> None:
    """Only a closed one; the action is recorded."""
    with pytest.raises(BooksRefused, match="are not closed"):
        reopen(source, WHO, NOW)
    copied(source, open_empty("sqlite"))
    reopen(source, "ana", NOW)
    assert not migrate(source)
    with source.reading() as connection:
        kinds = list(connection.execute(select(actions.c.kind).order_by(actions.c.id)).scalars())
    assert kinds[-2:] == ["move_books", "reopen_books"]


def test_a_database_is_not_copied_onto_itself(source: Database, tmp_path: Path) -> None:
    """However the file is named."""
    (tmp_path / "link.db").symlink_to(str(source.url.database))
    same = open_database(f"sqlite:///{tmp_path / 'link.db'}")
    with pytest.raises(BooksRefused, match="is where the books are already"):
        copied(source, same)
    same.close()


def test_a_database_of_another_version_is_not_copied(source: Database, open_empty: OpenEmpty) -> None:
    """This program does not know what is in it; the message says what to do."""
    with source.transaction() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'v0'"))
    with pytest.raises(LedgerUnusable, match=r"are at version v0, .*python -m payments\.storage\.migrate"):
        copied(source, open_empty("sqlite"))


def test_where_there_is_no_database_none_is_made(open_empty: OpenEmpty) -> None:
    """A slip in DATABASE_URL makes no file."""
    nothing, target = open_empty("sqlite"), open_empty("sqlite")
    with pytest.raises(LedgerUnusable, match="there is no database"):
        copied(nothing, target)
    assert not Path(str(nothing.url.database)).exists()
