"""Scenarios, rules and packs: who is struck, how often, and what happens then."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from emulator.behaviour.faults import FAULTS, PACKS, SCENARIOS, Faults, Subject
from emulator.books.refusal import Refusal
from tests.emulator.conftest import INVOICE

Make = Callable[..., Any]


def test_every_scenario_and_every_pack_can_be_switched_on_and_off_by_its_name() -> None:
    """Every published name is accepted and cleared again."""
    for name, given in SCENARIOS.items():
        faults = Faults(1)
        (fault,) = faults.add({"name": name, "times": 2})
        assert fault.name == given["name"]
        assert fault.to_json()["scenario"] == name
        assert faults.clear(name) == 1
    for name, given_faults in PACKS.items():
        assert len(Faults(1).add({"name": name})) == len(given_faults)
        with pytest.raises(Refusal, match="nothing but its name"):
            Faults(1).add({"name": name, "times": 1})
    assert not set(SCENARIOS) & set(FAULTS)
    with pytest.raises(Refusal, match="unknown fault mayhem"):
        Faults(1).add({"name": "mayhem"})


def test_what_is_asked_for_wins_over_the_scenario() -> None:
    """Options of a request replace those of the scenario."""
    (fault,) = Faults(1).add({"name": "no_balance", "reason": "Empty"})
    assert fault.options == {"reason": "Empty"}


@pytest.mark.parametrize(
    ("rule", "amounts"),
    [
        ({"ends_in": 13}, [13, 113, 1_013, 10_013]),
        ({"at_least_centavos": 1_000}, [1_000, 1_013, 10_013]),
        ({"at_most_centavos": 113}, [13, 100, 113]),
        ({"ends_in": 0, "at_least_centavos": 500}, [1_000]),
    ],
)
def test_a_rule_on_amount_selects_by_size_or_last_digits(rule: dict[str, int], amounts: list[int]) -> None:
    """Amount rules compare whole centavos and the last two digits."""
    faults = Faults(1)
    faults.add({"name": "no_balance", **rule})
    tried = [13, 100, 113, 1_000, 1_013, 10_013]
    struck = [each for each in tried if faults.measure("blocked_destination", Subject("transfer", (each,)))]
    assert struck == amounts


def test_a_fault_can_be_meant_for_one_id_alone() -> None:
    """`only` limits a fault to one entity."""
    faults = Faults(1)
    faults.add({"name": "drop_delivery", "only": "42"})
    assert not faults.strikes("drop_delivery", Subject("invoice paid", (), ("41", "9")))
    assert faults.strikes("drop_delivery", Subject("invoice paid", (), ("7", "42")))


@pytest.mark.parametrize(
    "wrong",
    [
        {"ends_in": 100},
        {"ends_in": True},
        {"percent": 101},
        {"only": 5},
        {"count": 10**6},
        {"seconds": 10**9},
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    """A wrong option is refused by name."""
    with pytest.raises(Refusal, match=next(iter(wrong))):
        Faults(1).add({"name": "no_balance", **wrong})


def test_a_request_is_struck_by_the_amounts_in_its_body(signed: Any) -> None:
    """A request fault with an amount rule looks at each element of the body."""
    signed.client.post(
        "/emulator/faults", json={"name": "bank_error", "ends_in": 13, "route": "POST invoice"}
    )
    assert signed.call("POST", "/v2/invoice", {"invoices": [INVOICE]})[0] == 200
    assert signed.call("POST", "/v2/invoice", {"invoices": [INVOICE, {**INVOICE, "amount": 513}]})[0] == 500
    assert signed.call("POST", "/v2/invoice", b"not json")[0] == 400
    assert len(signed.get("/v2/invoice")["invoices"]) == 1
    (struck,) = signed.ask("GET", "requests?fault=bank_error")["requests"]
    assert struck["status"] == 500


def test_a_slow_answer_is_a_good_answer(signed: Any) -> None:
    """A slow answer is complete and correct."""
    signed.client.post("/emulator/faults", json={"name": "slow_answer", "seconds": 0.01, "times": 1})
    assert signed.get("/v2/balance")["balances"][0]["amount"] == 100_000
    (entry,) = signed.ask("GET", "requests?fault=slow_answer")["requests"]
    assert entry["status"] == 200


def test_a_payer_can_stay_away_pay_too_little_or_take_the_money_back(make_day: Make) -> None:
    """Each payer fault has its effect on the invoice."""
    day = make_day(paid_share=1.0)
    away, less, back = (day.invoice(amount=each) for each in (1_021, 1_022, 1_024))
    day.bank.faults.add({"name": "magic_amounts"})
    day.run(hours=1)
    assert day.log_types("invoice", away["id"]) == ["created"]
    assert day.bank.invoices.payments[less["id"]]["amount"] == 511
    assert day.bank.invoices.credited[less["id"]].gross_centavos == 511
    assert day.log_types("invoice", back["id"])[-2:] == ["reversed", "voided"]
    assert day.bank.accounts.customer_centavos == 511


def test_credited_before_paid_is_told_in_that_order(make_day: Make) -> None:
    """The event of `credited` is posted before that of `paid`."""
    day = make_day(paid_share=1.0, credited_first_share=0.0)
    day.bank.register_webhook("http://receiver.test/hook", ["invoice"], day.now)
    day.bank.faults.add({"name": "credited_before_paid", "times": 1})
    for _ in range(2):
        day.invoice()
    day.run(hours=1)
    told: dict[str, list[str]] = {}
    for event in day.bodies():
        told.setdefault(event["log"]["invoice"]["id"], []).append(event["log"]["type"])
    orders = sorted([each for each in types if each != "created"] for types in told.values())
    assert orders == [["credited", "paid"], ["paid", "credited"]]
    for invoice_id in told:
        types = day.log_types("invoice", invoice_id)
        assert types.index("paid") < types.index("credited"), "in the books the order stays"


def test_a_lost_webhook_is_seen_only_in_the_list_of_undelivered_events(day: Any) -> None:
    """A lost event is never posted and makes no attempt."""
    day.bank.faults.add({"name": "lost_webhook", "route": "invoice credited", "times": 1})
    day.invoice()
    day.run(days=1)
    assert "credited" not in [event["log"]["type"] for event in day.bodies()]
    (lost,) = (day.bank.events.rows.find(each) for each in day.bank.events.undelivered)
    assert lost["log"]["type"] == "credited"


def test_a_storm_of_duplicates_brings_the_same_event_many_times(day: Any) -> None:
    """Every copy has the same event id."""
    day.bank.faults.add({"name": "duplicate_storm", "route": "invoice credited"})
    day.invoice()
    day.run(hours=1)
    credited = [event["id"] for event in day.bodies() if event["log"]["type"] == "credited"]
    assert (len(credited), len(set(credited))) == (11, 1)


def test_a_slow_transfer_arrives_an_hour_late_and_others_do_not(make_day: Make) -> None:
    """Only the transfer that the fault strikes is late."""
    day = make_day(opening=10_000)
    day.bank.faults.add({"name": "slow_transfer", "ends_in": 15})
    late, soon = day.transfer(amount=115, externalId="a"), day.transfer(amount=116, externalId="b")
    day.run(minutes=30)
    assert [day.bank.transfers.get(each["id"])["status"] for each in (late, soon)] == [
        "processing",
        "success",
    ]
    day.run(hours=1)
    assert day.bank.transfers.get(late["id"])["status"] == "success"


@pytest.mark.parametrize(
    ("scenario", "reason"),
    [
        ("no_balance", "Insufficient balance"),
        ("blocked_account", "Destination account blocked"),
        ("duplicated_transfer", "Duplicated transfer"),
    ],
)
def test_a_failure_has_the_banks_own_words(make_day: Make, scenario: str, reason: str) -> None:
    """A failed log carries the text that was observed at the bank."""
    day = make_day(opening=10_000)
    day.bank.faults.add({"name": scenario, "times": 1})
    first = day.transfer(externalId="a")
    day.run(minutes=1)
    second = day.transfer(externalId="b")
    day.run(minutes=1)
    assert day.logs("transfer", first["id"])[-1]["errors"] == [reason]
    assert day.bank.transfers.get(second["id"])["status"] == "success"


def test_payments_can_cluster_just_after_round_ten_minute_marks(make_day: Make) -> None:
    """With `pay_cluster_seconds` payments come shortly after each mark."""
    day = make_day(paid_share=1.0, pay_cluster_seconds=600.0)
    invoices = [day.invoice() for _ in range(30)]
    day.run(hours=1)
    for invoice in invoices:
        (paid,) = [log for log in day.logs("invoice", invoice["id"]) if log["type"] == "paid"]
        at = datetime.fromisoformat(paid["created"])
        past = timedelta(minutes=at.minute % 10, seconds=at.second)
        assert timedelta(seconds=10) <= past <= timedelta(seconds=80)
