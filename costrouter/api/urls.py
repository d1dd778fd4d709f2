"""Where the API's resources are: below `/api/v1/`, without a slash at the end."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, path, re_path

from costrouter.api import docs
from costrouter.api.base import NotFound
from costrouter.api.tenant import me

app_name = "api"
urlpatterns: list[URLPattern | URLResolver] = [
    path("schema/", docs.schema, name="schema"),
    path("me", me.MeView.as_view(), name="me"),
    path("organizations", me.OrganizationsView.as_view(), name="organizations"),
    path("organization", me.OrganizationView.as_view(), name="organization"),
    re_path(r"", NotFound.as_view()),
]
