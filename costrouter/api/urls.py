"""Where the API's resources are: below `/api/v1/`, without a slash at the end."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, path, re_path

from costrouter.api import docs
from costrouter.api.base import NotFound
from costrouter.api.tenant import keys, me, records, usage

app_name = "api"
urlpatterns: list[URLPattern | URLResolver] = [
    path("schema/", docs.schema, name="schema"),
    path("me", me.MeView.as_view(), name="me"),
    path("organizations", me.OrganizationsView.as_view(), name="organizations"),
    path("organization", me.OrganizationView.as_view(), name="organization"),
    path("keys", keys.KeysView.as_view(), name="keys"),
    path("keys/<pk:key_id>", keys.KeyView.as_view(), name="key"),
    path("keys/<pk:key_id>/rotate", keys.RotateKeyView.as_view(), name="key-rotate"),
    path("keys/<pk:key_id>/enable", keys.EnableKeyView.as_view(), name="key-enable"),
    path("keys/<pk:key_id>/disable", keys.DisableKeyView.as_view(), name="key-disable"),
    path("usage/summary", usage.SummaryView.as_view(), name="usage-summary"),
    path("usage/by-day", usage.ByDayView.as_view(), name="usage-by-day"),
    path("usage/by-model", usage.ByModelView.as_view(), name="usage-by-model"),
    path("usage/by-key", usage.ByKeyView.as_view(), name="usage-by-key"),
    path("usage/by-member", usage.ByMemberView.as_view(), name="usage-by-member"),
    path("usage/records", records.RecordsView.as_view(), name="records"),
    path("usage/records/<request:request_id>", records.RecordView.as_view(), name="record"),
    re_path(r"", NotFound.as_view()),
]
