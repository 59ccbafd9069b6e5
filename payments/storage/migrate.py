"""Brings the database to this program's version, or says why it will not.

Every process calls it at its start; several may do so at the same moment. All revisions run in one
transaction, so a crash in the middle leaves the old version whole. As ``python -m payments.storage.migrate``
it is the Procfile's release step.
"""

import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from sqlalchemy import Connection, inspect, select, text

from payments.errors import LedgerUnavailable, LedgerUnusable, RepasseError
from payments.storage.database import Database, NamedLock, lock_for_transaction, open_database
from payments.storage.schema import metadata, relocations

# The newest revision in migrations/versions. Kept here so that a start on a current database need not
# import Alembic (a fifth of a second); a test compares the two.
NEWEST_REVISION = "v1"

# The numbering of before the first schema. No version with it was released.
_UNRELEASED = re.compile(r"(moved-)?000[1-3]")

# How long a start waits for another process that is migrating already.
_PATIENCE_SECONDS = 120


def migrate(database: Database) -> bool:
    """Bring the schema to the newest revision. True when something was changed.

    Raises LedgerUnusable when the database is of a newer version, not ours or no database that can be opened,
    LedgerUnavailable when it cannot be written now. Both name it.
    """
    with _naming(database):
        return not _is_current(database) and _migrate(database)


def refuse_unready(database: Database) -> None:
    """Raises what ``migrate`` does, and LedgerUnusable where there is something to migrate; changes nothing."""
    with _naming(database):
        if _is_current(database):
            return
        with database.reading() as connection:
            found = _read_revision(connection)
            _refuse_strangers(connection, database, found)
    state = "is empty" if found is None else f"is at version {found}"
    raise LedgerUnusable(
        f"the database {database.name} {state}: look at DATABASE_URL, and at the folder that you are in; "
        f"`repasse migrate`, or a start, brings it to version {NEWEST_REVISION}"
    )


@contextmanager
def _naming(database: Database) -> Iterator[None]:
    """Say of what goes wrong with the storage which database it is."""
    try:
        yield
    except LedgerUnavailable as error:
        text = f"DATABASE_URL: {database.name}: {error}"
        if error.remedy is not None:
            raise LedgerUnusable(f"{text}; {error.remedy}") from error
        raise LedgerUnavailable(text) from error


def _is_current(database: Database) -> bool:
    """Whether it is of this version. Raises LedgerUnusable when it may not be used."""
    with database.reading() as connection:
        found = _read_revision(connection)
        if database.is_postgresql:
            from payments.storage.postgresql import refuse_unfit

            ours = sorted(metadata.tables) if found == NEWEST_REVISION else ()
            refuse_unfit(connection, database.name, ours)
        if found == NEWEST_REVISION:
            _refuse_closed(connection, database)
        return found == NEWEST_REVISION


def _migrate(database: Database) -> bool:
    with database.transaction() as connection, ExitStack() as stack:
        if database.is_postgresql:
            from payments.storage.postgresql import unhurried

            stack.enter_context(unhurried(connection))
            # another process may be migrating, for longer than anyone waits for a row
            connection.execute(text(f"SET LOCAL lock_timeout = '{_PATIENCE_SECONDS}s'"))
            lock_for_transaction(connection, NamedLock.MIGRATION)
        found = _read_revision(connection)
        if found == NEWEST_REVISION:
            return False  # another process was quicker
        _refuse_strangers(connection, database, found)
        _upgrade(connection)
    return True


def revision_of(database: Database) -> str | None:
    """The database's revision; None when it is empty or not ours."""
    with database.reading() as connection:
        return _read_revision(connection)


def _read_revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()


def _refuse_strangers(connection: Connection, database: Database, found: str | None) -> None:
    if found is not None and _UNRELEASED.fullmatch(found):
        raise LedgerUnusable(
            f"the database {database.name} is at version {found} of an unreleased repasse, which this one cannot read; "
            "point DATABASE_URL at a new database, and let repasse job reconcile find what the bank knows"
        )
    if found is not None and found not in _known_revisions():
        raise LedgerUnusable(
            f"the database {database.name} is at version {found}, newer than this program's {NEWEST_REVISION}; "
            "install the newer repasse, or point DATABASE_URL elsewhere"
        )
    # Alembic's own table stays behind, empty, when everything was downgraded.
    if found is None and (tables := set(inspect(connection).get_table_names()) - {"alembic_version"}):
        raise LedgerUnusable(
            f"the database {database.name} has tables that are not ours ({', '.join(sorted(tables)[:3])}); "
            "point DATABASE_URL at an empty database"
        )


def moved_to(connection: Connection) -> str | None:
    """The address of the database that this one was copied to; None while this one is in use."""
    return connection.execute(select(relocations.c.moved_to)).scalar()


def _refuse_closed(connection: Connection, database: Database) -> None:
    """A database that was copied elsewhere is closed: two open ones would take the same credits for their own."""
    if (address := moved_to(connection)) is not None:
        raise LedgerUnusable(
            f"the database {database.name} was moved to {address}; put that in DATABASE_URL. To go back "
            "to this one, which knows nothing of what happened since: repasse db reopen"
        )


def _known_revisions() -> set[str]:
    return {path.name.split("_")[0] for path in (_MIGRATIONS / "versions").glob("v*_*.py")}


_MIGRATIONS = Path(__file__).parent / "migrations"


def _upgrade(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    # configparser would take a % in the path for the beginning of a variable
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def main() -> int:
    """Migrate the database that the settings name; one line on what was done. Exit 0, or 2 when it cannot be."""
    from payments.settings import load_settings

    try:
        database = open_database(load_settings(needs_bank=False).database_url.get_secret_value())
        changed = migrate(database)
    except RepasseError as error:
        print(f"repasse: {error}", file=sys.stderr)
        return 2
    print(f"{database.name}: {'migrated to' if changed else 'already at'} version {NEWEST_REVISION}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
