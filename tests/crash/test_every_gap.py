"""Die at every gap: each ledger call is one transaction and each bank call one request, so a process can only
die between them. Die at the n-th gap, start again, run on, compare with the bank; for every n until none is left."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from tests.postgresql import Databases
from tests.simulation.faults import Plan
from tests.simulation.world import World, play
from worker.issuing import IssuingRules

# Two slots of one or two invoices: every kind of gap occurs, in every order that a calm day has.
SMALL = IssuingRules(1, 2, 1_000, 50_000, "issue", 60.0, 5.0, 3600.0)

PlaySmallDay = Callable[[int | None], World]


@pytest.fixture(params=["sqlite", "postgresql"])
def play_small_day(request: pytest.FixtureRequest, tmp_path: Path) -> PlaySmallDay:
    """Plays the small day, in which a process dies at a gap (None: in none)."""

    @contextmanager
    def database() -> Iterator[str | None]:
        if request.param == "sqlite":
            yield None
            return
        server: Databases = request.getfixturevalue("postgresql")
        address = server.create()
        yield address
        server.drop(address)

    def play_one(gap: int | None) -> World:
        folder = tmp_path / str(gap)
        folder.mkdir()
        with database() as address:
            return play(
                3,
                folder,
                lambda seed: Plan(seed, calm=True),
                crash_at_gap=gap,
                rules=SMALL,
                slots=2,
                lasts=timedelta(hours=4),
                database_url=address,
            )

    return play_one


# All of them are a long proof; every seventh is enough to notice.
@pytest.mark.parametrize("step", [7, pytest.param(1, marks=[pytest.mark.long, pytest.mark.timeout(900)])])
def test_a_death_in_any_gap_neither_loses_nor_doubles_a_centavo(
    play_small_day: PlaySmallDay, step: int
) -> None:
    """A process dies in each gap of a small day (or in each n-th), once; the day ends exact every time."""
    gaps = range(1, play_small_day(None).gaps + 1, step)
    died_in = [what for gap in gaps for _, _, what in play_small_day(gap).history if what.startswith("dies ")]
    assert len(died_in) == len(gaps) > 0
    # so that the test cannot come to nothing by a gap that is no longer noticed
    for what in ("a commit", *(("send transfers", "create invoices") if step == 1 else ())):
        assert any(f"dies before {text}" in died_in for text in (what, f"it can {what}")), what
        assert any(f"dies after {text}" in died_in for text in (what, f"it could {what}")), what
