"""Reads of the billing app."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from django.db.models import Q

from billing.models import Budget, Price
from billing.pricing import PriceInfo


def price_info(price: Price) -> PriceInfo:
    """A price as the relay keeps it."""
    return PriceInfo(
        id=price.pk,
        model_name=price.model_name,
        tier=price.tier,
        units={name: Decimal(value) for name, value in price.units.items()},
        long_above=price.long_context_above,
        long_units={name: Decimal(value) for name, value in price.long_context_units.items()},
        effective_from=price.effective_from,
    )


def prices(*, model_names: Iterable[str] | None = None) -> dict[str, list[PriceInfo]]:
    """Every price by model name, the one that takes effect last first."""
    rows = Price.objects.order_by("-effective_from", "-id")
    if model_names is not None:
        rows = rows.filter(model_name__in=list(model_names))
    found: dict[str, list[PriceInfo]] = {}
    for row in rows.iterator():
        found.setdefault(row.model_name, []).append(price_info(row))
    return found


def latest_price(*, model_name: str, tier: str = Price.STANDARD) -> Price | None:
    """The price that takes effect last."""
    return Price.objects.filter(model_name=model_name, tier=tier).order_by("-effective_from", "-id").first()


def budget_ids(*, organization_id: int, user_id: int, api_key_id: int) -> tuple[int, ...]:
    """The budgets that a request of this key counts against: the key's, the member's, the organization's."""
    return tuple(
        Budget.objects.filter(organization_id=organization_id)
        .filter(
            Q(api_key_id=api_key_id)
            | Q(user_id=user_id, api_key__isnull=True)
            | Q(user__isnull=True, api_key__isnull=True)
        )
        .order_by("id")
        .values_list("id", flat=True)
    )
