"""Time of the emulated bank: a clock to read, and an agenda of what is due.

Nothing else in the emulator reads a clock. Agenda entries are data (a name and arguments), never closures,
so that a run can be printed, replayed and saved. The agenda runs nothing on its own: its owner steps
it.
"""

from __future__ import annotations

import heapq
import math
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

Act = Callable[..., Any]


# A speed above this is a simulation, not a server: a day in less than a tenth of a second.
FASTEST = 1_000_000
# So that sums of dates stay inside a calendar; no test needs more than a decade in one jump.
LONGEST_JUMP_SECONDS = 10 * 366 * 86_400.0


class Clock:
    """A clock that stands still until its owner moves it: for tests and simulations. `ScaledClock` runs by itself.

    Times are aware UTC. A clock that runs calls `on_change` when it is moved or changes its pace; this one is looked at
    again by itself, since a test moves it from another thread than that of the loop.
    """

    def __init__(self, start: datetime) -> None:
        self._known_at = start
        self.speed = 1.0
        self.paused = True
        self.on_change: Callable[[], None] | None = None

    def now(self) -> datetime:
        """The emulated time."""
        return self._known_at

    def client_now(self) -> datetime:
        """What a caller takes for now; callers of a clock that stands still live in its time as well."""
        return self.now()

    def real_seconds_until(self, at: datetime) -> float:
        """How many real seconds pass before the emulated time is `at`; zero or more.

        Here nothing comes by waiting: a short pause, after which the owner looks again.
        """
        return 0.0 if at <= self.now() else 0.05

    def set_pace(self, speed: float | None = None, *, paused: bool | None = None) -> None:
        """Change the speed, pause or go on. Refused here: this clock has no pace of its own."""
        raise ValueError("this clock stands still; it can only be moved")

    def move_to(self, at: datetime) -> None:
        """Jump forward to `at`; ValueError when that has passed."""
        _check_jump(self.now(), at)
        self.set_back_to(at)

    def advance(self, seconds: float) -> None:
        """Jump forward by `seconds`."""
        self.move_to(self.now() + timedelta(seconds=seconds))

    def set_back_to(self, at: datetime) -> None:
        """Stand at `at`, earlier or later: for loading a state, whose books are of that time."""
        self._known_at = at


class ScaledClock(Clock):
    """Starts at the real time and runs `speed` times as fast, until it is paused or moved."""

    def __init__(self, speed: float = 1.0, start: datetime | None = None) -> None:
        super().__init__(start or datetime.now(UTC))
        self.speed = speed
        self.paused = False
        self._known_seconds = time.monotonic()

    def now(self) -> datetime:
        """The emulated time."""
        if self.paused:
            return self._known_at
        elapsed_seconds = (time.monotonic() - self._known_seconds) * self.speed
        return self._known_at + timedelta(seconds=elapsed_seconds)

    def client_now(self) -> datetime:
        """The real time, when the emulated one is ahead: dates that a caller sends are compared with this."""
        return min(self.now(), datetime.now(UTC))

    def real_seconds_until(self, at: datetime) -> float:
        """How many real seconds pass before the emulated time is `at`: zero or more, infinite when paused."""
        wait_seconds = (at - self.now()).total_seconds()
        if wait_seconds <= 0:
            return 0.0
        return math.inf if self.paused else wait_seconds / self.speed

    def set_pace(self, speed: float | None = None, *, paused: bool | None = None) -> None:
        """Change the speed, pause or go on, from this instant."""
        if speed is not None and not 0 < speed <= FASTEST:
            raise ValueError(f"speed must be a number above 0 and at most {FASTEST}")
        stood = self.now()
        self.speed = self.speed if speed is None else speed
        self.paused = self.paused if paused is None else paused
        self.set_back_to(stood)

    def set_back_to(self, at: datetime) -> None:
        """Go on from `at`, earlier or later."""
        self._known_at, self._known_seconds = at, time.monotonic()
        if self.on_change is not None:
            self.on_change()


def _check_jump(now: datetime, at: datetime) -> None:
    if at < now:
        raise ValueError(f"the clock stands at {now.isoformat()} and cannot go back to {at.isoformat()}")
    if (at - now).total_seconds() > LONGEST_JUMP_SECONDS:
        raise ValueError("the clock cannot jump more than ten years in one step")


class Agenda:
    """What the bank will do and when; entries of one instant run in the order in which they were added."""

    def __init__(self) -> None:
        self._heap: list[tuple[datetime, int, str, tuple[Any, ...]]] = []
        self._acts: dict[str, Act] = {}
        self._sequence = 0
        self.on_push: Callable[[], None] | None = None

    def teach(self, name: str, act: Act) -> None:
        """Say what an entry called `name` does: `act(*args, at)`."""
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

    def entries(self, most: int | None = None) -> list[tuple[datetime, str, tuple[Any, ...]]]:
        """What is planned, soonest first: all entries, or at most `most`."""
        count = len(self._heap) if most is None else most
        soonest = heapq.nsmallest(count, self._heap, key=lambda each: each[:2])
        return [(at, name, args) for at, _, name, args in soonest]

    def take(self, is_wanted: Callable[[str, tuple[Any, ...]], bool]) -> list[tuple[str, tuple[Any, ...]]]:
        """Remove the entries that are wanted, and return their names and arguments, soonest first."""
        taken = sorted(
            (each for each in self._heap if is_wanted(each[2], each[3])), key=lambda each: each[:2]
        )
        if taken:
            gone = {sequence for _, sequence, _, _ in taken}
            self._heap = [each for each in self._heap if each[1] not in gone]
            heapq.heapify(self._heap)
        return [(name, args) for _, _, name, args in taken]

    def knows(self, name: str) -> bool:
        """Whether an entry of this name can be done."""
        return name in self._acts

    def run_due(self, now: datetime) -> int:
        """Do everything that is due by `now`, each at its own time; returns how many were done."""
        done = 0
        while self._heap and self._heap[0][0] <= now:
            at, _, name, args = heapq.heappop(self._heap)
            self._acts[name](*args, at)
            done += 1
        return done

    def __len__(self) -> int:
        return len(self._heap)
