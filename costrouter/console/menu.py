"""THE menu of the console, and what every one of its pages shows around its content."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from accounts.models import Membership
from accounts.permissions import allows


@dataclass(frozen=True, slots=True)
class Item:
    """A page: its title, icon (a symbol of `static/img/icons.svg`), URL name, and the action it needs."""

    title: Any
    icon: str
    url_name: str
    action: str


# Section → pages.
MENU: tuple[tuple[Any, tuple[Item, ...]], ...] = (
    (
        _("Use"),
        (
            Item(_("Overview"), "overview", "console:overview", "overview.view"),
            Item(_("API keys"), "key", "console:keys", "keys.own"),
            Item(_("Usage Logs"), "logs", "console:logs", "logs.own"),
            Item(_("Models"), "models", "console:models", "models.view"),
            Item(_("Playground"), "playground", "console:playground", "playground.use"),
        ),
    ),
    (
        _("Organization"),
        (
            Item(_("Billing"), "billing", "console:billing", "billing.view"),
            Item(_("Team"), "team", "console:team", "team.view"),
            Item(_("Audit log"), "audit", "console:audit", "audit.view"),
            Item(_("Settings"), "settings", "console:settings", "tokens.own"),
        ),
    ),
)


# Pages that are not named after their item.
BELOW = {"console:statement": "console:billing"}


def console(request: HttpRequest) -> dict[str, Any]:
    """A context processor: `console_menu`, `member`, `memberships` on pages that `console_page` has let through."""
    member: Membership | None = getattr(request, "member", None)
    if member is None:
        return {}
    current = request.resolver_match.view_name if request.resolver_match else ""
    return {
        "member": member,
        "memberships": Membership.objects.filter(user=member.user).select_related("organization"),
        "console_menu": [
            (title, [(item, _is_current(item, current)) for item in items if allows(member.role, item.action)])
            for title, items in MENU
        ],
    }


def _is_current(item: Item, view_name: str) -> bool:
    """Pages below an item are named after it: console:keys, console:key, console:key-new. `BELOW` has the others."""
    view_name = BELOW.get(view_name, view_name)
    one = item.url_name.removesuffix("s")
    return view_name in (item.url_name, one) or view_name.startswith(f"{one}-")
