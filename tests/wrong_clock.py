"""``python -m tests.wrong_clock SECONDS MODULE``: one of our commands on a machine whose clock is wrong by so much.

The clocks that the composition roots read, and the scheduler's. (Not Python's own: that is for the whole machine.) In
place of SECONDS a file that has the number may be named: when it changes, the clock is set while the command runs.
"""

import datetime
import importlib
import runpy
import sys
from pathlib import Path
from typing import Any

from payments.observability import heartbeat

CLOCKS = {"webhooks": ("webhooks.app", "_utc_now"), "worker": ("worker.schedule", "utc_now")}
SCHEDULER = ("apscheduler.schedulers.base", "apscheduler.executors.base", "worker.schedule")

_real = datetime.datetime


def _wrong_by() -> datetime.timedelta:
    given = Path(wrong_by)
    return datetime.timedelta(seconds=float(given.read_text() if given.is_absolute() else wrong_by))


class _AnyMoment(type):
    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, _real)


class _WrongDatetime(_real, metaclass=_AnyMoment):
    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> Any:
        return _real.now(tz) + _wrong_by()


if __name__ == "__main__":
    _, wrong_by, command = sys.argv
    module, name = CLOCKS[command]
    getattr(importlib.import_module(module), name)  # it must be there, or nothing would be wrong
    setattr(importlib.import_module(module), name, lambda: _real.now(datetime.UTC) + _wrong_by())
    for each in SCHEDULER:
        setattr(importlib.import_module(each), "datetime", _WrongDatetime)  # noqa: B010
    heartbeat.BEAT_SECONDS = 1.0  # in place of 5, so that a test need not wait for it
    sys.argv = [command]
    runpy.run_module(command, run_name="__main__")
