"""Fixtures for pytest: a bank on a free port, its clock in the test's hand, the same books before each test.

One emulator process serves a session (each worker of pytest-xdist has its own); before each test it goes back to its
start. Nothing of the process is changed for other code: no environment variable is set, and only calls of the Stark
Bank SDK that are signed for this bank's project are sent to it; all other calls go where they went before.

In the wheel this file is the module `starkbank_emulator`. It imports nothing of the package `emulator`, so that a
project may have a folder of that name; the process is started where the wheel's own package lies.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

SDK_HOST = "https://sandbox.api.starkbank.com"
# Read: starkcore 0.8.0 utils/rest.py calls these functions of requests, as globals of the module.
SDK_VERBS = ("get", "post", "put", "patch", "delete")
# The clock stands still, no payer pays unless the test says so, and ids repeat.
SWITCHES = ("--port", "0", "--proxy-port", "0", "--paused", "--paid-share", "0", "--seed", "1")
POLL_SECONDS = 0.002


class Refused(Exception):
    """The bank said no to a call of its management API; the text is its own."""


@pytest.fixture
def starkbank_emulator(_starkbank_process: StarkbankEmulator) -> StarkbankEmulator:
    """A small Stark Bank with empty books, whose time passes only by `advance`."""
    _starkbank_process.reset()
    return _starkbank_process


@pytest.fixture
def starkbank_project(starkbank_emulator: StarkbankEmulator, _starkbank_sdk: None) -> Any:
    """A `starkbank.Project` of this bank, to be passed as `user` or set as `starkbank.user`."""
    import starkbank

    bank = starkbank_emulator
    return starkbank.Project(environment="sandbox", id=bank.project_id, private_key=bank.private_key)


class StarkbankEmulator:
    """One running bank.

    `url` is its address; `project_id` and `private_key` (PEM) are those of its project; `environment` holds the
    variables for a process of its own that is to reach this bank. Each method returns once the receivers have
    answered every event that it caused, and raises `Refused` when the bank refuses.
    """

    def __init__(self, folder: Path) -> None:
        app_env, sdk_env = (_variables(folder / name) for name in ("app.env", "sdk.env"))
        self.url = app_env["STARKBANK_API_URL"]
        self.project_id = app_env["STARKBANK_PROJECT_ID"]
        self.private_key = Path(app_env["STARKBANK_PRIVATE_KEY_PATH"]).read_text()
        self.environment = {**app_env, **sdk_env}
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self._start = self._call("GET", "state")

    def advance(self, **duration: float) -> None:
        """Let time pass, as in `advance(minutes=5)`: everything that falls due is done."""
        self.call("PATCH", "clock", {"advance": timedelta(**duration).total_seconds()})

    def listen(self, url: str, *subscriptions: str) -> None:
        """Post events to this address: those of `invoice`, `transfer` and `deposit`, or those that are named."""
        wanted = list(subscriptions) or ["invoice", "transfer", "deposit"]
        self.call("POST", "webhooks", {"url": url, "subscriptions": wanted})

    def pay(self, invoice_id: str, amount: int | None = None) -> dict[str, Any]:
        """A payer pays an invoice, in full or another amount in centavos; it is credited some seconds later."""
        paid: dict[str, Any] = self.call("POST", f"invoices/{invoice_id}/pay", amount=amount)["invoice"]
        return paid

    def trigger(self, name: str, amount: int | None = None) -> dict[str, Any]:
        """Play a whole story, such as `invoice.credited` or `transfer.failed`, and send its events now."""
        return self.call("POST", "trigger", name=name, amount=amount)

    def fault(self, name: str, **rules: Any) -> None:
        """Switch a misbehaviour on, as in `fault("drop_answer", route="POST transfer", times=1)`."""
        self.call("POST", "faults", name=name, **rules)

    def change(self, **settings: Any) -> None:
        """Change how the bank behaves, as in `change(invoice_fee_centavos=50)`."""
        self.call("PATCH", "settings", settings)

    def statement(self) -> dict[str, Any]:
        """Where every centavo is, and whether each credit was forwarded exactly once."""
        return self.call("GET", "statement")

    def call(
        self, method: str, path: str, body: dict[str, Any] | None = None, **fields: Any
    ) -> dict[str, Any]:
        """Any call of the management API, such as `call("POST", "invoices/last/reverse")`."""
        given = {name: value for name, value in fields.items() if value is not None}
        answer = self._call(method, path, {**(body or {}), **given})
        while method != "GET" and self._call("GET", "activity")["deliveries"]["under_way"]:
            time.sleep(POLL_SECONDS)
        return answer

    def reset(self) -> None:
        """Go back to the start: books, settings, faults, clock and the ids to come; both histories are empty."""
        self._call("PUT", "state", self._start)
        for history in ("deliveries", "requests"):
            self._call("DELETE", history)

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        data = None if method == "GET" else json.dumps(body or {}).encode()
        request = urllib.request.Request(f"{self.url}/emulator/{path}", data, method=method)  # noqa: S310
        try:
            with self._opener.open(request) as answer:
                found: dict[str, Any] = json.load(answer)
                return found
        except urllib.error.HTTPError as error:
            with error:
                errors = json.load(error)["errors"]
            raise Refused("; ".join(each["message"] for each in errors)) from None


@pytest.fixture(scope="session")
def _starkbank_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StarkbankEmulator]:
    folder = tmp_path_factory.mktemp("starkbank")
    process = subprocess.Popen(
        [sys.executable, "-m", "emulator", "--data", str(folder), "--log-level", "warning", *SWITCHES],
        # A module is looked for here first.
        cwd=Path(__file__).parent,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with process.stdout:
        try:
            if not any(line.startswith("emulator ready on ") for line in process.stdout):
                pytest.fail("the Stark Bank emulator did not start; stderr says why", pytrace=False)
            yield StarkbankEmulator(folder)
        finally:
            process.terminate()
            process.wait()


@pytest.fixture(scope="session")
def _starkbank_sdk(_starkbank_process: StarkbankEmulator) -> Iterator[None]:
    """Leads the SDK's calls for this bank's project to it, from any thread, until the session ends.

    The SDK has no setting for the host. A call that outlives its test still stays on this machine.
    """
    import starkcore.utils.rest as rest

    with pytest.MonkeyPatch.context() as patch:
        for verb in SDK_VERBS:
            patch.setattr(rest, verb, _led(verb, getattr(rest, verb), _starkbank_process))
        yield


def _led(verb: str, usual: Callable[..., Any], bank: StarkbankEmulator) -> Callable[..., Any]:
    import requests

    def send(url: str, headers: dict[str, str], **arguments: Any) -> Any:
        if headers.get("Access-Id") != f"project/{bank.project_id}":
            return usual(url=url, headers=headers, **arguments)
        with requests.Session() as session:
            session.trust_env = False
            return session.request(verb, bank.url + url.removeprefix(SDK_HOST), headers=headers, **arguments)

    return send


def _variables(path: Path) -> dict[str, str]:
    pairs = shlex.split(path.read_text(), comments=True)
    return dict(pair.split("=", 1) for pair in pairs)
