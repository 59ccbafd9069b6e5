"""The calls of /v2: which call does what, and the envelopes around the answers.

A call comes in as method, path, query and bytes and goes out as a JSON-able dict, a `Document` or a `Refusal`;
sockets, signatures and faults are the business of `endpoint`. It keeps no state and decides no rule of the bank.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from emulator.behaviour.bank import Bank
from emulator.books import checks, deposits, dict_keys, institutions, invoices, split_profiles, transfers
from emulator.books.book import Book
from emulator.books.refusal import Refusal
from emulator.books.table import Row, Table
from emulator.protocol import documents, filters
from emulator.protocol.documents import Document
from emulator.protocol.listing import Listing
from emulator.protocol.pdf_content import invoice_pdf, reversal_pdf, transfer_pdf
from emulator.protocol.request import Answer, Call

Handler = Callable[[Bank, Call], Answer | Document]


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


def answer(bank: Bank, call: Call) -> Answer | Document:
    """Do what the call asks; raises `Refusal` for a 400 and `NoSuchRoute`."""
    handler = _handler(call.method, call.segments)
    if handler is None:
        raise NoSuchRoute(f"{call.method} /v2/{'/'.join(call.segments)}")
    found = handler(bank, call)
    if call.method != "GET" or isinstance(found, Document) or "fields" not in call.query:
        return found
    # Documented: `fields` trims the keys of single entities as well.
    return {
        key: filters.trim([value], call.query)[0] if isinstance(value, dict) else value
        for key, value in found.items()
    }


_LITERALS = ("log", "attempt", "payment", "pdf", "qrcode")


def _handler(method: str, segments: tuple[str, ...]) -> Handler | None:
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


def _is_public_pdf(segments: tuple[str, ...]) -> bool:
    return len(segments) == 2 and segments[0] == "invoice" and segments[1].endswith(".pdf")


# --- what most resources share ----------------------------------------------------------------------------


def _one(key: str, find: Callable[[Bank, str], Row]) -> Handler:
    """A call for a single entity, under its key."""
    return lambda bank, call: {key: find(bank, call.id)}


def _found(table: Table, row_id: str, what: str, code: str) -> Row:
    """The row of a table, or the refusal of an unknown id."""
    row = table.get(row_id)
    if row is None:
        raise Refusal.of(code, f"No {what} has the id {row_id[:100]}")
    return row


def _written(what: str, key: str, write: Callable[[Bank, Call], Any]) -> Handler:
    """A call that changes something: the answer says so and shows what it is now."""
    entity, _, done = what.rpartition(" ")
    return lambda bank, call: {"message": f"{entity} successfully {done}", key: write(bank, call)}


def _log(book: Book, log_id: str) -> Row:
    return _found(book.logs, log_id, "log", f"invalid{book.kind.capitalize()}Log")


def _book_routes(
    kind: str,
    book: Callable[[Bank], Book],
    statuses: tuple[str, ...],
    log_types: tuple[str, ...],
    **listing: Any,
) -> dict[tuple[str, str], Handler]:
    """The four calls that read a book: its rows, one row, its logs, one log."""
    code = f"invalid{kind.capitalize()}"
    return {
        ("GET", kind): Listing(
            lambda bank: book(bank).rows,
            f"{kind}s",
            code,
            statuses,
            indexes={"tags": "tags", "transactionIds": "transactionIds"},
            **listing,
        ),
        ("GET", f"{kind}/{{id}}"): _one(kind, lambda bank, row_id: book(bank).get(row_id)),
        ("GET", f"{kind}/log"): Listing(
            lambda bank: book(bank).logs,
            "logs",
            f"{code}Log",
            log_types=log_types,
            indexes={f"{kind}Ids": f"{kind}Id"},
            has_ids=False,
        ),
        ("GET", f"{kind}/log/{{id}}"): _one("log", lambda bank, log_id: _log(book(bank), log_id)),
    }


# --- files ------------------------------------------------------------------------------------------------


def _get_public_pdf(bank: Bank, call: Call) -> Document:
    return invoice_pdf(bank.invoices.by_uuid(call.segments[1].removesuffix(".pdf")))


def _get_qr_code(bank: Bank, call: Call) -> Document:
    row = bank.invoices.get(call.id)
    most = documents.MOST_BOX_PIXELS
    # Documented: 1 to 50. Guess: the code.
    pixels = filters.whole(call.query, "size", documents.BOX_PIXELS, most, "invalidSize")
    return documents.qr_code(row["brcode"], pixels)


def _get_transfer_pdf(bank: Bank, call: Call) -> Document:
    row = bank.transfers.get(call.id)
    # Read in the official tests: only of these; the code is theirs.
    if row["status"] not in ("processing", "success"):
        raise Refusal.of("invalidTransfer", f"Transfer {row['id']} with status {row['status']} has no PDF")
    return transfer_pdf(row)


# --- filters of single lists ------------------------------------------------------------------------------


def _with_tax_id(bank: Bank, call: Call) -> Callable[[Row], bool] | None:
    tax_id = call.query.get("taxId") and checks.tax_id(call.query["taxId"])
    return (lambda row: row["taxId"] == tax_id) if tax_id else None


def _delivered_or_not(bank: Bank, call: Call) -> Callable[[Row], bool] | None:
    wanted = filters.flag(call.query, "isDelivered")
    return None if wanted is None else lambda row: row["isDelivered"] is wanted


def _get_events(bank: Bank, call: Call) -> Answer:
    if filters.flag(call.query, "isDelivered") is False:
        # Only these few are looked at: the daily question must not scan all that was delivered.
        page = bank.events.rows.page(**filters.page_arguments(call.query), ids=list(bank.events.undelivered))
        return {"events": filters.trim(page[0], call.query), "cursor": page[1]}
    return _EVENTS(bank, call)


_EVENTS = Listing(lambda bank: bank.events.rows, "events", has_ids=False, keep=_delivered_or_not)


def _of_types(bank: Bank, call: Call) -> Callable[[Row], bool] | None:
    types = filters.words(call.query, "type", dict_keys.TYPES, "invalidDictKey")
    return None if types is None else lambda row: row["type"] in types


def _own_workspaces(bank: Bank, call: Call) -> Callable[[Row], bool]:
    name = call.query.get("username")
    # Documented: those that the credentials have access to; a project has one.
    own = None if call.is_from_organization else bank.workspace_id
    return lambda row: (not name or row["username"] == name) and own in (None, row["id"])


# --- calls of their own -----------------------------------------------------------------------------------


def _create_workspace(bank: Bank, call: Call) -> Row:
    # Documented: only an organization can. Guess: the code.
    if not call.is_from_organization:
        raise Refusal.of("invalidCredentials", "Only an organization can create workspaces")
    return bank.workspaces.create(call.json(), call.now)


def _get_balance(bank: Bank, call: Call) -> Answer:
    return {"balances": filters.trim([bank.accounts.balance], call.query), "cursor": None}


def _get_institutions(bank: Bank, call: Call) -> Answer:
    found = institutions.search(
        call.query.get("search") or "",
        filters.words(call.query, "spiCodes"),
        filters.words(call.query, "strCodes"),
    )
    return {"institutions": filters.trim(found[: filters.limit(call.query)], call.query), "cursor": None}


def _get_public_keys(bank: Bank, call: Call) -> Answer:
    return {"publicKeys": call.credentials.public_keys()[: filters.limit(call.query)], "cursor": None}


ROUTES: dict[tuple[str, str], Handler] = {
    **_book_routes("invoice", lambda bank: bank.invoices, invoices.STATUSES, invoices.LOG_TYPES),
    ("POST", "invoice"): _written(
        "Invoice created",
        "invoices",
        lambda bank, call: bank.invoices.create(call.elements("invoices"), call.now, call.client_now),
    ),
    ("PATCH", "invoice/{id}"): _written(
        "Invoice updated",
        "invoice",
        lambda bank, call: bank.invoices.patch(call.id, call.json(), call.now, call.client_now),
    ),
    ("GET", "invoice/{id}/payment"): _one("payment", lambda bank, row_id: bank.invoices.payment(row_id)),
    ("GET", "invoice/{id}/qrcode"): _get_qr_code,
    ("GET", "invoice/{id}/pdf"): lambda bank, call: invoice_pdf(bank.invoices.get(call.id)),
    ("GET", "invoice/log/{id}/pdf"): lambda bank, call: reversal_pdf(_log(bank.invoices, call.id), "invoice"),
    **_book_routes(
        "transfer",
        lambda bank: bank.transfers,
        transfers.STATUSES,
        transfers.LOG_TYPES,
        sorts=transfers.SORTS,
        keep=_with_tax_id,
    ),
    ("POST", "transfer"): _written(
        "Transfer(s) created",
        "transfers",
        lambda bank, call: bank.transfers.create(call.elements("transfers"), call.now, call.client_now),
    ),
    ("DELETE", "transfer/{id}"): _written(
        "Transfer canceled", "transfer", lambda bank, call: bank.transfers.cancel(call.id, call.now)
    ),
    ("GET", "transfer/{id}/pdf"): _get_transfer_pdf,
    **_book_routes(
        "deposit", lambda bank: bank.deposits, deposits.STATUSES, deposits.LOG_TYPES, sorts=deposits.SORTS
    ),
    ("PATCH", "deposit/{id}"): _written(
        "Deposit updated", "deposit", lambda bank, call: bank.deposits.patch(call.id, call.json(), call.now)
    ),
    ("GET", "deposit/log/{id}/pdf"): lambda bank, call: reversal_pdf(_log(bank.deposits, call.id), "deposit"),
    ("POST", "webhook"): _written(
        "Webhook created", "webhook", lambda bank, call: bank.events.register(call.json(), call.now)
    ),
    ("GET", "webhook"): Listing(lambda bank: bank.events.webhooks, "webhooks", has_ids=False),
    ("GET", "webhook/{id}"): _one("webhook", lambda bank, row_id: bank.events.webhook(row_id)),
    ("DELETE", "webhook/{id}"): _written(
        "Webhook deleted", "webhook", lambda bank, call: bank.events.unregister(call.id)
    ),
    ("GET", "event"): _get_events,
    ("GET", "event/{id}"): _one("event", lambda bank, row_id: bank.events.event(row_id)),
    ("PATCH", "event/{id}"): _written(
        "Event updated", "event", lambda bank, call: bank.events.patch(call.id, call.json())
    ),
    ("DELETE", "event/{id}"): _written(
        "Event deleted", "event", lambda bank, call: bank.events.delete(call.id)
    ),
    ("GET", "event/attempt"): Listing(
        lambda bank: bank.events.attempts,
        "attempts",
        indexes={"eventIds": "eventId", "webhookIds": "webhookId"},
        has_ids=False,
    ),
    ("GET", "event/attempt/{id}"): _one("attempt", lambda bank, row_id: bank.events.attempt(row_id)),
    ("GET", "balance"): _get_balance,
    ("GET", "transaction"): Listing(
        lambda bank: bank.accounts.transactions,
        "transactions",
        indexes={"tags": "tags", "externalIds": "externalId"},
    ),
    # Guess by analogy: the code.
    ("GET", "transaction/{id}"): _one(
        "transaction",
        lambda bank, row_id: _found(bank.accounts.transactions, row_id, "transaction", "invalidTransaction"),
    ),
    ("GET", "dict-key"): Listing(
        lambda bank: bank.dict_keys.rows, "keys", "invalidDictKey", dict_keys.STATUSES, keep=_of_types
    ),
    ("GET", "dict-key/{id}"): lambda bank, call: {"key": bank.dict_keys.get("/".join(call.segments[1:]))},
    ("POST", "workspace"): _written("Workspace created", "workspace", _create_workspace),
    ("GET", "workspace"): Listing(lambda bank: bank.workspaces.rows, "workspaces", keep=_own_workspaces),
    ("GET", "workspace/{id}"): _one("workspace", lambda bank, row_id: bank.workspaces.get(row_id)),
    ("PATCH", "workspace/{id}"): _written(
        "Workspace updated",
        "workspace",
        lambda bank, call: bank.workspaces.patch(call.id, call.json(), call.now),
    ),
    ("PUT", "split-profile"): _written(
        "Split profile updated",
        "profiles",
        lambda bank, call: bank.split_profiles.put(call.elements("profiles"), call.now),
    ),
    ("GET", "split-profile"): Listing(
        lambda bank: bank.split_profiles.rows,
        "profiles",
        "invalidSplitProfile",
        split_profiles.STATUSES,
        indexes={"tags": "tags"},
    ),
    ("GET", "split-profile/{id}"): _one("profile", lambda bank, row_id: bank.split_profiles.get(row_id)),
    ("GET", "institution"): _get_institutions,
    ("GET", "public-key"): _get_public_keys,
}
