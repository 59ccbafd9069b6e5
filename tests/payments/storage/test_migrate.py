"""Migrations: a database is brought to this program's version together or not at all, and others are refused."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import insert, inspect, text

from payments.errors import LedgerUnavailable, LedgerUnusable
from payments.operator.statement import read_statement
from payments.storage import sqlite
from payments.storage.database import Database, open_database
from payments.storage.migrate import NEWEST_REVISION, migrate, revision_of
from payments.storage.schema import metadata, relocations
from tests.payments.builders import NOW
from tests.postgresql import Databases
from tests.running import PATIENCE_SECONDS, ROOT

SCRIPTS = ROOT / "payments" / "storage" / "migrations"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of a file that does not exist yet, or of an empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/fresh.db"
    else:
        server: Databases = request.getfixturevalue("postgresql")
        address = server.create(migrated=False)
        yield address
        server.drop(address)


@pytest.fixture
def fresh(url: str) -> Iterator[Database]:
    """A database without a table."""
    database = open_database(url)
    yield database
    database.close()


def tables_of(database: Database) -> set[str]:
    """The tables that are there."""
    with database.reading() as connection:
        return set(inspect(connection).get_table_names())


def alembic_config() -> Config:
    """Alembic's, with our scripts."""
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    return config


# --- what a start does ---


def test_a_fresh_database_is_migrated_once(fresh: Database) -> None:
    """The second start finds nothing to do, and the newest revision is the head of the scripts."""
    assert revision_of(fresh) is None
    assert migrate(fresh)
    assert not migrate(fresh)
    assert revision_of(fresh) == NEWEST_REVISION
    assert ScriptDirectory.from_config(alembic_config()).get_heads() == [NEWEST_REVISION]
    assert tables_of(fresh) == {*metadata.tables, "alembic_version"}
    assert read_statement(fresh).balanced


def test_a_downgraded_database_is_empty_and_can_be_migrated_again(fresh: Database) -> None:
    """Only Alembic's own table stays, without a row."""
    migrate(fresh)
    config = alembic_config()
    with fresh.transaction() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
    assert tables_of(fresh) == {"alembic_version"}
    assert migrate(fresh)
    assert tables_of(fresh) == {*metadata.tables, "alembic_version"}


# --- what a start refuses ---


@pytest.mark.parametrize(
    ("found", "said"),
    [
        *((old, "of an unreleased repasse") for old in ("0001", "0002", "0003", "moved-0003")),
        *((newer, f"newer than this program's {NEWEST_REVISION}") for newer in ("v9", "9999")),
    ],
)
def test_a_database_of_another_version_is_refused_and_left_alone(
    database: Database, found: str, said: str
) -> None:
    """In one line that names the version: of the numbering before the first schema, or newer than this program."""
    with database.transaction() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :found"), {"found": found})
    with pytest.raises(LedgerUnusable, match=f"at version {found},? {said}") as caught:
        migrate(database)
    assert "\n" not in str(caught.value)
    assert database.name in str(caught.value)
    assert revision_of(database) == found


def test_a_database_that_was_copied_elsewhere_is_closed(database: Database) -> None:
    """Two open ones would take the same credits for their own; the line names the other one."""
    with database.transaction() as connection:
        row = {"id": 1, "moved_to": "postgresql+psycopg://db.example/books", "moved_at": NOW}
        connection.execute(insert(relocations), row)
    with pytest.raises(LedgerUnusable, match=r"moved to postgresql\+psycopg://db.example/books; .*reopen"):
        migrate(database)


def test_a_database_of_another_program_is_refused_and_left_alone(fresh: Database) -> None:
    """Its tables are named, so that the mistake is seen."""
    with fresh.transaction() as connection:
        connection.execute(text("CREATE TABLE customers (id INTEGER)"))
    with pytest.raises(LedgerUnusable, match=r"not ours \(customers\)"):
        migrate(fresh)
    assert tables_of(fresh) == {"customers"}


# --- several together, and dying in the middle ---


def test_processes_that_start_together_all_find_a_migrated_database(url: str, fresh: Database) -> None:
    """The web process, the worker and the release step of one deployment, on a fresh machine."""
    processes = [run("-m", "payments.storage.migrate", DATABASE_URL=url) for _ in range(3)]
    outputs = [process.communicate(timeout=PATIENCE_SECONDS) for process in processes]
    assert [process.returncode for process in processes] == [0] * 3, outputs
    assert sorted("migrated to" in out for out, _ in outputs) == [False, False, True], outputs
    assert revision_of(fresh) == NEWEST_REVISION


KILLED_AFTER_THE_TABLES = """
import os, signal, sys
from payments.storage import migrate as module
from payments.storage.database import open_database

upgrade = module._upgrade

def upgrade_and_die(connection):
    upgrade(connection)
    print("made", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

module._upgrade = upgrade_and_die
module.migrate(open_database(sys.argv[1]))
"""


def test_a_kill_in_the_middle_of_a_migration_leaves_nothing(url: str, fresh: Database) -> None:
    """All tables were made, the commit was not: the next start finds an empty database and makes them again."""
    process = run("-c", KILLED_AFTER_THE_TABLES, url)
    out, errors = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, out) == (-signal.SIGKILL, "made\n"), errors
    assert tables_of(fresh) == set()
    assert migrate(fresh)
    assert read_statement(fresh).balanced


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_a_locked_database_is_not_migrated_now(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unavailable, not unusable: the next start may do it."""
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.05)
    database = open_database(url)
    with database.reading():
        pass  # the file is made
    other = sqlite3.connect(str(database.url.database), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(LedgerUnavailable, match="locked"):
        migrate(database)
    other.close()
    assert migrate(database)
    database.close()


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("mysql://user:hunter2@host/x", "DATABASE_URL"),
        ("sqlite:////proc/nowhere/repasse.db", "cannot make the folder /proc/nowhere"),
    ],
)
def test_the_release_step_ends_with_one_line_and_status_2(address: str, said: str) -> None:
    """No traceback, no secret."""
    process = run("-m", "payments.storage.migrate", DATABASE_URL=address)
    out, errors = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, out) == (2, "")
    assert said in errors
    assert errors.count("\n") == 1
    assert "hunter2" not in errors


def run(*arguments: str, **settings: str) -> "subprocess.Popen[str]":
    """A Python of ours, with an environment of its own."""
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)} | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
