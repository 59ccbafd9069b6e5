"""Backups: whole books in one SQLite file, whatever the database; restored into an empty one, whatever that is.

A backup is taken beside the running processes, on one snapshot, and is compared row by row before it gets its name.
The file holds names and tax ids of payers: only its owner may read it.
"""

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sqlalchemy import Connection, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.pool import StaticPool

from payments.errors import BooksRefused, LedgerUnavailable
from payments.storage.database import Database
from payments.storage.migrate import NEWEST_REVISION, migrate, revision_of
from payments.upkeep.copying import Copy, Progress, copy_books
from payments.upkeep.moving import refuse_unknown_revision


def back_up(database: Database, file: Path, progress: Progress) -> Copy:
    """Write the books to a new ``file``, durably. It appears under its name only when it is whole and compared.

    Raises BooksRefused when the file exists or cannot be written, LedgerUnusable when the books are of another
    version, LedgerUnavailable when the database does not answer.
    """
    refuse_unknown_revision(database)
    if file.exists():
        raise BooksRefused(f"{file} exists already; backups are never written over: name another file")
    partial = file.with_name(f".{file.name}.partial")
    try:
        _make_private(partial)
        with _alone_with(partial, writable=True) as copy:
            migrate(copy)
            copied = copy_books(database, copy, progress, lock_source=False)
        refuse_damaged(partial)
        _make_durable(partial, file)
    except OSError as error:
        raise BooksRefused(f"{file} cannot be written: {error.strerror}") from None
    finally:
        for left in (partial, Path(f"{partial}-journal")):
            with suppress(OSError):
                left.unlink(missing_ok=True)
    return copied


def restore(file: Path, database: Database, progress: Progress) -> Copy:
    """Copy a backup, of this version or an older one, into the empty ``database``. The file is only read.

    Raises BooksRefused when the file is none of ours or damaged, or the database is not empty; LedgerUnusable when it
    cannot serve; LedgerUnavailable when it does not answer. The database is empty then.
    """
    if not file.is_file():
        raise BooksRefused(f"there is no file {file}")
    refuse_damaged(file)
    with (
        tempfile.TemporaryDirectory(prefix="repasse-") as folder,
        _at_this_version(file, Path(folder)) as books,
    ):
        migrate(database)
        return copy_books(books, database, progress, lock_source=False)


def refuse_damaged(file: Path) -> None:
    """Raises BooksRefused unless the file is a SQLite database that is sound in itself."""
    try:
        connection = sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)
        try:
            found = [row[0] for row in connection.execute("PRAGMA integrity_check(1)")]
        finally:
            connection.close()
    except sqlite3.DatabaseError as error:
        raise BooksRefused(f"{file} cannot be read as a database: {error}") from None
    if found != ["ok"]:
        raise BooksRefused(f"{file} is damaged: {found[0]}")


@contextmanager
def _at_this_version(file: Path, folder: Path) -> Iterator[Database]:
    with _alone_with(file, writable=False) as books:
        found = revision_of(books)
        if found == NEWEST_REVISION:
            yield books
            return
    if found is None:
        raise BooksRefused(f"{file} holds no books of repasse")
    # The backup stays as it is: a copy of it is brought up to date.
    copy = folder / "books.db"
    shutil.copyfile(file, copy)
    with _alone_with(copy, writable=True) as books:
        migrate(books)
        yield books


@contextmanager
def _alone_with(file: Path, *, writable: bool) -> Iterator[Database]:
    """A SQLite file that nobody else uses: without WAL it is one file, and may be on a network drive."""
    address = f"{file.absolute().as_uri()}?mode={'rw' if writable else 'ro'}"

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(address, uri=True, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA foreign_keys = ON")
        return connection

    url = URL.create("sqlite", database=str(file))
    engine = create_engine(url, creator=connect, poolclass=StaticPool)
    event.listen(engine, "begin", _begin)
    database = Database(engine, url)
    try:
        yield database
    except LedgerUnavailable as error:
        cause = error.__cause__
        if (
            isinstance(cause, Exception)
            and getattr(getattr(cause, "orig", cause), "sqlite_errorname", "") == "SQLITE_FULL"
        ):
            raise BooksRefused(f"{file.parent} is full; make room and run it again") from error
        raise
    finally:
        database.close()


def _begin(connection: Connection) -> None:
    driver = connection.connection.driver_connection
    assert driver is not None  # it has just been opened
    driver.execute("BEGIN")


def _make_private(file: Path) -> None:
    file.unlink(missing_ok=True)  # left behind by a run that was killed
    os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def _make_durable(partial: Path, file: Path) -> None:
    """Give a written file its name, so that a power cut leaves it whole or not there."""
    sync(partial)
    os.rename(partial, file)
    sync(file.parent)


def sync(path: Path) -> None:
    """Have the disk keep what was written to this file or folder."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
