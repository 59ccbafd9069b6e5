"""Backups of a SQLite database: one sound file, taken while everything runs; and its way back.

PostgreSQL has its own tools for that (docs/deploy.md). A backup holds names and tax ids of payers, so only its owner
may read it.
"""

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from payments.errors import BooksRefused
from payments.storage.database import Database
from payments.storage.migrate import NEWEST_REVISION
from payments.upkeep.copying import refuse_unknown_revision


def back_up(database: Database, file: Path) -> None:
    """Write the database, as it is now, to a new ``file``, which gets its name only once it is sound and durable.

    Raises BooksRefused when the file exists or cannot be written or the database is damaged or PostgreSQL,
    LedgerUnusable when the database is of another version, LedgerUnavailable when it does not answer.
    """
    path = _sqlite_file(database, "use pg_dump; docs/deploy.md has the command")
    refuse_unknown_revision(database)
    if file.exists():
        raise BooksRefused(f"{file} exists already; backups are never written over: name another file")
    with _appearing_as(file) as partial:
        try:
            # No transaction, because VACUUM opens its own, which keeps no writer waiting.
            with closing(sqlite3.connect(path, isolation_level=None)) as connection:
                connection.execute("VACUUM INTO ?", (str(partial),))
        except sqlite3.DatabaseError as error:
            raise BooksRefused(f"{database.name} cannot be backed up to {file}: {error}") from None
        refuse_unsound(partial)


def restore(file: Path, database: Database) -> None:
    """Make a backup the database, where there is none; the file stays as it is.

    Raises BooksRefused when the file is unsound, of another version or not ours, when there is a database already or it
    is PostgreSQL.
    """
    path = _sqlite_file(database, "use pg_restore, or restore to SQLite and run repasse db copy")
    if not file.is_file():
        raise BooksRefused(f"there is no file {file}")
    refuse_unsound(file)
    # A write-ahead log that was left behind would be read into the restored file.
    for there in (path, Path(f"{path}-wal"), Path(f"{path}-journal")):
        if there.exists():
            raise BooksRefused(f"{there} exists: stop every process, and move it and its -wal and -shm away")
    with _appearing_as(path) as partial:
        shutil.copyfile(file, partial)


def refuse_unsound(file: Path) -> None:
    """Raises BooksRefused unless the file is a sound SQLite database of this version of repasse."""
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            [found] = connection.execute("PRAGMA integrity_check(1)").fetchone()
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema")}
            revision = None
            if "alembic_version" in tables:
                [revision] = connection.execute("SELECT max(version_num) FROM alembic_version").fetchone()
    except sqlite3.DatabaseError as error:
        raise BooksRefused(f"{file} cannot be read as a database: {error}") from None
    if found != "ok":
        raise BooksRefused(f"{file} is damaged: {found}")
    if revision is None:
        raise BooksRefused(f"{file} holds no books of repasse")
    if revision != NEWEST_REVISION:
        raise BooksRefused(
            f"{file} is at version {revision}, this program's are at {NEWEST_REVISION}; restore it with the repasse "
            "that wrote it, and start this one on it then"
        )


def _sqlite_file(database: Database, otherwise: str) -> Path:
    if database.is_postgresql:
        raise BooksRefused(f"{database.name} is PostgreSQL: {otherwise}")
    return Path(str(database.url.database))


@contextmanager
def _appearing_as(file: Path) -> Iterator[Path]:
    """A file of its owner's alone, which gets its name at the end, so that a power cut leaves it whole or absent."""
    partial = file.with_name(f".{file.name}.partial")
    try:
        partial.unlink(missing_ok=True)  # left behind by a run that was killed
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        yield partial
        _sync(partial)
        os.rename(partial, file)
        _sync(file.parent)
    except OSError as error:
        raise BooksRefused(f"{file} cannot be written: {error.strerror}") from None
    finally:
        for left in (partial, Path(f"{partial}-journal")):
            with suppress(OSError):
                left.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
