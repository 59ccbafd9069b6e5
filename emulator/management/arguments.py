"""Reads the bodies of the management API, one kind of argument a function.

What is wrong is a ValueError, whose text is the answer.
"""

from __future__ import annotations

from typing import Any

Body = dict[str, Any]


def only(body: Body, *names: str) -> None:
    """Refuse keys that the call does not know: a misspelt one would otherwise do nothing, silently."""
    unknown = sorted(set(body) - set(names))
    if unknown:
        raise ValueError(f"unknown keys {', '.join(unknown)}; known are {', '.join(names) or 'none'}")


def centavos(body: Body, at_least: int) -> int | None:
    """The only argument `amount` (or `amount_centavos`); None when it was not given."""
    only(body, "amount", "amount_centavos")
    given = list(body.values())
    if not given:
        return None
    if len(given) > 1 or type(given[0]) is not int or given[0] < at_least:
        raise ValueError(f"amount must be a whole number of centavos, at least {at_least}")
    return given[0]


def whole(body: Body, name: str, default: int, at_least: int, at_most: int = 10**14) -> int:
    """A whole number."""
    value = body.get(name, default)
    if type(value) is not int or not at_least <= value <= at_most:
        raise ValueError(f"{name} must be a whole number from {at_least} to {at_most}")
    return value


def number(body: Body, name: str, default: float) -> float:
    """Seconds, zero to a year."""
    value = body.get(name, default)
    # A year: so that sums of dates stay inside a calendar.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 31_622_400:
        raise ValueError(f"{name} must be a number of seconds, from 0 to a year")
    return float(value)


def flag(body: Body, name: str, default: bool) -> bool:
    """True or false."""
    value = body.get(name, default)
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false")
    return value


def text(body: Body, name: str, default: str) -> str:
    """A text."""
    value = body.get(name, default)
    if not isinstance(value, str) or len(value) > 2_000:
        raise ValueError(f"{name} must be a text of at most 2000 characters")
    return value
