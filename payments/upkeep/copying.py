"""Copies whole books from one database to another, and proves that both are the same, before anything is kept.

SQLite and PostgreSQL in any pairing. The source is read as of one moment; the target is written in one transaction,
so a copy that fails or dies leaves it empty. Memory is bounded whatever the books hold.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import msgspec
from sqlalchemy import Connection, Row, Table, func, insert, select, text
from sqlalchemy.exc import DBAPIError

from payments.errors import BooksRefused
from payments.ledger.totals import recount
from payments.operator.statement import Statement, statement_within
from payments.storage.database import Database
from payments.storage.schema import metadata, relocations

# What is copied: everything but the row that closes the source.
_TABLES = [table for table in metadata.sorted_tables if table is not relocations]

# Rows in memory at once. The largest possible event is a mebibyte, so this many can never take more than 200 MB;
# ordinary ones take half a megabyte.
_ROWS_AT_ONCE = 200

# A writer that stands still holds the whole copy up: say so instead of waiting for ever.
_LOCK_SECONDS = 30

# Told now and then: the table, how many rows of it are done, and how many there are.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Copy:
    """What was copied: the rows of each table, and the statement, which is the same on both sides."""

    rows: dict[str, int]
    statement: Statement


@dataclass(slots=True)
class Digest:
    """How many rows a table has and what is in them, whatever their order: databases sort text differently."""

    rows: int = 0
    content: int = 0

    def add(self, row: Row[tuple[object, ...]]) -> None:
        """Take one row in. Equal rows count each: their hashes are added up, not XORed."""
        self.rows += 1
        found = hashlib.sha256(msgspec.msgpack.encode(tuple(row))).digest()
        self.content = (self.content + int.from_bytes(found, "big")) % 2**256


def copy_books(source: Database, target: Database, progress: Progress, *, lock_source: bool) -> Copy:
    """Copy every table into the empty, migrated ``target`` in one transaction, compare, and commit.

    With ``lock_source`` nobody can write to the source until the target is committed; otherwise the copy is a
    snapshot, and writers go on. Raises BooksRefused when the target is not empty, will not take a row or differs
    afterwards, and LedgerUnavailable when either does not answer. The target is empty then.
    """
    with _standing_still(source, lock_source) as read, _alone(target) as write:
        refuse_unless_empty(target, write)
        digests = {table.name: _copy_table(read, write, table, progress) for table in _TABLES}
        if target.is_postgresql:
            _set_sequences(write)
        return _compare(read, write, digests, progress)


def compare_books(one: Database, other: Database, progress: Progress) -> Copy:
    """Prove that two books are the same, row by row. Raises BooksRefused that names the first difference."""
    with one.reading() as first, other.reading() as second:
        _wait_as_long_as_it_takes(one, first)
        _wait_as_long_as_it_takes(other, second)
        digests = {table.name: _digest(first, table, progress) for table in _TABLES}
        return _compare(first, second, digests, progress)


def is_empty(database: Database) -> bool:
    """True when no table of ours has a row. The tables must be there; whoever writes just now is waited for."""
    with _alone(database) as connection:
        return not _occupied(connection)


def refuse_unless_empty(database: Database, connection: Connection) -> None:
    """Raises BooksRefused that names the tables which have rows."""
    if occupied := _occupied(connection):
        raise BooksRefused(
            f"{database.name} is not empty: there are rows in {', '.join(occupied[:3])}; name an empty database"
        )


def _occupied(connection: Connection) -> list[str]:
    return [
        table.name
        for table in _TABLES
        if connection.execute(select(1).select_from(table).limit(1)).first() is not None
    ]


# --- one moment, one writer ---


@contextmanager
def _standing_still(source: Database, is_locked: bool) -> Iterator[Connection]:
    if not is_locked:
        with source.reading() as connection:
            _wait_as_long_as_it_takes(source, connection)
            yield connection
        return
    with source.transaction() as connection:  # on SQLite this is the only write lock
        _wait_as_long_as_it_takes(source, connection)
        if source.is_postgresql:
            _lock_tables(connection, "SHARE")
        yield connection


@contextmanager
def _alone(target: Database) -> Iterator[Connection]:
    with target.transaction() as connection:
        _wait_as_long_as_it_takes(target, connection)
        if target.is_postgresql:
            _lock_tables(connection, "SHARE ROW EXCLUSIVE")
        yield connection


def _wait_as_long_as_it_takes(database: Database, connection: Connection) -> None:
    # The limits that protect the processes from a slow database would end a long copy.
    if database.is_postgresql:
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))


def _lock_tables(connection: Connection, mode: str) -> None:
    connection.execute(text(f"SET LOCAL lock_timeout = '{_LOCK_SECONDS}s'"))
    names = ", ".join(table.name for table in _TABLES)
    connection.execute(text(f"LOCK TABLE {names} IN {mode} MODE"))


# --- rows ---


def _copy_table(read: Connection, write: Connection, table: Table, progress: Progress) -> Digest:
    total = _count(read, table)
    digest = Digest()
    progress(table.name, 0, total)
    for rows in _batches(read, table):
        for row in rows:
            digest.add(row)
        try:
            write.execute(insert(table), [dict(row._mapping) for row in rows])
        except DBAPIError as error:
            if error.connection_invalidated or isinstance(
                error.orig, write.dialect.loaded_dbapi.OperationalError
            ):
                raise
            # Such as text with a NUL, which SQLite keeps and PostgreSQL does not. What the row holds stays unsaid.
            reason = str(error.orig).splitlines()[0]
            raise BooksRefused(
                f"table {table.name}: the target will not take a row of rows {digest.rows - len(rows) + 1} to "
                f"{digest.rows}, in the order of its key: {reason}; nothing was copied"
            ) from error
        progress(table.name, digest.rows, total)
    return digest


def _batches(connection: Connection, table: Table) -> Iterator[list[Row[tuple[object, ...]]]]:
    # yield_per: PostgreSQL then sends rows as they are asked for, and not all at once
    with connection.execute(
        select(table).order_by(*table.primary_key.columns), execution_options={"yield_per": _ROWS_AT_ONCE}
    ) as found:
        for rows in found.partitions():
            yield list(rows)


def _digest(connection: Connection, table: Table, progress: Progress) -> Digest:
    total = _count(connection, table)
    digest = Digest()
    for rows in _batches(connection, table):
        for row in rows:
            digest.add(row)
        progress(f"{table.name} (comparing)", digest.rows, total)
    return digest


def _count(connection: Connection, table: Table) -> int:
    return connection.execute(select(func.count()).select_from(table)).scalar_one()


def _set_sequences(connection: Connection) -> None:
    # The next row gets the number after the highest; rows that come with a number do not move the counter.
    for table in _TABLES:
        column = table.autoincrement_column
        if column is not None:
            highest = connection.execute(select(func.max(column))).scalar()
            connection.execute(
                text("SELECT setval(pg_get_serial_sequence(:table, :column), :value, :is_used)"),
                {
                    "table": table.name,
                    "column": column.name,
                    "value": highest or 1,
                    "is_used": highest is not None,
                },
            )


# --- both sides ---


def _compare(read: Connection, write: Connection, digests: dict[str, Digest], progress: Progress) -> Copy:
    """Counts, then what the rows hold, then money by state, then the statement: each would show what others hide."""
    for table in _TABLES:
        mine, theirs = digests[table.name], _digest(write, table, progress)
        if mine.rows != theirs.rows:
            raise BooksRefused(
                f"table {table.name}: {mine.rows} rows on one side, {theirs.rows} on the other; nothing was kept"
            )
        if mine.content != theirs.content:
            raise BooksRefused(f"table {table.name}: its rows differ between both sides; nothing was kept")
    ours, copied = recount(read), recount(write)
    for name in sorted(ours.keys() | copied.keys()):
        if ours.get(name) != copied.get(name):
            raise BooksRefused(
                f"{name}: {ours.get(name)} on one side, {copied.get(name)} on the other; nothing was kept"
            )
    statement = statement_within(write)
    if statement != statement_within(read):
        raise BooksRefused("the statements of both sides differ; nothing was kept")
    return Copy({name: digest.rows for name, digest in digests.items()}, statement)
