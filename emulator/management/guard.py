"""What a browser on this machine may not be made to do: call the management side, or read it, for another site.

/v2 is signed and answers to the bank's names, so it needs no guard; nor does a program, which sends no `Origin`.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from emulator.books.refusal import Refusal
from emulator.management.endpoint import json_answer


class Guarded:
    """Refuses requests below /emulator that pages of other sites have made a browser send."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith("/emulator"):
            reason = _reason_against(Request(scope))
            if reason is not None:
                await json_answer(Refusal.of("forbidden", reason).to_json(), 403)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _reason_against(request: Request) -> str | None:
    # DNS rebinding: the page of another site cannot read ours under a host name of its own. A caller on another machine
    # is allowed by --listen-anywhere and may use any name.
    name = _host_name(request.headers.get("host", ""))
    if request.client is not None and is_loopback(request.client.host) and not _is_here(name):
        return f"call the emulator by its address, not as {name[:100]!r}"
    origin = request.headers.get("origin")
    if origin is not None and origin.partition("://")[2] != request.headers.get("host"):
        return f"the management API does not answer pages of {origin[:200]}"
    if request.method != "GET" and request.headers.get("sec-fetch-site") in ("cross-site", "same-site"):
        return "the management API does not answer pages of other sites"
    return None


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach the address."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _host_name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return host


def _is_here(name: str) -> bool:
    if name in ("", "localhost") or name.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
