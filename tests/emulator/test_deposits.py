"""Deposits: how money arrives without an invoice, and how it goes back."""

from __future__ import annotations

from typing import Any

import pytest

from emulator.management.statement import statement


def deposit(signed: Any, **element: Any) -> dict[str, Any]:
    """A deposit that has been credited."""
    row: dict[str, Any] = signed.bank.deposits.receive({"amount": 5_000, **element}, signed.clock.now())
    signed.advance(10)
    return row


def log_types(signed: Any, deposit_id: str) -> list[str]:
    return [log["type"] for log in signed.get(f"/v2/deposit/log?depositIds={deposit_id}")["logs"]][::-1]


def test_a_deposit_is_credited_seconds_after_it_is_made(signed: Any) -> None:
    """A deposit reaches the balance a few seconds after it is created."""
    before = signed.bank.accounts.customer_centavos
    row = deposit(signed, tags=["Sent"])
    assert signed.bank.accounts.customer_centavos == before + 5_000
    shown = signed.get(f"/v2/deposit/{row['id']}")["deposit"]
    assert (shown["status"], shown["amount"], shown["type"], len(shown["transactionIds"])) == (
        "created",
        5_000,
        "pix",
        1,
    )
    assert shown["tags"][0] == "sent"
    assert log_types(signed, row["id"]) == ["created", "credited"]


@pytest.mark.parametrize(
    ("left", "status", "last"), [(0, "voided", "voided"), (1_200, "created", "reversed")]
)
def test_a_lower_amount_sends_the_difference_back(signed: Any, left: int, status: str, last: str) -> None:
    """PATCH with a lower amount reverses the difference; zero ends in voided."""
    before = signed.bank.accounts.customer_centavos
    row = deposit(signed)
    answer = signed.call("PATCH", f"/v2/deposit/{row['id']}", {"amount": left})[1]
    assert answer["deposit"]["amount"] == left
    signed.advance(10)
    assert signed.bank.accounts.customer_centavos == before + left
    shown = signed.get(f"/v2/deposit/{row['id']}")["deposit"]
    assert (shown["status"], len(shown["transactionIds"])) == (status, 2)
    assert log_types(signed, row["id"])[-1] == last
    assert statement(signed.bank, details=False)["balanced"]


def test_a_reversal_without_the_money_fails_late_and_restores_the_amount(signed: Any) -> None:
    """A reversal that the balance cannot pay is accepted and fails in its log."""
    row = deposit(signed)
    signed.bank.accounts.move(
        {"customer": -104_000, "payers": 104_000}, signed.clock.now(), source="x", description=""
    )
    signed.call("PATCH", f"/v2/deposit/{row['id']}", {"amount": 0})
    signed.advance(10)
    assert signed.get(f"/v2/deposit/{row['id']}")["deposit"]["amount"] == 5_000
    assert log_types(signed, row["id"]) == ["created", "credited", "reversing", "failed"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"amount": 5_000}, "invalidAmount"),
        ({"amount": -1}, "invalidAmount"),
        ({"amount": "0"}, "invalidAmount"),
        ({}, "invalidJson"),
        ({"amount": 0, "status": "canceled"}, "invalidJson"),
        ([], "invalidJson"),
    ],
)
def test_a_wrong_patch_is_refused(signed: Any, body: Any, code: str) -> None:
    """A PATCH that is not a lower amount is refused by the right code."""
    assert signed.code("PATCH", f"/v2/deposit/{deposit(signed)['id']}", body) == code


def test_a_reversal_may_say_what_the_payer_is_shown(signed: Any) -> None:
    """PATCH takes `reversalDisplayDescription` beside the amount, and refuses one that is no text."""
    path = f"/v2/deposit/{deposit(signed)['id']}"
    assert signed.code("PATCH", path, {"amount": 0, "reversalDisplayDescription": 7}) == "invalidDescription"
    status, answer = signed.call("PATCH", path, {"amount": 0, "reversalDisplayDescription": "Sorry"})
    assert (status, answer["deposit"]["amount"]) == (200, 0)


def test_a_ted_and_a_deposit_under_way_cannot_be_reversed(signed: Any) -> None:
    """Only a credited Pix without an open reversal can be sent back."""
    ted = deposit(signed, type="ted", bankCode="341")
    assert signed.code("PATCH", f"/v2/deposit/{ted['id']}", {"amount": 0}) == "invalidOperation"
    pix = deposit(signed)
    signed.call("PATCH", f"/v2/deposit/{pix['id']}", {"amount": 100})
    assert signed.code("PATCH", f"/v2/deposit/{pix['id']}", {"amount": 0}) == "invalidOperation"


def test_lists_filter_and_sort(signed: Any) -> None:
    """Deposits and their logs are filtered and sorted as documented, and odd values are refused."""
    first, second = deposit(signed, tags=["A"]), deposit(signed, tags=["b"])

    def ids(query: str) -> list[str]:
        return [row["id"] for row in signed.get(f"/v2/deposit?{query}")["deposits"]]

    assert ids("") == [second["id"], first["id"]]
    assert ids("sort=created") == [first["id"], second["id"]]
    assert ids("tags=a") == [first["id"]]
    assert ids(f"ids={second['id']}&status=created") == [second["id"]]
    assert signed.code("GET", "/v2/deposit?status=paid") == "invalidDeposit"
    assert signed.code("GET", "/v2/deposit?sort=updated") == "invalidSort"
    assert signed.code("GET", "/v2/deposit/0") == "invalidDeposit"
    assert signed.code("GET", "/v2/deposit/log/0") == "invalidDepositLog"
    assert signed.code("GET", "/v2/deposit/log?types=no") == "invalidDepositLog"


def test_a_webhook_hears_of_deposits(day: Any) -> None:
    """A webhook subscribed to deposits gets an event for each of their logs."""
    day.bank.register_webhook("http://receiver.test/deposits", ["deposit"], day.now)
    day.bank.deposits.receive({"amount": 70}, day.now)
    day.run(minutes=2)
    kinds = [(event["subscription"], event["log"]["type"]) for event in day.bodies()]
    assert sorted(kinds) == [("deposit", "created"), ("deposit", "credited")]
