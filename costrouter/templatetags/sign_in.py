"""`{% load sign_in %}`: what the pages of sign-in and of one's own account need."""

from __future__ import annotations

from typing import Any

from allauth.account.adapter import get_adapter
from allauth.socialaccount.models import SocialAccount
from allauth.socialaccount.providers import registry
from django import template
from django.conf import settings
from django.template import Context
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

register = template.Library()

# Tab of one's own account → the names of its pages, the first of them behind the tab.
TABS: tuple[tuple[Any, tuple[str, ...]], ...] = (
    (_("Profile"), ("account_profile", "account_email")),
    (_("Password"), ("account_change_password", "account_set_password")),
    (
        _("Two-factor and passkeys"),
        (
            "mfa_index",
            "mfa_activate_totp",
            "mfa_deactivate_totp",
            "mfa_view_recovery_codes",
            "mfa_generate_recovery_codes",
            "mfa_list_webauthn",
            "mfa_add_webauthn",
            "mfa_edit_webauthn",
            "mfa_remove_webauthn",
        ),
    ),
    (_("Sessions"), ("usersessions_list",)),
    (_("Connected accounts"), ("socialaccount_connections",)),
)
# What a browser's name for itself contains → what people call it; the first that fits.
BROWSERS = (("Edg", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"), ("Safari/", "Safari"))
SYSTEMS = (
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
)


@register.inclusion_tag("account/parts/tabs.html", takes_context=True)
def account_tabs(context: Context) -> dict[str, Any]:
    """The pages of one's own account. Connected accounts are there where a provider is, or was."""
    request = context["request"]
    match = request.resolver_match
    current = match.url_name if match else ""
    connections = bool(settings.SOCIALACCOUNT_PROVIDERS) or SocialAccount.objects.filter(user=request.user).exists()
    return {
        "tabs": [
            (title, reverse(names[0]), current in names)
            for title, names in TABS
            if connections or names[0] != "socialaccount_connections"
        ]
    }


@register.simple_tag(takes_context=True)
def signup_open(context: Context) -> bool:
    """Whether the visitor may create an account."""
    return bool(get_adapter().is_open_for_signup(context["request"]))


@register.simple_tag
def contact_link() -> str:
    """A link to whom `CONTACT` names; nothing where it names nobody."""
    if not settings.CONTACT:
        return ""
    href = f"mailto:{settings.CONTACT}" if "://" not in settings.CONTACT else settings.CONTACT
    return format_html('<a href="{}">{}</a>', href, gettext("Contact"))


@register.filter
def browser(user_agent: str) -> str:
    """A browser's long name for itself as "Firefox on Linux"; what is not known is shown as it came."""
    name = next((name for mark, name in BROWSERS if mark in user_agent), "")
    system = next((name for mark, name in SYSTEMS if mark in user_agent), "")
    if name and system:
        return gettext("%(browser)s on %(system)s") % {"browser": name, "system": system}
    return name or system or user_agent[:60] or gettext("Unknown")


@register.filter
def provider_name(provider: str) -> str:
    """github → "GitHub", whether or not it is configured now."""
    found = registry.get_class(provider)
    return found.name if found else provider


@register.filter
def connected_as(account: SocialAccount) -> str:
    """What the person is called at the provider."""
    data = account.extra_data
    return str(data.get("login") or data.get("email") or account.uid)
