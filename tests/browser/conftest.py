"""A real Chromium on the real console: real processes, and a browser that notes everything that goes wrong.

Skipped, with the reason, where there is no Chromium (CHROMIUM names one; else /usr/bin/chromium).
"""

import os
import shutil
import socket
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, Response, expect, sync_playwright

from payments.observability.heartbeat import Heartbeat
from payments.operator.processes import Process
from payments.storage.database import Database
from tests.emulated import EmulatedBank
from tests.running import ROOT, Runner, Running, free_port, plain_environment, wait_until

TOKEN = "a-token-of-thirty-two-characters"

# Written only when asked for, so that a run of the tests leaves the checkout as it was.
SCREENSHOTS = "REPASSE_SCREENSHOTS"
PICTURES = ROOT / "docs" / "pictures"

# Without these, Chromium calls home at every start, which some machines refuse, many times a second.
_SWITCHES = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)

# What pages in the wild are checked for.
_AXE = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """The browser. Not for the whole session: Playwright's event loop would block all others."""
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
    if not Path(path).exists():
        pytest.skip(f"no Chromium at {path}: apt-get install chromium, or name one in CHROMIUM")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(_SWITCHES))
        yield browser
        browser.close()


@pytest.fixture
def beating_worker(database: Database) -> Iterator[None]:
    """A worker that says it is alive for as long as the test lasts, however busy this machine is."""
    worker = Process("w", "worker", socket.gethostname(), 1, "1")
    heartbeat = Heartbeat(database, worker, lambda: datetime.now(UTC))
    heartbeat.start()
    yield
    heartbeat.stop()


class WebProcess:
    """``python -m webhooks`` with the console open, on books and a bank of the test's."""

    def __init__(self, runner: Runner, environment: Mapping[str, str]) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        settings = {"OPERATOR_TOKEN": TOKEN, **environment, "PORT": str(port)}
        self.running: Running = runner.start("-m", "webhooks", environment=plain_environment(**settings))
        wait_until(self._answers, "the web app answers")

    def deliver(self, body: bytes, signature: str) -> None:
        """Post an event as the bank does."""
        url = f"{self.url}/webhooks/starkbank"
        answer = requests.post(url, data=body, headers={"Digital-Signature": signature}, timeout=20)
        assert answer.status_code == 200, answer.text

    def _answers(self) -> bool:
        assert self.running.process.poll() is None, self.running.said
        try:
            return requests.get(f"{self.url}/health/ready", timeout=20).status_code == 200
        except requests.ConnectionError:
            return False


class Visitor:
    """One browser window of an operator, and all that must not happen in it."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.url = url
        self.context = context
        self.page: Page = context.new_page()
        self.wrong: list[str] = []
        host = urlsplit(url).netloc
        self.page.on("console", lambda said: self._note(said.type in ("error", "warning"), said.text))
        self.page.on("pageerror", lambda error: self._note(True, f"uncaught: {error}"))
        self.page.on("dialog", lambda dialog: self._note(True, f"a dialog: {dialog.message}"))
        self.page.on("request", lambda each: self._note(_is_elsewhere(each.url, host), f"asked {each.url}"))

    def open(self, path: str = "") -> Response:
        """Open a page of the console."""
        answer = self.page.goto(f"{self.url}/console{path}")
        assert answer is not None
        return answer

    def sign_in(self, token: str = TOKEN, who: str = "Ana Souza") -> None:
        """As a person does; ends on the overview."""
        self.open("/sign-in")
        self.page.get_by_label("Your name").fill(who)
        self.page.get_by_label("Token", exact=True).fill(token)
        self.page.get_by_role("button", name="Sign in").click()

    def act(self, button: str, reason: str) -> None:
        """Request an action on this page, give the reason, and confirm."""
        self.page.locator("main").get_by_role("link", name=button, exact=True).first.click()
        self.page.get_by_label("Reason").fill(reason)
        self.page.locator("main form").get_by_role("button").click()

    def choose_language(self, code: str) -> None:
        """Choose the console's language at the foot of the page."""
        self.page.locator("#language").select_option(code)
        self.page.locator("form:has(#language) button").click()
        expect(self.page.locator("html")).to_have_attribute("lang", code)

    def assert_accessible(self, *rules: str) -> None:
        """No violation that axe knows of (or of these rules), on the page as it stands."""
        options = {"runOnly": list(rules or _AXE), "resultTypes": ["violations"]}
        if not self.page.evaluate("'axe' in window"):
            self.page.evaluate(Axe().axe_script)  # half a megabyte: once a page
        run = "options => axe.run(document, options).then(found => found.violations)"
        violations: list[dict[str, Any]] = self.page.evaluate(run, options)
        found = [
            f"{each['id']}: {each['help']}: {[node['html'][:200] for node in each['nodes'][:3]]}"
            for each in violations
        ]
        assert not found, f"{self.page.url}: {found}"

    def picture(self, name: str) -> None:
        """Write docs/pictures/<name>.png, when pictures are asked for."""
        if os.environ.get(SCREENSHOTS):
            PICTURES.mkdir(exist_ok=True)
            self.page.screenshot(path=PICTURES / f"{name}.png", animations="disabled")

    def assert_nothing_wrong(self) -> None:
        """No error in its console, no dialog, no request to another host."""
        assert not self.wrong, "\n".join(self.wrong)

    def _note(self, is_wrong: bool, text: str) -> None:
        if is_wrong:
            self.wrong.append(f"{self.page.url}: {text}")


def _is_elsewhere(url: str, host: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme not in ("data", "blob") and parts.netloc != host


@pytest.fixture
def web(runner: Runner, emulator: EmulatedBank, database: Database) -> WebProcess:
    """A web process on empty books."""
    environment = {
        **emulator.environment,
        "DATABASE_URL": str(database.url),
    }
    return WebProcess(runner, environment)


@pytest.fixture
def visit(chromium: Browser) -> Iterator[Callable[..., Visitor]]:
    """Open a window on a console; keyword arguments are the browser's. Any error in one fails the test."""
    visitors: list[Visitor] = []

    def open_window(url: str, **options: Any) -> Visitor:
        # Colours that fade from light to dark would be judged half way.
        calm = {"locale": "en-GB", "reduced_motion": "reduce"}
        options = {"viewport": {"width": 1280, "height": 1000}, **calm, **options}
        visitors.append(Visitor(chromium.new_context(**options), url))
        return visitors[-1]

    yield open_window
    for visitor in visitors:
        visitor.context.close()
        visitor.assert_nothing_wrong()
