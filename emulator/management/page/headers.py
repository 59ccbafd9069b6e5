"""The headers of every page: a browser loads nothing from another host and shows the page in no frame."""

from __future__ import annotations

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    # Not "no-referrer": browsers then send `Origin: null` with our own forms, and those are refused.
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
