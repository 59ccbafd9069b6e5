"""An HTTPS proxy that ends the bank's own host names here, so that any SDK reaches the emulator unchanged.

SDKs have no setting for the host, but every HTTP library reads HTTPS_PROXY and a CA bundle. This listener
answers CONNECT for the bank's two hosts with a certificate of its own authority and passes the bytes to the
emulator's plain port. It refuses every other host: it must never carry a call to a real server.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from datetime import datetime
from pathlib import Path

from emulator.proxy.authority import HOSTS, open_authority

# A line of CONNECT and its headers; anything longer is no client of ours.
MOST_HEAD_BYTES = 16_384
# For a client that connects and says nothing.
HEAD_SECONDS = 30.0


class Proxy:
    """The listener; `open` it with a listening socket, `close` it when the emulator stops."""

    def __init__(self, folder: Path, target: tuple[str, int], now: datetime) -> None:
        self._target = target
        self.authority_path, leaf_path = open_authority(folder, now)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(leaf_path)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, listener: socket.socket) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, sock=listener, limit=MOST_HEAD_BYTES)

    async def close(self) -> None:
        """Stop listening and cut what is under way."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        try:
            await self._carry(reader, writer)
        except (OSError, EOFError, ValueError, TimeoutError, asyncio.LimitOverrunError):
            # The client went away, spoke no HTTP, or does not trust our authority: its own error says so.
            pass
        except asyncio.CancelledError:
            writer.transport.abort()  # the emulator stops
        finally:
            # Not waited for: under TLS the other side may never say goodbye.
            writer.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(HEAD_SECONDS):
            head = await reader.readuntil(b"\r\n\r\n")
        method, target, *_ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
        host, _, port = target.rpartition(":")
        if method != "CONNECT":
            await _refuse(writer, "405 Method Not Allowed", "this proxy only takes CONNECT; use HTTPS_PROXY")
            return
        if host not in HOSTS or port != "443":
            await _refuse(
                writer, "403 Forbidden", f"this proxy only leads to {' and '.join(HOSTS)}, not {target}"
            )
            return
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await writer.drain()
        async with asyncio.timeout(HEAD_SECONDS):
            await writer.start_tls(self._context)
        inner_reader, inner_writer = await asyncio.open_connection(*self._target)
        try:
            await _both_ways(reader, writer, inner_reader, inner_writer)
        finally:
            inner_writer.close()


async def _both_ways(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    inner_reader: asyncio.StreamReader,
    inner_writer: asyncio.StreamWriter,
) -> None:
    up = asyncio.ensure_future(_pass(reader, inner_writer))
    down = asyncio.ensure_future(_pass(inner_reader, writer))
    try:
        done, _ = await asyncio.wait((up, down), return_when=asyncio.FIRST_COMPLETED)
        if any(task.exception() is not None for task in done):
            # An answer that the emulator cut on purpose must look cut to the client too.
            writer.transport.abort()
            inner_writer.transport.abort()
    finally:
        for task in (up, down):
            task.cancel()
        await asyncio.gather(up, down, return_exceptions=True)


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()


async def _refuse(writer: asyncio.StreamWriter, status: str, why: str) -> None:
    body = f"emulator: {why}\n".encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    writer.write(head.encode("ascii") + body)
    await writer.drain()
