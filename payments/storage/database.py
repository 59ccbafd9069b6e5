"""The database: transactions, snapshots to read from, and what goes wrong with the storage itself.

SQLite and PostgreSQL each have a module of their own; nothing else asks which one it is, save for what only one of them
has. On SQLite every write takes the only write lock at its start; on PostgreSQL writers lock the rows they are about,
see docs/decisions/0012-postgresql.md. Faults of the storage surface as LedgerUnavailable (try again) or LedgerUnusable
(a person must act); broken invariants surface as what they are: bugs.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import IntEnum
from functools import cache, wraps
from typing import Any, ParamSpec, TypeVar

from sqlalchemy import Connection, Engine, Table, func, select
from sqlalchemy.dialects import postgresql as postgresql_dialect
from sqlalchemy.dialects import sqlite as sqlite_dialect
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.sql.dml import ReturningInsert

from payments.errors import LedgerConflict, LedgerUnavailable, LedgerUnusable
from payments.storage import sqlite

# How long a writer waits for another before it gives up. Shorter than the bank's patience with a webhook (unknown,
# supposed to be 10 s or more), so that a locked database is answered 503 and not with silence.
BUSY_SECONDS = sqlite.BUSY_SECONDS

# PostgreSQL undoes one of two transactions that wait for each other. What the other holds is free once it has
# committed, so the second try nearly always succeeds; five in a row have never been seen to fail.
CONFLICTS_MAX = 5

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def repeated_on_conflict(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Repeat a public ledger function whose transaction PostgreSQL undid, in favour of another one.

    One function is one transaction, so nothing of it is left when it is undone.
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


class Database:
    """One database. Safe to share between threads; open one per process."""

    def __init__(
        self,
        engine: Engine,
        url: URL,
        fault_from: Callable[[BaseException | None], LedgerUnavailable | None] = sqlite.fault_from,
        readers: Engine | None = None,
    ) -> None:
        """``engine`` writes, and reads too when there are no ``readers``; ``fault_from`` reads a driver's error."""
        self.engine = engine
        self.readers = readers or engine
        self.is_postgresql = engine.dialect.name == "postgresql"
        self.url = url
        self.fault_from = fault_from

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Run a block as one durable transaction; it commits at the end or leaves nothing.

        Raises LedgerUnavailable when the database is locked, full, or gone; the block may be repeated.
        """
        with self.storage_errors(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Run a block that only reads, on one consistent snapshot. Raises LedgerUnavailable."""
        with self.storage_errors(), self.readers.begin() as connection:
            yield connection

    @contextmanager
    def storage_errors(self) -> Iterator[None]:
        """Raise what goes wrong with the storage as LedgerUnavailable, and leave bugs as they are."""
        try:
            yield
        except DBAPIError as error:
            fault = self.fault_from(error.orig)
            if fault is None:
                raise
            raise fault from error
        except PoolTimeoutError as error:
            raise LedgerUnavailable(
                f"the database is busy: no connection to it was free within {BUSY_SECONDS:g} s"
            ) from error

    @property
    def name(self) -> str:
        """The database's address without its password, for messages."""
        # A password may also be given in the query, as ?password=... or ?sslpassword=...
        hidden = {key: "***" for key in self.url.query if "password" in key}
        return (
            self.url.update_query_dict(hidden)
            .render_as_string(hide_password=True)
            .replace("%2A%2A%2A", "***")
            .replace("%3A", ":")  # between a host and its port, where there are several
        )

    def close(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()
        self.readers.dispose()


def open_database(url: str, *, is_unhurried: bool = False, must_exist: bool = False) -> Database:
    """Open the database at ``url`` without creating its tables (see migrate.migrate).

    ``is_unhurried``: PostgreSQL may take minutes for an answer, as it does when every row is read; otherwise it is
    given up after postgresql.ANSWER_SECONDS. ``must_exist``: a SQLite file that is not there is not made. Raises
    LedgerUnusable for that, a malformed or unsupported URL, or a folder that cannot be made.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise LedgerUnusable(
            "DATABASE_URL is not a database address; put sqlite:///data/repasse.db"
        ) from None
    if parsed.get_backend_name() == "sqlite":
        if must_exist and parsed.database and not os.path.exists(parsed.database):
            raise LedgerUnusable(
                f"there is no database {os.path.abspath(parsed.database)}: look at DATABASE_URL, and at the folder "
                "that you are in; `repasse migrate`, or a first start, makes one"
            )
        engine, readers = sqlite.make_engines(parsed)
        return Database(engine, parsed, sqlite.fault_from, readers)
    if parsed.drivername == "postgresql+psycopg":
        from payments.storage import postgresql  # here, because psycopg takes a tenth of a second to import

        try:
            engine = postgresql.make_engine(parsed, BUSY_SECONDS, is_unhurried=is_unhurried)
        except ArgumentError:
            raise LedgerUnusable(
                "DATABASE_URL names its hosts in two ways; put ...@/database?host=A:5432&host=B:5432"
            ) from None
        # A statement sees its own moment unless the transaction asks for one snapshot.
        readers = engine.execution_options(isolation_level="REPEATABLE READ")
        return Database(engine, parsed, postgresql.fault_from, readers)
    raise LedgerUnusable(
        f"DATABASE_URL has the unsupported kind {parsed.drivername!r}; put sqlite:///... or postgresql+psycopg://..."
    )


Insert = postgresql_dialect.Insert | sqlite_dialect.Insert


@cache
def insert_or_skip(table: Table, dialect: str, *returning: str) -> Insert | ReturningInsert[Any]:
    """``INSERT ... ON CONFLICT DO NOTHING RETURNING ...``: a row that meets any unique constraint is skipped."""
    statement = insert_into(table, dialect).on_conflict_do_nothing()
    return statement.returning(*(table.c[name] for name in returning)) if returning else statement


def insert_into(table: Table, dialect: str) -> Insert:
    """An INSERT that can say what to do on a conflict, in the words of a dialect."""
    return postgresql_dialect.insert(table) if dialect == "postgresql" else sqlite_dialect.insert(table)


def insert_new(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]], key: str) -> set[Any]:
    """Insert the rows that are not there yet, and return their ``key``; a row that meets a constraint is skipped."""
    if not rows:
        return set()
    statement = insert_or_skip(table, connection.dialect.name, key)
    return set(connection.execute(statement, rows).scalars())


class NamedLock(IntEnum):
    """Locks of PostgreSQL that stand for no row: "repasse" in digits, and on, so that no other program has them."""

    MIGRATION = 7_372_773
    REVERSALS = 7_372_774


def lock_for_transaction(connection: Connection, lock: NamedLock, *, shared: bool = False) -> None:
    """Hold a lock until the transaction ends, together with others who share it, or alone.

    On SQLite nothing is to be done: a writing transaction holds everything.
    """
    if connection.dialect.name == "postgresql":
        take = func.pg_advisory_xact_lock_shared if shared else func.pg_advisory_xact_lock
        connection.execute(select(take(int(lock))))
