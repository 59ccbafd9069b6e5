"""Registering the webhook: once, however often it is run."""

import subprocess
from collections.abc import Callable

import pytest

from payments.bank.client import Bank
from tests.emulated import EmulatedBank
from tests.running import the_one_line

pytestmark = pytest.mark.process

Script = Callable[..., "subprocess.CompletedProcess[str]"]
URL = "https://repasse.example/webhooks/starkbank"


def test_running_it_twice_registers_once(script: Script, bank: Bank) -> None:
    """The bank would take the same URL again and then deliver everything twice."""
    first, second = script("register_webhook", URL), script("register_webhook", URL)
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert first.stdout.startswith(f"registered: {URL} (invoice, transfer)")
    assert second.stdout.startswith(f"already registered: {URL}")
    (webhook,) = bank.list_webhooks()
    assert (webhook.url, sorted(webhook.subscriptions)) == (URL, ["invoice", "transfer"])


def test_only_what_is_missing_is_subscribed(script: Script, bank: Bank) -> None:
    """Half of it was registered by hand; other programs' webhooks are left alone."""
    bank.create_webhook(URL, ["invoice", "boleto"])
    bank.create_webhook("https://other.example/", ["transfer"])
    ended = script("register_webhook", URL)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith(f"registered: {URL} (transfer)")
    assert len(bank.list_webhooks()) == 3


@pytest.mark.parametrize(
    ("url", "warned"),
    [
        (URL, False),
        ("https://repasse.example/behind/a/proxy/webhooks/starkbank?from=bank", False),
        ("https://repasse.example/", True),
        ("https://repasse.example/webhooks/starkbank/", True),
    ],
)
def test_a_path_where_nobody_listens_is_warned_of(script: Script, url: str, warned: bool) -> None:
    """One line, and no refusal: a proxy may rewrite the path."""
    ended = script("register_webhook", url)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith(f"registered: {url}")
    assert ended.stderr.count("\n") == warned
    assert ("/webhooks/starkbank, where the web process listens" in ended.stderr) == warned


@pytest.mark.parametrize(
    "url", ["repasse.example", "ftp://repasse.example/", "https://", "https://[::1/", "https://a:b/"]
)
def test_what_is_no_url_ends_in_one_line(script: Script, emulator: EmulatedBank, url: str) -> None:
    """Nothing is asked of the bank."""
    line = the_one_line(script("register_webhook", url))
    assert url in line
    assert "https://" in line
    assert emulator.requests("GET", "webhook") == []


def test_plain_http_is_for_emulators(script: Script) -> None:
    """The bank delivers over https only; an empty STARKBANK_API_URL means the bank."""
    line = the_one_line(script("register_webhook", "http://repasse.example/", STARKBANK_API_URL=""))
    assert "https://" in line


def test_a_bank_that_refuses_us_is_quoted_with_what_to_do(script: Script) -> None:
    """Its code and message, and the setting to look at."""
    ended = script("register_webhook", URL, STARKBANK_PROJECT_ID="4242424242424242")
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
    assert "invalidProject" in ended.stderr
    assert "STARKBANK_PROJECT_ID" in ended.stderr
