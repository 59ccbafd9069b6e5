"""The small commands, against an emulator that runs."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emulator.__main__ import main
from tests.emulator.conftest import ROOT, assert_refused_here, command

Start = Callable[..., Any]

pytestmark = pytest.mark.process


class Shell:
    """Commands for one emulator, as a person types them."""

    def __init__(self, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._data = data
        self._capsys = capsys

    def __call__(self, line: str, status: int = 0) -> str:
        """What a command prints; on stderr if it is not done."""
        assert main([*line.split(), "--data", str(self._data)]) == status
        out, error = self._capsys.readouterr()
        assert (out == "") == (status != 0)
        assert error.count("\n") == (status != 0), error
        return out + error

    def json(self, line: str) -> Any:
        return json.loads(self(f"{line} --json"))


@pytest.fixture
def shell(start_emulator: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    start_emulator("--paid-share", "0", "--seed", "3")
    return Shell(tmp_path / "bank", capsys)


def test_a_whole_day_by_hand(shell: Shell, receiver: Any, tmp_path: Path) -> None:
    """Every command once, in the order of a story."""
    assert "no webhook is subscribed" in shell("trigger invoice.created --amount 5000")
    assert "R$ 50,00 is paid" in shell("pay last")
    assert "is paid" in shell("credit last")
    assert "R$ 30,00 goes back to the payer, R$ 20,00 remains" in shell("reverse last --amount 2000")
    for name, words in (
        ("overdue", "overdue"),
        ("expire", "expired"),
        ("cancel", "canceled"),
        ("underpay", "paid"),
    ):
        shell("trigger invoice.created")
        assert f"is {words}" in shell(f"{name} last")
    assert "R$ 70,00" in shell("deposit --amount 7000 --name Ana")
    shell("trigger invoice.credited")
    shell("trigger transfer.created --amount 900")
    assert "is success" in shell("settle last")
    shell("trigger transfer.created --amount 900")
    assert "is failed" in shell("fail last --reason Closed")
    assert "transfer" in shell("cancel 1", status=1)
    statement = shell("statement")
    assert "1 success, R$ 9,00" in statement
    assert "balanced      yes" in statement

    assert "paused" in shell("clock --pause")
    first = shell.json("clock")["clock"]["now"]
    assert first < shell.json("clock --advance 1h")["clock"]["now"]
    assert "speed 60" in shell("clock --speed 60 --resume")
    shell("clock --step")
    assert "cannot go back" in shell("clock --to 2020-01-01", status=1)

    assert "no_balance, is on (times 2, reason Insufficient balance, ends in 13)" in shell(
        "fault no_balance --times 2 --ends-in 13"
    )
    shell("fault hang --route POST:transfer --rate 0.5".replace("POST:transfer", "*"))
    assert "faults are on" in shell("fault magic_amounts")
    assert "never_paid" in shell("faults")
    assert shell("clear no_balance") == "2 cleared\n"
    assert "cleared" in shell("clear")
    assert "earthquake" in shell("fault earthquake", status=1)

    assert "paid_share" in shell("settings paid_share=0.5 pay_delay_seconds=1:5")
    assert shell.json("settings")["settings"]["pay_delay_seconds"] == [1.0, 5.0]
    assert "0.85" in shell("preset sandbox")
    made = shell.json("project --name second --limit 9 --allow 10.0.0.0/8")["project"]
    assert "10.0.0.0/8" in shell("projects")
    assert "private key" in shell(f"project {made['id']} --new-key")
    assert shell.json(f"project {made['id']} --allow-any")["project"]["allowed_ips"] == []
    assert "new key" in shell("rotate")

    saved = tmp_path / "saved.json"
    shell(f"save {saved}")
    before = shell.json("trigger invoice.created")["invoice"]["id"]
    assert shell(f"load {saved}").startswith("loaded; it is ")
    assert shell.json("trigger invoice.created")["invoice"]["id"] == before
    saved.write_text("{")
    assert "saved.json is not JSON" in shell(f"load {saved}", status=2)
    assert shell("requests") == "\n"
    assert shell("requests --clear") == "0 cleared\n"


def test_events_are_sent_doubled_and_lost_by_command(
    start_emulator: Start, receiver: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The commands for events reach the receiver as often as they say."""
    bank = start_emulator("--paid-share", "0", "--seed", "3")
    shell = Shell(tmp_path / "bank", capsys)
    bank.post("/emulator/webhooks", url=receiver.url, subscriptions=["invoice"])
    assert "3 events sent" in shell("trigger invoice.credited")
    for _ in range(3):
        receiver.next()
    receiver.status = 503
    assert "answered 503" in shell("send last")
    assert "answered 503" in shell(f"send last --to {receiver.url} --forged")
    assert "2 deliveries are on their way" in shell("redeliver last --count 2")
    for _ in range(4):
        receiver.next()
    bank.wait_for(lambda: len(shell.json("deliveries")["deliveries"]) == 7)
    assert len(shell.json("deliveries --where status=503 --last 3")["deliveries"]) == 3
    assert "forged" in shell("deliveries --where forged=true")
    assert "0 planned deliveries dropped" in shell("drop last")
    assert "0 planned deliveries delayed" in shell("delay last 15m")
    assert shell("deliveries --clear") == "7 cleared\n"


def test_listen_forwards_events_and_prints_each_with_its_answer_until_it_is_ended(
    start_emulator: Start, receiver: Any, tmp_path: Path
) -> None:
    """The webhook is there while the command runs; SIGTERM and Ctrl-C remove it and end with 0."""
    bank = start_emulator("--paid-share", "0")
    receiver.status = 503
    for end in (signal.SIGTERM, signal.SIGINT):
        listening = subprocess.Popen(
            command("listen", "--forward", receiver.url, "--events", "invoice", "--url", bank.url),
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        with listening:
            assert listening.stdout is not None
            assert listening.stdout.readline() == f"posting invoice events to {receiver.url} until Ctrl-C\n"
            bank.post("/emulator/trigger", name="transfer.created")
            invoice = bank.post("/emulator/trigger", name="invoice.created")["invoice"]
            event = json.loads(receiver.next()[0])["event"]
            assert event["log"]["invoice"]["id"] == invoice["id"]
            line = listening.stdout.readline()
            assert re.search(
                rf" 503 invoice\.created +event {event['id']} to {receiver.url} in \d+ ms$", line
            )
            listening.send_signal(end)
            assert f"the webhook is removed; 1 post to {receiver.url}" in listening.stdout.read()
            assert listening.wait(timeout=20) == 0
        assert bank.get("/emulator/activity")["webhooks"] == 0


def test_listen_ends_in_one_line_when_the_emulator_goes_away(start_emulator: Start) -> None:
    """An emulator that ends meanwhile is said, and the status is 2."""
    bank = start_emulator()
    words = command("listen", "--forward", "http://127.0.0.1:9/", "--url", bank.url)
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, cwd=ROOT) as listening:
        bank.wait_for(lambda: bank.get("/emulator/activity")["webhooks"] == 1)
        assert bank.stop() == 0
        _, error = listening.communicate(timeout=30)
    assert (listening.returncode, error.count("\n")) == (2, 1)
    assert f"no emulator answers at {bank.url}" in error


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("pay", "INVOICE; see python -m emulator pay --help"),
        ("pay 1 --amount much", "'much' is not a whole number"),
        ("pay 1 --amount 1.000", "'1.000' is not a whole number, zero or more, as digits alone"),
        ("pay 1 --amount 1_000", "'1_000' is not a whole number"),
        ("fault error_500 --times +1", "'+1' is not a whole number"),
        ("dance", "'dance' (choose from"),
        ("clock --advance soon", "'soon' is not a time"),
        ("settings paid_share", "'paid_share' is not NAME=VALUE"),
        ("faults --url nowhere", "'nowhere' is not an http or https address"),
        ("faults --url http://127.0.0.1:9", "no emulator answers at http://127.0.0.1:9; start one"),
        ("faults --data /nowhere", "no emulator has been started from /nowhere"),
        ("listen", "--forward"),
        ("listen --forward localhost:8000", "--forward: 'localhost:8000' is not an http or https address"),
        ("listen --forward http://user@a/", "--forward: 'http://user@a/' is not an http or https address"),
        ("listen --forward http://a:99999/", "--forward: 'http://a:99999/' is not an http or https address"),
        ("listen --forward http://a/ --url http://127.0.0.1:9", "no emulator answers at http://127.0.0.1:9"),
        ("run --data nowhere -- true", "there is no nowhere/sdk.env: start an emulator with --proxy-port"),
        ("run --", "usage: python -m emulator run"),
        ("run --port 1 -- true", "usage: python -m emulator run"),
    ],
)
def test_a_wrong_command_ends_in_one_clear_line(
    line: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong command or option, or no emulator, prints one line on stderr and ends with status 2."""
    assert_refused_here(line.split(), [words], capsys)


def test_it_talks_only_to_an_emulator(receiver: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """A command refuses to talk to a server that does not mark its answers as an emulator's."""
    url = receiver.url.rpartition("/webhooks")[0]
    receiver.status = 200
    assert main(["rotate", "--url", url]) == 2
    assert "is no emulator" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            "--help",
            ("--state", "--preset", "--magic-amounts", "trigger", "redeliver", "listen", "save", "run --"),
        ),
        ("fault --help", ("--times", "--at-least", "true|false", "--url")),
    ],
)
def test_help_names_every_switch_and_every_command(
    line: str, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """--help lists options and commands, in lines that fit a screen."""
    with pytest.raises(SystemExit, match="0"):
        main(line.split())
    text = capsys.readouterr().out
    assert [word for word in words if word not in text] == []
    assert max(map(len, text.splitlines())) <= 100
