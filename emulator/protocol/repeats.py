"""Makes a request or a delivery of the history once more, byte for byte, to the same or to any other URL.

The signature is the one that was sent: it covers neither the host nor the path, so it holds anywhere. The outcome is
kept beside the first one, to be compared; the bank's books do not know of it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httptools

from emulator.protocol.deliveries import TIMEOUT_SECONDS
from emulator.protocol.history import MOST_BODY_BYTES, Entry
from emulator.protocol.http_client import Answer, Connection, head, origin_of

# As many as a person compares.
MOST_REPEATS = 5


async def repeat(entry: Entry, method: str, url: str, headers: Mapping[str, str], at: str) -> dict[str, Any]:
    """Send the body of an entry once more; returns the repeat. ValueError when it was not kept whole."""
    body: bytes = entry["body"]
    if len(body) >= MOST_BODY_BYTES:
        raise ValueError(f"the body is longer than {MOST_BODY_BYTES} bytes and was not kept whole")
    made: dict[str, Any] = {"number": entry["number"], "at": at, "method": method, "url": url}
    made |= {"status": None, "message": "", "answer": ""}
    started_seconds = time.perf_counter()
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            answer = await _send(method, url, headers, body)
        made |= {"status": answer.status, "answer": answer.body.decode("utf-8", "replace")}
    except TimeoutError:
        made["message"] = f"no answer within {TIMEOUT_SECONDS:g} s"
    except (OSError, ValueError, httptools.HttpParserError, asyncio.IncompleteReadError) as error:
        made["message"] = f"could not connect: {str(error) or type(error).__name__}"
    made["ms"] = round((time.perf_counter() - started_seconds) * 1000, 3)
    entry["repeats"].append(made)
    del entry["repeats"][:-MOST_REPEATS]
    return made


async def _send(method: str, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
    parts = urlsplit(url)
    request = head(method, parts, {**headers, "Connection": "close"}, len(body)) + body
    connection = await Connection.open(origin_of(parts))
    try:
        return await connection.exchange(request)
    finally:
        connection.close()
