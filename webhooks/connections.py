"""What stands between a connection and uvicorn's protocol, for two things that no protocol of uvicorn's does.

A client that closes its sending half after a request, as `nc -N` and some HTTP libraries do, still gets its answer:
uvicorn 0.54 closes the connection immediately, so the event is stored and its answer is lost. And a connection that
sends no whole request head is closed: uvicorn waits forever. Everything else is uvicorn's; this file can be deleted.
"""

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

# A client that is gone closes in the same way. Its answer, or its stream of the console, ends then.
ANSWER_SECONDS = 15.0

# A head has a few hundred bytes, and comes in one piece.
HEAD_SECONDS = 30.0


class Connection(asyncio.Protocol):
    """What uvicorn makes for each connection; the arguments are those of its protocol."""

    def __init__(self, **arguments: Any) -> None:
        self._protocol = H11Protocol(**arguments)
        self._head: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = transport
        self._protocol.connection_made(transport)  # type: ignore[arg-type]
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        """Hand bytes on."""
        self._protocol.data_received(data)
        conn = self._protocol.conn
        if conn.their_state is h11.IDLE and conn.trailing_data[0]:
            self._expect_head()
        elif self._head is not None:
            self._head.cancel()
            self._head = None

    def eof_received(self) -> bool:
        """Close now if no answer is owed, or the request is not whole; else after the answer."""
        if self._protocol.conn.their_state is h11.SEND_BODY:
            return False
        self._protocol.shutdown()  # what uvicorn does when it stops: idle connections now, others after the answer
        asyncio.get_running_loop().call_later(ANSWER_SECONDS, self._transport.close)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        if self._head is not None:
            self._head.cancel()
        self._protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        """The client reads slower than we write."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """It has caught up."""
        self._protocol.resume_writing()

    def _expect_head(self) -> None:
        if self._head is None:  # its beginning counts, not its latest byte
            self._head = asyncio.get_running_loop().call_later(HEAD_SECONDS, self._transport.close)
