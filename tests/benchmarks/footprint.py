"""Footprint: how soon the web process and the emulator are ready and what they take; how long a command takes."""

import time
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.stand import Stand, Usage


def measure(folder: Path, checkout: Path) -> Iterator[tuple[str, str]]:
    """Rows of name and value. A web process that has worked is in each line of ``whole``."""
    url = f"sqlite:///{folder}/repasse.db"
    with Stand(folder, checkout) as stand:
        stand.start_bank()
        began = time.perf_counter()
        web, _ = stand.start_web(url)
        yield "web process ready after, with a new database", f"{time.perf_counter() - began:.2f} s"
        yield "web process when ready", f"{Usage(web.pid).largest_mb():.0f} MB"
    with Stand(folder, checkout) as stand:
        stand.start_bank()
        began = time.perf_counter()
        stand.start_web(url)
        yield "web process ready after, with its database", f"{time.perf_counter() - began:.2f} s"
    with Stand(folder, checkout) as stand:
        began = time.perf_counter()
        emulator = stand.start_emulator()
        yield "emulator ready after", f"{time.perf_counter() - began:.2f} s"
        yield "emulator when ready", f"{Usage(emulator.pid).largest_mb():.0f} MB"
    seconds = []
    for _ in range(5):
        began = time.perf_counter()
        stand.statement(url)
        seconds.append(time.perf_counter() - began)
    yield "scripts/run_job statement", f"{min(seconds):.2f} s"
