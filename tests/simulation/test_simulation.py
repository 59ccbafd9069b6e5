"""Whole days with every fault at once. scripts/simulate plays as many as you like; here are enough to notice."""

from pathlib import Path

import pytest

from tests.simulation.faults import Plan
from tests.simulation.world import play

# Some 45 s of one core. CI plays hundreds more by scripts/simulate.
SEEDS = range(32)

# Each takes several times as long there.
SEEDS_ON_POSTGRESQL = range(3)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_day_with_every_fault_ends_exact(seed: int, tmp_path: Path) -> None:
    """Whatever the seed breaks, every credit is forwarded once and every slot has its batch."""
    world = play(seed, tmp_path)
    assert world.counts["deliveries"] > 0


@pytest.mark.parametrize("seed", SEEDS_ON_POSTGRESQL)
def test_a_day_on_postgresql_ends_exact_too(seed: int, tmp_path: Path, postgresql_url: str) -> None:
    """The same days, on the other database; its transactions really are undone where a process dies."""
    world = play(seed, tmp_path, database_url=postgresql_url)
    assert world.counts["deliveries"] > 0


def test_a_calm_day_needs_no_recovery(tmp_path: Path) -> None:
    """Without faults nothing is found by reconciliation and nothing is sent twice."""
    world = play(1, tmp_path, lambda seed: Plan(seed, calm=True))
    assert world.counts["found by reconciliation"] == 0
    failed = [row for row in world.bank.transfers.rows.all() if row["status"] == "failed"]
    assert failed == []


def test_the_same_seed_is_the_same_day(tmp_path: Path) -> None:
    """A failing seed can be replayed: its history repeats to the microsecond."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first, second = play(7, tmp_path / "a"), play(7, tmp_path / "b")
    assert first.history == second.history
    assert len(first.history) > 0
