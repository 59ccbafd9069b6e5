"""Acts: each asks first, needs a name and a reason, is recorded, and says why when it is not legal."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from payments.operator.lists import list_acts
from payments.settings import Settings
from payments.storage.database import Database
from payments.transfer import BankTransfer
from tests.events import invoice_event
from tests.payments.builders import a_body, a_transfer_log
from tests.running import wait_until
from tests.webhooks.conftest import WebApp
from tests.webhooks.console.conftest import OURS, TOKEN, Console
from webhooks.access import Gate
from webhooks.console.acts import Work
from webhooks.console.site import Console as Site

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


def test_an_act_asks_first_and_tells_what_it_is_about(dead: Console) -> None:
    """The page changes nothing."""
    page = dead.page(f"/act/retry/{TRANSFER}")
    assert "Retry?" in page
    assert "R$ 195,00" in page
    assert "Destination account blocked" in page
    assert dead.web.rows("SELECT state FROM transfers") == [("dead",)]


def test_a_retry_is_done_recorded_and_told(dead: Console) -> None:
    """And the forwarder takes it up at once."""
    said = dead.outcome(f"retry/{TRANSFER}", who="Ana Souza", reason="it is unblocked")
    assert said.startswith("Retry: it was dead, and is pending")
    assert dead.web.rows("SELECT who, kind, subject, reason FROM acts WHERE kind = 'retry'") == [
        ("Ana Souza", "retry", TRANSFER, "it is unblocked")
    ]
    wait_until(
        lambda: dead.web.rows("SELECT 1 FROM transfers WHERE external_id LIKE '%-r2' AND state = 'sent'"),
        "its replacement is sent",
    )


def test_of_two_operators_only_one_can_do_it(dead: Console) -> None:
    """The second is told what the first has made of it; what was typed stays."""
    assert dead.act(f"abandon/{TRANSFER}", who="Ana").status_code == 303
    late = dead.act(f"abandon/{TRANSFER}", who="Bia", reason="<b>paid by hand</b>")
    assert late.status_code == 409
    assert "abandoned by Ana" in late.text
    assert "&lt;b&gt;paid by hand&lt;/b&gt;" in late.text
    assert dead.web.rows("SELECT who FROM acts WHERE kind = 'abandon'") == [("Ana",)]


@pytest.mark.parametrize(
    ("path", "who", "reason", "why"),
    [
        ("retry/credit-1", "Ana", "try it", "there is no transfer"),
        ("resolve/999", "Ana", "done with", "there is no matter 999"),
        ("resolve/x", "Ana", "done with", "there is no matter 0"),
        ("resume/issuing", "Ana", "go on", "issuing is not paused"),
        ("replay/none", "Ana", "read again", "there is no event"),
        ("pause/issuing", "", "stop it", "the name of who acts has 0 characters"),
        ("pause/issuing", "Ana", "ok", "the reason has 2 characters"),
        ("reconcile/now", "Ana", " ", "the reason has 0 characters"),
    ],
)
def test_an_act_that_is_not_legal_says_why_and_leaves_nothing(
    console: Console, path: str, who: str, reason: str, why: str
) -> None:
    """409, the page again, and no row."""
    answer = console.act(path, who, reason)
    assert answer.status_code == 409
    assert "Not done." in answer.text
    assert why in answer.text.replace("&#39;", "'")
    assert console.web.count("acts") == 0


def test_the_other_acts_do_what_the_commands_do(console: Console) -> None:
    """Pause and resume, resolve, replay, reconcile, forward: each recorded once, each told."""
    web = console.web
    web.deliver(b"what is this")
    [(event_id,)] = web.rows("SELECT event_id FROM inbox_events")
    assert console.outcome("pause/forwarding") == "Pause: forwarding is paused"
    assert "Forwarding is paused" in console.page()
    refused = console.act("forward/now")
    assert (refused.status_code, "resume it first" in refused.text) == (409, True)
    web.deliver(invoice_event(INVOICE))
    assert console.outcome("resume/forwarding") == "Resume: forwarding runs again"
    assert console.outcome("resolve/1") == f"Resolve: closed unreadable_event of {event_id}"
    assert console.outcome(f"replay/{event_id}").startswith(
        "Replay: it was unreadable, and is now unreadable"
    )
    assert console.outcome("reconcile/now").startswith("Reconcile now: found ")
    assert console.outcome("forward/now").startswith("Forward now: sent ")
    kinds = [kind for (kind,) in web.rows("SELECT kind FROM acts ORDER BY id")]
    assert kinds == ["pause", "resume", "resolve", "replay", "reconcile", "forward"]


def test_a_batch_by_hand_is_asked_for_in_the_books(console: Console) -> None:
    """The worker reads it there; while issuing is paused nobody may ask."""
    assert "asked for: the worker plans batch repasse-" in console.outcome("issue/now")
    [(subject,)] = console.web.rows("SELECT subject FROM acts")
    assert subject.endswith("-manual")
    console.act("pause/issuing")
    assert console.act("issue/now").status_code == 409
    assert console.web.count("acts") == 2


def test_there_is_no_batch_by_hand_at_the_real_bank(
    settings: Callable[..., Settings], database: Database
) -> None:
    """It is for development: money would be asked of real people."""
    work = Work(lambda: None, lambda: "", lambda: "", new_batch_tag=None)
    clock = partial(datetime.now, UTC)
    site = Site(database, settings(), TOKEN, Gate(TOKEN), work, clock, clock)
    client = TestClient(Starlette(routes=site.routes), headers={"Authorization": f"Bearer {TOKEN}"})
    for path in ("/console/system", "/console/batches"):
        assert "Issue a batch" not in client.get(path).text
    answer = client.post("/console/act/issue/now", data={"who": "Ana", "reason": "for a demo"})
    assert answer.status_code == 409
    assert "only at an emulator" in answer.text
    assert not list_acts(database, None).items


def test_an_act_that_does_not_exist_is_not_found(console: Console) -> None:
    """Nor one on a thing that it is not for."""
    for path in ("steal/now", "pause/everything", "reconcile/later", "issue/9"):
        assert console.get(f"/act/{path}").status_code == 404
        assert console.act(path).status_code == 404


def test_a_form_that_is_none_of_ours_is_refused(console: Console) -> None:
    """Too large, too many fields, or no text at all."""
    address = "/console/act/pause/forwarding"
    key = {"Authorization": f"Bearer {TOKEN}", **OURS, "Content-Type": "application/x-www-form-urlencoded"}
    for body, status in ((b"who=" + b"x" * 20_000, 413), (b"&".join([b"a=1"] * 30), 400), (b"\xff=1", 400)):
        assert console.client.post(address, content=body, headers=key).status_code == status
    assert console.web.count("acts") == 0


def test_an_outcome_is_told_once_and_only_if_we_said_it(console: Console) -> None:
    """A cookie of others is no message of ours."""
    console.act("pause/forwarding")
    assert "Pause: forwarding is paused" in console.page()
    assert "Pause: forwarding is paused" not in console.page()
    console.client.cookies.set("repasse_outcome", "eyJ0ZXh0IjogImhpIn0=.00", path="/console")
    assert 'id="outcome"' not in console.page()
