"""The benchmarks' events are ones that the official SDK takes for the bank's."""

import msgspec
import pytest
import starkbank
from coincurve import PrivateKey
from ellipticcurve import PublicKey
from starkcore.utils.cache import cache

from tests.benchmarks.events import Events, Order, Transfer

ORDER = b"""{"amount": 950, "name": "Stark Bank S.A.", "taxId": "20.018.183/0001-80", "bankCode": "20018183",
    "branchCode": "0001", "accountNumber": "6341320293482496", "externalId": "credit-5713348842127360-r2",
    "tags": ["a"]}"""


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> Events:
    """Signed by a key that the SDK holds for the bank's."""
    key = PrivateKey()
    public = PublicKey.fromString(key.public_key.format(compressed=False)[1:].hex())
    monkeypatch.setitem(cache, "stark-public-key", public)
    return Events(key.secret, seed=1)


def _parsed(request: bytes) -> starkbank.Event:
    head, body = request.split(b"\r\n\r\n")
    signature = head.partition(b"Digital-Signature: ")[2].partition(b"\r\n")[0]
    return starkbank.event.parse(body.decode(), signature.decode())


def test_a_credited_event_is_signed_and_has_the_invoice_and_its_amount(events: Events) -> None:
    """Amount, fee and id are where the SDK finds them."""
    for _ in range(3):  # S is high in half of them
        log = _parsed(events.credited(5713348842127360, 1000)).log
        assert (log.type, log.invoice.id, log.invoice.amount, log.invoice.fee) == (
            *("credited", "5713348842127360"),
            *(1000, 50),
        )


@pytest.mark.parametrize(
    ("log_type", "status"),
    [("created", "created"), ("sending", "processing"), ("success", "success"), ("failed", "failed")],
)
def test_a_transfer_event_has_the_status_of_its_log(events: Events, log_type: str, status: str) -> None:
    """A log of any type shows the transfer as the bank shows it then."""
    transfer = Transfer(msgspec.json.decode(ORDER, type=Order), 5166021941886976)
    log = _parsed(events.transfer(transfer, log_type)).log
    assert (log.type, log.transfer.status, log.transfer.amount) == (log_type, status, 950)
    assert (log.transfer.external_id, log.transfer.tags) == ("credit-5713348842127360-r2", ["a"])
    assert (transfer.invoice_id, transfer.is_replacement) == (5713348842127360, True)


def test_a_forged_event_has_a_signature_of_something_else(
    events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the signature differs from the genuine request."""
    genuine = events.credited(5713348842127360, 1000)
    forged = events.forged(genuine)
    assert forged.partition(b"\r\n\r\n")[2] == genuine.partition(b"\r\n\r\n")[2]
    monkeypatch.setattr("starkcore.utils.parse._get_public_key", lambda **_: cache["stark-public-key"])
    with pytest.raises(starkbank.error.InvalidSignatureError):
        _parsed(forged)
