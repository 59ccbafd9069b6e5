"""A page of books with a hundred thousand credits: under 100 kB and 100 ms."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter

import pytest
from pydantic import SecretStr

from payments.operator.actions import Operator, pause
from payments.storage.database import open_database
from tests.payments.operator import test_timeline as test_stories
from tests.webhooks.conftest import WebApp
from tests.webhooks.console.conftest import TOKEN, Console

big_file = test_stories.big_file

BYTES_MAX = 100_000
SECONDS_MAX = 0.1

PAGES = (
    *("", "?span=week", "/transfers", "/transfers?state=settled", "/transfers?state=dead", "/credits"),
    *(
        "/credits?amount=500",
        "/credits/i77777",
        "/inbox",
        "/inbox?outcome=credit",
        "/inbox?outcome=unreadable",
    ),
    *("/inbox/e5", "/batches", "/batches/77", "/attention", "/attention?show=all", "/acts", "/system"),
    *("/search?q=i77777", "/search?q=nothing"),
)


@pytest.fixture(scope="module")
def migrated_file(empty_books: Path) -> Path:
    """What the big books are written into."""
    return empty_books


@pytest.fixture
def console(big_file: Path, start_app: Callable[..., WebApp]) -> Console:
    """The console on big books; nothing of them is forwarded meanwhile."""
    url = f"sqlite:///{big_file}"
    database = open_database(url)
    pause(database, "forwarding", Operator("test", "only to be looked at"), datetime.now(UTC))
    database.close()
    return Console(start_app(operator_token=TOKEN, database_url=SecretStr(url)))


def test_every_page_is_small_and_quick(console: Console) -> None:
    """The quickest of some tries: a loaded machine is not the page's fault."""
    slow: dict[str, float] = {}
    large: dict[str, int] = {}
    for path in PAGES:
        seconds, size = quickest(console, path)
        if seconds > SECONDS_MAX:
            slow[path] = seconds
        if size > BYTES_MAX:
            large[path] = size
    assert not slow
    assert not large


def quickest(console: Console, path: str) -> tuple[float, int]:
    """How long a page takes at best, in seconds, and its bytes."""
    best = float("inf")
    size = 0
    for _ in range(8):
        began = perf_counter()
        answer = console.get(path)
        best, size = min(best, perf_counter() - began), len(answer.content)
        assert answer.status_code in (200, 303), path
        if best < SECONDS_MAX / 2:
            break
    return best, size
