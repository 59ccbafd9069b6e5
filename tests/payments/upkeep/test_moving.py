"""Moving the books for good: one home at any time, whatever goes wrong on the way."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, text

from payments.errors import BooksRefused, LedgerUnusable
from payments.operator import processes
from payments.operator.actions import Operator
from payments.storage.database import Database, open_database
from payments.storage.migrate import migrate, revision_of
from payments.storage.schema import actions
from payments.upkeep.copying import is_empty
from payments.upkeep.moving import move_books, reopen_books
from tests.payments.builders import NOW, a_policy
from tests.payments.conftest import Books
from tests.payments.full_books import WEB, content, fill

BY = Operator("ana@caixa", "a larger machine")


def silent(table: str, done: int, total: int) -> None:
    """Nobody looks at the progress."""


@pytest.fixture
def old(tmp_path: Path) -> Iterator[Database]:
    """Full books on SQLite, which nobody uses."""
    database = open_database(f"sqlite:///{tmp_path / 'old.db'}")
    migrate(database)
    fill(database)
    yield database
    database.close()


@pytest.fixture
def open_new(tmp_path: Path) -> Iterator[Callable[[], Database]]:
    """A database that does not exist yet; any number of them."""
    opened: list[Database] = []

    def open_another() -> Database:
        opened.append(open_database(f"sqlite:///{tmp_path / f'new-{len(opened)}.db'}"))
        return opened[-1]

    yield open_another
    for database in opened:
        database.close()


@pytest.fixture
def new(open_new: Callable[[], Database]) -> Database:
    """One of them."""
    return open_new()


def test_the_old_books_are_closed_and_say_where_the_new_ones_are(old: Database, new: Database) -> None:
    """No process starts on them; the new ones are open, hold everything, and know who moved them."""
    move = move_books(old, new, BY, NOW, silent)
    assert not move.was_there_already
    with pytest.raises(LedgerUnusable, match=f"were moved to {new.name}; put that in DATABASE_URL") as caught:
        migrate(old)
    assert "\n" not in str(caught.value)
    assert not migrate(new)
    assert content(new) == content(old)
    with new.reading() as connection:
        act = connection.execute(select(actions).order_by(actions.c.id.desc()).limit(1)).one()
    assert (act.who, act.kind, act.subject) == ("ana@caixa", "move_books", new.name)


def test_books_that_a_process_uses_are_not_moved(old: Database, new: Database) -> None:
    """It would go on writing to the old ones; it is named. A minute after its last sign of life it counts as dead."""
    running = processes.Process("web-2", "web", "caixa", 4712, "0.2.0")
    processes.record_alive(old, running, NOW)
    with pytest.raises(
        BooksRefused, match=r"1 process\(es\) use these books: web 4712 on caixa \(seen 59 s ago\)"
    ):
        move_books(old, new, BY, NOW + timedelta(seconds=59), silent)
    assert is_empty(new)
    assert not migrate(old)
    move_books(old, new, BY, NOW + timedelta(seconds=61), silent)


def test_a_process_that_was_stopped_does_not_stand_in_the_way(old: Database, new: Database) -> None:
    """Its end is recorded; there is nothing to wait for."""
    processes.record_alive(old, WEB, NOW)
    processes.record_stopped(old, WEB, NOW)
    move_books(old, new, BY, NOW, silent)


@pytest.mark.parametrize("failure", [BooksRefused("differs"), KeyboardInterrupt()], ids=["refused", "ctrl-c"])
def test_a_move_that_fails_leaves_the_old_books_open(
    old: Database, new: Database, failure: BaseException
) -> None:
    """As if nothing had been tried, but for two acts that tell of it."""

    def fail(table: str, done: int, total: int) -> None:
        if table == "transfers" and done:
            raise failure

    with pytest.raises(type(failure)):
        move_books(old, new, BY, NOW, fail)
    assert is_empty(new)
    assert not migrate(old)
    Books(old, a_policy(), NOW).credit("later", 100, 0)
    move_books(old, new, BY, NOW, silent)
    assert content(new) == content(old)


def test_a_move_that_was_killed_is_done_again(old: Database, new: Database) -> None:
    """Killed in the copy: the old books are closed, the new ones empty. The same command goes on."""

    def die(table: str, done: int, total: int) -> None:
        raise ZeroDivisionError  # as a kill: nobody cleans up

    with pytest.raises(ZeroDivisionError):
        move_books(old, new, BY, NOW, die)
    with pytest.raises(LedgerUnusable, match="were moved to"):
        migrate(old)
    assert not move_books(old, new, BY, NOW, silent).was_there_already
    assert content(new) == content(old)


def test_a_move_that_was_killed_after_its_commit_has_nothing_left_to_do(old: Database, new: Database) -> None:
    """The same command compares both sides, and says that everything is there."""
    move_books(old, new, BY, NOW, silent)
    before = content(new)
    assert move_books(old, new, BY, NOW, silent).was_there_already
    assert content(new) == before
    Books(new, a_policy(), NOW).credit("since", 100, 0)
    with pytest.raises(BooksRefused, match="table inbox_events: 14 rows on one side, 15 on the other"):
        move_books(old, new, BY, NOW, silent)


def test_moved_books_are_not_moved_a_second_time(
    old: Database, new: Database, open_new: Callable[[], Database]
) -> None:
    """They would have two homes, and both would take the same credits for their own."""
    move_books(old, new, BY, NOW, silent)
    other = open_new()
    with pytest.raises(BooksRefused, match=f"were moved to {new.name} already"):
        move_books(old, other, BY, NOW, silent)
    assert revision_of(other) is None


def test_books_are_opened_again_by_a_command_of_its_own(old: Database, new: Database) -> None:
    """Only closed ones; the act is recorded."""
    with pytest.raises(BooksRefused, match="are not closed"):
        reopen_books(old, BY, NOW)
    move_books(old, new, BY, NOW, silent)
    reopen_books(old, Operator("ana", "the new machine burnt"), NOW)
    assert not migrate(old)
    with old.reading() as connection:
        assert list(connection.execute(select(actions.c.kind).order_by(actions.c.id)).scalars()) == [
            "pause",
            "move_books",
            "reopen_books",
        ]


def test_a_target_with_books_is_refused_before_anything_is_closed(old: Database, new: Database) -> None:
    """The old books never notice."""
    migrate(new)
    Books(new, a_policy(), NOW).credit("theirs", 100, 0)
    before = content(old)
    with pytest.raises(BooksRefused, match="is not empty: books are moved to an empty database"):
        move_books(old, new, BY, NOW, silent)
    assert content(old) == before
    assert not migrate(old)


def test_books_are_not_moved_onto_themselves(old: Database, tmp_path: Path) -> None:
    """However the file is named."""
    (tmp_path / "link.db").symlink_to(tmp_path / "old.db")
    same = open_database(f"sqlite:///{tmp_path / 'link.db'}")
    with pytest.raises(BooksRefused, match="is where the books are already"):
        move_books(old, same, BY, NOW, silent)
    same.close()


def test_books_of_another_version_are_not_moved(old: Database, new: Database) -> None:
    """This program does not know what is in them; the message says what to do."""
    with old.transaction() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    with pytest.raises(LedgerUnusable, match=r"are at version 0001, .*python -m payments\.ledger\.migrate"):
        move_books(old, new, BY, NOW, silent)


def test_where_there_are_no_books_there_is_nothing_to_move(open_new: Callable[[], Database]) -> None:
    """A slip in DATABASE_URL makes no file."""
    nothing, new = open_new(), open_new()
    with pytest.raises(LedgerUnusable, match="there are no books in"):
        move_books(nothing, new, BY, NOW, silent)
    assert not Path(str(nothing.url.database)).exists()


def test_books_move_to_postgresql_and_back(old: Database, postgresql_url: str, new: Database) -> None:
    """The way for real; and the way home, if it has to be."""
    large = open_database(postgresql_url)
    move_books(old, large, BY, NOW, silent)
    with pytest.raises(BooksRefused, match="is where the books are already"):
        move_books(large, large, BY, NOW, silent)
    Books(large, a_policy(), NOW).credit("there", 100, 0)
    move_books(large, new, BY, NOW, silent)
    assert content(new) == content(large)
    with pytest.raises(LedgerUnusable, match="were moved to sqlite"):
        migrate(large)
    large.close()
