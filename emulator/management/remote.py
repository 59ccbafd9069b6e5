"""Finds a running emulator and calls its management API.

It speaks to nothing that does not mark its answers as an emulator's, and to no proxy.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from emulator.command_line import PROGRAM

# A large state takes some seconds to read.
PATIENCE_SECONDS = 120.0
START = f"start one with {PROGRAM}"


class NoEmulator(Exception):
    """There is nothing to talk to; the text says where it was looked for and what to do."""


class Refused(Exception):
    """The emulator said no; the text is its own, the code that of the first error."""

    def __init__(self, errors: list[dict[str, str]]) -> None:
        super().__init__("; ".join(each["message"] for each in errors))
        self.code = errors[0]["code"]


class Remote:
    """The management API of one running emulator."""

    def __init__(self, url: str, origin: str) -> None:
        self._url = url.rstrip("/")
        self._origin = origin
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def call(
        self, method: str, path: str, body: dict[str, Any] | None = None, query: dict[str, str] | None = None
    ) -> dict[str, Any]:
        """Call /emulator/<path> and return its answer."""
        question = f"?{urlencode(query)}" if query else ""
        request = urllib.request.Request(  # noqa: S310 - only http and https come in here
            f"{self._url}/emulator/{quote(path)}{question}",
            None if body is None else json.dumps(body).encode(),
            {"Content-Type": "application/json"},
            method=method,
        )
        try:
            with self._opener.open(request, timeout=PATIENCE_SECONDS) as answer:
                return self._read(answer)
        except urllib.error.HTTPError as refusal:
            with refusal:
                raise Refused(self._read(refusal)["errors"]) from None
        except (OSError, HTTPException):
            raise NoEmulator(f"no emulator answers at {self._url}{self._origin}; {START}") from None

    def _read(self, answer: Any) -> dict[str, Any]:
        if answer.headers.get("X-Emulator") is None:
            raise NoEmulator(f"what answers at {self._url} is no emulator; name another with --url")
        found: dict[str, Any] = json.load(answer)
        return found


def find(url: str | None, folder: Path) -> Remote:
    """The emulator at a URL, or the one that wrote the env file of a data folder."""
    if url is not None:
        return Remote(url, "")
    env_file = folder / "app.env"
    try:
        lines = env_file.read_text().splitlines()
    except OSError:
        raise NoEmulator(
            f"no emulator has been started from {folder}; {START}, or name it with --url"
        ) from None
    for line in lines:
        name, _, value = line.partition("=")
        if name == "STARKBANK_API_URL":
            return Remote(value, f" (named in {env_file})")
    raise NoEmulator(f"{env_file} names no emulator; {START}, or name it with --url")
