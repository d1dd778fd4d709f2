"""Reads for the admin that cross apps. Apps find them by name (`admin_base.lookup`), so their imports stay one-way."""

from __future__ import annotations

from collections.abc import Iterable

from billing import selectors
from billing.models import Price
from channels_app.models import CatalogueModel, Channel, ModelGroup


def model_names() -> list[str]:
    """Every model of the catalogue."""
    return list(CatalogueModel.objects.values_list("name", flat=True))


def group_names() -> list[str]:
    """Every model group."""
    return list(ModelGroup.objects.values_list("name", flat=True))


def channel_choices() -> list[tuple[str, str]]:
    """(number, name) of every channel."""
    return [(str(pk), name) for pk, name in Channel.objects.order_by("name").values_list("pk", "name")]


def current_prices(names: Iterable[str]) -> dict[str, Price]:
    """The standard price in force now, by model name."""
    return selectors.current_prices(model_names=names)
