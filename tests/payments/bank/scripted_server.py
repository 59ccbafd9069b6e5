"""A bank of real sockets that does, request by request, exactly what a test says: answer, drip, hang, reset.

It knows no Stark Bank and checks nothing by itself; it keeps the requests as they arrived.
"""

import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

# What the server does with one request; True keeps the connection open for another.
Act = Callable[[socket.socket, threading.Event], bool]


@dataclass(frozen=True)
class Arrived:
    """One request, byte for byte."""

    connection: int
    method: str
    target: str
    headers: dict[str, str]
    body: bytes


def reply(
    body: object, status: int = 200, headers: Mapping[str, str] | None = None, then_close: bool = False
) -> Act:
    """Answer with ``body`` (bytes as they are, anything else as JSON)."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(content)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]

    def act(connection: socket.socket, closing: threading.Event) -> bool:
        connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + content)
        return not then_close

    return act


def raw(content: bytes) -> Act:
    """Send these bytes and close."""

    def act(connection: socket.socket, closing: threading.Event) -> bool:
        connection.sendall(content)
        return False

    return act


def drip(start: bytes, each: bytes = b"x", every_seconds: float = 0.03) -> Act:
    """Send ``start``, then a little again and again: never silent, never done."""

    def act(connection: socket.socket, closing: threading.Event) -> bool:
        connection.sendall(start)
        while not closing.wait(every_seconds):
            connection.sendall(each)
        return False

    return act


def flood(start: bytes, size: int) -> Act:
    """Send ``start`` and then ``size`` bytes as fast as they are taken."""

    def act(connection: socket.socket, closing: threading.Event) -> bool:
        connection.sendall(start)
        block = b" " * 65536
        for _ in range(size // len(block)):
            connection.sendall(block)
        return False

    return act


def hang(connection: socket.socket, closing: threading.Event) -> bool:
    """Say nothing until the test is over."""
    closing.wait()
    return False


def reset(connection: socket.socket, closing: threading.Event) -> bool:
    """Break the connection immediately (RST)."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False


def reset_unread(connection: socket.socket, closing: threading.Event) -> bool:
    """Wait until a request has begun to arrive, read nothing of it, and break the connection."""
    connection.recv(1, socket.MSG_PEEK)
    return reset(connection, closing)


@dataclass
class ScriptedServer:
    """Takes one act off ``script`` for every request.

    ``at_accept`` acts when a connection is made, ``at_request`` when a later request begins to arrive on it.
    """

    script: list[Act] = field(default_factory=list)
    at_accept: list[Act] = field(default_factory=list)
    at_request: Act | None = None
    tls: ssl.SSLContext | None = None
    arrived: list[Arrived] = field(default_factory=list)
    accepted: int = 0
    closed: int = 0

    def __post_init__(self) -> None:
        self._closing = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._accept)]
        self._connections: list[socket.socket] = []
        self.port: int = self._listener.getsockname()[1]
        self._threads[0].start()

    @property
    def url(self) -> str:
        """What to put as STARKBANK_API_URL."""
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}"

    def narrow(self) -> None:
        """Take in no more than a few kilobytes that no one reads."""
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)

    def close(self) -> None:
        """Stop everything and wait for it."""
        self._closing.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        for connection in self._connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            self._connections.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection, self.accepted))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        with suppress(OSError), connection:
            if self.at_accept and not self.at_accept.pop(0)(connection, self._closing):
                return
            if self.tls is None:
                self._talk(connection, number)
            else:
                with self.tls.wrap_socket(connection, server_side=True) as secured:
                    self._talk(secured, number)
        self.closed += 1

    def _talk(self, connection: socket.socket, number: int) -> None:
        received = b""
        while True:
            while b"\r\n\r\n" not in received:
                part = connection.recv(1024)
                if self.at_request is not None and not self.at_request(connection, self._closing):
                    return
                if not part:
                    return
                received += part
            head, _, received = received.partition(b"\r\n\r\n")
            request_line, *lines = head.decode("latin-1").split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            length = int(headers.get("content-length", "0"))
            while len(received) < length:
                received += connection.recv(65536)
            body, received = received[:length], received[length:]
            method, target, _ = request_line.split(" ")
            self.arrived.append(Arrived(number, method, target, headers, body))
            if not self.script.pop(0)(connection, self._closing):
                return
