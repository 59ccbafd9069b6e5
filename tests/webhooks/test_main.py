"""The command's own arguments; what it does with wrong settings is in tests/process."""

import argparse

import pytest

from payments.errors import LedgerUnavailable
from webhooks import app
from webhooks.__main__ import _positive, create_served_app


@pytest.mark.parametrize(("text", "number"), [("1", 1), ("2", 2), ("64", 64)])
def test_a_number_of_workers_is_taken(text: str, number: int) -> None:
    """From one to as many as a machine may have."""
    assert _positive(text) == number


@pytest.mark.parametrize("text", ["0", "-1", "65", "two", "", "1.5", " 2", "²"])
def test_anything_else_is_refused_in_words(text: str) -> None:
    """As an argument error, which names it; never as a traceback."""
    with pytest.raises(argparse.ArgumentTypeError, match="number from 1 to 64"):
        _positive(text)


def test_a_database_that_vanishes_between_the_look_and_the_start_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """main() has looked already; then uvicorn builds the app, and the database is away."""

    def vanished() -> None:
        raise LedgerUnavailable("the database does not answer: gone")

    monkeypatch.setattr(app, "create_app", vanished)
    with pytest.raises(SystemExit) as ended:
        create_served_app()
    assert ended.value.code == 2
    told = capsys.readouterr()
    assert told.err == "repasse: the database does not answer: gone\n"
