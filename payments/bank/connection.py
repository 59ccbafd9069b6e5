"""HTTP/1.1 connections that keep one deadline for a whole call, and know whether its request was begun.

A timeout of the socket is for one operation, so a peer that drips bytes holds a caller for as long as it likes. Here
the name look-up, the connect, the TLS handshake, each write and each read get what is left of the call's time. The
protocol is h11's; nothing here knows the bank, repeats a request, or uses a proxy.
"""

import select
import socket
import ssl
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import h11

# A web process has some forwarders, one reconciliation and a few threads of the console; more only open and close.
CONNECTIONS_KEPT_MAX = 10

# uvicorn (our emulator) closes an idle connection after 5 s, load balancers after 60 s or more. Ours is given up before
# that, so that a POST seldom goes into a connection that the other side is about to close.
IDLE_SECONDS_MAX = 3.0

# Small enough that a slow reader cannot hold one write past the deadline; one TLS record.
WRITE_BYTES = 16 * 1024
READ_BYTES = 64 * 1024

# A page of 100 events is some 200 KB; more than a hundred times that is no answer to anything we ask.
ANSWER_BYTES_MAX = 32 * 1024 * 1024


class ProtocolError(Exception):
    """The answer is not HTTP, is too large, or ended before it was whole."""


@dataclass(slots=True)
class Progress:
    """How far one call has come. ``deadline`` is on the monotonic clock."""

    deadline: float
    request_begun: bool = False  # a byte of the request was handed to the network
    is_reused: bool = True  # it went into a connection that an earlier call had opened
    fresh_only: bool = False  # a second try must not meet another stale connection

    def seconds_left(self) -> float:
        """What is left of the call's time; raises TimeoutError when nothing is."""
        left = self.deadline - monotonic()
        if left <= 0:
            raise TimeoutError("the call's time is up")
        return left


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """The three things that starkcore reads of an answer. (Read: starkcore 0.8.0 utils/request.py, fetch.)"""

    status_code: int
    content: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Connection:
    origin: str
    sock: socket.socket
    http: h11.Connection
    used_at: float

    def is_usable(self) -> bool:
        """False when it was idle for too long, or has something to read: then the other side has closed it."""
        if monotonic() - self.used_at > IDLE_SECONDS_MAX:
            return False
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        return not poll.poll(0)


class Connections:
    """Sends requests, each over a connection that is kept for the next one. Thread-safe."""

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        """``tls`` is needed for https only."""
        self._tls = tls
        self._idle: list[_Connection] = []
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the idle connections."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.sock.close()

    def exchange(
        self, method: str, url: str, body: bytes, headers: Mapping[str, str], progress: Progress
    ) -> HttpAnswer:
        """Send one request and read its whole answer within the call's time.

        Raises OSError (TimeoutError and ConnectionError too) or ProtocolError; ``progress`` then says how far it came.
        """
        parts = urlsplit(url)
        connection = self._take(f"{parts.scheme}://{parts.netloc}", progress)
        sock, http = connection.sock, connection.http
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        length = [("Content-Length", str(len(body)))] if body or method != "GET" else []
        request = h11.Request(
            method=method, target=target, headers=[("Host", parts.netloc), *headers.items(), *length]
        )
        try:
            written = memoryview(
                b"".join(
                    http.send(event) or b"" for event in (request, h11.Data(data=body), h11.EndOfMessage())
                )
            )
            for start in range(0, len(written), WRITE_BYTES):
                sock.settimeout(progress.seconds_left())
                progress.request_begun = True
                sock.sendall(written[start : start + WRITE_BYTES])
            answer = _read_answer(sock, http, progress)
        except h11.ProtocolError as error:
            sock.close()
            raise ProtocolError(str(error)) from error
        except BaseException:
            sock.close()
            raise
        self._give_back(connection)
        return answer

    def _take(self, origin: str, progress: Progress) -> _Connection:
        while not progress.fresh_only:
            with self._lock:
                found = next((each for each in reversed(self._idle) if each.origin == origin), None)
                if found is None:
                    break
                self._idle.remove(found)
            if found.is_usable():
                return found
            found.sock.close()
        progress.is_reused = False
        return _Connection(
            origin, _connect(origin, self._tls, progress), h11.Connection(h11.CLIENT), monotonic()
        )

    def _give_back(self, connection: _Connection) -> None:
        http = connection.http
        if http.our_state is h11.DONE and http.their_state is h11.DONE:
            http.start_next_cycle()
            connection.used_at = monotonic()
            with self._lock:
                if len(self._idle) < CONNECTIONS_KEPT_MAX:
                    self._idle.append(connection)
                    return
        connection.sock.close()


def _read_answer(sock: socket.socket, http: h11.Connection, progress: Progress) -> HttpAnswer:
    status, headers, content = 0, {}, bytearray()
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            sock.settimeout(progress.seconds_left())
            received = sock.recv(READ_BYTES)
            if not received and not status:
                raise ConnectionResetError("the connection was closed before an answer came")
            http.receive_data(received)
        elif isinstance(event, h11.Response):
            status = event.status_code
            headers = {
                name.decode("latin-1").title(): value.decode("latin-1") for name, value in event.headers
            }
        elif isinstance(event, h11.Data):
            content += event.data
            if len(content) > ANSWER_BYTES_MAX:
                raise ProtocolError(f"the answer is larger than {ANSWER_BYTES_MAX} bytes")
        elif isinstance(event, h11.EndOfMessage):
            return HttpAnswer(status, bytes(content), headers)


_Address = tuple[Any, ...]


def _connect(origin: str, tls: ssl.SSLContext | None, progress: Progress) -> socket.socket:
    parts = urlsplit(origin)
    host = parts.hostname or ""
    failure = OSError(f"{host} has no address")
    addresses = _look_up(
        host, parts.port or (443 if parts.scheme == "https" else 80), progress.seconds_left()
    )
    for position, (family, kind, protocol, _, address) in enumerate(addresses):
        sock = socket.socket(family, kind, protocol)
        if parts.scheme == "https":
            assert tls is not None  # connections to https are opened with it
            # Wrapped before it connects: a wrap that meets a broken connection leaves the socket open. (CPython's ssl.)
            sock = tls.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # Each address gets an equal share, so that a silent first one leaves time for the second.
            sock.settimeout(progress.seconds_left() / (len(addresses) - position))
            sock.connect(address)
            if isinstance(sock, ssl.SSLSocket):
                # A handshake as a whole keeps the timeout that it finds. (Read: CPython Modules/_ssl.c.)
                sock.settimeout(progress.seconds_left())
                sock.do_handshake()
        except OSError as error:
            sock.close()
            failure = error
        else:
            return sock
    raise failure


def _look_up(host: str, port: int, seconds: float) -> list[_Address]:
    """Resolve a name within ``seconds``; a resolver that hangs is left behind, because it knows no deadline."""
    try:
        numeric = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        pass  # a name, then
    else:
        return list(numeric)
    found: Future[list[_Address]] = Future()

    def ask() -> None:
        try:
            found.set_result(list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))
        except (OSError, UnicodeError) as error:
            found.set_exception(OSError(str(error)))

    threading.Thread(target=ask, name=f"look up {host}", daemon=True).start()
    return found.result(seconds)
