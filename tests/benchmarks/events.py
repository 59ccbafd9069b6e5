"""Events as the bank signs them: a credited invoice, and what becomes of a transfer. Ids are random, as at the bank."""

import binascii
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from itertools import cycle
from pathlib import Path
from random import Random

import msgspec
from coincurve import PrivateKey

FEE_CENTAVOS = 50

# A recorded event of the sandbox, 1.5 kB, with places for what differs from event to event; it has that fee.
_CREDITED = Path(__file__).with_name("credited.txt").read_text("ascii").strip()

_TRANSFER_EVENT = (
    b'{"event": {"created": "%b", "id": "%d", "log": %b, "subscription": "transfer", '
    b'"workspaceId": "6120445530091520"}}'
)
_TRANSFER = (
    b'{"accountNumber": %b, "accountType": %b, "amount": %d, "bankCode": %b, "branchCode": %b, "created": "%b", '
    b'"description": "", "displayDescription": "", "externalId": "%b", "fee": 0, "id": "%d", "metadata": {}, '
    b'"name": %b, "rules": [{"key": "resendingLimit", "value": 10}], "scheduled": "%b", "status": "?", "tags": %b, '
    b'"taxId": %b, "transactionIds": [?], "updated": "%b"}'
)
_TRANSACTION = b'"30518842997160043278816554902173"'
_STATES = {  # status and transactions by log
    "created": (b"created", b""),
    "sending": (b"processing", _TRANSACTION),
    "success": (b"success", _TRANSACTION),
    "failed": (b"failed", b""),
}


class Order(msgspec.Struct, rename="camel"):
    """One transfer as a request asks for it; text is kept as the JSON it came in."""

    amount: int
    name: msgspec.Raw
    tax_id: msgspec.Raw
    bank_code: msgspec.Raw
    branch_code: msgspec.Raw
    account_number: msgspec.Raw
    external_id: str
    account_type: msgspec.Raw = msgspec.Raw(b'"checking"')
    tags: list[str] = []


class Transfer:
    """One transfer on the bank's books, and its last log; ``failure`` says why it will fail, or nothing."""

    __slots__ = (
        "_pieces",
        "amount",
        "external_id",
        "failure",
        "id",
        "invoice_id",
        "is_replacement",
        "log_type",
        "tags",
    )

    def __init__(self, order: Order, transfer_id: int) -> None:
        self.id = str(transfer_id)
        self.external_id = order.external_id
        # credit-<invoice id>, and credit-<invoice id>-r2 for a replacement
        _, invoice_id, *generation = order.external_id.split("-")
        self.invoice_id = int(invoice_id)
        self.is_replacement = bool(generation)
        self.amount = order.amount
        self.tags = order.tags
        self.failure = ""
        self.log_type = "created"
        now = _now()
        text = _TRANSFER % (
            *(
                order.account_number,
                order.account_type,
                order.amount,
                order.bank_code,
                order.branch_code,
                now,
            ),
            *(order.external_id.encode(), transfer_id, order.name, now, msgspec.json.encode(order.tags)),
            *(order.tax_id, now),
        )
        self._pieces = text.split(b"?", 2)

    def snapshot(self, log_type: str | None = None) -> bytes:
        """Its JSON as it is when that log is written, or now."""
        before, between, after = self._pieces
        status, transactions = _STATES[log_type or self.log_type]
        return b"".join((before, status, between, transactions, after))


class Events:
    """Makes and signs them with one key. ``seed`` decides the ids."""

    def __init__(self, key: bytes, seed: int) -> None:
        self._sign = _signer(key)
        self._random = Random(seed).random

    def new_id(self) -> int:
        """16 digits."""
        return 4_000_000_000_000_000 + int(self._random() * 3_000_000_000_000_000)

    def credited(self, invoice_id: int, gross_centavos: int) -> bytes:
        """The whole HTTP request that reports an invoice as credited."""
        values = {"now": _now().decode(), "event": self.new_id(), "log": self.new_id()}
        return self._request(
            (_CREDITED % {**values, "invoice": invoice_id, "gross": gross_centavos}).encode()
        )

    def transfer(self, transfer: Transfer, log_type: str) -> bytes:
        """The whole HTTP request that reports that log of a transfer."""
        return self._request(_TRANSFER_EVENT % (_now(), self.new_id(), self.log(transfer, log_type)))

    def log(self, transfer: Transfer, log_type: str | None = None) -> bytes:
        """That log of a transfer, or its last."""
        log_type = log_type or transfer.log_type
        return b'{"created": "%b", "errors": [%b], "id": "%d", "transfer": %b, "type": "%b"}' % (
            *(_now(), b'"%b"' % transfer.failure.encode() if log_type == "failed" else b"", self.new_id()),
            *(transfer.snapshot(log_type), log_type.encode()),
        )

    def forged(self, request: bytes) -> bytes:
        """The same request with a signature of something else."""
        head, _, body = request.partition(b"\r\n\r\n")
        return head.replace(
            head.partition(b"Digital-Signature: ")[2].partition(b"\r\n")[0], self._sign(b"")
        ) + (b"\r\n\r\n" + body)

    def _request(self, body: bytes) -> bytes:
        return (
            b"POST /webhooks/starkbank HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"User-Agent: Stark-Bank-Webhook\r\nDigital-Signature: %b\r\nContent-Length: %d\r\n\r\n%b"
            % (self._sign(body), len(body), body)
        )


def _now() -> bytes:
    return datetime.now(UTC).isoformat(timespec="microseconds").encode()


# The order of secp256k1's group.
_N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def _signer(key: bytes, nonces: int = 1024) -> Callable[[bytes], bytes]:
    """ECDSA with nonces made beforehand: 5 µs a signature instead of 30, on the cores of what is measured.

    Repeated nonces give the key away: only for one that is thrown away. As at the bank, half of the S are high.
    """
    secret = int.from_bytes(key, "big")
    prepared = []
    for _ in range(nonces):
        nonce = PrivateKey()
        r = int.from_bytes(nonce.public_key.format()[1:], "big") % _N
        inverse = pow(nonce.to_int(), -1, _N)
        prepared.append((_der(r), inverse, inverse * r * secret % _N))
    following = cycle(prepared).__next__

    def sign(body: bytes) -> bytes:
        r, inverse, rest = following()
        s = _der((inverse * int.from_bytes(sha256(body).digest(), "big") + rest) % _N)
        return binascii.b2a_base64(b"\x30%c%b%b" % (len(r) + len(s), r, s), newline=False)

    return sign


def _der(number: int) -> bytes:
    text = number.to_bytes(number.bit_length() // 8 + 1, "big")
    return b"\x02%c%b" % (len(text), text)
