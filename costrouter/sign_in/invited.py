"""People who came by an invitation's link: they may sign up where sign-up is closed, with that address alone."""

from __future__ import annotations

from django.http import HttpRequest

# allauth's own key of an address that was verified elsewhere: by following the link that was mailed to it.
SESSION_KEY = "account_verified_email"


def remember_invited(request: HttpRequest, email: str) -> None:
    """Call it once somebody has followed the link of a valid invitation to this address."""
    request.session[SESSION_KEY] = email.lower()


def invited_email(request: HttpRequest) -> str | None:
    """The address whose invitation the visitor has followed, in lower case; None without one."""
    email = request.session.get(SESSION_KEY)
    return email.lower() if email else None


def forget_other_invitation(request: HttpRequest, email: str) -> None:
    """Somebody signs up: an invitation to another address than theirs says nothing about them."""
    if invited_email(request) != email.lower():
        request.session.pop(SESSION_KEY, None)
