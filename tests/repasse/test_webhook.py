"""Registering the webhook: once, no matter how often it is run."""

import subprocess
from collections.abc import Callable

import pytest

from payments.bank.client import Bank
from repasse.webhook import normal_url
from tests.emulated import EmulatedBank
from tests.running import the_one_line

Command = Callable[..., "subprocess.CompletedProcess[str]"]
URL = "https://repasse.example/webhooks/starkbank"


def test_running_it_twice_registers_once(repasse: Command, bank: Bank) -> None:
    """The bank would take the same URL again and then deliver everything twice."""
    first, second = repasse("webhook", "register", URL), repasse("webhook", "register", URL)
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert first.stderr == second.stderr == ""
    assert first.stdout.startswith(f"registered: {URL} (invoice, transfer)")
    assert second.stdout.startswith(f"already registered: {URL}")
    (webhook,) = bank.list_webhooks()
    assert (webhook.url, sorted(webhook.subscriptions)) == (URL, ["invoice", "transfer"])


def test_only_what_is_missing_is_subscribed(repasse: Command, bank: Bank) -> None:
    """Half of it was registered by hand; other programs' webhooks are left alone."""
    bank.create_webhook(URL, ["invoice", "boleto"])
    bank.create_webhook("https://other.example/", ["transfer"])
    ended = repasse("webhook", "register", URL)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith(f"registered: {URL} (transfer)")
    assert len(bank.list_webhooks()) == 3


def test_a_path_where_the_web_process_does_not_listen_is_warned_of(repasse: Command) -> None:
    """One line, and no refusal: a proxy may rewrite the path."""
    behind_a_proxy = "https://repasse.example/behind/a/proxy/webhooks/starkbank?from=bank"
    for url, lines in ((behind_a_proxy, 0), ("https://repasse.example/webhooks/starkbank/", 1)):
        ended = repasse("webhook", "register", url)
        assert ended.returncode == 0, ended.stderr
        assert ended.stdout.startswith(f"registered: {url}")
        warnings = ended.stderr.splitlines()
        assert len(warnings) == lines
        assert all("/webhooks/starkbank, where the web process listens" in line for line in warnings)


def test_what_is_no_url_ends_in_one_line(repasse: Command, emulator: EmulatedBank) -> None:
    """Nothing is asked of the bank."""
    for url in ("repasse.example", "ftp://repasse.example/", "https://", "https://[::1/", "https://a:b/"):
        line = the_one_line(repasse("webhook", "register", url))
        assert url in line
        assert "https://" in line
    assert emulator.requests("GET", "webhook") == []


def test_plain_http_is_for_emulators(repasse: Command) -> None:
    """The bank delivers over https only; an empty STARKBANK_API_URL means the bank."""
    line = the_one_line(repasse("webhook", "register", "http://repasse.example/", STARKBANK_API_URL=""))
    assert "https://" in line


@pytest.mark.parametrize(
    ("url", "normal"),
    [
        (URL, URL),
        ("https://repasse.example//webhooks///starkbank", URL),
        ("https://repasse.example:443/webhooks/starkbank", URL),
        ("HTTPS://Repasse.EXAMPLE/webhooks/starkbank#here", URL),
        ("https://repasse.example", "https://repasse.example/"),
        ("https://repasse.example:8443/A//b?x=//Y", "https://repasse.example:8443/A/b?x=//Y"),
        ("http://127.0.0.1:80/a", "http://127.0.0.1/a"),
        ("https://[2001:DB8::1]:443/a", "https://[2001:db8::1]/a"),
        ("https://User:Pass@Repasse.example/a", "https://User:Pass@repasse.example/a"),
    ],
)
def test_an_address_has_one_form(url: str, normal: str) -> None:
    """The bank compares letter by letter, and would deliver every event twice; paths keep their case."""
    assert normal_url(url) == normal
    assert normal_url(normal) == normal


def test_another_form_of_a_registered_address_is_the_same(repasse: Command, bank: Bank) -> None:
    """Whichever form was registered, here by hand."""
    bank.create_webhook("https://Repasse.example:443//webhooks/starkbank", ["invoice", "transfer"])
    assert repasse("webhook", "register", URL).stdout.startswith(
        "already registered: https://Repasse.example:443//"
    )
    assert len(bank.list_webhooks()) == 1
