"""Ingest: signed events a second through ``python -m webhooks``, beside the limit of the stack and the SDK's way."""

import sqlite3
import statistics
from pathlib import Path

from scripts.benchmarks.load import Seen
from scripts.benchmarks.stand import CannotMeasure, Stand, end

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
    with sqlite3.connect(stand.folder / "repasse.db") as books:
        stored = books.execute("SELECT count(*) FROM transfers").fetchone()[0]
    if stored != count + 200:
        raise CannotMeasure(f"{count + 200} events were answered 200 and {stored} transfers are stored")
    return seen


def _forged(stand: Stand, count: int, seed: int) -> Seen:
    _, port = stand.start_web(stand.start_bank(-1), f"sqlite:///{stand.folder}/repasse.db")
    return _all_answered(stand.send(port, count, seed, forged=True), "401")


def _all_answered(seen: Seen, status: str) -> Seen:
    if set(seen.statuses) != {status}:
        raise CannotMeasure(f"answers by status were {seen.statuses}, and all should be {status}")
    return seen


def ratio(rates: dict[str, list[float]], row: str, of: str) -> float:
    """The median of the rounds' ratios."""
    return statistics.median(one / other for one, other in zip(rates[row], rates[of], strict=True))
