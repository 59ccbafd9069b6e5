"""The whole bank on virtual time: it repeats by its seed, and its statement is computed from the books."""

from __future__ import annotations

from typing import Any

import pytest

from emulator.behaviour.faults import Subject
from emulator.books.accounts import CUSTOMER, OutOfBalance
from emulator.management.statement import statement
from tests.emulator.conftest import INVOICE


def a_day(make_day: Any, seed: int) -> list[tuple[str, str, bytes]]:
    day = make_day(seed=seed)
    day.bank.register_webhook("http://receiver.test/", ["invoice", "transfer"], day.now)
    day.bank.faults.add({"name": "duplicate_delivery", "rate": 0.3})
    for slot in range(8):
        day.bank.create_invoices([{**INVOICE, "amount": 1_000 + slot * 100 + n} for n in range(10)], day.now)
        day.run(hours=3)
    return [(delivery.event_id, delivery.url, delivery.body) for delivery in day.deliveries]


def test_the_same_seed_and_calls_repeat_the_day_byte_for_byte_and_another_seed_does_not(
    make_day: Any,
) -> None:
    """A day is reproduced by its seed and its calls."""
    assert a_day(make_day, 5) == a_day(make_day, 5)
    assert a_day(make_day, 5) != a_day(make_day, 6)


def test_the_paid_share_of_a_long_run_is_near_what_was_set(make_day: Any) -> None:
    """Over many invoices the share that is paid approaches the setting."""
    day = make_day(paid_share=0.85)
    for _ in range(10):
        day.bank.create_invoices([INVOICE] * 100, day.now)
    day.run(minutes=16)
    assert 0.81 <= len(day.bank.invoices.credited) / 1_000 <= 0.89


def test_an_unrelated_call_in_between_does_not_change_the_chances_of_an_invoice(make_day: Any) -> None:
    """Chances depend on the seed and the row's id, not on how many calls came before."""
    plans = []
    for disturbed in (False, True):
        day = make_day(seed=3, paid_share=0.5)
        if disturbed:
            day.bank.invoices.rows.page(limit=1)
            day.bank.faults.add({"name": "error_500", "rate": 0.5})
            day.bank.faults.for_request(Subject("GET invoice"))
        invoices = day.bank.create_invoices([INVOICE] * 20, day.now)
        day.run(hours=1)
        plans.append([day.log_types("invoice", invoice["id"]) for invoice in invoices])
    assert plans[0] == plans[1]


def forward(day: Any, invoice_id: str, suffix: str = "", **changes: Any) -> dict[str, Any]:
    net = day.bank.invoices.credited[invoice_id].net_centavos
    fields = {"amount": net, "externalId": f"credit-{invoice_id}{suffix}", "tags": [f"credit-{invoice_id}"]}
    transfer: dict[str, Any] = day.transfer(**{**fields, **changes})
    return transfer


def test_the_statement_tells_exactly_once_from_every_other_outcome(make_day: Any) -> None:
    """Each credit has one verdict, and the lists and sums follow from it."""
    day = make_day(paid_share=1.0, opening=1_000_000, invoice_fee_centavos=10)
    amounts = [100, 200, 300, 400, 10]
    once, twice, wrong, never, nothing = (day.invoice(amount=amount)["id"] for amount in amounts)
    day.run(hours=1)
    forward(day, once), forward(day, once)
    forward(day, twice), forward(day, twice, "-r2")
    forward(day, wrong, amount=1)
    stranger = day.transfer(amount=7, externalId="stranger")
    found = statement(day.bank, details=False)
    assert sorted(found["in_flight"]) == sorted([once, twice, wrong])
    day.run(minutes=1)
    found = statement(day.bank, details=True)
    assert found["forwarded_exactly_once"] == 1
    assert (found["paid_twice"], found["wrong_amount"], found["unpaid"]) == ([twice], [wrong], [never])
    assert (found["nothing_to_forward"], found["foreign"]) == ([nothing], [stranger["id"]])
    assert found["exact"] is False
    assert found["balanced"] is True
    assert found["credited"] == {
        "count": 5, "gross_centavos": 1_010, "fee_centavos": 50, "net_centavos": 960,
    }  # fmt: skip
    assert found["transfers"]["failed"] == {"count": 1, "centavos": 90}
    (payout,) = [each for each in found["payouts"] if each["invoice_id"] == once]
    assert [(each["amount_centavos"], each["status"]) for each in payout["transfers"]] == [
        (90, "success"), (90, "failed"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "matched_by"),
    [
        ({"tags": ["payout", "Invoice {id}"], "externalId": "x1"}, "tag invoice {id}"),
        ({"tags": [], "externalId": "forward:{id}/1"}, "external_id forward:{id}/1"),
        ({"tags": ["credit-{id}"], "externalId": "credit-{id}"}, "tag credit-{id}"),
    ],
    ids=["a word of a tag", "a word of the external_id", "our own tag"],
)
def test_the_statement_knows_a_transfer_by_the_invoice_id_in_any_form(
    make_day: Any, fields: dict[str, Any], matched_by: str
) -> None:
    """An app with tags of its own is credited with forwarding once, and the statement says what it went by."""
    day = make_day(paid_share=1.0)
    invoice_id = day.invoice(amount=500)["id"]
    day.run(hours=1)
    tags = [tag.format(id=invoice_id) for tag in fields["tags"]]
    day.transfer(amount=500, tags=tags, externalId=fields["externalId"].format(id=invoice_id))
    day.run(minutes=1)
    found = statement(day.bank, details=True)
    assert (found["forwarded_exactly_once"], found["foreign"], found["exact"]) == (1, [], True)
    (transfer,) = found["payouts"][0]["transfers"]
    assert transfer["matched_by"] == matched_by.format(id=invoice_id)


def test_an_invoice_id_inside_a_longer_word_is_no_match(make_day: Any) -> None:
    """Ids are compared word by word, so a longer number that contains one is foreign."""
    day = make_day(paid_share=1.0)
    invoice_id = day.invoice(amount=500)["id"]
    day.run(hours=1)
    stranger = day.transfer(amount=500, tags=[f"credit-{invoice_id}0"], externalId=f"a{invoice_id}")
    assert statement(day.bank, details=False)["foreign"] == [stranger["id"]]


def test_the_statement_balances_through_reversals_and_failed_transfers(make_day: Any) -> None:
    """The balance computed from rows equals the booked one in the middle of a reversal and after it."""
    day = make_day(paid_share=1.0, transfer_fee_centavos=5)
    first, second = day.invoice(amount=500)["id"], day.invoice(amount=900)["id"]
    day.run(hours=1)
    forward(day, first, amount=400)
    day.bank.invoices.begin_reversal(second, 300, day.now)
    assert statement(day.bank, details=False)["balanced"] is True
    day.run(minutes=1)
    found = statement(day.bank, details=False)
    assert found["balanced"] is True
    assert found["reversed_centavos"] == 600
    assert found["balance_centavos"] == 500 + 900 - 400 - 5 - 600


def test_books_that_do_not_sum_to_zero_stop_the_run(day: Any) -> None:
    """A movement that creates money raises OutOfBalance."""
    with pytest.raises(OutOfBalance):
        day.bank.accounts.move({CUSTOMER: 1}, day.now, source="x", description="x")
