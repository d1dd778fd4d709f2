"""Pages of sign-in that allauth lacks."""

from __future__ import annotations

from typing import Any

from allauth.account.adapter import get_adapter
from django.contrib import messages
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext

from accounts import services
from costrouter.sign_in.forms import NameForm


@login_required
def profile(request: HttpRequest) -> HttpResponse:
    """What the user is called, and their address."""
    user: Any = request.user
    form = NameForm(request.POST or None, instance=user)
    if request.method == "POST" and form.is_valid():
        services.rename_user(user=user, name=form.cleaned_data["name"])
        messages.success(request, gettext("Saved."))
        return redirect("account_profile")
    return render(request, "account/profile.html", {"form": form})


def admin_login(request: HttpRequest) -> HttpResponse:
    """The admin is entered through the site's sign-in. Who is no operator is told so."""
    user: Any = request.user
    wanted = request.GET.get(REDIRECT_FIELD_NAME, "")
    target = wanted if wanted and get_adapter().is_safe_url(wanted) else reverse("admin:index")
    if not user.is_authenticated:
        return redirect_to_login(target)
    if user.is_staff:
        return redirect(target)
    return render(request, "account/not_an_operator.html", status=403)
