"""What the browser keeps for us, signed: who is signed in, and what the last act came to.

The key is derived from the operator's token, so that a changed token ends every session. Nothing is stored here;
several processes may serve one browser.
"""

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

# One shift; afterwards the token is asked for again.
SESSION_LENGTH = timedelta(hours=12)


@dataclass(frozen=True, slots=True)
class Session:
    """An operator who has shown the token. ``who`` is the name given at the sign-in, perhaps empty."""

    who: str
    until: datetime


class Seal:
    """Signs and checks small values for cookies; ``purpose`` keeps one kind from being taken for another."""

    def __init__(self, token: str) -> None:
        self._key = hmac.digest(token.encode(), b"repasse console 1", "sha256")

    def seal_session(self, who: str, now: datetime) -> str:
        """The cookie of a session that begins now."""
        return self._seal("session", {"who": who, "until": int((now + SESSION_LENGTH).timestamp())})

    def open_session(self, text: str, now: datetime) -> Session | None:
        """The session, or None when it is over, altered, or of another token."""
        value = self._open("session", text)
        if value is None or int(value["until"]) <= now.timestamp():
            return None
        return Session(str(value["who"]), datetime.fromtimestamp(int(value["until"]), UTC))

    def seal_outcome(self, text: str) -> str:
        """The cookie that tells the next page what an act came to."""
        return self._seal("outcome", {"text": text[:1000]})

    def open_outcome(self, text: str) -> str | None:
        """What to tell, or None when we did not write it."""
        value = self._open("outcome", text)
        return None if value is None else str(value["text"])

    def _seal(self, purpose: str, value: dict[str, str | int]) -> str:
        body = base64.urlsafe_b64encode(json.dumps(value).encode()).decode()
        return f"{body}.{self._mark(purpose, body)}"

    def _open(self, purpose: str, text: str) -> dict[str, str | int] | None:
        body, _, mark = text.rpartition(".")
        if not hmac.compare_digest(mark.encode(), self._mark(purpose, body).encode()):
            return None
        value: dict[str, str | int] = json.loads(base64.urlsafe_b64decode(body))
        return value

    def _mark(self, purpose: str, body: str) -> str:
        return hmac.new(self._key, f"{purpose}.{body}".encode(), hashlib.sha256).hexdigest()
