"""One action for many transfers: asked once, each guarded and recorded by itself, whatever becomes of the others."""

import re
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from html import unescape

import pytest
from starlette.testclient import TestClient

from payments.errors import LedgerUnavailable
from payments.ledger import transfers
from payments.operator.actions import Operator, retry_transfer
from payments.operator.lists import ACTIONS, TRANSFERS
from payments.settings import Settings
from payments.storage.database import Database
from tests.payments.builders import english
from tests.payments.conftest import Books
from tests.running import ROOT, plain_environment
from webhooks.console.bulk import do_all

ANA = Operator("ana", "the bank is back", is_proved=True)

# Three credits whose transfers the bank refused.
IDS = ["credit-7", "credit-8", "credit-9"]


@pytest.fixture
def outage(database: Database, settings: Callable[..., Settings]) -> Books:
    """Books after an outage: three transfers are blocked."""
    books = Books(database, settings().forwarding_policy, datetime.now(UTC) - timedelta(hours=1))
    for external_id in IDS:
        books.credit(external_id.removeprefix("credit-"))
    for claim in books.claim_all():
        transfers.refuse(database, claim, "invalidAccountNumber", books.policy, books.now)
    assert states(database) == ["dead"] * 3
    return books


@pytest.fixture
def client(outage: Books, open_console: Callable[..., TestClient]) -> TestClient:
    """The console on these books, without a forwarder."""
    return open_console()


def states(database: Database) -> list[str]:
    """The state of each transfer, in the order of IDS."""
    lines = TRANSFERS.read(database).items
    return [line.shown_state for line in sorted(lines, key=lambda line: line.external_id)]


def recorded(database: Database) -> list[tuple[str, str]]:
    """What is on record, oldest first."""
    return [(action.kind, action.subject) for action in reversed(ACTIONS.read(database).items)]


def test_all_that_a_filter_shows_is_asked_about_once_and_recorded_each(
    outage: Books, client: TestClient
) -> None:
    """The page names the number, the sum and every transfer; one that was retried meanwhile is reported, not lost."""
    assert "/console/bulk/retry?state=dead" in client.get("/console/transfers?state=dead").text
    asked = unescape(client.get("/console/bulk/retry?state=dead").text)
    assert "Retry: 3 transfers?" in asked
    assert "R$ 1.459,86" in asked
    [given] = re.findall(r'name="transfers" value="([^"]*)"', asked)
    assert sorted(given.split()) == IDS
    wrong = client.post(
        "/console/bulk/retry?state=dead", data={"who": "Ana", "reason": "x", "transfers": given}
    )
    assert (wrong.status_code, states(outage.database)) == (409, ["dead"] * 3)
    assert re.findall(r'name="transfers" value="([^"]*)"', wrong.text) == [given]
    assert re.findall(r'name="who" value="([^"]*)"', wrong.text) == ["Ana"]

    retry_transfer(outage.database, IDS[1], Operator("bia", "I was first"), outage.policy, datetime.now(UTC))
    form = {"who": "Ana", "reason": "the bank is back", "transfers": given}
    done = unescape(client.post("/console/bulk/retry?state=dead", data=form).text)
    assert "Retry: 2 of 3 done" in done
    assert "credit-8 is queued and due already" in done
    assert states(outage.database) == ["pending"] * 3
    assert sorted(recorded(outage.database)) == [("retry", each) for each in IDS]
    narrowed = client.get("/console/bulk/retry?state=dead&amount=1.234,56")
    assert "There is nothing to do" in narrowed.text
    assert client.get("/console/bulk/retry?state=dead&amount=x").status_code == 400
    assert "There is nothing to do" in client.get("/console/bulk/retry?state=dead").text
    for path in ("retry?state=settled", "abandon?state=pending", "steal?state=dead", "retry"):
        assert client.get(f"/console/bulk/{path}").status_code == 404


def test_a_process_that_dies_in_the_middle_leaves_each_done_or_as_it_was(outage: Books) -> None:
    """What was committed is on record; what was not is still in the list, and the same again does the rest."""
    dies = f"""
import os, signal
from datetime import UTC, datetime
from payments.operator.actions import Operator
from payments.settings import Settings
from payments.storage.database import open_database
from webhooks.console.bulk import do_all

moments = iter([datetime.now(UTC)] * 2)
def clock():
    return next(moments, None) or os.kill(os.getpid(), signal.SIGKILL)

policy = Settings(_env_file=None, starkbank_project_id="1").forwarding_policy
database = open_database({str(outage.database.url)!r})
do_all(database, "abandon", {IDS!r}, Operator("ana", "paid by hand"), policy, clock)
"""
    died = subprocess.run([sys.executable, "-c", dies], cwd=ROOT, env=plain_environment(), check=False)
    assert died.returncode == -signal.SIGKILL
    assert states(outage.database) == ["abandoned", "abandoned", "dead"]
    assert recorded(outage.database) == [("abandon", IDS[0]), ("abandon", IDS[1])]
    again = do_all(outage.database, "abandon", IDS, ANA, outage.policy, lambda: datetime.now(UTC))
    assert [each.is_done for each in again] == [False, False, True]
    assert "abandoned by" in english(again[0].result)
    assert states(outage.database) == ["abandoned"] * 3
    assert len(recorded(outage.database)) == 3


def test_a_database_that_goes_away_in_the_middle_ends_it_and_says_what_was_not_tried(outage: Books) -> None:
    """Those that were done stay done."""
    moments = iter([datetime.now(UTC)])

    def clock() -> datetime:
        for moment in moments:
            return moment
        raise LedgerUnavailable("the disk is full")

    outcomes = do_all(outage.database, "retry", IDS, ANA, outage.policy, clock)
    assert [each.is_done for each in outcomes] == [True, False, False]
    unconfirmed = "not confirmed, so it may have been done; asking again is harmless: the disk is full"
    assert [english(each.result) for each in outcomes[1:]] == [unconfirmed, "not tried: the disk is full"]
    assert states(outage.database) == ["pending", "dead", "dead"]
    [action] = ACTIONS.read(outage.database).items
    assert action.is_proved
