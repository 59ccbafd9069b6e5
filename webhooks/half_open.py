"""Keeps a connection open for its answer when the client has closed its sending half.

That is what `nc -N` and some HTTP libraries do after a request. uvicorn 0.54 closes such a connection immediately, with
each of its protocols (``eof_received`` returns None): the event is stored, and its answer is lost. This stands between
the connection and uvicorn's own protocol, and changes only that.
"""

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

# A client that is gone closes in the same way. Its answer, or its stream of the console, ends then.
ANSWER_SECONDS = 15.0


class HalfOpen(asyncio.Protocol):
    """What uvicorn makes for each connection; the arguments are those of its protocol."""

    def __init__(self, **arguments: Any) -> None:
        self._protocol = H11Protocol(**arguments)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = transport
        self._protocol.connection_made(transport)  # type: ignore[arg-type]

    def data_received(self, data: bytes) -> None:
        """Hand bytes on."""
        self._protocol.data_received(data)

    def eof_received(self) -> bool:
        """Close now if no answer is owed, or the request is not whole; else after the answer."""
        if self._protocol.conn.their_state is h11.SEND_BODY:
            return False
        self._protocol.shutdown()  # what uvicorn does when it stops: idle connections now, others after the answer
        asyncio.get_running_loop().call_later(ANSWER_SECONDS, self._transport.close)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        """The client reads slower than we write."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """It has caught up."""
        self._protocol.resume_writing()
