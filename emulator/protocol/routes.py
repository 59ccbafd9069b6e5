"""The calls of /v2: which call does what, and the envelopes around the answers.

A call comes in as its id, query and bytes and goes out as a JSON-able dict, a `Document` or a `Refusal`; sockets,
signatures and faults are the business of `endpoint`. It keeps no state and decides no rule of the bank.
"""

from __future__ import annotations

import re
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
from emulator.protocol.documents import Document, invoice_pdf, reversal_pdf, transfer_pdf
from emulator.protocol.listing import Listing
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
    parameters: Fields = field(default_factory=dict)
    body: Schema | None = None
    media_type: str = "application/json"
    # Whether it is answered without a signature.
    is_public: bool = False


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


def find(method: str, segments: tuple[str, ...]) -> tuple[Operation, str] | None:
    """The operation and the id in the path; None when /v2 has no such call."""
    path = "/".join(segments)
    for asked, pattern, operation in _PATTERNS:
        if asked == method and (found := pattern.fullmatch(path)) is not None:
            return operation, "".join(found.groups())
    return None


# --- what most resources share ----------------------------------------------------------------------------


def _one(entity: str, key: str, get: Callable[[Bank, Call], Row]) -> Operation:
    """A call for a single entity, under its key."""
    return Operation(
        f"One {key} by its id.",
        lambda bank, call: {key: get(bank, call)},
        {key: entities.reference(entity)},
        filters.FIELDS,
    )


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


def _list(plural: str, entity: str, get: Handler, parameters: Fields) -> Operation:
    """A call for a list of rows, newest first."""
    answer: dict[str, Schema] = {
        plural: {"type": "array", "items": entities.reference(entity)},
        "cursor": {"type": ["string", "null"]},
    }
    return Operation(f"A list of {plural}.", get, answer, {**parameters, **filters.FIELDS})


def _batch(plural: str, fields: Fields, at_most: int = checks.MOST_ELEMENTS) -> Schema:
    """The body of a call that sends many elements."""
    elements = {"type": "array", "items": object_schema(fields), "minItems": 1, "maxItems": at_most}
    return {
        "type": "object", "properties": {plural: elements}, "required": [plural], "additionalProperties": False,
    }  # fmt: skip


def _pdf(words: str, make: Callable[[Bank, Call], Document], *, is_public: bool = False) -> Operation:
    return Operation(words, make, media_type="application/pdf", is_public=is_public)


Routes = dict[tuple[str, str], Operation]


def _table_routes(
    path: str, entity: str, plural: str, table: Callable[[Bank], Table], **listing: Any
) -> Routes:
    """The two calls that read a table: its rows, and one row."""
    rows = Listing(path, table, plural, **listing)
    return {
        ("GET", path): _list(plural, entity, rows, rows.parameters),
        ("GET", f"{path}/{{id}}"): _one(
            entity, plural.removesuffix("s"), lambda bank, call: table(bank).find(call.id)
        ),
    }


def _book_routes(
    kind: str,
    book: Callable[[Bank], Book],
    statuses: tuple[str, ...],
    log_types: tuple[str, ...],
    **listing: Any,
) -> Routes:
    """The four calls that read a book: its rows, one row, its logs, one log."""
    return {
        **_table_routes(
            kind,
            kind.capitalize(),
            f"{kind}s",
            lambda bank: book(bank).rows,
            statuses=statuses,
            indexes={"tags": "tags", "transactionIds": "transactionIds"},
            **listing,
        ),
        **_table_routes(
            f"{kind}/log",
            f"{kind.capitalize()}Log",
            "logs",
            lambda bank: book(bank).logs,
            log_types=log_types,
            indexes={f"{kind}Ids": f"{kind}Id"},
            has_ids=False,
        ),
    }


# --- calls of their own -----------------------------------------------------------------------------------


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


def _create_workspace(bank: Bank, call: Call) -> Row:
    # Documented: only an organization can. Guess: the code.
    if not call.is_from_organization:
        raise Refusal.of("invalidCredentials", "Only an organization can create workspaces")
    return bank.workspaces.create(call.json(), call.now)


def _get_institutions(bank: Bank, call: Call) -> Answer:
    given = call.given
    found = institutions.search(given["search"] or "", given["spiCodes"], given["strCodes"])
    return {"institutions": found[: given["limit"]], "cursor": None}


ROUTES: Routes = {
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
    # Documented: the link in an invoice's `pdf` is public.
    ("GET", "invoice/{uuid}.pdf"): _pdf(
        "The PDF that a payer is sent a link to; it needs no signature.",
        lambda bank, call: invoice_pdf(bank.invoices.by_uuid(call.id)),
        is_public=True,
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
        "The PDF of a reversal.", lambda bank, call: reversal_pdf(bank.invoices.logs.find(call.id), "invoice")
    ),
    **_book_routes(
        "transfer",
        lambda bank: bank.transfers,
        transfers.STATUSES,
        transfers.LOG_TYPES,
        sorts=transfers.SORTS,
        others={"taxId": checks.TAX_ID},
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
        "The PDF of a reversal.", lambda bank, call: reversal_pdf(bank.deposits.logs.find(call.id), "deposit")
    ),
    ("POST", "webhook"): _written(
        "Webhook created",
        "Webhook",
        "webhook",
        lambda bank, call: bank.events.register(call.json(), call.now),
        object_schema(checks.WEBHOOK),
    ),
    **_table_routes("webhook", "Webhook", "webhooks", lambda bank: bank.events.webhooks, has_ids=False),
    ("DELETE", "webhook/{id}"): _written(
        "Webhook deleted", "Webhook", "webhook", lambda bank, call: bank.events.webhooks.remove(call.id)
    ),
    **_table_routes(
        "event",
        "Event",
        "events",
        lambda bank: bank.events.rows,
        has_ids=False,
        others={"isDelivered": filters.flag("isDelivered")},
        # The daily question must not scan all that was delivered.
        only=lambda bank, call: bank.events.undelivered if call.given["isDelivered"] is False else None,
    ),
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
    **_table_routes(
        "event/attempt",
        "Attempt",
        "attempts",
        lambda bank: bank.events.attempts,
        indexes={"eventIds": "eventId", "webhookIds": "webhookId"},
        has_ids=False,
    ),
    ("GET", "balance"): _list(
        "balances", "Balance", lambda bank, call: {"balances": [bank.accounts.balance], "cursor": None}, {}
    ),
    **_table_routes(
        "transaction",
        "Transaction",
        "transactions",
        lambda bank: bank.accounts.transactions,
        indexes={"tags": "tags", "externalIds": "externalId"},
    ),
    **_table_routes(
        "dict-key",
        "DictKey",
        "keys",
        lambda bank: bank.dict_keys.rows,
        statuses=dict_keys.STATUSES,
        others={"type": filters.words("type", dict_keys.TYPES, "invalidDictKey")},
    ),
    ("GET", "dict-key/{id}"): _one("DictKey", "key", lambda bank, call: bank.dict_keys.get(call.id)),
    ("POST", "workspace"): _written(
        "Workspace created", "Workspace", "workspace", _create_workspace, object_schema(workspaces.WORKSPACE)
    ),
    **_table_routes(
        "workspace",
        "Workspace",
        "workspaces",
        lambda bank: bank.workspaces.rows,
        others={"username": filters.TEXT.described("Only the one of this name.")},
        # Documented: those that the credentials have access to; a project has one.
        only=lambda bank, call: None if call.is_from_organization else [bank.workspace_id],
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
    **_table_routes(
        "split-profile",
        "SplitProfile",
        "profiles",
        lambda bank: bank.split_profiles.rows,
        statuses=split_profiles.STATUSES,
        indexes={"tags": "tags"},
    ),
    ("GET", "institution"): _list(
        "institutions",
        "Institution",
        _get_institutions,
        {
            "limit": filters.LIMIT,
            "search": filters.TEXT.described("Part of a name."),
            "spiCodes": filters.words("spiCodes"),
            "strCodes": filters.words("strCodes"),
        },
    ),
    # Differs: at the bank this call is signed.
    ("GET", "public-key"): replace(
        _list(
            "publicKeys",
            "PublicKey",
            lambda bank, call: {
                "publicKeys": call.credentials.public_keys()[: call.given["limit"]],
                "cursor": None,
            },
            {"limit": filters.LIMIT},
        ),
        is_public=True,
    ),
}


def _pattern(path: str) -> re.Pattern[str]:
    # Read: the SDKs put a CNPJ into the path of a Pix key as it is, with its slash.
    row_id = "(.+)" if path.startswith("dict-key/") else "([^/]+)"
    return re.compile(re.sub(r"\{\w+\}", row_id, path.replace(".", r"\.")), re.DOTALL)


# In a path, a literal wins over an id in its place.
_PATTERNS = [
    (method, _pattern(path), ROUTES[method, path])
    for method, path in sorted(ROUTES, key=lambda route: [part.endswith("}") for part in route[1].split("/")])
]
