"""Where sign-in is: allauth's pages, and those that it lacks."""

from __future__ import annotations

from django.urls import include, path
from django.views.defaults import page_not_found

from costrouter.sign_in import views

urlpatterns = [
    path("profile/", views.profile, name="account_profile"),
    # Google's one-tap sign-in, which no page of ours offers; it knows neither our state nor PKCE.
    path("google/login/token/", page_not_found, {"exception": None}),
    path("", include("allauth.urls")),
]
