"""Sign-in's own tables have no pages here: each user keeps theirs, and operators help through the user's page."""

from django.contrib import admin

SIGN_IN_APPS = {"account", "mfa", "socialaccount", "usersessions"}

for model in [model for model in admin.site._registry if model._meta.app_label in SIGN_IN_APPS]:
    admin.site.unregister(model)
