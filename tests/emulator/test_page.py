"""The live page: what it shows, what its buttons do, and what it must never do."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import requests
from ellipticcurve import Ecdsa, PrivateKey

HOSTILE = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>"
INVOICE = {"amount": 48_712, "name": "Marina Tavares", "taxId": "529.982.247-25"}
VOID = {"meta", "link", "input", "br", "img"}


class Shape(HTMLParser):
    """Checks that elements nest, and collects what matters."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.urls: list[str] = []
        self.ids: list[str] = []
        self.forms: list[str] = []
        self.text = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        assert name != "img"
        assert not any(key.startswith("on") or key == "style" for key in found), "no inline code"
        assert name != "script" or found.get("src"), "no inline script"
        self.urls += [str(found[key]) for key in ("src", "href", "action") if key in found]
        self.ids += [str(found["id"])] if "id" in found else []
        if name == "form":
            self.forms.append(str(found["action"]))
        if name not in VOID:
            self.open.append(name)

    def handle_endtag(self, name: str) -> None:
        assert self.open.pop() == name

    def handle_data(self, data: str) -> None:
        self.text += data


def page(signed: Any, path: str = "/emulator/") -> Shape:
    response = signed.client.get(path)
    assert response.status_code == 200, response.text
    return Shape(response.text)


def press(signed: Any, action: str, **fields: str) -> str:
    """Send a form of the page; returns where it leads."""
    response = signed.client.post(action, data=fields, follow_redirects=False)
    assert response.status_code == 303, response.text
    return str(response.headers["location"])


def test_the_page_loads_nothing_from_elsewhere_and_runs_nothing_inline(signed: Any) -> None:
    """The policy, the addresses and the elements of the page keep every other host out."""
    response = signed.client.get("/emulator/")
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert response.headers["x-emulator"] == "repasse"
    # With "no-referrer" browsers say `Origin: null` of the page's own forms (seen in Chromium).
    assert response.headers["referrer-policy"] == "same-origin"
    shape = Shape(response.text)
    assert all(url.startswith("/emulator/") or url == "data:," for url in shape.urls)
    assert len(set(shape.ids)) == len(shape.ids)
    for name in ("style.css", "page.js"):
        served = signed.client.get(f"/emulator/static/{name}")
        assert served.status_code == 200
        assert not re.search(r"https?://|//[a-z]", served.text.replace("// ", ""))
    assert signed.client.get("/emulator/static/routes.py").status_code == 404
    assert signed.client.get("/emulator", follow_redirects=False).headers["location"] == "/emulator/"


def test_what_clients_and_receivers_send_is_shown_and_never_run(signed: Any, receiver: Any) -> None:
    """Markup from outside is shown as text on every page."""
    signed.client.post("/emulator/webhooks", json={"url": receiver.url, "subscriptions": ["invoice"]})
    body = {**INVOICE, "name": HOSTILE, "tags": [HOSTILE]}
    _, answer = signed.call("POST", "/v2/invoice", {"invoices": [body]})
    signed.call("GET", f"/v2/{HOSTILE}?{HOSTILE}")
    transfer = {
        "amount": 10, "name": HOSTILE, "taxId": "20.018.183/0001-80", "bankCode": "20018183",
        "branchCode": "0001", "accountNumber": "1", "description": HOSTILE,
    }  # fmt: skip
    _, sent = signed.call("POST", "/v2/transfer", {"transfers": [transfer]})
    signed.client.post("/emulator/faults", json={"name": "no_balance", "reason": HOSTILE})
    press(signed, f"/emulator/transfers/{HOSTILE.replace('/', '')}/fail", reason=HOSTILE)
    press(signed, "/emulator/clock", advance="100")
    shape = page(signed)
    assert "<script>alert('x')</script>" in shape.text
    invoice_id, transfer_id = answer["invoices"][0]["id"], sent["transfers"][0]["id"]
    event_id = signed.get("/v2/event")["events"][0]["id"]
    for path in (
        f"invoice/{invoice_id}",
        f"transfer/{transfer_id}",
        f"event/{event_id}",
        "request/1",
        "request/2",
    ):
        assert HOSTILE.split("/")[0] in page(signed, f"/emulator/view/{path}").text or path.startswith(
            "request"
        )
    missing = signed.client.get(f"/emulator/view/invoice/{HOSTILE.replace('/', '')}")
    assert missing.status_code == 404
    Shape(missing.text)


def test_its_buttons_pay_reverse_settle_and_say_what_they_did(signed: Any) -> None:
    """A form does what its button says and leaves a sentence on the page."""
    _, answer = signed.call("POST", "/v2/invoice", {"invoices": [INVOICE]})
    invoice_id = answer["invoices"][0]["id"]
    assert f"/emulator/invoices/{invoice_id}/credit" in page(signed).forms
    assert press(signed, f"/emulator/invoices/{invoice_id}/credit", back="invoices") == "/emulator/#invoices"
    shape = page(signed)
    assert f"invoice {invoice_id} over R$ 487,12 is paid" in shape.text
    assert f"/emulator/invoices/{invoice_id}/reverse" in shape.forms
    press(signed, f"/emulator/invoices/{invoice_id}/reverse", amount="8712", back="invoices")
    assert signed.get(f"/v2/invoice/{invoice_id}")["invoice"]["amount"] == 8_712
    press(signed, f"/emulator/invoices/{invoice_id}/expire", back="//evil.test/")
    assert f"Invoice {invoice_id} is paid, not created or overdue" in page(signed).text


def test_no_form_leads_off_the_page(signed: Any) -> None:
    """`back` leads only to a section of the page."""
    for back in ("//evil.test", "https://evil.test", "a\r\nb", "x" * 50, ""):
        assert press(signed, "/emulator/faults/clear", back=back) == "/emulator/#"


def test_a_fault_is_switched_on_and_off_and_time_is_moved_by_forms(signed: Any) -> None:
    """The forms for faults, the clock and triggers reach the bank."""
    press(
        signed,
        "/emulator/faults",
        name="throttled",
        times="2",
        rate="0.5",
        ends_in="",
        only="",
        back="faults",
    )
    (fault,) = signed.ask("GET", "faults")["faults"]
    assert (fault["times"], fault["rate"], fault["scenario"]) == (2, 0.5, "throttled")
    assert "throttled" in page(signed).text
    press(signed, "/emulator/faults/clear", id=str(fault["id"]))
    assert signed.ask("GET", "faults")["faults"] == []
    press(signed, "/emulator/clock", advance="3600", back="clock")
    assert "02/03/2026 16:00:00 UTC" in page(signed).text
    press(signed, "/emulator/trigger", name="invoice.credited", amount="1000")
    assert "R$ 10,00 is paid" in page(signed).text


def test_a_webhook_is_sent_from_the_page_and_its_answer_seen(signed: Any, receiver: Any) -> None:
    """Sending an event shows the receiver's answer."""
    press(signed, "/emulator/webhooks", url=receiver.url, subscriptions="invoice,transfer")
    press(signed, "/emulator/trigger", name="invoice.created", amount="1000")
    receiver.next()
    event_id = signed.get("/v2/event")["events"][0]["id"]
    receiver.status = 418
    press(signed, f"/emulator/events/{event_id}/send", back="deliveries")
    shape = page(signed)
    assert f"event {event_id} to {receiver.url}: answered 418" in shape.text
    tries = page(signed, f"/emulator/view/event/{event_id}")
    assert "418" in tries.text
    assert "Answer" in page(signed, "/emulator/view/delivery/1").text


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.test"},
        {"origin": "null"},
        {"origin": "http://["},
        {"sec-fetch-site": "cross-site"},
        {"origin": "http://testserver:1"},
    ],
)
def test_pages_of_other_sites_are_turned_away(signed: Any, headers: dict[str, str]) -> None:
    """A browser request from another site gets 403 and has no effect."""
    for path, data in (("clock", {"advance": "60"}), ("key/rotate", {}), ("faults", {"name": "hang"})):
        response = signed.client.post(f"/emulator/{path}", data=data, headers=headers)
        assert response.status_code == 403
    assert signed.ask("GET", "faults")["faults"] == []
    own = {"origin": "http://testserver", "sec-fetch-site": "same-origin"}
    assert signed.client.post("/emulator/faults", json={"name": "hang"}, headers=own).status_code == 200


def test_json_is_json_even_when_curl_calls_it_a_form(signed: Any) -> None:
    """A body that begins like JSON is read as JSON, whatever its content type."""
    headers = {"content-type": "application/x-www-form-urlencoded"}
    response = signed.client.post("/emulator/faults", content=b' {"name": "hang"}', headers=headers)
    assert response.json()["fault"]["name"] == "hang"


def test_readiness_is_told_apart_from_life(signed: Any) -> None:
    """The two health calls answer separately."""
    assert signed.ask("GET", "health/live")["status"] == "ok"
    assert signed.ask("GET", "health/ready") == {"status": "ready"}


def test_a_delivery_is_repeated_to_any_url_and_its_answers_are_compared(signed: Any, receiver: Any) -> None:
    """The same bytes with the same signature go out again; the page shows where the answers differ."""
    press(signed, "/emulator/webhooks", url=receiver.url, subscriptions="invoice")
    press(signed, "/emulator/trigger", name="invoice.created", amount="1000")
    first = receiver.next()
    elsewhere = receiver.url.replace("/webhooks/starkbank", "/elsewhere?x=1")
    receiver.status = 418
    place = press(signed, "/emulator/deliveries/1/repeat", url=elsewhere, back="view/delivery/1")
    assert place == "/emulator/view/delivery/1"
    assert receiver.next() == first
    shape = page(signed, place)
    assert f"Repeated to {elsewhere}" in shape.text
    assert f"POST {elsewhere}: answered 418" in shape.text
    assert "The same answer as the first time." in shape.text
    (event,) = signed.get("/v2/event")["events"]
    assert event["isDelivered"], "a repeat is no part of the bank's books"
    assert len(signed.ask("GET", "deliveries")["deliveries"]) == 1
    press(signed, "/emulator/deliveries/1/repeat", url="http://127.0.0.1:1/")
    assert "could not connect" in page(signed, place).text
    for path, url in (("1", "ftp://x"), ("1", "http://a b"), ("9", ""), ("x", "")):
        answer = signed.client.post(f"/emulator/deliveries/{path}/repeat", json={"url": url})
        assert answer.status_code == 400


@pytest.mark.process
def test_a_request_is_repeated_to_the_emulator_itself(start_emulator: Any) -> None:
    """Without a URL it goes where it came in, with the signature that it had, and takes effect again."""
    process = start_emulator()
    key = Path(process.environment["STARKBANK_PRIVATE_KEY_PATH"]).read_text()
    project_id = process.environment["STARKBANK_PROJECT_ID"]
    raw = json.dumps({"invoices": [INVOICE]}).encode()
    signer = PrivateKey.fromPem(key)
    headers = {"Access-Id": f"project/{project_id}", "Access-Time": "1795233431"}
    message = f"{headers['Access-Id']}:{headers['Access-Time']}:{raw.decode()}"
    headers["Access-Signature"] = Ecdsa.sign(message, signer).toBase64()
    answer = requests.post(f"{process.url}/v2/invoice?x=1", data=raw, headers=headers, timeout=20)
    assert answer.status_code == 200, answer.text
    repeat = process.post("/emulator/requests/1/repeat")["repeat"]
    assert (repeat["status"], repeat["url"]) == (200, f"{process.url}/v2/invoice?x=1")
    first, second = (json.loads(each)["invoices"][0]["id"] for each in (answer.text, repeat["answer"]))
    assert first != second
    assert process.get("/emulator/activity")["invoices"] == {"created": 2}


def test_two_requests_are_compared(signed: Any) -> None:
    """Lines that only one of them has are marked; a number that is none is said to be none."""
    for amount in (100, 200):
        signed.call("POST", "/v2/invoice", {"invoices": [{**INVOICE, "amount": amount}]})
    text = page(signed, "/emulator/view/request/1?with=2").text
    assert '-      "amount": 100,' in text
    assert '+      "amount": 200,' in text
    assert "The same was sent." in page(signed, "/emulator/view/request/1?with=1").text
    assert "There is no request 7" in page(signed, "/emulator/view/request/1?with=7").text
    for odd in ("0", "-1", "x", "9" * 30, HOSTILE):
        page(signed, f"/emulator/view/request/1?with={odd}")


def test_a_file_is_described_and_not_shown(signed: Any) -> None:
    """An answer that is no text is named by its length."""
    _, answer = signed.call("POST", "/v2/invoice", {"invoices": [INVOICE]})
    path = f"/v2/invoice/{answer['invoices'][0]['id']}/qrcode"
    content = signed.client.get(path, headers=signed.headers()).content
    assert f"{len(content)} bytes that are no text" in page(signed, "/emulator/view/request/2").text


def test_a_day_is_drawn_hour_by_hour(signed: Any, receiver: Any) -> None:
    """Each chart counts what the bank, the callers and the receiver did in each hour of that day."""
    signed.client.post("/emulator/webhooks", json={"url": receiver.url, "subscriptions": ["invoice"]})
    press(signed, "/emulator/trigger", name="invoice.credited", amount="1000")
    for _ in range(3):
        receiver.next()
    signed.get("/v2/balance")
    signed.call("GET", "/v2/invoice/1")
    signed.advance(3600)
    press(signed, "/emulator/trigger", name="invoice.paid", amount="1000")
    press(signed, "/emulator/trigger", name="transfer.created", amount="10")
    drawn = page(signed, "/emulator/day/2026-03-02").text
    for words in (
        "02/03 15:00 UTC: invoices: 1",
        "02/03 16:00 UTC: payments: 1",
        "02/03 16:00 UTC: transfers: 1",
        "02/03 15:00 UTC: answered 200: 1",
        "02/03 15:00 UTC: answered 4xx: 1",
        "02/03 15:00 UTC: answered 200: 3",
    ):
        assert words in drawn
    assert re.search(r"02/03 15:00 UTC: median [\d.]+ ms, slowest [\d.]+ ms of 3", drawn)
    assert "02/03 16:00 UTC: payments: 1" in page(signed).text, "the last 24 hours are on the first page"
    assert "Nothing happened on this day." in page(signed, "/emulator/day/2026-03-01").text
    assert "Nothing happened on this day." in page(signed, "/emulator/day/2026-03-03").text
    for odd in ("2026-02-30", "0001-01-01", "9999-12-31", "x"):
        assert signed.client.get(f"/emulator/day/{odd}").status_code == 404


def test_a_reversal_says_what_goes_back(signed: Any) -> None:
    """The note and the list name the money that goes back, not an invoice over nothing."""
    press(signed, "/emulator/trigger", name="invoice.reversed", amount="48712")
    shape = page(signed)
    assert "R$ 487,12 goes back to the payer, R$ 0,00 remains" in shape.text
    assert "R$ 487,12 given back" in shape.text
    assert "over R$ 0,00" not in shape.text


def test_a_preset_is_changed_while_running(signed: Any) -> None:
    """POST preset changes the settings and adds the faults of its pack."""
    changed = signed.client.post("/emulator/preset", json={"name": "hostile"}).json()["settings"]
    assert changed["pay_cluster_seconds"] == 600.0
    assert len(signed.ask("GET", "faults")["faults"]) > 10
    assert signed.client.post("/emulator/preset", json={"name": "kind"}).status_code == 400
    assert (
        signed.client.post("/emulator/preset", json={"name": "sandbox"}).json()["settings"]["paid_share"]
        == 0.85
    )
