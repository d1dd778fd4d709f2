"""Middleware of signed-in pages: the list of sessions, and operators' second factor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from allauth.usersessions.models import UserSession
from django.contrib import messages
from django.core.cache import caches
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext

from costrouter.console.access import current_member
from costrouter.sign_in.staff import staff_mfa_missing

SEEN_SECONDS = 300
SIGN_OUT = "/admin/logout/"


class Sessions:
    """Keeps when and from where a session was last seen, written at most once in five minutes by each process."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        key = request.session.session_key
        if key and request.user.is_authenticated and caches["process"].add(f"seen:{key}", 1, SEEN_SECONDS):
            UserSession.objects.create_from_request(request)
        return self.get_response(request)


class StaffMfa:
    """Sends operators without a second factor to set one up before any page of the admin, where `STAFF_MFA` says so."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        user: Any = request.user
        path = request.path_info
        if path.startswith("/admin/") and path != SIGN_OUT and staff_mfa_missing(user):
            messages.warning(request, gettext("Operators need an authenticator app or a passkey. Set one up first."))
            return redirect("mfa_index")
        return self.get_response(request)


class AccountPages:
    """Gives the pages of one's own account the console's menu around them. No cache keeps them: some show secrets."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: Any) -> HttpResponse:
        own = request.path_info.startswith("/accounts/") and request.user.is_authenticated
        if own:
            request.member = current_member(request)
        response = self.get_response(request)
        if own:
            response.headers.setdefault("Cache-Control", "no-store, private")
        return response
