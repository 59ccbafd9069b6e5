"""The webhook: what is stored, what is refused, and that 200 is never said too early."""

import json
import sqlite3
from collections.abc import Callable, Iterator, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest
import structlog

from emulator.protocol.deliveries import TIMEOUT_SECONDS
from payments.settings import Settings
from payments.storage import sqlite
from tests.emulated import EmulatedBank
from tests.events import invoice_event
from tests.payments.bank.scripted_server import ScriptedServer, reply
from tests.webhooks.conftest import WebApp
from webhooks import receive as receive_module
from webhooks.app import create_app
from webhooks.receive import BODY_BYTES_MAX

A_DELIVERY = {"type": "http", "method": "POST", "path": "/webhooks/starkbank", "query_string": b""}
VECTORS = sorted((Path(__file__).parents[1] / "payments/bank/vectors").glob("*.json"))


# --- what is refused ---


def test_a_body_may_have_so_many_bytes_and_no_more(web: WebApp) -> None:
    """One more is answered 413 by its own length, signed or not; at the limit it is the signature that is missing."""
    assert web.deliver(b"x" * (BODY_BYTES_MAX + 1)).status_code == 413
    assert web.deliver(b"x" * BODY_BYTES_MAX, signature="").status_code == 401
    assert web.count("inbox_events") == 0


def test_a_body_that_does_not_come_is_cut_off_and_logged_once_a_minute(
    settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    """408, and the connection ends with it: whatever came afterwards would be taken for another request."""
    monkeypatch.setattr(receive_module, "BODY_SECONDS", 0.05)
    app = create_app(settings())
    answers: list[tuple[int, bytes]] = []

    async def deliver() -> None:
        pieces: list[MutableMapping[str, Any]] = [
            {"type": "http.request", "body": b"half", "more_body": True}
        ]

        async def receive() -> MutableMapping[str, Any]:
            if not pieces:
                await anyio.sleep_forever()
            return pieces.pop()

        async def send(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                answers.append((message["status"], dict(message["headers"])[b"connection"]))

        await app({**A_DELIVERY, "headers": [(b"content-length", b"9")]}, receive, send)

    with structlog.testing.capture_logs() as said:
        for _ in range(3):
            anyio.run(deliver)
    assert answers == [(408, b"close")] * 3
    assert [line["event"] for line in said].count("event.body_cut") == 1


def test_a_stream_without_an_end_is_answered_413_at_the_limit(settings: Callable[..., Settings]) -> None:
    """Without a length, bytes are counted as they come; what lies beyond the limit is never asked for."""
    app = create_app(settings())
    chunk = 65_536
    asked = 0
    answered: list[int] = []

    async def receive() -> MutableMapping[str, Any]:
        nonlocal asked
        asked += 1
        return {"type": "http.request", "body": b"x" * chunk, "more_body": True}

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            answered.append(int(message["status"]))

    scope = {**A_DELIVERY, "headers": [(b"digital-signature", b"MEUC")]}
    anyio.run(app, scope, receive, send)
    assert answered == [413]
    assert asked == BODY_BYTES_MAX // chunk + 1


def test_a_request_without_a_signature_is_answered_401_and_nothing_is_stored(web: WebApp) -> None:
    """Anyone may post here; only the bank is believed. Garbage in the header is not an error of ours."""
    answer = web.client.post("/webhooks/starkbank", content=invoice_event())
    assert answer.status_code == 401
    assert "Digital-Signature" in answer.json()["error"]
    for signature in ("x", "MEUCIQ==", "é", "A" * 5_000, "====", "MEUC" * 24):
        headers = [(b"Digital-Signature", signature.encode())]
        answer = web.client.post("/webhooks/starkbank", content=invoice_event(), headers=headers)
        assert answer.status_code == 401, signature
    assert web.count("inbox_events") == 0


def test_what_the_bank_did_not_sign_is_answered_401_and_nothing_is_stored(
    web: WebApp, emulator: EmulatedBank
) -> None:
    """A well-formed signature by another key, and one digit more in the amount under the true event's signature."""
    body, altered = invoice_event(amount=10_000), invoice_event(amount=90_000)
    assert web.deliver(body, emulator.sign(body, forged=True)).status_code == 401
    assert web.deliver(altered, emulator.sign(body)).status_code == 401
    assert web.count("inbox_events") == web.count("credits") == 0
    assert web.deliver(body).status_code == 200


def test_only_a_post_is_taken(web: WebApp) -> None:
    """Any other method is answered 405."""
    for method in ("GET", "PUT", "DELETE", "HEAD"):
        assert web.client.request(method, "/webhooks/starkbank").status_code == 405, method


# --- the bank's key ---


@pytest.fixture
def key_server() -> Iterator[ScriptedServer]:
    """A bank that answers public-key with the key of the recorded events."""
    server = ScriptedServer()
    keys = [json.loads(file.read_text())["public_key_pem"] for file in VECTORS]
    server.script.append(reply({"publicKeys": [{"content": key} for key in dict.fromkeys(keys)]}))
    yield server
    server.close()


def test_both_events_that_the_real_bank_signed_are_taken(
    key_server: ScriptedServer, start_app: Callable[..., WebApp]
) -> None:
    """Recorded bodies and signatures of the real sandbox, the key fetched through the API; stored to the byte."""
    web = start_app(starkbank_api_url=key_server.url)
    for file in VECTORS:
        vector = json.loads(file.read_text())
        answer = web.deliver(vector["body"].encode(), vector["digital_signature"])
        assert answer.status_code == 200, answer.text
    stored = web.rows("SELECT body, digital_signature FROM inbox_events ORDER BY received_at")
    assert stored == [
        (vector["body"].encode(), vector["digital_signature"])
        for vector in (json.loads(file.read_text()) for file in VECTORS)
    ]
    assert [arrived.target for arrived in key_server.arrived] == ["/v2/public-key?limit=3"]


def test_without_the_banks_key_the_answer_is_503_and_after_it_came_200(
    emulator: EmulatedBank, start_app: Callable[..., WebApp], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be checked is neither taken nor refused; the bank delivers it again."""
    emulator.fault("key_endpoint_down")
    web = start_app()
    answer = web.deliver(invoice_event())
    assert answer.status_code == 503
    assert "Retry-After" in answer.headers
    assert web.count("inbox_events") == 0
    emulator.clear_faults()
    monkeypatch.setattr("payments.bank.signature.FIRST_REFRESH_SECONDS_MIN", 0.0)  # five seconds later
    assert web.deliver(invoice_event()).status_code == 200
    assert web.count("credits") == 1


def test_an_event_signed_with_a_new_key_is_taken_once_the_key_may_be_asked_for_again(
    web: WebApp, emulator: EmulatedBank, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bank has rotated its key: for a minute nobody may make us ask again, then the first event does."""
    assert web.deliver(invoice_event("5000000000000001")).status_code == 200
    emulator.ask("POST", "key/rotate")
    body = invoice_event("5000000000000002")
    assert web.deliver(body).status_code == 401
    monkeypatch.setattr("payments.bank.signature.REFRESH_SECONDS_MIN", 0.0)  # a minute later
    assert web.deliver(body).status_code == 200
    assert len(emulator.requests("GET", "public-key")) == 2


def test_a_flood_of_forged_events_makes_one_call_to_the_bank(web: WebApp, emulator: EmulatedBank) -> None:
    """Two hundred strangers at once: the key is asked for at the start and then at most once a minute."""
    body = invoice_event()
    assert web.deliver(body).status_code == 200
    forged = [invoice_event(f"51{number:014d}") for number in range(200)]
    with ThreadPoolExecutor(16) as pool:
        answers = pool.map(lambda each: web.deliver(each, emulator.sign(each, forged=True)), forged)
        assert {answer.status_code for answer in answers} == {401}
    assert len(emulator.requests("GET", "public-key")) == 1
    assert web.count("inbox_events") == 1


# --- what is stored ---


def test_a_credited_event_is_committed_before_it_is_answered(web: WebApp) -> None:
    """Right after the 200, another program reads the event, the credit and its transfer."""
    body = invoice_event("5000000000000007", amount=20_000, fee=150)
    answer = web.deliver(body)
    assert answer.status_code == 200
    assert answer.json() == {"event_id": "6000000000000007", "outcome": "credit"}
    assert web.rows("SELECT event_id, source, outcome, body FROM inbox_events") == [
        ("6000000000000007", "webhook", "credit", body)
    ]
    assert web.rows("SELECT invoice_id, gross_centavos, fee_centavos, net_centavos FROM credits") == [
        ("5000000000000007", 20_000, 150, 19_850)
    ]
    assert web.rows("SELECT external_id, amount_centavos FROM transfers") == [
        ("credit-5000000000000007", 19_850)
    ]


def test_nothing_is_answered_while_the_commit_waits(web: WebApp, database_url: str) -> None:
    """As long as another program holds the write lock, no 200 can be given: the answer comes after the commit."""
    with ThreadPoolExecutor(1) as pool:
        with closing(sqlite3.connect(database_url.removeprefix("sqlite:///"))) as other:
            other.execute("BEGIN IMMEDIATE")
            answer = pool.submit(web.deliver, invoice_event())
            with pytest.raises(TimeoutError):
                answer.result(0.3)
            other.rollback()
        assert answer.result(20).status_code == 200
    assert web.count("credits") == 1


def test_an_accepted_credit_is_forwarded_at_once(web: WebApp, emulator: EmulatedBank) -> None:
    """The forwarder is woken by the event; the bank has the transfer, at the net, to the destination."""
    web.deliver(invoice_event("5000000000000003", amount=20_000, fee=50))
    web.wait_for_sent()
    (sent,) = emulator.statement()["foreign_transfers"]  # the emulator never had this invoice
    assert sent["external_id"] == "credit-5000000000000003"
    assert sent["amount_centavos"] == 19_950
    assert sent["account_number"] == "6341320293482496"


def test_the_same_event_five_times_at_once_makes_one_transfer(web: WebApp, emulator: EmulatedBank) -> None:
    """All five are answered 200, one of them found it new, and the bank has one transfer."""
    body = invoice_event()
    with ThreadPoolExecutor(5) as pool:
        answers = list(pool.map(lambda _: web.deliver(body), range(5)))
    assert [answer.status_code for answer in answers] == [200] * 5
    outcomes = sorted(answer.json()["outcome"] for answer in answers)
    assert outcomes == ["credit", *["repeated"] * 4]
    web.wait_for_sent()
    assert emulator.statement()["transfer_count"] == 1


def test_what_is_signed_but_cannot_be_read_is_stored_whole_and_raised(web: WebApp) -> None:
    """The bank would repeat it three times and no more; no money is guessed, and a person decides what it was."""
    half_of_a_pair = b'{"event":{"id":"1","subscription":"\\ud800","log":{}}}'
    bodies = (b"", b"\xff\xfe\x00", half_of_a_pair, invoice_event(amount="20000"))
    for raised, body in enumerate(bodies, start=1):
        answer = web.deliver(body)
        assert (answer.status_code, answer.json()["outcome"]) == (200, "unreadable"), body[:100]
        assert web.last_event() == ("unreadable", body)
        assert web.attention() == ["unreadable_event"] * raised
        assert web.deliver(body).json()["outcome"] == "repeated"
    assert web.count("credits") == web.count("transfers") == 0


# --- storage that fails ---


def test_a_locked_database_is_answered_503_and_the_repeat_200(
    start_app: Callable[..., WebApp], database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another program holds the write lock: the answer comes while the bank still listens, and nothing is stored."""
    assert sqlite.BUSY_SECONDS < TIMEOUT_SECONDS, "the bank would have given up"
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.05)
    web = start_app()
    body = invoice_event()
    with closing(sqlite3.connect(database_url.removeprefix("sqlite:///"))) as other:
        other.execute("BEGIN IMMEDIATE")
        answer = web.deliver(body)
        assert answer.status_code == 503
        assert "Retry-After" in answer.headers
        other.rollback()
    assert web.count("inbox_events") == 0
    assert web.deliver(body).status_code == 200
    web.wait_for_sent()  # the forwarder went on
