"""What machines ask: is it alive, would it take an event, and how much is waiting."""

import base64
import sqlite3
from collections.abc import Callable
from contextlib import closing

import pytest

from payments.storage.migrate import NEWEST_REVISION
from tests.emulated import EmulatedBank
from tests.events import invoice_event
from tests.running import wait_until
from tests.webhooks.conftest import WebApp
from webhooks import access

TOKEN = "a-token-of-thirty-two-characters"
CHECKS = dict.fromkeys(("database", "migrations", "bank_key", "forwarder", "draining"), True)


def basic(password: str, user: str = "operator") -> str:
    """The header of HTTP Basic."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.fixture
def guarded(start_app: Callable[..., WebApp]) -> WebApp:
    """The web app with an operator's token."""
    return start_app(operator_token=TOKEN)


def test_live_answers_as_long_as_the_process_turns(web: WebApp) -> None:
    """It says nothing of the database or the bank: a restart would not mend those."""
    assert web.client.get("/health/live").json() == {"status": "live"}


def test_ready_says_that_an_event_would_be_taken_and_forwarded(web: WebApp) -> None:
    """Database, key and forwarder."""
    answer = web.client.get("/health/ready")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ready", "checks": CHECKS, "reasons": {}, "paused": {}}
    assert answer.headers["cache-control"] == "no-store"


def test_ready_names_the_banks_key_when_it_is_missing(
    emulator: EmulatedBank, start_app: Callable[..., WebApp]
) -> None:
    """Every event would be answered 503; so is this."""
    emulator.fault("key_endpoint_down")
    answer = start_app().client.get("/health/ready")
    assert answer.status_code == 503
    body = answer.json()
    assert (body["status"], body["checks"]) == ("not ready", {**CHECKS, "bank_key": False})
    assert list(body["reasons"]) == ["bank_key"]
    assert body["reasons"]["bank_key"].startswith("no public key of the bank is known: ")


def test_ready_names_the_migrations_when_the_database_is_of_another_version(
    web: WebApp, database_url: str
) -> None:
    """A newer release has migrated it under us."""
    with closing(sqlite3.connect(database_url.removeprefix("sqlite:///"))) as other:
        other.execute("UPDATE alembic_version SET version_num = '9999'")
        other.commit()
    answer = web.client.get("/health/ready")
    assert answer.status_code == 503
    assert answer.json()["checks"] == {**CHECKS, "migrations": False}
    reason = answer.json()["reasons"]["migrations"]
    assert reason == f"the database is at version 9999, this program needs {NEWEST_REVISION}"


def test_metrics_do_not_exist_without_a_token(web: WebApp) -> None:
    """Unset means 404, whatever is sent along."""
    assert web.client.get("/metrics").status_code == 404
    assert web.client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 404


def test_metrics_open_to_the_token_by_bearer_and_by_basic(guarded: WebApp) -> None:
    """The user's name does not matter; the password is the token."""
    for header in (f"Bearer {TOKEN}", f"bearer {TOKEN}", basic(TOKEN), basic(TOKEN, "")):
        answer = guarded.client.get("/metrics", headers={"Authorization": header})
        assert answer.status_code == 200, header
        assert "repasse_transfers" in answer.text
        assert answer.headers["cache-control"] == "no-store"
        assert TOKEN not in answer.text


def test_metrics_answer_401_to_anything_else(guarded: WebApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """The token is asked for, and no header makes an error of ours."""
    monkeypatch.setattr(access, "WAIT_FIRST_SECONDS", 0.0)  # guesses are slowed: see test_access
    near = (f"Bearer {TOKEN}x", f"Digest {TOKEN}", TOKEN, basic("wrong"), basic("", TOKEN))
    broken = ("", "Bearer", "Bearer wrong", "Basic %%%", "Basic /w==", "Basic \u00e9", "Bearer \u00e9")
    for header in (None, *near, *broken):
        headers = [] if header is None else [(b"Authorization", header.encode("latin-1"))]
        answer = guarded.client.get("/metrics", headers=headers)
        assert answer.status_code == 401, header
        assert answer.headers["www-authenticate"] == 'Basic realm="repasse"'
        assert "repasse_" not in answer.text.replace('realm="repasse"', "")


def metric(web: WebApp, name: str) -> float:
    """One value of the metrics page; ``name`` with its labels."""
    page = web.client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).text
    return next(float(line.split()[-1]) for line in page.splitlines() if line.startswith(f"{name} "))


def test_metrics_tell_answers_transfers_and_the_money_at_risk(
    guarded: WebApp, emulator: EmulatedBank
) -> None:
    """What an alarm is made of: counted where it happens."""
    guarded.deliver(invoice_event(amount=20_000, fee=500))
    guarded.deliver(invoice_event(), emulator.sign(b"something else"))
    wait_until(lambda: metric(guarded, 'repasse_transfers{state="sent"}') == 1, "it is sent")
    assert metric(guarded, 'repasse_events_total{answer="200"}') == 1
    assert metric(guarded, 'repasse_events_total{answer="401"}') == 1
    assert metric(guarded, "repasse_signature_refusals_total") == 1
    assert metric(guarded, 'repasse_transfers_recorded_total{outcome="sent"}') == 1
    assert metric(guarded, 'repasse_bank_calls_total{call="POST transfer",verdict="accepted"}') == 1
    assert metric(guarded, "repasse_money_at_risk_centavos") == 19_500
    assert metric(guarded, "repasse_oldest_unforwarded_credit_seconds") == 0


def test_metrics_tell_how_long_the_oldest_credit_waits(guarded: WebApp, emulator: EmulatedBank) -> None:
    """The bank takes no transfers: the age of the credit grows, and an unreadable event is a matter to look at."""
    emulator.fault("error_503", "POST transfer")
    guarded.deliver(invoice_event(amount=20_000))
    guarded.deliver(b"what is this")
    wait_until(lambda: metric(guarded, "repasse_oldest_unforwarded_credit_seconds") > 0, "it waits")
    assert metric(guarded, "repasse_money_at_risk_centavos") == 20_000
    assert metric(guarded, 'repasse_attention{kind="unreadable_event"}') == 1
