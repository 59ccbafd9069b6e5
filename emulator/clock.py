"""Time of the emulated bank: a clock to read, and an agenda of what is due.

Nothing else in the emulator reads a clock. Agenda entries are data (a name and arguments), never closures,
so that a run can be printed, replayed and one day saved. The agenda runs nothing by itself: its owner steps
it.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

Act = Callable[..., None]


class Clock(Protocol):
    """Whatever can say what time it is at the bank, in aware UTC."""

    def now(self) -> datetime: ...

    def client_now(self) -> datetime: ...

    def real_seconds_until(self, at: datetime) -> float: ...


class ScaledClock:
    """Starts at the real time and runs `speed` times as fast."""

    def __init__(self, speed: float = 1.0) -> None:
        self.speed = speed
        self._started_at = datetime.now(UTC)
        self._started_seconds = time.monotonic()

    def now(self) -> datetime:
        """The emulated time."""
        elapsed_seconds = (time.monotonic() - self._started_seconds) * self.speed
        return self._started_at + timedelta(seconds=elapsed_seconds)

    def client_now(self) -> datetime:
        """What a caller takes for now: dates that it sends are compared with this, not with a later time."""
        return min(self.now(), datetime.now(UTC))

    def real_seconds_until(self, at: datetime) -> float:
        """How many real seconds pass before the emulated time is `at`; never below zero."""
        return max(0.0, (at - self.now()).total_seconds() / self.speed)


class VirtualClock:
    """Stands still until it is told to move: for tests and simulation."""

    def __init__(self, start: datetime) -> None:
        self._now = start

    def now(self) -> datetime:
        """The emulated time."""
        return self._now

    def client_now(self) -> datetime:
        """The emulated time: callers live in it as well."""
        return self._now

    def real_seconds_until(self, at: datetime) -> float:
        """Standing still, nothing comes by waiting: a short pause, after which the owner looks again."""
        return 0.0 if at <= self._now else 0.05

    def move_to(self, at: datetime) -> None:
        """Go forward to `at`; going back is a mistake of the caller."""
        if at < self._now:
            raise ValueError(
                f"the clock stands at {self._now.isoformat()} and cannot go back to {at.isoformat()}"
            )
        self._now = at

    def advance(self, seconds: float) -> None:
        """Go forward by `seconds`."""
        self.move_to(self._now + timedelta(seconds=seconds))


class Agenda:
    """What the bank will do and when; entries of one instant run in the order in which they were added."""

    def __init__(self) -> None:
        self._heap: list[tuple[datetime, int, str, tuple[Any, ...]]] = []
        self._acts: dict[str, Act] = {}
        self._sequence = 0
        self.on_push: Callable[[], None] | None = None

    def teach(self, name: str, act: Act) -> None:
        """Say what an entry called `name` does: `act(at, *args)`."""
        self._acts[name] = act

    def push(self, at: datetime, name: str, *args: Any) -> None:
        """Enter something to be done at `at`; a time that has passed is done at the next step."""
        if name not in self._acts:
            raise KeyError(f"the agenda does not know how to {name}")
        self._sequence += 1
        heapq.heappush(self._heap, (at, self._sequence, name, args))
        if self.on_push is not None:
            self.on_push()

    def next_at(self) -> datetime | None:
        """When the next entry is due; None when there is nothing to do."""
        return self._heap[0][0] if self._heap else None

    def run_due(self, now: datetime) -> int:
        """Do everything that is due by `now`, each at its own time; returns how many were done."""
        done = 0
        while self._heap and self._heap[0][0] <= now:
            at, _, name, args = heapq.heappop(self._heap)
            self._acts[name](at, *args)
            done += 1
        return done

    def __len__(self) -> int:
        return len(self._heap)
