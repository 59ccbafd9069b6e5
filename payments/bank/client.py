"""What we ask of Stark Bank, as typed calls through its official SDK; each ends in an answer or a BankError.

It decides nothing about money and repeats nothing: what an Unclear means for a transfer is for its caller to
find out by a look-up. An answer that does not match the question is Unclear too, never adopted. It keeps no
global user, so any number of banks may be open in one process, each shared by any number of threads.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import date, timedelta
from functools import partial
from typing import Annotated, Any, TypeVar

import msgspec
import starkbank

from payments.bank.transport import LastCall, OddAnswer, OnCall, Transport
from payments.errors import BankError, SettingsError, Unclear
from payments.event import InvoiceJson, TransferJson
from payments.invoice import BankInvoice, InvoiceOrder
from payments.transfer import BankTransfer, TransferOrder

Entity = TypeVar("Entity")

# Documented: OAS, at most 100 entities in a POST, in a page, and (for want of a word about it) in a filter.
ENTITIES_PER_CALL_MAX = 100

# A tag of ours is on at most 100 entities; more pages than this mean that the bank ignored the filter.
PAGES_PER_TAG_MAX = 10

# 100,000 logs: a thousand days of this job. More is an endless cursor.
PAGES_OF_LOGS_MAX = 1_000

# 10,000 events are some 20 MB in memory; what is left is for the next time.
PAGES_OF_EVENTS_MAX = 100

# The one in use and two before it (see signature.py, which tries no more).
PUBLIC_KEYS_MAX = 3

# Observed: the bank reads dates as days of São Paulo, so 02:00 UTC belongs to the day before (facts sheet
# 3.3); and "after" a day may or may not include it. Too many logs are harmless, one too few is not.
AFTER_SLACK = timedelta(days=2)


class BankWebhook(msgspec.Struct, frozen=True):
    """An address that the bank delivers events to, and of which resources."""

    id: Annotated[str, msgspec.Meta(min_length=1)]
    url: Annotated[str, msgspec.Meta(min_length=1)]
    subscriptions: tuple[str, ...] = ()


def open_bank(
    environment: str,
    project_id: str,
    private_key_pem: str,
    api_url: str | None,
    timeout_seconds: float,
    on_call: OnCall | None = None,
) -> "Bank":
    """Return a Bank; nothing is sent yet. ``timeout_seconds`` bounds each call as a whole.

    ``private_key_pem`` is SEC1 (``BEGIN EC PRIVATE KEY``), on secp256k1. ``api_url`` is an emulator's, or
    None for Stark Bank's own hosts. Raises SettingsError naming the variable that is wrong, never its
    value.
    """
    if environment not in ("sandbox", "production"):
        raise SettingsError("STARKBANK_ENVIRONMENT is neither sandbox nor production; put one of them")
    if api_url is not None and environment == "production":
        raise SettingsError(
            "STARKBANK_API_URL is set in production; remove it, or use STARKBANK_ENVIRONMENT=sandbox"
        )
    if not _ID.fullmatch(project_id):
        raise SettingsError(
            "STARKBANK_PROJECT_ID is not an id; put the project's number from the bank's console"
        )
    if not 0 < timeout_seconds < 3600:
        raise SettingsError("BANK_TIMEOUT_SECONDS is out of range; put a number above 0 and below 3600")
    try:
        project = _Project(project_id, environment, private_key_pem)
    except Exception:
        # Read: starkcore 0.8.0 utils/checks.py raises a bare Exception. Its cause may quote the key: dropped.
        raise SettingsError(
            "STARKBANK_PRIVATE_KEY is not a secp256k1 private key in PEM (BEGIN EC PRIVATE KEY); "
            "put the key that was made for the project"
        ) from None
    return Bank(project, Transport(timeout_seconds, api_url, on_call))


class Bank:
    """Stark Bank for one project. Thread-safe; methods raise BankError subclasses only; amounts in centavos.

    ValueError means a bug of the caller (too many orders, a tag twice); nothing was sent then.
    """

    def __init__(self, project: "_Project", transport: Transport) -> None:
        self._project = project
        self._transport = transport
        # The longest that a method can take; those that yield take it for each page.
        self.timeout_seconds = transport.timeout_seconds

    def close(self) -> None:
        """Close the idle connections."""
        self._transport.close()

    def last_call(self) -> LastCall | None:
        """The last call that was made, whatever it asked; None before the first one."""
        return self._transport.last_call()

    def create_invoices(self, orders: Sequence[InvoiceOrder]) -> list[BankInvoice]:
        """Create up to 100 invoices in one call, all or nothing; return them in the order of ``orders``.

        Unclear unless the answer has exactly one invoice for each order's own tag, with its amount. The
        bank has no idempotency key for invoices: after Unclear, look up before creating again. Without
        ``due`` the bank gives two days, the only due date that its sandbox is known to pay reliably (facts
        sheet 4.7).
        """
        _require_distinct([order.tag for order in orders])
        if not orders:
            return []
        wanted = [
            {
                "amount": order.amount_centavos,
                "name": order.payer.name,
                "taxId": order.payer.tax_id,
                "tags": list(order.tags),
            }
            for order in orders
        ]

        def ask() -> list[BankInvoice]:
            answer = self._post("invoice", {"invoices": wanted})
            created = [each.as_bank_invoice() for each in _decode_invoices.decode(answer).invoices]
            _require_count(created, orders)
            return [_only_invoice_for(order, created) for order in orders]

        return self._transport.call(ask)

    def find_invoices(self, tag: str) -> list[BankInvoice]:
        """Return every invoice that carries ``tag``, newest first."""
        found = self._tagged(
            "invoice", "invoices", tag, lambda raw: _decode_invoice.decode(raw).as_bank_invoice()
        )
        return list({invoice.id: invoice for invoice in found if tag in invoice.tags}.values())

    def send_transfers(self, orders: Sequence[TransferOrder]) -> dict[str, BankTransfer]:
        """Send up to 100 transfers in one call, all or nothing; return them by external_id.

        Accepted is not paid: a repeated external_id or an empty balance is refused later, by a log (facts
        sheet 5.3). Unclear unless the answer has exactly one transfer for each external_id, with its
        amount.
        """
        _require_distinct([order.external_id for order in orders])
        if not orders:
            return {}
        wanted = [
            {
                "amount": order.amount_centavos,
                "name": order.destination.name,
                "taxId": order.destination.tax_id,
                "bankCode": order.destination.bank_code,
                "branchCode": order.destination.branch_code,
                "accountNumber": order.destination.account_number,
                "accountType": order.destination.account_type,
                "externalId": order.external_id,
                "tags": list(order.tags),
            }
            for order in orders
        ]

        def ask() -> dict[str, BankTransfer]:
            answer = self._post("transfer", {"transfers": wanted})
            sent = [each.as_bank_transfer() for each in _decode_transfers.decode(answer).transfers]
            _require_count(sent, orders)
            by_external_id = {transfer.external_id: transfer for transfer in sent}
            for order in orders:
                transfer = by_external_id.get(order.external_id)
                if transfer is None:
                    raise OddAnswer(f"the answer has no transfer {order.external_id}")
                if transfer.amount_centavos != order.amount_centavos:
                    raise _other_amount(order.external_id, transfer.amount_centavos, order.amount_centavos)
            return by_external_id

        return self._transport.call(ask)

    def find_transfers(self, tag: str) -> list[BankTransfer]:
        """Return every transfer that carries ``tag``, newest first."""
        found = self._tagged(
            "transfer", "transfers", tag, lambda raw: _decode_transfer.decode(raw).as_bank_transfer()
        )
        return list({transfer.id: transfer for transfer in found if tag in transfer.tags}.values())

    def transfer_logs(self, transfer_ids: Sequence[str]) -> Iterator[bytes]:
        """Yield each log of these transfers as raw JSON, for ``read_log``. Calls as it is read."""
        for start in range(0, len(transfer_ids), ENTITIES_PER_CALL_MAX):
            asked = list(transfer_ids[start : start + ENTITIES_PER_CALL_MAX])
            for raw in self._every("transfer/log", "logs", {"transferIds": asked}, bytes, PAGES_OF_LOGS_MAX):
                # One that cannot be read is handed on, to be reported; a stranger's is not ours.
                if _transfer_id_in(raw) in (None, *asked):
                    yield raw

    def invoice_logs(self, types: Sequence[str], after: date) -> Iterator[bytes]:
        """Yield each invoice log of these types since the UTC day ``after`` as raw JSON, for ``read_log``.

        Some older ones come too (AFTER_SLACK). Calls as it is read; an unknown type is Rejected by the bank.
        """
        since = (after - AFTER_SLACK).strftime("%Y-%m-%d")
        query = {"types": list(types), "after": since}
        yield from self._every("invoice/log", "logs", query, bytes, PAGES_OF_LOGS_MAX)

    def undelivered_events(self) -> Iterator[bytes]:
        """Yield each event that no endpoint has taken yet as raw ``{"event": ...}``, for ``read_event``.

        The list is read to its end before the first is yielded, because marking one delivered while paging
        could shift another past the cursor. When a page fails, those before it are yielded and then the
        error is raised. At most 10,000; the rest comes the next time.
        """
        events: list[bytes] = []
        failure: BankError | None = None
        try:
            pages = self._every("event", "events", {"isDelivered": False}, bytes, PAGES_OF_EVENTS_MAX)
            events.extend(raw for raw in pages if not _is_delivered(raw))
        except BankError as error:
            failure = error
        for raw in events:
            yield b'{"event": ' + raw + b"}"
        if failure is not None and not isinstance(failure, _TooManyPages):
            raise failure

    def mark_delivered(self, event_id: str) -> None:
        """Report to the bank that we have this event; it is not listed as undelivered again."""
        path = f"event/{_require_id(event_id)}"

        def ask() -> None:
            answer = starkbank.request.patch(path=path, body={"isDelivered": True}, user=self._project)
            event = _decode_marked.decode(answer.content).event
            if event.id != event_id or not event.isDelivered:
                raise OddAnswer(f"the answer does not say that event {event_id} is delivered")

        self._transport.call(ask)

    def public_keys(self) -> list[str]:
        """Return the keys (PEM) that the bank signs webhooks with, newest first, three at most."""

        def ask() -> list[str]:
            # Not by the SDK's own function, whose path has two slashes (/v2//public-key).
            answer = self._get("public-key", {"limit": PUBLIC_KEYS_MAX})
            return [key.content for key in _decode_keys.decode(answer).publicKeys[:PUBLIC_KEYS_MAX]]

        return self._transport.call(ask)

    def balance_centavos(self) -> int:
        """Return what is in the account now, in centavos."""
        return self._transport.call(
            lambda: _decode_balances.decode(self._get("balance", {})).balances[0].amount
        )

    def list_webhooks(self) -> list[BankWebhook]:
        """Return every webhook of the workspace, other programs' too."""
        deadline = self._transport.deadline()  # of all pages together
        return list(
            self._every("webhook", "webhooks", {}, _decode_webhook.decode, PAGES_PER_TAG_MAX, deadline)
        )

    def create_webhook(self, url: str, subscriptions: Sequence[str]) -> BankWebhook:
        """Subscribe ``url``. The bank may accept the same one twice: list before."""

        def ask() -> BankWebhook:
            answer = self._post("webhook", {"url": url, "subscriptions": list(subscriptions)})
            created = _decode_created_webhook.decode(answer).webhook
            if created.url != url:
                raise OddAnswer("the webhook that was created has another URL")
            return created

        return self._transport.call(ask)

    # All goes through the SDK's generic requests: its objects drop fields that they do not know, which an audit needs,
    # and one shape reads an invoice or a transfer in an answer, a list, a log and an event. It signs and sends; it
    # raises nothing by itself here, and its query writes lists with commas and booleans as False, which the bank takes
    # (facts sheet 3.3).

    def _get(self, path: str, query: dict[str, Any]) -> bytes:
        answer: bytes = starkbank.request.get(path=path, query=query, user=self._project).content
        return answer

    def _post(self, path: str, body: dict[str, Any]) -> bytes:
        answer: bytes = starkbank.request.post(path=path, body=body, user=self._project).content
        return answer

    def _tagged(self, path: str, key: str, tag: str, read: Callable[[bytes], Entity]) -> Iterator[Entity]:
        # Its caller holds leases that outlast one timeout, so all pages together keep one deadline.
        return self._every(
            path, key, {"tags": [_one_tag(tag)]}, read, PAGES_PER_TAG_MAX, self._transport.deadline()
        )

    def _every(
        self,
        path: str,
        key: str,
        query: dict[str, Any],
        read: Callable[[bytes], Entity],
        pages_max: int,
        deadline: float | None = None,
    ) -> Iterator[Entity]:
        """Each element of a list, read; one that cannot be read makes its page an answer that cannot."""

        def ask(cursor: str | None) -> tuple[list[Entity], str | None]:
            answer = self._get(path, {**query, "limit": ENTITIES_PER_CALL_MAX, "cursor": cursor})
            envelope = _decode_envelope.decode(answer)
            following = msgspec.json.decode(envelope.get("cursor", b"null"), type=str | None)
            return [read(bytes(raw)) for raw in _decode_list.decode(envelope[key])], following

        cursor: str | None = None
        for _ in range(pages_max):
            entities, following = self._transport.call(partial(ask, cursor), deadline)
            yield from entities
            if not following:
                return
            if following == cursor:
                raise Unclear("the bank's list gives the same cursor again: its end is not known")
            cursor = following
        raise _TooManyPages(f"the bank's list has more than {pages_max} pages: its end is not known")


class _TooManyPages(Unclear):
    pass


class _Project(starkbank.Project):  # type: ignore[misc]
    """The SDK's project, with its key parsed once; the SDK does it at every request, for 3.2 ms of 3.8."""

    def __init__(self, project_id: str, environment: str, private_key_pem: str) -> None:
        super().__init__(id=project_id, private_key=private_key_pem, environment=environment)
        self._parsed_key = super().private_key()

    def private_key(self) -> Any:
        return self._parsed_key

    def __str__(self) -> str:
        # Read: starkcore 0.8.0 utils/subresource.py prints every attribute, the private key too.
        return repr(self)


# --- what an answer must say ---


def _require_count(answered: Sequence[object], orders: Sequence[object]) -> None:
    if len(answered) != len(orders):
        raise OddAnswer(f"{len(orders)} were ordered and the answer has {len(answered)}")


def _only_invoice_for(order: InvoiceOrder, created: Sequence[BankInvoice]) -> BankInvoice:
    # By its own tag: nothing documents that the answer keeps our order.
    found = [invoice for invoice in created if order.tag in invoice.tags]
    if len(found) != 1:
        raise OddAnswer(f"the answer has {len(found)} invoices for {order.tag}")
    if found[0].amount_centavos != order.amount_centavos:
        raise _other_amount(order.tag, found[0].amount_centavos, order.amount_centavos)
    return found[0]


def _other_amount(name: str, there: int, here: int) -> OddAnswer:
    return OddAnswer(f"{name} was ordered over {here} centavos and the answer says {there}")


# --- raw JSON: only what we must look at ---


class _MarkedJson(msgspec.Struct):
    id: str
    isDelivered: bool


class _MarkedEnvelopeJson(msgspec.Struct):
    event: _MarkedJson


class _KeyJson(msgspec.Struct):
    content: str


class _KeysJson(msgspec.Struct):
    publicKeys: list[_KeyJson]


class _FlagJson(msgspec.Struct):
    isDelivered: bool = False


class _IdJson(msgspec.Struct):
    id: str


class _TransferLogJson(msgspec.Struct):
    transfer: _IdJson


class _TransfersJson(msgspec.Struct):
    transfers: list[TransferJson]


class _InvoicesJson(msgspec.Struct):
    invoices: list[InvoiceJson]


class _BalanceJson(msgspec.Struct):
    amount: int


class _BalancesJson(msgspec.Struct):
    balances: list[_BalanceJson]


class _CreatedWebhookJson(msgspec.Struct):
    webhook: BankWebhook


_decode_invoice = msgspec.json.Decoder(InvoiceJson)
_decode_invoices = msgspec.json.Decoder(_InvoicesJson)
_decode_balances = msgspec.json.Decoder(_BalancesJson)
_decode_webhook = msgspec.json.Decoder(BankWebhook)
_decode_created_webhook = msgspec.json.Decoder(_CreatedWebhookJson)
_decode_transfer = msgspec.json.Decoder(TransferJson)
_decode_transfers = msgspec.json.Decoder(_TransfersJson)
_decode_envelope = msgspec.json.Decoder(dict[str, msgspec.Raw])
_decode_list = msgspec.json.Decoder(list[msgspec.Raw])
_decode_marked = msgspec.json.Decoder(_MarkedEnvelopeJson)
_decode_keys = msgspec.json.Decoder(_KeysJson)
_decode_flag = msgspec.json.Decoder(_FlagJson)
_decode_transfer_log = msgspec.json.Decoder(_TransferLogJson)


def _transfer_id_in(raw: bytes) -> str | None:
    try:
        return _decode_transfer_log.decode(raw).transfer.id
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _is_delivered(raw: bytes) -> bool:
    try:
        return _decode_flag.decode(raw).isDelivered
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False


# --- what we send ---

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


def _require_id(text: str) -> str:
    if not _ID.fullmatch(text):
        raise ValueError("not an id of the bank's")
    return text


def _one_tag(tag: str) -> str:
    # Lists travel with commas, so a comma would make two tags of one; and the bank keeps tags in lower case.
    if not tag or "," in tag or tag != tag.lower():
        raise ValueError(f"tag {tag!r} is not one that the bank can be asked for")
    return tag


def _require_distinct(names: Sequence[str]) -> None:
    if len(names) > ENTITIES_PER_CALL_MAX:
        raise ValueError(f"{len(names)} in one call; the bank takes at most {ENTITIES_PER_CALL_MAX}")
    if len(set(names)) != len(names):
        raise ValueError("the same tag or external_id twice in one call")
