"""What runs and what adds up: holds, day totals, refusals that were only counted. Nobody edits them."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.timesince import timesince
from unfold.contrib.filters.admin import AutocompleteSelectFilter, BooleanRadioFilter, RangeDateFilter
from unfold.decorators import display
from unfold.views import ChangeList

from billing.admin.lists import BoundedPaginator, TotalsList, count_total, money_total, sums
from billing.admin.names import name_of
from billing.admin.record_tables import units_text
from billing.models import DayTotal, Hold, ProcessLease, RefusalTally
from costrouter.admin.base import OfWallets, ReadOnlyAdmin, badge, number, two_lines
from costrouter.admin.filters import ChannelFilter, KeyFilter, ModelFilter
from costrouter.lib.money import usd_text
from costrouter.lib.units import UNITS

# Day totals are there to add up long spans.
MOST_TOTALS = 100_000


@admin.register(Hold)
class HoldAdmin(OfWallets, ReadOnlyAdmin):
    """Money set aside now: for requests that run, and for charges that settlement has not yet written."""

    list_display = ("request_id", "state", "organization", "amount", "model_name", "age", "process")
    list_filter = (("captured", BooleanRadioFilter), ("wallet", AutocompleteSelectFilter), ModelFilter)
    list_filter_submit = True
    search_fields = ("request_id",)
    search_help_text = "Request id"
    show_full_result_count = False
    paginator = BoundedPaginator
    ordering = ("-request_id",)
    sortable_by = ()
    list_before_template = "admin/parts/totals.html"
    fieldsets = (
        (None, {"fields": (("request_id", "state"), ("organization", "amount"), ("model", "group", "endpoint"))}),
        (
            "Who holds it",
            {"fields": (("user_name", "key_name"), ("process", "deadline"), ("created_at", "budget_ids"))},
        ),
    )

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return TotalsList

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Any], search_term: str) -> Any:
        term = search_term.strip()
        return (queryset.filter(pk=term) if term else queryset), False

    def totals(self, rows: QuerySet[Any]) -> dict[str, Any]:
        running = sums(rows.filter(captured=False), amount="amount_nanos")
        waiting = sums(rows.filter(captured=True), amount="amount_nanos")
        return {
            "limited": running["limited"] or waiting["limited"],
            "most": running["most"],
            "rows": running["rows"] + waiting["rows"],
            "cells": [
                count_total("Running", running["rows"]),
                money_total("Held for them", running["amount"]),
                count_total("Waiting to be settled", waiting["rows"]),
                money_total("Charges waiting", waiting["amount"]),
            ],
        }

    @display(description="State")
    def state(self, hold: Hold) -> SafeString:
        return badge("To be settled", "info") if hold.captured else badge("Running", "primary")

    @display(description="Organization")
    def organization(self, hold: Hold) -> SafeString | str:
        return name_of(hold, "wallet_id")

    @display(description="API key")
    def key_name(self, hold: Hold) -> SafeString | str:
        return name_of(hold, "api_key_id")

    @display(description="User")
    def user_name(self, hold: Hold) -> SafeString | str:
        return name_of(hold, "user_id")

    @display(description="Amount")
    def amount(self, hold: Hold) -> SafeString:
        return number(usd_text(hold.amount_nanos))

    @display(description="Model / endpoint")
    def model_name(self, hold: Hold) -> SafeString:
        return two_lines(hold.model, hold.endpoint)

    @display(description="Age")
    def age(self, hold: Hold) -> str:
        seconds = (timezone.now() - hold.created_at).total_seconds()
        return f"{seconds:.0f} s" if seconds < 120 else timesince(hold.created_at)

    @display(description="Web process")
    def process(self, hold: Hold) -> str:
        if not hold.lease_id:
            return "—"
        lease = ProcessLease.objects.filter(pk=hold.lease_id).first()
        return lease.process if lease is not None else f"{hold.lease_id} (gone)"


@admin.register(RefusalTally)
class RefusalTallyAdmin(ReadOnlyAdmin):
    """Refusals of a key past ten a second, counted by the minute instead of recorded one by one."""

    list_display = ("minute", "who", "error_code", "count")
    list_filter = (("organization", AutocompleteSelectFilter), ("api_key", KeyFilter))
    list_filter_submit = True
    show_full_result_count = False
    paginator = BoundedPaginator
    ordering = ("-id",)
    sortable_by = ()
    list_before_template = "admin/parts/totals.html"
    fieldsets = ((None, {"fields": (("minute", "who"), ("error_code", "count"))}),)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return TotalsList

    def totals(self, rows: QuerySet[Any]) -> dict[str, Any]:
        found = sums(rows, refusals="count")
        return {**found, "cells": [count_total("Refusals beyond those recorded", found["refusals"])]}

    @display(description="Organization / key")
    def who(self, tally: RefusalTally) -> SafeString:
        return two_lines(name_of(tally, "organization_id"), name_of(tally, "api_key_id"))


@admin.register(DayTotal)
class DayTotalAdmin(ReadOnlyAdmin):
    """Settled usage by day (UTC), organization, model, key and channel: for long spans, where records are too many."""

    list_display = (
        "day",
        "who",
        "model_name",
        "requests",
        "failed",
        "tokens",
        "cost",
        "upstream",
        "margin",
    )
    list_display_links = ("day",)
    list_filter = (("day", RangeDateFilter), ("organization", AutocompleteSelectFilter), ModelFilter, ChannelFilter)
    list_filter_submit = True
    list_fullwidth = True
    search_fields = ("model",)
    search_help_text = "Model, exactly"
    show_full_result_count = False
    paginator = BoundedPaginator
    ordering = ("-day", "-cost_nanos")
    sortable_by = ("day", "requests", "cost", "upstream")
    list_before_template = "admin/parts/totals.html"
    fieldsets = (
        (None, {"fields": (("day", "organization_name"), ("key_name", "model"), ("requests", "failed"))}),
        ("Money", {"fields": (("cost", "upstream", "margin"),)}),
        ("Usage", {"fields": ("units",)}),
    )

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return TotalsList

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Any], search_term: str) -> Any:
        term = search_term.strip()
        return (queryset.filter(model=term) if term else queryset), False

    def totals(self, rows: QuerySet[Any]) -> dict[str, Any]:
        found = sums(
            rows,
            most=MOST_TOTALS,
            requests="requests",
            failures="failures",
            cost="cost_nanos",
            upstream="upstream_cost_nanos",
        )
        return {
            "limited": found["limited"],
            "most": found["most"],
            "rows": found["rows"],
            "cells": [
                count_total("Requests", found["requests"]),
                count_total("Failures", found["failures"]),
                money_total("Charged", found["cost"]),
                money_total("Upstream cost", found["upstream"]),
                money_total("Margin", found["cost"] - found["upstream"]),
            ],
        }

    @display(description="Organization / key")
    def who(self, total: DayTotal) -> SafeString:
        return two_lines(name_of(total, "organization_id"), name_of(total, "api_key_id"))

    @display(description="Model", ordering="model")
    def model_name(self, total: DayTotal) -> SafeString:
        return number(total.model)

    @display(description="Organization")
    def organization_name(self, total: DayTotal) -> SafeString | str:
        return name_of(total, "organization_id")

    @display(description="API key")
    def key_name(self, total: DayTotal) -> SafeString | str:
        return name_of(total, "api_key_id")

    @display(description="Failures")
    def failed(self, total: DayTotal) -> SafeString:
        return number(f"{total.failures:,}", "bad" if total.failures else "quiet")

    @display(description="In → out")
    def tokens(self, total: DayTotal) -> SafeString:
        return number(units_text(_units(total)))

    @display(description="Units")
    def units(self, total: DayTotal) -> SafeString | str:
        return units_text(_units(total), every=True)

    @display(description="Charged", ordering="cost_nanos")
    def cost(self, total: DayTotal) -> SafeString:
        return number(usd_text(total.cost_nanos))

    @display(description="Upstream cost", ordering="upstream_cost_nanos")
    def upstream(self, total: DayTotal) -> SafeString:
        return number(usd_text(total.upstream_cost_nanos))

    @display(description="Margin")
    def margin(self, total: DayTotal) -> SafeString:
        nanos = total.cost_nanos - total.upstream_cost_nanos
        return number(usd_text(nanos), "bad" if nanos < 0 else "")


def _units(total: DayTotal) -> dict[str, int]:
    return {name: quantity for name in UNITS if (quantity := getattr(total, name))}
