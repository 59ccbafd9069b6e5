"""Measures on this machine, side by side in one run, and prints what it saw.

A number here is worth something beside another of the same run, not beside one of another machine. Without a part,
whole is measured, which takes some fifteen minutes.
"""

import argparse
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

from scripts.arguments import number
from tests.benchmarks import footprint, graph, growth, pages, soak, whole
from tests.benchmarks.stand import ROOT, CannotMeasure


def main() -> int:
    """Print line after line; 2 when something cannot be measured."""
    arguments = _parse()
    for name in [name for name in os.environ if name.startswith(_OURS)]:
        del os.environ[name]  # what is measured has settings of its own

    print(
        f"{_processor()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}\n",
        flush=True,
    )
    with tempfile.TemporaryDirectory(prefix="repasse-bench-") as folder:
        try:
            for line in _PARTS[arguments.part](Path(folder), arguments):
                _say("")
                print(line, flush=True)
        except CannotMeasure as error:
            _say("")
            print(f"bench: {arguments.part}: {error}", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            return 130
    return 0


def _parse() -> argparse.Namespace:
    parser = _Parser(prog="scripts/bench", description="What this machine does, side by side.")
    parser.add_argument("part", nargs="?", choices=_PARTS, default="whole", help="default: whole")
    parser.add_argument("--quick", action="store_true", help="a fifth of the time: to see that it runs")
    parser.add_argument(
        "--seconds", type=number(2, 3600), default=30.0, help="how long a rate is held (default 30)"
    )
    parser.add_argument("--rate", type=number(5, 100_000), help="only this many credits a second, no search")
    parser.add_argument("--workers", type=int, nargs="+", choices=(1, 2, 3, 4), default=[1, 2])
    parser.add_argument(
        "--database", nargs="+", choices=("sqlite", "postgresql"), default=["sqlite", "postgresql"]
    )
    parser.add_argument("--alone", action="store_true", help="only ours, nothing beside it")
    parser.add_argument(
        "--graph", type=Path, metavar="FILE", help="of whole: write FILE.svg and FILE-dark.svg"
    )
    parser.add_argument(
        "--credits",
        type=lambda text: int(number(1_000, 10_000_000)(text)),
        help="in the database: of growth (default 1,000,000) and pages (default 100,000)",
    )
    parser.add_argument("--minutes", type=number(0.1, 10_000), default=20.0, help="of soak (default 20)")
    parser.add_argument("--checkout", type=Path, default=ROOT, help="whose web process (default: this one)")
    arguments = parser.parse_args()
    arguments.checkout = arguments.checkout.resolve()
    if not (arguments.checkout / "webhooks" / "__main__.py").exists():
        parser.error(f"--checkout: {arguments.checkout} is not a checkout of repasse")
    if arguments.graph and not (
        arguments.graph.suffix == ".svg" and arguments.graph.resolve().parent.is_dir()
    ):
        parser.error(f"--graph: {arguments.graph} is not the name of an .svg file in a folder that exists")
    if arguments.quick:
        arguments.seconds = max(2.0, arguments.seconds / 5)
    return arguments


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"bench: {message}\n")  # one line, without the usage


def _whole(folder: Path, arguments: argparse.Namespace) -> Iterator[str]:
    yield "answered, accepted by the bank, settled: so many a second, and p50/p95/p99 from when the credit was due"
    with ExitStack() as stack:
        server = stack.enter_context(whole.postgresql()) if "postgresql" in arguments.database else None
        targets = []
        for database in arguments.database:
            for workers in arguments.workers:
                if database == "sqlite":
                    targets.append(whole.ours("SQLite", whole.in_sqlite, workers))
                elif server:
                    targets.append(whole.ours("PostgreSQL", server.url_for, workers, server.pid))
        if not arguments.alone:
            most = max(arguments.workers)
            targets += [whole.bare(most), whole.straightforward(most)]
        yield from _each(folder, arguments, targets)


def _ingest(folder: Path, arguments: argparse.Namespace) -> Iterator[str]:
    yield "received and stored; the bank answers no transfer call, so nothing is forwarded meanwhile"
    targets = [
        whole.ours("SQLite", whole.in_sqlite, workers, forwards=False) for workers in arguments.workers
    ]
    yield from _each(folder, arguments, targets)


def _each(folder: Path, arguments: argparse.Namespace, targets: list[whole.Target]) -> Iterator[str]:
    results, series = [], {}
    for target in targets:
        yield f"\n{target.name}"
        if arguments.rate:
            run = whole.run_at(folder, arguments.checkout, target, arguments.rate, arguments.seconds, _say)
            yield run.line
            continue
        runs = []
        for run in whole.highest(folder, arguments.checkout, target, arguments.seconds, _say):
            yield run.line
            runs.append(run)
        best = runs[-1]
        held = f"{best.rate:>8,.0f} /s held for {best.seen.seconds:.0f} s" if best.is_held else "none held"
        results.append(f"{target.name:<44}{held}")
        if target.forwards:
            # of a rate that was tried twice, the longer run, which came later
            series[target.name] = list({run.rate: run.seen.answered.p95 for run in runs}.items())
    yield "\n" + "\n".join(results)
    if arguments.graph and series:
        title = "Answer time (p95) while every credit is forwarded and settled"
        yield f"wrote {', '.join(map(str, graph.write(arguments.graph, title, series, whole.ANSWER_P95_MS)))}"


def _growth(folder: Path, arguments: argparse.Namespace) -> Iterator[str]:
    credits = arguments.credits or (100_000 if arguments.quick else 1_000_000)
    workers = max(arguments.workers)
    return growth.measure(folder, arguments.checkout, credits, workers, arguments.seconds, _say)


def _pages(folder: Path, arguments: argparse.Namespace) -> Iterator[str]:
    credits = arguments.credits or (10_000 if arguments.quick else 100_000)
    return pages.measure(folder, arguments.checkout, arguments.database, credits, _say)


def _footprint(folder: Path, arguments: argparse.Namespace) -> Iterator[str]:
    for name, value in footprint.measure(folder, arguments.checkout):
        yield f"{name:<44}{value:>10}"


def _soak(folder: Path, arguments: argparse.Namespace) -> Iterator[str]:
    target = whole.ours("SQLite", whole.in_sqlite, max(arguments.workers))
    rate = arguments.rate
    if not rate:
        yield "looking for the highest rate"
        *_, best = whole.highest(folder, arguments.checkout, target, arguments.seconds, _say)
        yield best.line
        rate = best.rate / 2
    yield f"{rate:,.0f} credits a second, {arguments.minutes:g} minutes, the bank on a bad day"
    yield from soak.run(folder, arguments.checkout, target, rate, arguments.minutes, _say)


_PARTS: dict[str, Callable[[Path, argparse.Namespace], Iterator[str]]] = {
    "whole": _whole,
    "ingest": _ingest,
    "growth": _growth,
    "pages": _pages,
    "footprint": _footprint,
    "soak": _soak,
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


def _say(text: str) -> None:
    """How far it is, on a terminal only; replaces what was said before."""
    if sys.stderr.isatty():
        columns = shutil.get_terminal_size().columns - 1
        print(f"\r{text[:columns]:<{columns}}\r", end="", file=sys.stderr, flush=True)


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
