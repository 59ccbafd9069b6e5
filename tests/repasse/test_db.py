"""The database as a whole, by the command: what each prints, its status, and one line for each error."""

import os
import re
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from payments.operator import processes
from payments.policy import ForwardingPolicy
from payments.storage.database import Database, open_database
from tests.repasse.conftest import credit
from tests.running import ROOT, the_one_line

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def credited(database: Database, policy: ForwardingPolicy) -> Database:
    """A database with three credits."""
    credit(database, policy, 1_000, 1_000, 1_000)
    return database


def printed(ended: "subprocess.CompletedProcess[str]") -> str:
    """What a command printed that ended well."""
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_the_commands_work_one_after_another(
    repasse: Command, credited: Database, tmp_path: Path, database_url: str
) -> None:
    """Back up, verify, restore, move, go back: with neither a key nor a bank."""
    no_bank = {"STARKBANK_PROJECT_ID": "", "STARKBANK_PRIVATE_KEY": ""}
    backup, restored = tmp_path / "b.db", f"sqlite:///{tmp_path / 'restored.db'}"
    out = printed(repasse("db", "backup", str(backup), **no_bank))
    assert re.search(r"b\.db, \d+\.\d KiB, sound", out)
    assert printed(repasse("db", "verify", **no_bank)).startswith("sound")
    out = printed(repasse("db", "restore", str(backup), DATABASE_URL=restored, **no_bank))
    assert "repasse job reconcile" in out
    assert printed(repasse("db", "verify", DATABASE_URL=restored, **no_bank)).startswith("sound")
    moved = f"sqlite:///{tmp_path / 'moved.db'}"
    out = printed(repasse("db", "copy", "--to", moved, **no_bank))
    assert "3 credits, net R$ 29,70, settled R$ 0,00" in out
    assert f"{database_url} is closed" in out
    assert f"put DATABASE_URL={moved}" in out
    assert f"was moved to {moved}" in the_one_line(repasse("job", "statement", **no_bank))
    printed(repasse("job", "statement", DATABASE_URL=moved, **no_bank))
    assert "is open again" in printed(repasse("db", "reopen", **no_bank))
    printed(repasse("job", "statement", **no_bank))


def test_no_program_starts_on_a_database_that_was_moved(
    repasse: Command, call: Command, credited: Database, environment: dict[str, str], tmp_path: Path
) -> None:
    """One line that names the new one."""
    printed(repasse("db", "copy", "--to", f"sqlite:///{tmp_path / 'moved.db'}"))
    for program in ("webhooks.__main__", "worker.__main__", "payments.storage.migrate"):
        line = the_one_line(call(program, environment=environment))
        assert "moved.db; put that in DATABASE_URL" in line


def test_no_program_starts_on_a_sqlite_file_of_another_machine(
    call: Command, database: Database, environment: dict[str, str]
) -> None:
    """A living process there is named."""
    there = processes.Process("far", "worker", "another-machine", 17, "0.2.0")
    processes.record_alive(database, there, datetime.now(UTC))
    for program in ("webhooks.__main__", "worker.__main__"):
        line = the_one_line(call(program, environment=environment))
        assert "in use by worker 17 on the machine another-machine" in line
        assert "postgresql+psycopg://" in line


def test_books_in_use_are_not_moved(repasse: Command, database: Database, tmp_path: Path) -> None:
    """The process is named; nothing is closed."""
    processes.record_alive(database, processes.Process("w", "web", "here", 99, "0.2.0"), datetime.now(UTC))
    line = the_one_line(repasse("db", "copy", "--to", f"sqlite:///{tmp_path / 'moved.db'}"))
    assert "1 process(es) use these books: web 99 on here" in line
    printed(repasse("db", "verify"))


BAD: dict[tuple[str, ...], str] = {
    ("copy", "--to", "mysql://host/db"): "--to has the unsupported kind 'mysql'; put sqlite:///",
    ("copy", "--to", "nonsense"): "--to is not a database address",
    ("copy", "--to", "sqlite:///:memory:"): "--to names no file",
    ("copy", "--to", "sqlite:////proc/nowhere/x.db"): "--to: cannot make the folder /proc/nowhere",
    ("copy", "--to", "{database_url}"): "is where the books are already; name another database",
    ("reopen",): "are not closed; there is nothing to do",
    ("backup", "/nowhere/b.db"): "/nowhere/b.db cannot be written: No such file or directory",
    ("backup", "{folder}/repasse.db"): "repasse.db exists already; backups are never written over",
    ("restore", "/nowhere/b.db"): "there is no file /nowhere/b.db",
    ("restore", "{folder}/text"): "text cannot be read as a database: file is not a database",
}


def test_every_error_is_one_line(
    repasse: Command, credited: Database, database_url: str, tmp_path: Path
) -> None:
    """Status 2; it names the thing, the value and the remedy; the database is as it was."""
    (tmp_path / "text").write_text("not a database" * 50)
    for arguments, message in BAD.items():
        filled = [each.format(database_url=database_url, folder=tmp_path) for each in arguments]
        assert message in the_one_line(repasse("db", *filled))
    printed(repasse("db", "verify"))


def test_wrong_arguments_end_with_status_2(repasse: Command) -> None:
    """And the usage."""
    for arguments in ((), ("cpy",), ("copy",), ("backup",), ("archive",)):
        ended = repasse("db", *arguments)
        assert ended.returncode == 2
        assert ended.stderr.startswith("Usage: repasse db")


def test_where_there_are_no_books_nothing_is_made(repasse: Command, tmp_path: Path) -> None:
    """A slip in DATABASE_URL must not end in a sound, empty backup."""
    before = set(tmp_path.iterdir())
    for command in (("verify",), ("backup", "b.db"), ("copy", "--to", "sqlite:///new.db"), ("reopen",)):
        line = the_one_line(repasse("db", *command, DATABASE_URL=f"sqlite:///{tmp_path / 'typo.db'}"))
        assert "there is no database " in line
    assert set(tmp_path.iterdir()) == before


def test_a_database_that_does_not_answer_is_named_with_the_remedy(
    repasse: Command, credited: Database
) -> None:
    """Status 2, one line; the password is not in it, and the old books are open."""
    ended = repasse("db", "copy", "--to", "postgresql+psycopg://u:hunter2@127.0.0.1:1/db")
    assert ended.returncode == 2
    [line] = ended.stderr.splitlines()
    assert "hunter2" not in line
    printed(repasse("job", "statement"))


def test_a_finding_ends_with_status_1(repasse: Command, credited: Database, tmp_path: Path) -> None:
    """Each on a line of its own, then what to do."""
    with closing(sqlite3.connect(tmp_path / "repasse.db")) as connection:
        connection.execute("UPDATE transfers SET amount_centavos = 1 WHERE id = 2")
        connection.commit()
    ended = repasse("db", "verify")
    assert ended.returncode == 1
    assert (
        "wrong: credits whose live transfer and withheld part do not make up their net: 5000000000000001"
        in ended.stdout
    )
    assert ended.stderr == ""


@pytest.mark.process
def test_files_are_meant_from_where_one_stands(
    environment: dict[str, str], credited: Database, tmp_path: Path
) -> None:
    """The command works from any folder, and writes into that one."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    ended = subprocess.run(
        [ROOT / "scripts" / "books", "backup", "here.db"],
        cwd=elsewhere,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert [each.name for each in elsewhere.iterdir()] == ["here.db"]
    opened = open_database(f"sqlite:///{elsewhere / 'here.db'}")
    opened.close()
