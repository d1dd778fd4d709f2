"""The public home page: what this site is, for people who are not signed in."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_safe

from costrouter.console.snippets import key_snippets
from costrouter.reference.data import CATEGORIES, Category
from costrouter.sign_in.links import base_url
from relay.endpoints import ENDPOINTS, Endpoint


@dataclass(frozen=True, slots=True)
class Section:
    """A category of endpoints."""

    category: Category
    endpoints: tuple[Endpoint, ...]


def sections() -> list[Section]:
    """The relay's endpoints by category, in the order of the API Docs."""
    return [
        Section(category, tuple(row for row in ENDPOINTS if row.category == category.name)) for category in CATEGORIES
    ]


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """`/`: members go to their console, everybody else reads what this is."""
    if request.user.is_authenticated:
        return redirect(settings.LOGIN_REDIRECT_URL)
    base = base_url(request)
    context = {
        "base_url": base,
        "snippets": key_snippets(base=base, key="YOUR_KEY", model="MODEL"),
        "sections": sections(),
        "endpoint_count": len(ENDPOINTS),
    }
    return render(request, "home.html", context)
