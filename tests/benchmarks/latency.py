"""From an event's arrival to the bank's acceptance of its transfer, while events come in at a steady rate."""

import json
import time
import urllib.request
from pathlib import Path
from random import Random

from tests.benchmarks.stand import CannotMeasure, Stand

RATE = 100.0


def measure(folder: Path, seconds: float) -> tuple[float, float]:
    """Median and 99th percentile in milliseconds. The bank answers at once; both ends read the same clock."""
    count = int(RATE * seconds)
    with Stand(folder) as stand:
        bank_port = stand.start_bank(0.0)
        _, port = stand.start_web(bank_port, f"sqlite:///{folder}/repasse.db")
        stand.send(port, 100, 1000, connections=4)
        seen = stand.send(port, count, 5, connections=16, rate=RATE, tell_moments=True)
        accepted = _accepted(bank_port, count + 100)
    waits = sorted(
        (accepted[f"credit-{invoice_id}"] - sent_at) * 1000
        for invoice_id, sent_at in zip(_invoice_ids(count, 5), seen.sent_at, strict=True)
    )
    return waits[len(waits) // 2], waits[int(len(waits) * 0.99)]


def _invoice_ids(count: int, seed: int) -> list[str]:
    # as events.bodies draws them: event, log, invoice
    random = Random(seed)
    drawn = [str(random.randrange(4 * 10**15, 7 * 10**15)) for _ in range(3 * count)]
    return drawn[2::3]


def _accepted(bank_port: int, count: int) -> dict[str, float]:
    accepted: dict[str, float] = {}
    for _ in range(100):
        with urllib.request.urlopen(f"http://127.0.0.1:{bank_port}/seen", timeout=10) as answer:
            accepted = json.load(answer)["accepted"]
        if len(accepted) >= count:
            return accepted
        time.sleep(0.1)
    raise CannotMeasure(f"{len(accepted)} of {count} transfers reached the bank")
