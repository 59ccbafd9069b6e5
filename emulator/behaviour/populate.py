"""A bank with a past: what `--populate` puts into the books before the first call.

It lives through twelve days on virtual time with the bank's own machinery, so that every row, log, event and
ledger line is one that could have happened. The official SDK tests look for such a state; so do people who
want to see full pages. It sends nothing: deliveries of the past are answered here, and nothing that happens later
is sent to its webhooks.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from emulator.behaviour.bank import Bank
from emulator.behaviour.events import BAD_STATUS, TIMEOUT, Delivery
from emulator.books.table import Row

# starkcore's own tests look for rows from before February 2022.
FIRST_DAY = datetime(2022, 1, 10, 15, 0, tzinfo=UTC)
DAYS = 12
# The webhook of the past is removed at its end, or each later event would be a failed delivery.
WEBHOOK_URL = "https://populated.invalid/past"
SUBSCRIPTIONS = ["invoice", "transfer", "deposit"]
# Official tests page through ten webhooks and ten workspaces. These webhooks are for events that never come here.
LISTED_COUNT = 10
QUIET_SUBSCRIPTIONS = ["boleto", "darf-payment"]

_NAMES = ("Ana Brito", "Bruno Dias", "Carla Esteves", "Diego Freitas", "Elisa Gomes", "Fábio Lima")
_TAX_IDS = ("529.982.247-25", "012.345.678-90", "11.444.777/0001-61", "20.018.183/0001-80")


def starts_at(now: datetime) -> datetime:
    """When a populated bank was opened: pass it to `Bank` as `opened_at`."""
    return min(FIRST_DAY, now - timedelta(days=DAYS + 1)) - timedelta(minutes=1)


def populate(bank: Bank, now: datetime) -> None:
    """Give the bank its past, up to a few minutes before `now`."""
    deliver, paid_share = bank.events.deliver, bank.preset.paid_share
    past = _Past(bank, FIRST_DAY)
    bank.events.deliver = past.answer
    # What is paid is decided here, so that there is enough of everything under any preset.
    bank.preset.paid_share = 0.0
    try:
        past.begin()
        for days_ago in range(DAYS, 0, -1):
            past.pass_until(now - timedelta(days=days_ago))
            past.ordinary_day()
        past.pass_until(now - timedelta(hours=5))
        past.busy_hours()
        # The last events and reversals have ended before the first call.
        past.pass_until(now)
        past.end()
    finally:
        bank.events.deliver, bank.preset.paid_share = deliver, paid_share


class _Past:
    def __init__(self, bank: Bank, now: datetime) -> None:
        self._bank = bank
        self._now = now
        self._random = random.Random(f"{bank.seed}:populate")
        self._number = 0
        self._webhook_id = ""

    def pass_until(self, end: datetime) -> None:
        """Let time pass, and do everything that falls due."""
        while (at := self._bank.next_at()) is not None and at <= end:
            self._now = max(self._now, at)
            self._bank.step(self._now)
        self._now = max(self._now, end)

    def wait(self, **duration: float) -> None:
        self.pass_until(self._now + timedelta(**duration))

    def answer(self, delivery: Delivery) -> None:
        """The receiver of the past: it never accepted one event in eight."""
        lost = int(delivery.event_id) % 8 == 0
        timed_out = int(delivery.event_id) % 16 == 0
        code = (TIMEOUT if timed_out else BAD_STATUS) if lost else None
        message = "HTTP POST request timed out" if timed_out else "HTTP POST request returned status 503"
        self._bank.events.record(delivery, self._now, code, message if lost else "")

    def begin(self) -> None:
        self._webhook_id = self._bank.register_webhook(WEBHOOK_URL, SUBSCRIPTIONS, self._now)["id"]
        # Enough for the transfers that tests make.
        self._deposit(amount=1_000_000_000, name="Iron Bank S.A.", taxId="20.018.183/0001-80", type="ted")
        self._pay(*self._invoices(4))
        self.wait(hours=4)

    def end(self) -> None:
        """Replace the webhook of the past by webhooks that receive nothing."""
        self._bank.events.webhooks.remove(self._webhook_id)
        for number in range(1, LISTED_COUNT + 1):
            url = f"https://populated.invalid/webhook-{number}"
            self._bank.register_webhook(url, QUIET_SUBSCRIPTIONS, self._now)

    def ordinary_day(self) -> None:
        """Some paid, one left to expire, some money in and out."""
        rows = self._invoices(6, expiration=3600, due=self._in(hours=2))
        self.wait(minutes=4)
        self._pay(*rows[:5])
        for _ in range(4):
            self._deposit()
        self._deposit(type="ted", bankCode="341")
        self._transfers(11)
        self.wait(hours=4)

    def busy_hours(self) -> None:
        """The last hours: one of every kind, and enough of each to page through."""
        for number in range(1, LISTED_COUNT + 1):
            body = {"username": f"emulator-{number}", "name": f"Emulated {number}"}
            self._bank.workspaces.create(body, self._now)
        rows = self._invoices(60)
        self.wait(minutes=5)
        self._pay(*rows[:40])
        for row in rows[40:44]:
            self._bank.invoices.patch(row["id"], {"status": "canceled"}, self._now)
        deposits = [self._deposit() for _ in range(16)]
        transfers = self._transfers(20)
        self._failing_transfers(transfers[0])
        self.wait(minutes=5)
        for row, left in zip(rows[:6], (0, 0, 0, 100, 100, 100), strict=True):
            self._bank.invoices.patch(row["id"], {"amount": left}, self._now)
        for row, left in zip(deposits[:4], (0, 0, 50, 50), strict=True):
            self._bank.deposits.patch(row["id"], {"amount": left}, self._now)
        scheduled = self._transfers(4, scheduled=self._in(days=10))
        self._bank.transfers.cancel(scheduled[0]["id"], self._now)
        self.wait(hours=4)

    def _in(self, **duration: float) -> str:
        return (self._now + timedelta(**duration)).isoformat()

    def _some(self) -> dict[str, Any]:
        self._number += 1
        return {
            "amount": self._random.randint(1_000, 90_000),
            "name": self._random.choice(_NAMES),
            "taxId": self._random.choice(_TAX_IDS),
            "tags": ["populated", f"populated-{self._number}"],
        }

    def _invoices(self, count: int, **changes: Any) -> list[Row]:
        elements = [{**self._some(), **changes} for _ in range(count)]
        return self._bank.create_invoices(elements, self._now)

    def _pay(self, *rows: Row) -> None:
        for row in rows:
            self._bank.invoices.pay(row["id"], self._now)

    def _deposit(self, **changes: Any) -> Row:
        return self._bank.deposits.receive({**self._some(), **changes}, self._now)

    def _transfers(self, count: int, **changes: Any) -> list[Row]:
        account = {
            "bankCode": "60701190",
            "branchCode": "1357-9",
            "accountNumber": "876543-2",
            "accountType": "checking",
        }
        elements = [{**self._some(), **account, **changes} for _ in range(count)]
        for element in elements:
            element["externalId"] = f"populated-{self._random.getrandbits(64):016x}"
        return self._bank.create_transfers(elements, self._now)

    def _failing_transfers(self, twin: Row) -> None:
        self.wait(seconds=1)
        create: Callable[..., list[Row]] = self._bank.create_transfers
        account = {key: twin[key] for key in ("bankCode", "branchCode", "accountNumber")}
        create([{**self._some(), **account, "externalId": twin["externalId"]}], self._now)
        create([{**self._some(), **account, "amount": 10**13, "externalId": "populated-too-much"}], self._now)
