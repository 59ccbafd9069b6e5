"""Where the console's pages are. An id comes from outside: it is quoted, and never trusted to be one segment."""

from urllib.parse import quote

from payments.transfer import read_external_id

HOME = "/console"
SIGN_IN = f"{HOME}/sign-in"
SIGN_OUT = f"{HOME}/sign-out"
CHANGES = f"{HOME}/changes"
STATIC = f"{HOME}/static/"

_FOLDERS = {
    "credit": "credits",
    "event": "inbox",
    "batch": "batches",
    "transfer": "credits",
    "invoice": "invoices",
}


def link_to(kind: str, identity: str) -> str:
    """The address of a credit (by its invoice's id), a transfer (the same), an invoice, an event or a batch."""
    return f"{HOME}/{_FOLDERS.get(kind, kind)}/{quote(identity, safe='')}"


def invoice_of(external_id: str) -> str:
    """The invoice whose credit a transfer forwards; the text itself when it is no external_id of ours."""
    found = read_external_id(external_id)
    return external_id if found is None else found[0]


def action_url(kind: str, subject: str) -> str:
    """Where an action is confirmed."""
    return f"{HOME}/act/{quote(kind, safe='')}/{quote(subject, safe='')}"


def subject_link(kind: str, subject: str) -> str | None:
    """The page of the subject of an action; None when it has none."""
    if kind in ("retry", "abandon", "recover"):
        return link_to("credit", invoice_of(subject))
    if kind == "replay" and not subject.startswith("since "):
        return link_to("event", subject)
    return None


def is_console_url(address: str) -> bool:
    """Tell whether an address that came with a form leads to one of these pages, and nowhere else."""
    path = address.partition("?")[0]
    return (path == HOME or path.startswith(f"{HOME}/")) and "\\" not in address and address.isprintable()
