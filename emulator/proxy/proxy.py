"""Takes calls for the bank's two host names, so that an SDK without a setting for the host reaches the emulator.

Three ways in: CONNECT to the HTTPS proxy (most HTTP libraries), a request in absolute form to the same port (axios
up to 1.16.0), and plain TLS under the bank's names (libraries that read no proxy variable, with a hosts file).
All end in the emulator's plain port. Other hosts are refused, unless `passes_others`; then their bytes are passed
through unread.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

import httptools

from emulator.command_line import PROGRAM
from emulator.proxy.authority import HOSTS, open_authority

# The first line of a request and its headers; no client of ours sends more.
HEAD_BYTES_MAX = 16_384
# How long a client may take to send its request line or to finish the TLS handshake.
HEAD_SECONDS = 30.0

Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter


class Proxy:
    """The listeners: `open` begins to serve, `close` stops everything."""

    def __init__(
        self,
        folder: Path,
        target: tuple[str, int],
        now: datetime,
        proxy_socket: socket.socket | None,
        tls_socket: socket.socket | None,
        *,
        passes_others: bool,
    ) -> None:
        """`folder` keeps the authority, `target` is the emulator's plain port, `now` the real time.

        The sockets listen already. Raises BadKeyFile when the files of the authority cannot be read.
        """
        self._target = target
        self._proxy_socket = proxy_socket
        self._tls_socket = tls_socket
        self._passes_others = passes_others
        self.authority_path, leaf_path = open_authority(folder, now)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(leaf_path)
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Serve as an HTTP and HTTPS proxy, and TLS under the bank's own names, where there is a socket for it."""
        if self._proxy_socket is not None:
            serve = self._guarded(self._serve_proxy)
            started = await asyncio.start_server(serve, sock=self._proxy_socket, limit=HEAD_BYTES_MAX)
            self._servers.append(started)
        if self._tls_socket is not None:
            serve = self._guarded(self._serve_emulator)
            self._servers.append(await asyncio.start_server(serve, sock=self._tls_socket, ssl=self._context))

    async def close(self) -> None:
        """Stop listening and cut the connections that are open."""
        for server in self._servers:
            server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _guarded(
        self, serve: Callable[[Reader, Writer], Awaitable[None]]
    ) -> Callable[[Reader, Writer], Awaitable[None]]:
        async def guarded(reader: Reader, writer: Writer) -> None:
            task = asyncio.current_task()
            if task is not None:
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            try:
                await serve(reader, writer)
            except (OSError, EOFError, ValueError, asyncio.LimitOverrunError, httptools.HttpParserError):
                # The client went away, sent no HTTP, or does not trust our authority; its own error says so.
                pass
            except asyncio.CancelledError:
                writer.transport.abort()  # the emulator stops
            finally:
                # Not awaited: under TLS the other side may never close its half.
                writer.close()

        return guarded

    async def _serve_proxy(self, reader: Reader, writer: Writer) -> None:
        async with asyncio.timeout(HEAD_SECONDS):
            head = await reader.readuntil(b"\r\n\r\n")
        method, target, *_ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
        if method != "CONNECT":
            await self._serve_absolute(head, reader, writer)
            return
        host, _, port = target.rpartition(":")
        is_bank = host in HOSTS and port == "443"
        if not is_bank and not self._passes_others:
            await _refuse(writer, f"{target} is not the bank")
            return
        other = None if is_bank else await self._connect(host, int(port), writer)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await writer.drain()
        if other is not None:
            await _both_ways(reader, writer, *other)
            return
        async with asyncio.timeout(HEAD_SECONDS):
            await writer.start_tls(self._context)
        await self._serve_emulator(reader, writer)

    async def _serve_emulator(self, reader: Reader, writer: Writer) -> None:
        await _both_ways(reader, writer, *await asyncio.open_connection(*self._target))

    async def _serve_absolute(self, head: bytes, reader: Reader, writer: Writer) -> None:
        """Requests whose first line holds the whole URL; one connection may carry several, to several hosts."""
        # uvicorn, like every HTTP/1.1 server, takes the absolute form too (RFC 9112, 3.2.2): no byte is changed.
        targets = _Targets()
        parser = httptools.HttpRequestParser(targets)
        upstream: _Upstream | None = None
        data = head
        try:
            while data:
                parser.feed_data(data)
                if upstream is None or upstream.origin != targets.origin:
                    if upstream is not None:
                        await upstream.close()
                    upstream = await self._open_upstream(targets.origin, writer)
                if upstream is None:
                    return
                upstream.writer.write(data)
                await upstream.writer.drain()
                data = await reader.read(65_536)
        finally:
            if upstream is not None:
                await upstream.close()

    async def _open_upstream(self, origin: str, writer: Writer) -> _Upstream | None:
        """A connection to `https://host:port`, the emulator's for the bank; None when it was refused."""
        parts = urlsplit(origin)
        if parts.hostname in HOSTS:
            return _Upstream(origin, writer, *await asyncio.open_connection(*self._target))
        if not parts.hostname or not self._passes_others:
            await _refuse(writer, f"{origin or 'a request without a host'} is not the bank")
            return None
        context = ssl.create_default_context() if parts.scheme == "https" else None
        port = parts.port or (443 if context else 80)
        return _Upstream(origin, writer, *await self._connect(parts.hostname, port, writer, context))

    async def _connect(
        self, host: str, port: int, writer: Writer, context: ssl.SSLContext | None = None
    ) -> tuple[Reader, Writer]:
        try:
            async with asyncio.timeout(HEAD_SECONDS):
                return await asyncio.open_connection(host, port, ssl=context)
        except OSError as error:
            await _answer(writer, "502 Bad Gateway", f"cannot reach {host}:{port}: {error}")
            raise


class _Upstream:
    """A connection to one origin, whose answers are copied to the client as they come."""

    def __init__(self, origin: str, client: Writer, reader: Reader, writer: Writer) -> None:
        self.origin = origin
        self.writer = writer
        self._task = asyncio.ensure_future(_answer_from(reader, client))

    async def close(self) -> None:
        """Stop copying; the client's connection stays open."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self.writer.close()


async def _answer_from(reader: Reader, client: Writer) -> None:
    try:
        await _pass(reader, client)
        client.close()
    except OSError:
        # An answer that the emulator cut on purpose must be cut for the client too.
        client.transport.abort()


class _Targets:
    """Receives the parser's calls and keeps the origin of the newest request, such as `https://host:443`."""

    def __init__(self) -> None:
        self.origin = ""
        self._url = b""

    def on_message_begin(self) -> None:
        self._url = b""

    def on_url(self, part: bytes) -> None:
        self._url += part

    def on_headers_complete(self) -> None:
        parts = urlsplit(self._url.decode("latin-1"))
        self.origin = f"{parts.scheme}://{parts.netloc}" if parts.netloc else ""


async def _both_ways(reader: Reader, writer: Writer, inner_reader: Reader, inner_writer: Writer) -> None:
    up = asyncio.ensure_future(_pass(reader, inner_writer))
    down = asyncio.ensure_future(_pass(inner_reader, writer))
    try:
        done, _ = await asyncio.wait((up, down), return_when=asyncio.FIRST_COMPLETED)
        if any(task.exception() is not None for task in done):
            # An answer that the emulator cut on purpose must be cut for the client too.
            writer.transport.abort()
            inner_writer.transport.abort()
    finally:
        for task in (up, down):
            task.cancel()
        await asyncio.gather(up, down, return_exceptions=True)
        inner_writer.close()


async def _pass(reader: Reader, writer: Writer) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()


async def _refuse(writer: Writer, why: str) -> None:
    advice = (
        f"this proxy leads to {' and '.join(HOSTS)} only. To reach other hosts too, start the emulator with "
        "--pass-other-hosts, or set the variables for one command: "
        f"{PROGRAM} run -- COMMAND"
    )
    # Many clients show the first line alone.
    await _answer(writer, "403 Refused by the Stark Bank emulator", f"{why}: {advice}")


async def _answer(writer: Writer, status: str, why: str) -> None:
    body = f"emulator: {why}\n".encode()
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n"
        "Connection: close\r\n\r\n"
    )
    writer.write(head.encode("ascii") + body)
    await writer.drain()
