"""Django's pages. The relay's endpoints are in `relay/endpoints.py`; `costrouter/asgi.py` tells the two apart."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

urlpatterns = [
    path("admin/", admin.site.urls),
    path("console/", include("costrouter.console.urls")),
    path("", RedirectView.as_view(pattern_name="admin:index")),
]
