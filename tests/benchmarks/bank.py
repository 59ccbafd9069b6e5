"""A bank that does next to nothing, so that what is measured is us: a public key, transfers, look-ups.

``python -m tests.benchmarks.bank PORT PUBLIC_KEY_FILE SECONDS``: a transfer call is answered after SECONDS, or
never when they are below 0. ``GET /seen`` tells how many transfers were accepted and how many were repeated.
"""

import asyncio
import sys
import time
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import httptools
import msgspec
import uvloop


class Transfers(msgspec.Struct):
    """What a creation brings."""

    transfers: list[dict[str, Any]]


class _Books:
    def __init__(self, public_key: str, seconds: float) -> None:
        self.public_key = public_key
        self.seconds = seconds
        self.by_external_id: dict[str, dict[str, Any]] = {}
        self.by_tag: dict[str, list[dict[str, Any]]] = {}
        self.accepted_at: dict[str, float] = {}
        self.repeated = 0

    def create(self, body: bytes) -> dict[str, Any]:
        made = msgspec.json.decode(body, type=Transfers).transfers
        for transfer in made:
            external_id = transfer["externalId"]
            self.repeated += external_id in self.by_external_id
            number = len(self.by_external_id) + 1
            transfer |= {"id": f"{10**15 + number}", "status": "created", "fee": 0}
            transfer |= {"created": _CREATED, "updated": _CREATED, "transactionIds": []}
            self.by_external_id[external_id] = transfer
            self.accepted_at[external_id] = time.time()
            for tag in transfer["tags"]:
                self.by_tag.setdefault(tag, []).append(transfer)
        return {"message": "ok", "transfers": made}

    def answer(self, method: str, url: str, body: bytes) -> dict[str, Any]:
        path = urlsplit(url)
        if "public-key" in path.path:
            return {"publicKeys": [{"content": self.public_key}], "cursor": None}
        if path.path == "/seen":
            return {"accepted": self.accepted_at, "repeated": self.repeated}
        if path.path.endswith("/transfer") and method == "POST":
            return self.create(body)
        if path.path.endswith("/transfer"):
            tags = parse_qs(path.query).get("tags", [""])[0].split(",")
            return {"transfers": [each for tag in tags for each in self.by_tag.get(tag, [])], "cursor": None}
        return {"logs": [], "events": [], "cursor": None}


_CREATED = "2026-03-02T15:00:00.000000+00:00"


class _Connection(asyncio.Protocol):
    def __init__(self, books: _Books) -> None:
        self._books = books

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own is none by class
        self._parser = httptools.HttpRequestParser(self)
        self._url, self._body = b"", b""

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._url, self._body = b"", b""

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        method = self._parser.get_method().decode()
        url, body = self._url.decode(), self._body
        seconds = self._books.seconds if "/transfer" in url else 0.0
        if seconds >= 0:
            asyncio.get_running_loop().call_later(seconds, self._answer, method, url, body)

    def _answer(self, method: str, url: str, body: bytes) -> None:
        text = msgspec.json.encode(self._books.answer(method, url, body))
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n"
        self._transport.write(head.encode() + text)


async def _serve(port: int, books: _Books) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: _Connection(books), "127.0.0.1", port)
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1]), _Books(Path(sys.argv[2]).read_text(), float(sys.argv[3]))))
