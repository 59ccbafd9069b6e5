"""Subscribe a URL to the events that repasse needs, unless it is subscribed already.

The bank would take the same URL twice and then deliver everything twice, so existing webhooks are listed first.
Exit status: 0 registered (now or before), 1 the bank could not be asked, 2 wrong arguments or settings.
"""

import argparse
import sys
from urllib.parse import urlsplit

from payments.bank.client import open_bank
from payments.errors import BankError, Rejected, RepasseError, SettingsError
from payments.settings import Settings, load_settings

# Where the web process listens. A proxy in front of it may put something before that, or rewrite it.
PATH = "/webhooks/starkbank"

SUBSCRIPTIONS = ("invoice", "transfer")


def main() -> int:
    """Register the URL of the command line; see the module."""
    parser = argparse.ArgumentParser(
        prog="scripts/register_webhook", description="Tell Stark Bank where to deliver its events."
    )
    parser.add_argument("url", help="such as https://example.com/webhooks/starkbank")
    url = parser.parse_args().url
    try:
        settings = load_settings()
        _check(url, settings)
        if not urlsplit(url).path.endswith(PATH):
            print(
                f"repasse: warning: {url} does not end with {PATH}, where the web process listens",
                file=sys.stderr,
            )
        print(_register(url, settings))
    except BankError as error:
        remedy = error.remedy if isinstance(error, Rejected) else "try again"
        print(f"repasse: the bank's answer: {error}; {remedy}", file=sys.stderr)
        return 1
    except RepasseError as error:
        print(f"repasse: {error}", file=sys.stderr)
        return 2
    return 0


def _register(url: str, settings: Settings) -> str:
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


def _check(url: str, settings: Settings) -> None:
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


if __name__ == "__main__":
    sys.exit(main())
