"""The past that `--populate` gives a bank: of every kind, balanced, and the same for the same seed."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import pytest

from emulator.behaviour.bank import Bank
from emulator.behaviour.populate import populate, starts_at
from emulator.books import invoices, transfers
from emulator.management.statement import statement
from tests.emulator.conftest import INVOICE, NOW


def with_a_past(seed: int = 1, now: datetime = NOW) -> Bank:
    bank = Bank(seed=seed, opened_at=starts_at(now))
    populate(bank, now)
    return bank


@pytest.fixture(scope="module")
def bank() -> Bank:
    return with_a_past()


def test_there_is_something_of_every_status(bank: Bank) -> None:
    """A populated bank has rows of each status that a past can leave."""
    counts = Counter(row["status"] for row in bank.invoices.rows.all())
    assert set(counts) == set(invoices.STATUSES) - {"overdue"}
    assert {row["status"] for row in bank.transfers.rows.all()} == set(transfers.STATUSES) - {"processing"}
    assert {row["status"] for row in bank.deposits.rows.all()} == {"created", "voided"}
    assert {row["type"] for row in bank.deposits.rows.all()} == {"pix", "ted"}


def test_the_books_of_the_past_balance(bank: Bank) -> None:
    """The past was lived with the bank's own machinery, so its books balance."""
    bank.accounts.check()
    assert statement(bank, details=False)["balanced"]


def test_the_last_day_has_enough_to_page_through(bank: Bank) -> None:
    """Yesterday alone fills more than one page of ten."""
    for table in (bank.invoices.rows, bank.transfers.rows, bank.deposits.rows):
        rows, cursor = table.page(limit=10, after=NOW - timedelta(days=1))
        assert len(rows) == 10
        assert cursor is not None


def test_there_is_enough_of_everything_for_the_official_tests_to_page_through(bank: Bank) -> None:
    """They read 150 transfers and deposit logs, and ten workspaces and webhooks."""
    counts = {
        "transfers": len(bank.transfers.rows), "deposit logs": len(bank.deposits.logs),
        "workspaces": len(bank.workspaces.rows), "webhooks": len(bank.events.webhooks),
    }  # fmt: skip
    enough = {"transfers": 150, "deposit logs": 150, "workspaces": 10, "webhooks": 10}
    assert {name: count for name, count in counts.items() if count < enough[name]} == {}


def test_what_happens_later_is_not_sent_to_the_webhooks_of_the_past() -> None:
    """A populated bank makes no failed deliveries of its own."""
    bank = with_a_past()
    attempts = len(bank.events.attempts)
    posted: list[Any] = []
    bank.events.deliver = posted.append
    (row,) = bank.create_invoices([INVOICE], NOW)
    bank.invoices.pay(row["id"], NOW)
    end = NOW + timedelta(days=1)
    while (at := bank.next_at()) is not None and at <= end:
        bank.step(at)
    assert posted == []
    assert len(bank.events.attempts) == attempts


def test_some_events_were_never_delivered_and_say_why(bank: Bank) -> None:
    """Undelivered events have attempts with both codes."""
    undelivered = len(bank.events.undelivered)
    assert 20 < undelivered < len(bank.events.rows) / 4
    assert {row["code"] for row in bank.events.attempts.all()} == {"badHttpStatus", "timeout"}


def test_nothing_of_the_past_is_still_to_come_but_due_dates(bank: Bank) -> None:
    """What the first caller finds does not change under its hands."""
    upcoming = bank.next_at()
    assert upcoming is not None
    assert upcoming > NOW + timedelta(hours=1)


def test_the_same_seed_gives_the_same_past(bank: Bank) -> None:
    """Rows, logs and events repeat with the seed."""

    def rows(made: Bank) -> list[Any]:
        return [*made.invoices.rows.all(), *made.transfers.logs.all(), *made.events.rows.all()]

    assert rows(with_a_past()) == rows(bank)
    assert rows(with_a_past(seed=2)) != rows(bank)
