"""The write-ahead log is copied beside the commits, and never in their way."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from time import monotonic

import pytest
from sqlalchemy import text

from payments.errors import LedgerUnavailable
from payments.storage.checkpoints import checkpoint
from payments.storage.database import Database
from tests.payments.conftest import ON_SQLITE

WRITE = text("INSERT INTO issuing_windows VALUES (1, 'abcd', '2026-03-02T15:00:00.000000Z', 5.0, 8)")

pytestmark = ON_SQLITE


def in_the_file_itself(file: Path) -> int:
    """How many windows the file holds without its log."""
    alone = file.with_suffix(".alone")
    shutil.copy(file, alone)
    with closing(sqlite3.connect(alone)) as connection:
        return int(connection.execute("SELECT count(*) FROM issuing_windows").fetchone()[0])


def test_what_is_committed_is_copied_into_the_file(database: Database, database_file: Path) -> None:
    """Until then it is in the log alone; nothing changes for those who read."""
    with database.transaction() as connection:
        connection.execute(WRITE)
    assert in_the_file_itself(database_file) == 0
    checkpoint(database)
    assert in_the_file_itself(database_file) == 1
    with database.reading() as connection:
        assert connection.execute(text("SELECT count(*) FROM issuing_windows")).scalar() == 1


def test_neither_a_writer_nor_a_reader_waits_or_is_waited_for(
    database: Database, database_file: Path
) -> None:
    """What a transaction has not committed stays in it."""
    began = monotonic()
    with database.reading() as reader, database.transaction() as writer:
        assert reader.execute(text("SELECT count(*) FROM issuing_windows")).scalar() == 0
        writer.execute(WRITE)
        checkpoint(database)
    assert in_the_file_itself(database_file) == 0
    checkpoint(database)
    assert in_the_file_itself(database_file) == 1
    assert monotonic() - began < 4  # a wait for a lock takes 5 s


def test_a_file_that_cannot_be_used_is_reported_by_others(database: Database, database_file: Path) -> None:
    """The copying is silent, five times a second."""
    database.close()
    for file in database_file.parent.glob(f"{database_file.name}*"):
        file.write_bytes(b"no database" * 1_000)
    checkpoint(database)
    with pytest.raises(LedgerUnavailable, match="not a database"), database.reading():
        pass
