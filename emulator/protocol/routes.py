"""The calls of /v2: which call does what, and the envelopes around the answers.

A call comes in as method, path, query and bytes and goes out as a JSON-able dict, a `Document` or a `Refusal`;
sockets, signatures and faults are the business of `endpoint`. It keeps no state and decides no rule of the bank.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from emulator.behaviour import events
from emulator.behaviour.bank import Bank
from emulator.books import (
    checks,
    deposits,
    dict_keys,
    institutions,
    invoices,
    split_profiles,
    transfers,
    workspaces,
)  # fmt: skip
from emulator.books.book import Book
from emulator.books.fields import Fields, Schema, object_schema
from emulator.books.refusal import Refusal
from emulator.books.table import Row, Table
from emulator.protocol import documents, entities, filters
from emulator.protocol.documents import Document
from emulator.protocol.filters import Parameter, Parameters
from emulator.protocol.listing import Listing
from emulator.protocol.pdf_content import invoice_pdf, reversal_pdf, transfer_pdf
from emulator.protocol.request import Answer, Call

Handler = Callable[[Bank, Call], Answer | Document]


@dataclass(frozen=True)
class Operation:
    """One call of /v2: what it does, and what it may be asked and answers, for the API's description.

    `answer` are the properties of a JSON answer, `body` the schema of the request's; None for a call without.
    """

    words: str
    do: Handler
    answer: Mapping[str, Schema] = field(default_factory=dict)
    parameters: Parameters = field(default_factory=dict)
    body: Schema | None = None
    media_type: str = "application/json"


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
    operation = _operation(call.method, call.segments)
    if operation is None:
        raise NoSuchRoute(f"{call.method} /v2/{'/'.join(call.segments)}")
    given = filters.read(call.query, operation.parameters)
    found = operation.do(bank, replace(call, given=given))
    return found if isinstance(found, Document) else filters.trim(found, given.get("fields"))


_LITERALS = ("log", "attempt", "payment", "pdf", "qrcode")


def _operation(method: str, segments: tuple[str, ...]) -> Operation | None:
    if method == "GET" and _is_public_pdf(segments):
        return PUBLIC_PDF
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


def _one(entity: str, key: str, find: Callable[[Bank, Call], Row]) -> Operation:
    """A call for a single entity, under its key."""
    return Operation(
        f"One {key} by its id.",
        lambda bank, call: {key: find(bank, call)},
        {key: entities.reference(entity)},
        filters.FIELDS,
    )


def _found(table: Table, row_id: str, what: str, code: str) -> Row:
    """The row of a table, or the refusal of an unknown id."""
    row = table.get(row_id)
    if row is None:
        raise Refusal.of(code, f"No {what} has the id {row_id[:100]}")
    return row


def _written(
    what: str, entity: str, key: str, write: Callable[[Bank, Call], Any], body: Schema | None = None
) -> Operation:
    """A call that changes something: the answer says so and shows what it is now."""
    name, _, done = what.rpartition(" ")
    shown = entities.reference(entity)
    return Operation(
        f"{what}.",
        lambda bank, call: {"message": f"{name} successfully {done}", key: write(bank, call)},
        {
            "message": {"type": "string"},
            key: {"type": "array", "items": shown} if key.endswith("s") else shown,
        },
        body=body,
    )


def _list(listing: Listing, entity: str) -> Operation:
    """A call for a list of rows, newest first."""
    return _short_list(listing.plural, entity, listing, listing.parameters)


def _short_list(plural: str, entity: str, find: Handler, parameters: Parameters) -> Operation:
    answer: dict[str, Schema] = {
        plural: {"type": "array", "items": entities.reference(entity)},
        "cursor": {"type": ["string", "null"]},
    }
    return Operation(f"A list of {plural}.", find, answer, {**parameters, **filters.FIELDS})


def _batch(plural: str, fields: Fields, at_most: int = checks.MOST_ELEMENTS) -> Schema:
    """The body of a call that sends many elements."""
    elements = {"type": "array", "items": object_schema(fields), "minItems": 1, "maxItems": at_most}
    return {
        "type": "object", "properties": {plural: elements}, "required": [plural], "additionalProperties": False,
    }  # fmt: skip


def _pdf(words: str, make: Callable[[Bank, Call], Document]) -> Operation:
    return Operation(words, make, media_type="application/pdf")


def _log(book: Book, log_id: str) -> Row:
    return _found(book.logs, log_id, "log", f"invalid{book.kind.capitalize()}Log")


def _book_routes(
    kind: str,
    book: Callable[[Bank], Book],
    statuses: tuple[str, ...],
    log_types: tuple[str, ...],
    **listing: Any,
) -> dict[tuple[str, str], Operation]:
    """The four calls that read a book: its rows, one row, its logs, one log."""
    entity = kind.capitalize()
    rows = Listing(
        lambda bank: book(bank).rows,
        f"{kind}s",
        f"invalid{entity}",
        statuses,
        indexes={"tags": "tags", "transactionIds": "transactionIds"},
        **listing,
    )
    logs = Listing(
        lambda bank: book(bank).logs,
        "logs",
        f"invalid{entity}Log",
        log_types=log_types,
        indexes={f"{kind}Ids": f"{kind}Id"},
        has_ids=False,
    )
    return {
        ("GET", kind): _list(rows, entity),
        ("GET", f"{kind}/{{id}}"): _one(entity, kind, lambda bank, call: book(bank).get(call.id)),
        ("GET", f"{kind}/log"): _list(logs, f"{entity}Log"),
        ("GET", f"{kind}/log/{{id}}"): _one(
            f"{entity}Log", "log", lambda bank, call: _log(book(bank), call.id)
        ),
    }


# --- files ------------------------------------------------------------------------------------------------


def _get_public_pdf(bank: Bank, call: Call) -> Document:
    return invoice_pdf(bank.invoices.by_uuid(call.segments[1].removesuffix(".pdf")))


def _get_qr_code(bank: Bank, call: Call) -> Document:
    row = bank.invoices.get(call.id)
    return documents.qr_code(row["brcode"], call.given["size"] or documents.BOX_PIXELS)


# Documented: 1 to 50. Guess: the code.
_QR_CODE = filters.whole("size", documents.BOX_PIXELS, documents.MOST_BOX_PIXELS, "invalidSize")


def _get_transfer_pdf(bank: Bank, call: Call) -> Document:
    row = bank.transfers.get(call.id)
    # Read in the official tests: only of these; the code is theirs.
    if row["status"] not in ("processing", "success"):
        raise Refusal.of("invalidTransfer", f"Transfer {row['id']} with status {row['status']} has no PDF")
    return transfer_pdf(row)


PUBLIC_PDF = _pdf("The PDF that a payer is sent a link to; it needs no signature.", _get_public_pdf)


# --- filters of single lists ------------------------------------------------------------------------------


def _with_tax_id(bank: Bank, call: Call) -> Callable[[Row], bool] | None:
    tax_id = call.given["taxId"]
    return None if tax_id is None else lambda row: row["taxId"] == tax_id


def _delivered_or_not(bank: Bank, call: Call) -> Callable[[Row], bool] | None:
    wanted = call.given["isDelivered"]
    return None if wanted is None else lambda row: row["isDelivered"] is wanted


def _get_events(bank: Bank, call: Call) -> Answer:
    if call.given["isDelivered"] is False:
        # Only these few are looked at: the daily question must not scan all that was delivered.
        call = replace(call, given={**call.given, "ids": list(bank.events.undelivered)})
    return _EVENTS(bank, call)


_EVENTS = Listing(
    lambda bank: bank.events.rows,
    "events",
    has_ids=False,
    others={"isDelivered": filters.flag("isDelivered")},
    keep=_delivered_or_not,
)


def _of_types(bank: Bank, call: Call) -> Callable[[Row], bool] | None:
    types = call.given["type"]
    return None if types is None else lambda row: row["type"] in types


def _own_workspaces(bank: Bank, call: Call) -> Callable[[Row], bool]:
    name = call.given["username"]
    # Documented: those that the credentials have access to; a project has one.
    own = None if call.is_from_organization else bank.workspace_id
    return lambda row: (not name or row["username"] == name) and own in (None, row["id"])


# --- calls of their own -----------------------------------------------------------------------------------


def _create_workspace(bank: Bank, call: Call) -> Row:
    # Documented: only an organization can. Guess: the code.
    if not call.is_from_organization:
        raise Refusal.of("invalidCredentials", "Only an organization can create workspaces")
    return bank.workspaces.create(call.json(), call.now)


def _get_institutions(bank: Bank, call: Call) -> Answer:
    given = call.given
    found = institutions.search(given["search"] or "", given["spiCodes"], given["strCodes"])
    return {"institutions": found[: given["limit"]], "cursor": None}


ROUTES: dict[tuple[str, str], Operation] = {
    **_book_routes("invoice", lambda bank: bank.invoices, invoices.STATUSES, invoices.LOG_TYPES),
    ("POST", "invoice"): _written(
        "Invoice created",
        "Invoice",
        "invoices",
        lambda bank, call: bank.invoices.create(call.elements("invoices"), call.now, call.client_now),
        _batch("invoices", checks.INVOICE),
    ),
    ("PATCH", "invoice/{id}"): _written(
        "Invoice updated",
        "Invoice",
        "invoice",
        lambda bank, call: bank.invoices.patch(call.id, call.json(), call.now, call.client_now),
        object_schema(checks.INVOICE_CHANGES),
    ),
    ("GET", "invoice/{id}/payment"): _one(
        "Payment", "payment", lambda bank, call: bank.invoices.payment(call.id)
    ),
    ("GET", "invoice/{id}/qrcode"): Operation(
        "The QR code of an invoice.", _get_qr_code, parameters={"size": _QR_CODE}, media_type="image/png"
    ),
    ("GET", "invoice/{id}/pdf"): _pdf(
        "The PDF of an invoice.", lambda bank, call: invoice_pdf(bank.invoices.get(call.id))
    ),
    ("GET", "invoice/log/{id}/pdf"): _pdf(
        "The PDF of a reversal.", lambda bank, call: reversal_pdf(_log(bank.invoices, call.id), "invoice")
    ),
    **_book_routes(
        "transfer",
        lambda bank: bank.transfers,
        transfers.STATUSES,
        transfers.LOG_TYPES,
        sorts=transfers.SORTS,
        others={"taxId": Parameter(checks.tax_id, checks.TAX_ID.schema)},
        keep=_with_tax_id,
    ),
    ("POST", "transfer"): _written(
        "Transfer(s) created",
        "Transfer",
        "transfers",
        lambda bank, call: bank.transfers.create(call.elements("transfers"), call.now, call.client_now),
        _batch("transfers", checks.TRANSFER),
    ),
    ("DELETE", "transfer/{id}"): _written(
        "Transfer canceled",
        "Transfer",
        "transfer",
        lambda bank, call: bank.transfers.cancel(call.id, call.now),
    ),
    ("GET", "transfer/{id}/pdf"): _pdf("The receipt of a transfer.", _get_transfer_pdf),
    **_book_routes(
        "deposit", lambda bank: bank.deposits, deposits.STATUSES, deposits.LOG_TYPES, sorts=deposits.SORTS
    ),
    ("PATCH", "deposit/{id}"): _written(
        "Deposit updated",
        "Deposit",
        "deposit",
        lambda bank, call: bank.deposits.patch(call.id, call.json(), call.now),
        object_schema(deposits.CHANGES),
    ),
    ("GET", "deposit/log/{id}/pdf"): _pdf(
        "The PDF of a reversal.", lambda bank, call: reversal_pdf(_log(bank.deposits, call.id), "deposit")
    ),
    ("POST", "webhook"): _written(
        "Webhook created",
        "Webhook",
        "webhook",
        lambda bank, call: bank.events.register(call.json(), call.now),
        object_schema(checks.WEBHOOK),
    ),
    ("GET", "webhook"): _list(
        Listing(lambda bank: bank.events.webhooks, "webhooks", has_ids=False), "Webhook"
    ),
    ("GET", "webhook/{id}"): _one("Webhook", "webhook", lambda bank, call: bank.events.webhook(call.id)),
    ("DELETE", "webhook/{id}"): _written(
        "Webhook deleted", "Webhook", "webhook", lambda bank, call: bank.events.unregister(call.id)
    ),
    ("GET", "event"): _short_list("events", "Event", _get_events, _EVENTS.parameters),
    ("GET", "event/{id}"): _one("Event", "event", lambda bank, call: bank.events.event(call.id)),
    ("PATCH", "event/{id}"): _written(
        "Event updated",
        "Event",
        "event",
        lambda bank, call: bank.events.patch(call.id, call.json()),
        object_schema(events.CHANGES),
    ),
    ("DELETE", "event/{id}"): _written(
        "Event deleted", "Event", "event", lambda bank, call: bank.events.delete(call.id)
    ),
    ("GET", "event/attempt"): _list(
        Listing(
            lambda bank: bank.events.attempts,
            "attempts",
            indexes={"eventIds": "eventId", "webhookIds": "webhookId"},
            has_ids=False,
        ),
        "Attempt",
    ),
    ("GET", "event/attempt/{id}"): _one(
        "Attempt", "attempt", lambda bank, call: bank.events.attempt(call.id)
    ),
    ("GET", "balance"): _short_list(
        "balances", "Balance", lambda bank, call: {"balances": [bank.accounts.balance], "cursor": None}, {}
    ),
    ("GET", "transaction"): _list(
        Listing(
            lambda bank: bank.accounts.transactions,
            "transactions",
            indexes={"tags": "tags", "externalIds": "externalId"},
        ),
        "Transaction",
    ),
    # Guess by analogy: the code.
    ("GET", "transaction/{id}"): _one(
        "Transaction",
        "transaction",
        lambda bank, call: _found(bank.accounts.transactions, call.id, "transaction", "invalidTransaction"),
    ),
    ("GET", "dict-key"): _list(
        Listing(
            lambda bank: bank.dict_keys.rows,
            "keys",
            "invalidDictKey",
            dict_keys.STATUSES,
            others={"type": filters.words("type", dict_keys.TYPES, "invalidDictKey")},
            keep=_of_types,
        ),
        "DictKey",
    ),
    ("GET", "dict-key/{id}"): _one(
        "DictKey", "key", lambda bank, call: bank.dict_keys.get("/".join(call.segments[1:]))
    ),
    ("POST", "workspace"): _written(
        "Workspace created", "Workspace", "workspace", _create_workspace, object_schema(workspaces.WORKSPACE)
    ),
    ("GET", "workspace"): _list(
        Listing(
            lambda bank: bank.workspaces.rows,
            "workspaces",
            others={"username": filters.text("Only the one of this name.")},
            keep=_own_workspaces,
        ),
        "Workspace",
    ),
    ("GET", "workspace/{id}"): _one(
        "Workspace", "workspace", lambda bank, call: bank.workspaces.get(call.id)
    ),
    ("PATCH", "workspace/{id}"): _written(
        "Workspace updated",
        "Workspace",
        "workspace",
        lambda bank, call: bank.workspaces.patch(call.id, call.json(), call.now),
        object_schema(workspaces.CHANGES),
    ),
    ("PUT", "split-profile"): _written(
        "Split profile updated",
        "SplitProfile",
        "profiles",
        lambda bank, call: bank.split_profiles.put(call.elements("profiles"), call.now),
        _batch("profiles", split_profiles.PROFILE, 1),
    ),
    ("GET", "split-profile"): _list(
        Listing(
            lambda bank: bank.split_profiles.rows,
            "profiles",
            "invalidSplitProfile",
            split_profiles.STATUSES,
            indexes={"tags": "tags"},
        ),
        "SplitProfile",
    ),
    ("GET", "split-profile/{id}"): _one(
        "SplitProfile", "profile", lambda bank, call: bank.split_profiles.get(call.id)
    ),
    ("GET", "institution"): _short_list(
        "institutions",
        "Institution",
        _get_institutions,
        {
            "limit": filters.LIMIT,
            "search": filters.text("Part of a name."),
            "spiCodes": filters.words("spiCodes"),
            "strCodes": filters.words("strCodes"),
        },
    ),
    ("GET", "public-key"): _short_list(
        "publicKeys",
        "PublicKey",
        lambda bank, call: {
            "publicKeys": call.credentials.public_keys()[: call.given["limit"]],
            "cursor": None,
        },
        {"limit": filters.LIMIT},
    ),
}
