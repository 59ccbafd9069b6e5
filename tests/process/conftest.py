"""A whole day in some seconds, in real processes; see tests/day.py."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.day import Day


@pytest.fixture
def build_day(tmp_path: Path) -> Iterator[Callable[..., Day]]:
    """Build a day (arguments as of Day) whose processes are not started yet; everything ends with the test."""
    days: list[Day] = []

    def build(**arguments: Any) -> Day:
        days.append(Day(tmp_path, **arguments))
        return days[-1]

    yield build
    for day in days:
        day.close()
