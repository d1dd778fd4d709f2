"""Where the console's pages are. Each page has its module in `costrouter/console/`."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver

app_name = "console"
urlpatterns: list[URLPattern | URLResolver] = []
