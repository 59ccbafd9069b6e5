"""Backups: whole, compared, private, never written over; restored into empty books only, whichever database."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from payments.errors import BooksRefused, LedgerUnusable
from payments.storage.database import Database, open_database
from payments.storage.migrate import NEWEST_REVISION, migrate, revision_of
from payments.upkeep.backup import back_up, restore
from payments.upkeep.verify import verify
from tests.payments.builders import NOW, a_policy
from tests.payments.conftest import Books
from tests.payments.full_books import content, fill


def silent(table: str, done: int, total: int) -> None:
    """Nobody looks at the progress."""


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Database]:
    """A SQLite database that does not exist yet."""
    database = open_database(f"sqlite:///{tmp_path / 'restored.db'}")
    yield database
    database.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the backup goes; nothing else is in its folder."""
    folder = tmp_path / "backups"
    folder.mkdir()
    return folder / "monday.db"


def test_a_backup_holds_everything_and_is_restored_whole(
    database: Database, file: Path, empty: Database
) -> None:
    """From either database into one file, and from it into either; nothing is left beside the file."""
    fill(database)
    before = content(database)
    backed_up = back_up(database, file, silent)
    assert [each.name for each in file.parent.iterdir()] == ["monday.db"]
    assert restore(file, empty, silent) == backed_up
    assert content(empty) == before == content(database)
    assert [each.name for each in file.parent.iterdir()] == ["monday.db"]


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_backup_is_restored_into_postgresql(database: Database, file: Path, postgresql_url: str) -> None:
    """And the books go on there."""
    fill(database)
    before = content(database)
    back_up(database, file, silent)
    restored = open_database(postgresql_url)
    try:
        restore(file, restored, silent)
        assert content(restored) == before
        Books(restored, a_policy(), NOW).credit("after", 100, 0)
    finally:
        restored.close()


def test_a_backup_is_of_one_moment_while_events_come_in(
    database: Database, file: Path, empty: Database
) -> None:
    """It needs no stop, and what comes in is not held up by it."""
    books = fill(database)
    before = content(database)

    def receive(table: str, done: int, total: int) -> None:
        books.credit(f"meanwhile-{table}-{done}", 100, 0)

    back_up(database, file, receive)
    restore(file, empty, silent)
    assert content(empty) == before


def test_a_backup_is_for_its_owner_alone(database: Database, file: Path) -> None:
    """It has names and tax ids in it."""
    back_up(database, file, silent)
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_backup_is_never_written_over(database: Database, file: Path) -> None:
    """The one that is there may be the only good one."""
    file.write_text("precious")
    with pytest.raises(BooksRefused, match="exists already"):
        back_up(database, file, silent)
    assert file.read_text() == "precious"


def test_a_backup_that_fails_leaves_no_file(database: Database, file: Path) -> None:
    """Neither under its own name nor under another; what a killed run left behind is no hindrance."""

    def fail(table: str, done: int, total: int) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        back_up(database, file, fail)
    assert list(file.parent.iterdir()) == []
    file.with_name(".monday.db.partial").write_text("half a backup")
    back_up(database, file, silent)
    assert [each.name for each in file.parent.iterdir()] == ["monday.db"]


def test_a_backup_into_a_folder_that_is_not_there_is_refused(database: Database, tmp_path: Path) -> None:
    """One line with the reason."""
    with pytest.raises(
        BooksRefused, match=r"nowhere/monday\.db cannot be written: No such file or directory"
    ):
        back_up(database, tmp_path / "nowhere" / "monday.db", silent)


def test_a_backup_is_not_restored_over_books(database: Database, file: Path) -> None:
    """Into an empty database only; and the backup itself stays as it is."""
    fill(database)
    back_up(database, file, silent)
    before, backup = content(database), file.read_bytes()
    with pytest.raises(BooksRefused, match="is not empty"):
        restore(file, database, silent)
    assert content(database) == before
    assert file.read_bytes() == backup


def test_a_backup_of_an_older_version_is_brought_up_to_date(
    database: Database, file: Path, empty: Database
) -> None:
    """In a copy: the file stays what it was, for the program that wrote it."""
    fill(database)
    statement = back_up(database, file, silent).statement
    _downgrade(file)
    backup = file.read_bytes()
    restored = restore(file, empty, silent)
    assert restored.statement.net_centavos == statement.net_centavos > 0
    assert restored.statement.transfers == statement.transfers
    assert verify(empty, lambda _: None) == []
    assert revision_of(empty) == NEWEST_REVISION
    assert file.read_bytes() == backup


def _downgrade(file: Path) -> None:
    from alembic import command
    from alembic.config import Config

    from payments.storage import migrate as migrate_module

    database = open_database(f"sqlite:///{file}")
    with database.transaction() as connection:
        config = Config()
        config.set_main_option("script_location", str(Path(migrate_module.__file__).parent / "migrations"))
        config.attributes["connection"] = connection
        command.downgrade(config, "0001")
    database.close()
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")


def test_a_backup_of_a_newer_version_is_refused(database: Database, file: Path, empty: Database) -> None:
    """This program does not know what is in it."""
    back_up(database, file, silent)
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    with pytest.raises(LedgerUnusable, match=r"at version 9999, newer than this program's"):
        restore(file, empty, silent)


def test_files_that_are_no_backup_are_refused(tmp_path: Path, empty: Database) -> None:
    """Not there; not a database; a database of somebody else's; a damaged one."""
    text, strange, cut = tmp_path / "a.txt", tmp_path / "strange.db", tmp_path / "cut.db"
    text.write_text("not a database, and longer than a header of a hundred bytes would be" * 3)
    with closing(sqlite3.connect(strange)) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    back_up_of(tmp_path, cut)
    content_of_cut = cut.read_bytes()
    cut.write_bytes(content_of_cut[: len(content_of_cut) // 2])
    for file, message in (
        (tmp_path / "nothing", "there is no file"),
        (text, "cannot be read as a database: file is not a database"),
        (strange, "holds no books of repasse"),
        (cut, r"cut\.db (is damaged|cannot be read as a database)"),
    ):
        with pytest.raises(BooksRefused, match=message):
            restore(file, empty, silent)


def back_up_of(tmp_path: Path, file: Path) -> None:
    """A backup of full books."""
    database = open_database(f"sqlite:///{tmp_path / 'whole.db'}")
    migrate(database)
    fill(database)
    back_up(database, file, silent)
    database.close()
