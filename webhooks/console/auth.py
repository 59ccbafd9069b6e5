"""What every request of the console passes: the token or a session, the same-origin check, security headers.

It wraps all pages, so that none can be forgotten. It knows nothing of what they show, and nothing of roles but that it
hands on who asks.
"""

from collections.abc import Callable
from datetime import datetime
from math import ceil
from urllib.parse import quote, urlsplit

import structlog
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from webhooks.access import Gate, Refusal
from webhooks.console.cookies import Session, SignedCookies, session_cookie, set_cookie
from webhooks.console.urls import CHANGES, SIGN_IN, SIGN_OUT, STATIC

log = structlog.get_logger()

# The header with which a page reloads itself: no person is there, so the session is not used.
BY_ITSELF = "x-repasse-refresh"

_HEADERS = {
    # No inline script or style, nothing from elsewhere, and no page of another site around ours.
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Nothing goes to other sites. Not "no-referrer": with it a browser sends "Origin: null" along with our own
    # forms, and over plain http nothing else tells them from another site's.
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=(), browsing-topics=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class AuthMiddleware:
    """Wraps the console's app. Puts the Session into ``request.state.session``; None where no one need have one."""

    def __init__(
        self, app: ASGIApp, gate: Gate, cookies: SignedCookies, clock: Callable[[], datetime]
    ) -> None:
        self._app = app
        self._gate = gate
        self._cookies = cookies
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(_HEADERS)
                headers.setdefault("Cache-Control", "no-store")
                if cookie is not None:
                    headers.append("Set-Cookie", cookie)
            await send(message)

        request = Request(scope, receive)
        answer = self._refusal(request)
        cookie = None if answer else self._renewal(request)
        await (answer or self._app)(scope, receive, send_with_headers)

    def _refusal(self, request: Request) -> Response | None:
        request.state.session = self._session(request)
        path = request.url.path
        if request.method not in ("GET", "HEAD") and not is_same_origin(request):
            log.warning("console.cross_site", path=path)
            return PlainTextResponse("this came from another site, and was not done\n", 403)
        if path == SIGN_IN or path.startswith(STATIC) or request.state.session is not None:
            return None
        found = self._gate.admit(request)
        if isinstance(found, Refusal):
            signed = request.cookies.get(session_cookie(request))
            was_idle = signed is not None and self._cookies.was_idle(signed, self._clock())
            return _ask_for_token(request, found, was_idle=was_idle)
        request.state.session = Session.of(found, "", None, self._clock())
        return None

    def _session(self, request: Request) -> Session | None:
        signed = request.cookies.get(session_cookie(request))
        return self._cookies.read_session(signed, self._clock()) if signed else None

    def _renewal(self, request: Request) -> str | None:
        """The Set-Cookie of a session that was used by a person; None for what a page does by itself."""
        session: Session | None = request.state.session
        path = request.url.path
        is_by_itself = BY_ITSELF in request.headers or path == CHANGES or path.startswith(STATIC)
        if session is None or session.until is None or is_by_itself or path in (SIGN_IN, SIGN_OUT):
            return None
        now = self._clock()
        renewed = self._cookies.renewed(session, now)
        if renewed is None:
            return None
        response = Response()
        seconds = (session.until - now).total_seconds()
        set_cookie(response, request, session_cookie(request), renewed, seconds, path="/")
        return response.headers["Set-Cookie"]


def is_same_origin(request: Request) -> bool:
    """Tell whether an unsafe request comes from a page of ours, or from a program that sends the token itself.

    A browser says where from: Sec-Fetch-Site, or at least Origin. A request with neither is believed only with a
    Bearer token, which no browser adds by itself, as it would cookies and Basic passwords.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = request.headers.get("origin")
    if origin is not None:
        return bool(urlsplit(origin).netloc) and urlsplit(origin).netloc == request.headers.get("host")
    return request.headers.get("authorization", "").lower().startswith("bearer ")


def _ask_for_token(request: Request, refusal: Refusal, *, was_idle: bool) -> Response:
    if refusal.wait_seconds:
        wait = {"Retry-After": str(ceil(refusal.wait_seconds))}
        return PlainTextResponse("too many wrong tokens: wait\n", 429, wait)
    wants_page = request.method == "GET" and "text/html" in request.headers.get("accept", "")
    if wants_page and "authorization" not in request.headers:
        back = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"{SIGN_IN}?back={quote(back)}{'&ended=idle' if was_idle else ''}", 303)
    challenge = {"WWW-Authenticate": 'Basic realm="repasse"'}
    return PlainTextResponse("an operator's token is needed\n", 401, challenge)
