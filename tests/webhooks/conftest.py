"""The web app in this process, over books and a bank of its own."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest
from httpx2 import Response
from starlette.testclient import TestClient

from payments.settings import Settings
from tests.emulated import EmulatedBank
from tests.running import wait_until
from webhooks.app import create_app


class WebApp:
    """The app, and a look at its books from outside."""

    def __init__(self, client: TestClient, emulator: EmulatedBank, file: str) -> None:
        self.client = client
        self._emulator = emulator
        self._file = file

    def deliver(self, body: bytes, signature: str | None = None) -> Response:
        """Post a body as the bank does, signed by it unless a signature is given."""
        signed = self._emulator.sign(body) if signature is None else signature
        return self.client.post("/webhooks/starkbank", content=body, headers={"Digital-Signature": signed})

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What another program reads in the books: only what is committed."""
        with closing(sqlite3.connect(self._file)) as connection:
            return connection.execute(query).fetchall()

    def count(self, table: str) -> int:
        """How many rows are committed."""
        return int(self.rows(f"SELECT count(*) FROM {table}")[0][0])

    def last_event(self) -> tuple[str, bytes]:
        """Outcome and body of the event that was stored last."""
        [(outcome, body)] = self.rows("SELECT outcome, body FROM inbox_events ORDER BY rowid DESC LIMIT 1")
        return outcome, body

    def attention(self) -> list[str]:
        """The kinds of what a person should look at."""
        return [kind for (kind,) in self.rows("SELECT kind FROM attentions WHERE resolved_at IS NULL")]

    def wait_for_sent(self) -> None:
        """Wait until the only transfer was sent."""
        wait_until(lambda: self.rows("SELECT 1 FROM transfers WHERE state = 'sent'"), "it is sent")


@pytest.fixture
def start_app(
    settings: Callable[..., Settings], emulator: EmulatedBank, database_url: str
) -> Iterator[Callable[..., WebApp]]:
    """Start the web app; keyword arguments are settings. It is stopped, drained, at the end."""
    with ExitStack() as stack:

        def start(**changes: object) -> WebApp:
            client = stack.enter_context(TestClient(create_app(settings(**changes))))
            return WebApp(client, emulator, database_url.removeprefix("sqlite:///"))

        yield start


@pytest.fixture
def web(start_app: Callable[..., WebApp]) -> WebApp:
    """The web app with the default settings."""
    return start_app()
