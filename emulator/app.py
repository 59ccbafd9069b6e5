"""Puts both APIs together into one application, and steps the bank while it runs.

The only place where the bank meets asyncio: one task sleeps until the agenda is due, and every request steps
the bank first, so that no answer is older than the clock.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from emulator.behaviour.bank import Bank
from emulator.clock import Clock
from emulator.management.guard import Guarded
from emulator.management.page.api import api_routes
from emulator.management.page.routes import Page
from emulator.management.routes import ManagementApi
from emulator.protocol.credentials import Credentials
from emulator.protocol.deliveries import Deliveries
from emulator.protocol.endpoint import ProtocolEndpoint

# Keeps an answer from being mistaken for the real bank's.
MARK = (b"x-emulator", b"repasse")

log = logging.getLogger("emulator.app")


def create_app(
    bank: Bank,
    credentials: Credentials,
    clock: Clock,
    serving: Callable[[Deliveries], AbstractAsyncContextManager[None]] | None = None,
) -> Starlette:
    """The application: /emulator is the management API, everything else the /v2 API.

    `serving` is entered before the first request, and left after the last one and before open deliveries are abandoned.
    """
    endpoint = ProtocolEndpoint(bank, credentials, clock)
    deliveries = Deliveries(bank, credentials, clock)
    management = ManagementApi(bank, credentials, clock, endpoint.history, deliveries)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        bank.events.deliver = deliveries.deliver
        stepping = asyncio.create_task(_step_forever(bank, clock))
        management.is_alive = lambda: not stepping.done()
        try:
            async with nullcontext() if serving is None else serving(deliveries):
                yield
        finally:
            stepping.cancel()
            await asyncio.gather(stepping, return_exceptions=True)
            await deliveries.close()

    app = Starlette(
        routes=[
            *Page(bank, clock, endpoint.history, deliveries, management.notes).routes(),
            *api_routes(endpoint, credentials),
            *management.routes(),
            Mount("", app=endpoint),
        ],
        lifespan=lifespan,
        middleware=[Middleware(Marked), Middleware(Guarded)],
    )
    app.router.redirect_slashes = False
    return app


class Marked:
    """Marks every answer as an emulator's."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), MARK]
            await send(message)

        await self._app(scope, receive, marked)


async def _step_forever(bank: Bank, clock: Clock) -> None:
    wake = asyncio.Event()
    bank.agenda.on_push = clock.on_change = wake.set
    while True:
        wake.clear()
        try:
            bank.step(clock.now())
        except Exception:
            # A bug of the emulator must show in its log and must not stop everything else that is planned.
            log.exception("something due at the bank failed")
            continue
        next_at = bank.next_at()
        wait_seconds = math.inf if next_at is None else clock.real_seconds_until(next_at)
        try:
            async with asyncio.timeout(None if math.isinf(wait_seconds) else wait_seconds):
                await wake.wait()
        except TimeoutError:
            pass
