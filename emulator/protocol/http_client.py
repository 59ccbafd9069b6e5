"""The HTTP client of the emulator: for posts to webhooks and for repeated requests.

It uses asyncio streams and uvicorn's own parser, so that the emulator needs no other HTTP library at run time. It
follows no redirect and reads no proxy variable.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from urllib.parse import SplitResult

import httptools

from emulator.protocol.history import MOST_BODY_BYTES

# An answer's body is read only to be shown and to keep the connection; a longer one costs the connection instead.
MOST_ANSWER_BYTES = 1_000_000

# Scheme, host and port.
Origin = tuple[str, str, int]


def origin_of(parts: SplitResult) -> Origin:
    """Where a URL leads; ValueError when its port is none."""
    return parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def head(method: str, parts: SplitResult, headers: Mapping[str, str], length: int) -> bytes:
    """The first line and the headers of a request to this URL; UnicodeError when they cannot be sent."""
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = [f"{method} {target} HTTP/1.1", f"Host: {parts.netloc}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines += [f"Content-Length: {length}", "", ""]
    return "\r\n".join(lines).encode("latin-1", "strict")


class Connection:
    """One connection to one server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, origin: Origin) -> Connection:
        """Connect; OSError when that fails."""
        scheme, host, port = origin
        context = ssl.create_default_context() if scheme == "https" else None
        return cls(*await asyncio.open_connection(host, port, ssl=context))

    async def exchange(self, request: bytes) -> Answer:
        """Send a request and read its answer."""
        answer = Answer()
        parser = answer.parser
        self._writer.write(request)
        await self._writer.drain()
        received = 0
        while not answer.is_complete:
            data = await self._reader.read(65_536)
            if not data:
                if answer.ends_with_connection:
                    break
                raise asyncio.IncompleteReadError(b"", None)
            received += len(data)
            parser.feed_data(data)
            if answer.has_headers and received > MOST_ANSWER_BYTES:
                answer.is_reusable = False
                break
        return answer

    def close(self) -> None:
        """Close it."""
        self._writer.close()


class Answer:
    """One answer: receives the parser's calls and knows how much of it has arrived."""

    def __init__(self) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.has_headers = False
        self.is_complete = False
        self.is_reusable = False
        self.body = b""
        self.ends_with_connection = False

    @property
    def status(self) -> int:
        """The status of the answer."""
        status: int = self.parser.get_status_code()
        return status

    def on_body(self, data: bytes) -> None:
        self.body = (self.body + data)[:MOST_BODY_BYTES]

    def on_headers_complete(self) -> None:
        self.has_headers = True
        # The parser answers this only while it is inside the message.
        self.ends_with_connection = not self.parser.should_keep_alive()

    def on_message_complete(self) -> None:
        self.is_complete = True
        self.is_reusable = not self.ends_with_connection
