"""Who may see a page of the console: the current member, and what their role allows."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect

from accounts.models import Membership, Organization
from accounts.permissions import PERMISSIONS, allows

SESSION_KEY = "organization"


class ConsoleRequest(HttpRequest):
    """A request that `console_page` has let through."""

    user: Any
    member: Membership


def current_member(request: HttpRequest) -> Membership | None:
    """The signed-in user's place in the organization they have chosen, else in one of theirs; None without any.

    A shared organization comes before the personal one. Those that are suspended can still be looked at.
    """
    user: Any = request.user
    mine = Membership.objects.filter(user=user).select_related("organization", "user")
    chosen = request.session.get(SESSION_KEY)
    if chosen is not None and (found := mine.filter(organization_id=chosen).first()) is not None:
        return found
    return mine.order_by("organization__is_personal", "organization_id").first()


def switch_organization(request: HttpRequest, organization_id: int) -> Organization | None:
    """Make one of the user's organizations the current one; None where they are not a member of it."""
    user: Any = request.user
    member = (
        Membership.objects.filter(user=user, organization_id=organization_id).select_related("organization").first()
    )
    if member is None:
        return None
    request.session[SESSION_KEY] = organization_id
    return member.organization


def console_page(action: str) -> Callable[[Callable[..., HttpResponseBase]], Callable[..., HttpResponseBase]]:
    """A view for members whose role allows `action` (a row of `accounts.permissions.PERMISSIONS`).

    It finds `request.member`. Others are asked to sign in, sent to make an organization, or refused with 403.
    """
    assert action in PERMISSIONS, action

    def decorator(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
        @wraps(view)
        def page(request: Any, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if not request.user.is_authenticated:
                return redirect_to_login(request.get_full_path())
            member = current_member(request)
            if member is None:
                return redirect("console:organization-new")
            request.member = member
            if not allows(member.role, action):
                raise PermissionDenied("Your role in this organization does not allow this.")
            return view(request, *args, **kwargs)

        return page

    return decorator
