"""Reads the operator's token from an Authorization header. Knows no web framework, so every process may use it."""

import base64
import secrets


def carries_token(authorization: str, token: str) -> bool:
    """True when an Authorization header carries the token, as Bearer or as the password of HTTP Basic."""
    given = token_in(authorization)
    return given is not None and secrets.compare_digest(given.encode(), token.encode())


def token_in(authorization: str) -> str | None:
    """What a header carries as the token; None when it is empty, an empty text when it cannot be read."""
    if not authorization:
        return None
    scheme, _, given = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return given
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(given, validate=True).decode().partition(":")[2]
    except ValueError:  # no base64, no UTF-8, or not even ASCII
        return ""
