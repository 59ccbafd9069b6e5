"""The live page: what it shows, what its buttons do, and what it must never do."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest

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
    (fault,) = signed.client.get("/emulator/faults").json()["faults"]
    assert (fault["times"], fault["rate"], fault["scenario"]) == (2, 0.5, "throttled")
    assert "throttled" in page(signed).text
    press(signed, "/emulator/faults/clear", id=str(fault["id"]))
    assert signed.client.get("/emulator/faults").json()["faults"] == []
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
        {"sec-fetch-site": "cross-site"},
        {"origin": "http://testserver:1"},
    ],
)
def test_pages_of_other_sites_are_turned_away(signed: Any, headers: dict[str, str]) -> None:
    """A browser request from another site gets 403 and has no effect."""
    for path, data in (("clock", {"advance": "60"}), ("key/rotate", {}), ("faults", {"name": "hang"})):
        response = signed.client.post(f"/emulator/{path}", data=data, headers=headers)
        assert response.status_code == 403
    assert signed.client.get("/emulator/faults").json()["faults"] == []
    own = {"origin": "http://testserver", "sec-fetch-site": "same-origin"}
    assert signed.client.post("/emulator/faults", json={"name": "hang"}, headers=own).status_code == 200


def test_json_is_json_even_when_curl_calls_it_a_form(signed: Any) -> None:
    """A body that begins like JSON is read as JSON, whatever its content type."""
    headers = {"content-type": "application/x-www-form-urlencoded"}
    response = signed.client.post("/emulator/faults", content=b' {"name": "hang"}', headers=headers)
    assert response.json()["fault"]["name"] == "hang"


def test_readiness_is_told_apart_from_life(signed: Any) -> None:
    """The two health calls answer separately."""
    assert signed.client.get("/emulator/health/live").json()["status"] == "ok"
    assert signed.client.get("/emulator/health/ready").json() == {"status": "ready"}


def test_a_preset_is_changed_while_running(signed: Any) -> None:
    """POST preset changes the settings and adds the faults of its pack."""
    changed = signed.client.post("/emulator/preset", json={"name": "hostile"}).json()["settings"]
    assert changed["pay_cluster_seconds"] == 600.0
    assert len(signed.client.get("/emulator/faults").json()["faults"]) > 10
    assert signed.client.post("/emulator/preset", json={"name": "kind"}).status_code == 400
    assert (
        signed.client.post("/emulator/preset", json={"name": "sandbox"}).json()["settings"]["paid_share"]
        == 0.85
    )
