"""Retention: old bodies go into files that are durable first, and money rows do not change by a byte."""

import gzip
import hashlib
import json
import subprocess
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from payments.errors import BooksRefused
from payments.storage.database import Database
from payments.storage.schema import inbox_events
from payments.upkeep import archive as archive_module
from payments.upkeep.archive import MANIFEST, Archived, archive, oldest_body_at, read_archive
from payments.upkeep.verify import verify
from tests.payments.builders import NOW, a_body, an_invoice_log
from tests.payments.conftest import Books
from tests.payments.full_books import content, fill

LATER = NOW + timedelta(days=100)


def bodies(database: Database) -> dict[str, Any]:
    """Each event's row."""
    with database.reading() as connection:
        return {row.event_id: row for row in connection.execute(select(inbox_events))}


def run(database: Database, folder: Path, before: datetime = LATER) -> Archived:
    """Archive what is older than ``before``."""
    return archive(database, before, folder, LATER, lambda _: None)


def test_bodies_come_back_from_the_files_byte_for_byte(database: Database, tmp_path: Path) -> None:
    """With their signatures: what the bank signed can still be checked."""
    fill(database)
    before = bodies(database)
    done = run(database, tmp_path / "archive")
    [file] = (tmp_path / "archive").glob("*.jsonl.gz")
    found = {event_id: (body, signature) for event_id, body, signature in read_archive(file)}
    after = bodies(database)
    gone = {event_id for event_id, row in after.items() if row.archived_at is not None}
    assert found == {key: (before[key].body, before[key].digital_signature) for key in gone}
    assert len(gone) == done.events == len(before) - 2
    assert all(after[key].body == b"" and after[key].digital_signature is None for key in gone)
    assert all(after[key].archived_at == LATER for key in gone)
    assert done.bytes == sum(
        len(row.body) + len(row.digital_signature) for key, row in before.items() if key in gone
    )
    assert verify(database, lambda _: None) == []


def test_no_other_row_changes(database: Database, tmp_path: Path) -> None:
    """Credits, transfers, totals, history: the same before and after; of events only these three columns."""
    fill(database)
    before, events = content(database), bodies(database)
    run(database, tmp_path / "archive")
    after = content(database)
    assert {name for name in before if before[name] != after[name]} == {"inbox_events"}
    for key, row in bodies(database).items():
        kept = {**row._mapping, "body": b"", "digital_signature": None, "archived_at": None}
        assert kept == {**events[key]._mapping, "body": b"", "digital_signature": None, "archived_at": None}


def test_what_a_person_may_need_stays(database: Database, tmp_path: Path) -> None:
    """Unreadable events and second credits are dealt with by hand, from their bytes."""
    fill(database)
    run(database, tmp_path / "archive")
    kept = {row.outcome for row in bodies(database).values() if row.archived_at is None}
    assert kept == {"unreadable", "second_credit"}
    assert oldest_body_at(database) == NOW


def test_only_what_is_old_enough_goes(books: Books, tmp_path: Path) -> None:
    """Exactly up to the moment."""
    books.credit("old")
    books.pass_time(3600)
    books.credit("young")
    done = archive(books.database, books.now, tmp_path, LATER, lambda _: None)
    assert done.events == 1
    rows = bodies(books.database)
    assert [row.subject for row in rows.values() if row.archived_at is None] == ["young"]


def test_a_second_run_has_nothing_to_do(database: Database, tmp_path: Path) -> None:
    """No file, no change."""
    fill(database)
    run(database, tmp_path)
    before, files = content(database), sorted(tmp_path.iterdir())
    assert run(database, tmp_path) == Archived(0, 0, 0)
    assert (content(database), sorted(tmp_path.iterdir())) == (before, files)


def test_archived_events_are_still_known(books: Books, tmp_path: Path) -> None:
    """The bank repeats one after all: it is recognised by its id, and no second transfer is made."""
    log = an_invoice_log()
    books.tell(log)
    run(books.database, tmp_path)
    [receipt] = books.tell(log)
    assert receipt.outcome == "repeated"
    assert books.statement.credits == 1


def test_large_archives_go_into_several_files(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A group is bounded by number and by bytes; each event is in one file."""
    fill(database)
    monkeypatch.setattr(archive_module, "_EVENTS_A_FILE", 5)
    monkeypatch.setattr(archive_module, "_ROWS_A_TRANSACTION", 2)
    assert run(database, tmp_path).files == 3
    monkeypatch.setattr(archive_module, "_BYTES_A_FILE", 1)
    found = [event_id for file in tmp_path.glob("*.gz") for event_id, _, _ in read_archive(file)]
    assert sorted(found) == sorted(key for key, row in bodies(database).items() if row.archived_at)


def test_one_enormous_event_fills_a_file_alone(
    books: Books, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory is bounded by bytes too."""
    for number in range(3):
        books.credit(f"{number}", name="x" * 1000)
    monkeypatch.setattr(archive_module, "_BYTES_A_FILE", 1000)
    assert run(books.database, tmp_path).files == 3


def test_the_manifest_is_what_sha256sum_reads(database: Database, tmp_path: Path) -> None:
    """Anyone can check the files, without this program."""
    fill(database)
    run(database, tmp_path)
    checked = subprocess.run(
        ["sha256sum", "-c", MANIFEST], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr
    [file] = tmp_path.glob("*.gz")
    assert checked.stdout == f"{file.name}: OK\n"
    assert file.stat().st_mode & 0o777 == 0o600
    with gzip.open(file, "rt") as lines:
        assert json.loads(next(lines))["outcome"] == "credit"


@pytest.mark.parametrize("at", ["_empty", "_note"])
def test_a_crash_before_the_rows_are_emptied_loses_nothing(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    """The bytes are in the file and in the books; the next run does it again, into the same file."""
    fill(database)
    before = bodies(database)

    def crash(*_: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr(archive_module, at, crash)
        with pytest.raises(ZeroDivisionError):
            run(database, tmp_path)
    assert bodies(database) == before
    done = run(database, tmp_path)
    assert (done.events, len(list(tmp_path.glob("*.gz")))) == (len(before) - 2, 1)
    assert len((tmp_path / MANIFEST).read_text().splitlines()) == 1


def test_a_crash_between_two_transactions_loses_nothing(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some rows are emptied, others not: each is in a file, and the others go into another one."""
    fill(database)
    before = bodies(database)
    monkeypatch.setattr(archive_module, "_ROWS_A_TRANSACTION", 4)
    original: Callable[..., Any] = database.transaction
    calls: list[int] = []

    def dying() -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise ZeroDivisionError
        return original()

    with monkeypatch.context() as patched:
        patched.setattr(database, "transaction", dying)
        with pytest.raises(ZeroDivisionError):
            run(database, tmp_path)
    assert sum(row.archived_at is not None for row in bodies(database).values()) == 8
    run(database, tmp_path)
    found = {event_id: body for file in tmp_path.glob("*.gz") for event_id, body, _ in read_archive(file)}
    assert found == {key: before[key].body for key, row in bodies(database).items() if row.archived_at}


def test_a_manifest_line_that_was_cut_short_swallows_no_other(database: Database, tmp_path: Path) -> None:
    """A power cut in the middle of the line: the next one begins on its own."""
    fill(database)
    (tmp_path / MANIFEST).write_text("0123abc")
    run(database, tmp_path)
    [file] = tmp_path.glob("*.gz")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert (tmp_path / MANIFEST).read_text().splitlines() == ["0123abc", f"{digest}  {file.name}"]


def test_a_body_that_is_not_text_survives(books: Books, tmp_path: Path) -> None:
    """Whatever was stored comes back as it was."""
    books.credit()
    odd = a_body(an_invoice_log())[:-1] + b"\xff\xfe\x00"
    with books.database.transaction() as connection:
        connection.execute(inbox_events.update().values(body=odd))
    run(books.database, tmp_path)
    [file] = tmp_path.glob("*.gz")
    assert [body for _, body, _ in read_archive(file)] == [odd]


def test_a_folder_that_cannot_be_written_changes_nothing(database: Database, tmp_path: Path) -> None:
    """One line; the books are as they were."""
    fill(database)
    before = content(database)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BooksRefused, match=r"cannot be written: .*; 0 events are archived"):
        run(database, tmp_path / "file")
    assert content(database) == before
