"""The job by hand: each command does its piece, says what it did, and its status tells whether something is left."""

import json
import subprocess
from collections.abc import Callable

import pytest

from payments.bank.client import Bank
from payments.event import read_event
from payments.ledger import inbox
from payments.ledger.database import Database
from payments.policy import ForwardingPolicy
from tests.conftest import NOW
from tests.emulated import EmulatedBank
from tests.events import invoice_event
from tests.running import ROOT

pytestmark = pytest.mark.process

Script = Callable[..., "subprocess.CompletedProcess[str]"]


def credit(database: Database, policy: ForwardingPolicy, *amounts: int) -> None:
    """Credits that wait to be forwarded."""
    bodies = [invoice_event(f"5{number:015d}", amount=each, fee=10) for number, each in enumerate(amounts)]
    inbox.accept(database, [inbox.Arrival(read_event(body)) for body in bodies], "webhook", policy, NOW)


def test_the_statement_as_json_has_every_field_of_the_contract(
    script: Script, database: Database, policy: ForwardingPolicy
) -> None:
    """Others rely on these names; it needs neither the bank nor its settings."""
    credit(database, policy, 20_000, 30_000)
    ended = script("run_job", "statement", "--json", STARKBANK_PROJECT_ID="", STARKBANK_PRIVATE_KEY="")
    assert ended.returncode == 0, ended.stderr
    said = json.loads(ended.stdout)
    assert said["batches"].keys() >= {"planned", "issued"}
    assert said["invoices"] == 0
    assert said["credits"] == {
        "count": 2,
        "gross_centavos": 50_000,
        "fee_centavos": 20,
        "net_centavos": 49_980,
    }
    assert said["transfers"].keys() >= {"pending", "sending", "sent", "settled", "failed", "dead"}
    assert said["transfers"]["pending"] == 2
    assert (said["settled_centavos"], said["in_flight_centavos"], said["reversed_centavos"]) == (0, 0, 0)
    assert said["unforwarded_centavos"] == 49_980
    assert said["attention"] == 0
    assert said["balanced"] is True


def test_the_statement_for_people_says_the_same(
    script: Script, database: Database, policy: ForwardingPolicy
) -> None:
    """In reais, a line each."""
    credit(database, policy, 2_000_000)
    said = script("run_job", "statement").stdout
    assert "R$ 20.000,00" in said
    assert "1 pending" in said
    assert said.rstrip().endswith("balanced")


def test_issue_issues_one_batch_outside_the_window(script: Script, emulator: EmulatedBank) -> None:
    """Each time another one, whatever the clock says; the window is not opened by it."""
    first, second = script("run_job", "issue"), script("run_job", "issue")
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert "in 1 batch(es)" in first.stdout
    assert 16 <= emulator.statement()["invoice_count"] <= 24
    assert len(emulator.requests("POST", "invoice")) == 2


def test_issue_that_is_left_unfinished_says_why_and_ends_with_1(
    script: Script, emulator: EmulatedBank
) -> None:
    """Run again after the lease it looks up before it creates; until then nothing is done twice."""
    emulator.fault("drop_answer", "POST invoice", times=1)
    ended = script("run_job", "issue")
    assert ended.returncode == 1
    assert "not finished: POST /v2/invoice" in ended.stdout
    assert "run it again" in ended.stdout


def test_forward_sends_what_is_due(
    script: Script, database: Database, policy: ForwardingPolicy, emulator: EmulatedBank
) -> None:
    """Done when nothing is left to send; a second run finds nothing."""
    credit(database, policy, 20_000, 30_000)
    ended = script("run_job", "forward")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout == "sent 2 transfers, found 0 at the bank, 0 left\n"
    assert script("run_job", "forward").stdout == "sent 0 transfers, found 0 at the bank, 0 left\n"
    assert emulator.statement()["transfer_count"] == 2


def test_forward_that_leaves_something_ends_with_1(
    script: Script, database: Database, policy: ForwardingPolicy, emulator: EmulatedBank
) -> None:
    """The bank's answer was lost: the transfer is claimed until its lease ends."""
    credit(database, policy, 20_000)
    emulator.fault("drop_answer", "POST transfer", times=1)
    ended = script("run_job", "forward")
    assert ended.returncode == 1
    assert "1 left" in ended.stdout


def test_reconcile_says_what_it_found(script: Script, bank: Bank, emulator: EmulatedBank) -> None:
    """And which question was not answered, with status 1."""
    bank.create_webhook("http://127.0.0.1:9/", ["invoice"])
    assert script("run_job", "issue").returncode == 0
    emulator.advance(120)
    found = script("run_job", "reconcile")
    assert found.returncode == 0, found.stdout
    assert found.stdout.startswith("found ")
    assert not found.stdout.startswith("found 0 events")
    emulator.fault("error_500", "GET event")
    failed = script("run_job", "reconcile")
    assert failed.returncode == 1
    assert "not answered: undelivered events" in failed.stdout


def test_a_bank_that_cannot_be_reached_leaves_everything_for_later(script: Script) -> None:
    """One line, status 1."""
    ended = script("run_job", "issue", STARKBANK_API_URL="http://127.0.0.1:9")
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
    assert "try again" in ended.stderr


@pytest.mark.parametrize("arguments", [[], ["pay"], ["issue", "--json"], ["statement", "--xml"]])
def test_wrong_arguments_end_with_2(script: Script, arguments: list[str]) -> None:
    """Before anything is read or asked."""
    ended = script("run_job", *arguments)
    assert ended.returncode == 2
    assert "usage:" in ended.stderr


def test_it_starts_from_any_folder_by_its_own_name(environment: dict[str, str]) -> None:
    """What a person types, set-up included."""
    ended = subprocess.run(
        [str(ROOT / "scripts" / "run_job"), "statement", "--json"],
        cwd="/",
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["balanced"] is True
