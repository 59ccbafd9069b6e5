"""No one reaches the console without the token, in a real browser: not by guessing, and not from another site."""

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from payments.ledger.pauses import paused
from payments.storage.database import Database
from tests.browser.conftest import TOKEN, Visitor, WebProcess
from tests.running import wait_until

pytestmark = [pytest.mark.process, pytest.mark.timeout(170)]

# A stranger's page: it posts an action to the console as soon as it is opened, along with whatever cookies go along.
ATTACK = """<!doctype html><title>a prize</title><form method=post action="{url}/console/act/pause/forwarding">
<input name=who value=eve><input name=reason value="a prize"></form><script>document.forms[0].submit()</script>"""


def test_the_console_opens_to_the_token_only_and_closes_again(
    web: WebProcess, visit: Callable[..., Visitor]
) -> None:
    """Every way in leads to the sign-in; guesses are slowed and logged; the token is in no address and in no log."""
    ana = visit(web.url)
    ana.open("/credits?amount=10")
    expect(ana.page.get_by_role("heading", level=1)).to_have_text("Sign in")
    ana.assert_accessible()
    ana.page.get_by_label("Your name").fill("Ana Souza")
    # Refusals are answered 401 and 429, which a browser writes to its console.
    for guess, answer in (
        ("wrong-but-sixteen-letters", "Wrong token"),
        (TOKEN, "Too many wrong tokens"),
    ):
        ana.page.get_by_label("Token", exact=True).fill(guess)
        ana.page.get_by_role("button", name="Sign in").click()
        expect(ana.page.get_by_role("alert")).to_contain_text(answer)
    ana.wrong.clear()
    expect(ana.page.get_by_label("Your name")).to_have_value("Ana Souza")

    def opens() -> bool:  # once the wait, of half a second, is over
        ana.page.get_by_label("Token", exact=True).fill(TOKEN)
        ana.page.get_by_role("button", name="Sign in").click()
        return "/sign-in" not in ana.page.url

    wait_until(opens, "the right token opens it")
    ana.wrong.clear()
    expect(ana.page).to_have_url(f"{web.url}/console/credits?amount=10")
    expect(ana.page.locator("main")).to_contain_text("No matching credits.")
    [cookie] = [each for each in ana.context.cookies() if each["name"] == "repasse"]
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    ana.page.get_by_role("button", name="Sign out").click()
    expect(ana.page.get_by_role("heading", level=1)).to_have_text("Sign in")
    ana.open("/acts")
    expect(ana.page.get_by_role("heading", level=1)).to_have_text("Sign in")
    assert web.running.stop() == 0
    said = web.running.said
    assert '"event":"access.refused"' in said
    assert TOKEN not in said
    assert "wrong-but-sixteen-letters" not in said


def test_another_site_can_make_the_operators_browser_do_nothing(
    web: WebProcess, visit: Callable[..., Visitor], database: Database
) -> None:
    """Signed in, and lured to a stranger's page that posts an action: refused, and the books do not change."""
    ana = visit(web.url)
    ana.sign_in()
    expect(ana.page.get_by_role("heading", level=1)).to_have_text("No worker is running")
    ana.page.route(
        "http://prize.test/**",
        lambda route: route.fulfill(body=ATTACK.format(url=web.url), content_type="text/html"),
    )
    with ana.page.expect_response("**/console/act/pause/forwarding") as posted:
        ana.page.goto("http://prize.test/")
    assert posted.value.status == 403
    assert paused(database) == {}
    assert '"event":"console.cross_site"' in web.running.said
    ana.wrong.clear()  # it was elsewhere, and was refused
    ana.open()
    expect(ana.page.get_by_role("heading", level=1)).to_have_text("No worker is running")
