"""The running clock as the management API shows and changes it: faster, paused, stepped, jumped.

A jump does everything that is due on the way, each thing at its own time. Reactions from outside (a webhook's
answer, a transfer that follows) come after the jump, since callers do not jump along.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from msgspec import Meta

from emulator.behaviour.bank import Bank
from emulator.books.fields import Fields, flag, typed, whole
from emulator.books.formats import time_text
from emulator.clock import FASTEST, Clock


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


_SPEED = f"speed must be a number of emulated seconds per real second, above 0 and at most {FASTEST}"
CLOCK: Fields = {
    "speed": typed(Annotated[float, Meta(gt=0, le=FASTEST)], "invalidRequest", _SPEED),
    "paused": flag("invalidRequest", "paused must be true or false"),
    "advance": typed(
        Annotated[float, Meta(ge=0, le=1e9)], "invalidRequest", "advance must be a number of seconds, zero or more"
    ),
    "to": typed(
        str, "invalidRequest", "to must be a time such as 2026-03-02T15:00:00+00:00", datetime.fromisoformat,
        {"format": "date-time"},
    ),
    "steps": whole("invalidRequest", "steps must be a whole number from 1 to 100000", 1, 100_000),
}  # fmt: skip


def change_clock(clock: Clock, bank: Bank, given: dict[str, Any]) -> dict[str, Any]:
    """`speed`, `paused`, and one of `advance` (seconds), `to` (a time) and `steps` (things that are due).

    Returns the clock as it is shown then.
    """
    if sum(given[name] is not None for name in ("advance", "to", "steps")) > 1:
        raise ValueError("only one of advance, to and steps can be given")
    target = _target(clock, given)
    if given["speed"] is not None or given["paused"] is not None:
        clock.set_pace(given["speed"], paused=given["paused"])
    for _ in range(given["steps"] or 0):
        next_at = bank.next_at()
        if next_at is None:
            break
        _jump(clock, bank, max(next_at, clock.now()))
    if target is not None:
        _jump(clock, bank, target)
    return show_clock(clock, bank)


def _target(clock: Clock, given: dict[str, Any]) -> datetime | None:
    if given["advance"] is not None:
        return clock.now() + timedelta(seconds=given["advance"])
    at: datetime | None = given["to"]
    if at is None:
        return None
    # A page's field for a time has no offset; the bank's times are in UTC.
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def _jump(clock: Clock, bank: Bank, at: datetime) -> None:
    clock.move_to(at)
    bank.step(clock.now())
