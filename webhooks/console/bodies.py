"""An event's bytes for people's eyes: pretty-printed, tax ids masked, bounded in length."""

import json
from dataclasses import dataclass

from payments.tax_id import mask_tax_ids

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
        # JSON may write a digit as an escape: what is shown is what is masked.
        is_json, text = True, mask_tax_ids(json.dumps(json.loads(raw), indent=2, ensure_ascii=False))
    except (ValueError, RecursionError):
        is_json, text = False, mask_tax_ids(raw)
    return Body(text[:CHARACTERS_MAX], is_json, len(text) > CHARACTERS_MAX)
