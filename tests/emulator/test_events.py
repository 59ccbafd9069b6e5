"""Events, deliveries, retries and attempts, on virtual time."""

from __future__ import annotations

import json
from datetime import datetime
from itertools import pairwise
from typing import Any

from emulator.behaviour.events import BAD_STATUS, TIMEOUT


def test_a_delivered_body_is_one_sorted_ascii_line_without_is_delivered(day: Any) -> None:
    """The posted bytes are the bank's: sorted keys, ASCII, no isDelivered."""
    day.invoice(name="José Conceição")
    day.run(minutes=2)
    body = day.deliveries[0].body
    assert body == json.dumps(json.loads(body), sort_keys=True).encode("ascii")
    assert b"\n" not in body
    event = json.loads(body)["event"]
    assert set(event) == {"created", "id", "log", "subscription", "workspaceId"}
    assert event["log"]["invoice"]["name"] == "José Conceição"
    assert day.bank.events.rows.find(event["id"])["isDelivered"] is True


def test_without_a_matching_webhook_there_is_no_event(make_day: Any) -> None:
    """A log becomes an event only where a webhook is subscribed to its kind."""
    day = make_day(paid_share=1.0)
    day.bank.register_webhook("http://receiver.test/", ["transfer"], day.now)
    day.invoice()
    day.run(hours=1)
    assert len(day.bank.events.rows) == 0
    day.transfer(externalId="one")
    day.run(minutes=1)
    assert [event["log"]["type"] for event in day.bodies()] == ["created", "sending", "success"]


def test_created_events_come_10_to_60_seconds_after_the_invoice(day: Any) -> None:
    """Events of `created` arrive within the observed delay."""
    for _ in range(20):
        day.invoice()
    day.run(minutes=2)
    delays = [seconds_between(event["log"]["created"], event["created"]) for event in day.bodies()]
    assert len(delays) == 20
    assert all(10 <= delay <= 60 for delay in delays)


def test_some_credited_events_come_before_paid_though_the_logs_are_in_order(day: Any) -> None:
    """Events may overtake each other while the logs keep their order."""
    for _ in range(100):
        day.invoice()
    day.run(hours=1)
    order: dict[str, list[str]] = {}
    for event in day.bodies():
        if event["log"]["type"] != "created":
            order.setdefault(event["log"]["invoice"]["id"], []).append(event["log"]["type"])
    early = sum(types == ["credited", "paid"] for types in order.values())
    assert len(order) == 100
    assert 20 <= early <= 55, "4 of 11 were observed"
    assert all(day.log_types("invoice", each) == ["created", "paid", "credited"] for each in order)


def test_a_refused_delivery_is_retried_after_5_30_and_120_minutes_and_then_never(make_day: Any) -> None:
    """A failing delivery is tried four times in all, at the documented distances."""
    day = make_day(paid_share=0.0)
    day.bank.register_webhook("http://receiver.test/", ["invoice"], day.now)
    times: list[datetime] = []

    def refuse(delivery: Any) -> tuple[str, str]:
        times.append(day.now)
        return BAD_STATUS, "HTTP POST request returned status 503"

    day.answer = refuse
    day.invoice()
    day.run(days=1)
    gaps = [(later - earlier).total_seconds() / 60 for earlier, later in pairwise(times)]
    assert gaps == [5, 30, 120]
    assert len({delivery.body for delivery in day.deliveries}) == 1
    attempts = list(day.bank.events.attempts.all())
    assert [(attempt["code"], attempt["eventId"]) for attempt in attempts] == [
        (BAD_STATUS, day.deliveries[0].event_id)
    ] * 4
    assert list(day.bank.events.undelivered) == [day.deliveries[0].event_id]


def test_a_retry_that_is_answered_200_marks_the_event_delivered_and_ends_the_retries(make_day: Any) -> None:
    """One 200 is enough, at any attempt."""
    day = make_day(paid_share=0.0)
    day.bank.register_webhook("http://receiver.test/", ["invoice"], day.now)
    day.answer = lambda delivery: (TIMEOUT, "slow") if delivery.attempt == 0 else (None, "")
    day.invoice()
    day.run(days=1)
    assert len(day.deliveries) == 2
    assert not day.bank.events.undelivered


def test_every_subscribed_webhook_gets_the_event_or_an_event_of_its_own_by_a_switch(make_day: Any) -> None:
    """All webhooks share one event, or get one each with `event_per_webhook`."""
    for apart in (False, True):
        day = make_day(paid_share=0.0, event_per_webhook=apart)
        for name in ("a", "b"):
            day.bank.register_webhook(f"http://receiver.test/{name}", ["invoice"], day.now)
        day.invoice()
        day.run(minutes=2)
        assert sorted(delivery.url[-1] for delivery in day.deliveries) == ["a", "b"]
        assert len({delivery.event_id for delivery in day.deliveries}) == (2 if apart else 1)


def test_a_removed_webhook_or_event_gets_no_more_deliveries(make_day: Any) -> None:
    """Deliveries that were planned are not made once the webhook or event is deleted."""
    day = make_day(paid_share=0.0)
    webhook = day.bank.register_webhook("http://receiver.test/", ["invoice"], day.now)
    day.answer = lambda delivery: (TIMEOUT, "slow")
    day.invoice(), day.invoice()
    day.run(minutes=2)
    day.bank.events.delete(day.deliveries[0].event_id)
    day.run(minutes=10)
    assert len(day.deliveries) == 3
    day.bank.events.webhooks.remove(webhook["id"])
    day.run(days=1)
    assert len(day.deliveries) == 3


def test_duplicates_drops_forgeries_and_late_ones_happen_as_switched_on(make_day: Any) -> None:
    """Each delivery fault does what its name says."""
    day = make_day(paid_share=0.0)
    day.bank.register_webhook("http://receiver.test/", ["invoice"], day.now)
    day.bank.faults.add({"name": "duplicate_delivery", "route": "invoice created", "count": 4, "times": 1})
    day.invoice()
    day.run(minutes=2)
    assert len(day.deliveries) == 5
    assert len({delivery.event_id for delivery in day.deliveries}) == 1
    day.deliveries.clear()
    day.bank.faults.add({"name": "forge_signature", "times": 1})
    day.bank.faults.add({"name": "reorder", "times": 1, "seconds": 3_600})
    day.invoice()
    day.run(hours=2)
    assert [delivery.forged for delivery in day.deliveries] == [True, False]
    day.deliveries.clear()
    day.bank.faults.add({"name": "drop_delivery", "times": 1})
    day.invoice()
    day.run(minutes=2)
    assert day.deliveries == []
    day.run(minutes=6)
    assert len(day.deliveries) == 1, "the retry arrives"


def seconds_between(earlier: str, later: str) -> float:
    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()
