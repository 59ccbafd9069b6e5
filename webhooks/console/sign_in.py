"""Signing in and out, and choosing the language and the time zone: what the browser keeps, and when it forgets."""

from math import ceil

import structlog
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from payments.language import NAMES
from payments.operator.actions import WHO_LENGTH_MAX, plain_text
from webhooks.access import Gate, Refusal, address_of
from webhooks.console.context import Context, read_form
from webhooks.console.cookies import (
    LANGUAGE_COOKIE,
    SESSION_LENGTH,
    ZONE_COOKIE,
    session_cookie,
    set_cookie,
)
from webhooks.console.times import ZONES
from webhooks.console.urls import HOME, SIGN_IN, SIGN_OUT, is_console_url

log = structlog.get_logger()

_YEAR_SECONDS = 366 * 24 * 3600


class SignIn:
    """The sign-in page. The token travels in a form's body once; the cookie that follows is not the token."""

    def __init__(self, context: Context, gate: Gate, *, has_shared_token: bool) -> None:
        self._context = context
        self._gate = gate
        self._has_shared_token = has_shared_token

    @property
    def routes(self) -> list[Route]:
        """All but the sign-in itself need a session or the token."""
        return [
            Route(SIGN_IN, self.ask, methods=["GET"]),
            Route(SIGN_IN, self.sign_in, methods=["POST"]),
            Route(SIGN_OUT, self.sign_out, methods=["POST"]),
            Route(f"{HOME}/preferences", self.choose, methods=["POST"]),
        ]

    async def ask(self, request: Request) -> Response:
        """Ask for the token."""
        was_idle = request.query_params.get("ended") == "idle"
        return self._page(request, 200, request.query_params.get("back", ""), "", None, was_idle=was_idle)

    async def sign_in(self, request: Request) -> Response:
        """Open a session for an operator who has the token."""
        form = await read_form(request)
        who = plain_text(form.get("who", ""))[:WHO_LENGTH_MAX]
        back = form.get("back", "")
        _ = self._context.language(request).gettext
        found = self._gate.check(form.get("token", ""), address_of(request))
        if isinstance(found, Refusal) and found.wait_seconds:
            wait = ceil(found.wait_seconds)
            page = self._page(
                request, 429, back, who, _("Too many wrong tokens: wait %(wait)s s.", wait=wait)
            )
            page.headers["Retry-After"] = str(wait)
            return page
        if isinstance(found, Refusal):
            return self._page(request, 401, back, who, _("Wrong token."))
        log.info(
            "console.signed_in",
            who=found.name or who,
            has_own_token=bool(found.name),
            client=address_of(request),
        )
        response = _redirect(back)
        signed = self._context.cookies.begin_session(found, who, self._context.clock())
        # The path is what the prefix __Host- asks for.
        set_cookie(
            response, request, session_cookie(request), signed, SESSION_LENGTH.total_seconds(), path="/"
        )
        return response

    async def sign_out(self, request: Request) -> Response:
        """Have the browser forget the session."""
        response = RedirectResponse(SIGN_IN, 303)
        set_cookie(response, request, session_cookie(request), "", 0, path="/")
        return response

    async def choose(self, request: Request) -> Response:
        """Keep the language that this browser's operator reads, and the time zone."""
        form = await read_form(request)
        response = _redirect(form.get("back", ""))
        if form.get("zone", "") in ZONES:
            set_cookie(response, request, ZONE_COOKIE, form["zone"], _YEAR_SECONDS, HOME)
        if form.get("language", "") in NAMES:
            set_cookie(response, request, LANGUAGE_COOKIE, form["language"], _YEAR_SECONDS, HOME)
        return response

    def _page(
        self,
        request: Request,
        status: int,
        back: str,
        who: str,
        problem: str | None,
        *,
        was_idle: bool = False,
    ) -> Response:
        return self._context.render_bare(
            request,
            "sign_in",
            status,
            back=back if is_console_url(back) else HOME,
            who=who,
            problem=problem,
            was_idle=was_idle,
            has_shared_token=self._has_shared_token,
        )


def _redirect(back: str) -> Response:
    return RedirectResponse(back if is_console_url(back) else HOME, 303)
