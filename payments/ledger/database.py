"""The database: engine, pragmas, transactions. Everything that differs between SQLite and PostgreSQL is here.

Every write runs in one transaction that takes the write lock at its start. What goes wrong with the storage
itself surfaces as LedgerUnavailable (try again) or LedgerUnusable (a person must act); broken invariants
surface as what they are, bugs.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

from sqlalchemy import Connection, Engine, Table, bindparam, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, DBAPIError, IntegrityError, OperationalError
from sqlalchemy.pool import QueuePool

from payments.errors import LedgerUnavailable, LedgerUnusable
from payments.ledger import totals
from payments.ledger.prepared import Prepared, insert_into

# How long a writer waits for another before it gives up. Shorter than the bank's patience with a webhook
# (unknown, supposed 10 s or more), so that a locked database is answered 503 and not by silence.
BUSY_SECONDS = 5.0


class Database:
    """The ledger's database. Safe to share between threads; open one per process."""

    def __init__(self, engine: Engine, url: URL) -> None:
        self._engine = engine
        self.url = url
        # SQLite lets whoever meets a lock sleep and try again; the threads of one process better queue here.
        self._writers: AbstractContextManager[object] = nullcontext() if self.is_postgresql else Lock()

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Run a block as one durable transaction; it commits at the end or leaves nothing.

        Raises LedgerUnavailable when the database is locked, full, or gone; the block may be repeated.
        """
        with self._writers, self._storage_errors(), self._engine.begin() as connection:
            totals.begin(connection)
            yield connection
            totals.write(connection)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Run a block that only reads, on one consistent snapshot. Raises LedgerUnavailable."""
        with self._storage_errors(), self._engine.connect() as plain:
            connection = plain.execution_options(repasse_reading=True, **self._snapshot_option)
            with connection.begin():
                yield connection

    @contextmanager
    def _storage_errors(self) -> Iterator[None]:
        # Prepared statements run on the driver itself, so its errors come bare as well as wrapped.
        driver = self._engine.dialect.loaded_dbapi
        try:
            yield
        except (IntegrityError, driver.IntegrityError, driver.ProgrammingError):
            raise
        except (OperationalError, driver.OperationalError) as error:
            raise LedgerUnavailable(f"the database does not answer: {_first_line(error)}") from error
        except (DatabaseError, driver.DatabaseError) as error:
            # sqlite3 reports "database disk image is malformed" and "file is not a database" this way
            cause = error.orig if isinstance(error, DBAPIError) else error
            if isinstance(cause, sqlite3.DatabaseError) and not isinstance(cause, sqlite3.ProgrammingError):
                raise LedgerUnavailable(f"the database cannot be used: {_first_line(error)}") from error
            raise

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
        return self.url.render_as_string(hide_password=True)

    def close(self) -> None:
        """Close every pooled connection."""
        self._engine.dispose()


def open_database(url: str) -> Database:
    """Open the database at ``url`` without creating its tables (see migrate.migrate).

    Raises LedgerUnusable for a malformed or unsupported URL or a folder that cannot be made.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise LedgerUnusable(
            "DATABASE_URL is not a database address; put sqlite:///data/repasse.db"
        ) from None
    if parsed.get_backend_name() == "sqlite":
        return Database(_sqlite_engine(parsed), parsed)
    if parsed.drivername == "postgresql+psycopg":
        return Database(create_engine(parsed, pool_pre_ping=True, pool_size=8), parsed)
    raise LedgerUnusable(
        f"DATABASE_URL has the unsupported kind {parsed.drivername!r}; put sqlite:///... or postgresql+psycopg://..."
    )


def is_permanent(error: LedgerUnavailable) -> bool:
    """True when SQLite cannot use this file as a database at all: waiting would not help."""
    cause = error.__cause__
    cause = cause.orig if isinstance(cause, DBAPIError) else cause
    code = getattr(cause, "sqlite_errorcode", 0)
    # The low byte is the kind; the rest says more about it.
    return code & 0xFF in (
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_PERM,
    )


def insert_new(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]], key: str) -> set[Any]:
    """Insert the rows whose key is not there yet, and return the keys that were new.

    Any unique constraint counts: a row that meets one is skipped, not an error.
    """
    if not rows:
        return set()
    statement = _insert_or_skip(table, connection.dialect.name, key, tuple(rows[0]))
    return {found for row in rows for found in statement.run(connection, row).scalars()}


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
    engine = create_engine(
        url,
        # isolation_level None: we say BEGIN ourselves; the driver would begin too late and too weakly
        connect_args={"timeout": BUSY_SECONDS, "isolation_level": None, "check_same_thread": False},
        poolclass=QueuePool,
        pool_size=8,
    )
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {int(BUSY_SECONDS * 1000)}")
    if cursor.execute("PRAGMA journal_mode").fetchone() != ("wal",):
        _set_wal(cursor)
    cursor.execute("PRAGMA synchronous = FULL")  # an answered event must outlive a power cut
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


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
    driver.execute("BEGIN" if reading else "BEGIN IMMEDIATE")


def _first_line(error: BaseException) -> str:
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    return str(cause).splitlines()[0] if str(cause) else type(cause).__name__
