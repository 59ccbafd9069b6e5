"""Puts the console together: authentication around the pages, the actions, the sign-in and the live updates."""

import asyncio
import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import partial

from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from payments.authorization import session_secret
from payments.language import N_
from payments.observability.logging import redact
from payments.operator.revision import read_mark
from payments.settings import Settings
from payments.storage.database import Database
from webhooks.access import Gate
from webhooks.console.actions import ActionPages, Work
from webhooks.console.auth import AuthMiddleware
from webhooks.console.bulk import BulkPages
from webhooks.console.context import Context
from webhooks.console.cookies import SignedCookies
from webhooks.console.lists import LISTS, ListPages
from webhooks.console.live_updates import LiveUpdates
from webhooks.console.pages import Pages
from webhooks.console.rendering import STATIC_FOLDER
from webhooks.console.sign_in import SignIn
from webhooks.console.urls import CHANGES, HOME, STATIC

# Open pages reload so often even when nothing was recorded: that a process is silent, or a credit waits, shows by time
# alone.
RELOAD_SECONDS = 10

_FILES = {file.name: file for file in STATIC_FOLDER.iterdir()}


class Console:
    """The operator's pages, ready to be mounted; call ``end`` before the server waits for its open streams."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        gate: Gate,
        work: Work,
        clock: Callable[[], datetime],
        machine_clock: Callable[[], datetime],
    ) -> None:
        # The database's clock may have to ask the database, so only actions, which run in threads, use it; sessions
        # and ages use the machine's.
        idle = timedelta(seconds=settings.session_idle_seconds)
        cookies = SignedCookies(session_secret(settings.accounts), idle)
        self._context = Context(
            database,
            cookies,
            machine_clock,
            settings.time_zone,
            settings.language,
            environment="emulator" if settings.starkbank_api_url else settings.starkbank_environment,
            can_issue=work.new_batch_tag is not None,
        )
        self._live_updates = LiveUpdates(
            lambda: (read_mark(database), machine_clock().timestamp() // RELOAD_SECONDS)
        )
        list_pages = ListPages(self._context, settings.tax_id_search_key)
        app = Starlette(
            routes=[
                *Pages(self._context, _shown(settings, database)).routes,
                *list_pages.routes,
                *ActionPages(self._context, settings.forwarding_policy, work, clock).routes,
                *BulkPages(
                    self._context,
                    settings.forwarding_policy,
                    work.wake_forwarder,
                    clock,
                    partial(list_pages.asked, LISTS["transfers"]),
                ).routes,
                *SignIn(self._context, gate, has_shared_token=settings.operator_token is not None).routes,
                Route(CHANGES, self._live_updates.answer),
                Route(STATIC + "{name}", _static),
            ],
            exception_handlers={HTTPException: self._problem, Exception: self._problem},
        )
        self._app = AuthMiddleware(app, gate, cookies, machine_clock)

    @property
    def routes(self) -> list[Route]:
        """Everything under /console."""
        return [Route(HOME, self._app), Route(HOME + "/{path:path}", self._app)]

    def end(self) -> None:
        """End the open streams; called on the event loop when the process is about to end."""
        self._live_updates.end()

    async def _problem(self, request: Request, error: Exception) -> Response:
        language = self._context.language(request)
        _ = language.gettext
        if not isinstance(error, HTTPException):
            title, detail = (
                _("Something went wrong"),
                _("This is a bug. The log of the web process has the details."),
            )
            return await asyncio.to_thread(self._context.problem, request, 500, title, detail)
        titles = {403: _("Not allowed"), 404: _("Not found")}
        title = titles.get(error.status_code, _("Invalid request"))
        # Not a message with values: it may have come from outside.
        detail = language.translations.gettext(error.detail)
        page = await asyncio.to_thread(self._context.problem, request, error.status_code, title, detail)
        page.headers.update(error.headers or {})
        return page


async def _static(request: Request) -> Response:
    file = _FILES.get(request.path_params["name"])
    if file is None:
        raise HTTPException(404, N_("There is no such file."))
    # Its address changes with its content.
    return FileResponse(file, headers={"Cache-Control": "public, max-age=31536000, immutable"})


def _shown(settings: Settings, database: Database) -> Mapping[str, str]:
    """The settings as the system page shows them: secrets never, tax ids masked."""
    shown = {}
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if name == "database_url":
            text = database.name
        elif isinstance(value, SecretStr):
            text = "••••••"
        elif value is None:
            text = "—"
        else:
            text = value if isinstance(value, str) else json.dumps(value)
        shown[name.upper()] = str(redact(None, "", {name: text})[name]) if "tax_id" in name else text
    return shown
