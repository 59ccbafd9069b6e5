"""The console in this process, as an operator's browser and as a program see it."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

import pytest
from httpx2 import Response
from starlette.applications import Starlette
from starlette.testclient import TestClient

from payments.note import Note
from payments.settings import Settings
from payments.storage.database import Database
from tests.webhooks.conftest import WebApp
from webhooks.access import Gate
from webhooks.console.actions import Result, Work
from webhooks.console.app import Console as ConsoleApp

TOKEN = "a-token-of-thirty-two-characters"

# What a browser says of a form of ours.
OURS = {"Sec-Fetch-Site": "same-origin"}


class Console:
    """The console of one app, opened with the token as a program does."""

    def __init__(self, web: WebApp) -> None:
        self.web = web
        self.client = web.client
        self._key = {"Authorization": f"Bearer {TOKEN}", "Accept": "text/html"}

    def get(self, path: str = "", **headers: str) -> Response:
        """Ask for a page; redirects are not followed."""
        return self.client.get(f"/console{path}", headers={**self._key, **headers}, follow_redirects=False)

    def page(self, path: str = "") -> str:
        """A page that must be there."""
        answer = self.get(path)
        assert answer.status_code == 200, answer.text
        return answer.text

    def act(self, path: str, who: str = "Ana", reason: str = "it must be done") -> Response:
        """Post an action; the redirect is not followed."""
        return self.client.post(
            f"/console/act/{path}",
            data={"who": who, "reason": reason},
            headers=self._key,
            follow_redirects=False,
        )

    def flash(self, path: str, **form: str) -> str:
        """Post an action that must be done; the message on the next page."""
        answer = self.act(path, **form)
        assert answer.status_code == 303, answer.text
        page = self.client.get(answer.headers["location"], headers=self._key).text
        return page.partition('id="flash">')[2].partition("</p>")[0]


@pytest.fixture
def open_console(settings: Callable[..., Settings], database: Database) -> Callable[..., TestClient]:
    """Open the console alone on the test's database, signed in; keyword arguments are settings."""

    def open_it(**changes: object) -> TestClient:
        given = settings(operator_token=TOKEN, **changes)
        nothing = Result(Note("started", {}))
        work = Work(lambda: None, lambda: nothing, lambda: nothing, new_batch_tag=None)
        clock = partial(datetime.now, UTC)
        app = ConsoleApp(database, given, Gate(given.accounts), work, clock, clock)
        return TestClient(Starlette(routes=app.routes), headers={"Authorization": f"Bearer {TOKEN}"})

    return open_it


@pytest.fixture
def console(start_app: Callable[..., WebApp]) -> Console:
    """The console, at an emulator."""
    return Console(start_app(operator_token=TOKEN))
