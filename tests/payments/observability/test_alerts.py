"""Alerts, sent by the real Apprise to a real receiver that fails, refuses and then takes them."""

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import structlog

from payments.language import language_of
from payments.ledger.attention import AttentionKind, raise_attention
from payments.observability.alerts import Alerting, open_services
from payments.observability.logging import configure_logging
from payments.storage.database import Database
from tests.payments.builders import NOW
from tests.payments.conftest import ON_SQLITE
from tests.receiver import Receiver, receiving

# What is claimed and recorded is tested on both databases by tests/payments/ledger/test_alerts.py.
pytestmark = ON_SQLITE

ROOT = Path(__file__).parents[3]
SECRET_PATH = "services/path-that-is-a-secret"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Takes alerts at ``json://<its address>/...``."""
    with receiving() as running:
        yield running


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now

    def pass_time(self, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    """The time of the database."""
    return Clock()


@pytest.fixture
def outcomes() -> list[str]:
    """What the metrics were given."""
    return []


@pytest.fixture
def alerting(database: Database, receiver: Receiver, clock: Clock, outcomes: list[str]) -> Alerting:
    """Sends to the receiver."""
    services = open_services(f"json://operator:hunter2@{receiver.address}/{SECRET_PATH}")
    return Alerting(database, services, "sandbox", language_of("en"), clock, outcomes.append)


def raised(database: Database, *subjects: str, detail: str = "the bank says no") -> None:
    """Raise an attention for each subject."""
    with database.transaction() as connection:
        for subject in subjects:
            raise_attention(connection, AttentionKind.TRANSFER_DEAD, subject, detail, NOW)


@pytest.mark.parametrize("names", [("http_proxy", "all_proxy"), ("HTTP_PROXY", "ALL_PROXY")])
@pytest.mark.parametrize(
    "exceptions", [{}, {"NO_PROXY": "intranet.example"}, {"no_proxy": "intranet.example"}]
)
def test_a_service_on_this_machine_is_reached_past_a_proxy(
    database: Database,
    receiver: Receiver,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    names: tuple[str, ...],
    exceptions: dict[str, str],
) -> None:
    """Others may be reached through it; what it was not to be used for before, it is not used for now."""
    environment = dict.fromkeys(names, "http://127.0.0.1:9") | exceptions
    with monkeypatch.context() as patch:
        for name in ("no_proxy", "NO_PROXY"):
            patch.delenv(name, raising=False)
        for name, value in environment.items():
            patch.setenv(name, value)
        raised(database, "credit-1")
        alerting = Alerting(
            database, open_services(f"json://{receiver.address}/"), "sandbox", language_of("en"), clock
        )
        assert alerting.send_due() == 1
        assert os.environ["no_proxy"].startswith(",".join([*exceptions.values(), "localhost"]))


def test_an_attention_is_sent_once_and_says_what_to_do(
    alerting: Alerting, database: Database, receiver: Receiver, outcomes: list[str]
) -> None:
    """A title for the phone, and a text with what happened and where to read on."""
    raised(database, "credit-7")
    assert alerting.send_due() == 1
    assert alerting.send_due() == 0
    [message] = receiver.messages
    assert message["title"] == "repasse (sandbox): Transfer blocked: manual action required, credit-7"
    assert message["message"] == (
        "The bank says no.\n"
        "repasse has stopped retrying. Fix what the bank reports, then retry. If you paid it manually, abandon it.\n"
        "Item 1, opened at 2026-03-02 15:00:00 UTC.\n"
        "What to do: docs/runbook.md#transfer_dead"
    )
    assert message["type"] == "warning"
    assert outcomes == ["delivered"]


def test_an_alert_that_was_not_taken_is_sent_again_after_growing_waits(
    alerting: Alerting, database: Database, receiver: Receiver, clock: Clock, outcomes: list[str]
) -> None:
    """No answer, an error of the receiver, a refusal; then it is taken. No log line holds the URL."""
    receiver.answers = ["cut", 500, 404]
    raised(database, "credit-7")
    with structlog.testing.capture_logs() as said:
        for number, wait in enumerate((5, 10, 20), 1):
            assert alerting.send_due() == 0
            clock.pass_time(wait - 0.1)
            assert alerting.send_due() == 0
            assert len(receiver.messages) == number, "sent too early"
            clock.pass_time(0.1)
        assert alerting.send_due() == 1
    assert len(receiver.messages) == 4
    assert [line["event"] for line in said] == ["alert.undelivered"] * 3 + ["alert.delivered"]
    assert [line["attempt"] for line in said] == [1, 2, 3, 4]
    assert [line.get("retry_in_seconds") for line in said] == [5, 10, 20, None]
    assert said[0]["services"] == ["JSON"]
    assert not any(secret in str(said) for secret in ("path-that", "hunter2", "operator"))
    assert outcomes == ["failed"] * 3 + ["delivered"]


def test_one_alert_that_is_not_taken_does_not_hold_up_the_others(
    alerting: Alerting, database: Database, receiver: Receiver, clock: Clock
) -> None:
    """It waits for its time, and the others are sent at the next look."""
    receiver.answers = [400]
    raised(database, "credit-1", "credit-2", "credit-3")
    assert alerting.send_due() == 0
    assert alerting.send_due() == 2
    clock.pass_time(5)
    assert alerting.send_due() == 1
    assert [message["title"][-1] for message in receiver.messages] == ["1", "2", "3", "1"]


def test_a_service_that_is_down_makes_the_others_repeat_nothing(
    database: Database, receiver: Receiver, clock: Clock
) -> None:
    """Two services, one unreachable: the alert stays due for that one, and the other got it once."""
    with receiving() as other:
        other.answers = [503, 503]
        urls = f"json://{receiver.address}/a json://{other.address}/b"
        alerting = Alerting(database, open_services(urls), "sandbox", language_of("en"), clock)
        raised(database, "credit-7")
        for wait in (5, 10):
            assert alerting.send_due() == 0
            clock.pass_time(wait)
        assert alerting.send_due() == 1
        assert (len(receiver.messages), len(other.messages)) == (1, 3)


def test_tax_ids_and_secrets_in_what_the_bank_said_are_masked(
    alerting: Alerting, database: Database, receiver: Receiver
) -> None:
    """The message leaves the house."""
    raised(database, "credit-7", detail="the payer 012.345.678-90 is unknown, token=hunter2")
    alerting.send_due()
    text = receiver.messages[0]["message"]
    assert text.startswith("The payer ***.345.678-** is unknown, token=[masked]\n")


KILLED = """
import os, signal, sys
from datetime import datetime
from payments.language import language_of
from payments.observability.alerts import Alerting, open_services
from payments.storage.database import open_database

class Dying:
    name = "dying"
    def send(self, title, body):
        assert open_services(sys.argv[2])[0].send(title, body)
        os.kill(os.getpid(), signal.SIGKILL)

now = datetime.fromisoformat(sys.argv[3])
Alerting(open_database(sys.argv[1]), [Dying()], "sandbox", language_of("en"), lambda: now).send_due()
"""


@pytest.mark.process
def test_a_process_killed_between_sending_and_recording_makes_another_send_again(
    alerting: Alerting, database: Database, receiver: Receiver, clock: Clock
) -> None:
    """At least once: after the lease, with the same attention number, by which a person knows it."""
    raised(database, "credit-7")
    command = [sys.executable, "-c", KILLED, str(database.url), f"json://{receiver.address}/"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run([*command, NOW.isoformat()], env=environment, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert len(receiver.messages) == 1
    assert alerting.send_due() == 0, "the lease of the killed process is not over"
    clock.pass_time(60)
    assert alerting.send_due() == 1
    assert len({message["message"] for message in receiver.messages}) == 1


def test_no_log_line_holds_the_url_even_at_the_level_debug(
    alerting: Alerting, database: Database, receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    """At most services the URL is the secret; both Apprise and urllib3 log it at the level debug."""
    configure_logging("debug", "json", "web")
    receiver.answers = [200, 500]
    raised(database, "credit-1", "credit-2")
    assert alerting.send_due() == 1
    logging.getLogger("anybody").debug("debugging")
    out = capsys.readouterr().out
    assert "debugging" in out
    assert "path-that-is-a-secret" not in out
    assert "hunter2" not in out
