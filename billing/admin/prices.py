"""Prices: dated, appended, never changed."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import F, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import DropdownFilter
from unfold.decorators import action, display
from unfold.enums import ActionVariant

from billing import services
from billing.admin.names import name_of
from billing.admin.price_form import COMMON, TIERS, PriceForm, initial_from
from billing.models import Price
from billing.selectors import with_price_in_force
from costrouter.admin.base import ServiceAdmin, badge, number, page_url, table, two_lines
from costrouter.admin.filters import PricedModelFilter
from costrouter.lib.units import UNITS, per_text


class TierFilter(DropdownFilter):
    """By service tier."""

    title = "tier"
    parameter_name = "tier"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        found = Price.objects.order_by("tier").values_list("tier", flat=True).distinct()
        return [(name, name.capitalize()) for name in dict.fromkeys([*TIERS, *found])]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Price]) -> QuerySet[Price]:
        return queryset.filter(tier=self.value()) if self.value() else queryset


class ForceFilter(DropdownFilter):
    """In force, yet to come, or past."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("now", "In force"), ("later", "Yet to come"), ("past", "Past")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Price]) -> QuerySet[Price]:
        match self.value():
            case "now":
                return queryset.filter(pk=F("in_force_id"))
            case "later":
                return queryset.filter(effective_from__gt=timezone.now())
            case "past":
                return queryset.filter(effective_from__lte=timezone.now()).exclude(pk=F("in_force_id"))
        return queryset


@admin.register(Price)
class PriceAdmin(ServiceAdmin):
    """Prices. A wrong one is corrected by a newer one; the database itself refuses anything else."""

    list_display = (
        "title",
        "force",
        "input_price",
        "cached_price",
        "output_price",
        "others",
        "long_text",
        "since",
    )
    list_display_links = ("title",)
    list_filter = (ForceFilter, TierFilter, PricedModelFilter)
    list_filter_submit = True
    search_fields = ("model_name",)
    search_help_text = "Model"
    show_full_result_count = False
    ordering = ("model_name", "tier", "-effective_from", "-id")
    actions = None
    actions_detail = ("copy",)
    actions_row = ("copy",)
    fieldsets = (
        (None, {"fields": (("model_name", "tier"), ("force", "since"), "units_shown", "long_shown")}),
        ("Where it comes from", {"fields": (("source", "author"), ("note", "created_at"))}),
    )
    add_fieldsets = (
        (None, {"fields": (("model_name", "tier"), "effective_from", "note")}),
        ("Prices in USD", {"fields": tuple(f"price_{name}" for name in COMMON)}),
        (
            "Other units",
            {
                "classes": ("collapse",),
                "fields": tuple(f"price_{name}" for name in UNITS if name not in COMMON),
            },
        ),
        (
            "Long context",
            {
                "classes": ("collapse",),
                "description": "Where a request's input is longer than this, these prices apply to the whole of it. "
                "A unit left empty keeps its price above.",
                "fields": ("long_context_above", *(f"long_{name}" for name in UNITS)),
            },
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Price]:
        return with_price_in_force(super().get_queryset(request))

    def get_form(self, request: HttpRequest, obj: Price | None = None, change: bool = False, **kwargs: Any) -> Any:
        if obj is None:
            kwargs["form"] = PriceForm
        return super().get_form(request, obj, change=change, **kwargs)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        copied = request.GET.get("copy", "")
        price = Price.objects.filter(pk=copied).first() if copied.isdecimal() else None
        return initial_from(price) if price is not None else super().get_changeform_initial_data(request)

    def has_append_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_add_permission(request)

    def has_change_permission(self, request: HttpRequest, obj: Price | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Price | None = None) -> bool:
        return False

    @display(description="Model", ordering="model_name")
    def title(self, price: Price) -> SafeString:
        return two_lines(price.model_name, "" if price.tier == Price.STANDARD else f"{price.tier} tier")

    @display(description="State")
    def force(self, price: Any) -> SafeString:
        if price.pk == price.in_force_id:
            return badge("In force", "success")
        return badge("Yet to come", "info") if price.effective_from > timezone.now() else badge("Past")

    @display(description="Input / M")
    def input_price(self, price: Price) -> SafeString:
        return _amount(price, "input")

    @display(description="Cached / M")
    def cached_price(self, price: Price) -> SafeString:
        return _amount(price, "cache_read")

    @display(description="Output / M")
    def output_price(self, price: Price) -> SafeString:
        return _amount(price, "output")

    @display(description="Other units")
    def others(self, price: Price) -> SafeString | str:
        names = [
            UNITS[name].label for name in price.units if name in UNITS and name not in ("input", "cache_read", "output")
        ]
        return two_lines(f"{len(names)} more", ", ".join(names)) if names else "—"

    @display(description="Long context")
    def long_text(self, price: Price) -> SafeString:
        return number("—" if price.long_context_above is None else f"above {price.long_context_above:,}")

    @display(description="From (UTC)", ordering="effective_from")
    def since(self, price: Price) -> SafeString:
        return two_lines(f"{price.effective_from:%Y-%m-%d %H:%M}", price.source)

    @display(description="Prices")
    def units_shown(self, price: Price) -> SafeString:
        return _units_table(price.units)

    @display(description="Long-context prices")
    def long_shown(self, price: Price) -> SafeString | str:
        if price.long_context_above is None:
            return "—"
        above = f"Above {price.long_context_above:,} input tokens"
        return format_html("{}{}", above, _units_table(price.long_context_units))

    @display(description="Added by")
    def author(self, price: Price) -> SafeString | str:
        return name_of(price, "created_by_id")

    @action(
        description="Copy as a new price",
        url_path="copy",
        icon="content_copy",
        variant=ActionVariant.PRIMARY,
        permissions=["append"],
    )
    def copy(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Only opens the form, filled in."""
        if not Price.objects.filter(pk=object_id).exists():
            raise Http404
        return HttpResponseRedirect(page_url("billing.price", "add", copy=object_id))

    def save_model(self, request: HttpRequest, obj: Price, form: Any, change: bool) -> None:
        made = services.append_price(
            model_name=obj.model_name,
            tier=obj.tier,
            units=form.units("price"),
            long_context_above=obj.long_context_above,
            long_context_units=form.units("long"),
            effective_from=form.cleaned_data.get("effective_from"),
            note=obj.note,
            actor=request.user,  # type: ignore[arg-type]
        )
        obj.__dict__.update(made.__dict__)


def _amount(price: Price, unit: str) -> SafeString:
    value = price.units.get(unit)
    return number("—", "quiet") if value is None else number(f"${value}")


def _units_table(units: dict[str, str]) -> SafeString:
    rows: list[list[object]] = [
        [UNITS[name].label, number(f"${value}"), per_text(name)] for name, value in units.items() if name in UNITS
    ]
    return table(["Unit", "Price", "For"], rows, (1,))
