"""The server process: uvicorn on an open socket, and status 0 on SIGTERM and Ctrl-C."""

from __future__ import annotations

import contextlib
import signal
import socket
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


def serve(app: ASGIApp, listener: socket.socket, log_level: str) -> None:
    """Serve until a signal."""
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
    # At its end uvicorn raises the signal again, which would end the process with 143.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(config).run([listener])


class Protocol(HttpToolsProtocol):
    """Hands the connection to the application, so that a fault can cut it in the middle of an answer."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        scope: dict[str, Any] = self.scope  # type: ignore[assignment]
        scope["emulator.transport"] = self.transport
