"""Soak: hours at half of the highest rate, with the bank on a bad day. What must stay flat does, and it ends exact."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.benchmarks.bank import Plan
from tests.benchmarks.stand import CannotMeasure, Stand, Usage
from tests.benchmarks.whole import Check, Target, seed_of

# At the end of the second minute all pools and caches are warm.
_WARM_MINUTES = 2
_MEMORY_GROWTH_MAX = 1.15
_FILES_GROWTH_MAX = 16


def run(
    folder: Path, checkout: Path, target: Target, rate: float, minutes: float, say: Callable[[str], None]
) -> Iterator[str]:
    """A line a minute, and the verdict. Raises CannotMeasure, saying what, when it does not hold."""
    with Stand(folder, checkout) as stand:
        stand.start_bank()
        web, port = target.start(stand)
        usage, check, began = Usage(web.pid), Check(stand, target), time.monotonic()
        empty = _database_bytes(folder)
        stand.begin(Plan(port, rate, minutes * 60, seed_of(folder), faults=True))
        memory: list[float] = []
        files: list[int] = []
        settled = 0
        while not (seen := stand.seen()).is_over:
            passed = time.monotonic() - began
            say(f"soak: {passed / 60:.1f} min, {seen.settled_count:,} settled of {seen.offered:,}")
            if passed >= 60 * (len(memory) + 1):
                memory.append(usage.largest_mb())
                files.append(usage.open_files())
                yield (
                    f"{len(memory):4} min  {seen.offered:>10,} credited  {(seen.settled_count - settled) / 60:>7,.0f} "
                    f"settled/s  answer p95 {seen.recent_p95:>4.0f} ms  {memory[-1]:>4.0f} MB  {files[-1]:>4} files"
                )
                settled = seen.settled_count
            time.sleep(0.5)
            if web.poll() is not None:
                raise CannotMeasure(f"the web process ended with status {web.returncode}")
        wrong = check.wrong(seen)
        bytes_a_credit = (_database_bytes(folder) - empty) / seen.offered
        yield (
            f"{seen.offered:,} credits, answers {seen.statuses}; answer {seen.answered.p50:.0f}/"
            f"{seen.answered.p95:.0f}/{seen.answered.p99:.0f} ms; {bytes_a_credit:,.0f} bytes of database a credit"
        )
    if len(memory) > _WARM_MINUTES + 1:
        warm, last = memory[_WARM_MINUTES - 1], memory[-1]
        yield f"memory {warm:.0f} MB warm, {last:.0f} MB at the end; files {files[_WARM_MINUTES - 1]}, {files[-1]}"
        if last > warm * _MEMORY_GROWTH_MAX:
            wrong = ", ".join(filter(None, [wrong, "memory grew"]))
        if files[-1] > files[_WARM_MINUTES - 1] + _FILES_GROWTH_MAX:
            wrong = ", ".join(filter(None, [wrong, "file descriptors grew"]))
    if wrong:
        raise CannotMeasure(f"it did not hold: {wrong}")
    yield "exact: none lost, none doubled"


def _database_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("repasse.db*"))
