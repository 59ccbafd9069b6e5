"""What the ingest path is measured against: the least that this stack can do, and what everybody does."""

import os
from pathlib import Path

import starkbank
from starkcore.utils.cache import cache
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route


async def _read(request: Request) -> Response:
    await request.body()
    return JSONResponse({"received": True})


async def _parse(request: Request) -> Response:
    # The SDK's own way, with its key cache warm: nothing is stored, nothing is forwarded.
    body = (await request.body()).decode()
    event = starkbank.event.parse(body, request.headers["digital-signature"], user=_project)
    return JSONResponse({"event": event.id})


def create_plain() -> Starlette:
    """Reads the body and answers: the limit of the stack."""
    return Starlette(routes=[Route("/webhooks/starkbank", _read, methods=["POST"])])


def create_sdk() -> Starlette:
    """Checks each event by ``starkbank.event.parse``."""
    global _project
    from ellipticcurve import PublicKey

    cache["stark-public-key"] = PublicKey.fromPem(Path(os.environ["BENCH_PUBLIC_KEY"]).read_text())
    _project = starkbank.Project(
        id="5656565656565656",
        environment="sandbox",
        private_key=Path(os.environ["BENCH_PROJECT_KEY"]).read_text(),
    )
    return Starlette(routes=[Route("/webhooks/starkbank", _parse, methods=["POST"])])


_project: starkbank.Project
