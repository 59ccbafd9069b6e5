"""What an answer of the bank allows us to conclude."""

import pytest

from payments.errors import (
    BankError,
    LedgerUnavailable,
    LedgerUnusable,
    NotSent,
    Refusal,
    Rejected,
    RepasseError,
    SettingsError,
    Throttled,
    Unclear,
)


def rejected(*codes: str) -> Rejected:
    """A refusal with these codes."""
    return Rejected(tuple(Refusal(code, f"about {code}") for code in codes))


@pytest.mark.parametrize("code", ["invalidCredentials", "invalidProject", "invalidIp"])
def test_a_refusal_of_the_caller_says_nothing_about_the_content(code: str) -> None:
    """Our key, project or address was refused: the transfer may still be good."""
    assert rejected("invalidAmount", code).concerns_caller
    assert not rejected("invalidAmount").concerns_caller


def test_an_empty_balance_is_told_from_a_bad_request() -> None:
    """The money may come later, so the same request may succeed."""
    assert rejected("invalidBalance").concerns_balance
    assert not rejected("invalidJson").concerns_balance


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        ("invalidCredentials", "STARKBANK_PRIVATE_KEY"),
        ("invalidProject", "STARKBANK_PROJECT_ID"),
        ("invalidIp", "allowed IPs"),
        ("invalidJson", "not carried out"),
    ],
)
def test_every_refusal_says_what_to_do(code: str, hint: str) -> None:
    """A message without a next step leaves the operator alone."""
    assert hint in rejected(code).remedy


def test_a_refusal_shows_every_reason_of_the_bank() -> None:
    """Codes and messages, one after the other."""
    assert str(rejected("a", "b")) == "a: about a; b: about b"
    assert str(Rejected(())) == "refused without a reason"


def test_each_answer_is_caught_by_exactly_its_kind() -> None:
    """Unclear must never be caught as a refusal, nor the storage's trouble as the bank's."""
    bank = (Rejected(()), NotSent("x"), Throttled(), Unclear("x"))
    assert all(isinstance(error, BankError) for error in bank)
    for error in bank:
        others = tuple(type(other) for other in bank if other is not error)
        assert not isinstance(error, others)
    for kind in (LedgerUnavailable, LedgerUnusable, SettingsError):
        assert issubclass(kind, RepasseError)
        assert not issubclass(kind, BankError)
