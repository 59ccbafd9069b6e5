"""The cookies that the browser keeps for us, signed: who is signed in, and the result of the last action.

The key is derived from the operator's token, so a changed token ends every session. Nothing is stored here; several
processes may serve one browser.
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from itsdangerous import BadData, URLSafeSerializer
from starlette.requests import HTTPConnection
from starlette.responses import Response

FLASH_COOKIE = "repasse_flash"
ZONE_COOKIE = "repasse_zone"
LANGUAGE_COOKIE = "repasse_language"

# One shift; afterwards the token is asked for again.
SESSION_LENGTH = timedelta(hours=12)

# A flash message that no page has shown by then is out of date.
FLASH_SECONDS = 60

_FLASH_LENGTH_MAX = 1000


@dataclass(frozen=True, slots=True)
class Session:
    """An operator who has shown the token. ``who`` is the name given at the sign-in, perhaps empty."""

    who: str
    until: datetime


class SignedCookies:
    """Signs and checks small values; each kind has a salt of its own, so that none is taken for another."""

    def __init__(self, token: str) -> None:
        self._session = _serializer(token, "session")
        self._flash = _serializer(token, "flash")

    def sign_session(self, who: str, now: datetime) -> str:
        """The cookie of a session that begins now."""
        return str(self._session.dumps({"who": who, "until": int((now + SESSION_LENGTH).timestamp())}))

    def read_session(self, text: str, now: datetime) -> Session | None:
        """The session, or None when it is over, altered, or of another token."""
        value = _load(self._session, text)
        if value is None or value["until"] <= now.timestamp():
            return None
        return Session(value["who"], datetime.fromtimestamp(value["until"], UTC))

    def sign_flash(self, text: str, tone: str) -> str:
        """The cookie that has the next page show the result of an action; ``tone`` is good, wait or bad."""
        return str(self._flash.dumps([text[:_FLASH_LENGTH_MAX], tone]))

    def read_flash(self, text: str) -> tuple[str, str] | None:
        """The message and its tone, or None when we did not write it."""
        message = _load(self._flash, text)
        return None if message is None else (message[0], message[1])


def session_cookie(connection: HTTPConnection) -> str:
    """The cookie's name. Behind TLS the prefix has the browser refuse one that any other host sets."""
    return "__Host-repasse" if _is_secure(connection) else "repasse"


def set_cookie(
    response: Response, connection: HTTPConnection, name: str, value: str, seconds: float, path: str
) -> None:
    """Set a cookie that no script reads, no other site sends, and, behind TLS, no plain connection carries."""
    response.set_cookie(
        name,
        value,
        max_age=int(seconds),
        path=path,
        secure=_is_secure(connection),
        httponly=True,
        samesite="strict",
    )


def _is_secure(connection: HTTPConnection) -> bool:
    return connection.url.scheme == "https"


def _serializer(token: str, salt: str) -> URLSafeSerializer:
    options = {"key_derivation": "hmac", "digest_method": hashlib.sha256}
    return URLSafeSerializer(token, salt=f"repasse console {salt}", signer_kwargs=options)


def _load(serializer: URLSafeSerializer, text: str) -> Any:
    try:
        return serializer.loads(text)
    except BadData:
        return None
