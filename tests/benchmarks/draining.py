"""Draining: many waiting credits and a bank that takes its time, all forwarded by one web process."""

import json
import sqlite3
import time
import urllib.request
from datetime import UTC, datetime
from pathlib import Path

from payments.event import read_event
from payments.ledger import inbox
from payments.settings import load_settings
from payments.storage.database import open_database
from payments.storage.migrate import migrate
from tests.benchmarks.events import bodies
from tests.benchmarks.stand import CannotMeasure, Stand

BANK_SECONDS = 0.05
_PATIENCE_SECONDS = 300.0


def measure(folder: Path, credits: int) -> float:
    """Transfers a second, from the start of the web process's first call to the last acceptance."""
    url = f"sqlite:///{folder}/repasse.db"
    fill(url, credits)
    with Stand(folder) as stand:
        bank_port = stand.start_bank(BANK_SECONDS)
        stand.start_web(bank_port, url)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        with sqlite3.connect(folder / "repasse.db") as books:
            while (
                books.execute("SELECT count(*) FROM transfers WHERE state = 'sent'").fetchone()[0] < credits
            ):
                if time.monotonic() > deadline:
                    raise CannotMeasure(f"{credits} credits were not drained in {_PATIENCE_SECONDS:g} s")
                time.sleep(0.05)
        seen = json.load(urllib.request.urlopen(f"http://127.0.0.1:{bank_port}/seen", timeout=10))
    if len(seen["accepted"]) != credits or seen["repeated"]:
        raise CannotMeasure(f"{len(seen['accepted'])} of {credits} accepted, {seen['repeated']} repeated")
    moments = sorted(seen["accepted"].values())
    seconds: float = moments[-1] - moments[0] + BANK_SECONDS
    return credits / seconds


def fill(url: str, credits: int) -> None:
    """Put so many waiting credits on the books, by the ledger's own functions."""
    database = open_database(url)
    migrate(database)
    policy = load_settings(needs_bank=False).forwarding_policy
    arrivals = [inbox.Arrival(read_event(body), "a signature") for body in bodies(credits, 7)]
    for start in range(0, credits, 200):
        inbox.accept(database, arrivals[start : start + 200], "webhook", policy, datetime.now(UTC))
    database.close()
