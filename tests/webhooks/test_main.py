"""The command's own arguments; what it does with wrong settings is in tests/process."""

import argparse

import pytest

from webhooks.__main__ import _positive


@pytest.mark.parametrize(("text", "number"), [("1", 1), ("2", 2), ("64", 64)])
def test_a_number_of_workers_is_taken(text: str, number: int) -> None:
    """From one to as many as a machine may have."""
    assert _positive(text) == number


@pytest.mark.parametrize("text", ["0", "-1", "65", "two", "", "1.5", " 2", "²"])
def test_anything_else_is_refused_in_words(text: str) -> None:
    """As an argument error, which names it; never as a traceback."""
    with pytest.raises(argparse.ArgumentTypeError, match="number from 1 to 64"):
        _positive(text)
