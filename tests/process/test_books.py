"""The database lost and moved in the middle of a day, by the real commands; the bank's own statement decides."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.day import Day
from tests.running import wait_until

pytestmark = [pytest.mark.process, pytest.mark.long]


def run(day: Day, *arguments: str) -> str:
    """What a command printed; it must end with 0."""
    ended = day.repasse(*arguments)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def assert_ends_exact_and_sound(day: Day) -> None:
    """Both sides agree at the day's end, and ``repasse db verify`` finds nothing."""
    day.assert_ends_exact()
    assert set(day.stop()) == {0}
    assert run(day, "db", "verify").startswith("sound")


def test_a_day_goes_on_from_a_backup_that_is_older_than_its_last_transfers(
    build_day: Callable[..., Day], tmp_path: Path
) -> None:
    """docs/deploy.md, Restore: lose the database, restore, reconcile, start. Nothing is paid twice, nothing is lost."""
    day = build_day(seed=21, seconds=14.0)
    day.start()
    day.wait_for_payouts(5)
    assert "sound" in run(day, "db", "backup", str(tmp_path / "backup.db"))
    day.wait_for_payouts(day.bank.transfers("success") + 15)  # which the backup does not know of
    for name in day.names:
        day.kill(name)
    for file in day.database_file.parent.glob("repasse.db*"):
        file.unlink()

    assert "restored" in run(day, "db", "restore", str(tmp_path / "backup.db"))
    known = day.statement()
    assert known is not None
    assert known.transfers["settled"] < day.bank.transfers("success")
    run(day, "job", "reconcile")
    day.start()
    assert_ends_exact_and_sound(day)


def test_the_database_moves_to_postgresql_in_the_middle_of_a_day(
    build_day: Callable[..., Day], postgresql_url: str
) -> None:
    """docs/deploy.md, Moving: stop, copy, start elsewhere. A copy that was killed is run again."""
    day = build_day(seed=22, seconds=14.0)
    day.start()
    day.wait_for_payouts(5)
    refused = day.repasse("db", "copy", "--to", postgresql_url)
    assert refused.returncode == 2
    assert "2 process(es) use these books" in refused.stderr
    assert day.stop() == [0, 0]
    killed = day.start_repasse("db", "copy", "--to", postgresql_url)
    wait_until(lambda: "was moved to" in day.repasse("job", "statement").stderr, "the old database is closed")
    killed.kill()
    # The killed run may have been done just before.
    out = run(day, "db", "copy", "--to", postgresql_url)
    assert re.search("the same on both sides|copied by an earlier run", out)
    [line] = day.repasse("job", "statement").stderr.splitlines()
    assert "was moved to postgresql+psycopg://" in line
    day.move_to(postgresql_url)
    day.start()
    assert_ends_exact_and_sound(day)
