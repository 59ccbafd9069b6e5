"""The short way of a delivery, through a real uvicorn over real sockets: the same answers as by ASGI, in every form."""

import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass

import pytest
import uvicorn

from payments.bank.signature import BankKeys
from payments.ledger import inbox
from payments.ledger.inbox import Receipt
from payments.settings import Settings
from tests.emulated import EmulatedBank
from tests.events import invoice_event
from tests.running import free_port, wait_until
from webhooks.app import create_app
from webhooks.delivery_protocol import DeliveryProtocol
from webhooks.receive import BODY_BYTES_MAX, Receiver

KEEP_ALIVE_SECONDS = 1


@dataclass
class Answer:
    """One answer as it came over the wire."""

    status: int
    headers: dict[str, str]
    body: bytes


class Client:
    """One connection, past every HTTP library."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self._file = self._socket.makefile("rb")

    def send(self, *parts: bytes) -> None:
        """Send these bytes, each part in a packet of its own."""
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for part in parts:
            self._socket.sendall(part)

    def read(self) -> Answer:
        """The next answer."""
        status = int(self._file.readline().split()[1])
        headers = {}
        while line := self._file.readline().strip():
            name, _, value = line.decode().partition(": ")
            headers[name.lower()] = value
        return Answer(status, headers, self._file.read(int(headers.get("content-length", 0))))

    def is_closed(self) -> bool:
        """Wait for the server to end the connection; False when it sends something instead."""
        return self._file.read(1) == b""

    def close(self) -> None:
        """Hang up."""
        self._file.close()
        self._socket.close()


class Served:
    """The web app under uvicorn in a thread, with its books."""

    def __init__(self, settings: Settings, file: str) -> None:
        self.port = free_port()
        self._file = file
        config = uvicorn.Config(
            create_app(settings),
            port=self.port,
            http=DeliveryProtocol,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
        )
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        wait_until(lambda: self.server.started, "uvicorn listens")
        self._clients: list[Client] = []

    def connect(self) -> Client:
        """A new connection."""
        self._clients.append(Client(self.port))
        return self._clients[-1]

    def stored(self) -> list[str]:
        """The ids of the events on the books."""
        with closing(sqlite3.connect(self._file)) as books:
            return [row[0] for row in books.execute("SELECT event_id FROM inbox_events ORDER BY event_id")]

    def hold(self) -> sqlite3.Connection:
        """Keep everybody else from writing until this connection rolls back."""
        other = sqlite3.connect(self._file)
        other.execute("BEGIN IMMEDIATE")
        return other

    def stop(self) -> None:
        """End as after SIGTERM."""
        self.server.should_exit = True
        for client in self._clients:
            client.close()
        self.thread.join(30)


@pytest.fixture
def served(settings: Callable[..., Settings], database_url: str) -> Iterator[Served]:
    """A served app over books of its own."""
    made = Served(settings(), database_url.removeprefix("sqlite:///"))
    yield made
    made.stop()


@pytest.fixture
def request_for(emulator: EmulatedBank) -> Callable[..., bytes]:
    """Builds the bytes of a delivery as the bank sends it; ``extra`` are further header lines."""

    def build(
        body: bytes, extra: bytes = b"", signature: str | None = None, version: bytes = b"1.1"
    ) -> bytes:
        signed = emulator.sign(body) if signature is None else signature
        return (
            b"POST /webhooks/starkbank HTTP/%s\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Digital-Signature: %s\r\nContent-Length: %d\r\n%s\r\n%s"
            % (version, signed.encode(), len(body), extra, body)
        )

    return build


def chunked(request: bytes) -> bytes:
    """The same request with its body in chunks, which takes the way through ASGI."""
    head, _, body = request.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length")]
    pieces = b"".join(
        b"%x\r\n%s\r\n" % (len(body[at : at + 700]), body[at : at + 700]) for at in range(0, len(body), 700)
    )
    return b"\r\n".join([*lines, b"Transfer-Encoding: chunked", b"", pieces + b"0\r\n\r\n"])


@pytest.fixture
def no_asgi(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever calls the Receiver by ASGI is answered 500."""

    async def refuse(*_: object) -> None:
        raise AssertionError("this one was to take the short way")

    monkeypatch.setattr(Receiver, "__call__", refuse)


@pytest.mark.usefixtures("no_asgi")
def test_an_ordinary_delivery_takes_the_short_way(served: Served, request_for: Callable[..., bytes]) -> None:
    """Stored, answered 200, and the connection stays for the next."""
    client = served.connect()
    for number in range(3):
        client.send(request_for(invoice_event(f"500000000000000{number}")))
        answer = client.read()
        assert answer.status == 200
        assert answer.body == b'{"event_id":"600000000000000%d","outcome":"credit"}' % number
        assert answer.headers["content-type"] == "application/json"
        assert "date" in answer.headers
    assert len(served.stored()) == 3


@pytest.mark.usefixtures("no_asgi")
def test_a_delivery_may_come_in_any_pieces(served: Served, request_for: Callable[..., bytes]) -> None:
    """Byte by byte at first, then in two halves."""
    client = served.connect()
    request = request_for(invoice_event())
    client.send(*(request[at : at + 1] for at in range(len(request))))
    assert client.read().status == 200
    request = request_for(invoice_event("5000000000000002"))
    client.send(request[: len(request) - 100], request[len(request) - 100 :])
    assert client.read().status == 200
    assert len(served.stored()) == 2


@pytest.mark.parametrize(
    ("body", "signature"),
    [
        (invoice_event(), None),
        (invoice_event(log_type="paid"), None),
        (b"no json", None),
        (invoice_event(), ""),
        (invoice_event(), "MEUC"),
        (invoice_event(), "x" * 500),
        (b"x" * 100_000, "MEUC"),
    ],
    ids=["credit", "no interest", "unreadable", "unsigned", "no signature", "long signature", "large"],
)
def test_both_ways_give_the_same_answer(
    served: Served, request_for: Callable[..., bytes], body: bytes, signature: str | None
) -> None:
    """Status, headers and body; the second of two equal events is a repeated one, by either way."""
    client = served.connect()
    request = request_for(body, signature=signature)
    client.send(request)
    client.read()  # the first of its kind
    client.send(request)
    short = client.read()
    client.send(chunked(request))
    by_asgi = client.read()
    assert (short.status, short.body) == (by_asgi.status, by_asgi.body)
    assert short.headers.keys() == by_asgi.headers.keys()


def test_what_is_out_of_the_ordinary_goes_the_long_way(
    served: Served, request_for: Callable[..., bytes]
) -> None:
    """A query, chunks, another path, another method, and a body that announces too much."""
    client = served.connect()
    client.send(request_for(invoice_event()).replace(b"/starkbank ", b"/starkbank?from=the-bank ", 1))
    assert client.read().status == 200
    client.send(chunked(request_for(invoice_event("5000000000000002"))))
    assert client.read().status == 200
    client.send(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
    assert client.read().status == 200
    client.send(b"GET /webhooks/starkbank HTTP/1.1\r\nHost: x\r\n\r\n")
    answer = client.read()
    assert answer.status == 405
    assert answer.headers["allow"] == "POST"
    client.send(
        b"POST /webhooks/starkbank HTTP/1.1\r\nHost: x\r\nDigital-Signature: MEUC\r\n"
        b"Content-Length: %d\r\n\r\n" % (BODY_BYTES_MAX + 1)
    )
    assert client.read().status == 413
    assert len(served.stored()) == 2


def test_who_expects_100_continue_gets_it(served: Served, request_for: Callable[..., bytes]) -> None:
    """Some clients send their body only when they were told to."""
    client = served.connect()
    head, _, body = request_for(invoice_event(), extra=b"Expect: 100-continue\r\n").partition(b"\r\n\r\n")
    client.send(head + b"\r\n\r\n")
    assert client.read().status == 100
    client.send(body)
    assert client.read().status == 200


def test_requests_in_one_packet_are_answered_in_order(
    served: Served, request_for: Callable[..., bytes]
) -> None:
    """While the first waits for its commit, the others wait for the first."""
    client = served.connect()
    other = served.hold()
    client.send(
        request_for(invoice_event("5000000000000001"))
        + b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
        + request_for(invoice_event("5000000000000002"))
    )
    other.rollback()
    other.close()
    answers = [client.read() for _ in range(3)]
    assert [answer.status for answer in answers] == [200] * 3
    assert b"6000000000000001" in answers[0].body
    assert b"6000000000000002" in answers[2].body
    client.send(request_for(invoice_event("5000000000000003")))
    assert client.read().status == 200


@pytest.mark.parametrize(("version", "extra"), [(b"1.0", b""), (b"1.1", b"Connection: close\r\n")])
def test_the_connection_ends_where_the_client_wants_it(
    served: Served, request_for: Callable[..., bytes], version: bytes, extra: bytes
) -> None:
    """HTTP/1.0, and ``Connection: close``."""
    client = served.connect()
    client.send(request_for(invoice_event(), version=version, extra=extra))
    answer = client.read()
    assert answer.status == 200
    assert answer.headers["connection"] == "close"
    assert client.is_closed()


def test_an_idle_connection_is_ended(served: Served, request_for: Callable[..., bytes]) -> None:
    """As uvicorn does after any answer."""
    client = served.connect()
    client.send(request_for(invoice_event()))
    assert client.read().status == 200
    assert client.is_closed()


def test_a_body_that_is_cut_off_is_not_stored(served: Served, request_for: Callable[..., bytes]) -> None:
    """The bank tries again; nobody else is harmed."""
    client = served.connect()
    client.send(request_for(invoice_event())[:-1])
    client.close()
    other = served.connect()
    other.send(request_for(invoice_event("5000000000000002")))
    assert other.read().status == 200
    assert served.stored() == ["6000000000000002"]


def test_an_event_is_stored_although_the_bank_hung_up(
    served: Served, request_for: Callable[..., bytes]
) -> None:
    """It had been received; the bank delivers it again and finds it known."""
    lock = served.hold()
    client = served.connect()
    client.send(request_for(invoice_event()))
    client.close()
    lock.rollback()
    lock.close()
    wait_until(served.stored, "the event is stored")
    again = served.connect()
    again.send(request_for(invoice_event()))
    assert b"repeated" in again.read().body


def test_a_server_that_ends_answers_what_it_has_taken_in(
    served: Served, request_for: Callable[..., bytes]
) -> None:
    """SIGTERM comes while a commit waits: first the answer, then the end."""
    lock = served.hold()
    client = served.connect()
    client.send(request_for(invoice_event()))
    idle = served.connect()
    idle.send(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
    idle.read()  # so the delivery before it has been read too
    served.server.should_exit = True
    assert idle.is_closed()
    lock.rollback()
    lock.close()
    answer = client.read()
    assert answer.status == 200
    assert answer.headers["connection"] == "close"
    assert client.is_closed()
    served.thread.join(30)
    assert not served.thread.is_alive()
    assert served.stored() == ["6000000000000001"]


@pytest.mark.parametrize(
    "place", [(inbox, "accept"), (BankKeys, "check_cached")], ids=["storing", "checking"]
)
def test_a_bug_is_answered_500_and_the_connection_goes_on(
    served: Served,
    request_for: Callable[..., bytes],
    monkeypatch: pytest.MonkeyPatch,
    place: tuple[object, str],
) -> None:
    """So the bank tries again; only the event that meets it is harmed. The same by either way."""

    def broken(*arguments: object) -> list[Receipt]:
        raise ZeroDivisionError("a bug")

    client = served.connect()
    with monkeypatch.context() as patch:
        patch.setattr(*place, broken)
        client.send(request_for(invoice_event()))
        assert client.read().status == 500
        client.send(chunked(request_for(invoice_event())))
        assert client.read().status == 500
    client.send(request_for(invoice_event()))
    assert client.read().status == 200
