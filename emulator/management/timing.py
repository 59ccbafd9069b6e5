"""The running clock as the management API shows and changes it: faster, paused, stepped, jumped.

A jump does everything that is due on the way, each thing at its own time. Reactions from outside (a webhook's
answer, a transfer that follows) come after the jump, since callers do not jump along.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from emulator.behaviour.bank import Bank
from emulator.books.formats import time_text
from emulator.clock import Clock
from emulator.management.arguments import flag, only, whole


def show_clock(clock: Clock, bank: Bank) -> dict[str, Any]:
    """What time it is at the bank, how fast it passes, and what comes next."""
    next_at = bank.next_at()
    return {
        "now": time_text(clock.now()),
        "speed": clock.speed,
        "paused": clock.paused,
        "next_at": None if next_at is None else time_text(next_at),
        "planned": len(bank.agenda),
    }


def change_clock(clock: Clock, bank: Bank, body: dict[str, Any]) -> None:
    """`speed`, `paused`, and one of `advance` (seconds), `to` (a time) and `steps` (things that are due)."""
    only(body, "speed", "paused", "advance", "to", "steps")
    speed = body.get("speed")
    if speed is not None and (isinstance(speed, bool) or not isinstance(speed, int | float)):
        raise ValueError("speed must be a number of emulated seconds per real second")
    if len({"advance", "to", "steps"} & set(body)) > 1:
        raise ValueError("only one of advance, to and steps can be given")
    target = _target(clock, body)
    steps = whole(body, "steps", 0, at_least=1, at_most=100_000) if "steps" in body else 0
    if speed is not None or "paused" in body:
        clock.set_pace(
            None if speed is None else float(speed), flag(body, "paused", False) if "paused" in body else None
        )
    for _ in range(steps):
        next_at = bank.next_at()
        if next_at is None:
            break
        _jump(clock, bank, max(next_at, clock.now()))
    if target is not None:
        _jump(clock, bank, target)


def _target(clock: Clock, body: dict[str, Any]) -> datetime | None:
    if "advance" in body:
        seconds = body["advance"]
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= 1e9:
            raise ValueError("advance must be a number of seconds, zero or more")
        return clock.now() + timedelta(seconds=seconds)
    if "to" in body:
        try:
            at = datetime.fromisoformat(body["to"])
        except (ValueError, TypeError):
            raise ValueError("to must be a time such as 2026-03-02T15:00:00+00:00") from None
        # A page's field for a time has no offset; the bank's times are in UTC.
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    return None


def _jump(clock: Clock, bank: Bank, at: datetime) -> None:
    clock.move_to(at)
    bank.step(clock.now())
