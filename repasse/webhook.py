"""``repasse webhook register``: subscribe a URL to the events that repasse needs, unless it is subscribed already.

The bank would take the same URL twice and then deliver everything twice, so existing webhooks are listed first.
"""

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

import click

from payments.errors import SettingsError
from repasse.group import DONE, Group, command
from repasse.language import _
from repasse.opening import open_bank, read_settings

if TYPE_CHECKING:
    from payments.settings import Settings

# Where the web process listens. A proxy in front of it may put something before that, or rewrite it.
PATH = "/webhooks/starkbank"

SUBSCRIPTIONS = ("invoice", "transfer")


@command(
    _("Subscribe URL to Stark Bank's events. Nothing is done when it is registered already."),
    "repasse webhook register https://repasse.example.com/webhooks/starkbank",
)
@click.argument("url")
def register(url: str) -> int:
    settings = read_settings(needs_bank=True)
    _check(url, settings)
    url = normal_url(url)
    if not urlsplit(url).path.endswith(PATH):
        warning = _(
            "warning: %(url)s does not end with %(path)s, where the web process listens", url=url, path=PATH
        )
        click.echo(f"repasse: {warning}", err=True)
    click.echo(_register(url, settings))
    return DONE


webhook = Group(
    "webhook",
    _("Register where Stark Bank delivers its events."),
    {_("Commands"): (register,)},
    ("repasse webhook register https://repasse.example.com/webhooks/starkbank",),
)


def _register(url: str, settings: "Settings") -> str:
    bank = open_bank(settings)
    same = [webhook for webhook in bank.list_webhooks() if normal_url(webhook.url) == url]
    subscribed = {subscription for webhook in same for subscription in webhook.subscriptions}
    missing = [subscription for subscription in SUBSCRIPTIONS if subscription not in subscribed]
    if not missing:
        return _(
            "already registered: %(url)s (%(subscriptions)s), webhook %(id)s",
            url=same[0].url,
            subscriptions=", ".join(sorted(subscribed)),
            id=same[0].id,
        )
    created = bank.create_webhook(url, missing)
    return _(
        "registered: %(url)s (%(subscriptions)s), webhook %(id)s",
        url=url,
        subscriptions=", ".join(missing),
        id=created.id,
    )


def normal_url(url: str) -> str:
    """The one form of an address: the bank takes every other form of it for another, and would deliver twice."""
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    host = f"[{host}]" if ":" in host else host
    port = "" if parts.port in (None, {"http": 80, "https": 443}.get(parts.scheme)) else f":{parts.port}"
    user = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
    path = re.sub("/{2,}", "/", parts.path) or "/"
    return urlunsplit((parts.scheme, f"{user}{host}{port}", path, parts.query, ""))


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
