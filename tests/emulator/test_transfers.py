"""Transfers are accepted at once and judged later, on virtual time."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from emulator.books.formats import time_text
from emulator.books.refusal import Refusal
from tests.emulator.conftest import TRANSFER


def status_and_errors(day: Any, transfer: dict[str, Any]) -> tuple[str, list[str]]:
    log = day.logs("transfer", transfer["id"])[-1]
    return log["transfer"]["status"], log["errors"]


def test_a_transfer_is_created_then_sending_then_success_within_some_seven_seconds(make_day: Any) -> None:
    """The logs follow in the observed time."""
    day = make_day(opening=5_000)
    transfer = day.transfer(externalId="one")
    assert (transfer["status"], transfer["rules"]) == ("created", [{"key": "resendingLimit", "value": 10}])
    day.run(seconds=8)
    logs = day.logs("transfer", transfer["id"])
    assert [log["type"] for log in logs] == ["created", "sending", "success"]
    assert [log["transfer"]["status"] for log in logs] == ["created", "processing", "success"]
    assert day.bank.accounts.customer_centavos == 4_000


def test_a_repeated_external_id_is_accepted_with_a_new_id_and_fails_late(make_day: Any) -> None:
    """The answer to the POST says nothing of the duplicate; its log does."""
    day = make_day(opening=5_000)
    first, second = day.transfer(externalId="one"), day.transfer(externalId="one")
    assert first["id"] != second["id"]
    day.run(seconds=10)
    assert status_and_errors(day, first) == ("success", [])
    assert status_and_errors(day, second) == ("failed", ["Duplicated transfer"])
    assert day.bank.accounts.customer_centavos == 4_000


def test_the_banks_own_name_of_a_real_invoice_is_taken_and_others_are_free(day: Any) -> None:
    """`invoice-<real id>` is a duplicate, any other number is not."""
    invoice = day.invoice()
    day.run(hours=1)
    outcomes = {}
    for external_id in (
        f"invoice-{invoice['id']}",
        "invoice-9999999999999999",
        f"invoice-{invoice['id']}-v2",
    ):
        transfer = day.transfer(externalId=external_id)
        day.run(seconds=10)
        outcomes[external_id] = status_and_errors(day, transfer)
    assert list(outcomes.values()) == [("failed", ["Duplicated transfer"]), ("success", []), ("success", [])]


def test_an_empty_balance_fails_late_and_money_that_comes_in_time_saves_it(make_day: Any) -> None:
    """The balance counts when the transfer is processed."""
    day = make_day(paid_share=0.0)
    transfer = day.transfer(externalId="one")
    day.run(seconds=10)
    assert status_and_errors(day, transfer) == ("failed", ["Insufficient balance"])
    invoice = day.invoice()
    day.bank.invoices.pay(invoice["id"], day.now)
    day.run(seconds=4)
    later = day.transfer(externalId="two")
    day.run(seconds=10)
    assert status_and_errors(day, later) == ("success", [])


@pytest.mark.parametrize(("burns", "outcome"), [(True, "failed"), (False, "success")])
def test_whether_a_failed_transfer_burns_its_external_id_is_a_switch(
    make_day: Any, burns: bool, outcome: str
) -> None:
    """The setting decides whether the id can be used again."""
    day = make_day(opening=5_000, failed_transfer_burns_external_id=burns)
    failed = day.transfer(externalId="one")
    day.bank.transfers.fail(failed["id"], "Destination account closed", day.now)
    again = day.transfer(externalId="one")
    day.run(seconds=10)
    assert status_and_errors(day, again)[0] == outcome


def test_without_external_id_the_same_amount_to_the_same_account_goes_once_a_sao_paulo_day(
    make_day: Any,
) -> None:
    """The documented duplicate rule, by São Paulo's day."""
    day = make_day(opening=50_000)
    first, same, other = day.transfer(), day.transfer(), day.transfer(amount=1_001)
    day.run(hours=11, minutes=59)  # 02:59 UTC of the next day is still the same day in São Paulo
    evening = day.transfer()
    day.run(minutes=2)
    next_day = day.transfer()
    day.run(minutes=1)
    outcomes = [status_and_errors(day, transfer)[0] for transfer in (first, same, other, evening, next_day)]
    assert outcomes == ["success", "failed", "success", "failed", "success"]


def test_a_ted_of_today_can_be_canceled_while_it_is_created(make_day: Any) -> None:
    """A transfer is canceled by DELETE as long as the bank has not begun to process it."""
    day = make_day(opening=50_000)
    row = day.transfer(bankCode="341")
    assert row["status"] == "created"
    assert day.bank.transfers.cancel(row["id"], day.now)["status"] == "canceled"
    day.run(days=1)
    assert day.bank.accounts.customer_centavos == 50_000


@pytest.mark.parametrize("value", [True, False])
def test_the_rule_of_reversals_is_accepted_and_shown_back(make_day: Any, value: bool) -> None:
    """`isReversalAllowed` is a rule of transfers with a boolean value."""
    rule = {"key": "isReversalAllowed", "value": value}
    assert make_day().transfer(rules=[rule])["rules"] == [rule]


@pytest.mark.parametrize("value", ["false", 0, None])
def test_the_rule_of_reversals_takes_nothing_but_a_boolean(make_day: Any, value: Any) -> None:
    """A value that only looks like true or false is refused."""
    with pytest.raises(Refusal):
        make_day().transfer(rules=[{"key": "isReversalAllowed", "value": value}])


def test_a_scheduled_transfer_waits_and_can_be_canceled_until_then(make_day: Any) -> None:
    """A scheduled transfer is processed on its day unless it was canceled."""
    day = make_day(opening=50_000)
    waiting = day.transfer(externalId="one", scheduled="2026-03-04")
    canceled = day.transfer(externalId="two", scheduled="2026-03-03T12:00:00+00:00")
    day.run(hours=1)
    assert day.bank.transfers.cancel(canceled["id"], day.now)["status"] == "canceled"
    day.run(days=3)
    assert status_and_errors(day, waiting)[0] == "success"
    assert day.log_types("transfer", canceled["id"]) == ["created", "canceled"]
    with pytest.raises(Refusal, match="invalidAction"):
        day.bank.transfers.cancel(waiting["id"], day.now)


def test_a_transfer_that_fails_on_its_way_brings_the_money_back_with_a_second_transaction(
    make_day: Any,
) -> None:
    """The chargeback is a transaction of its own."""
    day = make_day(opening=5_000, transfer_fee_centavos=20)
    transfer = day.transfer(externalId="one")
    day.run(seconds=2.8)
    assert day.bank.accounts.customer_centavos == 3_980
    row = day.bank.transfers.fail(transfer["id"], "Account blocked", day.now)
    assert (row["status"], len(row["transactionIds"]), day.bank.accounts.customer_centavos) == (
        "failed",
        2,
        5_000,
    )
    day.run(seconds=10)
    assert status_and_errors(day, transfer) == ("failed", ["Account blocked"])


def test_a_blocked_destination_fails_as_often_as_it_was_told(make_day: Any) -> None:
    """`times` limits the fault to matching transfers."""
    day = make_day(opening=50_000)
    day.bank.faults.add(
        {"name": "blocked_destination", "times": 1, "at_least_centavos": 500, "reason": "Blocked"}
    )
    small, large, next_large = (day.transfer(externalId=str(n), amount=n) for n in (100, 600, 700))
    day.run(seconds=10)
    assert status_and_errors(day, small)[0] == "success"
    assert {status_and_errors(day, each)[0] for each in (large, next_large)} == {"failed", "success"}


@pytest.mark.parametrize(
    ("hour", "day_of_march", "scheduled", "shown"),
    [
        (15, 2, None, "2026-03-02T18:00:00.000000+00:00"),
        (16, 2, None, "2026-03-03T03:00:00.000000+00:00"),
        (16, 6, None, "2026-03-09T03:00:00.000000+00:00"),
        (10, 7, None, "2026-03-09T03:00:00.000000+00:00"),
        (16, 2, "2026-03-02", "2026-03-03T03:00:00.000000+00:00"),
        (10, 2, "2026-03-08", "2026-03-09T03:00:00.000000+00:00"),
        (10, 2, "2026-03-05", "2026-03-05T03:00:00.000000+00:00"),
    ],
    ids=["before four", "after four", "friday evening", "saturday", "today by name", "a sunday", "thursday"],
)
def test_a_ted_goes_until_four_in_brasilia_and_on_business_days(
    make_day: Any, hour: int, day_of_march: int, scheduled: str | None, shown: str
) -> None:
    """A TED is moved to the next business day when it is late, and `scheduled` is always a datetime."""
    day = make_day(opening=10_000)
    day.now = datetime(2026, 3, day_of_march, hour + 3, tzinfo=UTC)
    row = day.transfer(bankCode="341", scheduled=scheduled)
    assert row["scheduled"] == shown
    day.run(days=8)
    assert day.bank.transfers.get(row["id"])["status"] == "success"
    assert day.transfer(scheduled=None, externalId="pix")["scheduled"] == time_text(day.now)


def test_early_refusal_is_a_switch_and_refuses_the_whole_call(make_day: Any) -> None:
    """With the setting, duplicates and low balances are refused in the answer."""
    day = make_day(opening=2_500, refuse_transfers_early=True)
    day.transfer(externalId="a")
    with pytest.raises(Refusal) as refusal:
        day.bank.create_transfers(
            [{**TRANSFER, "externalId": each} for each in ("a", "b", "b", "c", "d")], day.now
        )
    codes = [code for code, _ in refusal.value.errors]
    assert codes == ["duplicatedTransfer", "duplicatedTransfer", "invalidBalance"]
    assert len(day.bank.transfers.rows) == 1


@pytest.mark.parametrize("value", [-1, 1_001, "5", None, True, [5]])
def test_a_rule_with_a_value_that_does_not_fit_is_refused(make_day: Any, value: Any) -> None:
    """A resending limit must be a small whole number."""
    with pytest.raises(Refusal):
        make_day().transfer(rules=[{"key": "resendingLimit", "value": value}])
