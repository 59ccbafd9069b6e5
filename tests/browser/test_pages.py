"""Every page in a real browser: accessible in light and dark, and text from outside stays text."""

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import expect

from payments.invoice import Payer
from payments.ledger.batches import plan_batch
from payments.operator.lists import BATCHES, CREDITS, EVENTS
from payments.operator.statement import read_statement
from payments.policy import ForwardingPolicy
from payments.storage.database import Database
from tests.browser.books import Afternoon
from tests.browser.conftest import PICTURES, Visitor, WebProcess
from tests.events import event, invoice_event
from tests.running import ROOT, Runner, wait_until

pytestmark = [pytest.mark.process, pytest.mark.timeout(170)]

# If any of this were taken for markup, there would be a dialog or an error of the content policy.
HOSTILE = "</td></script><script>alert(1)</script><img src=x onerror=alert(2)>\"'>{{7*7}}&lt;"

INVOICE = "5000000000000001"


@pytest.fixture
def afternoon(database: Database, policy: ForwardingPolicy) -> Iterator[Afternoon]:
    """Seventeen hours of an ordinary day."""
    made = Afternoon(database, policy, hours=17)
    made.live_through(datetime.now(UTC))
    yield made
    made.close()


def pages(database: Database) -> list[str]:
    """The address of every kind of page, of what is in the books."""
    credit = CREDITS.read(database).items[-1].invoice_id
    batch = BATCHES.read(database).items[0].id
    unreadable = EVENTS.read(database, None, choice="unreadable").items[0].event_id
    return [
        *("", "?span=week", "/transfers", "/transfers?state=dead"),
        *("/credits", "/credits?amount=x", f"/credits/{credit}", f"/credits/{INVOICE}"),
        *(
            "/inbox",
            "/inbox?outcome=unreadable",
            f"/inbox/{quote(unreadable)}",
            "/inbox?outcome=second_credit",
        ),
        *("/batches", f"/batches/{batch}", "/attention", "/attention?show=all", "/acts", "/system"),
        *("/act/pause/forwarding", f"/act/retry/credit-{INVOICE}", "/act/reconcile/now"),
        *(f"/search?q={quote(HOSTILE)}", "/search", "/nowhere", f"/inbox/{quote(HOSTILE, safe='')}"),
        f"/act/retry/{quote(HOSTILE, safe='')}",
    ]


def hostile_credit() -> bytes:
    """A credited invoice whose payer chose every free field."""
    invoice = {
        "id": INVOICE,
        "amount": 20_000,
        "fee": 500,
        "status": "paid",
        "tags": [HOSTILE],
        "name": HOSTILE,
        "taxId": "529.982.247-25",
        "descriptions": [{"key": HOSTILE, "value": HOSTILE}],
    }
    log = {"id": "7000000000000001", "type": "credited", "created": "2026-03-02T15:00:00.000000+00:00"}
    return event("6000000000000001", "invoice", {**log, "errors": [HOSTILE], "invoice": invoice})


def fail_one(web: WebProcess, afternoon: Afternoon, body: bytes, reason: str) -> None:
    """A credit comes in, its transfer is sent, and the bank fails it."""

    def count(state: str) -> int:
        return read_statement(afternoon.database).transfers[state]

    dead = count("dead")
    afternoon.bank.fault("blocked_destination", times=1, reason=reason)
    web.deliver(body, afternoon.bank.sign(body))
    wait_until(lambda: count("sent"), "it is sent")
    afternoon.bank.advance(120)
    wait_until(lambda: count("dead") > dead, "it is dead")


@pytest.mark.usefixtures("beating_worker")
def test_every_page_is_accessible_and_takes_nothing_from_outside_for_markup(
    afternoon: Afternoon, runner: Runner, visit: Callable[..., Visitor]
) -> None:
    """Payer names, tags, the bank's errors, unreadable bytes, reasons, searches and addresses: all of it is text."""
    database, bank = afternoon.database, afternoon.bank
    web = WebProcess(runner, {**afternoon.environment, "REISSUE_MAX": "0"})
    ana = visit(web.url)
    ana.sign_in()
    expect(ana.page.get_by_role("heading", level=1)).to_have_text("All is well")
    bank.ask("POST", "webhooks", url=f"{web.url}/webhooks/starkbank", subscriptions=["transfer"])
    fail_one(
        web,
        afternoon,
        invoice_event("5000000000000002", amount=31_450, fee=50),
        "Destination account blocked",
    )
    ana.open()
    ana.picture("console")
    ana.choose_language("pt-BR")
    ana.picture("console-pt")
    ana.choose_language("en")

    fail_one(web, afternoon, hostile_credit(), HOSTILE)
    for body in (
        HOSTILE.encode(),
        json.dumps({"event": {"id": HOSTILE, "subscription": HOSTILE, "log": {"type": HOSTILE}}}).encode(),
    ):
        web.deliver(body, bank.sign(body))
    plan_batch(
        database,
        "by-hand",
        None,
        [(Payer(HOSTILE, "529.982.247-25"), 1_000)],
        datetime.now(UTC),
        late=False,
        now=datetime.now(UTC),
    )
    ana.open("/system")
    ana.act("Pause issuing", HOSTILE)
    expect(ana.page.get_by_role("status")).to_contain_text("Issuing is paused")

    for path in pages(database):
        answer = ana.open(path)
        assert len(answer.body()) < 100_000, path
        ana.assert_accessible()
        ana.page.emulate_media(color_scheme="dark")
        ana.assert_accessible("color-contrast")
        ana.page.emulate_media(color_scheme="light")
        # Bad addresses are answered with such a status, which a browser writes to its console.
        ana.wrong = [text for text in ana.wrong if "Failed to load resource" not in text or answer.ok]
    for path in (f"/credits/{INVOICE}", "/acts", f"/search?q={quote(HOSTILE)}"):
        ana.open(path)
        expect(ana.page.locator("main")).to_contain_text(HOSTILE)
    ana.open(f"/credits/{INVOICE}")
    ana.page.locator("details.event summary").first.click()
    shown = ana.page.locator("details.event pre").first
    expect(shown).to_contain_text('"taxId": "***.982.247-**"')
    assert "529.982.247" not in ana.page.content()


@pytest.mark.usefixtures("beating_worker")
def test_every_page_says_the_same_without_javascript_and_on_a_phone(
    afternoon: Afternoon, runner: Runner, visit: Callable[..., Visitor]
) -> None:
    """No script, 390 pixels: pages do not scroll sideways, acts can be asked for and done."""
    web = WebProcess(runner, afternoon.environment)
    ana = visit(web.url, java_script_enabled=False, viewport={"width": 390, "height": 844})
    ana.sign_in()
    ana.picture("console-phone")
    for path in ("", "/transfers", "/credits", "/inbox", "/batches", "/attention", "/acts", "/system"):
        ana.open(path)
        assert ana.page.evaluate("document.documentElement.scrollWidth") <= 390, path
    ana.open("/system")
    ana.act("Pause forwarding", "the bank asked us to")
    expect(ana.page.get_by_role("status")).to_contain_text("Forwarding is paused")
    ana.act("Resume forwarding", "it is over")
    expect(ana.page.get_by_role("status")).to_contain_text("Forwarding is running again")


def test_every_picture_that_is_shown_exists_and_every_one_is_shown() -> None:
    """They are made by these tests (REPASSE_SCREENSHOTS=1), so a page that changed is a picture to make again.

    The graph is made by the bench.
    """
    names = ("README.md", "README.pt-BR.md", "docs/console.md", "docs/performance.md")
    shown = {
        Path(path).name
        for name in names
        for path in re.findall(r"[(\"]([^()\"]*pictures/[^()\"]+)[)\"]", (ROOT / name).read_text())
    }
    assert shown == {file.name for file in PICTURES.iterdir() if file.suffix != ".json"}
