"""The short way of a delivery through uvicorn: from the parsed request to ``Receiver.take``, without ASGI between.

An ASGI call is a task, a scope, an event and five messages: half of what this stack needs for a request that does
nothing (docs/performance.md). A delivery in the ordinary form, a POST to our path with its length told, needs none of
it. Whatever else comes, other paths, chunks, ``Expect``, a pipelined request, goes uvicorn's own way and finds the same
Receiver in the application. uvicorn's version is pinned; tests/webhooks/test_delivery_protocol.py says what we rely on.
"""

from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from webhooks.receive import BODY_BYTES_MAX, PATH, Answer, Receiver

# Where the application's lifespan leaves its Receiver for us.
STATE = "deliveries"

_PATH = PATH.encode()


class DeliveryProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._receiver: Receiver | None = self.app_state.get(STATE)
        self._arriving: _Delivery | None = None

    def on_message_begin(self) -> None:
        """Only what on_url and on_header need; a delivery needs no scope."""
        self.url = b""
        self.headers = []
        self.expect_100_continue = False

    def on_headers_complete(self) -> None:
        """Decide which way this request goes."""
        if (
            self.url == _PATH
            and self._receiver is not None
            and (getattr(self.cycle, "response_complete", True))
            and self.parser.get_method() == b"POST"
            and not self.expect_100_continue
            and not self.parser.should_upgrade()
        ):
            signature, length = "", b""
            for name, value in self.headers:
                if name == b"digital-signature":
                    signature = value.decode("latin-1")
                elif name == b"content-length":
                    length = value
            if length.isdigit() and int(length) <= BODY_BYTES_MAX:
                self.cycle = self._arriving = _Delivery(self, signature)  # type: ignore[assignment]
                return
        self._go_the_long_way()

    def _go_the_long_way(self) -> None:
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers.extend(headers)  # the scope has the same list
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Gather it; httptools gives us no more than the length that was told."""
        if self._arriving is None:
            super().on_body(body)
        else:
            self._arriving.chunks.append(body)

    def on_message_complete(self) -> None:
        """The delivery is whole."""
        delivery, self._arriving = self._arriving, None
        if delivery is None or self._receiver is None:
            super().on_message_complete()
        else:
            chunks = delivery.chunks
            body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
            self._receiver.take(body, delivery.signature, delivery.reply)


class _Nobody:
    """Stands for the event on which an ASGI application would wait."""

    def set(self) -> None:
        """Nobody waits."""


class _Delivery:
    """What uvicorn's protocol calls a cycle, one request and its answer, with the parts of it that it looks at."""

    __slots__ = ("_protocol", "chunks", "disconnected", "keep_alive", "response_complete", "signature")

    message_event = _Nobody()

    def __init__(self, protocol: DeliveryProtocol, signature: str) -> None:
        self._protocol = protocol
        self.signature = signature
        self.chunks: list[bytes] = []
        self.keep_alive = protocol.parser.should_keep_alive()
        self.disconnected = False
        self.response_complete = False

    def reply(self, answer: Answer) -> None:
        """Write the answer, unless the bank has hung up; then let uvicorn go on with the connection."""
        protocol = self._protocol
        transport = protocol.transport
        if self.response_complete or transport.is_closing():
            return
        self.response_complete = True
        parts = [STATUS_LINE[answer.status]]
        for name, value in (*protocol.server_state.default_headers, *answer.headers):
            parts += (name, b": ", value, b"\r\n")
        if not self.keep_alive:
            parts.append(b"connection: close\r\n")
        parts.append(b"content-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(answer.body))
        parts.append(answer.body)
        transport.write(b"".join(parts))
        if not self.keep_alive:
            transport.close()
        protocol.on_response_complete()
