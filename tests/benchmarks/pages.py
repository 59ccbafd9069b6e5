"""Every page of the console over HTTP, with a year of history on SQLite and on PostgreSQL."""

import re
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest

from payments.storage.database import open_database
from payments.storage.migrate import migrate
from tests.benchmarks import history
from tests.benchmarks.stand import DIRECT, OPERATOR_TOKEN, CannotMeasure, Stand
from tests.postgresql import Server

_CONSOLE = "/console"
_PAGES = (
    *("/metrics", _CONSOLE, f"{_CONSOLE}?span=week", f"{_CONSOLE}/attention", f"{_CONSOLE}/system"),
    *(f"{_CONSOLE}/{name}" for name in ("credits", "invoices", "transfers", "inbox", "batches", "acts")),
    f"{_CONSOLE}/credits?state=settled",
    f"{_CONSOLE}/credits?payer=silva",
    f"{_CONSOLE}/credits?amount=123,45",
    f"{_CONSOLE}/invoices?payer=ana+silva",
    f"{_CONSOLE}/transfers?payer=silva",
    f"{_CONSOLE}/inbox?outcome=ignored",
    f"{_CONSOLE}/search?q=conceicao",
    f"{_CONSOLE}/search?q=R%24+123,45",
    f"{_CONSOLE}/search?q=nothing-of-this-name",
)
_ONE = re.compile(rf'href="({_CONSOLE}/(?:credits|invoices|inbox|batches)/[^"?/]+)"')
_ROUNDS = 9


def measure(
    folder: Path, checkout: Path, databases: list[str], credits: int, say: Callable[[str], None]
) -> Iterator[str]:
    """Milliseconds of each page with so many credits: fastest, median and slowest of some rounds."""
    for name in databases:
        with ExitStack() as stack:
            url = f"sqlite:///{folder}/pages.db"
            if name == "postgresql":
                try:
                    server = Server(on_disk=True, shared_buffers="256MB")
                except pytest.skip.Exception as skipped:
                    raise CannotMeasure(str(skipped)) from None
                stack.callback(server.close)
                url = server.url()
            say(f"pages: making {credits:,} credits")
            database = open_database(url, is_unhurried=True)
            migrate(database)
            history.fill(database, credits, datetime.now(UTC))
            database.close()
            room = folder / f"pages-{name}"
            room.mkdir()
            stand = stack.enter_context(Stand(room, checkout))
            stand.start_bank()
            _, port = stand.start_web(url)
            yield f"{name}, {credits:,} credits: fastest, median, slowest of {_ROUNDS}, in ms"
            for page in (*_PAGES, *_of_one(port)):
                best, median, worst = time_page(port, page)
                yield f"{page:<52}{best:>8,.0f}{median:>8,.0f}{worst:>8,.0f}"


def time_page(port: int, page: str) -> tuple[float, float, float]:
    """Milliseconds that a page takes: fastest, median and slowest."""
    times = []
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        _read(port, page)
        times.append((time.perf_counter() - began) * 1000)
    times.sort()
    return times[0], times[len(times) // 2], times[-1]


def _of_one(port: int) -> Iterator[str]:
    """One page of a credit, an invoice, an event and a batch, with the credit's timeline."""
    for name in ("credits", "invoices", "inbox", "batches"):
        path = f"{_CONSOLE}/{name}"
        found = next((link for link in _ONE.findall(_read(port, path)) if link.startswith(path)), None)
        if found:
            yield found
            if name == "credits":
                yield f"{found}/timeline.json"


def _read(port: int, page: str) -> str:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{page}", headers={"Authorization": f"Bearer {OPERATOR_TOKEN}"}
    )
    with DIRECT.open(request, timeout=60) as answer:
        return str(answer.read().decode())
