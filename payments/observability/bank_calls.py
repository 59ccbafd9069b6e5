"""What this process's last call to the bank came to, and a question to the bank when there was none for a while.

Each call is noted in memory; the heartbeat writes the last one, so no call costs a write. The watch asks for the
balance, which is the smallest question that the bank answers only to us, so that an outage or a refused key is known
within seconds even when no credit is in hand.
"""

from collections.abc import Callable
from time import monotonic
from typing import NamedTuple

import structlog

from payments.bank.transport import OnCall
from payments.errors import BankError
from payments.observability.heartbeat import Ticker

log = structlog.get_logger()

# How often the watch looks. A process that just lost or found the bank says so no later.
WATCH_SECONDS = 5.0

# The bank is asked when no call was made for this long: six small questions a minute on a quiet day.
ASK_AFTER_SECONDS = 10.0


class LastCall(NamedTuple):
    """One call: its verdict, as the transport has it, and how long ago it ended."""

    verdict: str
    age_seconds: float


class BankCalls:
    """Notes each call; ``count`` gets it too. Safe to use from several threads."""

    def __init__(self, count: OnCall | None = None) -> None:
        self._count = count
        self._last: tuple[str, float] | None = None

    def note(self, method: str, resource: str, verdict: str, seconds: float) -> None:
        """Note one call; the transport's ``on_call``."""
        self._last = (verdict, monotonic())
        if self._count is not None:
            self._count(method, resource, verdict, seconds)

    def last(self) -> LastCall | None:
        """The last call; None before the first one."""
        last = self._last
        return None if last is None else LastCall(last[0], monotonic() - last[1])


class BankWatch(Ticker):
    """Calls ``ask`` when no call was made for a while, and ``beat`` when the verdict has changed.

    ``ask`` makes one call to the bank; its BankError is what the watch is for, and stops nothing.
    """

    def __init__(self, calls: BankCalls, ask: Callable[[], object], beat: Callable[[], None]) -> None:
        super().__init__("bank_watch", self.look, WATCH_SECONDS)
        self._calls = calls
        self._ask = ask
        self._beat = beat
        self._written: str | None = None

    def look(self) -> None:
        """Look once. Raises LedgerUnavailable when the heartbeat cannot be written."""
        last = self._calls.last()
        if last is None or last.age_seconds > ASK_AFTER_SECONDS:
            try:
                self._ask()
            except BankError as error:
                log.warning("bank_watch.unanswered", reason=str(error))
            last = self._calls.last()
        if last is not None and last.verdict != self._written:
            self._beat()
            self._written = last.verdict
