"""The machine's clock is set while our processes run: two hours back, and years forward."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from payments.language import language_of
from payments.operator.overview import read_system
from payments.storage.database import open_database
from tests.day import Day
from tests.payments.builders import NOW
from tests.running import wait_until

pytestmark = [pytest.mark.process, pytest.mark.timeout(170)]

FOUR_YEARS = 4 * 365.25 * 86_400


def set_clock(file: Path, seconds: float) -> None:
    """Set the clock of the processes that go by this file; never half of it."""
    new = file.with_suffix(".new")
    new.write_text(str(seconds))
    new.replace(file)


def memory_of(day: Day, name: str) -> int:
    """Resident kilobytes of one of our processes."""
    status = Path(f"/proc/{day.running[name].process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_a_day_whose_clock_is_set_back_and_forward_is_exact(
    build_day: Callable[..., Day], tmp_path: Path, database: str, request: pytest.FixtureRequest
) -> None:
    """Meanwhile reconciliation goes on, a throttled transfer is sent, and no process grows."""
    url = request.getfixturevalue("postgresql_url") if database == "postgresql" else None
    wrong_by = tmp_path / "wrong-by"
    set_clock(wrong_by, 0)
    day = build_day(
        seconds=20.0,
        clocks={"web-1": wrong_by, "worker-1": wrong_by},
        switches=("--paid-share", "1"),
        database_url=url,
    )
    day.bank.fault("throttle_429", "POST transfer", retry_after=3600)
    day.start()
    day.wait_for_start()
    wait_until(lambda: len(day.bank.requests("POST", "transfer")) >= 1, "a transfer waits for an hour")
    day.bank.clear_faults()

    set_clock(wrong_by, -7_200)
    wait_until(lambda: "clock.stepped" in day.said("worker"), "the worker notices")
    before = day.said("worker").count("reconciliation.ended")
    wait_until(lambda: day.said("worker").count("reconciliation.ended") > before + 1, "it still reconciles")
    if database == "sqlite":  # PostgreSQL's own clock, which all machines go by there, was not set
        day.wait_for_payouts(1)
        with closing(open_database(f"sqlite:///{day.database_file}")) as opened:

            def steps() -> dict[str, float | None]:
                running = read_system(opened, NOW, language_of("en")).processes
                return {row["kind"]: row["clock_step_seconds"] for row in running}

            wait_until(lambda: all(steps().values()), "both have written it")
            assert set(steps()) == {"web", "worker"}
            assert all(-7_210 < (step or 0) < -7_190 for step in steps().values())

    size = memory_of(day, "worker-1")
    set_clock(wrong_by, FOUR_YEARS)
    wait_until(lambda: day.said("worker").count("clock.stepped") == 2, "the worker notices")
    if database == "sqlite":
        day.assert_ends_exact()
    before = day.said("worker").count("reconciliation.ended")
    wait_until(lambda: day.said("worker").count("reconciliation.ended") > before + 1, "it still reconciles")
    assert memory_of(day, "worker-1") < size + 60_000
    day.assert_all_run()
    assert "Traceback" not in day.said()
