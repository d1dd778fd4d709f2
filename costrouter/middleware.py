"""Middleware of Django's pages. The relay has none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from accounts import audit
from costrouter.lib import netguard

# unfold's admin runs Alpine.js, which evaluates expressions in attributes (hence 'unsafe-eval') and sets inline styles.
# No page has an inline script, so none is allowed.
ADMIN_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self'; connect-src 'self'; object-src 'none'; base-uri 'self'; "
    "form-action 'self'; frame-ancestors 'none'"
)
# Our own pages have neither inline scripts nor inline styles.
POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)

# Sign-in with a provider is a form whose answer leads there, which a browser counts as a place the form goes to.
PROVIDER_ORIGINS = {"github": "https://github.com", "google": "https://accounts.google.com"}


def client_ip(request: HttpRequest) -> str:
    """The address a page's request came from, as `TRUSTED_PROXIES` lets us believe."""
    meta = request.META
    return netguard.client_address(
        meta.get("REMOTE_ADDR", ""), meta.get("HTTP_X_FORWARDED_FOR", ""), settings.TRUSTED_PROXIES
    )


class Acting:
    """Says who acts, for the audit log: the signed-in user, through the admin, the API or the console."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        user: Any = request.user
        first = request.path_info.split("/", 2)[1]
        via = {"admin": audit.Via.ADMIN, "api": audit.Via.API}.get(first, audit.Via.CONSOLE)
        with audit.acting(user=user if user.is_authenticated else None, via=via, client_ip=client_ip(request)):
            return self.get_response(request)


class ContentSecurityPolicy:
    """Adds `Content-Security-Policy` to every page: nothing is loaded from elsewhere, nobody may frame us."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        response.headers.setdefault("Content-Security-Policy", policy_of(request.path_info))
        return response


def policy_of(path: str) -> str:
    """The policy of a page: the admin's, that of sign-in with the providers that are configured, or ours."""
    if path.startswith("/admin/"):
        return ADMIN_POLICY
    origins = [PROVIDER_ORIGINS[name] for name in settings.SOCIALACCOUNT_PROVIDERS]
    if path.startswith("/accounts/") and origins:
        return POLICY.replace("form-action 'self'", " ".join(["form-action 'self'", *origins]))
    return POLICY
