"""What every page needs: the database, the templates, the time, and what the browser keeps for us."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from payments.errors import LedgerUnavailable
from payments.language import N_, NAMES, Language, language_of, preferred_code
from payments.ledger.pauses import paused
from payments.operator.lists import count_attentions
from payments.storage.database import Database
from webhooks.console.cookies import (
    FLASH_COOKIE,
    FLASH_SECONDS,
    LANGUAGE_COOKIE,
    ZONE_COOKIE,
    Session,
    SignedCookies,
    set_cookie,
)
from webhooks.console.rendering import compiled, render
from webhooks.console.times import Times
from webhooks.console.urls import HOME, SIGN_IN, STATIC

# The badge beside "Attention" counts no further.
OPEN_ATTENTIONS_MAX = 99

# A reason has at most 500 characters; a form of more bytes is none of ours.
FORM_BYTES_MAX = 16_384


class Context:
    """Renders pages in a thread, so that the webhook never waits for an operator."""

    def __init__(
        self,
        database: Database,
        cookies: SignedCookies,
        clock: Callable[[], datetime],
        time_zone: str,
        language: Language,
        *,
        environment: str,
        can_issue: bool,
    ) -> None:
        self.database = database
        self.cookies = cookies
        self.clock = clock
        self._time_zone = time_zone
        self._environment = environment
        self._language = language
        self._can_issue = can_issue
        for code in NAMES:  # now, and not when the first page is asked for
            compiled(code)

    async def answer(self, request: Request, page: Callable[[Request], Response]) -> Response:
        """Make a page in a thread; 503 when the database does not answer."""
        try:
            return await asyncio.to_thread(page, request)
        except LedgerUnavailable as error:
            title = self.language(request).gettext("The database is not available")
            return self.render_bare(request, "problem", 503, title=title, detail=str(error))

    def page(self, page: Callable[[Request], Response]) -> Callable[[Request], Awaitable[Response]]:
        """A page as a route takes it."""

        async def endpoint(request: Request) -> Response:
            return await self.answer(request, page)

        return endpoint

    def language(self, request: Request) -> Language:
        """What the operator who asks reads: as chosen on a page, else as the browser asks, else by the settings."""
        code = request.cookies.get(LANGUAGE_COOKIE, "")
        if code not in NAMES:
            code = preferred_code(request.headers.get("Accept-Language", "")) or self._language.code
        return language_of(code)

    def for_operators(
        self, page: Callable[[Request], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        """The same page, which a reader is refused: 403 with the reason. Every page that does something is one."""

        async def guarded(request: Request) -> Response:
            if not request.state.session.may_act:
                _ = self.language(request).gettext
                raise HTTPException(
                    403,
                    _("You are signed in as a reader: you can see everything, and an operator must do this."),
                )
            return await page(request)

        return guarded

    def times(self, request: Request) -> Times:
        """How the operator who asks reads times."""
        zone = request.cookies.get(ZONE_COOKIE)
        return Times(self.clock(), self.language(request), zone, self._time_zone)

    def render(self, request: Request, name: str, status: int = 200, **values: Any) -> Response:
        """Render a page with its frame: what needs attention, what is paused, the result of the last action."""
        found = count_attentions(self.database, OPEN_ATTENTIONS_MAX + 1)
        frame = {"open_attentions": found, "paused": paused(self.database)}
        return self.render_bare(request, name, status, **frame | values)

    def problem(self, request: Request, status: int, title: str, detail: str) -> Response:
        """A page that says what went wrong, in the frame of every other page where that can be had."""
        values = {"title": title, "detail": detail}
        path = request.url.path
        if path == SIGN_IN or path.startswith(STATIC):  # anyone may see these
            return self.render_bare(request, "problem", status, **values)
        try:
            return self.render(request, "problem", status, **values)
        except LedgerUnavailable:
            return self.render_bare(request, "problem", status, **values)

    def render_bare(self, request: Request, name: str, status: int = 200, **values: Any) -> Response:
        """Render a page without reading the database."""
        flash = request.cookies.get(FLASH_COOKIE)
        session = request.state.session
        frame = {
            "times": self.times(request),
            "session": session,
            "may_act": session is not None and session.may_act,
            "idle_seconds": self.cookies.idle.total_seconds(),
            "environment": self._environment,
            "path": request.url.path,
            "here": request.url.path + (f"?{request.url.query}" if request.url.query else ""),
            "flash": self.cookies.read_flash(flash) if flash else None,
            "query": request.query_params.get("q", "")[:200],
            "open_attentions": 0,
            "open_attentions_max": OPEN_ATTENTIONS_MAX,
            "paused": {},
            "can_issue": self._can_issue,
        }
        response = HTMLResponse(render(self.language(request), name, **frame | values), status)
        if flash:  # shown once
            response.delete_cookie(FLASH_COOKIE, path=HOME)
        return response

    def flash(self, response: Response, request: Request, text: str, tone: str) -> None:
        """Have the next page show a message, once."""
        set_cookie(response, request, FLASH_COOKIE, self.cookies.sign_flash(text, tone), FLASH_SECONDS, HOME)


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a form, the first of each name. 413 for a form that is larger than any of ours."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > FORM_BYTES_MAX:
            raise HTTPException(413, N_("The form is too large."))
    try:
        fields = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=20)
    except ValueError:
        raise HTTPException(400, N_("The form cannot be read.")) from None
    return {name: values[0] for name, values in fields.items()}


def who_acts(session: Session, form: Mapping[str, str]) -> str:
    """The name to record; one that a person's own token proves is not for the form to change."""
    return session.who if session.is_proved else form.get("who", "")
