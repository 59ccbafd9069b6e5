"""Pooled connections that keep one deadline for a whole call and know whether its request was begun.

urllib3's timeout is per socket operation, so a peer that drips bytes holds the caller for as long as it
likes. Here the name look-up, the connect, the TLS handshake, each write and each read get what is left of
the call's time. Nothing here knows the bank, retries, or uses a proxy.
"""

import io
import socket
import ssl
import threading
from concurrent.futures import Future
from contextvars import ContextVar
from dataclasses import dataclass
from http.client import HTTPResponse
from time import monotonic
from typing import Any, cast

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import NewConnectionError

# A web process has one forwarder, one reconciliation and a few threads of the console; more only open and
# close.
CONNECTIONS_KEPT_MAX = 10

# uvicorn (our emulator) closes an idle connection after 5 s, load balancers after 60 s or more. Ours is
# given up before that, so that a POST seldom goes into a connection that the other side is about to close.
IDLE_SECONDS_MAX = 3.0

# Small enough that a slow reader cannot hold one write past the deadline; one TLS record.
WRITE_BYTES = 16 * 1024


@dataclass(slots=True)
class Progress:
    """How far one call has come. ``deadline`` is on the monotonic clock."""

    deadline: float
    request_begun: bool = False  # a byte of the request was handed to the network
    is_reused: bool = True  # it went into a connection that an earlier call had opened
    fresh_only: bool = False  # a second try must not meet another stale connection

    def seconds_left(self) -> float:
        """Return what is left of the call's time; raises TimeoutError when nothing is."""
        left = self.deadline - monotonic()
        if left <= 0:
            raise TimeoutError("the call's time is up")
        return left


# Set around every call by the transport; the classes below have no other way to learn the deadline.
progress: ContextVar[Progress] = ContextVar("progress")


def open_pool(tls: ssl.SSLContext | None) -> PoolManager:
    """Return a thread-safe pool of such connections; ``tls`` is needed for https only."""
    pool = PoolManager(maxsize=CONNECTIONS_KEPT_MAX, retries=False, ssl_context=tls)
    pool.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
    return pool


class _Reader(io.RawIOBase):
    """Reads a socket, waiting at every read for no longer than the call has left."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(progress.get().seconds_left())
        return self._raw.readinto(buffer)

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()


class _Response(HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        # Read: CPython 3.11-3.13 http/client.py, HTTPResponse uses of its socket only makefile("rb").
        super().__init__(cast(socket.socket, _Reader(sock)), *args, **kwargs)


class _Connection(HTTPConnection):
    response_class = _Response
    _used_at = 0.0

    @property
    def is_connected(self) -> bool:
        """Asked by the pool before it reuses a connection; False makes it open a new one."""
        is_idle_too_long = monotonic() - self._used_at > IDLE_SECONDS_MAX
        return not is_idle_too_long and not progress.get().fresh_only and super().is_connected

    def connect(self) -> None:
        progress.get().is_reused = False
        super().connect()

    def _new_conn(self) -> socket.socket:
        try:
            return _connect(self._dns_host, self.port, progress.get())
        except (OSError, UnicodeError) as error:
            raise NewConnectionError(self, str(error)) from error

    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()
        here = progress.get()
        view = memoryview(data)
        for start in range(0, len(view), WRITE_BYTES):
            self.sock.settimeout(here.seconds_left())
            here.request_begun = True
            super().send(view[start : start + WRITE_BYTES])
        self._used_at = monotonic()


class _TlsConnection(_Connection, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


_Address = tuple[Any, ...]


def _connect(host: str, port: int, here: Progress) -> socket.socket:
    failure = OSError(f"{host} has no address")
    addresses = _look_up(host, port, here.seconds_left())
    for position, (family, kind, protocol, _, address) in enumerate(addresses):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # Each address gets an equal share, so that a silent first one leaves time for the second.
            sock.settimeout(here.seconds_left() / (len(addresses) - position))
            sock.connect(address)
            # A TLS handshake as a whole keeps the timeout that it finds. (Read: CPython Modules/_ssl.c.)
            sock.settimeout(here.seconds_left())
        except OSError as error:
            sock.close()
            failure = error
        else:
            return sock
    raise failure


def _look_up(host: str, port: int, seconds: float) -> list[_Address]:
    """Resolve a name within ``seconds``; a resolver that hangs is left behind, for it knows no deadline."""
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
            found.set_exception(error)

    threading.Thread(target=ask, name=f"look up {host}", daemon=True).start()
    return found.result(seconds)
