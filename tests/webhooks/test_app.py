"""The app as a whole: what it is made of, how it begins and how it ends."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from pydantic import SecretStr
from starlette.testclient import TestClient

from payments.settings import Settings
from tests.emulated import EmulatedBank
from tests.events import invoice_event
from tests.running import wait_until
from tests.webhooks.conftest import WebApp
from webhooks.app import create_app


def test_it_makes_its_own_books(
    settings: Callable[..., Settings], start_app: Callable[..., WebApp], tmp_path: Path
) -> None:
    """A first start needs no step by hand, not even a folder."""
    file = tmp_path / "new" / "folder" / "books.db"
    start_app(database_url=SecretStr(f"sqlite:///{file}"))
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("SELECT count(*) FROM inbox_events").fetchone() == (0,)


def test_credits_that_were_stored_before_are_forwarded_at_the_start(
    settings: Callable[..., Settings], start_app: Callable[..., WebApp], emulator: EmulatedBank
) -> None:
    """The process died between its 200 and the sending: nobody has to deliver again."""
    emulator.fault("error_503", "POST transfer", accepted=False)
    web = start_app(transfer_lease_seconds=0.5, bank_timeout_seconds=0.2)
    assert web.deliver(invoice_event()).status_code == 200
    wait_until(lambda: emulator.requests("POST", "transfer"), "the first one tried")
    web.client.__exit__(None, None, None)
    assert web.rows("SELECT state FROM transfers") in ([("sending",)], [("pending",)])
    emulator.clear_faults()
    with TestClient(create_app(settings())):
        wait_until(lambda: web.rows("SELECT 1 FROM transfers WHERE state = 'sent'"), "it is forwarded")
    assert emulator.statement()["transfer_count"] == 1


def test_ending_waits_for_the_transfer_that_is_being_sent(
    settings: Callable[..., Settings], emulator: EmulatedBank, database_url: str
) -> None:
    """What the bank accepts is in the books before the process is gone."""
    emulator.fault("hang", "POST transfer", seconds=0.5, times=1)
    with TestClient(create_app(settings())) as client:
        body = invoice_event()
        signed = {"Digital-Signature": emulator.sign(body)}
        assert client.post("/webhooks/starkbank", content=body, headers=signed).status_code == 200
        wait_until(lambda: emulator.requests("POST", "transfer"), "it is being sent")
    with closing(sqlite3.connect(database_url.removeprefix("sqlite:///"))) as connection:
        (fact,) = connection.execute("SELECT fact FROM transfer_history ORDER BY id DESC LIMIT 1").fetchone()
    assert fact == "unclear"
