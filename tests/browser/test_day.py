"""A day at the console in a real browser: it goes by live, a transfer is blocked, and the operator gets it settled."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import TOKEN, Visitor
from tests.day import Day
from tests.running import PATIENCE_SECONDS

pytestmark = [pytest.mark.process, pytest.mark.long, pytest.mark.timeout(170)]

# A page follows the books within a second or two; a loaded machine takes longer.
PATIENCE = PATIENCE_SECONDS * 1000


@pytest.fixture
def day(tmp_path: Path) -> Iterator[Day]:
    """A running system whose bank refuses one transfer, and whose first failure is for a person."""
    settings = {"OPERATOR_TOKEN": TOKEN, "REISSUE_MAX": "0"}
    made = Day(tmp_path, seed=11, seconds=16.0, switches=("--fee", "37"), settings=settings)
    made.bank.fault("blocked_destination", times=1, reason="Destination account blocked")
    made.start("web-1")
    made.wait_for_start("web-1")
    yield made
    made.close()


def test_an_operator_watches_a_day_and_settles_a_blocked_transfer(
    day: Day, visit: Callable[..., Visitor]
) -> None:
    """The page updates by itself; the blocked transfer is first on it; a retry with a reason settles it, on record."""
    ana = visit(day.url())
    page = ana.page
    ana.sign_in()
    expect(page.get_by_role("heading", level=1)).to_have_text("No worker is running")
    day.start("worker-1")
    # From here on the page follows the day by itself.
    expect(page.get_by_role("heading", level=1)).to_have_text("1 item needs attention", timeout=PATIENCE)
    expect(page.get_by_role("heading", name="Transfer blocked: manual action required")).to_be_visible()
    expect(page.locator("#nav-attention")).to_contain_text("1")
    day.wait_for_batches(5)

    page.get_by_role("link", name="View details").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("blocked")
    expect(page.locator("main")).to_contain_text("Destination account blocked")
    ana.act("Retry", "the destination is unblocked, says its bank")
    expect(page.get_by_role("status")).to_contain_text(
        "Retry queued; repasse checks with the bank before sending."
    )
    expect(page.get_by_role("heading", level=1)).to_contain_text("settled", timeout=PATIENCE)
    timeline = page.locator(".timeline").first
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
    day.wait_for_batches(8)
    day.bank.ask("POST", "stop-paying")
    expect(page.get_by_role("heading", level=1)).to_have_text("All is well", timeout=PATIENCE)
    page.emulate_media(color_scheme="dark")
    ana.picture("console-dark")
