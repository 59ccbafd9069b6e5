"""The worker's own page: it needs the token, and shows nothing else."""

import select
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress

import pytest
import requests
from prometheus_client import CollectorRegistry, Counter

from payments.authorization import Account
from payments.errors import SettingsError
from tests.running import wait_until
from worker.metrics_page import REQUESTS_MAX, MetricsPage

TOKEN = "a-token-of-thirty-two-characters"
READS = "a-token-of-the-scraper-alone"
ACCOUNTS = (Account("", True, TOKEN), Account("prometheus", False, READS))


@pytest.fixture
def page() -> Iterator[MetricsPage]:
    """A page with one metric."""
    registry = CollectorRegistry()
    Counter("repasse_seen", "How often.", registry=registry).inc()
    made = MetricsPage("127.0.0.1", 0, ACCOUNTS, registry)
    made.start()
    yield made
    made.stop()


def ask(page: MetricsPage, token: str | None) -> requests.Response:
    """One scrape."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return requests.get(f"http://127.0.0.1:{page.port}/metrics", headers=headers, timeout=20)


def test_the_token_opens_the_page_and_nothing_else_does(page: MetricsPage) -> None:
    """As in the web process: an operator's or a reader's."""
    for token in (TOKEN, READS):
        answer = ask(page, token)
        assert answer.status_code == 200
        assert "repasse_seen_total 1.0" in answer.text
        assert answer.headers["Content-Type"].startswith("text/plain; version=")
    for wrong in (None, "wrong", f"{TOKEN}x"):
        answer = ask(page, wrong)
        assert answer.status_code == 401
        assert "repasse_" not in answer.text
        assert answer.headers["WWW-Authenticate"] == 'Basic realm="repasse"'


def test_a_port_in_use_is_refused_in_one_line() -> None:
    """It names the setting and what to do."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=f"METRICS_PORT: cannot listen on 127.0.0.1:{port}"):
            MetricsPage("127.0.0.1", port, ACCOUNTS, CollectorRegistry())


def test_a_flood_of_requests_that_never_end_takes_no_more_than_its_threads(page: MetricsPage) -> None:
    """Those beyond are closed; when the others are gone, the page answers again."""
    before = threading.active_count()
    with ExitStack() as stack:
        held = [
            stack.enter_context(closing(socket.create_connection(("127.0.0.1", page.port), timeout=20)))
            for _ in range(REQUESTS_MAX + 5)
        ]
        for each in held:
            each.sendall(b"G")
        wait_until(lambda: len(select.select(held, [], [], 0)[0]) == 5, "five are closed")
        assert threading.active_count() <= before + REQUESTS_MAX
    wait_until(lambda: _answers(page), "it answers again")


def _answers(page: MetricsPage) -> bool:
    with suppress(requests.ConnectionError):
        return ask(page, TOKEN).status_code == 200
    return False
