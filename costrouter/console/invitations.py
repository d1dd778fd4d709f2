"""What the link of an invitation opens: who invites, to what, and joining.

Whoever has the link joins as the account they are signed in with, whatever its address: the page says which, and asks.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from accounts import services
from accounts.models import Membership
from costrouter.console.access import switch_organization
from costrouter.console.errors import say
from costrouter.sign_in.invited import remember_invited


@require_http_methods(["GET", "HEAD", "POST"])
def show(request: HttpRequest, secret: str) -> HttpResponse:
    """Say who invites to what. By POST, join. A link that is over, or never was, is a page with status 404."""
    invitation = services.open_invitation(secret)
    if invitation is None:
        return _answer(request, "console/invitation_over.html", {}, status=404)
    user: Any = request.user
    is_member = False
    if user.is_authenticated:
        is_member = Membership.objects.filter(user=user, organization=invitation.organization).exists()
        if request.method == "POST" and not is_member:
            return _join(request, secret)
    else:
        remember_invited(request, invitation.email)
    context = {
        "invitation": invitation,
        "is_member": is_member,
        "next": urlencode({"next": reverse("console:invitation", args=[secret])}),
    }
    return _answer(request, "console/invitation.html", context)


def _join(request: HttpRequest, secret: str) -> HttpResponse:
    user: Any = request.user
    try:
        joined = services.accept_invitation(secret=secret, user=user)
    except ValidationError as error:
        say(request, error)
        return redirect("console:invitation", secret=secret)
    switch_organization(request, joined.organization_id)
    words = {"organization": joined.organization.name}
    messages.success(request, _("Welcome to %(organization)s.") % words)
    return redirect("console:overview")


def _answer(request: HttpRequest, template: str, context: dict[str, Any], *, status: int = 200) -> HttpResponse:
    response = render(request, template, context, status=status)
    # The address is a secret.
    response["Cache-Control"] = "no-store"
    return response
