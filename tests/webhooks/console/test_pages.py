"""Pages: what they show, how lists continue, and what they answer when they cannot."""

import sqlite3
from collections.abc import Callable
from contextlib import closing

from pydantic import SecretStr

from tests.events import event, invoice_event
from tests.running import wait_until
from tests.webhooks.conftest import WebApp
from tests.webhooks.console.conftest import OURS, TOKEN, Console
from webhooks.console.rendering import readable_body
from webhooks.console.urls import invoice_of, link_to, subject_link

INVOICE = "5000000000000001"


def test_the_headline_is_not_green_while_forwarding_is_paused_with_a_credit_waiting(console: Console) -> None:
    """Every page says who paused it and why, and as of when it is."""
    console.act("pause/forwarding", "Ana", "the bank asked for it")
    console.web.deliver(invoice_event(INVOICE, amount=123_456, fee=0))
    page = console.page()
    assert 'class="headline good"' not in page
    assert "Forwarding is paused: 1 credit (R$ 1.234,56) is waiting" in page
    banner = console.page("/credits").partition("<strong>Forwarding is paused</strong>")[2]
    assert "by Ana: the bank asked for it" in banner.partition("</p>")[0]
    assert 'id="as-of">As of <time' in page


def test_empty_books_are_good_news_on_every_page(console: Console) -> None:
    """Nothing is missing: nothing has happened."""
    assert "No worker is running" in console.page()
    assert "No credits yet." in console.page("/credits")
    assert "None. That is good news." in console.page("/transfers?state=dead")
    assert "Nothing needs attention." in console.page("/attention")
    assert "No actions yet." in console.page("/acts")
    assert "No batches yet." in console.page("/batches")
    assert "No events yet." in console.page("/inbox")


def test_the_page_of_a_credit_has_its_timeline_and_events(console: Console) -> None:
    """Money as Brazilians write it, how each event was verified, tax ids masked."""
    console.web.deliver(invoice_event(INVOICE, amount=123_456, fee=50))
    wait_until(lambda: console.web.rows("SELECT 1 FROM transfers WHERE state = 'sent'"), "it is sent")
    page = console.page(f"/credits/{INVOICE}")
    assert "Credit of R$ 1.234,06" in page
    assert f"credit-{INVOICE}" in page
    assert "the Digital-Signature matches these bytes" in page
    assert console.page(f"/inbox/6{INVOICE[1:]}").count("SHA-256") == 1
    assert f"/console/search?q={INVOICE}" in console.page("/inbox")
    for path in ("/credits", "/transfers", "/transfers?state=sent"):
        assert link_to("credit", INVOICE) in console.page(path)


def test_lists_continue_where_they_stopped_and_refuse_a_cursor_that_is_none(console: Console) -> None:
    """Fifty to a page, which weighs less than 100 kB; what came meanwhile moves nothing."""
    for number in range(60):
        console.web.deliver(invoice_event(f"50000000000{number:05}"))
    first = console.page("/credits")
    address = first.partition('rel="next" href="')[2].partition('"')[0].replace("&amp;", "&")
    second = console.page(address.removeprefix("/console"))
    shown = [page.count('<th scope="row">') for page in (first, second)]
    assert shown == [50, 10]
    assert len(first.encode()) < 100_000
    assert 'rel="next"' not in second
    refused = console.get("/credits?after=nonsense")
    assert refused.status_code == 400


def test_what_is_not_there_is_not_found_in_a_page_of_ours(console: Console) -> None:
    """With a way back."""
    for path in (
        *("/credits/1", "/inbox/1", "/batches/1", "/batches/99999999999999999999999", "/nowhere"),
        *("/static/none", "/credits/%3Cscript%3E"),
    ):
        answer = console.get(path)
        assert answer.status_code == 404, path
        assert "Go to the overview" in answer.text
        assert "<script>" not in answer.text


def test_a_database_that_is_not_available_is_reported(console: Console, database_url: str) -> None:
    """503 and its reason; the page after it works again."""
    file = database_url.removeprefix("sqlite:///")
    with closing(sqlite3.connect(file)) as other:
        other.execute("ALTER TABLE actions RENAME TO hidden")
    answer = console.get("/acts")
    assert answer.status_code in (500, 503)
    assert "Traceback" not in answer.text
    with closing(sqlite3.connect(file)) as other:
        other.execute("ALTER TABLE hidden RENAME TO actions")
    assert "No actions yet." in console.page("/acts")


def test_the_time_zone_is_chosen_on_the_page_and_kept(console: Console) -> None:
    """One that is not offered changes nothing."""
    key = {"Authorization": f"Bearer {TOKEN}", **OURS}
    form = {"zone": "UTC", "back": "/console/acts"}
    answer = console.client.post("/console/preferences", data=form, headers=key, follow_redirects=False)
    assert answer.headers["location"] == "/console/acts"
    assert "<option selected>UTC</option>" in console.page("/acts")
    console.client.post("/console/preferences", data={**form, "zone": "<b>"}, headers=key)
    assert "<option selected>UTC</option>" in console.page("/acts")


def test_a_page_is_in_the_language_that_was_chosen_or_else_asked_for(console: Console) -> None:
    """The choice at the foot, then the browser's order, then the settings; anything else changes nothing."""

    def language(asked: str = "") -> str:
        page = console.get("/acts", **{"Accept-Language": asked}).text
        assert ("Aplicar</button>" in page) == ('<html lang="pt-BR">' in page)
        return page.partition('<html lang="')[2].partition('"')[0]

    assert (language(), language("pt-BR,en;q=0.5"), language("fr")) == ("en", "pt-BR", "en")
    key = {"Authorization": f"Bearer {TOKEN}", **OURS}
    for chosen, shown in (("pt-BR", "pt-BR"), ("<b>", "pt-BR"), ("en", "en")):
        console.client.post("/console/preferences", data={"language": chosen}, headers=key)
        assert language("pt-BR") == shown


def test_the_system_page_shows_settings_and_no_secret(start_app: Callable[..., WebApp]) -> None:
    """The key and the token are said to be set, the destination's tax id is masked."""
    page = Console(start_app(operator_token=TOKEN)).page("/system")
    assert TOKEN not in page
    assert "PRIVATE KEY" not in page
    assert "••••••" in page
    assert "20.018.183/0001-80" not in page
    assert "**.018.183/****-**" in page


def test_bytes_from_outside_are_indented_masked_and_cut() -> None:
    """JSON is indented; anything else stays as it is; never longer than a page can show."""
    pretty = readable_body(b'{"name": "Jos\\u00e9", "taxId": "529.982.247-2\\u0035"}')
    assert pretty.is_json
    assert "José" in pretty.text
    assert "529.982.247" not in pretty.text
    plain = readable_body(b"\xff<b> cpf 52998224725")
    assert not plain.is_json
    assert "52998224725" not in plain.text
    long = readable_body(b"[" * 2_000_000)
    assert (long.is_cut, len(long.text)) == (True, 12_000)


def test_unreadable_events_are_shown_whole(console: Console) -> None:
    """As text, with their hash; an id of any form has its page."""
    console.web.deliver(b"<script>alert(1)</script>")
    strange = 'a/b?c#d"<e>'
    console.web.deliver(event(strange, "deposit", {"id": "1", "type": "created"}))
    addresses = [
        link_to("event", event_id) for (event_id,) in console.web.rows("SELECT event_id FROM inbox_events")
    ]
    inbox = console.page("/inbox")
    pages = [console.page(address.removeprefix("/console")) for address in addresses]
    assert all(f'href="{address}"' in inbox for address in addresses)
    assert any("&lt;script&gt;alert(1)&lt;/script&gt;" in page for page in pages)
    assert not any("<script>alert" in page for page in pages)


def test_every_page_is_there_on_postgresql_too(start_app: Callable[..., WebApp], postgresql_url: str) -> None:
    """The same pages, and an action."""
    console = Console(start_app(operator_token=TOKEN, database_url=SecretStr(postgresql_url)))
    console.web.deliver(invoice_event(INVOICE))
    assert console.flash("pause/issuing") == "Issuing is paused."
    for path in (
        *(
            "",
            "/transfers",
            "/transfers?state=dead",
            f"/credits/{INVOICE}",
            f"/inbox/6{INVOICE[1:]}",
            "/inbox",
        ),
        *("/credits?amount=200&since=2026-01-01", "/batches", "/attention?show=all", "/acts", "/system"),
    ):
        console.page(path)


def test_links_lead_to_the_credit_of_a_transfer() -> None:
    """External ids are derived from the invoice."""
    assert invoice_of("credit-123") == invoice_of("credit-123-r12") == "123"
    assert subject_link("retry", "credit-12-r3") == "/console/credits/12"
    assert subject_link("retry", "<a/b>") == "/console/credits/%3Ca%2Fb%3E"
    assert subject_link("replay", "6") == "/console/inbox/6"
    assert subject_link("replay", "since 2026-01-01T00:00:00Z") is None
    assert subject_link("pause", "forwarding") is None


def test_the_timeline_of_a_credit_is_a_file_of_json_too(console: Console) -> None:
    """Everything, folded or not, with tax ids masked; what was ignored or is said twice is folded away on the page."""
    console.web.deliver(invoice_event("5000000000000001", amount=20_000, fee=500))
    console.web.wait_for_sent()
    page = console.page("/credits/5000000000000001")
    assert "/console/credits/5000000000000001/timeline.json" in page
    shown, _, folded = page.partition('id="timeline"')[2].partition('<details id="folded">')
    assert "Accepted by the bank" in shown
    assert "Webhook received" not in shown
    assert "Webhook received: invoice.credited" in folded
    answer = console.get("/credits/5000000000000001/timeline.json")
    assert answer.headers["content-disposition"] == 'attachment; filename="credit-5000000000000001.json"'
    found = answer.json()
    assert found["credit"]["net_centavos"] == 19_500
    assert [entry["kind"] for entry in found["entries"]][:3] == ["event", "credit", "transfer"]
    assert found["events"][0]["body"].startswith("{")
    assert console.get("/credits/none/timeline.json").status_code == 404
