"""The files of the pages, and the page on which the API is read and tried: Swagger UI over `openapi.json`.

A browser cannot sign calls of /v2, so those that are tried on the page go through `/emulator/signed`, which signs them
with the first project's key and passes them on: from there they are checked, answered and kept like any client's.
"""

from __future__ import annotations

import mimetypes
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from emulator.books.refusal import Refusal
from emulator.management.endpoint import json_answer
from emulator.protocol.credentials import Credentials

# Of every page and file: a browser loads nothing from another host, and shows the page in no frame.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    # Not "no-referrer": browsers then send `Origin: null` with our own forms, and those are refused.
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_OWN = Path(__file__).parent / "static"
_SIGNED = "/emulator/signed"


def api_routes(protocol: ASGIApp, credentials: Credentials) -> list[Route]:
    """The page, the files of all pages, and the way into /v2 for calls that are tried on it."""
    files = {path.name: path for path in _OWN.iterdir()}
    # Found without importing the package, which would import Flask.
    package = find_spec("flask_swagger_ui")
    for place in (package.submodule_search_locations or ()) if package is not None else ():
        files |= {name: Path(place) / "dist" / name for name in ("swagger-ui-bundle.js", "swagger-ui.css")}

    async def file(request: Request) -> Response:
        path = files.get(request.path_params.get("name", "api.html"))
        if path is None:
            return Response("not found", 404)
        return FileResponse(path, headers=HEADERS, media_type=mimetypes.guess_type(path.name)[0])

    return [
        Route("/emulator/api", file, methods=["GET"]),
        Route("/emulator/static/{name}", file, methods=["GET"]),
        Route(f"{_SIGNED}/{{path:path}}", Signing(protocol, credentials)),
    ]


class Signing:
    """Passes a call of /v2 on under the signature of the first project."""

    def __init__(self, protocol: ASGIApp, credentials: Credentials) -> None:
        self._protocol = protocol
        self._credentials = credentials

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await Request(scope, receive).body()
        try:
            signature = self._credentials.sign_call(body)
        except Refusal as refusal:
            await json_answer(refusal.to_json(), 400)(scope, receive, send)
            return
        names = {name.encode() for name in signature}
        headers = [header for header in scope["headers"] if header[0] not in names]
        headers += [(name.encode(), value.encode()) for name, value in signature.items()]
        raw_path: bytes = scope["raw_path"][len(_SIGNED) :]
        passed_on = {
            **scope,
            "path": unquote(raw_path.decode("latin-1")),
            "raw_path": raw_path,
            "headers": headers,
        }
        sent = False

        async def replayed() -> Message:
            nonlocal sent
            if sent:
                return await receive()
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._protocol(passed_on, replayed, send)
