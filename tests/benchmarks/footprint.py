"""Footprint: how soon the processes are ready, and how much memory and processor time they take for a day's load."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks.stand import ROOT, CannotMeasure, Stand

_CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
_DAY_EVENTS = 10_000


def measure(folder: Path) -> list[tuple[str, str]]:
    """Rows of name and value, as they are to be printed."""
    rows = []
    with Stand(folder) as stand:
        bank_port = stand.start_bank(0.0)
        began = time.perf_counter()
        web, port = stand.start_web(bank_port, f"sqlite:///{folder}/repasse.db")
        rows.append(("web process ready after", f"{time.perf_counter() - began:.2f} s"))
        stand.send(port, _DAY_EVENTS, 3)
        rows.append((f"web process after {_DAY_EVENTS:,} credits", f"{_resident_mb(web.pid):.0f} MB"))
    rows.append(("scripts/run_job statement", f"{_best_of(5, folder):.2f} s"))
    for module in ("webhooks.app", "worker.__main__", "scripts.run_job"):
        rows.append((f"import {module}", f"{_import_seconds(module):.2f} s"))
    rows += _day(folder)
    return rows


def _day(folder: Path) -> list[tuple[str, str]]:
    from tests.day import Day

    room = Path(tempfile.mkdtemp(dir=folder))
    day = Day(room, seed=1, seconds=30.0)
    try:
        day.start()
        day.wait_for_end()
        if wrong := day.settle():
            raise CannotMeasure(f"the emulated day did not end exact: {wrong}")
        rows = []
        for name in day.names:
            pid = day.running[name].process.pid
            rows.append((f"{name} over an emulated day, CPU", f"{_cpu_seconds(pid):.1f} s"))
            rows.append((f"{name} at its end", f"{_resident_mb(pid):.0f} MB"))
        return rows
    finally:
        day.close()


def _best_of(rounds: int, folder: Path) -> float:
    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        subprocess.run(
            [str(ROOT / "scripts" / "run_job"), "statement"],
            cwd=folder,
            env={**os.environ, "DATABASE_URL": f"sqlite:///{folder}/repasse.db"},
            stdout=subprocess.DEVNULL,
            check=True,
        )
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def _import_seconds(module: str) -> float:
    code = f"import time; b = time.perf_counter(); import {module}; print(time.perf_counter() - b)"
    return min(
        float(subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True)) for _ in range(3)
    )


def _resident_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise CannotMeasure("this system does not tell how much memory a process takes (/proc is missing)")


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _CLOCK_TICKS
