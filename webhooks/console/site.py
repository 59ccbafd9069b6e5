"""Puts the console together: the door around the pages, the acts, the entrance and the stream of changes."""

import json
from collections.abc import Callable, Mapping
from datetime import datetime

from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from payments.observability.logging import redact
from payments.operator.revision import read_mark
from payments.settings import Settings
from payments.storage.database import Database
from webhooks.access import Gate
from webhooks.console.acts import Acting, Work
from webhooks.console.changes import Changes
from webhooks.console.door import HOME, STATIC, Door
from webhooks.console.entrance import Entrance
from webhooks.console.pages import Desk, Reading
from webhooks.console.rendering import STATIC_FOLDER, Pages
from webhooks.console.seals import Seal

_FILES = {file.name: file for file in STATIC_FOLDER.iterdir()}


class Console:
    """The operator's pages, ready to be mounted; ``end`` before the server waits for its open streams."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        token: str,
        gate: Gate,
        work: Work,
        clock: Callable[[], datetime],
        machine_clock: Callable[[], datetime],
    ) -> None:
        # The books' clock may have to ask the database, so it is for acts, which run in threads; sessions and ages
        # are told by the machine's.
        seal = Seal(token)
        self._desk = Desk(database, Pages(), seal, machine_clock, can_issue=work.new_batch_tag is not None)
        self._changes = Changes(lambda: read_mark(database))
        span = "hour" if settings.invoice_window_seconds <= 3600 else "day"
        app = Starlette(
            routes=[
                *Reading(self._desk, span, _shown(settings, database)).routes,
                *Acting(self._desk, settings.forwarding_policy, work, clock).routes,
                *Entrance(self._desk, gate).routes,
                Route(f"{HOME}/changes", self._changes.answer),
                Route(STATIC + "{name}", _static),
            ],
            exception_handlers={HTTPException: self._problem, Exception: self._problem},
        )
        self._door = Door(app, gate, seal, machine_clock)

    @property
    def routes(self) -> list[Route]:
        """Everything under /console."""
        return [Route(HOME, self._door), Route(HOME + "/{path:path}", self._door)]

    def end(self) -> None:
        """End the open streams; called on the event loop when the process is to end."""
        self._changes.end()

    async def _problem(self, request: Request, error: Exception) -> Response:
        if not isinstance(error, HTTPException):
            detail = "This is a bug; the log of the web process says more."
            return self._desk.bare(request, "problem", 500, title="Something broke", detail=detail)
        title = "Not found" if error.status_code == 404 else "That cannot be answered"
        page = self._desk.bare(request, "problem", error.status_code, title=title, detail=error.detail)
        page.headers.update(error.headers or {})
        return page


async def _static(request: Request) -> Response:
    file = _FILES.get(request.path_params["name"])
    if file is None:
        raise HTTPException(404, "there is no such file")
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
            text = "set, not shown"
        elif value is None:
            text = "not set"
        else:
            text = value if isinstance(value, str) else json.dumps(value)
        shown[name.upper()] = str(redact(None, "", {name: text})[name]) if "tax_id" in name else text
    return shown
