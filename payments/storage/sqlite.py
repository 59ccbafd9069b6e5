"""SQLite: its engine, pragmas and faults. One file, one writer at a time."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from time import monotonic, sleep

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import QueuePool

from payments.errors import LedgerUnavailable, LedgerUnusable

# How long a writer waits for the writers of other processes, and for those of its own.
BUSY_SECONDS = 5.0

# When the write-ahead log is longer than this, the next commit copies its pages into the file: 16 MB. SQLite's own
# 4 MB make a group of events in a large database pay for it three times as often.
_WAL_PAGES = 4_000


# How many threads of a process read at the same moment, beyond which connections only open and close.
_READERS_KEPT = 8


def make_engines(url: URL) -> tuple[Engine, Engine]:
    """One engine that writes and one that only reads, over one file, whose folder is made.

    The writing one has one connection, for which the threads of a process wait in turn: SQLite itself would let them
    all sleep and try again. Raises LedgerUnusable when the URL names no file or its folder cannot be made.
    """
    if not url.database or url.database == ":memory:":
        raise LedgerUnusable("DATABASE_URL names no file; money needs one: put sqlite:///data/repasse.db")
    folder = Path(url.database).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LedgerUnusable(
            f"DATABASE_URL: cannot make the folder {folder} ({error.strerror}); choose another or change its rights"
        ) from None
    path = Path(url.database)
    file = _File(path)

    def make_private(*_: object) -> None:
        # There are names and tax ids in it. SQLite gives its -wal and -shm the rights of the file itself. O_EXCL: a
        # file that is there is not opened, because closing it would drop every lock that this process holds on it
        # (POSIX; sqlite.org/howtocorrupt.html, 2.2), and another process would remove the log that we write to.
        with suppress(OSError):  # it is there, or SQLite reports it in its own words
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))

    def make(begin: Callable[[Connection], None], connections: int, busy_seconds: float) -> Engine:
        engine = create_engine(
            url,
            # isolation_level None: we say BEGIN ourselves; the driver would begin too late and too weakly
            connect_args={"timeout": BUSY_SECONDS, "isolation_level": None, "check_same_thread": False},
            poolclass=QueuePool,
            pool_size=connections,
            max_overflow=0 if connections == 1 else 10,
            pool_timeout=BUSY_SECONDS,
        )
        event.listen(engine, "do_connect", make_private)
        event.listen(engine, "connect", partial(_prepare, busy_seconds))
        event.listen(engine, "connect", file.remember)
        event.listen(engine, "begin", begin)
        return engine

    # A writer waits in begin_writing; once it has the write lock, SQLite has nothing to wait for.
    return make(file.begin_writing, 1, 0), make(file.begin_reading, _READERS_KEPT, BUSY_SECONDS)


def _prepare(busy_seconds: float, connection: sqlite3.Connection, _record: object) -> None:
    cursor = connection.cursor()
    if cursor.execute("PRAGMA journal_mode").fetchone() != ("wal",):
        _set_wal(cursor)
    cursor.execute("PRAGMA synchronous = FULL")  # an answered event must outlive a power cut
    cursor.execute("PRAGMA cache_size = -12000")  # a group of events changes some 700 pages of 4 kB
    cursor.execute(f"PRAGMA wal_autocheckpoint = {_WAL_PAGES}")
    cursor.execute("PRAGMA temp_store = MEMORY")  # the journal of a statement of many rows would be a file
    cursor.execute("PRAGMA foreign_keys = ON")
    # Last, because what is above may meet another process that has the lock; until here it is that of connect_args.
    cursor.execute(f"PRAGMA busy_timeout = {int(busy_seconds * 1000)}")
    cursor.close()


def _set_wal(cursor: sqlite3.Cursor) -> None:
    # Two processes that set WAL at the same moment: one is answered "database is locked" immediately, despite the
    # busy timeout. The write lock makes them queue; the mode itself can only change outside a transaction.
    for last in (False, False, False, False, True):
        try:
            cursor.execute("BEGIN IMMEDIATE")
            cursor.execute("COMMIT")
            cursor.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if last or "locked" not in str(error):
                raise


# How often to look whether another process has given the write lock back. SQLite's own waits grow from 1 to 100 ms, in
# which the lock lies idle: with two web processes half of the answers then take three times as long.
_LOOK_SECONDS = 0.001


class _File:
    """Begins transactions on the file that the address names, and on no other.

    A file that was moved away, deleted or replaced stays open, and SQLite goes on writing to it: no one would ever read
    there again, and what others write to the new one is not locked against us.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._identity: tuple[int, int] | None = None

    def remember(self, _connection: object, _record: object) -> None:
        if self._identity is None:
            self._identity = self._look()

    def begin_reading(self, connection: Connection) -> None:
        self._require_same()
        connection.exec_driver_sql("BEGIN")

    def begin_writing(self, connection: Connection) -> None:
        """Take the write lock: a transaction that reads first and then writes fails when another wrote in between."""
        self._require_same()
        gives_up_at = monotonic() + BUSY_SECONDS
        while True:
            try:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
                return
            except OperationalError as error:
                is_busy = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
                if not is_busy or monotonic() >= gives_up_at:
                    raise
            sleep(_LOOK_SECONDS)

    def _require_same(self) -> None:
        if self._identity != self._look():
            raise LedgerUnavailable(
                f"the database file {self._path} was moved, deleted or replaced while this process had it open; "
                "put it back, or restart this process to use what is there now"
            )

    def _look(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self._path)
        except OSError:
            return None
        return found.st_dev, found.st_ino


# What SQLite cannot do with this file, now or later; the low byte of its code is the kind.
_PERMANENT = (
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_PERM,
)


def fault_from(cause: BaseException | None) -> LedgerUnavailable | None:
    """The storage's fault, or None when it is a bug of ours."""
    # sqlite3 reports "database disk image is malformed" and "file is not a database" as plain DatabaseErrors
    if not isinstance(cause, sqlite3.DatabaseError) or isinstance(
        cause, sqlite3.IntegrityError | sqlite3.ProgrammingError
    ):
        return None
    text = f"the database does not answer: {cause}"
    permanent = getattr(cause, "sqlite_errorcode", 0) & 0xFF in _PERMANENT
    return LedgerUnavailable(text, "choose another file, or change its rights" if permanent else None)
