"""The protocol face: which call of /v2 does what, and the envelopes around the answers.

A call comes in as method, path, query and bytes and goes out as a JSON-able dict or a `Refusal`; sockets,
signatures and faults are the business of `door`. It keeps no state and decides no rule of the bank.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from emulator import checks, filters, invoices, transfers
from emulator.bank import Bank
from emulator.credentials import Credentials
from emulator.refusal import Refusal
from emulator.table import Row, Table

Answer = dict[str, Any]


@dataclass(frozen=True)
class Call:
    """One request to /v2, already authenticated. `client_now` is the caller's idea of the time."""

    method: str
    segments: tuple[str, ...]
    query: filters.Query
    body: bytes
    now: datetime
    client_now: datetime

    @property
    def id(self) -> str:
        """The last segment that is an id: the second of `invoice/1/payment`, the last of `invoice/log/1`."""
        return self.segments[2] if self.segments[1] in ("log", "attempt") else self.segments[1]

    def json(self) -> Any:
        """The body as JSON."""
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            raise Refusal.of("invalidJson", "The body is not valid JSON") from None

    def object(self) -> dict[str, Any]:
        """The body as a JSON object."""
        body = self.json()
        if not isinstance(body, dict):
            raise Refusal.of("invalidJson", "The body must be a JSON object")
        return body

    def elements(self, plural: str) -> Any:
        """The list under the resource's plural in the body."""
        body = self.object()
        checks.keys(body, "the body", {plural}, (plural,))
        return body[plural]


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


def answer(bank: Bank, credentials: Credentials, call: Call) -> Answer:
    """Do what the call asks; raises `Refusal` for a 400 and `NoSuchRoute`."""
    handler = _route(call.method, call.segments)
    if handler is None:
        raise NoSuchRoute(f"{call.method} /v2/{'/'.join(call.segments)}")
    return handler(bank, credentials, call)


Handler = Callable[[Bank, Credentials, Call], Answer]


def _route(method: str, segments: tuple[str, ...]) -> Handler | None:
    # `log` and `attempt` are literals and win over {id}.
    pattern = tuple(
        part if place == 0 or part in ("log", "attempt", "payment") else "{id}"
        for place, part in enumerate(segments)
    )
    return _ROUTES.get((method, "/".join(pattern)))


# --- lists ------------------------------------------------------------------------------------------------


def _list(call: Call, table: Table, plural: str, **arguments: Any) -> Answer:
    rows, cursor = table.page(**filters.page_arguments(call.query), **arguments)
    return {plural: filters.trim(rows, call.query), "cursor": cursor}


def _within(call: Call, **names: str) -> dict[str, list[str]]:
    """Index values from query names: `_within(call, tags="tags")`."""
    found = {index: filters.words(call.query, name) for index, name in names.items()}
    return {index: values for index, values in found.items() if values is not None}


def _status(call: Call, known: tuple[str, ...], code: str) -> Callable[[Row], bool] | None:
    wanted = filters.words(call.query, "status", known, code)
    return None if wanted is None else lambda row: row["status"] in wanted


def _logs(call: Call, table: Table, known: tuple[str, ...], code: str, index: str, name: str) -> Answer:
    within = _within(call, **{index: name})
    types = filters.words(call.query, "types", known, code)
    if types is not None:
        within["type"] = types
    return _list(call, table, "logs", within=within)


def _log(table: Table, call: Call, code: str) -> Answer:
    row = table.get(call.id)
    if row is None:
        raise Refusal.of(code, f"No log has the id {call.id}")
    return {"log": row}


# --- invoice ----------------------------------------------------------------------------------------------


def _post_invoices(bank: Bank, credentials: Credentials, call: Call) -> Answer:
    rows = bank.invoices.create(call.elements("invoices"), call.now, call.client_now)
    return {"message": "Invoice successfully created", "invoices": rows}


def _get_invoices(bank: Bank, credentials: Credentials, call: Call) -> Answer:
    within = _lowered_tags(_within(call, tags="tags", transactionIds="transactionIds"))
    keep = _status(call, invoices.STATUSES, "invalidInvoice")
    ids = filters.words(call.query, "ids")
    return _list(call, bank.invoices.rows, "invoices", within=within, keep=keep, ids=ids)


def _lowered_tags(within: dict[str, list[str]]) -> dict[str, list[str]]:
    # Guess: a row has to carry any of the tags, not all; tags are lower-cased, so the question is as well.
    return {
        index: [v.lower() for v in values] if index == "tags" else values for index, values in within.items()
    }


def _get_invoice(bank: Bank, credentials: Credentials, call: Call) -> Answer:
    return {"invoice": bank.invoices.get(call.id)}


def _patch_invoice(bank: Bank, credentials: Credentials, call: Call) -> Answer:
    row = bank.invoices.patch(call.id, call.object(), call.now, call.client_now)
    return {"message": "Invoice successfully updated", "invoice": row}


def _get_payment(bank: Bank, credentials: Credentials, call: Call) -> Answer:
    return {"payment": bank.invoices.payment(call.id)}


def _get_invoice_logs(bank: Bank, credentials: Credentials, call: Call) -> Answer:
    table = bank.invoices.logs
    return _logs(call, table, invoices.LOG_TYPES, "invalidInvoiceLog", "invoiceId", "invoiceIds")


def _get_invoice_log(bank: Bank, credentials: Credentials, call: Call) -> Answer:
    return _log(bank.invoices.logs, call, "invalidInvoiceLog")


# --- transfer ---------------------------------------------------------------------------------------------


def _post_transfers(bank: Bank, credentials: Credentials, call: Call) -> Answer:
    rows = bank.transfers.create(call.elements("transfers"), call.now, call.client_now)
    return {"message": "Transfer(s) successfully created", "transfers": rows}


def _get_transfers(bank: Bank, credentials: Credentials, call: Call) -> Answer:
    within = _lowered_tags(_within(call, tags="tags", transactionIds="transactionIds"))
    wanted = filters.words(call.query, "status", transfers.STATUSES, "invalidTransfer")
    tax_id = call.query.get("taxId") and checks.tax_id(call.query["taxId"])
    sort = (filters.words(call.query, "sort", transfers.SORTS, "invalidSort") or ["-created"])[0]

    def keep(row: Row) -> bool:
        return (wanted is None or row["status"] in wanted) and (not tax_id or row["taxId"] == tax_id)

    ids = filters.words(call.query, "ids")
    return _list(call, bank.transfers.rows, "transfers", within=within, keep=keep, ids=ids, sort=sort)


def _get_transfer(bank: Bank, credentials: Credentials, call: Call) -> Answer:
    return {"transfer": bank.transfers.get(call.id)}


def _delete_transfer(bank: Bank, credentials: Credentials, call: Call) -> Answer:
    return {"message": "Transfer successfully canceled", "transfer": bank.transfers.cancel(call.id, call.now)}


def _get_transfer_logs(bank: Bank, credentials: Credentials, call: Call) -> Answer:
    table = bank.transfers.logs
    return _logs(call, table, transfers.LOG_TYPES, "invalidTransferLog", "transferId", "transferIds")


def _get_transfer_log(bank: Bank, credentials: Credentials, call: Call) -> Answer:
    return _log(bank.transfers.logs, call, "invalidTransferLog")


# --- webhook, event, attempt ------------------------------------------------------------------------------


def _post_webhook(bank: Bank, credentials: Credentials, call: Call) -> Answer:
    row = bank.events.register(call.json(), call.now)
    return {"message": "Webhook successfully created", "webhook": row}


def _get_webhooks(bank: Bank, credentials: Credentials, call: Call) -> Answer:
    return _list(call, bank.events.webhooks, "webhooks")


def _get_webhook(bank: Bank, credentials: Credentials, call: Call) -> Answer:
    return {"webhook": bank.events.webhook(call.id)}


def _delete_webhook(bank: Bank, credentials: Credentials, call: Call) -> Answer:
    return {"message": "Webhook successfully deleted", "webhook": bank.events.unregister(call.id)}


def _get_events(bank: Bank, credentials: Credentials, call: Call) -> Answer:
    is_delivered = filters.flag(call.query, "isDelivered")
    if is_delivered is False:
        return _list(call, bank.events.rows, "events", ids=list(bank.events.undelivered))
    keep = None if is_delivered is None else lambda row: row["isDelivered"]
    return _list(call, bank.events.rows, "events", keep=keep)


def _get_event(bank: Bank, credentials: Credentials, call: Call) -> Answer:
    return {"event": bank.events.event(call.id)}


def _patch_event(bank: Bank, credentials: Credentials, call: Call) -> Answer:
    return {"message": "Event successfully updated", "event": bank.events.patch(call.id, call.json())}


def _delete_event(bank: Bank, credentials: Credentials, call: Call) -> Answer:
    return {"message": "Event successfully deleted", "event": bank.events.delete(call.id)}


def _get_attempts(bank: Bank, credentials: Credentials, call: Call) -> Answer:
    within = _within(call, eventId="eventIds", webhookId="webhookIds")
    return _list(call, bank.events.attempts, "attempts", within=within)


def _get_attempt(bank: Bank, credentials: Credentials, call: Call) -> Answer:
    return {"attempt": bank.events.attempt(call.id)}


# --- the rest ---------------------------------------------------------------------------------------------


def _get_balance(bank: Bank, credentials: Credentials, call: Call) -> Answer:
    return {"balances": filters.trim([bank.accounts.balance], call.query), "cursor": None}


def _get_transactions(bank: Bank, credentials: Credentials, call: Call) -> Answer:
    within = _lowered_tags(_within(call, tags="tags", externalId="externalIds"))
    ids = filters.words(call.query, "ids")
    return _list(call, bank.accounts.transactions, "transactions", within=within, ids=ids)


def _get_transaction(bank: Bank, credentials: Credentials, call: Call) -> Answer:
    row = bank.accounts.transactions.get(call.id)
    if row is None:
        raise Refusal.of("invalidTransaction", f"No transaction has the id {call.id}")
    return {"transaction": row}


def _get_deposits(bank: Bank, credentials: Credentials, call: Call) -> Answer:
    # Inferred: invoices credit the balance without a deposit, and nothing else makes deposits here yet.
    filters.page_arguments(call.query)
    return {"deposits": [], "cursor": None}


def _get_institutions(bank: Bank, credentials: Credentials, call: Call) -> Answer:
    search = (call.query.get("search") or "").lower()
    spi, str_codes = filters.words(call.query, "spiCodes"), filters.words(call.query, "strCodes")
    rows = [
        row
        for row in INSTITUTIONS
        if (not search or search in f"{row['displayName']} {row['name']}".lower())
        and (spi is None or row["spiCode"] in spi)
        and (str_codes is None or row["strCode"] in str_codes)
    ]
    return {"institutions": filters.trim(rows[: filters.limit(call.query)], call.query), "cursor": None}


def _get_public_keys(bank: Bank, credentials: Credentials, call: Call) -> Answer:
    return {"publicKeys": credentials.public_keys()[: filters.limit(call.query)], "cursor": None}


# Read: Stark Bank's SPI code. The others are well-known codes of the central bank's public list.
INSTITUTIONS = [
    {"displayName": name, "name": full, "spiCode": spi, "strCode": code}
    for name, full, spi, code in (
        ("Stark Bank", "STARK BANK S.A. - INSTITUICAO DE PAGAMENTO", "20018183", "462"),
        ("Banco do Brasil", "BCO DO BRASIL S.A.", "00000000", "001"),
        ("Itaú Unibanco", "ITAÚ UNIBANCO S.A.", "60701190", "341"),
        ("Bradesco", "BCO BRADESCO S.A.", "60746948", "237"),
        ("Caixa Econômica Federal", "CAIXA ECONOMICA FEDERAL", "00360305", "104"),
        ("Nubank", "NU PAGAMENTOS - IP", "18236120", "260"),
    )
]

_ROUTES: dict[tuple[str, str], Handler] = {
    ("POST", "invoice"): _post_invoices,
    ("GET", "invoice"): _get_invoices,
    ("GET", "invoice/{id}"): _get_invoice,
    ("PATCH", "invoice/{id}"): _patch_invoice,
    ("GET", "invoice/{id}/payment"): _get_payment,
    ("GET", "invoice/log"): _get_invoice_logs,
    ("GET", "invoice/log/{id}"): _get_invoice_log,
    ("POST", "transfer"): _post_transfers,
    ("GET", "transfer"): _get_transfers,
    ("GET", "transfer/{id}"): _get_transfer,
    ("DELETE", "transfer/{id}"): _delete_transfer,
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
    ("GET", "balance"): _get_balance,
    ("GET", "transaction"): _get_transactions,
    ("GET", "transaction/{id}"): _get_transaction,
    ("GET", "deposit"): _get_deposits,
    ("GET", "institution"): _get_institutions,
    ("GET", "public-key"): _get_public_keys,
}
