"""The lists that an operator narrows, the page of an invoice, and the search box."""

import csv
import io
from typing import Any
from urllib.parse import quote

import pytest

from payments.invoice import Payer
from payments.ledger import batches
from payments.storage.database import open_database
from tests.conftest import NOW
from tests.events import CREATED, event
from tests.running import wait_until
from tests.webhooks.console.conftest import Console

INVOICE = "5000000000000001"
OTHER = "5100000000000002"
PIX = "E20018183202603021510KQ3VZ81MAPT"


def reported(invoice_id: str, log_type: str, name: str = "José da Silva", **changes: Any) -> bytes:
    """An event of an invoice with its payer."""
    invoice = {
        "id": invoice_id,
        "amount": 123_456,
        "fee": 50,
        "status": "paid",
        "tags": [],
        "name": name,
        "taxId": "529.982.247-25",
        "created": CREATED,
        "link": f"https://example.com/{invoice_id}",
        **changes,
    }
    kind = ("created", "paid", "credited").index(log_type)
    log = {"id": f"7{kind}{invoice_id[2:]}", "type": log_type, "created": CREATED, "errors": []}
    return event(f"6{kind}{invoice_id[2:]}", "invoice", log | {"invoice": invoice})


@pytest.fixture
def filled(console: Console) -> Console:
    """One invoice that is settled, and one that is paid and not credited."""
    console.web.deliver(reported(INVOICE, "credited", tags=["theirs", PIX.lower()]))
    console.web.deliver(reported(OTHER, "paid", "=Ana Conceição", amount=20_000))
    wait_until(lambda: console.web.rows("SELECT 1 FROM transfers WHERE state = 'sent'"), "it is sent")
    return console


SEARCHES = {
    "jose SILVA": f"/credits/{INVOICE}",
    "conceicao": f"/invoices/{OTHER}",
    "R$ 1.234,56": f"/credits/{INVOICE}",
    "1234.56": f"/credits/{INVOICE}",
    "1.234,06": f"/credits/{INVOICE}",  # net
    "R$ 200": f"/invoices/{OTHER}",
    "5100": f"/invoices/{OTHER}",
    "theirs": f"/credits/{INVOICE}",
    PIX: f"/credits/{INVOICE}",
    f"credit-{INVOICE}": f"/credits/{INVOICE}",
    f"credit-{INVOICE[:9]}": f"/credits/{INVOICE}",
}


def test_a_search_leads_to_its_only_hit(filled: Console) -> None:
    """A name without accents and in part, an amount in either notation, a tag, a Pix, an id or its start."""
    for text, leads_to in SEARCHES.items():
        answer = filled.get(f"/search?q={quote(text)}")
        assert answer.status_code == 303, text
        assert answer.headers["location"].partition("?")[0] == f"/console{leads_to}", text
        page = filled.page(answer.headers["location"].removeprefix("/console"))
        assert f'value="{text}"' in page


@pytest.mark.parametrize("text", ["529.982.247-25", "52998224725"])
def test_a_tax_id_is_found_with_and_without_its_punctuation_and_is_masked(filled: Console, text: str) -> None:
    """Two invoices of one payer: a choice, by kind."""
    page = filled.page(f"/search?q={text}")
    assert f"/console/credits/{INVOICE}" in page
    assert f"/console/invoices/{OTHER}" in page
    assert "***.982.247-**" in page
    # what was typed stays in the box, and in the address to come back to
    assert "529.982.247-25" not in page.replace(text, "")
    assert "52998224725" not in page.replace(text, "")
    assert f'value="{text}"' in page


def test_a_day_leads_to_the_lists_of_that_day(filled: Console) -> None:
    """With how many and how much; a day without anything has no results."""
    for word in ("hoje", "today"):
        page = filled.page(f"/search?q={word}")
        for name in ("credits", "invoices", "transfers"):
            assert f"/console/{name}?since=" in page
    assert "No results for" in filled.page("/search?q=02/01/2020")
    assert "No results for" in filled.page("/search?q=nobody")
    assert "Search by a part of the payer" in filled.page("/search")


def test_lists_are_narrowed_and_added_up(filled: Console) -> None:
    """By payer, amount, day and state, with what that leaves."""
    for path, totals in {
        "/invoices": "Results: 2</strong>, R$ 1.434,56",
        "/invoices?state=paid": "Results: 1</strong>, R$ 200,00",
        "/invoices?payer=silva": "Results: 1</strong>, R$ 1.234,56",
        "/invoices?payer=52998224725&amount=200": "Results: 1</strong>, R$ 200,00",
        "/credits?payer=silva&since=hoje": "Results: 1</strong>: R$ 1.234,56 gross, R$ 0,50 fees, R$ 1.234,06 net",
        "/credits?payer=ana": "Results: 0</strong>: R$ 0,00 gross",
        "/credits?until=ontem": "Results: 0</strong>",
        "/credits?state=sent": "Results: 1</strong>",
        "/credits?state=settled": "Results: 0</strong>",
        "/transfers?payer=silva&state=sent": "Results: 1</strong>, R$ 1.234,06",
        "/transfers?amount=1": "Results: 0</strong>, R$ 0,00",
        "/inbox?outcome=credit": "Results: 1</strong>",
        "/inbox?until=01/01/2020": "Results: 0</strong>",
    }.items():
        assert totals in filled.page(path), path
    assert "other system" in filled.page("/invoices")


def test_a_filter_that_cannot_be_read_says_how_to_write_it(console: Console) -> None:
    """In the reader's language; what was typed stays in its field."""
    wrong = console.get("/credits?amount=lots&since=tomorrow")
    assert wrong.status_code == 400
    assert "“lots” is not an amount. Write it like 1.234,56." in wrong.text
    assert "“tomorrow” is not a day. Write it like 02/03/2026." in wrong.text
    assert 'value="lots"' in wrong.text
    portuguese = console.get("/credits?since=x", **{"Accept-Language": "pt-BR"}).text
    assert "“x” não é um dia. Escreva como 02/03/2026." in portuguese
    assert 'placeholder="dd/mm/aaaa"' in portuguese
    assert 'type="date"' not in portuguese


def test_a_list_is_a_file_too(filled: Console) -> None:
    """The same filter, whole centavos, times in UTC, tax ids masked, and no formula."""
    for path, number in {"/invoices": 2, "/credits": 1, "/transfers": 1, "/inbox": 2, "/acts": 0}.items():
        assert_is_a_file(filled, path, number)


def assert_is_a_file(filled: Console, path: str, number: int) -> None:
    """With so many lines; those that can be narrowed are."""
    answer = filled.get(f"{path}.csv")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"].startswith('attachment; filename="repasse-')
    lines = list(csv.DictReader(io.StringIO(answer.text)))
    assert len(lines) == number
    assert "529.982.247-25" not in answer.text
    if path == "/invoices":
        assert [(line["payer_name"], line["amount_centavos"]) for line in lines] == [
            ("'=Ana Conceição", "20000"),
            ("José da Silva", "123456"),
        ]
    if path == "/transfers":
        assert lines[0]["destination_account_number"] == "6341320293482496"
    if path in ("/invoices", "/credits", "/transfers"):
        narrowed = filled.get(f"{path}.csv?payer=silva").text
        assert len(list(csv.DictReader(io.StringIO(narrowed)))) == 1
        assert filled.get(f"{path}.csv?amount=lots").status_code == 400


def test_a_note_is_one_cell_of_a_file(console: Console) -> None:
    """As a sentence, under the name of its column: what is beside it stays where it belongs."""
    console.web.deliver(reported(INVOICE, "credited", amount="many"))
    [event_id] = [event_id for (event_id,) in console.web.rows("SELECT event_id FROM inbox_events")]
    console.act(f"replay/{event_id}", who="Ana", reason="this version reads it")
    [stored] = csv.DictReader(io.StringIO(console.get("/inbox.csv").text))
    assert stored["reason"].startswith("Expected `int`")
    assert (stored["outcome"], stored["received_at"][-1]) == ("unreadable", "Z")
    [action] = csv.DictReader(io.StringIO(console.get("/acts.csv").text))
    assert action["result"] == "event replayed; nothing new, it is still “unreadable”"
    assert None not in {**stored, **action}


def test_the_page_of_an_invoice_says_what_is_missing(filled: Console) -> None:
    """Its payer masked, its link, its events; and that it is another system's."""
    page = filled.page(f"/invoices/{OTHER}")
    missing = page.partition('id="missing">')[2].partition("</p>")[0]
    assert missing.startswith(
        "Paid at 02 Mar 12:00:00, no credit yet. Reconciliation has not asked the bank yet."
    )
    assert missing.endswith("This invoice was issued by another system.")
    assert "***.982.247-**" in page
    assert f'href="https://example.com/{OTHER}"' in page
    assert "invoice.paid" in page
    credited = filled.page(f"/invoices/{INVOICE}")
    assert "the transfer of R$ 1.234,06 was accepted at" in credited
    assert PIX in credited
    assert filled.get("/invoices/404").status_code == 404
    portuguese = filled.get(f"/invoices/{OTHER}", **{"Accept-Language": "pt-BR"}).text
    assert "Paga em 02/03 12:00:00, ainda sem crédito." in portuguese


def test_a_link_that_is_no_web_address_is_not_one(console: Console) -> None:
    """It comes from outside."""
    console.web.deliver(reported(INVOICE, "created", link="javascript:alert(1)"))
    assert "javascript:" not in console.page(f"/invoices/{INVOICE}")


def test_an_invoice_of_ours_links_to_its_batch(console: Console, database_url: str) -> None:
    """A planned one is found by its tag, and says that it is not issued."""
    database = open_database(database_url)
    batches.plan_batch(database, "b", None, [(Payer("Ana", "529.982.247-25"), 100)], NOW, late=False, now=NOW)
    database.close()
    page = console.page("/invoices/b-01")
    assert "not issued yet." in page
    assert "another system" not in page
    assert "/console/batches/1" in page
    assert "b-01" in console.page("/invoices?batch=b")
    assert "No matching invoices." in console.page("/invoices?batch=c")
    assert "/console/invoices/b-01" in console.page("/batches/1")


def test_the_first_page_compares_our_invoices_with_their_own_credits(console: Console) -> None:
    """Credits of other systems stand apart."""
    console.web.deliver(reported(INVOICE, "credited", tags=["repasse", "x"], amount=10_050))
    console.web.deliver(reported(OTHER, "credited", amount=20_050))
    page = console.page()
    assert "1 credited, R$ 100,00 net" in page
    assert "R$ 300,00 net; 1 of other systems, R$ 200,00" in page
