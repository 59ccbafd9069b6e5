"""Where things have their page. An id comes from outside: it is quoted, and never trusted to be one segment."""

import re
from urllib.parse import quote

from webhooks.console.door import HOME

_FOLDERS = {"credit": "credits", "event": "inbox", "batch": "batches", "transfer": "credits"}


def link_to(kind: str, identity: str) -> str:
    """The address of a credit (by its invoice's id), a transfer (the same), an event or a batch."""
    return f"{HOME}/{_FOLDERS.get(kind, kind)}/{quote(identity, safe='')}"


def invoice_of(external_id: str) -> str:
    """The invoice whose credit a transfer forwards: external ids are derived from it."""
    return re.sub(r"-r[0-9]+\Z", "", external_id.removeprefix("credit-"))


def act_on(kind: str, subject: str) -> str:
    """Where an act is asked for."""
    return f"{HOME}/act/{quote(kind, safe='')}/{quote(subject, safe='')}"


def subject_link(kind: str, subject: str) -> str | None:
    """The page of what an act was done to; None when it has none."""
    if kind in ("retry", "abandon"):
        return link_to("credit", invoice_of(subject))
    if kind == "replay" and not subject.startswith("since "):
        return link_to("event", subject)
    return None
