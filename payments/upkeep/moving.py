"""Moves the books to another database for good: closed here, copied, compared, open there.

Two open books are two programs that take the same credits for their own. The bank would refuse the second transfer,
since both give it the same external_id, but a credit whose event reached the old books would be missing in the new
ones until reconciliation finds it. So the old ones are closed before the first row is copied, and stay closed: every
process refuses to start on them.
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import delete, insert

from payments.errors import BooksRefused, LedgerUnavailable, LedgerUnusable, RepasseError
from payments.operator.actions import Operator, write_action
from payments.operator.processes import list_alive
from payments.storage.database import Database
from payments.storage.migrate import NEWEST_REVISION, migrate, moved_to, revision_of
from payments.storage.schema import relocations
from payments.upkeep.copying import Copy, Progress, compare_books, copy_books, is_empty


@dataclass(frozen=True, slots=True)
class Move:
    """What a move did. ``was_there_already`` when an earlier run had copied everything and was killed then."""

    copy: Copy
    was_there_already: bool


def move_books(source: Database, target: Database, by: Operator, now: datetime, progress: Progress) -> Move:
    """Close the source, copy everything into the empty target, and compare. The source stays closed.

    Whatever goes wrong, the source is opened again if the target is certainly empty; if nobody can tell, it stays
    closed. A run that was killed is run again: it copies, or finds that everything is there and the same. Raises
    BooksRefused while a process lives on the source, when the target is not empty or both differ, and
    LedgerUnavailable.
    """
    if _is_same(source, target):
        raise BooksRefused(f"{target.name} is where the books are already; name another database")
    is_closed = _check_revision(source)
    if is_closed:
        _refuse_second_home(source, target)
    migrate(target)
    if not is_empty(target):
        if not is_closed:
            raise BooksRefused(
                f"{target.name} is not empty: books are moved to an empty database; name another"
            )
        return Move(compare_books(source, target, progress), was_there_already=True)
    if not is_closed:
        _close(source, target, by, now)
    try:
        return Move(copy_books(source, target, progress, lock_source=True), was_there_already=False)
    except (RepasseError, KeyboardInterrupt):
        if _is_surely_empty(target):
            reopen_books(source, Operator(by.who, "the move failed"), now)
        raise


def reopen_books(database: Database, by: Operator, now: datetime) -> None:
    """Open books again that a move had closed; for when the new ones are given up. One transaction."""
    refuse_unknown_revision(database)
    with database.transaction() as connection:
        if not connection.execute(delete(relocations)).rowcount:
            raise BooksRefused(f"the books in {database.name} are not closed; there is nothing to do")
        write_action(connection, "reopen_books", _subject(database), "these books are open", by, now)


def refuse_unknown_revision(database: Database) -> None:
    """Raises LedgerUnusable unless there are books of this program's version, open or closed."""
    _check_revision(database)


def _check_revision(source: Database) -> bool:
    """True when the books are closed already."""
    is_missing = not source.is_postgresql and not Path(str(source.url.database)).exists()
    found = None if is_missing else revision_of(source)  # looking would make the file
    if found == NEWEST_REVISION:
        with source.reading() as connection:
            return moved_to(connection) is not None
    if found is None:
        raise LedgerUnusable(f"there are no books in {source.name}; look at DATABASE_URL")
    raise LedgerUnusable(
        f"the books in {source.name} are at version {found}, this program's are at {NEWEST_REVISION}; use the repasse "
        "that wrote them, or bring them up to date first: python -m payments.storage.migrate"
    )


def _is_same(source: Database, target: Database) -> bool:
    one, other = source.url, target.url
    if one.get_backend_name() != other.get_backend_name():
        return False
    if target.is_postgresql:
        return (one.host, one.port or 5432, one.database) == (other.host, other.port or 5432, other.database)
    return Path(str(one.database)).resolve() == Path(str(other.database)).resolve()


def _refuse_second_home(source: Database, target: Database) -> None:
    # One set of books moved to two places would be two open books.
    with source.reading() as connection:
        home = moved_to(connection)
    if home != _subject(target):
        raise BooksRefused(
            f"these books were moved to {home} already; to move them from here again: scripts/books reopen"
        )


def _is_surely_empty(target: Database) -> bool:
    # An answer that was lost at the commit tells nothing: the books may be open there.
    try:
        return is_empty(target)
    except LedgerUnavailable:
        return False


def _close(source: Database, target: Database, by: Operator, now: datetime) -> None:
    with source.transaction() as connection:
        if alive := list_alive(connection, now):
            raise BooksRefused(
                f"{len(alive)} process(es) use these books: {', '.join(alive[:3])}; stop them first (one that was "
                "killed counts as alive for a minute)"
            )
        connection.execute(insert(relocations).values(id=1, moved_to=target.name[:200], moved_at=now))
        write_action(connection, "move_books", _subject(target), "these books are closed", by, now)


def _subject(database: Database) -> str:
    return database.name[:96]  # the column's width
