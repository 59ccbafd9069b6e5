"""The running clock: faster, slower, paused, stepped and jumped."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import Any

import pytest

from emulator.clock import Agenda, Clock, ScaledClock
from tests.emulator.conftest import INVOICE, NOW, TAGGED_TRANSFER


def test_a_paused_clock_stands_still_and_goes_on_from_there() -> None:
    """Time passes only while the clock runs."""
    clock = ScaledClock(speed=1_000_000)
    clock.set_pace(paused=True)
    stood = clock.now()
    assert clock.now() == stood
    assert clock.real_seconds_until(stood + timedelta(seconds=1)) == math.inf
    assert clock.real_seconds_until(stood) == 0
    clock.set_pace(paused=False)
    while clock.now() == stood:
        pass
    assert stood < clock.now() < stood + timedelta(days=30)


def test_a_change_of_speed_or_a_jump_is_told_and_never_goes_back() -> None:
    """The owner is notified of each change, and the clock never goes back."""
    clock, told = ScaledClock(speed=1), []
    clock.on_change = lambda: told.append(clock.speed)
    before = clock.now()
    clock.set_pace(speed=3_600)
    clock.move_to(before + timedelta(days=1))
    assert clock.now() >= before + timedelta(days=1)
    assert told == [3_600, 3_600]
    for wrong in (0, -1, 2_000_000, math.nan):
        with pytest.raises(ValueError, match="speed"):
            clock.set_pace(speed=wrong)
    with pytest.raises(ValueError, match="cannot go back"):
        clock.move_to(before)
    with pytest.raises(ValueError, match="ten years"):
        clock.move_to(before + timedelta(days=10_000))
    with pytest.raises(ValueError, match="stands still"):
        Clock(NOW).set_pace(speed=2)


def test_entries_can_be_taken_off_the_agenda() -> None:
    """`take` removes the wanted entries and keeps the order of the rest."""
    agenda, done = Agenda(), []
    agenda.teach("note", lambda word, at: done.append(word))
    for seconds, word in ((3, "c"), (1, "a"), (2, "b")):
        agenda.push(NOW + timedelta(seconds=seconds), "note", word)
    assert [args for _, _, args in agenda.entries()] == [("a",), ("b",), ("c",)]
    assert agenda.take(lambda name, args: args != ("b",)) == [("note", ("a",)), ("note", ("c",))]
    agenda.run_due(NOW + timedelta(seconds=9))
    assert done == ["b"]


def test_a_jump_does_everything_on_its_way_each_at_its_own_time(signed: Any) -> None:
    """Each entry runs with its own time, not with the time of arrival."""
    signed.ask("PATCH", "settings", paid_share=1.0)
    _, answer = signed.call("POST", "/v2/invoice", {"invoices": [INVOICE]})
    signed.ask("PATCH", "clock", advance=3_600)
    logs = signed.get(f"/v2/invoice/log?invoiceIds={answer['invoices'][0]['id']}")["logs"]
    assert [log["type"] for log in logs] == ["credited", "paid", "created"]
    paid = datetime.fromisoformat(logs[1]["created"])
    assert timedelta(minutes=2) <= paid - NOW <= timedelta(minutes=15), "not at the end of the jump"
    found = signed.ask("GET", "clock")["clock"]
    assert found["now"] == "2026-03-02T16:00:00.000000+00:00"
    assert found["next_at"] > found["now"]


def test_a_step_does_the_next_thing_that_is_planned(signed: Any) -> None:
    """One step moves to the next entry and does it."""
    signed.call("POST", "/v2/transfer", {"transfers": [TAGGED_TRANSFER]})
    (transfer,) = signed.get("/v2/transfer")["transfers"]
    seen = [transfer["status"]]
    for _ in range(40):
        signed.ask("PATCH", "clock", steps=1)
        seen.append(signed.get(f"/v2/transfer/{transfer['id']}")["transfer"]["status"])
        if seen[-1] == "success":
            break
    assert list(dict.fromkeys(seen)) == ["created", "processing", "success"]
    assert signed.ask("PATCH", "clock", steps=100)["clock"]["next_at"] is None


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({"to": "2020-01-01T00:00:00+00:00"}, "cannot go back"),
        ({"to": "tomorrow"}, "to"),
        ({"to": 5}, "to"),
        ({"to": "9999-12-31T23:59:59+00:00"}, "ten years"),
        ({"advance": -1}, "advance"),
        ({"advance": "1h"}, "advance"),
        ({"advance": 1e300}, "advance"),
        ({"steps": 0}, "steps"),
        ({"steps": 1, "advance": 1}, "only one"),
        ({"speed": "fast"}, "speed"),
        ({"speed": True}, "speed"),
        ({"paused": "yes"}, "paused"),
        ({"hurry": 1}, "hurry"),
        ({"speed": 2}, "stands still"),
    ],
)
def test_a_wrong_change_of_the_clock_is_refused_by_name(signed: Any, body: dict[str, Any], word: str) -> None:
    """Each wrong argument of PATCH clock is named."""
    assert word in signed.refused("PATCH", "clock", **body)
