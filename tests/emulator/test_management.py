"""The management API, and the faults that it switches on."""

from __future__ import annotations

import json
from typing import Any

import pytest

from emulator.behaviour.faults import (
    DELIVERY_FAULTS,
    FAULTS,
    PAYER_FAULTS,
    REQUEST_FAULTS,
    TRANSFER_FAULTS,
    Faults,
    Subject,
)
from tests.emulator.conftest import INVOICE, TAGGED_TRANSFER


def test_paying_and_reversing_by_hand_show_in_the_statement(signed: Any) -> None:
    """The statement follows payments and reversals made by hand."""
    _, answer = signed.call("POST", "/v2/invoice", {"invoices": [INVOICE]})
    invoice_id = answer["invoices"][0]["id"]
    paid = signed.ask("POST", f"invoices/{invoice_id}/pay", amount=40_000)
    assert (paid["invoice"]["status"], paid["invoice"]["amount"]) == ("paid", 40_000)
    signed.advance(10)
    found = signed.ask("GET", "statement?details=false")
    assert found["credited"]["gross_centavos"] == 40_000
    assert (found["unpaid"], found["balance_centavos"], "payouts" in found) == ([invoice_id], 140_000, False)
    signed.ask("POST", f"invoices/{invoice_id}/reverse")
    signed.advance(10)
    found = signed.ask("GET", "statement")
    assert (found["reversed_centavos"], found["balanced"], found["invoices"]) == (40_000, True, {"voided": 1})
    assert found["payouts"][0]["reversed_centavos"] == 40_000


def is_whole(text: str) -> bool:
    try:
        return "transfers" in json.loads(text)
    except ValueError:
        return False


@pytest.mark.parametrize(
    ("fault", "status", "accepted"),
    [
        ({"name": "error_500"}, 500, False),
        ({"name": "error_502"}, 502, False),
        ({"name": "error_503", "accepted": True}, 503, True),
        ({"name": "throttle_429", "retry_after": 7}, 429, False),
        ({"name": "wrong_body"}, 200, True),
        ({"name": "cut_body", "accepted": True}, 200, True),
        ({"name": "drop_answer"}, 502, True),
        ({"name": "drop_answer", "accepted": False}, 502, False),
        ({"name": "hang", "seconds": 0.05}, 502, True),
    ],
)
def test_a_request_fault_spoils_one_answer_before_or_after_acceptance(
    signed: Any, fault: dict[str, Any], status: int, accepted: bool
) -> None:
    """`accepted` decides whether the spoiled request took effect."""
    signed.ask("POST", "faults", **fault, route="POST transfer", times=1)
    raw = json.dumps({"transfers": [TAGGED_TRANSFER]}).encode()
    assert signed.get("/v2/transfer")["transfers"] == [], "another route is not struck"
    response = signed.client.post("/v2/transfer", content=raw, headers=signed.headers(raw))
    assert response.status_code == status
    assert response.headers.get("retry-after") == (
        str(fault["retry_after"]) if "retry_after" in fault else None
    )
    assert not is_whole(response.text)
    assert len(signed.get("/v2/transfer?tags=one")["transfers"]) == int(accepted)
    struck = signed.ask("GET", "faults")
    assert (struck["faults"], struck["struck"]) == ([], {fault["name"]: 1})


def test_an_empty_page_hides_rows_and_a_cleared_fault_strikes_no_more(signed: Any) -> None:
    """A fault ends when it is cleared."""
    signed.call("POST", "/v2/transfer", {"transfers": [TAGGED_TRANSFER]})
    signed.ask("POST", "faults", name="empty_page", route="GET transfer")
    for _ in range(2):
        assert signed.get("/v2/transfer?tags=one") == {"transfers": [], "cursor": None}
    assert signed.ask("DELETE", "faults?name=hang") == {"cleared": 0}
    assert signed.ask("DELETE", "faults") == {"cleared": 1}
    assert len(signed.get("/v2/transfer?tags=one")["transfers"]) == 1


def test_the_key_endpoint_can_be_down_alone(signed: Any) -> None:
    """Only GET public-key answers 503."""
    signed.ask("POST", "faults", name="key_endpoint_down", times=1)
    assert signed.client.get("/v2/balance", headers=signed.headers()).status_code == 200
    assert signed.client.get("/v2//public-key").status_code == 503
    assert signed.client.get("/v2//public-key").status_code == 200


@pytest.mark.parametrize(
    ("path", "body", "word"),
    [
        ("faults", {"name": "earthquake"}, "earthquake"),
        ("faults", {"name": "hang", "times": 0}, "times"),
        ("faults", {"name": "hang", "rate": 2}, "rate"),
        ("faults", {"name": "hang", "route": "transfer"}, "route"),
        ("faults", {"name": "hang", "seconds": "long"}, "seconds"),
        ("faults", {"name": "hang", "seconds": -1}, "seconds"),
        ("faults", {"name": "hang", "colour": 1}, "colour"),
        ("invoices/1/pay", {"amount": -1}, "amount"),
        ("invoices/1/pay", {"sum": 1}, "sum"),
        ("invoices/1/pay", {}, "1"),
        ("events/1/redeliver", {}, "1"),
        ("faults", [], "object"),
        ("clock", b" ", "truncated"),
    ],
)
def test_a_wrong_management_call_is_400_and_says_what_is_wrong(
    signed: Any, path: str, body: Any, word: str
) -> None:
    """A wrong argument is answered with 400 and names itself."""
    raw = body if isinstance(body, bytes) else json.dumps(body)
    response = signed.client.post(f"/emulator/{path}", content=raw)
    assert response.status_code == 400
    assert word in response.json()["errors"][0]["message"]


def test_settings_change_by_name_all_or_none(signed: Any) -> None:
    """One wrong setting leaves all of them as they were."""
    changes = {"paid_share": 1, "pay_delay_seconds": [1, 2], "invoice_fee_centavos": 25}
    found = signed.ask("PATCH", "settings", **changes)["settings"]
    assert (found["paid_share"], found["pay_delay_seconds"], found["invoice_fee_centavos"]) == (
        1.0,
        [1.0, 2.0],
        25,
    )
    for wrong in (
        {"paid_share": 2},
        {"speed": 1},
        {"pay_delay_seconds": [2, 1]},
        {"invoice_fee_centavos": 0.5},
    ):
        signed.refused("PATCH", "settings", transfer_fee_centavos=9, **wrong)
    assert signed.ask("GET", "settings")["settings"]["transfer_fee_centavos"] == 0
    signed.call("POST", "/v2/invoice", {"invoices": [INVOICE]})
    signed.advance(10)
    assert signed.ask("GET", "activity")["credited"] == {"count": 1, "net_centavos": 48_687}
    assert signed.ask("POST", "stop-paying")["settings"]["paying"] is False
    signed.call("POST", "/v2/invoice", {"invoices": [INVOICE]})
    signed.advance(10)
    assert signed.ask("GET", "activity")["invoices"] == {"paid": 1, "created": 1}


def test_a_rate_is_seeded_and_every_fault_is_of_one_kind() -> None:
    """The same seed strikes the same requests."""

    def run(seed: int) -> list[bool]:
        faults = Faults(seed)
        faults.add({"name": "error_500", "rate": 0.5, "route": "GET *"})
        return [faults.for_request(Subject("GET invoice")) is not None for _ in range(50)]

    assert run(1) == run(1) != run(2)
    assert 10 < sum(run(1)) < 40
    kinds = (REQUEST_FAULTS, DELIVERY_FAULTS, TRANSFER_FAULTS, PAYER_FAULTS)
    assert sorted(FAULTS) == sorted(name for kind in kinds for name in kind)
