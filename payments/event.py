"""What the bank reports, read from raw JSON into facts of our own. Pure; it verifies nothing and stores nothing.

The same readers serve the webhook and reconciliation. Unknown fields are ignored, as the bank asks of its
clients; a fact whose money or identity cannot be read is *unreadable*: never guessed, never dropped.
"""

from datetime import UTC, date, datetime, time, timedelta, timezone
from hashlib import sha256
from typing import Annotated, Any, NamedTuple

import msgspec

from payments.credit import Credit, Reversal
from payments.invoice import STATE_OF_STATUS, BankInvoice, InvoiceReport, InvoiceState, end_to_end_id
from payments.transfer import BankReport, BankTransfer

Fact = Credit | Reversal | BankReport


class Event(NamedTuple):
    """One notification from the bank, and the fact in it that concerns money.

    ``fact`` is None when the event is ignored or could not be read; in the second case
    ``unreadable`` says why. ``subject`` is the id of the invoice or transfer it is about, where known. ``invoice`` is
    what it reports of an invoice, for people to read; no money is moved by it.
    """

    event_id: str
    subscription: str
    log_type: str
    subject: str | None
    fact: Fact | None
    unreadable: str | None
    body: bytes
    invoice: InvoiceReport | None = None

    @property
    def followed_by(self) -> dict[str, str]:
        """What its log lines carry so that one search follows a credit: ``invoice_id``, or ``external_id``, or nothing.

        Our external_ids hold the invoice's id.
        """
        if isinstance(self.fact, BankReport):
            return {"external_id": self.fact.transfer.external_id[:96]}
        if self.subscription == "invoice" and self.subject is not None:
            return {"invoice_id": self.subject}
        return {}


def read_event(body: bytes) -> Event:
    """Read a webhook body, or an element of the event list wrapped as ``{"event": ...}``. Never raises."""
    try:
        event = _decode_envelope.decode(body).event
    except _UNREADABLE as error:
        return _unreadable(body, str(error))
    return _read(event.id, event.subscription, event.log, body)


def read_log(subscription: str, body: bytes) -> Event:
    """Read one element of ``/v2/invoice/log`` or ``/v2/transfer/log`` as the event that would have carried it.

    Its event_id is ``<subscription>-log-<log id>``: the list does not have the real event's id, and credits
    and transfers are recognised by their own ids anyway. Never raises.
    """
    try:
        log_id = _decode_id.decode(body).id
    except _UNREADABLE as error:
        return _unreadable(body, str(error), subscription)
    return _read(f"{subscription}-log-{log_id}", subscription, msgspec.Raw(body), body)


# --- below: the shapes we rely on (facts sheet 4.4, 5.2, 6.2), each with only the fields that we use ---

# RecursionError: what msgspec makes of JSON that is nested deeper than Python's own limit. OverflowError: a moment
# that has no place in UTC.
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError)

# R$ 10 trillion, a year of Brazil's product: more is a misreading, and some nine thousand such sums still fit a
# 64-bit column. An amount that a column cannot hold would fail its whole transaction, at every delivery.
_CENTAVOS_MAX = 10**15
_Centavos = Annotated[int, msgspec.Meta(ge=0, le=_CENTAVOS_MAX)]
_Id = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+\Z")]

_Text = Annotated[str, msgspec.Meta(min_length=1)]

# The bank's ids are numbers. A dash would let an invoice's external_id be taken for a reissue of another's, so an event
# with such an invoice id is unreadable: stored whole, for a person.
_InvoiceId = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9]+\Z")]


class _Identified(msgspec.Struct):
    id: _Id


class _EventJson(msgspec.Struct):
    id: _Id
    subscription: str
    log: msgspec.Raw = msgspec.Raw(b"{}")


class _EnvelopeJson(msgspec.Struct):
    event: _EventJson


class _LogJson(msgspec.Struct, rename="camel"):
    type: str = ""
    id: str = ""
    created: datetime | None = None
    errors: list[Any] | None = None
    invoice: _Identified | None = None
    transfer: _Identified | None = None


class _CreditedInvoiceJson(msgspec.Struct):
    id: _InvoiceId
    amount: _Centavos
    fee: _Centavos
    tags: list[str] | None = None  # null would not be money


class _InvoiceLogJson(msgspec.Struct):
    id: _Id
    created: datetime
    invoice: _CreditedInvoiceJson


class _ReportedInvoiceJson(msgspec.Struct, rename="camel"):
    # What people read, never what money rests on: a field of an unexpected type counts as one that is missing.
    id: _InvoiceId
    amount: _Centavos
    status: Any = None
    name: Any = None
    tax_id: Any = None
    tags: Any = None
    created: Any = None
    due: Any = None
    link: Any = None


class _ReportedInvoiceLogJson(msgspec.Struct):
    created: datetime
    invoice: _ReportedInvoiceJson


class InvoiceJson(msgspec.Struct):
    """An invoice as the bank writes it in lists and answers; of it, what we look at."""

    id: _Id
    amount: _Centavos
    status: _Text
    tags: list[_Text] | None = None
    created: datetime | None = None
    due: Any = None  # for people only, as the link: of an unexpected type it counts as missing
    link: Any = None

    def as_bank_invoice(self) -> BankInvoice:
        """The same in our own terms."""
        return BankInvoice(
            id=self.id,
            status=self.status,
            amount_centavos=self.amount,
            tags=tuple(self.tags or ()),
            created_at=None if self.created is None else _utc(self.created),
            due_at=_moment(self.due),
            link=_text(self.link),
        )


class TransferJson(msgspec.Struct, rename="camel"):
    """A transfer as the bank writes it, in events, logs, lists and answers; of it, what we look at."""

    id: _Id
    amount: _Centavos
    status: str
    external_id: str | None = None
    bank_code: str | None = None
    branch_code: str | None = None
    account_number: str | None = None
    tax_id: str | None = None
    tags: list[str] | None = None

    def as_bank_transfer(self) -> BankTransfer:
        """The same in our own terms."""
        return BankTransfer(
            id=self.id,
            external_id=self.external_id or "",
            status=self.status,
            amount_centavos=self.amount,
            bank_code=self.bank_code or "",
            branch_code=self.branch_code or "",
            account_number=self.account_number or "",
            tax_id=self.tax_id or "",
            tags=tuple(self.tags or ()),
        )


class _TransferLogJson(msgspec.Struct):
    id: _Id
    type: str
    created: datetime
    transfer: TransferJson
    errors: list[Any] | None = None


_decode_envelope = msgspec.json.Decoder(_EnvelopeJson)
_decode_id = msgspec.json.Decoder(_Identified)
_decode_log = msgspec.json.Decoder(_LogJson)
_decode_invoice_log = msgspec.json.Decoder(_InvoiceLogJson)
_decode_reported_invoice = msgspec.json.Decoder(_ReportedInvoiceLogJson)
_decode_transfer_log = msgspec.json.Decoder(_TransferLogJson)

# Documented: facts sheet 4.4. "reversed" carries the amount that is left, "voided" follows a full reversal.
_MONEY_TYPES = frozenset({"credited", "reversed", "voided"})


def _read(event_id: str, subscription: str, raw_log: msgspec.Raw, body: bytes) -> Event:
    log_type = ""
    subject: str | None = None
    fact: Fact | None = None
    unreadable: str | None = None
    try:
        head = _decode_log.decode(raw_log)
        log_type = head.type
        entity = head.invoice or head.transfer
        subject = entity.id if entity else None
        if subscription == "invoice" and log_type in _MONEY_TYPES:
            fact = _read_invoice_log(raw_log, log_type)
        elif subscription == "transfer":
            fact = _read_transfer_log(raw_log)
        elif subscription == "invoice" and not log_type:
            unreadable = "the log has no type"  # that it credited nothing would be a guess
    except _UNREADABLE as error:
        # A stranger's subscription may have any shape; only money of ours must be readable.
        unreadable = str(error) if subscription in ("invoice", "transfer") else None
    report = _read_report(raw_log, log_type) if subscription == "invoice" else None
    return Event(event_id, subscription, log_type, subject, fact, unreadable, body, report)


def _read_invoice_log(raw_log: msgspec.Raw, log_type: str) -> Credit | Reversal:
    log = _decode_invoice_log.decode(raw_log)
    invoice, at = log.invoice, _utc(log.created)
    if log_type == "credited":
        return Credit(invoice.id, log.id, invoice.amount, invoice.fee, at, tuple(invoice.tags or ()))
    return Reversal(invoice.id, log.id, 0 if log_type == "voided" else invoice.amount, at)


_STATE_OF_LOG = {**STATE_OF_STATUS, "credited": InvoiceState.CREDITED}

# The bank counts days as in São Paulo, which has had no summer time since 2019 (facts sheet 3.3).
_BANK_ZONE = timezone(timedelta(hours=-3))


def _read_report(raw_log: msgspec.Raw, log_type: str) -> InvoiceReport | None:
    """What an invoice's log says for people; None of a log that changes no state, such as those of a reversal."""
    try:
        log = _decode_reported_invoice.decode(raw_log)
        at = _utc(log.created)
    except _UNREADABLE:
        return None
    invoice = log.invoice
    status = invoice.status if isinstance(invoice.status, str) else ""
    state = STATE_OF_STATUS.get(status) if log_type == "updated" else _STATE_OF_LOG.get(log_type)
    if state is None:
        return None
    tags = invoice.tags if isinstance(invoice.tags, list) else []
    tags = [_text(tag) for tag in tags if isinstance(tag, str)]
    return InvoiceReport(
        invoice_id=invoice.id,
        state=state,
        amount_centavos=invoice.amount,
        reported_at=at,
        payer_name=_text(invoice.name),
        payer_tax_id=_text(invoice.tax_id),
        tags=tuple(tag for tag in tags if tag),
        issued_at=_moment(invoice.created),
        due_at=_moment(invoice.due),
        paid_at=at if log_type == "paid" else None,
        link=_text(invoice.link),
        payer_end_to_end_id=next((found for tag in tags if tag and (found := end_to_end_id(tag))), None),
    )


def _text(value: Any) -> str | None:
    """Text that both databases take; None for anything else."""
    return value.replace("\0", "") or None if isinstance(value, str) else None


def _moment(value: Any) -> datetime | None:
    """A moment, or the end of a day of the bank's; None for anything else."""
    if not isinstance(value, str):
        return None
    try:
        if len(value) == len("2026-11-27"):
            return datetime.combine(date.fromisoformat(value), time.max, _BANK_ZONE).astimezone(UTC)
        return _utc(datetime.fromisoformat(value))
    except (ValueError, OverflowError):
        return None


def _read_transfer_log(raw_log: msgspec.Raw) -> BankReport:
    log = _decode_transfer_log.decode(raw_log)
    # Documented: log.errors is a list of strings here, of objects for some other resources.
    errors = tuple(
        error if isinstance(error, str) else msgspec.json.encode(error).decode() for error in log.errors or ()
    )
    return BankReport(log.id, log.type, log.transfer.as_bank_transfer(), errors, _utc(log.created))


def _utc(moment: datetime) -> datetime:
    # The bank always writes +00:00 (facts sheet 3.5); a time without an offset means UTC too.
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _unreadable(body: bytes, reason: str, subscription: str = "") -> Event:
    # It has no id that we can read: its content names it, so that a redelivery is still recognised.
    event_id = f"unreadable-{sha256(body).hexdigest()[:32]}"
    return Event(event_id, subscription, "", None, None, reason, body)
