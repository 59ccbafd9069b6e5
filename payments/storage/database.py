"""The database: engine, pragmas, transactions. Everything that differs between SQLite and PostgreSQL is here.

On SQLite every write takes the only write lock at its start; on PostgreSQL writers lock the rows they are about, see
docs/decisions/0012-postgresql.md. What goes wrong with the storage itself surfaces as LedgerUnavailable (try again)
or LedgerUnusable (a person must act); broken invariants surface as what they are, bugs.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import IntEnum
from functools import cache, wraps
from pathlib import Path
from threading import Lock
from time import monotonic, sleep
from typing import Any, ParamSpec, TypeVar

from sqlalchemy import BigInteger, Connection, Engine, Table, bindparam, create_engine, event, func, select
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import QueuePool

from payments.errors import LedgerConflict, LedgerUnavailable, LedgerUnusable
from payments.ledger import totals
from payments.storage.filesystem import network_drive
from payments.storage.prepared import Prepared, insert_into

# How long a writer waits for another before it gives up. Shorter than the bank's patience with a webhook
# (unknown, supposed 10 s or more), so that a locked database is answered 503 and not by silence.
BUSY_SECONDS = 5.0

# PostgreSQL undoes one of two transactions that wait for each other. What the other holds is free once it has
# committed, so the second try nearly always succeeds; five in a row have never been seen to fail.
CONFLICTS_MAX = 5

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def repeated_on_conflict(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Repeat a public ledger function whose transaction PostgreSQL undid. One function is one transaction, so nothing
    of it is left when it is.
    """

    @wraps(function)
    def repeated(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        for _ in range(CONFLICTS_MAX - 1):
            try:
                return function(*args, **kwargs)
            except LedgerConflict:
                continue
        return function(*args, **kwargs)

    return repeated


# How long a transaction may still wait for the writers of other processes, in its connection's info.
_PATIENCE = "repasse_patience"

# SQLite itself looks again after 1, 2, 5, 10 ... 100 ms; a group of events is stored in ten.
_LOOK_AGAIN_SECONDS = 0.001


# When the write-ahead log is longer than that, whoever commits copies its pages into the file. With a million credits
# on the books an event in a group of 64 took 172, 146, 121 us for 1,000 (SQLite's own), 4,000, 16,000 pages, and the
# longest group 42, 58, 123 ms. A thread of its own for it took more from the others than it gave.
_LOG_PAGES_MAX = 4_000


class Database:
    """The ledger's database. Safe to share between threads; open one per process."""

    def __init__(self, engine: Engine, url: URL) -> None:
        self._engine = engine
        self.url = url
        self._fault_from = _sqlite_fault
        self._notify: Callable[[], None] | None = None
        if self.is_postgresql:
            from payments.storage import postgresql

            self._fault_from = postgresql.fault_from
            self._notify = postgresql.Notifier(engine).notify
        self._turns = Lock()

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Run a block as one durable transaction; it commits at the end or leaves nothing.

        Raises LedgerUnavailable when the database is locked, full, or gone; the block may be repeated.
        """
        with self._turn() as waited, self.storage_errors(), self._engine.connect() as connection:
            connection.info[_PATIENCE] = BUSY_SECONDS - waited
            with connection.begin():
                totals.begin(connection)
                connection.info[_DUE] = False
                yield connection
                totals.write(connection)
            due = connection.info[_DUE]
        if due and self._notify is not None:
            self._notify()

    @contextmanager
    def _turn(self) -> Iterator[float]:
        """Wait for one's turn among the writers of this process; yields how long that took, in seconds.

        SQLite has one writer, and lets all others sleep and try again: those of one process better queue here. The
        wait counts: together with the one for other processes it takes no longer than BUSY_SECONDS.
        """
        if self.is_postgresql:
            yield 0.0
            return
        began = monotonic()
        if not self._turns.acquire(timeout=BUSY_SECONDS):
            raise LedgerUnavailable(f"the database is busy: no turn to write within {BUSY_SECONDS:g} s")
        try:
            yield monotonic() - began
        finally:
            self._turns.release()

    @contextmanager
    def unhurried(self, connection: Connection) -> Iterator[None]:
        """Wait for the answers in this block as long as they take."""
        if not self.is_postgresql:
            yield
            return
        from payments.storage import postgresql

        with postgresql.unhurried(connection):
            yield

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Run a block that only reads, on one consistent snapshot. Raises LedgerUnavailable."""
        with self.storage_errors(), self._engine.connect() as plain:
            connection = plain.execution_options(repasse_reading=True, **self._snapshot_option)
            with connection.begin():
                yield connection

    @contextmanager
    def storage_errors(self) -> Iterator[None]:
        """Raise what goes wrong with the storage as LedgerUnavailable, and leave bugs as they are."""
        # Prepared statements run on the driver itself, so its errors come bare as well as wrapped.
        driver = self._engine.dialect.loaded_dbapi
        try:
            yield
        except (DBAPIError, driver.Error) as error:
            cause = error.orig if isinstance(error, DBAPIError) else error
            fault = self._fault_from(cause)
            if fault is None:
                raise
            raise fault from error
        except PoolTimeoutError as error:
            raise LedgerUnavailable("every connection to the database is busy") from error

    @property
    def _snapshot_option(self) -> dict[str, Any]:
        # In PostgreSQL a statement sees its own moment unless the transaction asks for one snapshot.
        return {"isolation_level": "REPEATABLE READ"} if self.is_postgresql else {}

    @property
    def is_postgresql(self) -> bool:
        """True on PostgreSQL, False on SQLite."""
        return self._engine.dialect.name == "postgresql"

    @property
    def name(self) -> str:
        """The database's address without its password, for messages."""
        # a password may also be given in the query, as ?password=... or ?sslpassword=...
        hidden = {key: "***" for key in self.url.query if "password" in key}
        return (
            self.url.update_query_dict(hidden)
            .render_as_string(hide_password=True)
            .replace("%2A%2A%2A", "***")
            .replace("%3A", ":")  # between a host and its port, where there are several
        )

    def own_connection(self) -> Any:
        """A connection to PostgreSQL by itself, outside of the pool, in which each statement is a transaction.

        The caller closes it. Raises LedgerUnavailable.
        """
        from payments.storage import postgresql

        with self.storage_errors():
            return postgresql.connect(self._engine)

    def close(self) -> None:
        """Close every pooled connection."""
        self._engine.dispose()


def open_database(url: str, *, is_unhurried: bool = False) -> Database:
    """Open the database at ``url`` without creating its tables (see migrate.migrate).

    ``is_unhurried``: PostgreSQL may take minutes for an answer, as it does when all the books are read; else it is
    given up after postgresql.GONE_SECONDS. Raises LedgerUnusable for a malformed or unsupported URL or a folder that
    cannot be made.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise LedgerUnusable(
            "DATABASE_URL is not a database address; put sqlite:///data/repasse.db"
        ) from None
    if parsed.get_backend_name() == "sqlite":
        return Database(_sqlite_engine(parsed), parsed)
    if parsed.drivername == "postgresql+psycopg":
        from payments.storage import postgresql  # here, for psycopg takes a tenth of a second to import

        answer_seconds = None if is_unhurried else postgresql.GONE_SECONDS
        try:
            return Database(postgresql.make_engine(parsed, BUSY_SECONDS, answer_seconds), parsed)
        except ArgumentError:
            raise LedgerUnusable(
                "DATABASE_URL names its hosts in two ways; put ...@/database?host=A:5432&host=B:5432"
            ) from None
    raise LedgerUnusable(
        f"DATABASE_URL has the unsupported kind {parsed.drivername!r}; put sqlite:///... or postgresql+psycopg://..."
    )


def insert_new(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]], key: str) -> set[Any]:
    """Insert the rows whose key is not there yet, and return the keys that were new.

    Any unique constraint counts: a row that meets one is skipped, not an error.
    """
    if not rows:
        return set()
    statement = _insert_or_skip(table, connection.dialect.name, key, tuple(rows[0]))
    return {found for row in rows for found in statement.run(connection, row).scalars()}


# Where a transaction keeps in mind that it made transfers due.
_DUE = "repasse_due"


def mark_due(connection: Connection) -> None:
    """Transfers are due once this transaction has committed: wake whoever listens on other machines (waking.py)."""
    connection.info[_DUE] = True


class NamedLock(IntEnum):
    """Locks of PostgreSQL that stand for no row. Numbers that no other program on the same database uses, we hope:
    "repasse" in digits, and on.
    """

    MIGRATION = 7_372_773
    REVERSALS = 7_372_774


def lock_for_transaction(connection: Connection, lock: NamedLock, *, shared: bool = False) -> None:
    """Hold a lock until the transaction ends, together with others who share it, or alone.

    On SQLite nothing is to be done: a writing transaction holds everything.
    """
    if connection.dialect.name == "postgresql":
        (_LOCK_SHARED if shared else _LOCK_ALONE).run(connection, {"lock": int(lock)})


_LOCK_ALONE = Prepared(select(func.pg_advisory_xact_lock(bindparam("lock", type_=BigInteger))))
_LOCK_SHARED = Prepared(select(func.pg_advisory_xact_lock_shared(bindparam("lock", type_=BigInteger))))


@cache
def _insert_or_skip(table: Table, dialect: str, key: str, names: tuple[str, ...]) -> Prepared:
    values = {name: bindparam(name, type_=table.c[name].type) for name in names}
    return Prepared(
        insert_into(table, dialect).values(values).on_conflict_do_nothing().returning(table.c[key])
    )


def _sqlite_engine(url: URL) -> Engine:
    if not url.database or url.database == ":memory:":
        raise LedgerUnusable("DATABASE_URL names no file; money needs one: put sqlite:///data/repasse.db")
    folder = Path(url.database).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LedgerUnusable(
            f"DATABASE_URL: cannot make the folder {folder} ({error.strerror}); choose another or change its rights"
        ) from None
    if drive := network_drive(Path(url.database)):
        raise LedgerUnusable(
            f"DATABASE_URL: {url.database} is on a network drive ({drive}), where SQLite's locks do not hold; "
            "put a file on a local disk, or postgresql+psycopg://..."
        )
    engine = create_engine(
        url,
        # isolation_level None: we say BEGIN ourselves; the driver would begin too late and too weakly
        connect_args={"timeout": BUSY_SECONDS, "isolation_level": None, "check_same_thread": False},
        poolclass=QueuePool,
        pool_size=8,
    )
    same_file = _SameFile(Path(url.database))
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "connect", same_file.remember)
    event.listen(engine, "begin", same_file.check)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {int(BUSY_SECONDS * 1000)}")
    if cursor.execute("PRAGMA journal_mode").fetchone() != ("wal",):
        _set_wal(cursor)
    cursor.execute("PRAGMA synchronous = FULL")  # an answered event must outlive a power cut
    # A group of 128 events changes some 700 pages of 4 kB. What the cache cannot hold is written twice.
    cursor.execute("PRAGMA cache_size = -12000")
    cursor.execute(f"PRAGMA wal_autocheckpoint = {_LOG_PAGES_MAX}")
    cursor.execute("PRAGMA temp_store = MEMORY")  # the journal of a statement of many rows would be a file
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


class _SameFile:
    """Sees to it that the file which we write is the one that the address names.

    A file that was moved away, deleted or replaced stays open, and SQLite goes on writing to it: nobody would ever
    read there again, and what others write to the new one is not locked against us.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._identity: tuple[int, int] | None = None

    def remember(self, _connection: object, _record: object) -> None:
        if self._identity is None:
            self._identity = self._look()

    def check(self, _connection: object) -> None:
        if self._look() != self._identity:
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


def _set_wal(cursor: sqlite3.Cursor) -> None:
    # Two processes that set WAL at the same moment: one is told "database is locked" at once, whatever the
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


def _begin_sqlite(connection: Connection) -> None:
    # A deferred transaction that reads and then writes fails at once when another has written in between.
    reading = connection.get_execution_options().get("repasse_reading", False)
    driver = connection.connection.driver_connection
    assert driver is not None  # it has just been opened
    if reading:
        driver.execute("BEGIN")
    else:
        _begin_writing(driver, connection.info.get(_PATIENCE, BUSY_SECONDS))


def _begin_writing(driver: Any, patience_seconds: float) -> None:
    """Take the write lock, looking for it more often than SQLite would: its sleeps let the lock lie idle."""
    gives_up_at = monotonic() + patience_seconds
    driver.execute("PRAGMA busy_timeout = 0")
    try:
        while True:
            try:
                driver.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                is_busy = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
                if not is_busy or monotonic() >= gives_up_at:
                    raise
            sleep(_LOOK_AGAIN_SECONDS)
    finally:
        driver.execute(f"PRAGMA busy_timeout = {int(BUSY_SECONDS * 1000)}")


# What SQLite cannot do with this file now nor later; the low byte of its code is the kind.
_PERMANENT = (
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_PERM,
)


def _sqlite_fault(cause: BaseException | None) -> LedgerUnavailable | None:
    """The storage's fault, or None when it is a bug of ours."""
    # sqlite3 reports "database disk image is malformed" and "file is not a database" as plain DatabaseErrors
    if not isinstance(cause, sqlite3.DatabaseError) or isinstance(
        cause, sqlite3.IntegrityError | sqlite3.ProgrammingError
    ):
        return None
    text = f"the database does not answer: {cause}"
    permanent = getattr(cause, "sqlite_errorcode", 0) & 0xFF in _PERMANENT
    return LedgerUnavailable(text, "choose another file, or change its rights" if permanent else None)
