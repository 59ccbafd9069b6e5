"""Books of a day that is two thirds over, made in seconds: the real job, with the emulator, on a clock that jumps."""

from datetime import UTC, datetime, timedelta
from random import Random

from emulator.clock import Clock
from payments.bank.client import open_bank
from payments.ledger.batches import IssuingWindow, open_window
from payments.policy import ForwardingPolicy
from payments.reconciliation import reconcile_once
from payments.settlement import settle_once
from payments.storage.database import Database
from tests.emulated import EmulatedBank
from worker.issuing import IssuingRules, issue_due

_RULES = IssuingRules(8, 12, 1_000, 50_000, "issue", 60, 5, 3600)


class Afternoon:
    """A day that began ``hours`` ago, by the bank and by us; its bank goes on to run, at a clock that stands still."""

    def __init__(self, database: Database, policy: ForwardingPolicy, hours: float) -> None:
        self.database = database
        self.policy = policy
        opened_at = datetime.now(UTC) - timedelta(hours=hours)
        self.bank = EmulatedBank(Clock(opened_at), paid_share=0.8, invoice_fee_centavos=50)
        self._client = open_bank(
            environment="sandbox",
            project_id=self.bank.project_id,
            private_key_pem=self.bank.private_key_pem,
            api_url=self.bank.url,
            timeout_seconds=15,
        )
        self._window: IssuingWindow = open_window(database, 10_800, 8, "5eed", opened_at)
        self._random = Random(5)
        self._calls = 0

    @property
    def environment(self) -> dict[str, str]:
        """Settings for processes that go on with it."""
        return {**self.bank.environment, "DATABASE_URL": str(self.database.url)}

    def live_through(self, until: datetime) -> None:
        """Let the hours go by: issue, reconcile and forward every few minutes."""
        while (now := self.bank.clock.now()) < until:
            issue_due(self.database, self._client, _RULES, self._window, self.bank.clock.now)
            # Nobody is at the door: all is found by asking.
            reconcile_once(self.database, self._client, self.policy, self.bank.clock.now)
            self.settle()
            step = min(self._random.uniform(60, 900), (until - now).total_seconds())
            self.bank.advance(step)

    def settle(self) -> None:
        """Forward what is due."""
        settle_once(self.database, self._client, self.policy, self.bank.clock.now, self._new_call_tag())

    def close(self) -> None:
        """End the bank."""
        self._client.close()
        self.bank.close()

    def _new_call_tag(self) -> str:
        self._calls += 1
        return f"call-{self._calls:016x}"
