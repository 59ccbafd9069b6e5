"""Copies every row to another database, SQLite or PostgreSQL, and closes the old one.

Two open databases are two programs that take the same credits for their own. The bank would refuse the second transfer,
because both give it the same external_id, but each would miss what only the other received. So the old one is closed
before the first row is copied, and every process refuses to start on it.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection, Row, Table, delete, func, insert, select, text
from sqlalchemy.exc import DBAPIError

from payments.errors import BooksRefused, LedgerUnavailable, LedgerUnusable, RepasseError
from payments.storage.database import Database
from payments.storage.migrate import NEWEST_REVISION, migrate, moved_to, revision_of
from payments.storage.schema import actions, metadata, processes, relocations

# Every table but the one whose row closes the source.
_TABLES = [table for table in metadata.sorted_tables if table is not relocations]

# Rows in memory together. An event has at most a mebibyte, so they never take more than 200 MB; usually it is half a
# megabyte.
_ROWS_TOGETHER = 200

# How long to wait for a writer of PostgreSQL that holds a table.
_LOCK_SECONDS = 30

# What the action that closes a database is called; the copy holds it too.
_MOVE = "move_books"

# The widths of columns.
_SUBJECT_LENGTH_MAX = 96
_ADDRESS_LENGTH_MAX = 200

# Called with what comes next, such as a table's name.
Progress = Callable[[str], None]


def copy_database(
    source: Database,
    target: Database,
    who: str,
    now: datetime,
    alive_within: timedelta,
    progress: Progress,
) -> dict[str, int] | None:
    """Close the source, copy every row into the empty target, compare, and commit; returns the rows of each table.

    None when an earlier run had copied everything and was killed before it could say so. If the copy fails, the source
    is opened again, unless the target may have been committed. A run that was killed is run again. Raises BooksRefused
    while a process that was alive ``alive_within`` ago uses the source, when the target is not empty, refuses a row or
    differs afterwards; LedgerUnusable when either cannot serve; LedgerUnavailable when either does not answer.
    """
    if _is_same(source, target):
        raise BooksRefused(f"{target.name} is where the books are already; name another database")
    home = _read_home(source)
    if home not in (None, target.name[:_ADDRESS_LENGTH_MAX]):
        raise BooksRefused(
            f"these books were moved to {home} already; to move them from here again: repasse db reopen"
        )
    migrate(target)
    if not is_empty(target):
        if home is not None and _holds_the_copy(target):
            return None
        raise BooksRefused(f"{target.name} is not empty: books are moved to an empty database; name another")
    if home is None:
        _close(source, target, who, now, alive_within)
    try:
        return _copy(source, target, progress)
    except (RepasseError, KeyboardInterrupt):
        if _is_surely_empty(target):
            reopen(source, who, now, "the copy failed")
        raise


def reopen(database: Database, who: str, now: datetime, reason: str = "repasse db reopen") -> None:
    """Open a database again that was closed by copy_database, when the copy is given up. One transaction."""
    _read_home(database)
    with database.transaction() as connection:
        if not connection.execute(delete(relocations)).rowcount:
            raise BooksRefused(f"the books in {database.name} are not closed; there is nothing to do")
        _write_action(connection, "reopen_books", database, "these books are open", who, reason, now)


def refuse_unknown_revision(database: Database) -> None:
    """Raises LedgerUnusable unless the database holds this program's version, open or closed."""
    _read_home(database)


def is_empty(database: Database) -> bool:
    """True when no table of ours has a row. The tables must exist; a writer that is under way is waited for."""
    with _locked(database, "SHARE ROW EXCLUSIVE") as connection:
        return not _occupied(connection)


# --- who may copy where ---


def _read_home(database: Database) -> str | None:
    """Where the database was moved to; None while it is open. Raises LedgerUnusable for another version."""
    # Connecting to a SQLite file that is not there would make it.
    is_missing = not database.is_postgresql and not Path(str(database.url.database)).exists()
    found = None if is_missing else revision_of(database)
    if found is None:
        raise LedgerUnusable(f"there is no database {database.name}: look at DATABASE_URL")
    if found != NEWEST_REVISION:
        raise LedgerUnusable(
            f"the books in {database.name} are at version {found}, this program's are at {NEWEST_REVISION}; use the "
            "repasse that wrote them, or bring them up to date first: python -m payments.storage.migrate"
        )
    with database.reading() as connection:
        return moved_to(connection)


def _is_same(source: Database, target: Database) -> bool:
    one, other = source.url, target.url
    if one.get_backend_name() != other.get_backend_name():
        return False
    if target.is_postgresql:
        return (one.host, one.port or 5432, one.database) == (other.host, other.port or 5432, other.database)
    return Path(str(one.database)).resolve() == Path(str(other.database)).resolve()


def _holds_the_copy(target: Database) -> bool:
    # The source was closed by an action that was then copied with everything else, in one transaction.
    with target.reading() as connection:
        return (
            connection.execute(
                select(1).where(actions.c.kind == _MOVE, actions.c.subject == _subject(target)).limit(1)
            ).first()
            is not None
        )


def _is_surely_empty(target: Database) -> bool:
    # If the answer to the commit was lost, no one knows whether the copy is there.
    try:
        return is_empty(target)
    except LedgerUnavailable:
        return False


def _close(source: Database, target: Database, who: str, now: datetime, alive_within: timedelta) -> None:
    with source.transaction() as connection:
        alive = [
            f"{row.kind} {row.pid} on {row.host} (seen {max(0, int((now - row.seen_at).total_seconds()))} s ago)"
            for row in connection.execute(
                select(processes)
                .where(processes.c.stopped_at.is_(None), processes.c.seen_at > now - alive_within)
                .order_by(processes.c.kind, processes.c.id)
            )
        ]
        if alive:
            raise BooksRefused(
                f"{len(alive)} process(es) use these books: {', '.join(alive[:3])}; stop them first (one that was "
                f"killed counts as alive for {int(alive_within.total_seconds())} s)"
            )
        address = target.name[:_ADDRESS_LENGTH_MAX]
        connection.execute(insert(relocations).values(id=1, moved_to=address, moved_at=now))
        _write_action(connection, _MOVE, target, "these books are closed", who, "repasse db copy", now)


def _subject(database: Database) -> str:
    return database.name[:_SUBJECT_LENGTH_MAX]


def _write_action(
    connection: Connection,
    kind: str,
    database: Database,
    result: str,
    who: str,
    reason: str,
    now: datetime,
) -> None:
    connection.execute(
        insert(actions).values(
            at=now,
            who=who,
            is_proved=False,  # a name on a command line
            reason=reason,
            kind=kind,
            subject=_subject(database),
            result=result,
        )
    )


# --- the copy ---


def _copy(source: Database, target: Database, progress: Progress) -> dict[str, int]:
    with _locked(source, "SHARE") as read, _locked(target, "SHARE ROW EXCLUSIVE") as write:
        if occupied := _occupied(write):
            raise BooksRefused(f"{target.name} is not empty: there are rows in {', '.join(occupied[:3])}")
        for table in _TABLES:
            progress(table.name)
            _copy_table(read, write, table)
        if target.is_postgresql:
            _set_sequences(write)
        found: dict[str, int] = {}
        for table in _TABLES:
            progress(f"{table.name} (comparing)")
            ours, theirs = _digest(read, table), _digest(write, table)
            if ours != theirs:
                raise BooksRefused(
                    f"table {table.name}: {ours.rows} rows here and {theirs.rows} in the copy, "
                    "which differ; nothing was kept"
                )
            found[table.name] = ours.rows
        return found


@contextmanager
def _locked(database: Database, mode: str) -> Iterator[Connection]:
    """A transaction beside which no one writes: SQLite's holds the only write lock anyway."""
    with database.transaction() as connection:
        if database.is_postgresql:
            # The limits that protect the processes from a slow database would end a long copy.
            connection.execute(text("SET LOCAL statement_timeout = 0"))
            connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
            connection.execute(text(f"SET LOCAL lock_timeout = '{_LOCK_SECONDS}s'"))
            names = ", ".join(table.name for table in _TABLES)
            connection.execute(text(f"LOCK TABLE {names} IN {mode} MODE"))
        yield connection


def _occupied(connection: Connection) -> list[str]:
    return [
        table.name
        for table in _TABLES
        if connection.execute(select(1).select_from(table).limit(1)).first() is not None
    ]


def _copy_table(read: Connection, write: Connection, table: Table) -> None:
    for rows in _portions(read, table):
        try:
            write.execute(insert(table), [dict(row._mapping) for row in rows])
        except DBAPIError as error:
            is_down = isinstance(error.orig, write.dialect.loaded_dbapi.OperationalError)
            if error.connection_invalidated or is_down:
                raise
            # Such as text with a NUL, which SQLite keeps and PostgreSQL does not. The row is not quoted.
            reason = str(error.orig).splitlines()[0]
            raise BooksRefused(
                f"table {table.name}: the target refuses a row: {reason}; nothing was kept"
            ) from error


class Digest(NamedTuple):
    """How many rows a table has and what is in them, in any order, because databases sort text differently."""

    rows: int
    content: int


def _digest(connection: Connection, table: Table) -> Digest:
    return digest_of(row for rows in _portions(connection, table) for row in rows)


def digest_of(rows: Iterable[Sequence[object]]) -> Digest:
    """Hashes are added up and not XORed, so that a pair of equal rows does not cancel out."""
    number = content = 0
    for row in rows:
        number += 1
        found = hashlib.sha256(msgspec.msgpack.encode(tuple(row))).digest()
        content = (content + int.from_bytes(found, "big")) % 2**256
    return Digest(number, content)


def _portions(connection: Connection, table: Table) -> Iterator[list[Row[tuple[object, ...]]]]:
    # yield_per makes PostgreSQL send rows as they are asked for, and not all together.
    query = select(table).order_by(*table.primary_key.columns)
    with connection.execute(query, execution_options={"yield_per": _ROWS_TOGETHER}) as found:
        for rows in found.partitions():
            yield list(rows)


def _set_sequences(connection: Connection) -> None:
    # The next row gets the number after the highest; rows that bring their number do not move the counter.
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
