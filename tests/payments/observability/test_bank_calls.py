"""The last call to the bank: noted without a write, asked for when none was made, reported when it changes."""

from collections.abc import Callable

import pytest

from payments.bank.client import Bank
from payments.observability import bank_calls
from payments.observability.bank_calls import BankCalls, BankWatch
from tests.emulated import EmulatedBank


@pytest.fixture
def noted(connect: Callable[..., Bank]) -> tuple[BankCalls, Bank]:
    """A bank whose calls are noted."""
    calls = BankCalls()
    return calls, connect(on_call=calls.note)


def test_the_last_call_is_known_with_its_verdict(noted: tuple[BankCalls, Bank]) -> None:
    """Of none nothing is known; of several the last one counts."""
    calls, bank = noted
    assert calls.last() is None
    bank.balance_centavos()
    last = calls.last()
    assert last is not None
    assert (last.verdict, last.age_seconds >= 0) == ("accepted", True)


def test_the_watch_asks_only_when_there_was_no_call_and_beats_only_when_the_verdict_changes(
    noted: tuple[BankCalls, Bank], emulator: EmulatedBank, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An outage is reported once, and so is its end; a busy process asks nothing of its own."""
    calls, bank = noted
    beats: list[str] = []

    def beat() -> None:
        last = calls.last()
        assert last is not None
        beats.append(last.verdict)

    watch = BankWatch(calls, bank.balance_centavos, beat)
    watch.look()
    watch.look()
    assert len(emulator.requests("GET", "balance")) == 1
    monkeypatch.setattr(bank_calls, "ASK_AFTER_SECONDS", -1.0)
    emulator.fault("error_503")
    watch.look()
    watch.look()
    assert len(emulator.requests("GET", "balance")) == 3
    assert beats == ["accepted", "unclear"]
    emulator.clear_faults()
    watch.look()
    assert beats == ["accepted", "unclear", "accepted"]
