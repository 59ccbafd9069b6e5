"""The command line: each command does its work, prints the result, and its status says whether something is left."""

import csv
import json
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable

import pytest

from payments.bank.client import Bank
from payments.event import read_event
from payments.invoice import BankInvoice, Payer
from payments.ledger import batches, inbox, transfers
from payments.ledger.reconciliations import record_reconciliation
from payments.operator.processes import Process, record_alive
from payments.policy import ForwardingPolicy
from payments.storage.database import Database
from payments.storage.migrate import NEWEST_REVISION
from tests.emulated import EmulatedBank
from tests.events import invoice_event
from tests.payments.builders import NOW
from tests.repasse.conftest import credit
from tests.running import ROOT, plain_environment

Command = Callable[..., "subprocess.CompletedProcess[str]"]


def test_the_statement_as_json_has_every_field_of_the_contract(
    repasse: Command, database: Database, policy: ForwardingPolicy
) -> None:
    """Others rely on these names; it needs neither the bank nor its settings."""
    credit(database, policy, 20_000, 30_000)
    ended = repasse("job", "statement", "--json", STARKBANK_PROJECT_ID="", STARKBANK_PRIVATE_KEY="")
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
    repasse: Command, database: Database, policy: ForwardingPolicy
) -> None:
    """In reais, a line each."""
    credit(database, policy, 2_000_000)
    said = repasse("job", "statement").stdout
    assert "R$ 20.000,00" in said
    assert "1 pending" in said
    assert said.rstrip().endswith("balanced")


def test_issue_issues_one_batch_outside_the_window(repasse: Command, emulator: EmulatedBank) -> None:
    """Each time another one, whatever the clock says; the window is not opened by it."""
    first, second = repasse("job", "issue"), repasse("job", "issue")
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert "batches: 1" in first.stdout
    assert 16 <= emulator.statement()["invoice_count"] <= 24
    assert len(emulator.requests("POST", "invoice")) == 2


def test_issue_that_is_left_unfinished_says_why_and_ends_with_1(
    repasse: Command, emulator: EmulatedBank
) -> None:
    """Run again after the lease it looks up before it creates; until then nothing is done twice."""
    emulator.fault("drop_answer", "POST invoice", times=1)
    ended = repasse("job", "issue")
    assert ended.returncode == 1
    assert "not finished: 1 (no conclusive answer from the bank: “POST /v2/invoice" in ended.stdout
    assert "Run it again" in ended.stdout


def test_forward_sends_what_is_due(
    repasse: Command, database: Database, policy: ForwardingPolicy, emulator: EmulatedBank
) -> None:
    """Done when nothing is left to send; a second run finds nothing."""
    credit(database, policy, 20_000, 30_000)
    ended = repasse("job", "forward")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout == "Transfers sent: 2, found at the bank already: 0, left: 0.\n"
    assert repasse("job", "forward").stdout == "Transfers sent: 0, found at the bank already: 0, left: 0.\n"
    assert emulator.statement()["transfer_count"] == 2


def test_forward_that_leaves_something_ends_with_1(
    repasse: Command, database: Database, policy: ForwardingPolicy, emulator: EmulatedBank
) -> None:
    """The bank's answer was lost: the transfer is claimed until its lease ends."""
    credit(database, policy, 20_000)
    emulator.fault("drop_answer", "POST transfer", times=1)
    ended = repasse("job", "forward")
    assert ended.returncode == 1
    assert "left: 1" in ended.stdout


def test_reconcile_says_what_it_found(repasse: Command, bank: Bank, emulator: EmulatedBank) -> None:
    """And which question was not answered, with status 1."""
    bank.create_webhook("http://127.0.0.1:9/", ["invoice"])
    assert repasse("job", "issue").returncode == 0
    emulator.advance(120)
    found = repasse("job", "reconcile")
    assert found.returncode == 0, found.stdout
    assert found.stdout.startswith("Reconciled: ")
    assert "nothing" not in found.stdout
    emulator.fault("error_500", "GET event")
    failed = repasse("job", "reconcile")
    assert failed.returncode == 1
    assert "incomplete, 0 new: undelivered events" in failed.stdout


def test_a_bank_that_cannot_be_reached_leaves_everything_for_later(repasse: Command) -> None:
    """One line, status 1."""
    ended = repasse("job", "issue", STARKBANK_API_URL="http://127.0.0.1:9")
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
    assert "try again" in ended.stderr


# --- reading, and operator actions ---


HOSTILE = '=HYPERLINK("http://evil")\x1b[2J'

# Reading and acting need nothing of the bank.
NO_BANK = {"STARKBANK_PROJECT_ID": "", "STARKBANK_PRIVATE_KEY": "", "STARKBANK_API_URL": ""}


@pytest.fixture
def offline(repasse: Command) -> Command:
    """The command line without the bank's key."""
    return lambda *arguments, **environment: repasse("job", *arguments, **NO_BANK, **environment)


@pytest.fixture
def dead(database: Database, policy: ForwardingPolicy) -> str:
    """A transfer that the bank refused, with a hostile message; its external_id."""
    credit(database, policy, 48_712)
    [claim] = transfers.claim(database, "call", policy, 100, NOW)
    transfers.refuse(database, claim, f"{HOSTILE} invalidTaxId 529.982.247-25", policy, NOW)
    return claim.external_id


def test_an_operator_finds_a_dead_transfer_retries_it_and_reads_its_timeline(
    offline: Command, dead: str, emulator: EmulatedBank, repasse: Command
) -> None:
    """From the command line alone."""
    waiting = offline("attention")
    assert waiting.returncode == 0, waiting.stderr
    assert "transfer_dead" in waiting.stdout
    assert dead in waiting.stdout
    assert "R$ 487,02" in offline("transfers", "--state", "dead").stdout

    retried = offline("retry", dead, "--reason", "the account is open again", "--who", "ana")
    assert retried.returncode == 0, retried.stderr
    assert retried.stdout.startswith(f"retry {dead}: retry queued")
    assert offline("attention").stdout == "nothing needs attention\n"
    again = offline("retry", dead, "--reason", "once more")
    assert (again.returncode, again.stderr.count("\n")) == (1, 1)
    assert "is queued and due already" in again.stderr

    assert repasse("job", "forward").returncode == 0
    emulator.advance(120)
    assert repasse("job", "reconcile").returncode == 0
    shown = offline("show", dead).stdout
    for said in (
        "ana: Retry",
        "the account is open again",
        "Accepted by the bank",
        "***.982.247-**",
        "branch ",
    ):
        assert said in shown
    assert "529.982.247-25" not in shown
    assert "\x1b" not in shown
    actions = offline("actions").stdout
    assert "started by hand" in actions
    assert "ana" in actions
    assert offline("acts").stdout == actions


def test_an_abandoned_transfer_cannot_be_retried(offline: Command, dead: str) -> None:
    """Status 1, and the line says why."""
    assert offline("abandon", dead, "--reason", "paid by hand", "--who", "ana").returncode == 0
    refused = offline("retry", dead, "--reason", "changed my mind")
    assert refused.returncode == 1
    assert refused.stderr == (f"repasse: refused: {dead}: abandoned by ana: paid by hand\n")


def test_an_attention_is_resolved_by_its_number(offline: Command, dead: str) -> None:
    """And is listed with --all afterwards."""
    said = json.loads(offline("attention", "--json").stdout)
    [item] = said["items"]
    assert (item["kind"], item["subject"], said["next"]) == ("transfer_dead", dead, None)
    assert offline("resolve", str(item["id"]), "--reason", "dealt with").returncode == 0
    assert json.loads(offline("attention", "--json").stdout)["items"] == []
    assert "transfer_dead" in offline("attention", "--all").stdout


def test_pausing_stops_the_piece_of_work_that_it_names(offline: Command, repasse: Command, dead: str) -> None:
    """It says so and how to go on; the other goes on."""
    assert offline("pause", "forwarding", "--reason", "the account is blocked").returncode == 0
    assert offline("pause", "forwarding", "--reason", "the account is blocked").returncode == 1
    refused = repasse("job", "forward")
    assert refused.returncode == 1
    assert "forwarding has been paused since" in refused.stderr
    assert offline("resume", "forwarding", "--reason", "it is open").returncode == 0
    assert repasse("job", "forward").returncode == 0


def test_an_event_is_replayed(offline: Command, database: Database, policy: ForwardingPolicy) -> None:
    """One by its id, or all since a moment."""
    body = invoice_event(amount="many")
    inbox.accept(database, [inbox.Arrival(read_event(body))], "webhook", policy, NOW)
    one = offline("replay", "6000000000000001", "--reason", "the program is newer")
    assert one.stdout == "replay 6000000000000001: event replayed; nothing new, it is still “unreadable”\n"
    every = offline("replay", "--since", "2026-03-02", "--reason", "the program is newer")
    assert every.stdout.endswith("1 events replayed; something new followed from 0\n")
    assert offline("replay", "nothing", "--reason", "the program is newer").returncode == 1
    shown = offline("show", "6000000000000001").stdout
    assert "outcome       unreadable" in shown
    assert '"amount": "many"' in shown


def test_credits_are_listed_by_amount_and_page_by_page(
    offline: Command, database: Database, policy: ForwardingPolicy
) -> None:
    """The cursor that ends one list begins the next."""
    credit(database, policy, 20_000, 20_010, 30_000)
    found = json.loads(offline("credits", "--amount", "200,00", "--json").stdout)["items"]
    assert [line["gross_centavos"] for line in found] == [20_010, 20_000]
    first = json.loads(offline("credits", "--limit", "2", "--json").stdout)
    assert len(first["items"]) == 2
    rest = offline("credits", "--after", first["next"]).stdout
    assert "R$ 200,00" in rest
    assert "more: --after" not in rest


def test_an_invoice_is_found_by_its_payer_and_says_what_is_missing(
    offline: Command, database: Database
) -> None:
    """By a part of the name, in the list and to be shown; its tax id is masked."""
    plan = [(Payer("José da Silva", "529.982.247-25"), 123_456)]
    batches.plan_batch(database, "b", None, plan, NOW, late=False, now=NOW)
    listed = offline("invoices", "--payer", "jose silva", "--amount", "1.234,56", "--state", "planned")
    assert "b-01" in listed.stdout
    assert "***.982.247-**" in listed.stdout
    assert offline("invoices", "--payer", "souza").stdout == "no invoices\n"
    shown = offline("show", "SILVA").stdout
    assert "José da Silva, ***.982.247-**" in shown
    assert "not issued yet." in shown
    assert json.loads(offline("show", "b-01", "--json").stdout)["kind"] in ("invoice", "batch")


def test_the_statement_of_a_period_says_what_became_of_its_credits(
    offline: Command, database: Database, policy: ForwardingPolicy
) -> None:
    """From a moment on, before another; for people, programs and spreadsheets."""
    credit(database, policy, 20_000, 30_000)
    said = json.loads(offline("statement", "--from", "2026-03-02", "--to", "2026-03-03", "--json").stdout)
    assert said["credits"]["count"] == 2
    assert said["unforwarded_centavos"] == 49_980
    assert said["transfers"]["pending"] == 2
    assert said["balanced"] is True
    assert json.loads(offline("statement", "--to", "2026-03-02", "--json").stdout)["credits"]["count"] == 0
    assert "R$ 499,80" in offline("statement", "--from", "2026-03-02T12:00-03:00").stdout
    assert "net,2,49980" in offline("statement", "--csv").stdout.splitlines()


def test_a_recount_names_the_credits_that_are_not_accounted_for(
    offline: Command, database: Database, policy: ForwardingPolicy
) -> None:
    """What the runbook asks for when the statement does not balance: here someone has edited the database."""
    credit(database, policy, 20_000, 30_000)
    assert offline("statement", "--recount").stdout.endswith("\nbalanced\n")
    with sqlite3.connect(str(database.url.database)) as connection:
        connection.execute(
            "UPDATE transfers SET amount_centavos = 1 WHERE external_id = 'credit-5000000000000001'"
        )
    connection.close()
    ended = offline("statement", "--recount")
    assert ended.returncode == 1
    assert "NOT BALANCED" in ended.stdout
    assert ended.stdout.endswith("unaccounted: 5000000000000001\n")


def test_the_system_command_shows_what_is_running_and_what_is_paused(
    offline: Command, database: Database
) -> None:
    """Processes, the last questions to the bank, switches."""
    record_alive(database, Process("p", "web", "h", 17, "1.0"), NOW)
    record_reconciliation(database, NOW, NOW, 3, "undelivered events: throttled")
    offline("pause", "issuing", "--reason", "on holiday")
    said = offline("system").stdout
    assert said.startswith("No web process is running. ")
    assert re.search(r"\nIssuing is paused\. Paused .* ago by .*: on holiday\n", said)
    assert re.search(r"issuing is paused since 20.* by .* \(on holiday\)", said)
    for row in (
        r"web\s+h\s+17\s+NO .* 1\.0",
        r"2026-03-02 12:00:00\s+3\s+undelivered events: throttled",
    ):
        assert re.search(row, said)
    assert json.loads(offline("system", "--json").stdout)["revision"] == NEWEST_REVISION


def test_the_audit_has_every_credit_and_no_formula(
    offline: Command, database: Database, policy: ForwardingPolicy, dead: str
) -> None:
    """Also where a payer is called like one; whatever a spreadsheet does with it."""
    invoice_id = dead.removeprefix("credit-")
    batches.plan_batch(database, "b", None, [(Payer(HOSTILE, "529.982.247-25"), 1)], NOW, late=False, now=NOW)
    claim = batches.claim_batch(database, 60, NOW)
    assert claim is not None
    batches.record_issued(database, claim, [BankInvoice(invoice_id, "paid", 1, ("b-01",))], NOW)
    [line] = csv.DictReader(offline("audit", "--from", "2026-03-02").stdout.splitlines())
    assert line["invoice_id"] == invoice_id
    assert line["payer_name"] == "'" + HOSTILE
    assert line["payer_tax_id"] == "***.982.247-**"
    assert line["transfer_reason"].startswith("'=HYPERLINK")
    assert (line["gross_centavos"], line["net_centavos"]) == ("48712", "48702")
    assert (line["transfer_state"], line["recorded_at"]) == ("dead", "2026-03-02T15:00:00Z")
    assert offline("audit", "--to", "2026-03-02").stdout.count("\n") == 1
    # 15:00 UTC is noon in São Paulo, and a quarter to nine in the evening in Kathmandu.
    assert offline("audit", "--from", "2026-03-02T12:00:01").stdout.count("\n") == 1
    assert (
        offline("audit", "--from", "2026-03-02T12:00", "--to", "2026-03-02T12:00:01").stdout.count("\n") == 2
    )
    kathmandu = {"TIME_ZONE": "Asia/Kathmandu"}
    assert offline("audit", "--from", "2026-03-02T20:45", **kathmandu).stdout.count("\n") == 2
    assert offline("audit", "--from", "2026-03-02T20:46", **kathmandu).stdout.count("\n") == 1
    assert "2026-03-02 20:45:00" in offline("credits", **kathmandu).stdout


def test_wrong_arguments_end_with_2(repasse: Command) -> None:
    """With what is wrong, before anything is read or done: the database that is named is none."""
    for arguments in (
        list[str](),
        ["pay"],
        ["issue", "--json"],
        ["statement", "--xml"],
        ["retry", "credit-1"],
        ["replay", "--reason", "no event and no time"],
        ["replay", "1", "--since", "2026-03-02", "--reason", "both"],
        ["pause", "everything", "--reason", "too much"],
        ["transfers", "--state", "lost"],
        ["transfers", "--limit", "0"],
        ["credits", "--amount", "12.34"],
        ["statement", "--from", "yesterday"],
        ["statement", "--json", "--csv"],
        ["statement", "--recount", "--from", "2026-03-02"],
        ["resolve", "one", "--reason", "no number"],
    ):
        ended = repasse("job", *arguments, DATABASE_URL="sqlite:///absent.db")
        assert ended.returncode == 2, arguments
        assert ended.stderr.startswith("Usage: repasse job ")
        assert "absent.db" not in ended.stderr


def test_a_cursor_that_no_list_gave_ends_with_2(offline: Command) -> None:
    """One line."""
    ended = offline("transfers", "--after", "x")
    assert ended.returncode == 2
    assert "Invalid value for --after: the cursor 'x' is not one" in ended.stderr


def test_an_unknown_id_ends_with_1(offline: Command) -> None:
    """One line, with the id."""
    ended = offline("show", "nothing")
    assert (ended.returncode, ended.stderr) == (1, "repasse: nothing has the id 'nothing'\n")


def test_a_reason_that_is_too_short_is_refused(offline: Command, dead: str) -> None:
    """Before anything is done."""
    ended = offline("retry", dead, "--reason", "ok")
    assert ended.returncode == 2
    assert "the reason must have 3 to 500 characters" in ended.stderr


def test_what_only_reads_imports_neither_the_bank_nor_the_logs(database_url: str) -> None:
    """Half a second is what an operator waits without noticing."""
    code = (
        "import sys; from repasse.__main__ import main; main(['job', 'statement']);"
        "print(sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=plain_environment(DATABASE_URL=database_url),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    imported = ended.stdout.splitlines()[-1]
    for name in ("starkbank", "structlog", "prometheus_client", "alembic", "requests"):
        assert f"'{name}'" not in imported
