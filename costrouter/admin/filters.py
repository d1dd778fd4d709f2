"""List filters that more than one app's pages use."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.contrib.filters.admin import AutocompleteSelectFilter, DropdownFilter, TextFilter

from costrouter.admin.base import lookup


class GroupFilter(DropdownFilter):
    """By model group, out of those that exist."""

    title = "model group"
    parameter_name = "group"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, name) for name in lookup("group_names")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(group=self.value()) if self.value() else queryset


class ChannelFilter(DropdownFilter):
    """By the channel that answered, out of those that exist."""

    title = "channel"
    parameter_name = "channel_id"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return list(lookup("channel_choices"))

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = str(self.value() or "")
        return queryset.filter(channel_id=int(value)) if value.isdecimal() else queryset


class KeyFilter(AutocompleteSelectFilter):
    """By API key, found by typing."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.title = "API key"


class _ExactFilter(TextFilter):
    """By the exact text of a column, which an index or a short scan can find."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        text = str(self.value() or "").strip()
        return queryset.filter(**{self.column: text}) if text else queryset


class ModelFilter(_ExactFilter):
    """By the exact name of a model."""

    title = "model, exactly"
    parameter_name = column = "model"


class PricedModelFilter(_ExactFilter):
    """By the exact name of a price's model."""

    title = "model, exactly"
    parameter_name = column = "model_name"


class EndpointFilter(_ExactFilter):
    """By endpoint, exactly."""

    title = "endpoint, exactly"
    parameter_name = column = "endpoint"
