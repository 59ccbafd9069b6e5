"""Signing in and out, and choosing the zone of times: what the browser keeps, and when it forgets."""

from math import ceil

import structlog
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from payments.operator.actions import WHO_LENGTH_MAX, plain_text
from webhooks.access import Gate, address_of
from webhooks.console.acts import is_ours, is_secure, read_form
from webhooks.console.door import HOME, SIGN_IN, session_cookie
from webhooks.console.pages import ZONE_COOKIE, Desk
from webhooks.console.reader import ZONES
from webhooks.console.seals import SESSION_LENGTH

log = structlog.get_logger()

_YEAR_SECONDS = 366 * 24 * 3600


class Entrance:
    """The sign-in page. The token travels in a form's body once; the cookie that follows is not the token."""

    def __init__(self, desk: Desk, gate: Gate) -> None:
        self._desk = desk
        self._gate = gate

    @property
    def routes(self) -> list[Route]:
        """All but the sign-in stand behind the door."""
        return [
            Route(SIGN_IN, self.ask, methods=["GET"]),
            Route(SIGN_IN, self.sign_in, methods=["POST"]),
            Route(f"{HOME}/sign-out", self.sign_out, methods=["POST"]),
            Route(f"{HOME}/zone", self.choose_zone, methods=["POST"]),
        ]

    async def ask(self, request: Request) -> Response:
        """Ask for the token."""
        return self._page(request, 200, request.query_params.get("back", ""), "", None)

    async def sign_in(self, request: Request) -> Response:
        """Open a session for whoever has the token."""
        form = await read_form(request)
        who = plain_text(form.get("who", ""))[:WHO_LENGTH_MAX]
        back = form.get("back", "")
        refusal = self._gate.check(form.get("token", ""), address_of(request))
        if refusal is not None:
            if refusal.wait_seconds:
                wait = ceil(refusal.wait_seconds)
                page = self._page(request, 429, back, who, f"Too many wrong tokens: wait {wait} s.")
                page.headers["Retry-After"] = str(wait)
                return page
            return self._page(request, 401, back, who, "That is not the token.")
        log.info("console.signed_in", who=who, client=address_of(request))
        response = RedirectResponse(back if is_ours(back) else HOME, 303)
        response.set_cookie(
            session_cookie(request),
            self._desk.seal.seal_session(who, self._desk.clock()),
            max_age=int(SESSION_LENGTH.total_seconds()),
            path="/",  # what the prefix __Host- asks for
            secure=is_secure(request),
            httponly=True,
            samesite="strict",
        )
        return response

    async def sign_out(self, request: Request) -> Response:
        """Have the browser forget the session."""
        response = RedirectResponse(SIGN_IN, 303)
        response.delete_cookie(
            session_cookie(request), path="/", secure=is_secure(request), httponly=True, samesite="strict"
        )
        return response

    async def choose_zone(self, request: Request) -> Response:
        """Keep the zone in which this browser's operator reads times."""
        form = await read_form(request)
        back, zone = form.get("back", ""), form.get("zone", "")
        response = RedirectResponse(back if is_ours(back) else HOME, 303)
        if zone in ZONES:
            response.set_cookie(
                ZONE_COOKIE,
                zone,
                max_age=_YEAR_SECONDS,
                path=HOME,
                secure=is_secure(request),
                httponly=True,
                samesite="strict",
            )
        return response

    def _page(self, request: Request, status: int, back: str, who: str, problem: str | None) -> Response:
        back = back if is_ours(back) else HOME
        return self._desk.bare(request, "sign_in", status, back=back, who=who, problem=problem)
