"""Backups: of one moment, sound, private, never written over; restored only where there is no database."""

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from payments.errors import BooksRefused, LedgerUnusable
from payments.storage.database import Database, open_database
from payments.storage.migrate import migrate
from payments.upkeep.backup import back_up, restore
from payments.upkeep.verify import verify
from tests.payments.builders import NOW, a_policy
from tests.payments.conftest import Books
from tests.payments.full_books import content, fill


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """A SQLite database with rows in every table."""
    opened = open_database(f"sqlite:///{tmp_path / 'repasse.db'}")
    migrate(opened)
    fill(opened)
    yield opened
    opened.close()


@pytest.fixture
def nowhere(tmp_path: Path) -> Iterator[Database]:
    """A SQLite database that does not exist yet."""
    opened = open_database(f"sqlite:///{tmp_path / 'restored' / 'repasse.db'}")
    yield opened
    opened.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the backup goes; nothing else is in its folder."""
    folder = tmp_path / "backups"
    folder.mkdir()
    return folder / "monday.db"


def test_a_backup_holds_everything_and_is_restored_whole(
    database: Database, file: Path, nowhere: Database
) -> None:
    """The restored database goes on, and neither the backup nor the original has changed."""
    before = content(database)
    back_up(database, file)
    assert [each.name for each in file.parent.iterdir()] == ["monday.db"]
    backup = file.read_bytes()
    restore(file, nowhere)
    assert content(nowhere) == before == content(database)
    assert verify(nowhere, lambda _: None) == []
    Books(nowhere, a_policy(), NOW).credit("after", 100, 0)
    assert file.read_bytes() == backup
    assert [each.name for each in file.parent.iterdir()] == ["monday.db"]


def test_a_backup_is_of_one_moment_while_events_come_in(
    database: Database, file: Path, nowhere: Database
) -> None:
    """Writers are not held up by it, and what it holds obeys every rule."""
    stopped, written = threading.Event(), threading.Event()

    def receive() -> None:
        books = Books(database, a_policy(), NOW)
        for number in range(10_000):
            if stopped.is_set():
                return
            books.credit(f"5{number:015d}", 100, 0)
            written.set()

    writer = threading.Thread(target=receive)
    writer.start()
    assert written.wait(20)
    back_up(database, file)
    stopped.set()
    writer.join()
    restore(file, nowhere)
    assert verify(nowhere, lambda _: None) == []
    assert 0 < len(content(nowhere)["credits"]) <= len(content(database)["credits"])


def test_a_backup_and_what_is_restored_from_it_are_for_their_owner_alone(
    database: Database, file: Path, nowhere: Database
) -> None:
    """They have names and tax ids in them."""
    back_up(database, file)
    restore(file, nowhere)
    assert file.stat().st_mode & 0o777 == 0o600
    assert Path(str(nowhere.url.database)).stat().st_mode & 0o777 == 0o600


def test_a_backup_is_never_written_over(database: Database, file: Path) -> None:
    """The one that is there may be the only good one."""
    file.write_text("precious")
    with pytest.raises(BooksRefused, match="exists already"):
        back_up(database, file)
    assert file.read_text() == "precious"


def test_what_a_killed_run_left_behind_is_no_hindrance(database: Database, file: Path) -> None:
    """It has another name, and is replaced."""
    file.with_name(".monday.db.partial").write_text("half a backup")
    back_up(database, file)
    assert [each.name for each in file.parent.iterdir()] == ["monday.db"]


def test_a_backup_of_a_damaged_database_is_refused_and_leaves_no_file(
    database: Database, file: Path, tmp_path: Path
) -> None:
    """A backup that cannot be restored would be found out too late."""
    path = Path(str(database.url.database))
    database.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        [root] = connection.execute(
            "SELECT rootpage FROM sqlite_schema WHERE name = 'inbox_events'"
        ).fetchone()
    with path.open("r+b") as damaged:
        damaged.seek((root - 1) * 4096)
        damaged.write(os.urandom(4096))
    with pytest.raises(
        BooksRefused,
        match=r"cannot be backed up to .*monday\.db: database disk image is malformed|monday\.db is damaged",
    ):
        back_up(database, file)
    assert list(file.parent.iterdir()) == []


def test_a_backup_into_a_folder_that_is_not_there_is_refused(database: Database, tmp_path: Path) -> None:
    """One line with the reason."""
    with pytest.raises(
        BooksRefused, match=r"nowhere/monday\.db cannot be written: No such file or directory"
    ):
        back_up(database, tmp_path / "nowhere" / "monday.db")


@pytest.mark.parametrize("there", ["repasse.db", "repasse.db-wal", "repasse.db-journal"])
def test_a_backup_is_restored_only_where_nothing_is(
    database: Database, file: Path, nowhere: Database, there: str
) -> None:
    """Not over a database, and not beside a log of an old one, which would be read into it."""
    back_up(database, file)
    other = Path(str(nowhere.url.database)).with_name(there)
    other.write_text("theirs")
    with pytest.raises(BooksRefused, match=f"{there} exists: stop every process, and move it"):
        restore(file, nowhere)
    assert [each.name for each in other.parent.iterdir()] == [there]
    assert other.read_text() == "theirs"


def test_a_backup_of_another_version_is_refused(database: Database, file: Path, nowhere: Database) -> None:
    """This program does not know what is in it."""
    back_up(database, file)
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'v9'")
        connection.commit()
    with pytest.raises(BooksRefused, match="is at version v9, this program's are at"):
        restore(file, nowhere)


def test_files_that_are_no_backup_are_refused(database: Database, tmp_path: Path, nowhere: Database) -> None:
    """Not there; not a database; someone else's database; a damaged one."""
    text, strange, cut = tmp_path / "a.txt", tmp_path / "strange.db", tmp_path / "cut.db"
    text.write_text("not a database, and longer than a header of a hundred bytes would be" * 3)
    with closing(sqlite3.connect(strange)) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    back_up(database, cut)
    whole = cut.read_bytes()
    cut.write_bytes(whole[: len(whole) // 2])
    for file, message in (
        (tmp_path / "nothing", "there is no file"),
        (text, "cannot be read as a database: file is not a database"),
        (strange, "holds no books of repasse"),
        (cut, r"cut\.db (is damaged|cannot be read as a database)"),
    ):
        with pytest.raises(BooksRefused, match=message):
            restore(file, nowhere)
    assert not Path(str(nowhere.url.database)).exists()


def test_postgresql_is_backed_up_by_its_own_tools(
    postgresql_url: str, file: Path, database: Database
) -> None:
    """The message says which."""
    large = open_database(postgresql_url)
    back_up(database, file)
    with pytest.raises(BooksRefused, match="is PostgreSQL: use pg_dump"):
        back_up(large, file.with_name("other.db"))
    with pytest.raises(BooksRefused, match="is PostgreSQL: use pg_restore"):
        restore(file, large)
    large.close()


def test_a_slip_in_the_address_makes_no_sound_and_empty_backup(nowhere: Database, file: Path) -> None:
    """Nor a database."""
    with pytest.raises(LedgerUnusable, match="there is no database"):
        back_up(nowhere, file)
    assert not file.exists()
    assert not Path(str(nowhere.url.database)).exists()
