"""Whole days with every fault at once: enough to notice. CI plays hundreds more by scripts/simulate."""

from datetime import timedelta
from pathlib import Path

import pytest

from tests.simulation.faults import Plan
from tests.simulation.world import play

# Each takes a second or two of one core; on PostgreSQL several times as long.
SEEDS = range(8)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_day_with_every_fault_ends_exact(seed: int, tmp_path: Path) -> None:
    """Whatever the seed breaks, every credit is forwarded once and every slot has its batch."""
    world = play(seed, tmp_path)
    assert world.counts["deliveries"] > 0


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.long) for seed in (0, 2, 3))])
def test_a_day_on_postgresql_ends_exact_too(seed: int, tmp_path: Path, postgresql_url: str) -> None:
    """On the other database, whose transactions really are undone where a process dies."""
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
    histories = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        world = play(7, tmp_path / name, slots=2, lasts=timedelta(hours=8))
        histories.append(world.history)
    assert histories[0] == histories[1]
    assert any(who == "bank" for _, who, _ in histories[0])
