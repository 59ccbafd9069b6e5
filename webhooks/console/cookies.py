"""The cookies that the browser keeps for us, signed: who is signed in, and the result of the last action.

The key is derived from the operators' tokens, so a change of any ends every session. Nothing is stored here; several
processes may serve one browser. A session ends after a shift, and when no one has used it for a while; a page that
reloads itself is no use of it.
"""

import hashlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from itsdangerous import BadData, URLSafeSerializer
from starlette.requests import HTTPConnection
from starlette.responses import Response

from payments.authorization import Account

FLASH_COOKIE = "repasse_flash"
ZONE_COOKIE = "repasse_zone"
LANGUAGE_COOKIE = "repasse_language"

# One shift; afterwards the token is asked for again.
SESSION_LENGTH = timedelta(hours=12)

# How exactly it is known when a session was last used: its cookie is not renewed with every page.
RENEW_AFTER = timedelta(seconds=30)

# A flash message that no page has shown by then is out of date.
FLASH_SECONDS = 60

_FLASH_LENGTH_MAX = 1000


@dataclass(frozen=True, slots=True)
class Session:
    """Who has shown a token.

    ``is_proved``: the token is this person's own, and ``who`` its name; else it is the shared one, and ``who`` was
    typed, perhaps nothing. ``until`` is None for a program, which sends the token along each time.
    """

    who: str
    is_proved: bool
    may_act: bool
    until: datetime | None
    used_at: datetime

    @classmethod
    def of(cls, account: Account, typed: str, until: datetime | None, now: datetime) -> "Session":
        """The session of an account; a typed name counts only where the token has none of its own."""
        return cls(account.name or typed, bool(account.name), account.may_act, until, now)


class SignedCookies:
    """Signs and checks small values; each kind has a salt of its own, so that none is taken for another."""

    def __init__(self, secret: str, idle: timedelta) -> None:
        self._session = _serializer(secret, "session")
        self._flash = _serializer(secret, "flash")
        self.idle = idle

    def begin_session(self, account: Account, typed: str, now: datetime) -> str:
        """The cookie of a session that begins now."""
        return self.sign_session(Session.of(account, typed, now + SESSION_LENGTH, now))

    def sign_session(self, session: Session) -> str:
        """The cookie of a session."""
        assert session.until is not None
        times = [int(session.until.timestamp()), int(session.used_at.timestamp())]
        return str(self._session.dumps([session.who, session.is_proved, session.may_act, *times]))

    def read_session(self, text: str, now: datetime) -> Session | None:
        """The session, or None when it is over or unused for too long, altered, or of other tokens."""
        session = self._read(text)
        return (
            None if session is None or self._is_over(session, now) or self._is_idle(session, now) else session
        )

    def was_idle(self, text: str, now: datetime) -> bool:
        """True when a session would go on had it been used."""
        session = self._read(text)
        return session is not None and not self._is_over(session, now) and self._is_idle(session, now)

    def renewed(self, session: Session, now: datetime) -> str | None:
        """The cookie that says that the session was used now; None when it says so already."""
        if now - session.used_at < RENEW_AFTER:
            return None
        return self.sign_session(replace(session, used_at=now))

    def _read(self, text: str) -> Session | None:
        value = _load(self._session, text)
        if value is None:
            return None
        *who, until, used_at = value
        return Session(*who, *(datetime.fromtimestamp(each, UTC) for each in (until, used_at)))

    def _is_over(self, session: Session, now: datetime) -> bool:
        return session.until is None or session.until <= now

    def _is_idle(self, session: Session, now: datetime) -> bool:
        return now - session.used_at > self.idle

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


def _serializer(secret: str, salt: str) -> URLSafeSerializer:
    options = {"key_derivation": "hmac", "digest_method": hashlib.sha256}
    return URLSafeSerializer(secret, salt=f"repasse console {salt}", signer_kwargs=options)


def _load(serializer: URLSafeSerializer, text: str) -> Any:
    try:
        return serializer.loads(text)
    except BadData:
        return None
