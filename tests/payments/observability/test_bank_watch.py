"""The last call to the bank: known without a write, asked for when none was made, reported when it changes."""

from collections.abc import Callable

import pytest

from payments.bank.client import Bank
from payments.observability import bank_watch
from payments.observability.bank_watch import BankWatch
from tests.emulated import EmulatedBank


def test_the_last_call_is_known_with_its_verdict(connect: Callable[..., Bank]) -> None:
    """Of none nothing is known; of several the last one counts."""
    bank = connect()
    assert bank.last_call() is None
    bank.balance_centavos()
    last = bank.last_call()
    assert last is not None
    assert (last.verdict, last.age_seconds >= 0) == ("accepted", True)


def test_the_watch_asks_only_when_there_was_no_call_and_beats_only_when_the_verdict_changes(
    connect: Callable[..., Bank], emulator: EmulatedBank, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An outage is reported once, and so is its end; a busy process asks nothing of its own."""
    bank = connect()
    beats: list[str] = []

    def beat() -> None:
        last = bank.last_call()
        assert last is not None
        beats.append(last.verdict)

    watch = BankWatch(bank, beat)
    watch.look()
    watch.look()
    assert len(emulator.requests("GET", "balance")) == 1
    monkeypatch.setattr(bank_watch, "ASK_AFTER_SECONDS", -1.0)
    emulator.fault("error_503")
    watch.look()
    watch.look()
    assert len(emulator.requests("GET", "balance")) == 3
    assert beats == ["accepted", "unclear"]
    emulator.clear_faults()
    watch.look()
    assert beats == ["accepted", "unclear", "accepted"]
