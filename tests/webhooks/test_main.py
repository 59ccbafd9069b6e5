"""The command's own arguments; what it does with wrong settings is in tests/process."""

import gc
import subprocess
import sys

import pytest
from starlette.applications import Starlette

from payments.errors import LedgerUnavailable
from tests.running import plain_environment
from webhooks import app
from webhooks.__main__ import create_served_app, main


@pytest.mark.parametrize(
    "arguments",
    [["--fast"], *(["--workers", text] for text in ("0", "-1", "65", "two", "", "1.5", " 2", "²"))],
)
def test_wrong_arguments_end_with_status_2_and_the_usage(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before any setting is read; a number of workers is one from 1 to 64."""
    monkeypatch.setattr(sys, "argv", ["webhooks", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    err = capsys.readouterr().err
    assert err.startswith("usage: python -m webhooks")
    assert ("number from 1 to 64" if arguments[0] == "--workers" else "--fast") in err


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
    assert capsys.readouterr().err == "repasse: the database does not answer: gone\n"


def test_what_is_there_at_the_start_is_left_out_of_full_collections(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them would hold up every answer by 50 to 150 ms."""
    monkeypatch.setattr(app, "create_app", Starlette)
    try:
        create_served_app()
        assert gc.get_freeze_count() > len(gc.get_objects())
    finally:
        gc.unfreeze()


def test_apprise_is_imported_only_when_alerts_are_sent() -> None:
    """It takes half a second and 25 MB, which a process without ALERT_URLS does not spend."""
    code = "import sys, webhooks.app, worker.__main__; sys.exit('apprise' in sys.modules)"
    environment = plain_environment()
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0
