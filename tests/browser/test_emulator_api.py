"""The emulator's page of its API in a real Chromium: read, tried, and nothing requested from another host."""

from collections.abc import Callable

from tests.browser.conftest import Visitor
from tests.emulated import EmulatorProcess
from tests.running import Runner


def test_a_call_of_the_bank_is_tried_on_the_page_of_the_api(
    runner: Runner, visit: Callable[..., Visitor]
) -> None:
    """Under the page's strict headers the viewer works, and the call that it sends is signed and answered."""
    emulator = EmulatorProcess(runner, "--paused")
    visitor = visit(emulator.url)
    visitor.page.goto(f"{emulator.url}/emulator/api#/balance/getV2Balance")
    call = visitor.page.locator("#operations-balance-getV2Balance")
    call.get_by_role("button", name="Execute").click()
    call.get_by_text('"BRL"').wait_for()
    (kept,) = emulator.ask("GET", "requests")["requests"]
    assert (kept["path"], kept["status"], kept["project"]) == ("/v2/balance", 200, emulator.project_id)
