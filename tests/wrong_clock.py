"""``python -m tests.wrong_clock SECONDS MODULE``: one of our commands on a machine whose clock is wrong by so much.

The clocks that the composition roots read, and the scheduler's. (Not Python's own: that is for the whole machine.)
"""

import datetime
import importlib
import runpy
import sys
from typing import Any

CLOCKS = {"webhooks": ("webhooks.app", "_utc_now"), "worker": ("worker.schedule", "utc_now")}
SCHEDULER = ("apscheduler.schedulers.base", "apscheduler.executors.base", "apscheduler.triggers.interval")

_wrong_by = datetime.timedelta(seconds=float(sys.argv[1]))
_real = datetime.datetime


class _AnyMoment(type):
    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, _real)


class _WrongDatetime(_real, metaclass=_AnyMoment):
    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> Any:
        return _real.now(tz) + _wrong_by


if __name__ == "__main__":
    command = sys.argv[2]
    module, name = CLOCKS[command]
    getattr(importlib.import_module(module), name)  # it must be there, or nothing would be wrong
    setattr(importlib.import_module(module), name, lambda: _real.now(datetime.UTC) + _wrong_by)
    for each in SCHEDULER:
        setattr(importlib.import_module(each), "datetime", _WrongDatetime)  # noqa: B010
    sys.argv = [command]
    runpy.run_module(command, run_name="__main__")
