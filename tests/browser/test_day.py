"""A day at the console in a real browser: it goes by live, a transfer is blocked, and the operator gets it settled."""

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import TOKEN, Visitor
from tests.emulated import EmulatorProcess
from tests.process.conftest import DAY_SECONDS, Town
from tests.running import PATIENCE_SECONDS, Runner

pytestmark = [pytest.mark.process, pytest.mark.timeout(170)]

# A page follows the books within a second or two; a loaded machine takes longer.
PATIENCE = PATIENCE_SECONDS * 1000


@pytest.fixture
def town(runner: Runner, start_emulator_process: Callable[..., EmulatorProcess]) -> Town:
    """A running system whose bank refuses one transfer, and whose first failure is for a person."""
    bank = start_emulator_process("--speed", f"{86_400 / DAY_SECONDS}", "--seed", "11", "--fee", "37")
    town = Town(runner, bank, OPERATOR_TOKEN=TOKEN, REISSUE_MAX="0")
    bank.fault("blocked_destination", times=1, reason="Destination account blocked")
    town.start_web()
    town.register()
    return town


def test_an_operator_watches_a_day_and_settles_a_blocked_transfer(
    town: Town, visit: Callable[..., Visitor]
) -> None:
    """The page updates by itself; the blocked transfer is first on it; a retry with a reason settles it, on record."""
    ana = visit(town.url)
    page = ana.page
    ana.sign_in()
    expect(page.get_by_role("heading", level=1)).to_have_text("All is quiet")
    town.start_worker()
    # From here on the page follows the day by itself.
    expect(page.get_by_role("heading", level=1)).to_have_text("1 item needs attention", timeout=PATIENCE)
    expect(page.get_by_role("heading", name="Transfer blocked: manual action required")).to_be_visible()
    expect(page.locator("#nav-attention")).to_contain_text("1")
    town.wait_for_slots(5)

    page.get_by_role("link", name="View details").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("blocked")
    expect(page.locator("main")).to_contain_text("Destination account blocked")
    ana.act("Retry", "the destination is unblocked, says its bank")
    expect(page.get_by_role("status")).to_contain_text(
        "Retry queued; repasse checks with the bank before sending."
    )
    expect(page.get_by_role("heading", level=1)).to_contain_text("settled", timeout=PATIENCE)
    timeline = page.locator(".timeline")
    expect(timeline).to_contain_text("the destination is unblocked, says its bank")
    expect(timeline).to_contain_text("Ana Souza")
    expect(page.get_by_role("heading", name="Needs attention")).to_have_count(0)
    ana.picture("console-credit")

    page.get_by_role("link", name="Audit log").click()
    expect(page.get_by_role("row", name="Ana Souza")).to_contain_text("the destination is unblocked")
    page.get_by_role("link", name="Transfers", exact=True).click()
    page.get_by_role("link", name="blocked 0").click()
    expect(page.locator("main")).to_contain_text("That is good news")
    page.get_by_role("link", name="Overview").click()
    town.wait_for_slots(8)
    town.bank.ask("POST", "stop-paying")
    expect(page.get_by_role("heading", level=1)).to_have_text("All is well", timeout=PATIENCE)
    page.emulate_media(color_scheme="dark")
    ana.picture("console-dark")
