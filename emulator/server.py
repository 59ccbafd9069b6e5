"""The server process: uvicorn on an open socket, the proxy beside it, and status 0 on SIGTERM and Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from emulator.proxy.proxy import Proxy


@dataclass(frozen=True)
class ProxyPorts:
    """The proxy and its sockets, open but not yet served. `announcement` is printed once they are."""

    proxy: Proxy
    proxy_socket: socket.socket | None
    tls_socket: socket.socket | None
    announcement: str


def serve(app: ASGIApp, listener: socket.socket, url: str, ports: ProxyPorts | None, log_level: str) -> None:
    """Serve until a signal, and print `emulator ready on <url>` when callers are answered."""
    config = uvicorn.Config(
        app,
        http=Protocol,
        ws="none",
        log_level=log_level if log_level != "info" else "warning",
        access_log=False,
        server_header=False,
        # uvicorn's 5 s would cut pooled connections of callers that pause, and look like lost answers.
        timeout_keep_alive=120,
        # Requests that hang on purpose must not keep the process alive.
        timeout_graceful_shutdown=1,
    )
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(Server(config, url, ports).serve([listener]))


class Server(uvicorn.Server):
    """uvicorn, with the proxy started and stopped beside it."""

    def __init__(self, config: uvicorn.Config, url: str, ports: ProxyPorts | None) -> None:
        super().__init__(config)
        self._url = url
        self._ports = ports

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.started:
            return
        if self._ports is not None:
            if self._ports.proxy_socket is not None:
                await self._ports.proxy.open(self._ports.proxy_socket)
            if self._ports.tls_socket is not None:
                await self._ports.proxy.open_tls(self._ports.tls_socket)
            print(self._ports.announcement)
        print(f"emulator ready on {self._url}", flush=True)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._ports is not None:
            await self._ports.proxy.close()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn's own version raises the signal again at the end, and the process would exit with 143.
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield


class Protocol(HttpToolsProtocol):
    """Hands the connection to the application, so that a fault can cut it in the middle of an answer."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        scope: dict[str, Any] = self.scope  # type: ignore[assignment]
        scope["emulator.transport"] = self.transport
