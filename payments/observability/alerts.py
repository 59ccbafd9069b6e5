"""The notification hook: posts each matter that needs a person to ALERT_WEBHOOK_URL, signed, until it is taken.

Every process runs it; the ledger's claims decide who posts what, so whoever is alive tells. A matter that was
posted when its process died before recording it is posted again: receivers drop what they have by its id.
Nothing is followed (no redirect, no proxy), and neither the URL's path nor its password reaches a log: both
are secrets at most receivers.
"""

import base64
import hashlib
import hmac
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from http.client import HTTPException
from time import monotonic
from typing import Protocol
from urllib.parse import unquote, urlsplit

import certifi
import msgspec
import structlog
from urllib3.exceptions import HTTPError

from payments.bank.connection import Progress, open_pool, progress
from payments.ledger.notifications import Notice, claim_notice, record_delivered, record_undelivered
from payments.observability.logging import masked_text
from payments.observability.ticker import Ticker
from payments.settings import Settings
from payments.storage.database import Database
from payments.transfer import retry_delay
from payments.version import VERSION

log = structlog.get_logger()

# For one whole post. A receiver has only to take it in; what takes longer is tried again.
POST_SECONDS = 5.0

# Longer than a post can take, so that nobody else begins the same one meanwhile.
LEASE_SECONDS = 30.0

# How often the books are asked for something new to tell.
LOOK_SECONDS = 5.0

# First and longest wait between two tries; it goes on for as long as the matter is open.
RETRY_BASE_SECONDS = 5.0
RETRY_MAX_SECONDS = 900.0

SIGNATURE_HEADER = "Repasse-Signature"
ID_HEADER = "Idempotency-Key"


class Undelivered(Exception):
    """The hook did not take it; the text says why, without the URL."""


class Hook(Protocol):
    """Takes one signed message, or raises Undelivered."""

    def post(self, body: bytes, headers: dict[str, str]) -> None:
        """Return when it was answered with 2xx."""
        ...


@dataclass(frozen=True, slots=True)
class Notifier:
    """``origin`` says in the message who posts, such as "sandbox". ``clock`` tells the time in UTC."""

    database: Database
    hook: Hook
    secret: str
    origin: str
    clock: Callable[[], datetime]

    def tell_all(self) -> int:
        """Post every matter that is due, the oldest first; how many were taken. Raises LedgerUnavailable.

        Ends at the first that is not taken: the others would most likely fare the same.
        """
        told = 0
        while notice := claim_notice(self.database, LEASE_SECONDS, self.clock()):
            if not self._tell(notice):
                break
            told += 1
        return told

    def _tell(self, notice: Notice) -> bool:
        body = write_message(notice, self.origin)
        timestamp = int(self.clock().timestamp())
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"repasse/{VERSION}",
            ID_HEADER: message_id(notice),
            SIGNATURE_HEADER: sign(body, timestamp, self.secret),
        }
        facts = {"attention_id": notice.attention_id, "kind": notice.kind, "subject": notice.subject}
        try:
            self.hook.post(body, headers)
        except Undelivered as error:
            wait = retry_delay(notice.attempt, RETRY_BASE_SECONDS, RETRY_MAX_SECONDS)
            record_undelivered(self.database, notice, self.clock() + wait)
            log.warning(
                "notification.undelivered",
                **facts,
                attempt=notice.attempt,
                reason=str(error),
                again_in_seconds=wait.total_seconds(),
            )
            return False
        record_delivered(self.database, notice, self.clock())
        log.info("notification.delivered", **facts, attempt=notice.attempt)
        return True


def message_id(notice: Notice) -> str:
    """The same for every post of one matter, and for no other one, even after books were restored from a copy."""
    return f"attention-{notice.attention_id}-{notice.raised_at:%Y%m%dT%H%M%S}"


def write_message(notice: Notice, origin: str) -> bytes:
    """The JSON that is posted. ``detail`` may quote the bank; tax ids in it are masked."""
    detail = masked_text(notice.detail)
    return msgspec.json.encode(
        {
            "id": message_id(notice),
            "type": "attention.raised",
            "text": f"repasse ({origin}): {notice.kind} {notice.subject}: {detail[:300]}",
            "origin": origin,
            "attention": {
                "id": notice.attention_id,
                "kind": notice.kind,
                "subject": notice.subject,
                "detail": detail,
                "raised_at": notice.raised_at.isoformat(),
            },
            "runbook": f"docs/runbook.md#{notice.kind}",
            "attempt": notice.attempt,
        }
    )


def sign(body: bytes, timestamp: int, secret: str) -> str:
    """The signature header: ``t=<unix seconds>,v1=<hex HMAC-SHA256 of "<t>.<body>">``."""
    digest = hmac.new(secret.encode(), b"%d." % timestamp + body, hashlib.sha256).hexdigest()
    return f"t={timestamp},v1={digest}"


def open_notifying(settings: Settings, database: Database, clock: Callable[[], datetime]) -> Ticker | None:
    """What looks for something to tell every few seconds, not started yet; None without ALERT_WEBHOOK_URL."""
    if settings.alert_webhook_url is None or settings.alert_webhook_secret is None:
        return None
    hook = HttpHook(settings.alert_webhook_url.get_secret_value())
    secret = settings.alert_webhook_secret.get_secret_value()
    notifier = Notifier(database, hook, secret, settings.starkbank_environment, clock)
    return Ticker("notification", notifier.tell_all, LOOK_SECONDS)


class HttpHook:
    """Posts to one URL, within POST_SECONDS in all. ``url`` may carry a user and password for HTTP Basic."""

    def __init__(self, url: str, seconds: float = POST_SECONDS) -> None:
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
        self.name = f"{parts.scheme}://{host}{port}"  # for logs
        address = f"[{host}]" if ":" in host else host
        query = f"?{parts.query}" if parts.query else ""
        self._url = f"{parts.scheme}://{address}{port}{parts.path or '/'}{query}"
        self._seconds = seconds
        self._headers: dict[str, str] = {}
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
            self._headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        self._pool = open_pool(_trust() if parts.scheme == "https" else None)

    def post(self, body: bytes, headers: dict[str, str]) -> None:
        """Return when it was answered with 2xx; raises Undelivered for anything else."""
        token = progress.set(Progress(monotonic() + self._seconds))
        try:
            answer = self._pool.request(
                "POST",
                self._url,
                body=body,
                headers={**headers, **self._headers},
                redirect=False,
                retries=False,
                preload_content=False,
            )
            status = answer.status
            # What it says does not matter, and reading it could take for ever.
            answer.close()
            answer.release_conn()
        except (HTTPError, HTTPException, OSError, TimeoutError) as error:
            raise Undelivered(f"{self.name} did not answer ({type(error).__name__})") from None
        finally:
            progress.reset(token)
        if not 200 <= status < 300:
            raise Undelivered(f"{self.name} answered {status}")

    def close(self) -> None:
        """Close the idle connections."""
        self._pool.clear()


def _trust() -> ssl.SSLContext:
    # The machine's own authorities too: a receiver inside a company often has a certificate of its own.
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context
