"""Where the docs pages are, below `/docs/`."""

from __future__ import annotations

from django.urls import path

from costrouter.reference import views

app_name = "reference"
urlpatterns = [
    path("", views.index, name="index"),
    path("openapi.json", views.openapi_document, name="openapi"),
    path("key/", views.make_key, name="make-key"),
    path("<str:name>/", views.endpoint, name="endpoint"),
]
