"""Actions: each asks first, needs a name and a reason, is recorded, and says why when it is not allowed."""

import re
from collections.abc import Callable

import pytest
from starlette.testclient import TestClient

from payments.operator.lists import ACTIONS
from payments.storage.database import Database
from payments.transfer import BankTransfer
from tests.emulated import EmulatedBank
from tests.events import invoice_event
from tests.payments.builders import a_body, a_transfer_log
from tests.running import wait_until
from tests.webhooks.conftest import WebApp
from tests.webhooks.console.conftest import OURS, TOKEN, Console

INVOICE = "5000000000000001"
TRANSFER = f"credit-{INVOICE}"


@pytest.fixture
def dead(start_app: Callable[..., WebApp]) -> Console:
    """A console whose books have one dead transfer."""
    web = start_app(operator_token=TOKEN, reissue_max=0)
    web.deliver(invoice_event(INVOICE, amount=20_000, fee=500))
    wait_until(lambda: web.rows("SELECT 1 FROM transfers WHERE state = 'sent'"), "it is sent")
    [(bank_id,)] = web.rows("SELECT bank_transfer_id FROM transfers")
    there = BankTransfer(
        id=bank_id,
        external_id=TRANSFER,
        status="failed",
        amount_centavos=19_500,
        bank_code="20018183",
        branch_code="0001",
        account_number="6341320293482496",
        tax_id="20.018.183/0001-80",
        tags=(TRANSFER,),
    )
    web.deliver(
        a_body(a_transfer_log(there, errors=("Destination account blocked",)), subscription="transfer")
    )
    assert web.rows("SELECT state FROM transfers") == [("dead",)]
    return Console(web)


def test_an_action_asks_first_and_shows_its_target(dead: Console) -> None:
    """The page changes nothing."""
    page = dead.page(f"/act/retry/{TRANSFER}")
    assert "Retry?" in page
    assert "R$ 195,00" in page
    assert "Destination account blocked" in page
    assert dead.web.rows("SELECT state FROM transfers") == [("dead",)]


def test_a_card_says_how_much_and_how_urgent_and_has_what_ends_it(dead: Console) -> None:
    """On the overview, the attention page and the credit's page."""
    for path in ("", "/attention", f"/credits/{INVOICE}"):
        page = dead.page(path)
        card = page.partition('<li class="attention bad">')[2].partition("</li>")[0]
        assert "R$ 195,00" in card
        assert ">urgent<" in card
        assert "/console/runbook#transfer_dead" in card
        assert re.findall(r"/console/act/(\w+)/", card) == ["retry", "abandon", "resolve"]


def test_a_retry_is_done_recorded_and_confirmed(dead: Console) -> None:
    """And the forwarder wakes immediately."""
    said = dead.flash(f"retry/{TRANSFER}", who="Ana Souza", reason="it is unblocked")
    assert said == "Retry queued; repasse checks with the bank before sending."
    assert dead.web.rows("SELECT who, kind, subject, reason FROM actions WHERE kind = 'retry'") == [
        ("Ana Souza", "retry", TRANSFER, "it is unblocked")
    ]
    wait_until(
        lambda: dead.web.rows("SELECT 1 FROM transfers WHERE external_id LIKE '%-r2' AND state = 'sent'"),
        "its replacement is sent",
    )


def test_of_two_operators_only_one_can_do_it(dead: Console) -> None:
    """The refusal says what the first has done; what was typed stays."""
    assert dead.act(f"abandon/{TRANSFER}", who="Ana").status_code == 303
    page = dead.page("/transfers")
    assert f"abandon/{TRANSFER}" not in page
    assert f"retry/{TRANSFER}" not in page
    assert 'class="badge bad"' not in page
    assert "abandoned" in dead.page("/transfers?state=abandoned")
    late = dead.act(f"abandon/{TRANSFER}", who="Bia", reason="<b>paid by hand</b>")
    assert late.status_code == 409
    assert "abandoned by Ana" in late.text
    assert "&lt;b&gt;paid by hand&lt;/b&gt;" in late.text
    assert dead.web.rows("SELECT who FROM actions WHERE kind = 'abandon'") == [("Ana",)]


def test_an_action_that_is_not_allowed_says_why_and_leaves_nothing(console: Console) -> None:
    """409, the page again, and no row."""
    for path, who, reason, why in (
        ("retry/credit-1", "Ana", "try it", "there is no transfer"),
        ("resolve/999", "Ana", "done with", "there is no item 999"),
        ("resolve/x", "Ana", "done with", "there is no item 0"),
        ("resume/issuing", "Ana", "go on", "issuing is not paused"),
        ("replay/none", "Ana", "read again", "there is no event"),
        ("pause/issuing", "", "stop it", "your name must have 1 to 64"),
        ("pause/issuing", "Ana", "ok", "the reason must have 3 to 500"),
        ("reconcile/now", "Ana", " ", "the reason must have 3 to 500"),
    ):
        answer = console.act(path, who, reason)
        assert answer.status_code == 409, path
        assert "Not done:" in answer.text
        assert why in answer.text.replace("&#39;", "'")
    assert console.web.count("actions") == 0


def test_the_other_actions_do_what_the_commands_do(console: Console) -> None:
    """Pause and resume, resolve, replay, reconcile, forward: each recorded and confirmed once."""
    web = console.web
    web.deliver(b"what is this")
    [(event_id,)] = web.rows("SELECT event_id FROM inbox_events")
    assert console.flash("pause/forwarding") == "Forwarding is paused."
    assert "<strong>Forwarding is paused</strong>" in console.page()
    refused = console.act("forward/now")
    assert (refused.status_code, "Resume it first" in refused.text) == (409, True)
    web.deliver(invoice_event(INVOICE))
    assert console.flash("resume/forwarding") == "Forwarding is running again."
    assert console.flash("resolve/1") == f"Resolved: Event not readable, {event_id}."
    assert console.flash(f"replay/{event_id}") == "Event replayed; nothing new, it is still “unreadable”."
    assert console.flash("reconcile/now").startswith("Reconciled: ")
    assert console.flash("forward/now").startswith("Transfers sent: ")
    kinds = [kind for (kind,) in web.rows("SELECT kind FROM actions ORDER BY id")]
    assert kinds == ["pause", "resume", "resolve", "replay", "reconcile", "forward"]
    assert web.count("actions WHERE result LIKE '%\"started\"%'") == 0
    assert web.count("actions WHERE result LIKE '%\"reconciled%'") == 1


def test_what_did_not_do_what_it_is_for_is_not_announced_in_green(
    console: Console, emulator: EmulatedBank
) -> None:
    """A replay that could not be read again, a reconciliation that the bank did not answer; the audit log says so."""
    console.web.deliver(b"what is this")
    [(event_id,)] = console.web.rows("SELECT event_id FROM inbox_events")
    emulator.fault("error_503", "GET event")
    for path, says in (
        (f"replay/{event_id}", "replayed_same"),
        ("reconcile/now", "reconciled_partly"),
    ):
        console.act(path)
        [notice] = re.findall(r'<p class="notice (\w+)" role="status" id="flash">', console.page())
        assert notice == "bad"
        assert console.web.count(f"actions WHERE result LIKE '%{says}%'") == 1


def test_an_error_page_keeps_what_needs_attention_but_not_for_a_stranger(console: Console) -> None:
    """The badge and the pauses are on every page; what anyone may ask for shows neither."""
    console.web.deliver(b"what is this")
    console.act("pause/issuing")
    missing = console.get("/credits/none")
    assert missing.status_code == 404
    assert 'class="count">1<' in missing.text
    assert "Issuing is paused" in missing.text
    stranger = console.client.get("/console/static/none")
    assert stranger.status_code == 404
    assert 'class="count"' not in stranger.text
    assert "Issuing is paused" not in stranger.text


def test_a_batch_by_hand_is_requested_in_the_database(console: Console) -> None:
    """The worker reads it there; while issuing is paused it is refused."""
    assert "requested; the worker issues it" in console.flash("issue/now")
    assert console.web.rows("SELECT state FROM invoice_batches") == [("requested",)]
    [(subject,)] = console.web.rows("SELECT subject FROM actions")
    assert subject.endswith("-manual")
    console.act("pause/issuing")
    assert console.act("issue/now").status_code == 409
    assert console.web.count("actions") == 2


def test_there_is_no_batch_by_hand_at_the_real_bank(
    open_console: Callable[..., TestClient], database: Database
) -> None:
    """It is for development: money would be asked of real people."""
    client = open_console()
    for path in ("/console/system", "/console/batches"):
        assert "Issue a batch" not in client.get(path).text
    answer = client.post("/console/act/issue/now", data={"who": "Ana", "reason": "for a demo"})
    assert answer.status_code == 409
    assert "only with an emulator" in answer.text
    assert not ACTIONS.read(database).items


def test_an_action_that_does_not_exist_is_not_found(console: Console) -> None:
    """Nor one on a target that it does not take."""
    for path in ("steal/now", "pause/everything", "reconcile/later", "issue/9"):
        assert console.get(f"/act/{path}").status_code == 404
        assert console.act(path).status_code == 404


def test_a_form_that_is_none_of_ours_is_refused(console: Console) -> None:
    """Too large, too many fields, or no text at all."""
    address = "/console/act/pause/forwarding"
    key = {"Authorization": f"Bearer {TOKEN}", **OURS, "Content-Type": "application/x-www-form-urlencoded"}
    for body, status in ((b"who=" + b"x" * 20_000, 413), (b"&".join([b"a=1"] * 30), 400), (b"\xff=1", 400)):
        assert console.client.post(address, content=body, headers=key).status_code == status
    assert console.web.count("actions") == 0


def test_a_message_is_shown_once_and_only_if_we_wrote_it(console: Console) -> None:
    """A cookie of another origin is no message of ours."""
    console.act("pause/forwarding")
    assert 'id="flash">Forwarding is paused.' in console.page()
    assert 'id="flash"' not in console.page()
    console.client.cookies.set("repasse_flash", "eyJ0ZXh0IjogImhpIn0=.00", path="/console")
    assert 'id="flash"' not in console.page()
