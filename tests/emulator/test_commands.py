"""The small commands, against an emulator that runs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emulator.management import commands
from tests.emulator.conftest import ROOT

Start = Callable[..., Any]

pytestmark = pytest.mark.process


class Shell:
    """Commands for one emulator, as a person types them."""

    def __init__(self, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._data = data
        self._capsys = capsys

    def __call__(self, line: str, status: int = 0) -> str:
        """What a command prints; on stderr if it is not done."""
        assert commands.main([*line.split(), "--data", str(self._data)]) == status
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


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("pay", "INVOICE"),
        ("pay 1 --amount much", "'much'"),
        ("dance", "'dance'; commands are pay"),
        ("clock --advance soon", "'soon'"),
        ("settings paid_share", "NAME=VALUE"),
        ("faults --url nowhere", "http://127.0.0.1:8900"),
        ("faults --url http://127.0.0.1:9", "no emulator answers at http://127.0.0.1:9; start one"),
        ("faults --data /nowhere", "no emulator has been started from /nowhere"),
    ],
)
def test_a_wrong_command_ends_in_one_clear_line(line: str, words: str) -> None:
    """A wrong command or option prints one line on stderr and exits with 2."""
    arguments = line.split() if "--" in line else [*line.split(), "--url", "http://127.0.0.1:9"]
    command = [sys.executable, "-m", "emulator", *arguments]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.count("\n") == 1
    assert words in result.stderr


def test_it_talks_only_to_an_emulator(receiver: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """A command refuses to talk to a server that does not mark its answers as an emulator's."""
    url = receiver.url.rpartition("/webhooks")[0]
    receiver.status = 200
    assert commands.main(["rotate", "--url", url]) == 2
    assert "is no emulator" in capsys.readouterr().err


def test_help_names_every_switch_and_every_command() -> None:
    """--help lists each option and each command."""
    for arguments in (["--help"], ["pay", "--help"], ["fault", "--help"]):
        command = [sys.executable, "-m", "emulator", *arguments]
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30)
        assert result.returncode == 0
        if arguments == ["--help"]:
            for word in ("--state", "--preset", "--magic-amounts", "trigger", "redeliver", "save"):
                assert word in result.stdout
            assert max(map(len, result.stdout.splitlines())) <= 100
