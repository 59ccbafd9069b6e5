"""Ingest: signed events a second through ``python -m webhooks``, beside the limit of the stack and the SDK's way."""

import sqlite3
import statistics
from pathlib import Path

from tests.benchmarks.load import Seen
from tests.benchmarks.stand import CannotMeasure, Stand, end

ROUNDS = 3


def measure(folder: Path, count: int) -> dict[str, list[float]]:
    """Events a second by row, one entry a round; rows take turns, so that a noisy minute strikes all."""
    rates: dict[str, list[float]] = {}
    for number in range(ROUNDS):
        for name, run in (("plain", _plain), ("ours", _ours), ("forged", _forged), ("sdk", _sdk)):
            room = folder / f"{name}-{number}"
            room.mkdir()
            with Stand(room) as stand:
                seen = run(stand, count if name != "sdk" else max(200, count // 20), number)
            rates.setdefault(name, []).append(sum(seen.statuses.values()) / seen.seconds)
    return rates


def sustain(folder: Path, seconds: float, rate: float, url: str | None = None, workers: int = 2) -> Seen:
    """Offer ``rate`` events a second for so long to ``workers`` processes; every one is stored, or CannotMeasure."""
    count = int(rate * seconds)
    with Stand(folder) as stand:
        web, port = stand.start_web(stand.start_bank(-1), url or f"sqlite:///{folder}/repasse.db", workers)
        stand.send(port, 400, 1001)
        seen = _all_answered(stand.send(port, count, 1, rate=rate), "200")
        end(web)
    if url is None:
        _all_stored(folder / "repasse.db", count + 400)
    return seen


def on_postgresql(folder: Path, count: int, processes: tuple[int, ...]) -> dict[int, float]:
    """Events a second by number of web processes, medians; PostgreSQL runs beside them and writes to the disk."""
    from tests.postgresql import Databases, Server

    server = Server(on_disk=True, fsync="on", full_page_writes="on", shared_buffers="256MB")
    try:
        databases = Databases(server.url())
        rates: dict[int, list[float]] = {}
        for number in range(ROUNDS):
            for workers in processes:
                address = databases.create()
                room = folder / f"postgresql-{workers}-{number}"
                room.mkdir()
                with Stand(room) as stand:
                    web, port = stand.start_web(stand.start_bank(-1), address, workers)
                    stand.send(port, 400, number + 1000)
                    seen = _all_answered(stand.send(port, count, number), "200")
                    end(web)
                rates.setdefault(workers, []).append(count / seen.seconds)
                databases.drop(address)
        databases.close()
    finally:
        server.close()
    return {workers: statistics.median(each) for workers, each in rates.items()}


def _plain(stand: Stand, count: int, seed: int) -> Seen:
    _, port = stand.start_yardstick("create_plain")
    stand.send(port, 200, seed + 1000)
    return _all_answered(stand.send(port, count, seed), "200")


def _sdk(stand: Stand, count: int, seed: int) -> Seen:
    _, port = stand.start_yardstick("create_sdk")
    return _all_answered(stand.send(port, count, seed), "200")


def _ours(stand: Stand, count: int, seed: int) -> Seen:
    web, port = stand.start_web(stand.start_bank(-1), f"sqlite:///{stand.folder}/repasse.db")
    stand.send(port, 200, seed + 1000)
    seen = _all_answered(stand.send(port, count, seed), "200")
    end(web)
    _all_stored(stand.folder / "repasse.db", count + 200)
    return seen


def _forged(stand: Stand, count: int, seed: int) -> Seen:
    _, port = stand.start_web(stand.start_bank(-1), f"sqlite:///{stand.folder}/repasse.db")
    return _all_answered(stand.send(port, count, seed, forged=True), "401")


def _all_answered(seen: Seen, status: str) -> Seen:
    if set(seen.statuses) != {status}:
        raise CannotMeasure(f"answers by status were {seen.statuses}, and all should be {status}")
    return seen


def _all_stored(path: Path, count: int) -> None:
    with sqlite3.connect(path) as books:
        stored = books.execute("SELECT count(*) FROM transfers").fetchone()[0]
    if stored != count:
        raise CannotMeasure(f"{count} events were answered 200 and {stored} transfers are stored")


def ratio(rates: dict[str, list[float]], row: str, of: str) -> float:
    """The median of the rounds' ratios."""
    return statistics.median(one / other for one, other in zip(rates[row], rates[of], strict=True))
