"""What an invoice goes through, on virtual time."""

from __future__ import annotations

from typing import Any

import pytest

from emulator.books.refusal import Refusal


def test_a_paid_invoice_is_logged_created_paid_and_credited_with_the_amounts_of_each_moment(
    make_day: Any,
) -> None:
    """Each log shows the invoice as it was then; the fee appears with `credited`."""
    day = make_day(paid_share=1.0, invoice_fee_centavos=50)
    invoice = day.invoice(tags=["Batch-3"])
    day.run(hours=1)
    created, paid, credited = day.logs("invoice", invoice["id"])
    assert [log["type"] for log in (created, paid, credited)] == ["created", "paid", "credited"]
    assert [log["invoice"]["status"] for log in (created, paid, credited)] == ["created", "paid", "paid"]
    assert [log["invoice"]["fee"] for log in (created, paid, credited)] == [0, 0, 50]
    assert [len(log["invoice"]["transactionIds"]) for log in (created, paid, credited)] == [0, 0, 1]
    assert created["invoice"]["tags"] == ["batch-3"]
    assert paid["invoice"]["tags"][1].startswith("e20018183202603021")
    assert paid["invoice"]["tags"][1].upper() == day.bank.invoices.payment(invoice["id"])["endToEndId"]
    assert day.bank.accounts.balance["amount"] == 48_712 - 50


def test_an_unpaid_invoice_goes_overdue_after_two_days_and_expires_59_days_later(make_day: Any) -> None:
    """The default terms are two days and 59 days."""
    day = make_day(paid_share=0.0)
    invoice = day.invoice()
    day.run(days=2, seconds=1)
    assert day.bank.invoices.get(invoice["id"])["status"] == "overdue"
    day.run(days=58, hours=23)
    assert day.bank.invoices.get(invoice["id"])["status"] == "overdue"
    day.run(hours=2)
    assert day.log_types("invoice", invoice["id"]) == ["created", "overdue", "expired"]


def test_an_overdue_invoice_is_never_paid_by_the_bank_itself(make_day: Any) -> None:
    """The bank's own payers leave overdue invoices alone, as observed."""
    day = make_day(paid_share=1.0)
    invoice = day.invoice(due="2026-03-02T15:00:30+00:00")
    day.run(hours=2)
    assert day.log_types("invoice", invoice["id"]) == ["created", "overdue"]


def test_a_moved_due_date_opens_an_overdue_invoice_again(make_day: Any) -> None:
    """A later due date makes an overdue invoice `created` again."""
    day = make_day(paid_share=0.0)
    invoice = day.invoice(due="2026-03-02T15:10:00+00:00")
    day.run(minutes=11)
    day.bank.invoices.patch(invoice["id"], {"due": "2026-03-02T16:00:00+00:00", "amount": 9}, day.now)
    row = day.bank.invoices.get(invoice["id"])
    assert (row["status"], row["amount"], row["nominalAmount"]) == ("created", 9, 9)
    day.run(hours=1)
    assert day.log_types("invoice", invoice["id"]) == ["created", "overdue", "updated", "overdue"]


def test_a_canceled_invoice_can_be_neither_paid_nor_updated(make_day: Any) -> None:
    """`canceled` is an end."""
    day = make_day(paid_share=1.0)
    invoice = day.invoice()
    day.bank.invoices.patch(invoice["id"], {"status": "canceled"}, day.now)
    day.run(hours=1)
    assert day.log_types("invoice", invoice["id"]) == ["created", "canceled"]
    with pytest.raises(Refusal, match="invalidOperation"):
        day.bank.invoices.pay(invoice["id"], day.now)
    with pytest.raises(Refusal, match="invalidOperation"):
        day.bank.invoices.patch(invoice["id"], {"amount": 1}, day.now)


def test_a_full_reversal_ends_voided_and_takes_the_money_back(day: Any) -> None:
    """An amount of zero takes everything back through all the steps."""
    invoice = day.invoice()
    day.run(hours=1)
    day.bank.invoices.patch(invoice["id"], {"amount": 0}, day.now)
    assert day.bank.accounts.customer_centavos == 0
    day.run(minutes=1)
    assert day.log_types("invoice", invoice["id"])[3:] == [
        "reversing",
        "sending",
        "sent",
        "reversed",
        "voided",
    ]
    row = day.bank.invoices.get(invoice["id"])
    assert (row["status"], row["amount"], len(row["transactionIds"])) == ("voided", 0, 2)


def test_a_partial_reversal_leaves_the_invoice_paid_at_the_lower_amount(day: Any) -> None:
    """A lower amount takes the difference back and leaves the status `paid`."""
    invoice = day.invoice()
    day.run(hours=1)
    day.bank.invoices.patch(invoice["id"], {"amount": 40_000}, day.now)
    with pytest.raises(Refusal, match="under way"):
        day.bank.invoices.patch(invoice["id"], {"amount": 30_000}, day.now)
    day.run(minutes=1)
    row = day.bank.invoices.get(invoice["id"])
    assert (row["status"], row["amount"], day.bank.accounts.customer_centavos) == ("paid", 40_000, 40_000)
    assert day.log_types("invoice", invoice["id"])[-1] == "reversed"


def test_a_reversal_without_the_money_fails_late_and_changes_nothing(day: Any) -> None:
    """A reversal that the balance cannot pay ends in a `failed` log with the old amount."""
    invoice = day.invoice()
    day.run(hours=1)
    day.transfer(amount=48_712, externalId="all")
    day.run(minutes=1)
    day.bank.invoices.patch(invoice["id"], {"amount": 0}, day.now)
    day.run(minutes=1)
    assert day.logs("invoice", invoice["id"])[-1]["errors"] == ["Insufficient balance"]
    assert day.bank.invoices.get(invoice["id"])["amount"] == 48_712
    day.bank.invoices.begin_reversal(invoice["id"], 0, day.now, forced=True)
    assert day.bank.accounts.customer_centavos == -48_712


@pytest.mark.parametrize(
    ("terms", "days", "paid"),
    [
        ({"due": "2026-03-04", "discounts": [{"percentage": 10, "due": "2026-03-03"}]}, 0, 43_841),
        (
            {
                "due": "2026-03-04",
                "discounts": [
                    {"percentage": 10, "due": "2026-03-03"},
                    {"percentage": 5, "due": "2026-03-04"},
                ],
            },
            1.7,
            46_276,
        ),
        ({"fine": 2.0, "interest": 3.0}, 12, 48_712 + 974 + 487),
        ({}, 0, 48_712),
    ],
)
def test_discount_fine_and_interest_show_when_the_invoice_is_paid(
    make_day: Any, terms: dict[str, Any], days: float, paid: int
) -> None:
    """The terms are applied at the moment of payment, and not before."""
    day = make_day(paid_share=0.0)
    invoice = day.invoice(**terms)
    assert invoice["amount"] == 48_712
    day.run(days=days)
    row = day.bank.invoices.pay(invoice["id"], day.now)
    assert (row["amount"], row["nominalAmount"]) == (paid, 48_712)


def test_an_invoice_of_zero_lets_the_payer_choose(day: Any) -> None:
    """An amount of zero is paid with the payer's own amount."""
    invoice = day.invoice(amount=0)
    day.run(hours=1)
    row = day.bank.invoices.get(invoice["id"])
    assert row["status"] == "paid"
    assert row["amount"] > 0


def test_a_fee_above_the_amount_takes_the_rest_from_the_balance(make_day: Any) -> None:
    """The net may be negative."""
    day = make_day(paid_share=1.0, invoice_fee_centavos=100)
    day.invoice(amount=30)
    day.run(hours=1)
    assert day.bank.accounts.customer_centavos == -70


def _percentages(*pairs: tuple[float, str]) -> list[dict[str, Any]]:
    return [{"percentage": percentage, "due": due} for percentage, due in pairs]


@pytest.mark.parametrize(
    "discounts",
    [
        _percentages((5, "2026-03-03"), (2.5, "2026-03-04"), (1, "2026-03-05")),
        _percentages((1, "2026-03-05"), (5, "2026-03-03")),
        [],
        None,
    ],
)
def test_discounts_that_shrink_with_time_are_taken_in_any_order(make_day: Any, discounts: Any) -> None:
    """The order in the list does not matter, only the dates."""
    assert make_day().invoice(due="2026-03-05", discounts=discounts)["discounts"] == (discounts or [])


@pytest.mark.parametrize(
    ("discounts", "code"),
    [
        (_percentages((1, "2026-03-03"), (3, "2026-03-04")), "invalidDiscount"),
        (_percentages((3, "2026-03-03"), (3, "2026-03-04")), "invalidDiscount"),
        (_percentages((0, "2026-03-03")), "invalidDiscount"),
        (_percentages((-1, "2026-03-03")), "invalidDiscount"),
        (_percentages((101, "2026-03-03")), "invalidDiscount"),
        (_percentages((5, "2026-03-06")), "invalidDiscount"),
        (_percentages((5, "2026-03-01")), "invalidDiscountDate"),
        (_percentages((5, "soon")), "invalidDiscountDate"),
        (_percentages((5, "2026-03-03T15:00:00+00:00")), "invalidDiscountDate"),
        ([{"percentage": 5}], "invalidDiscount"),
        ([{"percentage": 5, "due": "2026-03-03", "more": 1}], "invalidDiscount"),
        ([{}], "invalidDiscount"),
        ([5], "invalidDiscount"),
        ({}, "invalidDiscount"),
        (_percentages(*((6 - n, f"2026-03-0{n % 3 + 3}") for n in range(6))), "invalidDiscount"),
    ],
)
def test_discounts_that_do_not_fit_are_refused(make_day: Any, discounts: Any, code: str) -> None:
    """Each rule of discounts has its code."""
    with pytest.raises(Refusal) as refusal:
        make_day().invoice(due="2026-03-05", discounts=discounts)
    assert [found for found, _ in refusal.value.errors] == [code]


def test_a_scheduled_invoice_is_due_at_the_end_of_its_day(make_day: Any) -> None:
    """A plain date lasts until midnight in São Paulo."""
    day = make_day(paid_share=0.0)
    invoice = day.invoice(due="2026-03-03", expiration=3600)
    assert invoice["due"] == "2026-03-03"
    day.run(hours=35)  # 23:00 of that day in São Paulo
    assert day.bank.invoices.get(invoice["id"])["status"] == "created"
    day.run(hours=1.5)
    assert day.bank.invoices.get(invoice["id"])["status"] == "overdue"
    day.run(hours=1)
    assert day.bank.invoices.get(invoice["id"])["status"] == "expired"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"rules": [{"key": "allowedTaxIds", "value": "529.982.247-25"}]}, "invalidRule"),
        ({"rules": [{"key": "allowedTaxIds", "value": ["1"]}]}, "invalidTaxId"),
        ({"splits": [{"receiverId": "1", "amount": 48_713}]}, "invalidSplit"),
        ({"splits": [{"receiverId": {}, "amount": 1}]}, "invalidSplit"),
    ],
)
def test_rules_and_splits_that_do_not_fit_are_refused(
    make_day: Any, changes: dict[str, Any], code: str
) -> None:
    """Each rule of rules and splits has its code."""
    with pytest.raises(Refusal) as refusal:
        make_day().invoice(**changes)
    assert refusal.value.errors[0][0] == code
