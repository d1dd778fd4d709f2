"""Reads of the billing app."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.utils import timezone

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


def with_price_in_force(rows: QuerySet[Price]) -> QuerySet[Price]:
    """Prices with `in_force_id`: the number of the price in force now for the same model and tier."""
    in_force = (
        Price.objects.filter(
            model_name=OuterRef("model_name"), tier=OuterRef("tier"), effective_from__lte=timezone.now()
        )
        .order_by("-effective_from", "-pk")
        .values("pk")[:1]
    )
    return rows.annotate(in_force_id=Subquery(in_force))


def current_prices(*, model_names: Iterable[str]) -> dict[str, Price]:
    """The standard price in force now, by model name."""
    rows = Price.objects.filter(
        model_name__in=list(model_names), tier=Price.STANDARD, effective_from__lte=timezone.now()
    )
    return {price.model_name: price for price in rows.order_by("effective_from", "pk")}


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
