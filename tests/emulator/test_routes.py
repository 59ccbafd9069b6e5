"""The /v2 API, called with signed requests in process."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.emulator.conftest import INVOICE, TRANSFER

UNKNOWN = "0000000000000000"
INVOICE_KEYS = {
    "amount", "brcode", "created", "descriptions", "discountAmount", "discounts", "displayDescription", "due",
    "expiration", "fee", "fine", "fineAmount", "id", "interest", "interestAmount", "link", "name",
    "nominalAmount", "pdf", "rules", "splits", "status", "tags", "taxId", "transactionIds", "updated",
}  # fmt: skip
NO_BATCH = [b"", b"{", b"[]", b"{}", b'{"invoices": {}}', b'{"invoices": []}', b"\xff", b"[" * 9_000]


def issue(signed: Any, count: int = 1, **changes: Any) -> list[dict[str, Any]]:
    status, answer = signed.call("POST", "/v2/invoice", {"invoices": [{**INVOICE, **changes}] * count})
    assert status == 200, answer
    invoices: list[dict[str, Any]] = answer["invoices"]
    return invoices


def test_a_created_invoice_has_every_field_of_the_bank_with_its_defaults(signed: Any) -> None:
    """The answer to POST has the documented keys and defaults."""
    (invoice,) = issue(signed, tags=["Batch-3", "ITEM"], taxId="52998224725")
    assert set(invoice) == INVOICE_KEYS
    assert invoice["due"] == "2026-03-04T15:00:00.000000+00:00"
    assert invoice["created"] == "2026-03-02T15:00:00.000000+00:00"
    assert (invoice["expiration"], invoice["fine"], invoice["interest"]) == (5_097_600, 2.0, 1.0)
    assert invoice["tags"] == ["batch-3", "item"]
    assert invoice["taxId"] == "529.982.247-25"
    assert len(invoice["id"]) == 16


def test_a_transfer_of_a_batch_comes_back_in_the_order_sent(signed: Any) -> None:
    """Rows of the answer are in the order of the request."""
    elements = [{**TRANSFER, "amount": amount, "accountType": None} for amount in (3, 1, 2)]
    _, answer = signed.call("POST", "/v2/transfer", {"transfers": elements})
    assert [transfer["amount"] for transfer in answer["transfers"]] == [3, 1, 2]
    assert {transfer["accountType"] for transfer in answer["transfers"]} == {"checking"}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"amount": "100"}, "invalidAmount"),
        ({"amount": -1}, "invalidAmount"),
        ({"amount": True}, "invalidAmount"),
        ({"amount": 1.5}, "invalidAmount"),
        ({"amount": {}}, "invalidAmount"),
        ({"amount": 10**20}, "invalidAmount"),
        ({"taxId": "529.982.247-26"}, "invalidTaxId"),
        ({"taxId": "111.111.111-11"}, "invalidTaxId"),
        ({"taxId": 52998224725}, "invalidTaxId"),
        ({"due": "2026-03-01"}, "invalidDate"),
        ({"due": "2026-03-02T14:00:00+00:00"}, "invalidDateTime"),
        ({"due": "tomorrow"}, "invalidDateTime"),
        ({"due": "9999-12-31"}, "invalidDateTime"),
        ({"expiration": -1}, "invalidExpiration"),
        ({"descriptions": [{"key": str(n)} for n in range(16)]}, "invalidDescription"),
        ({"discounts": [{"percentage": 10, "due": "2026-03-03"}] * 6}, "invalidDiscount"),
        ({"discounts": [{"percentage": 10, "due": "never"}]}, "invalidDiscountDate"),
        ({"rules": [{"key": [], "value": 1}]}, "invalidRule"),
        ({"tags": "one"}, "invalidTags"),
        ({"name": ""}, "invalidName"),
        ({"name": None}, "invalidJson"),
        ({"colour": "red"}, "invalidJson"),
        ({"id": "1"}, "invalidJson"),
    ],
)
def test_a_wrong_invoice_is_refused_by_its_code(signed: Any, change: dict[str, Any], code: str) -> None:
    """Each wrong field of an invoice has the code of the official tests."""
    assert signed.code("POST", "/v2/invoice", {"invoices": [{**INVOICE, **change}]}) == code
    assert signed.get("/v2/invoice")["invoices"] == []


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"amount": 0}, "invalidAmount"),
        ({"taxId": "20.018.183/0001-81"}, "invalidTaxId"),
        ({"bankCode": "2001"}, "invalidBankCode"),
        ({"accountNumber": 1}, "invalidAccountNumber"),
        ({"accountType": "gold"}, "invalidAccountType"),
        ({"externalId": "with space"}, "invalidExternalId"),
        ({"scheduled": "2020-01-01"}, "invalidDate"),
        ({"branchCode": None}, "invalidJson"),
    ],
)
def test_a_wrong_transfer_is_refused_by_its_code(signed: Any, change: dict[str, Any], code: str) -> None:
    """Each wrong field of a transfer has the code of the official tests."""
    assert signed.code("POST", "/v2/transfer", {"transfers": [{**TRANSFER, **change}]}) == code


def test_a_batch_is_all_or_nothing_with_one_error_for_each_bad_element(signed: Any) -> None:
    """One bad element refuses the batch, and each bad one has an error."""
    bad = [{**INVOICE, "amount": -1}, INVOICE, {**INVOICE, "taxId": "1"}, {"amount": 1}]
    status, answer = signed.call("POST", "/v2/invoice", {"invoices": bad})
    assert status == 400
    assert [error["code"] for error in answer["errors"]] == ["invalidAmount", "invalidTaxId", "invalidJson"]
    assert "Missing parameters in invoice: name, taxId" in answer["errors"][2]["message"]
    assert signed.get("/v2/invoice")["invoices"] == []


@pytest.mark.parametrize("body", NO_BATCH)
def test_a_body_that_is_no_batch_is_one_invalid_json(signed: Any, body: bytes) -> None:
    """A body of the wrong shape gets a single invalidJson."""
    assert signed.code("POST", "/v2/invoice", body) == "invalidJson"


def test_more_than_a_hundred_elements_are_one_error_for_the_whole(signed: Any) -> None:
    """101 elements get a single error."""
    assert signed.code("POST", "/v2/invoice", {"invoices": [INVOICE] * 101}) == "invalidJson"
    assert len(issue(signed, count=100)) == 100


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/v2/invoice/{}", "invalidInvoice"),
        ("PATCH", "/v2/invoice/{}", "invalidInvoice"),
        ("GET", "/v2/invoice/{}/payment", "invalidInvoice"),
        ("GET", "/v2/invoice/log/{}", "invalidInvoiceLog"),
        ("GET", "/v2/transfer/{}", "invalidTransfer"),
        ("DELETE", "/v2/transfer/{}", "invalidTransfer"),
        ("GET", "/v2/transfer/log/{}", "invalidTransferLog"),
        ("GET", "/v2/webhook/{}", "invalidWebhookId"),
        ("DELETE", "/v2/webhook/{}", "invalidWebhookId"),
        ("GET", "/v2/event/{}", "invalidEvent"),
        ("DELETE", "/v2/event/{}", "invalidEvent"),
        ("GET", "/v2/event/attempt/{}", "invalidEventAttempt"),
        ("GET", "/v2/transaction/{}", "invalidTransaction"),
    ],
)
def test_an_unknown_id_is_400_and_never_404(signed: Any, method: str, path: str, code: str) -> None:
    """Every resource refuses an unknown id with 400 and its code."""
    body = {"amount": 1} if method == "PATCH" else None
    assert signed.code(method, path.format(UNKNOWN), body) == code


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("invoice?status=credited", "invalidInvoice"),
        ("invoice/log?types=settled", "invalidInvoiceLog"),
        ("transfer?status=sent", "invalidTransfer"),
        ("transfer/log?types=paid", "invalidTransferLog"),
        ("transfer?sort=amount", "invalidSort"),
        ("transfer?taxId=1", "invalidTaxId"),
        ("event?isDelivered=maybe", "invalidIsDelivered"),
        ("invoice?limit=0", "invalidLimit"),
        ("invoice?limit=101", "invalidLimit"),
        ("invoice?limit=x", "invalidLimit"),
        ("invoice?after=yesterday", "invalidDate"),
        ("invoice?cursor=nonsense", "invalidCursor"),
    ],
)
def test_a_filter_value_that_no_row_could_have_is_refused(signed: Any, query: str, code: str) -> None:
    """An impossible filter value is refused and not answered with an empty list."""
    assert signed.code("GET", f"/v2/{query}") == code


def test_lists_page_newest_first_by_cursor_and_filter_by_tags_and_ids(signed: Any) -> None:
    """Pages follow each other without gaps or repeats, under filters too."""
    rows = issue(signed, count=3, tags=["A"]) + issue(signed, count=2, tags=["B", "C"])
    newest_first = [row["id"] for row in reversed(rows)]
    page = signed.get("/v2/invoice?limit=4")
    assert [row["id"] for row in page["invoices"]] == newest_first[:4]
    rest = signed.get(f"/v2/invoice?limit=4&cursor={page['cursor']}")
    assert [row["id"] for row in rest["invoices"]] == newest_first[4:]
    assert rest["cursor"] is None
    assert len(signed.get("/v2/invoice?tags=a%2Cnone")["invoices"]) == 3
    assert len(signed.get("/v2/invoice?tags=A,c")["invoices"]) == 5
    ids = ",".join(newest_first[1:3])
    assert [row["id"] for row in signed.get(f"/v2/invoice?ids={ids}")["invoices"]] == newest_first[1:3]
    assert signed.get("/v2/invoice?limit=1&fields=id,status")["invoices"] == [
        {"id": newest_first[0], "status": "created"}
    ]
    assert len(signed.get("/v2/invoice?status=created,paid")["invoices"]) == 5
    assert len(signed.get("/v2/invoice/log?types=created&limit=2")["logs"]) == 2
    assert len(signed.get(f"/v2/invoice/log?invoiceIds={ids}&types=created,paid")["logs"]) == 2


def test_after_and_before_are_days_of_sao_paulo(signed: Any) -> None:
    """Both days are included, by São Paulo's calendar."""
    (first,) = issue(signed)
    signed.advance(11.5 * 3_600)  # 02:30 UTC of the 3rd: still the 2nd in São Paulo
    (second,) = issue(signed)
    signed.advance(3_600)
    (third,) = issue(signed)

    def ids(query: str) -> list[str]:
        return [row["id"] for row in signed.get(f"/v2/invoice?{query}")["invoices"]]

    assert ids("before=2026-03-02") == [second["id"], first["id"]]
    assert ids("after=2026-03-03") == [third["id"]]
    assert ids("after=2026-03-01") == [third["id"], second["id"], first["id"]]


def test_doubled_and_trailing_slashes_and_literals_before_ids_are_understood(signed: Any) -> None:
    """Paths as the SDKs write them find their call."""
    assert signed.get("/v2//public-key?limit=1")["publicKeys"] == signed.credentials.public_keys()
    assert signed.get("/v2//invoice//") == {"invoices": [], "cursor": None}
    assert signed.get("/v2/invoice/log/") == {"logs": [], "cursor": None}
    assert signed.get("/v2/event/attempt")["attempts"] == []


def test_a_path_that_does_not_exist_is_404_with_errors_and_marked_as_a_test(signed: Any) -> None:
    """An unknown path gets 404, an error and the emulator's mark."""
    for path in ("/v2/boleto", "/v3/invoice", "/", "/v2", "/emulator/unknown", "/v2/invoice/1/2/3"):
        response = signed.client.get(path, headers=signed.headers())
        assert response.status_code == 404, path
        assert response.json()["errors"][0]["code"] == "routeNotFound"
        assert response.headers["x-emulator"] == "repasse"


def test_a_webhook_is_registered_wrapped_or_not_and_its_events_are_read_patched_and_deleted(
    signed: Any,
) -> None:
    """Webhooks and events go through all their calls."""
    body = {"url": "http://127.0.0.1:9/hook", "subscriptions": ["invoice"]}
    for form in (body, {"webhook": body}):
        status, answer = signed.call("POST", "/v2/webhook", form)
        assert status == 200
        assert answer["webhook"] == {**body, "id": answer["webhook"]["id"]}
    assert len(signed.get("/v2/webhook")["webhooks"]) == 2
    assert signed.code("POST", "/v2/webhook", {**body, "url": "ftp://x"}) == "invalidUrl"
    assert signed.code("POST", "/v2/webhook", {**body, "subscriptions": ["gossip"]}) == "invalidSubscription"
    signed.bank.events.deliver = lambda delivery: None
    issue(signed)
    signed.advance(60)
    (event,) = signed.get("/v2/event?isDelivered=False")["events"]
    assert signed.get("/v2/event?isDelivered=false")["events"] == [event]
    assert event["isDelivered"] is False
    assert signed.code("PATCH", f"/v2/event/{event['id']}", {"isDelivered": False}) == "invalidIsDelivered"
    assert (
        signed.call("PATCH", f"/v2/event/{event['id']}", {"isDelivered": True})[1]["event"]["isDelivered"]
        is True
    )
    assert signed.get("/v2/event?isDelivered=false")["events"] == []
    assert len(signed.get("/v2/event?isDelivered=True")["events"]) == 1
    assert signed.call("DELETE", f"/v2/event/{event['id']}")[0] == 200
    assert signed.get("/v2/event")["events"] == []


def test_a_due_date_from_a_client_whose_clock_is_behind_the_emulated_one_is_taken(make_day: Any) -> None:
    """A `due` is judged by the client's time when the bank's clock runs ahead."""
    day = make_day()
    day.run(hours=20)
    earlier = day.bank.opened_at
    (invoice,) = day.bank.invoices.create([{**INVOICE, "due": "2026-03-02T16:00:00+00:00"}], day.now, earlier)
    day.run(seconds=1)
    assert day.bank.invoices.get(invoice["id"])["status"] == "overdue"


def test_known_errors_are_in_portuguese_when_the_caller_asks(signed: Any) -> None:
    """`Accept-Language: pt-BR` changes the message of a known text and never the code; other texts stay in English."""

    def errors(body: Any, language: str) -> list[tuple[str, str]]:
        raw = json.dumps(body).encode()
        headers = {**signed.headers(raw), "Accept-Language": language}
        answer = signed.client.post("/v2/invoice", content=raw, headers=headers).json()
        return [(error["code"], error["message"]) for error in answer["errors"]]

    missing = {"invoices": [{"amount": 1, "taxId": "012.345.678-90"}]}
    assert errors(missing, "en-US") == [("invalidJson", "Missing parameters in invoice: name")]
    assert errors(missing, "pt-BR") == [("invalidJson", "Parâmetros ausentes em invoice: name")]
    assert errors({"x": 1}, "pt-BR,en;q=0.5") == [("invalidJson", "Parâmetros desconhecidos em body: x")]
    own = {"invoices": [{**INVOICE, "amount": -1}]}
    assert errors(own, "pt-BR") == errors(own, "en-US")
    signed.bank.faults.add({"name": "error_500"})
    assert errors(own, "pt-BR") == [("internalServerError", "Houston, temos um problema")]
