"""The whole job: credits received, forwarded and settled, at an offered rate, through real processes.

One run is one rate on a new database, and every credit of it is checked: on the bank's books and in our statement. The
highest rate held is looked for by steps, and then held for the full time.
"""

import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import psycopg
import pytest

from tests.benchmarks.bank import Plan, Seen, Times
from tests.benchmarks.stand import CannotMeasure, Stand, Usage, machine_cpu_seconds

ANSWER_P95_MS = 50.0

# A credit takes 0.25 s of the bank's own time; what is behind more than this at the end of a run is falling behind.
BEHIND_SECONDS = 1.0

# Steps stop when the rate that is held and the one that is not are so close.
CLOSE = 1.08

# So much of the full time is a step of the search.
STEP_SHARE = 1 / 3


@dataclass(frozen=True)
class Target:
    """What is measured: ``start`` starts it on a stand and returns its process and port."""

    name: str
    start: Callable[[Stand], tuple[subprocess.Popen[str], int]]
    first_rate: float
    database_url: Callable[[Path], str] | None = (
        None  # ours, by the stand's folder: its statement is checked too
    )
    forwards: bool = True
    server_pid: int | None = None  # PostgreSQL's


@dataclass(frozen=True)
class Run:
    """What was seen at one rate, with memory in MB, cores in use, and what was wrong, if anything."""

    rate: float
    seen: Seen
    memory_mb: float
    web_cores: float
    bank_cores: float
    database_cores: float
    other_cores: float
    wrong: str

    @property
    def is_held(self) -> bool:
        """Whether the rate was held."""
        seen = self.seen
        return (
            seen.offered == seen.planned
            and set(seen.statuses) == {"200"}
            and seen.answered.p95 < ANSWER_P95_MS
            and seen.behind_seconds < BEHIND_SECONDS
            and not self.wrong
        )

    @property
    def line(self) -> str:
        """All of it in one line."""
        seen = self.seen
        parts = [f"{self.rate:6,.0f}/s offered for {seen.seconds:3.0f} s: answered {_times(seen.answered)}"]
        if seen.accepted.a_second:
            parts += [f"accepted {_times(seen.accepted)}", f"settled {_times(seen.settled)}"]
            parts += [f"events p95 {seen.reports_p95:.0f} ms"]
        cores = f"cores: web {self.web_cores:.2f}, bank {self.bank_cores:.2f}"
        if self.database_cores:
            cores += f", database {self.database_cores:.2f}"
        parts += [f"{self.memory_mb:.0f} MB", f"{cores}, others {self.other_cores:.2f}"]
        parts += [self.wrong or ("exact, held" if self.is_held else "exact, not held")]
        return "; ".join(parts)


def in_sqlite(folder: Path) -> str:
    """A new SQLite file."""
    return f"sqlite:///{folder}/repasse.db"


def ours(
    name: str,
    database_url: Callable[[Path], str],
    workers: int,
    server_pid: int | None = None,
    forwards: bool = True,
) -> Target:
    """``python -m webhooks`` of a checkout."""
    return Target(
        f"{name}, {workers} web process{'es' * (workers > 1)}",
        lambda stand: stand.start_web(database_url(stand.folder), workers),
        450.0 if forwards else 3_000.0,
        database_url,
        forwards,
        server_pid,
    )


def bare(workers: int) -> Target:
    """The limit of the stack; it forwards nothing, so its rate is of deliveries."""
    name = f"bare Starlette handler, {workers} process{'es' * (workers > 1)}"
    return Target(name, lambda stand: stand.start_yardstick("create_bare", workers), 5_000.0, forwards=False)


def straightforward(workers: int) -> Target:
    """The straightforward way."""
    name = f"straightforward way, {workers} process{'es' * (workers > 1)}"
    return Target(name, lambda stand: stand.start_yardstick("create_straightforward", workers), 40.0)


def run_at(
    folder: Path, checkout: Path, target: Target, rate: float, seconds: float, say: Callable[[str], None]
) -> Run:
    """One run. ``say`` hears how far it is."""
    room = Path(tempfile.mkdtemp(dir=folder))
    with Stand(room, checkout) as stand:
        bank = stand.start_bank()
        web, port = target.start(stand)
        check = Check(stand, target)
        used = [Usage(web.pid), Usage(bank.pid), *([Usage(target.server_pid)] if target.server_pid else [])]
        machine, began = machine_cpu_seconds(), time.monotonic()
        stand.begin(Plan(port, rate, seconds, seed_of(room), 0.05 if target.forwards else None))
        while not (seen := stand.seen()).is_over:
            say(f"{target.name}: {rate:,.0f}/s: {seen.settled_count:,} settled of {seen.offered:,} offered")
            time.sleep(0.5)
            if web.poll() is not None:
                raise CannotMeasure(f"{target.name}: the web process ended with status {web.returncode}")
        lasted = time.monotonic() - began
        cores = [usage.cpu_seconds() / lasted for usage in used]
        others = (machine_cpu_seconds() - machine) / lasted - sum(cores)
        memory_mb = used[0].largest_mb()
        wrong = check.wrong(seen)
    database_cores = cores[2] if target.server_pid else 0.0
    return Run(rate, seen, memory_mb, cores[0], cores[1], database_cores, max(others, 0.0), wrong)


def seed_of(room: Path) -> int:
    """Another for each run, since ids must not come twice in one database."""
    return int.from_bytes(room.name.encode()[-6:], "big")


def highest(
    folder: Path, checkout: Path, target: Target, seconds: float, say: Callable[[str], None]
) -> Iterator[Run]:
    """Each step on the way to the highest rate held; the last that is held for ``seconds`` is it."""
    held, missed, rate = 0.0, float("inf"), target.first_rate
    step_seconds = max(4.0, seconds * STEP_SHARE)
    while missed / max(held, 1.0) > CLOSE and rate >= 5:
        run = run_at(folder, checkout, target, rate, step_seconds, say)
        yield run
        if run.is_held:
            held = rate
            rate = _round(rate * 1.5 if missed == float("inf") else (held * missed) ** 0.5)
        else:
            missed = rate
            rate = _round((held * missed) ** 0.5 if held else rate / 1.5)
        if rate in (held, missed):
            break
    rate = held
    while rate >= 5:
        run = run_at(folder, checkout, target, rate, seconds, say)
        yield run
        if run.is_held:
            return
        rate = _round(rate * 0.93)


def _round(rate: float) -> float:
    unit = 50 if rate > 500 else 5
    return float(round(rate / unit) * unit)


class Check:
    """Compares every credit on the bank's books with what our statement says more than before the run."""

    def __init__(self, stand: Stand, target: Target) -> None:
        self._stand = stand
        self._url = target.database_url(stand.folder) if target.database_url and target.forwards else None
        self._before = self._statement()

    def wrong(self, seen: Seen) -> str:
        """What is wrong, or nothing."""
        counts = {
            "lost": seen.lost,
            "paid twice": seen.doubled,
            "of a wrong amount": seen.wrong,
            "external ids repeated": seen.repeated,
            "forged events believed": seen.believed,
        }
        wrong = [f"{count} {name}" for name, count in counts.items() if count]
        if self._url:
            after, before = self._statement(), self._before
            count = after.credits.count - before.credits.count
            settled = after.transfers.settled - before.transfers.settled
            net = after.credits.net_centavos - before.credits.net_centavos
            settled_net = after.settled_centavos - before.settled_centavos
            if (count, settled, net, settled_net) != (
                seen.offered,
                seen.offered,
                seen.net_centavos,
                seen.net_centavos,
            ):
                wrong.append(
                    f"the statement has {count} credits ({net} centavos) and {settled} settled ({settled_net}), "
                    f"of {seen.offered} ({seen.net_centavos})"
                )
            if before.balanced and not after.balanced:
                wrong.append("the statement is not balanced")
        return ", ".join(wrong)

    def _statement(self) -> "_Statement":
        return msgspec.convert(self._stand.statement(self._url), _Statement) if self._url else _Statement()


class _Credits(msgspec.Struct):
    count: int = 0
    net_centavos: int = 0


class _Transfers(msgspec.Struct):
    settled: int = 0


class _Statement(msgspec.Struct):
    balanced: bool = True
    credits: _Credits = msgspec.field(default_factory=_Credits)
    transfers: _Transfers = msgspec.field(default_factory=_Transfers)
    settled_centavos: int = 0


def _times(times: Times) -> str:
    return f"{times.a_second:,.0f}/s {times.p50:.0f}/{times.p95:.0f}/{times.p99:.0f} ms"


class Postgres:
    """A PostgreSQL that writes to the disk as in production, with a new database for each folder."""

    def __init__(self, address: str) -> None:
        from tests.postgresql import Databases

        self._databases = Databases(address)
        self._by_folder: dict[Path, str] = {}
        with psycopg.connect(address.replace("+psycopg", "")) as connection:
            found = connection.execute("SELECT pg_backend_pid()").fetchone()
            assert found is not None
            self.pid = int(Path(f"/proc/{found[0]}/stat").read_text().rpartition(")")[2].split()[1])

    def url_for(self, folder: Path) -> str:
        """The address of that folder's database; the one before it is dropped."""
        if folder not in self._by_folder:
            for url in self._by_folder.values():
                self._databases.drop(url)
            self._by_folder = {folder: self._databases.create(migrated=False)}
        return self._by_folder[folder]


@contextmanager
def postgresql() -> Iterator[Postgres]:
    """Start one. Raises CannotMeasure where its binaries are missing."""
    from tests.postgresql import Server

    try:
        server = Server(on_disk=True, fsync="on", full_page_writes="on", shared_buffers="256MB")
    except pytest.skip.Exception as skipped:
        raise CannotMeasure(str(skipped)) from None
    try:
        yield Postgres(server.url())
    finally:
        server.close()
