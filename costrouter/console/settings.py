"""Settings: the organization's name, leaving it, one's access tokens, and the way to one's account."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy as lazy
from django.views.decorators.http import require_http_methods, require_POST

from accounts import services
from accounts.models import Membership, PersonalAccessToken
from accounts.permissions import allows
from accounts.services.access_tokens import scopes_for
from costrouter.console.access import ConsoleRequest, console_page
from costrouter.console.errors import refuse, say
from costrouter.console.organizations import OrganizationForm
from costrouter.sign_in.links import base_url

# Days that a token may live; 0: for ever.
LIVES = (
    (7, lazy("7 days")),
    (30, lazy("30 days")),
    (90, lazy("90 days")),
    (365, lazy("A year")),
    (0, lazy("Until I delete it")),
)


class TokenForm(forms.Form):
    """A new access token."""

    name = forms.CharField(
        label=lazy("Name"), max_length=100, help_text=lazy("What it is for, such as “nightly report”.")
    )
    days = forms.TypedChoiceField(label=lazy("It works for"), choices=LIVES, coerce=int, initial=90)
    scopes = forms.MultipleChoiceField(
        label=lazy("It may"),
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": lazy("Choose what the token may do.")},
    )

    def __init__(self, *args: Any, member: Membership, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["scopes"].choices = list(scopes_for(member.user).items())  # type: ignore[attr-defined]


@console_page("tokens.own")
@require_http_methods(["GET", "HEAD"])
def index(request: ConsoleRequest) -> HttpResponse:
    return _page(request, OrganizationForm(instance=request.member.organization))


@console_page("organization.edit")
@require_POST
def rename(request: ConsoleRequest) -> HttpResponse:
    """Give the organization another name."""
    form = OrganizationForm(request.POST, instance=request.member.organization)
    if form.is_valid():
        try:
            services.rename_organization(organization=form.instance, name=form.cleaned_data["name"])
        except ValidationError as error:
            refuse(form, error)
        else:
            messages.success(request, _("Saved."))
            return redirect("console:settings")
    # What was typed and refused is not what the organization is called.
    request.member.organization.refresh_from_db()
    return _page(request, form, status=422)


@console_page("tokens.own")
@require_POST
def leave(request: ConsoleRequest) -> HttpResponse:
    """Leave the organization."""
    name = request.member.organization.name
    try:
        services.leave(member=request.member)
    except ValidationError as error:
        say(request, error)
        return redirect("console:settings")
    messages.success(request, _("You have left “%(name)s”.") % {"name": name})
    return redirect("console:overview")


@console_page("tokens.own")
@require_http_methods(["GET", "HEAD", "POST"])
def token_new(request: ConsoleRequest) -> HttpResponse:
    """Make an access token; the answer to a valid form shows its secret, once."""
    form = TokenForm(request.POST if request.method == "POST" else None, member=request.member)
    if request.method == "POST" and form.is_valid():
        given = form.cleaned_data
        try:
            token, secret = services.create_access_token(
                member=request.member,
                name=given["name"],
                scopes=given["scopes"],
                expires_at=timezone.now() + timedelta(days=given["days"]) if given["days"] else None,
            )
        except ValidationError as error:
            refuse(form, error)
        else:
            snippet = f'curl {base_url(request)}/api/v1/me -H "Authorization: Bearer {secret}"'
            context = {"token": token, "secret": secret, "snippet": snippet}
            response = render(request, "console/token_made.html", context)
            response["Cache-Control"] = "no-store"
            return response
    return render(request, "console/token_new.html", {"form": form}, status=422 if form.errors else 200)


@console_page("tokens.own")
@require_POST
def token_delete(request: ConsoleRequest, token_id: int) -> HttpResponse:
    """Delete one's own token. Raises Http404 for anybody else's, and for those of other organizations."""
    token = _tokens(request.member).filter(pk=token_id).first()
    if token is None:
        raise Http404
    services.delete_access_token(token=token)
    messages.success(request, _("“%(name)s” is deleted and no longer works.") % {"name": token.name})
    return redirect("console:settings")


def _tokens(member: Membership) -> Any:
    return PersonalAccessToken.objects.filter(user=member.user, organization=member.organization)


def _page(request: ConsoleRequest, form: OrganizationForm, *, status: int = 200) -> HttpResponse:
    member, now = request.member, timezone.now()
    context = {
        "form": form,
        "may_edit": allows(member.role, "organization.edit"),
        "tokens": [(token, token.expires_at is not None and token.expires_at <= now) for token in _tokens(member)],
    }
    return render(request, "console/settings.html", context, status=status)
