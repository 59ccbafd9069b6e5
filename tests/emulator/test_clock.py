"""Clocks and the agenda."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from emulator.clock import Agenda, Clock, ScaledClock
from tests.emulator.conftest import NOW


def test_the_agenda_runs_in_order_of_time_then_of_entry_each_at_its_own_time() -> None:
    """Entries run by time, entries of one instant in the order they were added."""
    agenda, done = Agenda(), []
    agenda.teach("note", lambda word, at: done.append((at, word)))
    agenda.push(NOW + timedelta(seconds=2), "note", "later")
    agenda.push(NOW, "note", "first")
    agenda.push(NOW, "note", "second")
    assert agenda.next_at() == NOW
    assert agenda.run_due(NOW + timedelta(seconds=1)) == 2
    assert done == [(NOW, "first"), (NOW, "second")]
    assert len(agenda) == 1


def test_what_is_entered_while_running_and_already_due_runs_in_the_same_step() -> None:
    """An entry added by another entry is not left for the next step when it is already due."""
    agenda, done = Agenda(), []

    def spread(left: int, at: datetime) -> None:
        done.append(left)
        if left:
            agenda.push(at, "spread", left - 1)

    agenda.teach("spread", spread)
    agenda.push(NOW, "spread", 3)
    agenda.run_due(NOW)
    assert done == [3, 2, 1, 0]
    assert agenda.next_at() is None


def test_an_unknown_entry_is_refused_at_once() -> None:
    """Pushing a name that nothing handles fails when it is pushed, not when it is due."""
    with pytest.raises(KeyError, match="dance"):
        Agenda().push(NOW, "dance")


def test_a_scaled_clock_runs_ahead_and_a_client_is_judged_by_the_earlier_time() -> None:
    """A clock at high speed passes real time, and `client_now` stays at the real one."""
    clock = ScaledClock(speed=1_000_000)
    later = clock.now() + timedelta(days=1)
    assert 0 < clock.real_seconds_until(later) < 0.0865
    while clock.now() < later:
        pass
    assert clock.client_now() < clock.now() - timedelta(hours=23)
    assert clock.real_seconds_until(NOW) == 0


def test_a_virtual_clock_goes_forward_only() -> None:
    """Moving the clock back is an error of the caller."""
    clock = Clock(NOW)
    clock.advance(5)
    assert clock.now() == clock.client_now() == NOW + timedelta(seconds=5)
    with pytest.raises(ValueError, match="cannot go back"):
        clock.move_to(NOW)
