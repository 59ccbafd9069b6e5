"""``repasse webhook register``: subscribe a URL to the events that repasse needs, unless it is subscribed already.

The bank would take the same URL twice and then deliver everything twice, so existing webhooks are listed first.
"""

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from payments.errors import SettingsError
from repasse.group import DONE, Group, command

if TYPE_CHECKING:
    from payments.settings import Settings

# Where the web process listens. A proxy in front of it may put something before that, or rewrite it.
PATH = "/webhooks/starkbank"

SUBSCRIPTIONS = ("invoice", "transfer")


@command(
    "Subscribe URL to Stark Bank's events. Nothing is done when it is registered already.",
    "repasse webhook register https://repasse.example.com/webhooks/starkbank",
)
@click.argument("url")
def register(url: str) -> int:
    from payments.settings import load_settings

    settings = load_settings()
    _check(url, settings)
    if not urlsplit(url).path.endswith(PATH):
        click.echo(
            f"repasse: warning: {url} does not end with {PATH}, where the web process listens", err=True
        )
    click.echo(_register(url, settings))
    return DONE


webhook = Group(
    "webhook",
    "Register where Stark Bank delivers its events.",
    {"Commands": (register,)},
    ("repasse webhook register https://repasse.example.com/webhooks/starkbank",),
)


def _register(url: str, settings: "Settings") -> str:
    from payments.bank.client import open_bank

    bank = open_bank(
        environment=settings.starkbank_environment,
        project_id=settings.starkbank_project_id,
        private_key_pem=settings.private_key_pem,
        api_url=settings.starkbank_api_url,
        timeout_seconds=settings.bank_timeout_seconds,
    )
    same = [webhook for webhook in bank.list_webhooks() if webhook.url == url]
    subscribed = {subscription for webhook in same for subscription in webhook.subscriptions}
    missing = [subscription for subscription in SUBSCRIPTIONS if subscription not in subscribed]
    if not missing:
        return f"already registered: {url} ({', '.join(sorted(subscribed))}), webhook {same[0].id}"
    created = bank.create_webhook(url, missing)
    return f"registered: {url} ({', '.join(missing)}), webhook {created.id}"


def _check(url: str, settings: "Settings") -> None:
    try:
        parts = urlsplit(url)
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets that do not close, or a port that is no number
        is_url = False
    if not is_url:
        raise SettingsError(f"{url!r} is not a URL; put https://your-host/webhooks/starkbank")
    # Documented: the bank wants HTTPS with a publicly trusted certificate. An emulator does not.
    if url.lower().startswith("http:") and settings.starkbank_api_url is None:
        raise SettingsError("the bank delivers over https:// only; put the public https:// address")
