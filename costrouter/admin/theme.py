"""How the operator's admin looks and what its menu holds. `settings.UNFOLD` is this."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse_lazy

# THE menu: section → (title, icon of Material Symbols, admin model). A person sees what they have permission to view.
MENU: tuple[tuple[str, tuple[tuple[str, str, str], ...]], ...] = (
    (
        "Activity",
        (
            ("Usage records", "receipt_long", "billing.usagerecord"),
            ("Day totals", "calendar_month", "billing.daytotal"),
            ("Holds", "hourglass_top", "billing.hold"),
            ("Videos", "movie", "relay.videotask"),
            ("Refusal counts", "block", "billing.refusaltally"),
        ),
    ),
    (
        "Money",
        (
            ("Wallets", "account_balance_wallet", "billing.wallet"),
            ("Ledger", "menu_book", "billing.ledgerentry"),
            ("Budgets", "speed", "billing.budget"),
            ("Redemption codes", "redeem", "billing.redemptionbatch"),
        ),
    ),
    (
        "Routing",
        (
            ("Channels", "alt_route", "channels_app.channel"),
            ("Models", "neurology", "channels_app.cataloguemodel"),
            ("Prices", "sell", "billing.price"),
            ("Model groups", "workspaces", "channels_app.modelgroup"),
        ),
    ),
    (
        "Accounts",
        (
            ("Organizations", "apartment", "accounts.organization"),
            ("Users", "group", "accounts.user"),
            ("API keys", "key", "accounts.apikey"),
            ("Operator roles", "shield_person", "auth.group"),
            ("Audit log", "history", "accounts.auditentry"),
        ),
    ),
)


def _may_view(label: str) -> Callable[[HttpRequest], bool]:
    """Whether the person may see a model at all; the same rule as the admin's own: view or change."""
    app, model = label.split(".")

    def permission(request: HttpRequest) -> bool:
        user: Any = request.user
        return user.has_perm(f"{app}.view_{model}") or user.has_perm(f"{app}.change_{model}")

    return permission


def _item(title: str, icon: str, label: str) -> dict[str, Any]:
    return {
        "title": title,
        "icon": icon,
        "link": reverse_lazy(f"admin:{label.replace('.', '_')}_changelist"),
        "permission": _may_view(label),
    }


def _stylesheet(request: HttpRequest) -> str:
    return static("css/admin.css")


def _favicon(request: HttpRequest) -> str:
    return static("img/mark.svg")


UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "CostRouter",
    "SITE_HEADER": "CostRouter",
    "SITE_SUBHEADER": "Operator's admin",
    "SITE_SYMBOL": "hub",
    "SITE_URL": None,
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": _favicon}],
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
    "SHOW_BACK_BUTTON": True,
    "BORDER_RADIUS": "6px",
    "STYLES": [_stylesheet],
    "DASHBOARD_CALLBACK": "costrouter.dashboard.callback",
    "COLORS": {
        "primary": {
            "50": "oklch(98.4% .014 180.72)",
            "100": "oklch(95.3% .051 180.801)",
            "200": "oklch(91% .096 180.426)",
            "300": "oklch(85.5% .138 181.071)",
            "400": "oklch(77.7% .152 181.912)",
            "500": "oklch(70.4% .14 182.503)",
            "600": "oklch(54% .104 184.704)",
            "700": "oklch(47.5% .09 186.391)",
            "800": "oklch(41% .075 188.216)",
            "900": "oklch(36% .063 188.416)",
            "950": "oklch(27.7% .046 192.524)",
        },
    },
    "SIDEBAR": {
        "show_search": False,
        "show_all_applications": False,
        "navigation": [
            {"items": [{"title": "Overview", "icon": "monitoring", "link": reverse_lazy("admin:index")}]},
            *({"title": title, "separator": True, "items": [_item(*row) for row in rows]} for title, rows in MENU),
        ],
    },
}
