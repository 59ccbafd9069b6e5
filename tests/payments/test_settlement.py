"""Settlement where the emulator's quick answers hide something: a slow bank, and refusals not seen before."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest

from payments.errors import NotSent, Refusal, Rejected
from payments.ledger.transfers import next_due_at
from payments.operator.statement import read_statement
from payments.settlement import settle_once
from payments.transfer import BankTransfer, TransferOrder
from tests.payments.conftest import ON_SQLITE, Books


class SlowBank:
    """Takes ``seconds`` of the books' time for each call, is down at first, and may refuse with ``code``."""

    timeout_seconds = 15.0

    def __init__(self, books: Books, seconds: float) -> None:
        self._books = books
        self._seconds = seconds
        self._sent: dict[str, BankTransfer] = {}
        self.is_down = True
        self.code: str | None = None

    def send_transfers(self, orders: Sequence[TransferOrder]) -> dict[str, BankTransfer]:
        """Accept all, or refuse all."""
        self._pass()
        if self.code is not None:
            raise Rejected((Refusal(self.code, "says the bank"),))
        for order in orders:
            there = order.destination
            self._sent[order.external_id] = BankTransfer(
                id=f"B{order.external_id}",
                external_id=order.external_id,
                status="created",
                amount_centavos=order.amount_centavos,
                bank_code=there.bank_code,
                branch_code=there.branch_code,
                account_number=there.account_number,
                tax_id=there.tax_id,
                tags=order.tags,
            )
        return {order.external_id: self._sent[order.external_id] for order in orders}

    def find_transfers(self, tag: str) -> list[BankTransfer]:
        """What carries the tag."""
        self._pass()
        return [transfer for transfer in self._sent.values() if tag in transfer.tags]

    def transfer_logs(self, transfer_ids: Sequence[str]) -> list[bytes]:
        """None has failed."""
        return []

    def _pass(self) -> None:
        self._books.pass_time(self._seconds)
        if self.is_down:
            raise NotSent("connection refused")


def _settle(books: Books, bank: SlowBank, until: datetime) -> None:
    number = 0
    while books.now < until:
        number += 1
        run = settle_once(books.database, bank, books.policy, lambda: books.now, f"call-{number}")
        if run.is_idle:
            due_at = next_due_at(books.database) or until
            books.now = max(books.now + timedelta(seconds=1), min(due_at, until))


@ON_SQLITE
@pytest.mark.parametrize(("backlog", "seconds"), [(96, 0.5), (10, 6.0)])
def test_a_backlog_whose_look_ups_outlast_a_lease_is_worked_off(
    books: Books, backlog: int, seconds: float
) -> None:
    """Each run looks up what it has time for and sends it; the rest waits its turn and is not released forever."""
    for number in range(backlog):
        books.credit(f"{1000 + number}")
    bank = SlowBank(books, seconds)
    _settle(books, bank, books.now + timedelta(minutes=3))
    bank.is_down = False
    _settle(books, bank, books.now + timedelta(hours=2))
    assert read_statement(books.database).transfers["sent"] == backlog


@pytest.mark.parametrize("code", ["expiredAccessTime", "invalidBalance"])
def test_a_refusal_that_need_not_be_the_contents_buries_nothing(books: Books, code: str) -> None:
    """An unknown code may be about us or about the moment; the same transfers are sent when it has passed."""
    for number in range(5):
        books.credit(f"{1000 + number}")
    bank = SlowBank(books, 0.1)
    bank.is_down, bank.code = False, code
    _settle(books, bank, books.now + timedelta(minutes=2))
    assert read_statement(books.database).transfers["dead"] == 0
    bank.code = None
    _settle(books, bank, books.now + timedelta(hours=1))
    assert read_statement(books.database).transfers["sent"] == 5
