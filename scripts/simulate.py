"""Simulated days: the real ledger, settlement, reconciliation and issuing against the emulator's books, on virtual
time, with every fault at once; or, with --processes, real processes that are killed with SIGKILL.

One seed is one day and always the same day. Exit status: 0 when every day came out exact, 1 when one did not
(its seed and history are printed), 2 for wrong arguments.
"""

import argparse
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path

import pytest

from scripts.arguments import positive, whole
from tests.postgresql import Databases, any_server
from tests.running import forget_proxies
from tests.simulation.world import Broken, World, play


def main() -> int:
    """Play seeds, or kill processes; see the module."""
    arguments = _parse()
    forget_proxies()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that whatever was started is stopped
    try:
        with any_server() if arguments.postgresql else nullcontext() as databases:
            return _play(arguments, databases)
    except pytest.skip.Exception as error:
        print(f"simulate: --postgresql: {error}", file=sys.stderr)
        return 2


def _play(arguments: argparse.Namespace, databases: Databases | None) -> int:
    if arguments.processes:
        from tests.simulation.kills import run_kills

        return run_kills(arguments.kills, arguments.start, databases)
    if arguments.seed is not None:
        return _replay(arguments.seed, databases)
    seeds = range(arguments.start, arguments.start + arguments.seeds)
    return _play_all(seeds, arguments.jobs, databases.address if databases else None)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/simulate", description="Whole days with every fault, checked to the centavo."
    )
    parser.add_argument("--seeds", type=positive, default=100, help="how many days (default 100)")
    parser.add_argument("--from", dest="start", type=whole, default=0, help="the first seed (default 0)")
    parser.add_argument("--seed", type=whole, help="play this one day, and print its history")
    parser.add_argument(
        "--jobs", type=positive, default=os.cpu_count() or 1, help="how many at once (default: every core)"
    )
    parser.add_argument("--processes", action="store_true", help="real processes instead, killed at random")
    parser.add_argument(
        "--kills", type=positive, default=20, help="with --processes: how many kills (default 20)"
    )
    parser.add_argument(
        "--postgresql",
        action="store_true",
        help="on PostgreSQL: the server that TEST_DATABASE_URL names, or one of our own; else on SQLite",
    )
    return parser.parse_args()


def _play_all(seeds: range, jobs: int, server: str | None) -> int:
    began = time.monotonic()
    counts: Counter[str] = Counter()
    broken: list[str] = []
    days = 0
    try:
        with multiprocessing.get_context("spawn").Pool(jobs, _leave_signals_to_parent) as pool:
            for happened, failure in pool.imap_unordered(partial(_play_one, server), seeds):
                days += 1
                counts.update(happened)
                if failure is not None:
                    broken.append(failure)
                    print(f"\nBROKEN {failure}", flush=True)
                if days % 50 == 0 or days == len(seeds):
                    speed = days / (time.monotonic() - began)
                    print(f"{days}/{len(seeds)} days, {speed:.1f} a second, {len(broken)} broken", flush=True)
    except KeyboardInterrupt:
        print(f"\ninterrupted after {days} of {len(seeds)} days")
    print(f"\n{'days':<28}{days:>10,}")
    for name, count in sorted(counts.items()):
        print(f"{name:<28}{count:>10,}")
    print(f"{'days lost or doubled money':<28}{len(broken):>10,}")
    if broken:
        print("\nreplay one with: scripts/simulate --seed N")
    return 1 if broken else 0


def _leave_signals_to_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _play_one(server: str | None, seed: int) -> tuple[Counter[str], str | None]:
    with _books(Databases(server) if server else None) as (folder, database_url):
        try:
            world = play(seed, folder, database_url=database_url)
        except Broken as error:
            return Counter(), str(error)
        return _public(world.counts), None


def _replay(seed: int, databases: Databases | None) -> int:
    with _books(databases) as (folder, database_url):
        world: list[World] = []
        try:
            play(seed, folder, keep=world, database_url=database_url)
        except Broken as error:
            _print_history(world[0])
            print(f"\nBROKEN {error}")
            return 1
        _print_history(world[0])
        print(f"\nseed {seed}: exact; {dict(_public(world[0].counts))}")
        return 0


@contextmanager
def _books(databases: Databases | None) -> Iterator[tuple[Path, str | None]]:
    """A folder of a day's own, and the address of its database when that is not in the folder."""
    with tempfile.TemporaryDirectory(dir=_fast_folder()) as folder:
        if databases is None:
            yield Path(folder), None
            return
        address = databases.create(migrated=False)
        try:
            yield Path(folder), address
        finally:
            databases.drop(address)


def _print_history(world: World) -> None:
    for moment, who, what in world.history:
        print(f"{moment:%d %H:%M:%S.%f}  {who:<10} {what}")


def _public(counts: Counter[str]) -> Counter[str]:
    return Counter({name: count for name, count in counts.items() if not name.startswith("_")})


def _fast_folder() -> str | None:
    # memory, where there is such a folder: a simulated crash is of a process, not of the machine
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108


if __name__ == "__main__":
    sys.exit(main())
