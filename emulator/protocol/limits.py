"""How many calls a project may make: off unless a limit is set.

A bucket for each project that fills evenly over a minute. Real seconds, since that is what a caller waits,
at any speed of the bank's clock. It only counts; `endpoint` answers 429.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable


class Limits:
    """The buckets of all projects."""

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        # What is left, and when that was true.
        self._left: dict[str, tuple[float, float]] = {}

    def wait_seconds(self, project_id: str, per_minute: int) -> int:
        """Count one call; 0 when it may pass, else the whole seconds after which the next one may."""
        if per_minute <= 0:
            return 0
        now = self._seconds()
        left, since = self._left.get(project_id, (float(per_minute), now))
        left = min(float(per_minute), left + (now - since) * per_minute / 60)
        if left >= 1:
            self._left[project_id] = (left - 1, now)
            return 0
        # A refused call costs nothing, or a caller that keeps trying would never succeed.
        self._left[project_id] = (left, now)
        return max(1, math.ceil((1 - left) * 60 / per_minute))
