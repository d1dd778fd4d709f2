"""Middleware of Django's pages. The relay has none."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

# unfold's admin runs Alpine.js, which evaluates expressions in attributes (hence 'unsafe-eval') and sets inline styles.
# No page has an inline script, so none is allowed.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self'; connect-src 'self'; object-src 'none'; base-uri 'self'; "
    "form-action 'self'; frame-ancestors 'none'"
)


class ContentSecurityPolicy:
    """Adds `Content-Security-Policy` to every page: nothing is loaded from elsewhere, nobody may frame us."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        response.headers.setdefault("Content-Security-Policy", POLICY)
        return response
