"""The emulator's page in a real browser: readable at each width, in light and dark, with and without JavaScript."""

from collections.abc import Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.contract.populated import Populated, populated_emulator

pytestmark = [pytest.mark.process, pytest.mark.timeout(170)]

RULES = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Populated]:
    """A bank with a past, one delivery that was answered, and two requests."""
    with populated_emulator(tmp_path_factory.mktemp("page"), "--paused") as running:
        hook = f"{running.url}/v2/nothing"
        running.ask("POST", "webhooks", url=hook, subscriptions=["invoice"])
        running.ask("POST", "trigger", name="invoice.created")
        running.ask("POST", "events/last/send", url=hook)
        yield running


@pytest.mark.parametrize("width", [390, 1280])
def test_each_page_fits_its_window_and_can_be_read(chromium: Browser, bank: Populated, width: int) -> None:
    """Nothing runs out of the window, nothing is blocked or fails, and axe finds nothing, in light or dark."""
    context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme="light")
    page, said = context.new_page(), list[str]()
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))

    def assert_accessible(only: dict[str, Any]) -> None:
        found = Axe().run(page, options={"runOnly": only})
        violations = [
            (each["id"], node["target"]) for each in found.response["violations"] for node in each["nodes"]
        ]
        assert violations == [], page.url

    for path in pages(bank):
        page.goto(f"{bank.url}/emulator/{path}")
        assert page.evaluate("document.documentElement.scrollWidth") == width, path
        assert_accessible({"type": "tag", "values": list(RULES)})
        page.emulate_media(color_scheme="dark")
        assert_accessible({"type": "rule", "values": ["color-contrast"]})
        page.emulate_media(color_scheme="light")
    assert said == []
    context.close()


def test_a_delivery_is_repeated_and_a_day_is_drawn_without_javascript(
    chromium: Browser, bank: Populated
) -> None:
    """Links and forms do everything."""
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{bank.url}/emulator/")
    page.locator("#deliveries a.id").first.click()
    page.get_by_label("repeat it to").fill(f"{bank.url}/v2/another")
    page.get_by_role("button", name="Repeat").click()
    expect(page.get_by_role("heading", name="Repeated to")).to_be_visible()
    compare(page, "1")
    page.goto(f"{bank.url}/emulator/")
    page.get_by_role("link", name="Day by day").click()
    expect(page.get_by_role("img", name="Answers of receivers, by status")).to_be_visible()
    context.close()


def compare(page: Page, number: str) -> None:
    """Compare the entry that is open with another one."""
    page.get_by_label("compare with number").fill(number)
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("heading", name="Compared with")).to_be_visible()


def pages(bank: Populated) -> list[str]:
    """One page of each kind."""
    event = bank.ask("GET", "deliveries")["deliveries"][-1]["event"]
    invoice = bank.ask("GET", "deliveries")["deliveries"][-1]["entity"]
    day = bank.ask("GET", "health")["emulated_now"][:10]
    number = bank.ask("GET", "deliveries")["deliveries"][-1]["number"]
    return [
        "", f"day/{day}", f"view/event/{event}", f"view/invoice/{invoice}", f"view/delivery/{number}",
        "view/request/2?with=1",
    ]  # fmt: skip
