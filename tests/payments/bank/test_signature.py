"""Whose signature is believed, and how seldom the bank is asked for its keys."""

import base64
import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from payments.bank import signature
from payments.bank.signature import BankKeys, KeyUnavailable, read_public_key
from payments.errors import Unclear
from tests.running import PATIENCE_SECONDS, wait_until

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
VECTORS = sorted(Path(__file__).with_name("vectors").glob("*.json"))
BODY = b'{"event": {"id": "1"}}'


def signed(key: ec.EllipticCurvePrivateKey, body: bytes = BODY) -> str:
    """Sign as the bank does."""
    return base64.b64encode(key.sign(body, ec.ECDSA(hashes.SHA256()))).decode()


def with_s(digital_signature: str, is_high: bool) -> str:
    """The same signature with its other S, which is as true."""
    r, s = decode_dss_signature(base64.b64decode(digital_signature))
    s = max(s, ORDER - s) if is_high else min(s, ORDER - s)
    return base64.b64encode(encode_dss_signature(r, s)).decode()


def pem_of(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> str:
    """Its public half, as the bank publishes it."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def verify(body: bytes, digital_signature: str, pem: str) -> bool:
    """Whether it fits, by a bank that has this one key."""
    keys = BankKeys(lambda: [pem], lambda: 0.0)
    assert keys.refresh()
    return bool(keys.check_cached(body, digital_signature))


def check(keys: BankKeys, body: bytes, digital_signature: str) -> bool:
    """Both steps, as the receiver takes them."""
    known = keys.check_cached(body, digital_signature)
    return keys.refresh_and_check(body, digital_signature) if known is None else known


OLD, NEW, FORGER = (ec.generate_private_key(ec.SECP256K1()) for _ in range(3))


# --- verify ---


def test_the_check_agrees_with_coincurves_own() -> None:
    """We hand libsecp256k1 what we have read and normalised; of true and wrong signatures it says the same."""
    key = read_public_key(pem_of(NEW))
    for number in range(50):
        body = b"%d" % number
        digital_signature = with_s(signed(NEW if number % 2 else FORGER, body), is_high=False)
        theirs = key.verify(base64.b64decode(digital_signature), body)
        assert verify(body, digital_signature, pem_of(NEW)) == theirs == bool(number % 2)


@pytest.mark.parametrize("file", VECTORS, ids=lambda file: file.stem)
@pytest.mark.parametrize("is_high", [None, True, False], ids=["as published", "high S", "low S"])
def test_the_banks_real_events_verify(file: Path, is_high: bool | None) -> None:
    """Both are published with a high S, which libsecp256k1 by itself refuses; changed bytes do not verify."""
    vector = json.loads(file.read_text())
    body, digital_signature = vector["body"].encode(), vector["digital_signature"]
    if is_high is not None:
        digital_signature = with_s(digital_signature, is_high)
    key = vector["public_key_pem"]
    assert verify(body, digital_signature, key)
    assert not verify(body + b" ", digital_signature, key)
    assert not verify(body.replace(b'"amount": 2', b'"amount": 3', 1), digital_signature, key)


def test_there_are_two_real_events() -> None:
    """Or the test above would pass by seeing none."""
    assert [file.stem for file in VECTORS] == ["2020-04-transfer-sending", "2021-04-invoice-created"]


DER = base64.b64decode(signed(NEW))


def _number(content: bytes) -> bytes:
    return b"\x02" + bytes([len(content)]) + content


def _sequence(content: bytes) -> bytes:
    return b"\x30" + bytes([len(content)]) + content


@pytest.mark.parametrize(
    "junk",
    [
        "",
        " ",
        "=",
        "é" * 90,
        "not base64!",
        signed(NEW) + "\n",
        " " + signed(NEW),
        signed(NEW).rstrip("=") + "=====",
        signed(NEW)[:-4],
        "A" * 96,
        "A" * 10_000_000,
        base64.b64encode(DER + b"\x00").decode(),
        base64.b64encode(DER[:-1]).decode(),
        base64.b64encode(_sequence(_number(b"\x00") + _number(b"\x01"))).decode(),
        base64.b64encode(_sequence(_number(b"\x01") + _number(b"\x00"))).decode(),
        base64.b64encode(_sequence(_number(b"\xff") + _number(b"\x01"))).decode(),
        base64.b64encode(_sequence(_number(b"\x00" + b"\xff" * 32) * 2)).decode(),
        base64.b64encode(encode_dss_signature(ORDER, 1)).decode(),
        base64.b64encode(b"\x30\x06\x02\x01\x01\x02\x01").decode(),
    ],
    ids=range(19),
)
def test_what_is_no_signature_is_false_and_no_error(junk: str) -> None:
    """Base64 and DER are read strictly, zero and the curve's order are no numbers for it."""
    assert not verify(BODY, junk, pem_of(NEW))


@given(st.binary(max_size=80))
def test_no_bytes_make_it_raise(der: bytes) -> None:
    """Whatever a stranger sends."""
    assert not verify(BODY, base64.b64encode(der).decode(), pem_of(NEW))


@given(st.binary(max_size=200), st.booleans())
def test_every_true_signature_verifies_whichever_s_it_has(body: bytes, is_high: bool) -> None:
    """And with no other key."""
    digital_signature = with_s(signed(NEW, body), is_high)
    assert verify(body, digital_signature, pem_of(NEW))
    assert not verify(body, digital_signature, pem_of(OLD))


@pytest.mark.parametrize(
    "pem",
    [
        "",
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----",
        pem_of(ec.generate_private_key(ec.SECP256R1())),
        pem_of(rsa.generate_private_key(65537, 2048)),
    ],
    ids=["empty", "damaged", "another curve", "RSA"],
)
def test_a_key_of_another_kind_is_refused(pem: str) -> None:
    """With a ValueError, and nothing else."""
    with pytest.raises(ValueError, match=r"."):
        read_public_key(pem)


# --- BankKeys ---


class Publisher:
    """The bank's list of keys, and how often it was asked for; and a clock that tests move."""

    def __init__(self, *keys: ec.EllipticCurvePrivateKey) -> None:
        self.pems = [pem_of(key) for key in keys]
        self.asked = 0
        self.error: Exception | None = None
        self.now = 1000.0

    def fetch(self) -> list[str]:
        """What ``Bank.public_keys`` does."""
        self.asked += 1
        if self.error is not None:
            raise self.error
        return self.pems

    def keys(self) -> BankKeys:
        """A cache in front of it."""
        return BankKeys(self.fetch, lambda: self.now)


def test_the_first_event_fetches_the_key_and_later_ones_do_not() -> None:
    """The fast path says None only once, and then decides without asking."""
    publisher = Publisher(NEW)
    keys = publisher.keys()
    assert keys.check_cached(BODY, signed(NEW)) is None
    assert publisher.asked == 0
    assert keys.refresh_and_check(BODY, signed(NEW))
    assert keys.check_cached(BODY, signed(NEW)) is True
    assert check(keys, b"other", signed(NEW, b"other"))
    assert publisher.asked == 1
    assert keys.fetched_at == 1000.0


def test_a_flood_of_forged_events_asks_the_bank_once_a_minute() -> None:
    """Ten minutes, a thousand forgeries: one call at start and one a minute."""
    publisher = Publisher(NEW)
    keys = publisher.keys()
    forged = signed(FORGER)
    for _ in range(1_000):
        assert check(keys, BODY, forged) is False
        publisher.now += 0.6
    assert publisher.asked == 10


def test_a_forged_event_is_refused_on_the_fast_path_while_a_refresh_is_not_due() -> None:
    """No thread is spent on it."""
    publisher = Publisher(NEW)
    keys = publisher.keys()
    keys.refresh()
    publisher.now += 59.9
    assert keys.check_cached(BODY, signed(FORGER)) is False
    publisher.now += 0.1
    assert keys.check_cached(BODY, signed(FORGER)) is None


@pytest.mark.parametrize("junk", ["", "junk", "A" * 97])
def test_junk_never_asks_the_bank(junk: str) -> None:
    """Even when no key is known yet."""
    publisher = Publisher(NEW)
    assert check(publisher.keys(), BODY, junk) is False
    assert publisher.asked == 0


def test_after_a_rotation_the_new_key_is_fetched_and_the_old_one_still_counts() -> None:
    """A delivery that is repeated may carry the old signature (documented)."""
    publisher = Publisher(OLD)
    keys = publisher.keys()
    keys.refresh()
    publisher.pems = [pem_of(NEW), pem_of(OLD)]
    publisher.now += 60
    assert check(keys, BODY, signed(NEW))
    assert check(keys, BODY, signed(OLD))
    assert publisher.asked == 2


def test_no_more_than_the_newest_keys_are_tried() -> None:
    """A list of a thousand would make each forgery cost a thousand checks."""
    publisher = Publisher(NEW, FORGER, FORGER, OLD)
    keys = publisher.keys()
    assert check(keys, BODY, signed(NEW))
    assert not check(keys, BODY, signed(OLD))


def test_an_older_key_that_cannot_be_read_is_left_out() -> None:
    """It must not stop everything that the one in use has signed."""
    publisher = Publisher(NEW)
    publisher.pems += [pem_of(rsa.generate_private_key(65537, 2048)), pem_of(OLD)]
    keys = publisher.keys()
    assert check(keys, BODY, signed(NEW))
    assert check(keys, BODY, signed(OLD))


FAILURES: dict[str, Callable[[Publisher], None]] = {
    "the bank fails": lambda publisher: setattr(
        publisher, "error", Unclear("GET /v2/public-key: status 503")
    ),
    "no key": lambda publisher: publisher.pems.clear(),
    "a damaged key": lambda publisher: publisher.pems.insert(0, "-----BEGIN"),
}


@pytest.mark.parametrize("case", FAILURES)
def test_without_any_key_nothing_is_decided_and_the_bank_is_asked_every_five_seconds(case: str) -> None:
    """503 for the web app, and a start while the bank is down ends as soon as it is up."""
    publisher = Publisher(NEW)
    good = list(publisher.pems)
    FAILURES[case](publisher)
    keys = publisher.keys()
    for second in range(20):
        publisher.now = 1000.0 + second
        with pytest.raises(KeyUnavailable, match="no public key of the bank"):
            check(keys, BODY, signed(NEW))
    assert publisher.asked == 4
    publisher.error, publisher.pems = None, good
    publisher.now = 1020.0
    assert check(keys, BODY, signed(NEW))


@pytest.mark.parametrize("case", FAILURES)
def test_a_failed_refresh_keeps_the_known_key_and_counts_towards_the_minute(case: str) -> None:
    """An attacker must not make us forget, nor ask more often because the bank is down."""
    publisher = Publisher(NEW)
    keys = publisher.keys()
    keys.refresh()
    FAILURES[case](publisher)
    for _ in range(100):
        publisher.now += 1
        assert check(keys, BODY, signed(FORGER)) is False
    assert publisher.asked == 2
    assert check(keys, BODY, signed(NEW))
    assert keys.fetched_at == 1000.0


def test_one_caller_asks_and_the_others_wait_for_it() -> None:
    """Twenty first events together make one call; none waits without end, and those that are too many do not wait."""
    publisher = Publisher(NEW)
    asked, answer = threading.Event(), threading.Event()

    def fetch() -> list[str]:
        asked.set()
        answer.wait(PATIENCE_SECONDS)
        return publisher.fetch()

    keys = BankKeys(fetch, lambda: publisher.now)
    outcomes: list[object] = []

    def work() -> None:
        try:
            outcomes.append(check(keys, BODY, signed(NEW)))
        except KeyUnavailable:
            outcomes.append("unavailable")

    first = threading.Thread(target=work)
    first.start()
    assert asked.wait(PATIENCE_SECONDS)
    threads = [threading.Thread(target=work) for _ in range(20)]
    for thread in threads:
        thread.start()
    turned_away = 20 - (signature.WAITERS_MAX - 1)
    wait_until(lambda: len(outcomes) == turned_away, "those that found no place to wait are back")
    answer.set()
    for thread in [first, *threads]:
        thread.join()
    assert publisher.asked == 1
    assert outcomes.count("unavailable") == turned_away
    assert outcomes.count(True) == signature.WAITERS_MAX


def test_a_refresh_that_hangs_holds_others_for_a_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second caller gives up waiting and answers with what it knows."""
    monkeypatch.setattr(signature, "WAIT_SECONDS_MAX", 0.05)
    asked, over = threading.Event(), threading.Event()

    def fetch() -> list[str]:
        asked.set()
        over.wait(PATIENCE_SECONDS)
        return [pem_of(NEW)]

    keys = BankKeys(fetch, lambda: 0.0)
    first = threading.Thread(target=keys.refresh)
    first.start()
    assert asked.wait(PATIENCE_SECONDS)
    with pytest.raises(KeyUnavailable):
        check(keys, BODY, signed(NEW))
    over.set()
    first.join()
    assert check(keys, BODY, signed(NEW))


def test_a_warm_start_tells_whether_a_key_is_known() -> None:
    """What the web app asks at start."""
    publisher = Publisher(NEW)
    publisher.error = Unclear("down")
    keys = publisher.keys()
    assert keys.refresh() is False
    assert keys.fetched_at is None
    publisher.error = None
    publisher.now += 5
    assert keys.refresh() is True
    assert keys.check_cached(BODY, signed(NEW)) is True
