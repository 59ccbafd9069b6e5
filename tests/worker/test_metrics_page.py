"""The worker's own page: for whoever has the token, and nothing else."""

import socket
from collections.abc import Iterator

import pytest
import requests

from payments.errors import SettingsError
from worker.metrics_page import MetricsPage

TOKEN = "a-token-of-thirty-two-characters"


@pytest.fixture
def page() -> Iterator[MetricsPage]:
    """A page that says one thing."""
    made = MetricsPage("127.0.0.1", 0, TOKEN, lambda: b"repasse_build_info 1\n")
    made.start()
    yield made
    made.stop()


def ask(page: MetricsPage, path: str, token: str | None) -> requests.Response:
    """One GET."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return requests.get(f"http://127.0.0.1:{page.port}{path}", headers=headers, timeout=20)


def test_the_token_opens_the_page(page: MetricsPage) -> None:
    """As in the web process."""
    answer = ask(page, "/metrics", TOKEN)
    assert (answer.status_code, answer.text) == (200, "repasse_build_info 1\n")
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("token", [None, "wrong", f"{TOKEN}x"])
def test_without_the_token_it_says_nothing(page: MetricsPage, token: str | None) -> None:
    """It asks for it."""
    answer = ask(page, "/metrics", token)
    assert answer.status_code == 401
    assert "repasse_" not in answer.text
    assert answer.headers["WWW-Authenticate"] == 'Basic realm="repasse"'


def test_there_is_nothing_else(page: MetricsPage) -> None:
    """With the token or without."""
    assert ask(page, "/", TOKEN).status_code == 404
    assert requests.post(f"http://127.0.0.1:{page.port}/metrics", timeout=20).status_code == 501


def test_a_port_in_use_is_refused_in_one_line() -> None:
    """It names the setting and the remedy."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=f"METRICS_PORT: cannot listen on 127.0.0.1:{port}"):
            MetricsPage("127.0.0.1", port, TOKEN, lambda: b"")
