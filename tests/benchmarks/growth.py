"""Growth: what the whole job, the statement and the operator's pages cost in a large database. SQLite."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from payments.storage.database import open_database
from payments.storage.migrate import migrate
from tests.benchmarks import history, pages, whole
from tests.benchmarks.stand import Stand

FEW = 1_000
_PAGES = ("/metrics", "/console", "/console/credits", "/console/transfers")
_ROUNDS = 5


def measure(
    folder: Path, checkout: Path, credits: int, workers: int, seconds: float, say: Callable[[str], None]
) -> Iterator[str]:
    """The pages and the highest rate held, with a thousand credits in the database and with so many."""
    for count in (FEW, credits):
        path = folder / f"{count}.db"
        say(f"growth: making {count:,} credits")
        database = open_database(f"sqlite:///{path}")
        migrate(database)
        history.fill(database, count, datetime.now(UTC), unsettled=0)
        database.close()
        yield f"\n{count:,} credits in the database, {path.stat().st_size / 1e9:.1f} GB"
        room = folder / f"pages-{count}"
        room.mkdir()
        with Stand(room, checkout) as stand:
            for page, milliseconds in _pages(stand, f"sqlite:///{path}"):
                yield f"{page:<42}{milliseconds:>8,.0f} ms"
        target = whole.ours(f"{count:,} credits", lambda _, path=path: f"sqlite:///{path}", workers)  # type: ignore[misc]
        for run in whole.highest(folder, checkout, target, seconds, say):
            yield run.line


def _pages(stand: Stand, database_url: str) -> Iterator[tuple[str, float]]:
    """Milliseconds of each page, and of ``run_job statement`` as a command; the best of some rounds."""
    stand.start_bank()
    _, port = stand.start_web(database_url)
    for page in _PAGES:
        yield page, pages.time_page(port, page)[0]
    yield "run_job statement", _best(lambda: stand.statement(database_url))


def _best(act: Callable[[], object]) -> float:
    times = []
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        act()
        times.append(time.perf_counter() - began)
    return min(times) * 1000
