"""Measures on this machine, side by side in one run, medians of several rounds, and prints one table.

A number here is worth something beside another of the same run, not beside one of another machine. Parts can be
named; without any, all are measured, which takes some ten minutes.
"""

import argparse
import os
import platform
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
Row = tuple[str, str, str]  # what, how much, beside what


def main() -> int:
    """Print the table; 2 when something cannot be measured."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description="What this machine does, side by side."
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(_PARTS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="a tenth of the work: to see that it runs")
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - set(_PARTS):
        parser.error(f"there is no part {sorted(unknown)[0]!r}; there are {', '.join(_PARTS)}")
    for name in [name for name in os.environ if name.startswith(_OURS)]:
        del os.environ[name]  # what is measured has settings of its own

    from tests.benchmarks.stand import CannotMeasure

    print(
        f"{_processor()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}\n",
        flush=True,
    )
    for part in arguments.parts or _PARTS:
        print(f"{part} ...", end="\r", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(prefix="repasse-bench-") as folder:
            try:
                rows = _PARTS[part](Path(folder), 0.1 if arguments.quick else 1.0)
            except CannotMeasure as error:
                print(f"bench: {part}: {error}", file=sys.stderr)
                return 2
        for what, value, beside in rows:
            print(f"{part:<11}{what:<46}{value:>16}   {beside}", flush=True)
    return 0


def _ingest(folder: Path, share: float) -> list[Row]:
    from tests.benchmarks import ingest

    rates = ingest.measure(folder, int(20_000 * share))
    middle = {name: sorted(each)[len(each) // 2] for name, each in rates.items()}
    told = {
        "plain": "(a) Starlette reads the body and answers",
        "ours": "verified, deduplicated, stored, then answered",
        "forged": "forged events refused",
        "sdk": "(b) the SDK's event.parse, nothing stored",
    }
    return [
        (
            told[name],
            f"{middle[name]:,.0f} /s",
            "1"
            if name == "plain"
            else f"{ingest.ratio(rates, name, 'plain'):.2f} of (a)"
            + (f", {ingest.ratio(rates, 'ours', 'sdk'):.1f} times (b)" if name == "ours" else ""),
        )
        for name in ("plain", "ours", "forged", "sdk")
    ]


def _sustained(folder: Path, share: float) -> list[Row]:
    from tests.benchmarks import ingest

    seconds = 60.0 * share
    rows = []
    for rate in (2_000.0, 4_000.0, 5_000.0):
        room = folder / f"{rate:g}"
        room.mkdir()
        seen = ingest.sustain(room, seconds, rate)
        reached = sum(seen.statuses.values()) / seen.seconds
        rows.append(
            (
                f"two processes, {rate:,.0f} /s offered for {seconds:g} s",
                f"{reached:,.0f} /s",
                f"p50 {seen.p50_ms:.0f} ms, p95 {seen.p95_ms:.0f} ms, none lost",
            )
        )
    return rows


def _postgresql(folder: Path, share: float) -> list[Row]:
    from tests.benchmarks import ingest

    rates = ingest.on_postgresql(folder, int(20_000 * share), (1, 2, 4))
    alone = rates[1]
    return [
        (f"{workers} web process{'es' * (workers > 1)}", f"{rate:,.0f} /s", f"{rate / alone:.2f} times one")
        for workers, rate in rates.items()
    ]


def _latency(folder: Path, share: float) -> list[Row]:
    from tests.benchmarks import latency

    median, worst = latency.measure(folder, 20 * share)
    what = f"event to acceptance, at {latency.RATE:.0f} /s"
    return [(f"{what}, median", f"{median:.1f} ms", ""), (f"{what}, 99th of 100", f"{worst:.1f} ms", "")]


def _draining(folder: Path, share: float) -> list[Row]:
    from tests.benchmarks import draining

    credits = int(10_000 * share)
    rates = []
    for number in range(3):
        room = folder / str(number)
        room.mkdir()
        rates.append(draining.measure(room, credits))
    rate = sorted(rates)[1]
    return [
        (
            f"{credits:,} credits, a bank that takes {draining.BANK_SECONDS * 1000:.0f} ms",
            f"{rate:,.0f} /s",
            "",
        )
    ]


def _growth(folder: Path, share: float) -> list[Row]:
    from tests.benchmarks import growth

    few, many = 1_000, int(1_000_000 * share)
    return [
        (
            name,
            f"{costs[many]:.2f} ms",
            f"{costs[many] / costs[few]:.2f} times that of {few:,} ({costs[few]:.2f} ms)",
        )
        for name, costs in growth.measure(folder, (few, many)).items()
    ]


def _footprint(folder: Path, _: float) -> list[Row]:
    from tests.benchmarks import footprint

    return [(name, value, "") for name, value in footprint.measure(folder)]


def _emulator(folder: Path, share: float) -> list[Row]:
    from tests.benchmarks import emulator

    costs = emulator.measure(folder, int(1000 * share))
    alone = next(iter(costs.values()))
    return [
        (f"{name}, one client", f"{1 / seconds:,.0f} /s", f"{seconds / alone:.1f} signature checks")
        for name, seconds in costs.items()
    ]


_PARTS: dict[str, Callable[[Path, float], list[Row]]] = {
    "ingest": _ingest,
    "sustained": _sustained,
    "postgresql": _postgresql,
    "latency": _latency,
    "draining": _draining,
    "growth": _growth,
    "footprint": _footprint,
    "emulator": _emulator,
}

_OURS = (
    "STARKBANK_",
    "DATABASE_URL",
    "DESTINATION_",
    "TRANSFER_",
    "RETRY_",
    "LOG_",
    "INVOICE",
    "WEB_WORKERS",
)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "an unknown processor"
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "a processor"
    )


if __name__ == "__main__":
    sys.exit(main())
