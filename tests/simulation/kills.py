"""Real processes under load, killed with SIGKILL at random moments, while the bank loses answers and repeats events.

A round is one day in accelerated time. When it is over the kills and faults stop, everything that was killed has been
started again, and the bank's own statement must come out exact with nobody's help.
"""

import random
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.day import Day
from tests.postgresql import Databases

WINDOW_SECONDS = 16.0

# More, and the day is over before anybody has lived long enough to do anything.
KILLS_PER_ROUND = 25

FAULTS: tuple[dict[str, Any], ...] = (
    {"name": "drop_answer", "route": "POST transfer", "rate": 0.2},
    {"name": "drop_answer", "route": "POST invoice", "rate": 0.2},
    {"name": "cut_body", "route": "POST transfer", "rate": 0.1},
    {"name": "error_503", "route": "GET transfer", "rate": 0.2},
    {"name": "empty_page", "route": "GET transfer", "rate": 0.1},
    {"name": "hang", "route": "POST transfer", "rate": 0.05, "seconds": 3},
    {"name": "throttle_429", "route": "*", "rate": 0.03},
    {"name": "duplicate_delivery", "route": "*", "rate": 0.3, "count": 2},
    {"name": "reorder", "route": "*", "rate": 0.3, "seconds": 900},
)


def run_kills(kills: int, seed: int = 0, databases: Databases | None = None) -> int:
    """Play rounds until so many processes were killed; print each. 0 when every round came out exact, else 1.

    With ``databases``: on PostgreSQL, three web processes and two workers.
    """
    counts: Counter[str] = Counter()
    failed = 0
    while counts["kills"] < kills:
        more = min(KILLS_PER_ROUND, kills - counts["kills"])
        if databases is None:
            happened, wrong = play_round(seed, more)
        else:
            address = databases.create()
            happened, wrong = play_round(seed, more, webs=3, workers=2, database_url=address)
            databases.drop(address)
        counts.update(happened)
        failed += bool(wrong)
        print(
            f"round {seed}: {happened['kills']} kills, {happened['credits']} credits, {wrong or 'exact'}",
            flush=True,
        )
        seed += 1
        counts["rounds"] += 1
    print(f"\n{'rounds':<28}{counts.pop('rounds'):>10,}")
    for name, count in sorted(counts.items()):
        print(f"{name:<28}{count:>10,}")
    print(f"{'rounds not exact':<28}{failed:>10,}")
    return 1 if failed else 0


def play_round(
    seed: int,
    most_kills: int,
    webs: int | None = None,
    workers: int | None = None,
    kill_seconds: float = WINDOW_SECONDS,
    **places: Any,
) -> tuple[Counter[str], str | None]:
    """One day with kills; what happened, and what was wrong at its end (None: exact).

    Kills end after ``kill_seconds``, or when there were ``most_kills``. Unless said otherwise, odd seeds run two web
    processes and two workers on the same books. ``places``: see Day.
    """
    counts: Counter[str] = Counter()
    webs = webs or (2 if seed % 2 else 1)
    workers = workers or webs
    with tempfile.TemporaryDirectory() as folder:
        day = Day(Path(folder), seed, WINDOW_SECONDS, webs, workers, switches=("--paid-share", "1"), **places)
        try:
            for fault in FAULTS:
                day.bank.ask("POST", "faults", **fault)
            day.start()
            _kill_for(kill_seconds, day, most_kills, random.Random(seed), counts)
            day.bank.clear_faults()
            day.wait_for_end()
            wrong = day.settle()
            statement = day.statement()
            counts["credits"] = statement.credits if statement else 0
        finally:
            day.close()
    return counts, wrong


def _kill_for(seconds: float, day: Day, most_kills: int, chance: random.Random, counts: Counter[str]) -> None:
    ends_at = time.monotonic() + seconds
    while time.monotonic() < ends_at and counts["kills"] < most_kills:
        if chance.random() < 0.8:
            # Most die in the middle of their work, however long they took to start on this machine ...
            for running in day.running.values():
                running.wait_for(".started")
        # ... and some while they start.
        time.sleep(2.0 * chance.random() ** 2)
        for name in chance.sample(day.names, chance.choice((1, 1, 1, len(day.names)))):
            day.kill(name)
            counts["kills"] += 1
            counts[f"kills of a {name.partition('-')[0]}"] += 1
            day.start(name)
