"""Making an organization, and choosing which one the console shows."""

from __future__ import annotations

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy as lazy
from django.views.decorators.http import require_http_methods, require_POST

from accounts import services
from accounts.models import Organization, User
from costrouter.console.access import current_member, switch_organization
from costrouter.console.errors import refuse


class OrganizationForm(forms.ModelForm):
    """An organization's name."""

    class Meta:
        model = Organization
        fields = ("name",)
        labels = {"name": lazy("Name")}


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def new(request: HttpRequest) -> HttpResponse:
    """Make an organization and go to it. It is there for people without any, too."""
    user = request.user
    assert isinstance(user, User)
    member = current_member(request)
    if member is not None:
        request.member = member  # type: ignore[attr-defined]
    form = OrganizationForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        try:
            made = services.create_organization(name=form.cleaned_data["name"], owner=user)
        except ValidationError as error:
            refuse(form, error)
        else:
            switch_organization(request, made.pk)
            messages.success(request, _("“%(name)s” is made, and you own it.") % {"name": made.name})
            return redirect("console:team")
    layout = "layouts/console.html" if member is not None else "layouts/auth.html"
    status = 422 if form.errors else 200
    return render(request, "console/organization_new.html", {"form": form, "layout": layout}, status=status)


@login_required
@require_POST
def switch(request: HttpRequest) -> HttpResponse:
    """Make another of one's organizations the current one. Raises Http404 for anybody else's."""
    number = request.POST.get("organization", "")
    chosen = switch_organization(request, int(number)) if number.isdecimal() and len(number) < 19 else None
    if chosen is None:
        raise Http404
    return redirect("console:overview")
