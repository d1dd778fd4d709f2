"""Django's pages. The relay's endpoints are in `relay/endpoints.py`; `costrouter/asgi.py` tells the two apart."""

from __future__ import annotations

from allauth.account import views as account_views
from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from costrouter.console.home import home
from costrouter.dashboard.views import hide_checklist
from costrouter.sign_in import views as sign_in

urlpatterns = [
    path("accounts/", include("costrouter.sign_in.urls")),
    path("admin/login/", sign_in.admin_login),
    path("admin/logout/", account_views.logout),
    path("admin/hide-checklist/", hide_checklist, name="hide-checklist"),
    path("admin/password_change/", RedirectView.as_view(pattern_name="account_change_password")),
    path("admin/", admin.site.urls),
    path("api/v1/", include("costrouter.api.urls")),
    path("console/", include("costrouter.console.urls")),
    path("docs/", include("costrouter.reference.urls")),
    path("", home, name="home"),
]
