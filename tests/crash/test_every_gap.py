"""Die at every gap: each ledger call is one transaction and each bank call one request, so a process can only
die between them. Die at the n-th gap, start again, run on, compare with the bank; for every n until none is left."""

from datetime import timedelta
from pathlib import Path

from tests.postgresql import Databases
from tests.simulation.faults import Plan
from tests.simulation.world import World, play
from worker.issuing import IssuingRules

# Two slots of one or two invoices: every kind of gap occurs, in every order that a calm day has.
SMALL = IssuingRules(1, 2, 1_000, 50_000, "issue", 60.0, 5.0, 3600.0)


# On PostgreSQL a day takes several times as long; the gaps are the same, so that every twelfth will do.
EVERY_ON_POSTGRESQL = 12


def _play(folder: Path, crash_at_gap: int | None, database_url: str | None = None) -> World:
    folder.mkdir()
    calm = lambda seed: Plan(seed, calm=True)  # noqa: E731
    lasts = timedelta(hours=4)
    return play(3, folder, calm, None, crash_at_gap, SMALL, 2, lasts, database_url)


def test_a_death_in_any_gap_neither_loses_nor_doubles_a_centavo(tmp_path: Path) -> None:
    """Every gap of a small day is died in, once each; the day ends exact every time."""
    gaps = _play(tmp_path / "calm", None).gaps
    died_in: list[str] = []
    for number in range(1, gaps + 1):
        world = _play(tmp_path / f"gap-{number}", number)
        died_in += [what for _, _, what in world.history if what.startswith("dies ")]
    assert len(died_in) == gaps
    # so that the test cannot come to nothing by a gap that is no longer noticed
    for what in ("send transfers", "create invoices", "a commit"):
        assert any(f"dies before {text}" in died_in for text in (what, f"it can {what}")), what
        assert any(f"dies after {text}" in died_in for text in (what, f"it could {what}")), what


def test_a_death_in_a_gap_on_postgresql_neither_loses_nor_doubles_a_centavo(
    tmp_path: Path, postgresql: Databases
) -> None:
    """The same, on the other database."""
    address = postgresql.create()
    gaps = _play(tmp_path / "calm", None, address).gaps
    postgresql.drop(address)
    died = 0
    for number in range(1, gaps + 1, EVERY_ON_POSTGRESQL):
        address = postgresql.create()
        world = _play(tmp_path / f"gap-{number}", number, address)
        postgresql.drop(address)
        died += any(what.startswith("dies ") for _, _, what in world.history)
    assert died == len(range(1, gaps + 1, EVERY_ON_POSTGRESQL)) > 0
