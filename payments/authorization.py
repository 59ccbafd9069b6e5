"""Tells whether a request carries the operator's token. Knows no web framework, so every process may ask it."""

import base64
import secrets


def carries_token(authorization: str, token: str) -> bool:
    """Tell whether an Authorization header brings the token, as Bearer or as the password of HTTP Basic."""
    scheme, _, given = authorization.partition(" ")
    if scheme.lower() == "basic":
        try:
            given = base64.b64decode(given, validate=True).decode().partition(":")[2]
        except ValueError:  # no base64, no UTF-8, or not even ASCII
            return False
    elif scheme.lower() != "bearer":
        return False
    return secrets.compare_digest(given.encode(), token.encode())
