"""The protocol face: which call of /v2 does what, and the envelopes around the answers.

A call comes in as method, path, query and bytes and goes out as a JSON-able dict, a `Document` or a
`Refusal`; sockets, signatures and faults are the business of `endpoint`. It keeps no state and decides no rule of
the bank.
"""

from __future__ import annotations

from collections.abc import Callable

from emulator.behaviour.bank import Bank
from emulator.books import checks, invoices, transfers
from emulator.books.refusal import Refusal
from emulator.books.table import Row
from emulator.protocol import documents, filters
from emulator.protocol.credentials import Credentials
from emulator.protocol.documents import Document
from emulator.protocol.more_routes import MORE_ROUTES
from emulator.protocol.pdf_content import invoice_paper, reversal_paper, transfer_paper
from emulator.protocol.request import Answer, Call, log_of, logs_of, page_of, status_filter, within

__all__ = [
    "ROUTES",
    "Answer",
    "Call",
    "Document",
    "NoSuchRoute",
    "answer",
    "is_public",
    "segments_of",
    "subject_of",
]


class NoSuchRoute(Exception):
    """A path or method that /v2 does not have."""


def segments_of(path: str) -> tuple[str, ...]:
    """The parts of a path below /v2, none for any other path; doubled and trailing slashes do not count."""
    # Read: Python asks for /v2//public-key; raw requests double and trail slashes.
    parts = [part for part in path.split("/") if part]
    return tuple(parts[1:]) if parts[:1] == ["v2"] else ()


def subject_of(method: str, segments: tuple[str, ...]) -> str:
    """The name that faults know a call by, such as `POST transfer` or `GET invoice/log`."""
    resource = segments[0] if segments else ""
    if len(segments) > 1 and segments[1] in ("log", "attempt"):
        resource += f"/{segments[1]}"
    return f"{method} {resource}"


def is_public(method: str, segments: tuple[str, ...]) -> bool:
    """Whether a call needs no signature: the bank's public key, and the PDF that payers are sent a link to."""
    # Documented: the link in an invoice's `pdf` is public. Differs: the public key is public here too.
    return method == "GET" and (segments == ("public-key",) or _is_public_pdf(segments))


def _is_public_pdf(segments: tuple[str, ...]) -> bool:
    return len(segments) == 2 and segments[0] == "invoice" and segments[1].endswith(".pdf")


def answer(bank: Bank, credentials: Credentials, call: Call) -> Answer | Document:
    """Do what the call asks; raises `Refusal` for a 400 and `NoSuchRoute`."""
    handler = _route(call.method, call.segments)
    if handler is None:
        raise NoSuchRoute(f"{call.method} /v2/{'/'.join(call.segments)}")
    found = handler(bank, credentials, call)
    if call.method != "GET" or isinstance(found, Document) or "fields" not in call.query:
        return found
    # Documented: `fields` trims the keys of single entities as well.
    return {
        key: filters.trim([value], call.query)[0] if isinstance(value, dict) else value
        for key, value in found.items()
    }


Handler = Callable[[Bank, Credentials, Call], Answer | Document]
_LITERALS = ("log", "attempt", "payment", "pdf", "qrcode")


def _route(method: str, segments: tuple[str, ...]) -> Handler | None:
    if method == "GET" and _is_public_pdf(segments):
        return _get_public_pdf
    if segments[0] == "dict-key" and len(segments) > 1:
        # Read: the SDKs put a CNPJ into the path as it is, with its slash.
        segments = ("dict-key", "/".join(segments[1:]))
    # `log` and `attempt` are literals and win over {id}, wherever they stand; so do the names of files.
    pattern = tuple(
        part if place == 0 or part in _LITERALS[: 2 if place == 1 else 5] else "{id}"
        for place, part in enumerate(segments)
    )
    return ROUTES.get((method, "/".join(pattern)))


# --- invoice ----------------------------------------------------------------------------------------------


def _post_invoices(bank: Bank, credentials: Credentials, call: Call) -> Answer:
    rows = bank.invoices.create(call.elements("invoices"), call.now, call.client_now)
    return {"message": "Invoice successfully created", "invoices": rows}


def _get_invoices(bank: Bank, credentials: Credentials, call: Call) -> Answer:
    chosen = within(call, tags="tags", transactionIds="transactionIds")
    keep = status_filter(call, invoices.STATUSES, "invalidInvoice")
    ids = filters.words(call.query, "ids")
    return page_of(call, bank.invoices.rows, "invoices", within=chosen, keep=keep, ids=ids)


def _get_invoice(bank: Bank, credentials: Credentials, call: Call) -> Answer:
    return {"invoice": bank.invoices.get(call.id)}


def _patch_invoice(bank: Bank, credentials: Credentials, call: Call) -> Answer:
    row = bank.invoices.patch(call.id, call.object(), call.now, call.client_now)
    return {"message": "Invoice successfully updated", "invoice": row}


def _get_payment(bank: Bank, credentials: Credentials, call: Call) -> Answer:
    return {"payment": bank.invoices.payment(call.id)}


def _get_invoice_pdf(bank: Bank, credentials: Credentials, call: Call) -> Document:
    return invoice_paper(bank.invoices.get(call.id))


def _get_public_pdf(bank: Bank, credentials: Credentials, call: Call) -> Document:
    row = bank.invoices.by_uuid(call.segments[1].removesuffix(".pdf"))
    return invoice_paper(row)


def _get_qr_code(bank: Bank, credentials: Credentials, call: Call) -> Document:
    row = bank.invoices.get(call.id)
    most = documents.MOST_BOX_PIXELS
    # Documented: 1 to 50. Guess: the code.
    pixels = filters.whole(call.query, "size", documents.BOX_PIXELS, most, "invalidSize")
    return documents.qr_code(row["brcode"], pixels)


def _get_invoice_log_pdf(bank: Bank, credentials: Credentials, call: Call) -> Document:
    log = log_of(bank.invoices.logs, call, "invalidInvoiceLog")["log"]
    return reversal_paper(log, "invoice", "invalidInvoiceLog")


def _get_invoice_logs(bank: Bank, credentials: Credentials, call: Call) -> Answer:
    table = bank.invoices.logs
    return logs_of(call, table, invoices.LOG_TYPES, "invalidInvoiceLog", "invoiceId", "invoiceIds")


def _get_invoice_log(bank: Bank, credentials: Credentials, call: Call) -> Answer:
    return log_of(bank.invoices.logs, call, "invalidInvoiceLog")


# --- transfer ---------------------------------------------------------------------------------------------


def _post_transfers(bank: Bank, credentials: Credentials, call: Call) -> Answer:
    rows = bank.transfers.create(call.elements("transfers"), call.now, call.client_now)
    return {"message": "Transfer(s) successfully created", "transfers": rows}


def _get_transfers(bank: Bank, credentials: Credentials, call: Call) -> Answer:
    chosen = within(call, tags="tags", transactionIds="transactionIds")
    wanted = filters.words(call.query, "status", transfers.STATUSES, "invalidTransfer")
    tax_id = call.query.get("taxId") and checks.tax_id(call.query["taxId"])
    sort = (filters.words(call.query, "sort", transfers.SORTS, "invalidSort") or ["-created"])[0]

    def keep(row: Row) -> bool:
        return (wanted is None or row["status"] in wanted) and (not tax_id or row["taxId"] == tax_id)

    ids = filters.words(call.query, "ids")
    return page_of(call, bank.transfers.rows, "transfers", within=chosen, keep=keep, ids=ids, sort=sort)


def _get_transfer(bank: Bank, credentials: Credentials, call: Call) -> Answer:
    return {"transfer": bank.transfers.get(call.id)}


def _get_transfer_pdf(bank: Bank, credentials: Credentials, call: Call) -> Document:
    row = bank.transfers.get(call.id)
    # Read in the official tests: only of these; the code is theirs.
    if row["status"] not in ("processing", "success"):
        raise Refusal.of("invalidTransfer", f"Transfer {row['id']} with status {row['status']} has no PDF")
    return transfer_paper(row)


def _delete_transfer(bank: Bank, credentials: Credentials, call: Call) -> Answer:
    return {"message": "Transfer successfully canceled", "transfer": bank.transfers.cancel(call.id, call.now)}


def _get_transfer_logs(bank: Bank, credentials: Credentials, call: Call) -> Answer:
    table = bank.transfers.logs
    return logs_of(call, table, transfers.LOG_TYPES, "invalidTransferLog", "transferId", "transferIds")


def _get_transfer_log(bank: Bank, credentials: Credentials, call: Call) -> Answer:
    return log_of(bank.transfers.logs, call, "invalidTransferLog")


# --- webhook, event, attempt ------------------------------------------------------------------------------


def _post_webhook(bank: Bank, credentials: Credentials, call: Call) -> Answer:
    row = bank.events.register(call.json(), call.now)
    return {"message": "Webhook successfully created", "webhook": row}


def _get_webhooks(bank: Bank, credentials: Credentials, call: Call) -> Answer:
    return page_of(call, bank.events.webhooks, "webhooks")


def _get_webhook(bank: Bank, credentials: Credentials, call: Call) -> Answer:
    return {"webhook": bank.events.webhook(call.id)}


def _delete_webhook(bank: Bank, credentials: Credentials, call: Call) -> Answer:
    return {"message": "Webhook successfully deleted", "webhook": bank.events.unregister(call.id)}


def _get_events(bank: Bank, credentials: Credentials, call: Call) -> Answer:
    is_delivered = filters.flag(call.query, "isDelivered")
    if is_delivered is False:
        return page_of(call, bank.events.rows, "events", ids=list(bank.events.undelivered))
    keep = None if is_delivered is None else lambda row: row["isDelivered"]
    return page_of(call, bank.events.rows, "events", keep=keep)


def _get_event(bank: Bank, credentials: Credentials, call: Call) -> Answer:
    return {"event": bank.events.event(call.id)}


def _patch_event(bank: Bank, credentials: Credentials, call: Call) -> Answer:
    return {"message": "Event successfully updated", "event": bank.events.patch(call.id, call.json())}


def _delete_event(bank: Bank, credentials: Credentials, call: Call) -> Answer:
    return {"message": "Event successfully deleted", "event": bank.events.delete(call.id)}


def _get_attempts(bank: Bank, credentials: Credentials, call: Call) -> Answer:
    chosen = within(call, eventId="eventIds", webhookId="webhookIds")
    return page_of(call, bank.events.attempts, "attempts", within=chosen)


def _get_attempt(bank: Bank, credentials: Credentials, call: Call) -> Answer:
    return {"attempt": bank.events.attempt(call.id)}


ROUTES: dict[tuple[str, str], Handler] = {
    ("POST", "invoice"): _post_invoices,
    ("GET", "invoice"): _get_invoices,
    ("GET", "invoice/{id}"): _get_invoice,
    ("PATCH", "invoice/{id}"): _patch_invoice,
    ("GET", "invoice/{id}/payment"): _get_payment,
    ("GET", "invoice/{id}/qrcode"): _get_qr_code,
    ("GET", "invoice/{id}/pdf"): _get_invoice_pdf,
    ("GET", "invoice/log/{id}/pdf"): _get_invoice_log_pdf,
    ("GET", "invoice/log"): _get_invoice_logs,
    ("GET", "invoice/log/{id}"): _get_invoice_log,
    ("POST", "transfer"): _post_transfers,
    ("GET", "transfer"): _get_transfers,
    ("GET", "transfer/{id}"): _get_transfer,
    ("DELETE", "transfer/{id}"): _delete_transfer,
    ("GET", "transfer/{id}/pdf"): _get_transfer_pdf,
    ("GET", "transfer/log"): _get_transfer_logs,
    ("GET", "transfer/log/{id}"): _get_transfer_log,
    ("POST", "webhook"): _post_webhook,
    ("GET", "webhook"): _get_webhooks,
    ("GET", "webhook/{id}"): _get_webhook,
    ("DELETE", "webhook/{id}"): _delete_webhook,
    ("GET", "event"): _get_events,
    ("GET", "event/{id}"): _get_event,
    ("PATCH", "event/{id}"): _patch_event,
    ("DELETE", "event/{id}"): _delete_event,
    ("GET", "event/attempt"): _get_attempts,
    ("GET", "event/attempt/{id}"): _get_attempt,
    **MORE_ROUTES,
}
