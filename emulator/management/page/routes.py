"""Serves the pages and their two files, with headers that let a browser load nothing else.

Reading only: every form goes to the management face.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from emulator.behaviour.bank import Bank
from emulator.clock import Clock
from emulator.management.page.dashboard import dashboard
from emulator.management.page.details import details
from emulator.management.page.html import Html, join, tag
from emulator.management.sentences import Notes
from emulator.protocol.deliveries import Deliveries
from emulator.protocol.endpoint import ProtocolEndpoint

_STATIC = Path(__file__).parent / "static"
_FILES = {"style.css": "text/css", "page.js": "text/javascript"}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    # Not "no-referrer": browsers then send `Origin: null` with our own forms, and those are turned away.
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def page_routes(
    bank: Bank, clock: Clock, endpoint: ProtocolEndpoint, posts: Deliveries, notes: Notes
) -> list[Route]:
    """The routes of the page, for the application."""

    async def home(request: Request) -> Response:
        bank.step(clock.now())
        return _page("Emulator", dashboard(bank, clock, endpoint, posts, notes))

    async def one(request: Request) -> Response:
        kind, row_id = request.path_params["kind"], request.path_params["id"]
        found = details(kind, row_id, bank, endpoint, posts)
        if found is None:
            missing = join(
                [tag("h1", "There is no such thing, or no longer"), tag("a", "back", href="/emulator/")]
            )
            return _page("Nothing", missing, 404)
        return _page(f"{kind} {row_id}", found)

    async def static(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in _FILES:
            return Response("not found", 404)
        return Response((_STATIC / name).read_text(), 200, _HEADERS, _FILES[name])

    async def slash(request: Request) -> Response:
        return RedirectResponse("/emulator/", 308)

    table: list[tuple[str, Callable[[Request], Awaitable[Response]]]] = [
        ("/emulator", slash),
        ("/emulator/", home),
        ("/emulator/view/{kind}/{id}", one),
        ("/emulator/static/{name}", static),
    ]
    return [Route(path, endpoint, methods=["GET"]) for path, endpoint in table]


def _page(title: str, body: Html, status: int = 200) -> Response:
    document = tag(
        "html",
        tag(
            "head",
            tag("meta", charset="utf-8"),
            tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
            tag("meta", name="color-scheme", content="light dark"),
            tag("title", title),
            tag("link", rel="stylesheet", href="/emulator/static/style.css"),
            tag("link", rel="icon", href="data:,"),
            tag("script", src="/emulator/static/page.js", defer=True),
            tag("noscript", tag("meta", http_equiv="refresh", content="10")),
        ),
        tag("body", tag("main", body)),
        lang="en",
    )
    return Response(f"<!doctype html>\n{document}", status, _HEADERS, "text/html")
