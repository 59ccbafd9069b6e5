"""A question to the bank when no call was made for a while, and a heartbeat when the verdict changes.

The heartbeat writes what the last call came to, so no call costs a write. The watch asks for the balance, which is the
smallest question that the bank answers only to us, so that an outage or a refused key is known within seconds even when
no credit is in hand.
"""

from collections.abc import Callable

import structlog

from payments.bank.client import Bank
from payments.errors import BankError
from payments.observability.heartbeat import Ticker

log = structlog.get_logger()

# How often the watch looks. A process that just lost or found the bank says so no later.
WATCH_SECONDS = 5.0

# The bank is asked when no call was made for this long: six small questions a minute on a quiet day.
ASK_AFTER_SECONDS = 10.0


class BankWatch(Ticker):
    """Asks the bank when it was not called for a while, and calls ``beat`` when the verdict has changed."""

    def __init__(self, bank: Bank, beat: Callable[[], None]) -> None:
        super().__init__("bank_watch", self.look, WATCH_SECONDS)
        self._bank = bank
        self._beat = beat
        self._written: str | None = None

    def look(self) -> None:
        """Look once. Raises LedgerUnavailable when the heartbeat cannot be written."""
        last = self._bank.last_call()
        if last is None or last.age_seconds > ASK_AFTER_SECONDS:
            try:
                self._bank.balance_centavos()
            except BankError as error:
                log.warning("bank_watch.unanswered", reason=str(error))
            last = self._bank.last_call()
        if last is not None and last.verdict != self._written:
            self._beat()
            self._written = last.verdict
