"""The database: what it promises, and what it says when it cannot keep it."""

import os
import re
import shutil
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError, StatementError

from payments.errors import LedgerUnavailable, LedgerUnusable
from payments.storage import sqlite
from payments.storage.database import Database, insert_new, open_database
from payments.storage.migrate import migrate
from payments.storage.schema import attentions, reconciliations
from tests.payments.builders import NOW
from tests.payments.conftest import ON_SQLITE, Books


def write(database: Database, subject: str = "x", detail: str = "y") -> None:
    """One small durable fact."""
    with database.transaction() as connection:
        row = {"kind": "transfer_dead", "subject": subject, "detail": detail, "raised_at": NOW}
        insert_new(connection, attentions, [row], "id")


def subjects(database: Database) -> set[str]:
    """What was written."""
    with database.reading() as connection:
        return set(connection.execute(select(attentions.c.subject)).scalars())


def fill(database: Database) -> None:
    """Write until there is no room; a megabyte would do."""
    for number in range(1000):
        write(database, f"{number}", "z" * 1000)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another program holds the write lock."""
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch, database_file: Path) -> Iterator[Database]:
    """A database that waits a twentieth of a second for a lock."""
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.05)
    database = open_database(f"sqlite:///{database_file}")
    yield database
    database.close()


# --- how it is set up ---


@ON_SQLITE
def test_every_connection_is_set_up_for_money(database: Database) -> None:
    """WAL lets readers read; FULL (2) outlives a power cut; foreign keys hold; a reader waits for a lock."""
    wanted = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 5000}
    with database.reading() as first, database.reading() as second, database.transaction() as writing:
        for connection in (first, second, writing):
            found = {name: connection.execute(text(f"PRAGMA {name}")).scalar() for name in wanted}
            # a writer waits for the lock at its start, looking every millisecond, and for nothing after it
            assert found == wanted | ({"busy_timeout": 0} if connection is writing else {})


@ON_SQLITE
def test_a_write_takes_the_lock_at_its_start(database: Database, database_file: Path) -> None:
    """A deferred transaction that reads before it writes would fail when another has written in between."""
    with database.transaction() as connection:
        connection.execute(select(attentions)).all()
        other = sqlite3.connect(database_file, timeout=0, isolation_level=None)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
        other.close()


def test_a_reader_sees_one_snapshot_and_holds_up_no_one(database: Database) -> None:
    """What is written meanwhile appears to the next reader."""
    with database.reading() as connection:
        assert connection.execute(select(attentions)).all() == []
        write(database)
        assert connection.execute(select(attentions)).all() == []
    assert subjects(database) == {"x"}


def test_a_block_that_fails_leaves_nothing(database: Database) -> None:
    """One transaction, whole or not at all."""
    row = {"kind": "transfer_dead", "subject": "x", "detail": "y", "raised_at": NOW}
    with pytest.raises(KeyError), database.transaction() as connection:  # noqa: PT012
        assert insert_new(connection, attentions, [row], "id")
        insert_new(connection, attentions, [row], "no such column")
    assert subjects(database) == set()


def test_what_was_committed_outlives_the_process_s_connections(database: Database) -> None:
    """Another process reads it."""
    write(database)
    other = open_database(database.url.render_as_string(hide_password=False))
    assert subjects(other) == {"x"}
    other.close()


def test_threads_share_a_database_without_losing_a_write(database: Database) -> None:
    """Each waits for the lock; none fails."""
    written = [f"{number}" for number in range(60)]
    with ThreadPoolExecutor(6) as threads:
        list(threads.map(lambda subject: write(database, subject), written))
    assert subjects(database) == set(written)


# --- when the storage fails ---


def test_a_lock_of_another_program_makes_it_unavailable_until_it_is_gone(
    impatient: Database, database_file: Path
) -> None:
    """Answered 503 in time, and then it recovers by itself."""
    with locked(database_file), pytest.raises(LedgerUnavailable, match="locked"):
        write(impatient)
    write(impatient)
    assert subjects(impatient) == {"x"}


def test_a_lock_does_not_keep_anyone_from_reading(impatient: Database, database_file: Path) -> None:
    """Health and statement answer while a backup runs."""
    write(impatient)
    with locked(database_file):
        assert subjects(impatient) == {"x"}


@ON_SQLITE
def test_a_lock_that_ends_within_the_busy_time_is_only_waited_for(
    database: Database, database_file: Path
) -> None:
    """A short backup is no failure."""
    holding, done = threading.Event(), threading.Event()

    def hold() -> None:
        with locked(database_file):
            holding.set()
            done.wait(0.2)

    holder = threading.Thread(target=hold)
    holder.start()
    assert holding.wait(5)
    write(database)
    holder.join()
    assert subjects(database) == {"x"}


@ON_SQLITE
def test_a_full_disk_makes_it_unavailable_and_it_recovers(database: Database, books: Books) -> None:
    """Nothing of the failed transaction stays; the same event is stored when there is room again."""
    with database.transaction() as connection:
        pages = connection.execute(text("PRAGMA page_count")).scalar_one()
        connection.execute(text(f"PRAGMA max_page_count = {pages}"))
    with pytest.raises(LedgerUnavailable, match="full"):
        fill(database)
    stored = subjects(database)
    with pytest.raises(LedgerUnavailable, match="full"):
        books.credit(tags=("t" * 100_000,))
    assert books.statement.credits == 0
    with database.transaction() as connection:
        connection.execute(text("PRAGMA max_page_count = 1073741823"))
    assert books.credit(tags=("t" * 100_000,)).outcome == "credit"
    assert subjects(database) == stored


def test_a_file_that_is_no_database_is_unavailable(tmp_path: Path) -> None:
    """Never overwritten: it may be a letter."""
    path = tmp_path / "letter.txt"
    path.write_text("Dear bank, " * 100)
    database = open_database(f"sqlite:///{path}")
    with pytest.raises(LedgerUnavailable, match="not a database"):
        write(database)
    with pytest.raises(LedgerUnavailable, match="not a database"):
        subjects(database)
    database.close()
    assert path.read_text() == "Dear bank, " * 100


@pytest.mark.parametrize("damage", ["all but the first page", "one table"])
def test_a_damaged_file_is_unavailable(database_file: Path, damage: str) -> None:
    """Whichever statement meets the damage, and by whichever way it reaches the driver."""
    with closing(sqlite3.connect(database_file)) as connection:
        [page_bytes] = connection.execute("PRAGMA page_size").fetchone()
        [page] = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'attentions'").fetchone()
    content = bytearray(database_file.read_bytes())
    first, last = (1, None) if damage == "all but the first page" else (page - 1, page)
    where = slice(first * page_bytes, last and last * page_bytes)
    content[where] = b"\xa5" * len(content[where])
    database_file.write_bytes(content)
    database = open_database(f"sqlite:///{database_file}")
    with pytest.raises(LedgerUnavailable, match="malformed"):
        write(database)
    database.close()


def test_a_missing_table_is_unavailable(tmp_path: Path) -> None:
    """Not migrated yet: another process may be about to."""
    database = open_database(f"sqlite:///{tmp_path}/new.db")
    with pytest.raises(LedgerUnavailable, match="no such table"):
        write(database)
    database.close()


def test_a_path_that_is_a_folder_is_unavailable(tmp_path: Path) -> None:
    """SQLite cannot open it."""
    database = open_database(f"sqlite:///{tmp_path}")
    with pytest.raises(LedgerUnavailable, match="unable to open"):
        write(database)
    database.close()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """With the reason and the remedy."""
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerUnusable, match=r"cannot make the folder .*file/data .*choose another"):
        open_database(f"sqlite:///{tmp_path}/file/data/repasse.db")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "not a database address"),
        ("data/repasse.db", "not a database address"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("mysql://user:secret@host/x", "unsupported kind 'mysql'"),
        ("postgresql://user:secret@host/x", "unsupported kind 'postgresql'"),
        ("postgres+psycopg2://user:secret@host/x", "unsupported kind"),
    ],
)
def test_an_address_that_cannot_serve_is_refused_with_a_remedy(url: str, said: str) -> None:
    """One line, and never the password."""
    with pytest.raises(LedgerUnusable, match=said) as caught:
        open_database(url)
    assert "put sqlite:///" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_database_s_name_hides_its_password() -> None:
    """It appears in logs and messages."""
    database = open_database("postgresql+psycopg://repasse:hunter2@db.example/books")
    assert database.is_postgresql
    assert database.name == "postgresql+psycopg://repasse:***@db.example/books"


@pytest.mark.parametrize("key", ["password", "sslpassword"])
def test_a_password_in_the_address_s_query_is_hidden_too(key: str) -> None:
    """PostgreSQL's own library takes it from there; the rest of the query may help to see a mistake."""
    database = open_database(f"postgresql+psycopg://repasse@db.example/books?{key}=hunter2&sslmode=require")
    assert "hunter2" not in database.name
    assert f"{key}=***" in database.name
    assert "sslmode=require" in database.name


def test_a_broken_invariant_is_a_bug_and_not_a_storage_fault(database: Database) -> None:
    """Trying again would not help: it must not read as unavailable."""
    moment = "'2026-03-02T15:00:00Z'"
    with pytest.raises(IntegrityError), database.transaction() as connection:
        connection.execute(text(f"INSERT INTO reversals VALUES ('1', '2', -5, {moment}, {moment})"))


# --- moments ---


@ON_SQLITE
def test_a_naive_moment_is_refused(database: Database) -> None:
    """A moment without a zone is a bug."""
    naive = datetime(2026, 3, 2, 15, 0)  # noqa: DTZ001
    row = {"started_at": naive, "ended_at": NOW, "found": 0}
    with pytest.raises(StatementError, match="naive datetime"), database.transaction() as connection:
        insert_new(connection, reconciliations, [row], "id")


def test_a_moment_comes_back_as_it_went_in_utc(database: Database) -> None:
    """To the microsecond, from any zone; on SQLite in one width, so that text sorts as time does."""
    moments = [
        datetime(1, 1, 1, tzinfo=UTC),
        NOW,
        NOW.replace(microsecond=1),
        NOW.astimezone(timezone(timedelta(hours=-3))) + timedelta(hours=1),
        datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    ]
    rows = [{"started_at": moment, "ended_at": NOW, "found": 0} for moment in moments]
    with database.transaction() as connection:
        insert_new(connection, reconciliations, rows, "id")
        in_order = select(reconciliations.c.started_at).order_by(reconciliations.c.started_at)
        found = connection.execute(in_order).scalars().all()
        texts = connection.execute(text("SELECT CAST(started_at AS text) FROM reconciliations")).scalars()
        assert database.is_postgresql or {len(each) for each in texts} == {27}
    assert found == moments
    assert all(moment.tzinfo is UTC for moment in found)


# --- insert_new ---


def test_only_rows_that_are_new_are_inserted_and_named(database: Database) -> None:
    """A row that meets any unique constraint is skipped, not an error."""
    rows = [
        {"kind": "transfer_dead", "subject": subject, "detail": subject, "raised_at": NOW}
        for subject in ("a", "b", "a")
    ]
    with database.transaction() as connection:
        assert len(insert_new(connection, attentions, rows, "id")) == 2
        assert insert_new(connection, attentions, rows, "id") == set()
        assert insert_new(connection, attentions, [], "id") == set()


@ON_SQLITE
def test_a_file_that_was_replaced_is_not_written_to_any_more(database: Database, tmp_path: Path) -> None:
    """Moved away or replaced under our feet: refused until it is back; then it goes on by itself."""
    file = Path(str(database.url.database))
    write(database, "before")
    aside = tmp_path / "aside.db"
    shutil.copy(file, tmp_path / "other.db")
    file.rename(aside)
    with pytest.raises(
        LedgerUnavailable, match="was moved, deleted or replaced while this process had it open"
    ):
        write(database, "gone")
    (tmp_path / "other.db").rename(file)
    with pytest.raises(LedgerUnavailable, match=re.escape(str(file))):
        write(database, "another file")
    aside.replace(file)
    write(database, "back")
    assert subjects(database) == {"before", "back"}


def test_a_writer_that_queues_behind_another_waits_only_so_long(
    impatient: Database, database_file: Path
) -> None:
    """While another program holds the file, those behind a waiting writer must not wait for one another in turn."""
    with impatient.transaction():
        with pytest.raises(LedgerUnavailable, match=r"no connection to it was free within"):
            write(impatient)
        assert subjects(impatient) == set()
    write(impatient)
    assert subjects(impatient) == {"x"}


def test_a_database_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    """Names and tax ids of payers are in it, and in its log; the rights of a file that is there stay."""
    path = tmp_path / "50% #1.db"
    before = os.umask(0)
    try:
        opened = open_database(f"sqlite:///{path}")
        migrate(opened)
        files = sorted(path.parent.glob("50*"))
        assert [file.name.removeprefix(path.name) for file in files] == ["", "-shm", "-wal"]
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
        opened.close()
        path.chmod(0o640)
        opened = open_database(f"sqlite:///{path}")
        with opened.reading():
            assert stat.S_IMODE(path.stat().st_mode) == 0o640
        opened.close()
    finally:
        os.umask(before)


@ON_SQLITE
def test_a_new_connection_drops_no_lock_of_this_process(database: Database) -> None:
    """Closing any handle of the file would drop them all: another process then takes itself for the last, and removes
    the write-ahead log that this one goes on writing to.
    """
    come_and_go = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('SELECT * FROM actions'); c.close()"
    )
    file = str(database.url.database)
    with closing(open_database(str(database.url))) as second:
        for each in (database, second):
            with each.reading() as connection:
                connection.execute(text("SELECT 1"))
        subprocess.run([sys.executable, "-c", come_and_go, file], check=True)
        assert Path(f"{file}-wal").exists()
