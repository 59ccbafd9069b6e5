"""What the web app does to be watched: signs of life, alerts, warnings at its start, and how it drains."""

import asyncio
import json
import signal
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from pydantic import SecretStr

from payments.operator.actions import Operator, pause
from payments.storage.database import open_database
from tests.emulated import EmulatedBank
from tests.payments.builders import NOW
from tests.receiver import receiving
from tests.running import wait_until
from tests.webhooks.conftest import WebApp
from webhooks.draining import Draining


def said(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """The log since the last look."""
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_it_is_seen_alive_with_its_key_and_seen_to_end(web: WebApp) -> None:
    """From the moment at which the key is there; a clean end is recorded as one."""
    query = "SELECT kind, stopped_at IS NULL, bank_key_fetched_at IS NOT NULL FROM processes"
    wait_until(lambda: web.rows(query) == [("web", 1, 1)], "it is alive and has its key")
    web.client.__exit__(None, None, None)
    assert web.rows(query) == [("web", 0, 1)]


def test_an_attention_is_sent_as_an_alert(
    start_app: Callable[..., WebApp], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that was raised before the start."""
    monkeypatch.setattr("payments.observability.alerts.LOOK_SECONDS", 0.05)
    web = start_app()
    web.deliver(b"what is this")
    web.client.__exit__(None, None, None)
    with receiving() as receiver:
        start_app(alert_urls=SecretStr(f"json://{receiver.address}/alerts"))
        wait_until(lambda: receiver.messages, "it is sent")
        assert "Event not readable" in receiver.messages[0]["title"]
        wait_until(lambda: web.rows("SELECT notified_at FROM attentions")[0][0], "it is recorded")


def test_a_key_that_cannot_be_fetched_at_the_start_is_logged(
    emulator: EmulatedBank, start_app: Callable[..., WebApp], capsys: pytest.CaptureFixture[str]
) -> None:
    """Every event would be answered 503, and no one would know why."""
    emulator.fault("key_endpoint_down")
    web = start_app()
    web.client.__exit__(None, None, None)
    [line] = [line for line in said(capsys) if line["event"] == "bank_key.not_fetched"]
    assert line["level"] == "warning"
    assert line["reason"]
    assert web.rows("SELECT bank_key_fetched_at FROM processes") == [(None,)]


def test_a_name_that_is_nearly_a_setting_is_logged_at_the_start(
    start_app: Callable[..., WebApp], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is ignored although its author believes that it holds; its value is not logged."""
    monkeypatch.setenv("OPERATOR_TOKENS", "hunter2hunter2hunter2")
    start_app()
    lines = said(capsys)
    [line] = [line for line in lines if line["event"] == "setting.unknown"]
    assert (line["name"], line["meant"]) == ("OPERATOR_TOKENS", "OPERATOR_TOKEN")
    assert "hunter2" not in str(lines)


def test_ready_says_that_forwarding_is_paused_and_stays_ready(web: WebApp, database_url: str) -> None:
    """An operator wanted it; events are taken in all the same."""
    with closing(open_database(database_url)) as database:
        pause(database, "forwarding", Operator("ana", "the destination asked for it"), NOW)
    answer = web.client.get("/health/ready")
    assert answer.status_code == 200
    assert answer.json()["paused"] == {"forwarding": "2026-03-02T15:00:00+00:00"}


class Stopped:
    """Stands for the server's own handler."""

    def __init__(self) -> None:
        self.signals: list[int] = []
        self.heard = asyncio.Event()

    def __call__(self, number: int, frame: object) -> None:
        """Note it."""
        self.signals.append(number)
        self.heard.set()


@pytest.fixture
def server() -> Iterator[Stopped]:
    """Handlers as a server sets them before it starts; pytest's come back."""
    stopped = Stopped()
    before = {number: signal.signal(number, stopped) for number in (signal.SIGTERM, signal.SIGINT)}
    yield stopped
    for number, handler in before.items():
        signal.signal(number, handler)


def test_sigterm_says_so_first_and_stops_after_the_time_for_draining(server: Stopped) -> None:
    """A second one, which a supervisor and its group may send, changes nothing."""

    async def run() -> None:
        draining = Draining(0.2)
        draining.listen()
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        assert draining.has_begun
        await asyncio.sleep(0)
        assert server.signals == []
        await server.heard.wait()

    asyncio.run(asyncio.wait_for(run(), 20))
    assert server.signals == [signal.SIGTERM]


@pytest.mark.parametrize(("number", "seconds"), [(signal.SIGTERM, 0), (signal.SIGINT, 60)])
def test_without_time_for_draining_or_for_a_person_it_stops_immediately(
    server: Stopped, number: signal.Signals, seconds: float
) -> None:
    """Readiness says so until the end."""

    async def run() -> None:
        draining = Draining(seconds)
        draining.listen()
        signal.raise_signal(number)
        assert draining.has_begun

    asyncio.run(run())
    assert server.signals == [number]
