"""The values of command lines."""

from __future__ import annotations

from typing import Any


def value_of(text: str) -> Any:
    """A value as it is written on a command line: a number, true, false, a range like 1:5, or a text."""
    if text in ("true", "false"):
        return text == "true"
    if ":" in text:
        return [value_of(part) for part in text.split(":")]
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return text
