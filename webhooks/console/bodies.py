"""An event's bytes for people's eyes: pretty-printed, tax ids masked, bounded in length."""

import json
from dataclasses import dataclass

from payments.observability import redact

# An event has 1 to 3 kB; what is longer is somebody's mistake, and would make the page slow.
CHARACTERS_MAX = 12_000


@dataclass(frozen=True, slots=True)
class Body:
    """``text`` is what may be shown; it is cut when there was more."""

    text: str
    is_json: bool
    is_cut: bool


def read_body(body: bytes) -> Body:
    """Make bytes from outside fit to be shown. They are text on the page, whatever they contain."""
    raw = body.decode("utf-8", "replace")
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        is_json, text = False, str(redact(None, "", {"body": raw})["body"])
    else:
        is_json, text = True, json.dumps(redact(None, "", {"body": found})["body"], indent=2, ensure_ascii=False)
    return Body(text[:CHARACTERS_MAX], is_json, len(text) > CHARACTERS_MAX)
