"""Pages that reload themselves: what was typed, opened, selected and focused stays; the process can still end."""

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from payments.storage.database import Database
from tests.browser.conftest import Visitor, WebProcess
from tests.emulated import EmulatedBank
from tests.events import invoice_event
from tests.running import PATIENCE_SECONDS

pytestmark = [pytest.mark.process, pytest.mark.timeout(170)]

# A page follows the books within a second or two; a loaded machine takes longer.
PATIENCE = PATIENCE_SECONDS * 1000

INVOICE = "5000000000000001"


def test_a_refresh_does_not_disturb_the_operator(
    web: WebProcess, emulator: EmulatedBank, visit: Callable[..., Visitor]
) -> None:
    """A credit comes in while the operator types, reads an open event, copies an id, or has selected text."""

    def deliver(invoice_id: str) -> None:
        body = invoice_event(invoice_id)
        web.deliver(body, emulator.sign(body))

    emulator.ask("POST", "deposits", amount=1_000_000)  # what transfers are paid from
    emulator.advance(600)
    ana = visit(web.url, permissions=["clipboard-read", "clipboard-write"])
    ana.sign_in()
    ana.open("/credits")
    page = ana.page
    amount = page.get_by_label("Amount, gross or net")
    amount.fill("1.2")
    deliver(INVOICE)
    expect(page.get_by_role("link", name=INVOICE)).to_be_visible(timeout=PATIENCE)
    expect(amount).to_have_value("1.2")
    expect(amount).to_be_focused()
    page.keyboard.type("34,56")
    expect(amount).to_have_value("1.234,56")

    ana.open(f"/credits/{INVOICE}")
    page.get_by_role("button", name="Copy the invoice's id").click()
    expect(page.locator("button.copy.done")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == INVOICE
    event = page.locator("details.event").first
    event.locator("summary").click()
    expect(event).to_have_attribute("open", "")
    emulator.ask("POST", "webhooks", url=f"{web.url}/webhooks/starkbank", subscriptions=["transfer"])
    emulator.advance(600)
    expect(page.get_by_role("heading", level=1)).to_contain_text("settled", timeout=PATIENCE)
    expect(event).to_have_attribute("open", "")

    ana.open("/credits")
    page.evaluate("document.getSelection().selectAllChildren(document.querySelector('tbody'))")
    with page.expect_event("console", predicate=lambda said: said.text == "changed"):
        page.evaluate("stream.addEventListener('changed', () => console.log('changed'))")
        deliver("5000000000000002")
    expect(page.get_by_role("link", name="5000000000000002")).to_have_count(0)
    page.evaluate("document.getSelection().removeAllRanges()")
    expect(page.get_by_role("link", name="5000000000000002")).to_be_visible(timeout=PATIENCE)


@pytest.mark.usefixtures("beating_worker")
def test_a_page_whose_connection_is_lost_says_so_and_no_longer_that_all_is_well(
    web: WebProcess, database: Database, visit: Callable[..., Visitor]
) -> None:
    """An open page does not keep the web process from ending immediately; every page says as of when it is."""
    ana = visit(web.url)
    page = ana.page
    page.clock.install()
    with page.expect_request("**/console/changes"):
        ana.sign_in()
    expect(page.get_by_role("heading", level=1)).to_have_text("All is quiet")
    expect(page.locator("#as-of")).to_contain_text("As of ")
    expect(page.locator("#lost")).to_be_hidden()
    assert web.running.stop() == 0
    assert '"event":"web.stopped"' in web.running.said
    assert "Cancel" not in web.running.said
    page.clock.fast_forward(15_000)  # when the page reloads itself
    expect(page.get_by_role("alert")).to_contain_text("Connection lost", timeout=PATIENCE)
    expect(page.get_by_role("heading", level=1)).to_have_text("State unknown")
    expect(page.locator(".headline.good")).to_have_count(0)
    ana.assert_accessible()
    page.goto("about:blank")
    ana.wrong.clear()  # the page asked in vain for a while
