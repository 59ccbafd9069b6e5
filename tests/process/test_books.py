"""The database lost and moved in the middle of a day, by the real commands; the bank's own books decide."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.day import Day
from tests.running import wait_until

pytestmark = pytest.mark.process


@pytest.fixture
def start_day(tmp_path: Path) -> Iterator[Callable[..., Day]]:
    """Open a day (arguments as of Day); it is closed at the end."""
    days: list[Day] = []

    def open_day(**arguments: Any) -> Day:
        day = Day(tmp_path, **arguments)
        days.append(day)
        return day

    yield open_day
    for day in days:
        day.close()


def paid(day: Day) -> int:
    """How many transfers the bank has paid."""
    return day.control.transfers("success")


def ran(day: Day, name: str, *arguments: str) -> str:
    """What a script printed, which ended well."""
    ended = day.script(name, *arguments)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def stop(day: Day) -> None:
    """End every process as an operator does."""
    for name in day.names:
        assert day.running[name].stop() == 0


def assert_ends_exact(day: Day) -> None:
    """Let the day end; both sides must agree, and the database be sound."""
    day.wait_for_end()
    wrong = day.settle()
    assert wrong is None, wrong
    stop(day)
    assert ran(day, "books", "verify").startswith("sound")


def test_a_day_goes_on_from_a_backup_that_is_older_than_its_last_transfers(
    start_day: Callable[..., Day], tmp_path: Path
) -> None:
    """docs/deploy.md, Restore: lose the database, restore, reconcile, start. Nothing is paid twice, nothing is lost."""
    day = start_day(seed=21, seconds=14.0)
    day.start()
    wait_until(lambda: paid(day) >= 5, "some credits are paid")
    assert "sound" in ran(day, "books", "backup", str(tmp_path / "backup.db"))
    before = paid(day)
    wait_until(lambda: paid(day) >= before + 15, "more are paid, which the backup does not know of")
    for name in day.names:
        day.kill(name)
    for file in day.database_file.parent.glob("repasse.db*"):
        file.unlink()

    assert "restored" in ran(day, "books", "restore", str(tmp_path / "backup.db"))
    known = day.statement()
    assert known is not None
    assert known.transfers["settled"] < paid(day)
    ran(day, "run_job", "reconcile")
    day.start()
    assert_ends_exact(day)


def test_the_books_move_to_postgresql_in_the_middle_of_a_day(
    start_day: Callable[..., Day], postgresql_url: str
) -> None:
    """docs/deploy.md, Moving: stop, copy, start elsewhere. A copy that was killed is run again."""
    day = start_day(seed=22, seconds=14.0)
    day.start()
    wait_until(lambda: paid(day) >= 5, "some credits are paid")
    refused = day.script("books", "copy", "--to", postgresql_url)
    assert (refused.returncode, "2 process(es) use these books" in refused.stderr) == (2, True), (
        refused.stderr
    )
    stop(day)
    killed = day.start_script("books", "copy", "--to", postgresql_url)
    wait_until(
        lambda: "was moved to" in day.script("run_job", "statement").stderr, "the old books are closed"
    )
    killed.kill()
    # The killed run may have been done just before.
    out = ran(day, "books", "copy", "--to", postgresql_url)
    assert re.search("the same on both sides|copied by an earlier run", out)
    [line] = day.script("run_job", "statement").stderr.splitlines()
    assert "was moved to postgresql+psycopg://" in line
    day.move_to(postgresql_url)
    day.start()
    assert_ends_exact(day)
