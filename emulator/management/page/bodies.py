"""Bodies of requests, deliveries and answers as a person reads and compares them.

JSON gets line breaks; anything that is no text is described instead of shown.
"""

from __future__ import annotations

import difflib
import json

# A page stays readable, and a comparison quick: longer ones are cut, and the management API has them whole.
MOST_CHARACTERS = 100_000
MOST_LINES = 2_000


def readable(body: bytes | str) -> str:
    """The body as text; what it is, when it is no text."""
    if isinstance(body, str):
        return body
    try:
        return body.decode()
    except UnicodeDecodeError:
        return f"{len(body)} bytes that are no text"


def pretty(body: bytes | str) -> str:
    """JSON with line breaks and any other text as it is, cut when it is long."""
    text = _with_line_breaks(readable(body))
    if len(text) <= MOST_CHARACTERS:
        return text
    return f"{text[:MOST_CHARACTERS]}\n… and {len(text) - MOST_CHARACTERS:,} more characters"


def difference(first: bytes | str, second: bytes | str) -> list[tuple[str, str]]:
    """The lines that differ, each with three lines around it and its mark: gone, new, same or place."""
    before, after = (_with_line_breaks(readable(each)).splitlines()[:MOST_LINES] for each in (first, second))
    marks = {"-": "gone", "+": "new", "@": "place", " ": "same"}
    changes = list(difflib.unified_diff(before, after, lineterm=""))
    return [(marks[line[0]], line) for line in changes[2:]]


def _with_line_breaks(text: str) -> str:
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return text
