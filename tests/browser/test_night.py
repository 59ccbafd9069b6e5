"""A night at the console: what goes wrong changes the headline within seconds, and never leaves it green.

Walked in both languages, in light and dark, at a desk and on a phone, and without JavaScript, by an operator with a
token of her own, whose name the audit log proves.
"""

import re
import time
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from playwright.sync_api import Locator, expect

from emulator.clock import Clock
from payments.language import language_of
from payments.operator.invoices import INVOICES
from payments.operator.labels import labels_of
from payments.operator.lists import ACTIONS
from payments.storage.database import Database
from scripts.processes import PATIENCE_SECONDS, Runner, Running
from tests.browser.conftest import Visitor, WebProcess
from tests.emulated import EmulatedBank
from tests.events import invoice_event
from tests.running import plain_environment

pytestmark = [pytest.mark.process, pytest.mark.long, pytest.mark.timeout(170)]

INVOICE = "5000000000000001"
ANA = "a-token-of-her-own-and-long-enough"
BIA = "a-token-to-read-with-and-no-more"
PEOPLE = f"Ana Souza:operator:{ANA}, Bia Lima:reader:{BIA}"


@dataclass
class Night:
    """A system at rest, and its bank."""

    bank: EmulatedBank
    web: WebProcess
    worker: Running
    database: Database


@pytest.fixture
def emulator() -> Iterator[EmulatedBank]:
    """A bank that credits an hour late, with money; its clock is not behind ours, by which invoices were issued."""
    bank = EmulatedBank(
        Clock(datetime.now(UTC)),
        opening=1_000_000,
        credit_delay_seconds=(3600.0, 3600.0),
        credited_first_share=0.0,
    )
    yield bank
    bank.close()


@pytest.fixture
def night(runner: Runner, emulator: EmulatedBank, database: Database) -> Night:
    """Everything runs, and the next reconciliation is a year away: only what is noticed otherwise is seen."""
    environment = {
        **emulator.environment,
        "DATABASE_URL": str(database.url),
        "OPERATORS": PEOPLE,
        "REISSUE_MAX": "0",
        "RECONCILE_INTERVAL_SECONDS": str(365 * 24 * 3600),
    }
    emulator.advance(600)
    web = WebProcess(runner, environment)
    worker = runner.start("-m", "worker", environment=plain_environment(**environment), name="worker")
    return Night(emulator, web, worker, database)


class Walk:
    """Ana at the console in one language; a page that cannot reload itself is opened again."""

    def __init__(self, visitor: Visitor, code: str, *, has_script: bool) -> None:
        self.visitor = visitor
        self.page = visitor.page
        self.language = language_of(code)
        self.labels = labels_of(self.language)
        self._has_script = has_script

    def sign_in(self, token: str) -> None:
        """With a token of one's own, which says who it is."""
        self.visitor.open("/sign-in")
        self.page.locator("#token").fill(token)
        self.page.locator("form button.strong").click()
        expect(self.page.locator("footer")).to_contain_text("Ana Souza" if token == ANA else "Bia Lima")

    def wait_for(self, has_come: Callable[[], bool], what: str) -> None:
        """Until the page shows it: by itself, or when it is opened again."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not has_come():
            assert time.monotonic() < deadline, f"{what}: {self.page.locator('main').inner_text()[:500]}"
            self.page.wait_for_timeout(100 if self._has_script else 1000)
            if not self._has_script:
                self.page.reload()

    def wait_for_headline(self, tone: str, says: str | None = None) -> None:
        """The headline has this tone, and it or what stands below it says this."""
        headline = self.page.locator(f".headline.{tone}")
        self.wait_for(
            lambda: headline.count() == 1 and (says is None or says in headline.inner_text()),
            f"{tone}, {says}",
        )

    def act(self, link: Locator, reason: str) -> None:
        """Request an action and confirm it; no name is asked for."""
        link.click()
        assert self.page.locator("#who").count() == 0
        self.page.locator("#reason").fill(reason)
        self.page.locator("main form button.strong").click()
        expect(self.page.get_by_role("status").first).to_be_visible()

    def look(self) -> None:
        """The page as it stands is accessible and as wide as the window."""
        if self._has_script:
            self.visitor.assert_accessible()
        width: int = self.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert width <= 0, self.page.url
        current = self.page.locator("#nav [aria-current], #nav .within").first.bounding_box()
        viewport = self.page.viewport_size
        assert current is not None
        assert viewport is not None
        assert 0 <= current["x"] <= viewport["width"] - current["width"], self.page.url
        for button in self.page.locator("td.actions a").all():
            box = button.bounding_box()
            assert box is not None
            assert 0 <= box["x"] <= viewport["width"] - box["width"], self.page.url

    def find(self, name: str, invoice_id: str) -> None:
        """Search as a person types, without accents; ends on the page of the invoice."""
        plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
        self.page.locator("#q").fill(plain)
        self.page.locator("#q").press("Enter")
        found = self.page.locator(f"main a[href*='/invoices/{invoice_id}']")
        if found.count():  # another payer has such a name too
            found.first.click()
        expect(self.page).to_have_url(re.compile(f"/console/invoices/{invoice_id}"))

    def action(self, kind: str, subject: str = "") -> Locator:
        """The button of an action."""
        return self.page.locator(f"main a.button[href*='/act/{kind}/{subject}']").first


@pytest.mark.parametrize(
    ("code", "options"),
    [
        ("pt-BR", {"color_scheme": "dark", "viewport": {"width": 390, "height": 844}}),
        ("en", {"color_scheme": "light", "viewport": {"width": 1280, "height": 1000}}),
        ("en", {"java_script_enabled": False, "viewport": {"width": 390, "height": 844}}),
    ],
    ids=["pt-BR, phone, dark", "en, desk, light", "en, phone, no script"],
)
def test_an_operator_walks_the_night(
    night: Night, visit: Callable[..., Visitor], code: str, options: dict[str, Any]
) -> None:
    """An outage, a pause, a blocked transfer, a worker and a web process that end: each is seen, none is green."""
    has_script = bool(options.get("java_script_enabled", True))
    ana = Walk(visit(night.web.url, locale=code, **options), code, has_script=has_script)
    _ = ana.language.gettext
    page = ana.page
    ana.visitor.open("/sign-in")
    expect(page.locator(".ribbon")).to_contain_text(_("Emulator"))
    ana.sign_in(ANA)
    ana.wait_for_headline("good")
    ana.look()

    # The bank is away, and no credit is in hand.
    night.bank.fault("error_503")
    ana.wait_for_headline("wait", _("The bank does not answer"))
    ana.look()
    night.bank.clear_faults()
    ana.wait_for_headline("good")

    # A pause says who and why.
    ana.visitor.open("/system")
    ana.look()
    ana.act(ana.action("pause", "forwarding"), "the destination moves")
    ana.visitor.open()
    ana.wait_for_headline("wait", "Ana Souza")
    ana.look()
    ana.act(page.locator("main a[href$='/act/resume/forwarding']").first, "it is done")
    ana.visitor.open()
    ana.wait_for_headline("good")

    # A transfer is blocked: found, understood, retried, settled.
    night.bank.fault("blocked_destination", times=1, reason="Destination account blocked")
    night.bank.ask("POST", "webhooks", url=f"{night.web.url}/webhooks/starkbank", subscriptions=["transfer"])
    body = invoice_event(INVOICE, amount=31_450, fee=50)
    night.web.deliver(body, night.bank.sign(body))
    ana.wait_for(lambda: _moves(night, "failed"), "it fails at the bank")
    ana.wait_for_headline("bad")
    card = page.locator("li.attention.bad")
    expect(card).to_contain_text("R$ 314,00")
    expect(card.locator("a[href$='/console/runbook#transfer_dead']")).to_be_visible()
    ana.look()
    card.locator(f"a.button[href$='/credits/{INVOICE}']").click()
    expect(page.locator("h1 .badge")).to_have_text(ana.labels.transfer_states["dead"].text)
    expect(page.locator("main")).to_contain_text("Destination account blocked")
    ana.look()
    page.goto(f"{night.web.url}/console/transfers?state=dead")
    ana.look()
    ana.act(ana.action("retry"), "the destination is unblocked")
    ana.wait_for(lambda: _moves(night, "success"), "it is paid")
    ana.visitor.open(f"/credits/{INVOICE}")
    settled = page.locator("h1 .badge", has_text=ana.labels.transfer_states["settled"].text)
    ana.wait_for(lambda: settled.count() == 1, "it is settled")
    ana.look()
    ana.visitor.open("/acts")
    ana.look()
    row = page.locator("tbody tr", has_text="the destination is unblocked")
    expect(row).to_contain_text("Ana Souza")
    expect(row).to_contain_text(_("own token"))
    assert all(each.is_proved for each in ACTIONS.read(night.database).items)

    # A credit is missing: the payer's name finds the invoice, unpaid; then paid, and not credited yet.
    invoice = INVOICES.read(night.database, None, choice="open").items[0]
    assert invoice.payer_name is not None
    assert invoice.bank_invoice_id is not None
    ana.find(invoice.payer_name, invoice.bank_invoice_id)
    expect(page.locator("h1 .badge")).to_have_text(ana.labels.invoice_states["open"].text)
    ana.look()
    night.bank.ask("POST", "webhooks", url=f"{night.web.url}/webhooks/starkbank?2", subscriptions=["invoice"])
    night.bank.pay(invoice.bank_invoice_id)
    night.bank.advance(60)
    paid = page.locator("h1 .badge", has_text=ana.labels.invoice_states["paid"].text)
    ana.wait_for(lambda: paid.count() == 1, "the invoice is paid")
    ana.look()
    night.bank.advance(3600)
    ana.wait_for(lambda: _moves(night, "success", 2), "it is credited and forwarded")

    # The worker dies, and then the web process ends, with the page left open.
    ana.visitor.open()
    ana.wait_for_headline("good")
    night.worker.kill()
    ana.wait_for_headline("bad", _("No worker is running"))
    if has_script:
        night.web.running.stop()
        expect(page.get_by_role("alert")).to_be_visible(timeout=PATIENCE_SECONDS * 1000)
        expect(page.locator(".headline.good")).to_have_count(0)
        ana.look()
        page.goto("about:blank")
    ana.visitor.wrong.clear()  # it asked in vain for a while


def _moves(night: Night, status: str, number: int = 1) -> bool:
    """Let time pass at the bank; true once this many of its transfers have this status."""
    night.bank.advance(60)
    return night.bank.transfers(status) >= number


def test_a_reader_sees_the_night_and_can_do_nothing(night: Night, visit: Callable[..., Visitor]) -> None:
    """No button, and a page that says why where she posts one all the same; keys go to the search and along rows."""
    body = invoice_event(INVOICE)
    night.web.deliver(body, night.bank.sign(body))
    bia = Walk(visit(night.web.url), "en", has_script=True)
    bia.sign_in(BIA)
    bia.visitor.open("/system")
    expect(bia.page.locator("main a.button")).to_have_count(0)
    answer = bia.visitor.open("/act/pause/forwarding")
    assert answer.status == 403
    expect(bia.page.get_by_role("heading", level=1)).to_have_text("Not allowed")
    bia.visitor.assert_accessible()
    bia.visitor.wrong.clear()  # a browser writes the 403 to its console
    bia.visitor.open("/credits")
    bia.page.keyboard.press("/")
    expect(bia.page.locator("#q")).to_be_focused()
    bia.page.locator("h1").click()
    bia.page.keyboard.press("j")
    expect(bia.page.get_by_role("link", name=INVOICE).first).to_be_focused()
    bia.page.keyboard.press("Enter")
    expect(bia.page).to_have_url(f"{night.web.url}/console/credits/{INVOICE}")
