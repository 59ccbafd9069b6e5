"""Who a token belongs to, and what an Authorization header carries. Knows no web framework: every process may use it.

A token is one person's (the setting OPERATORS), or shared by all who have it (OPERATOR_TOKEN). Tokens are compared in
constant time and never appear in an error.
"""

import base64
import hashlib
import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

# A shorter token could be guessed by a patient stranger.
TOKEN_LENGTH_MIN = 16

# The width of the columns that say who did something.
NAME_LENGTH_MAX = 64

ROLES = ("operator", "reader")


@dataclass(frozen=True, slots=True)
class Account:
    """Whose token it is; the shared one has no name. A reader (``may_act`` False) sees everything and does nothing."""

    name: str
    may_act: bool
    token: str = field(repr=False)


def check_token(token: str) -> None:
    """Raise ValueError, without the token, when it is not one to protect anything with."""
    if not token:
        raise ValueError("is empty, which would protect nothing")
    if len(token) < TOKEN_LENGTH_MIN:
        raise ValueError(f"is shorter than {TOKEN_LENGTH_MIN} characters")
    if not re.fullmatch(r"[!-~]+", token):
        raise ValueError("has characters that do not travel in an HTTP header")


def read_operators(text: str) -> tuple[Account, ...]:
    """Read ``name:role:token`` entries, separated by commas. Raises ValueError, which names an entry by its number."""
    accounts: list[Account] = []
    for number, entry in enumerate(text.split(","), 1):
        name, role, token = (*(part.strip() for part in entry.split(":", 2)), "", "")[:3]
        if not 1 <= len(name) <= NAME_LENGTH_MAX or not name.isprintable():
            raise ValueError(f"has no name of 1 to {NAME_LENGTH_MAX} characters in entry {number}")
        if role not in ROLES:
            raise ValueError(f"has a role in entry {number} that is neither {' nor '.join(ROLES)}")
        try:
            check_token(token)
        except ValueError as error:
            raise ValueError(f"has a token in entry {number} that {error}") from None
        if any(each.name.casefold() == name.casefold() for each in accounts):
            raise ValueError(f"has the name of entry {number} twice")
        if find_account(token, accounts):
            raise ValueError(f"has the token of entry {number} twice, so that it would not say who")
        accounts.append(Account(name, may_act=role == "operator", token=token))
    return tuple(accounts)


def find_account(given: str, accounts: Iterable[Account]) -> Account | None:
    """Whose token this is. Each is compared, so the time that it takes says nothing."""
    found = None
    for account in accounts:
        if secrets.compare_digest(given.encode("utf-8", "replace"), account.token.encode()):
            found = account
    return found


def session_secret(accounts: Sequence[Account]) -> str:
    """What sessions are signed with: a name, role or token that changes ends every session."""
    lines = (f"{each.name}:{each.may_act}:{each.token}" for each in accounts)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def account_in(authorization: str, accounts: Iterable[Account]) -> Account | None:
    """Whose token an Authorization header carries, as Bearer or as the password of HTTP Basic."""
    given = token_in(authorization)
    return None if given is None else find_account(given, accounts)


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
