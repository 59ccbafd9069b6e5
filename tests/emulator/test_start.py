"""Starting the real command: presets, faults and limits by switch, a state that outlives it, and refusals."""

from __future__ import annotations

import json
import shlex
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
import starkbank
from dotenv import dotenv_values

from emulator.start import _quoted
from tests.emulator.conftest import ROOT, assert_refused_here, command

Start = Callable[..., Any]

pytestmark = pytest.mark.process


def new_invoice() -> Any:
    (made,) = starkbank.invoice.create(
        [starkbank.Invoice(amount=250, tax_id="20018183000180", name="José", tags=["mine"])]
    )
    return made


def test_a_restart_with_a_saved_state_goes_on_with_the_same_ids_after(
    start_emulator: Start, point_sdk_at: Start, tmp_path: Path
) -> None:
    """A second process continues exactly where the first one ended."""
    file = tmp_path / "state.json"
    first = start_emulator(
        "--seed", "3", "--state", str(file), "--paused", "--preset", "instant", "--fee", "5"
    )
    assert f"state to be written to {file}" in first.printed
    point_sdk_at(first)
    one = new_invoice()
    assert first.get("/emulator/statement")["credited"]["net_centavos"] == 245
    now = first.get("/emulator/clock")["clock"]
    copy = first.get("/emulator/state")
    after = new_invoice()
    assert requests.put(f"{first.url}/emulator/state", json=copy, timeout=20).status_code == 200
    assert first.stop() == 0

    again = start_emulator("--state", str(file))
    assert f"seed 3, speed 1, state from {file}" in again.printed
    point_sdk_at(again)
    assert again.get("/emulator/clock")["clock"] == now
    assert [invoice.id for invoice in starkbank.invoice.query()] == [one.id]
    assert new_invoice().id == after.id
    assert again.get("/emulator/settings")["settings"]["invoice_fee_centavos"] == 5
    assert again.stop() == 0
    changed = start_emulator("--state", str(file), "--fee", "0", "--speed", "60", "--set", "paying=false")
    settings = changed.get("/emulator/settings")["settings"]
    assert (settings["invoice_fee_centavos"], settings["paying"], settings["paid_share"]) == (0, False, 1.0)
    assert changed.get("/emulator/clock")["clock"]["speed"] == 60


def test_the_clock_of_a_running_emulator_is_jumped_and_its_life_follows(
    start_emulator: Start, point_sdk_at: Start, receiver: Any
) -> None:
    """A jump does what falls due on the way."""
    bank = start_emulator("--paid-share", "1", "--paused")
    point_sdk_at(bank)
    starkbank.webhook.create(url=receiver.url, subscriptions=["invoice"])
    invoice = new_invoice()
    requests.patch(f"{bank.url}/emulator/clock", json={"advance": 3_600}, timeout=20).raise_for_status()
    types = {json.loads(receiver.next()[0])["event"]["log"]["type"] for _ in range(3)}
    assert types == {"created", "paid", "credited"}
    assert starkbank.invoice.get(invoice.id).status == "paid"
    # Speed changes what a waiting agenda waits for: the overdue two days ahead comes in no time.
    late = bank.post("/emulator/trigger", name="invoice.created")["invoice"]["id"]
    bank.post("/emulator/stop-paying")
    requests.patch(f"{bank.url}/emulator/clock", json={"speed": 1e6, "paused": False}, timeout=20)
    bank.wait_for(lambda: starkbank.invoice.get(late).status == "overdue")


def test_what_is_hostile_from_the_start_is_switched_by_name(start_emulator: Start) -> None:
    """The preset and the faults of the command line are on at start."""
    bank = start_emulator(
        "--preset", "hostile", "--magic-amounts", "--fault", "throttled:rate=0.5,route=GET *"
    )
    faults = bank.get("/emulator/faults")["faults"]
    assert (faults[-1]["scenario"], faults[-1]["rate"], faults[-1]["route"]) == ("throttled", 0.5, "GET *")
    assert {13, 24} <= {fault.get("ends_in") for fault in faults}
    assert "drop_answer" in {fault["name"] for fault in faults}
    assert bank.stop() == 0


def test_a_rate_limit_by_switch_is_met_by_the_sdk(start_emulator: Start, point_sdk_at: Start) -> None:
    """--rate-limit makes the SDK see 429."""
    bank = start_emulator("--rate-limit", "2")
    point_sdk_at(bank)
    for _ in range(2):
        starkbank.balance.get()
    with pytest.raises(Exception, match="Too Many Requests"):
        starkbank.balance.get()


def test_a_name_that_was_made_to_mean_this_machine_opens_no_page(start_emulator: Start) -> None:
    """What a hostile page can do in a browser on this machine: point its own name at 127.0.0.1."""
    bank = start_emulator()
    port = bank.url.rpartition(":")[2]
    for path in ("/emulator/", "/emulator/state", "/emulator/view/invoice/1"):
        answer = requests.get(bank.url + path, headers={"Host": f"evil.test:{port}"}, timeout=20)
        assert (answer.status_code, answer.headers["X-Emulator"]) == (403, "repasse")
    odd = requests.get(f"{bank.url}/emulator/health", headers={"Host": "[::"}, timeout=20)
    assert odd.status_code == 403
    for name in ("localhost", "127.0.0.1", "[::1]", "bank.localhost"):
        answer = requests.get(f"{bank.url}/emulator/health", headers={"Host": f"{name}:{port}"}, timeout=20)
        assert answer.status_code == 200
    signed = requests.get(
        f"{bank.url}/v2/public-key", headers={"Host": "sandbox.api.starkbank.com"}, timeout=20
    )
    assert signed.status_code == 200


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--port http", "--port: 'http' is not a port from 0 to 65535"),
        ("--speed 0", "--speed: '0' is not a number above 0"),
        ("--speed nan", "--speed: 'nan'"),
        ("--paid-share 1.5", "--paid-share: '1.5'"),
        ("--fee -1", "--fee"),
        ("--fast", "--fast; see python -m emulator --help"),
        ("--see 3", "--see"),
        ("--log-level loud", "--log-level"),
        ("--host 0.0.0.0", "0.0.0.0 is not a loopback address: add --listen-anywhere"),
        ("--preset kind", "--preset"),
        ("--set paid_share", "--set: 'paid_share' is not NAME=VALUE"),
        ("--set paid_share=2", "--set: paid_share must be a number from 0 to 1"),
        ("--set colour=red", "--set: unknown setting colour"),
        ("--fault hang:seconds", "--fault: 'hang:seconds' is not NAME"),
        ("--rate-limit many", "--rate-limit: 'many'"),
        ("--data /dev/null/x", "cannot use the data folder /dev/null/x: "),
        ("--state /nowhere/state.json", "cannot write /nowhere/state.json"),
        ("--state /", "cannot read /: "),
        ("--port 8.900", "--port: '8.900' is not a port from 0 to 65535"),
        ("--fee 1.000", "--fee: '1.000' is not"),
        ("--seed 1_0", "--seed: '1_0' is not"),
        ("--opening-balance 1.000", "--opening-balance: '1.000' is not"),
    ],
)
def test_a_bad_switch_ends_in_one_line_and_status_2(
    line: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong option prints one line on stderr, which names it, and ends with status 2."""
    assert_refused_here(line.split(), [words], capsys)


@pytest.mark.parametrize(
    ("switches", "words"),
    [
        (["--env-file", "/dev/null/app.env"], ["/dev/null/app.env", "--env-file"]),
        (["--fault", "earthquake"], ["--fault", "earthquake"]),
    ],
)
def test_what_shows_only_when_files_and_ports_are_open_ends_in_one_line_too(
    switches: list[str], words: list[str], tmp_path: Path
) -> None:
    """The process prints one line on stderr and exits with 2."""
    assert_refused(["--port", "0", "--data", str(tmp_path), *switches], words)


def test_a_bad_state_file_ends_in_one_line_and_is_left_as_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A broken state file prints one line and is not overwritten."""
    file = tmp_path / "state.json"
    for text, word in (
        ("{", "not JSON"),
        ("[]", "not a saved state"),
        ('{"emulator_state": 7}', "version 7"),
    ):
        file.write_text(text)
        assert_refused_here(["--state", str(file)], [str(file), word, "--state"], capsys)
        assert file.read_text() == text


def test_a_state_of_another_seed_is_not_taken_by_mistake(
    start_emulator: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another --seed than the state's is refused."""
    file = tmp_path / "state.json"
    assert start_emulator("--seed", "3", "--state", str(file)).stop() == 0
    assert_refused_here(["--state", str(file), "--seed", "4"], ["seed 3", "--seed"], capsys)


@pytest.mark.parametrize("name", ["bank-key.pem", "project-key.pem", "project.json"])
def test_a_corrupt_file_in_the_data_folder_is_named_with_the_remedy(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A broken key file prints one line with the path and what to do."""
    (tmp_path / name).write_text("not a key")
    assert_refused_here(["--data", str(tmp_path)], [name, "remove it"], capsys)


@pytest.mark.parametrize("switch", ["--port", "--proxy-port", "--tls-port"])
def test_a_busy_port_ends_in_one_line_that_names_its_option(switch: str, tmp_path: Path) -> None:
    """A port in use prints one line with the address and the option to change."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        words = [f"127.0.0.1:{port}", f"choose another {switch} ", "in use"]
        assert_refused(["--port", "0", "--data", str(tmp_path), switch, port], words)


@pytest.mark.parametrize(
    "path", ["/a/key.pem", "/a #b/key.pem", "/a ${HOME} b/k", '/"a"/k', "/it's a key #1", "/á/k"]
)
def test_a_path_is_read_back_whole(path: str, tmp_path: Path) -> None:
    """By a shell, and by what reads .env files, also where it has blanks and comment signs in it."""
    file = tmp_path / "app.env"
    file.write_text(f"X={_quoted(path)}\n")
    assert dotenv_values(file, interpolate=False) == {"X": path}
    assert shlex.split(file.read_text(), comments=True) == [f"X={path}"]


def assert_refused(switches: list[str], words: list[str]) -> None:
    result = subprocess.run(command(*switches), cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1, result.stderr
    for word in words:
        assert word in result.stderr
