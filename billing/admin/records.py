"""Usage records: what became of each request, with totals of whatever is filtered."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter, ChoicesDropdownFilter, DropdownFilter
from unfold.decorators import display
from unfold.views import ChangeList

from billing.admin.lists import (
    BoundedPaginator,
    DayRangeFilter,
    LookList,
    PeriodFilter,
    count_total,
    money_total,
    sums,
)
from billing.admin.names import name_of
from billing.admin.record_tables import attempts_table, lines_table, units_text
from billing.models import UsageRecord
from costrouter.admin.base import ReadOnlyAdmin, badge, link, number, page_url, two_lines
from costrouter.admin.fields import plain
from costrouter.admin.filters import ChannelFilter, EndpointFilter, GroupFilter, KeyFilter, ModelFilter
from costrouter.lib.money import usd_text

VARIANTS = {
    UsageRecord.Status.OK: "success",
    UsageRecord.Status.CANCELLED: "info",
    UsageRecord.Status.REFUSED: "warning",
    UsageRecord.Status.UPSTREAM_ERROR: "danger",
    UsageRecord.Status.INTERRUPTED: "danger",
}


class TroubleFilter(DropdownFilter):
    """Requests that went wrong as day totals count it, or that cost more than was held for them."""

    title = "trouble"
    parameter_name = "trouble"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("failed", "Failed"), ("overrun", "Cost more than was held")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() == "overrun":
            return queryset.filter(overrun_nanos__gt=0)
        if self.value() != "failed":
            return queryset
        # A refusal counts where something was held, or a channel tried.
        tried = Q(held_nanos__gt=0) | Q(cost_nanos__gt=0) | ~Q(attempts=[])
        return queryset.filter(
            Q(status=UsageRecord.Status.UPSTREAM_ERROR) | (Q(status=UsageRecord.Status.REFUSED) & tried)
        )


@admin.register(UsageRecord)
class UsageRecordAdmin(ReadOnlyAdmin):
    """Records of requests."""

    list_display = ("title", "state", "who", "model_name", "tokens", "cost", "upstream_cost", "duration")
    list_display_links = ("title",)
    list_filter = (
        PeriodFilter,
        ("created_at", DayRangeFilter),
        ("status", ChoicesDropdownFilter),
        TroubleFilter,
        ModelFilter,
        GroupFilter,
        ("organization", AutocompleteSelectFilter),
        ("api_key", KeyFilter),
        ChannelFilter,
        EndpointFilter,
    )
    list_filter_submit = True
    list_fullwidth = True
    search_fields = ("request_id",)
    search_help_text = "Request id, ours or the client's"
    show_full_result_count = False
    paginator = BoundedPaginator
    ordering = ("-request_id",)
    list_before_template = "admin/parts/totals.html"
    sortable_by = ()
    # The parameters of filters that the primary key or an index finds rows by.
    indexed = (
        *("period", "created_at_from", "created_at_to"),
        *("organization__id__exact", "organization__isnull", "api_key__id__exact", "api_key__isnull"),
    )
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("when", "outcome"),
                    "request_id",
                    ("organization_name", "key_name", "user_name"),
                    ("model", "group"),
                )
            },
        ),
        ("Money", {"fields": (("cost", "upstream_cost", "margin"), ("held", "overrun", "price"), "lines_shown")}),
        ("Usage", {"fields": ("units_shown",)}),
        ("Upstream", {"fields": (("channel_name", "first_byte", "duration"), "attempts_shown")}),
        ("Request", {"fields": (("endpoint", "client_ip", "client_request_id"), "flags")}),
    )

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return LookList

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Any], search_term: str) -> Any:
        """An exact id: a pattern would read the whole table."""
        term = search_term.strip()
        if not term:
            return queryset, False
        by = "request_id" if term.startswith("req_") else "client_request_id"
        return queryset.filter(**{by: term}), False

    def is_own_id(self, term: str) -> bool:
        return term.startswith("req_")

    def totals(self, rows: QuerySet[Any]) -> dict[str, Any]:
        found = sums(rows, cost="cost_nanos", upstream="upstream_cost_nanos", overrun="overrun_nanos")
        return {
            "limited": found["limited"],
            "most": found["most"],
            "rows": found["rows"],
            "cells": [
                count_total("Requests", found["rows"]),
                money_total("Charged", found["cost"]),
                money_total("Upstream cost", found["upstream"]),
                money_total("Margin", found["cost"] - found["upstream"]),
                money_total("Overruns", found["overrun"], "charged beyond what was held"),
            ],
        }

    @display(description="Request (UTC)")
    def title(self, record: UsageRecord) -> SafeString:
        return two_lines(f"{record.created_at:%b %d, %H:%M:%S}", f"…{record.request_id[-8:]}")

    @display(description="Status")
    def state(self, record: UsageRecord) -> SafeString:
        variant = VARIANTS.get(UsageRecord.Status(record.status), "default")
        label = badge(record.get_status_display(), variant)
        return two_lines(label, record.error_code) if record.error_code else label

    @display(description="Organization / key")
    def who(self, record: UsageRecord) -> SafeString:
        return two_lines(name_of(record, "organization_id"), name_of(record, "api_key_id"))

    @display(description="Model / channel")
    def model_name(self, record: UsageRecord) -> SafeString:
        return two_lines(record.model or "—", record.channel or "no channel")

    @display(description="In → out")
    def tokens(self, record: UsageRecord) -> SafeString:
        return number(units_text(record.units))

    @display(description="Charged")
    def cost(self, record: UsageRecord) -> SafeString:
        return number(usd_text(record.cost_nanos), "" if record.cost_nanos else "quiet")

    @display(description="Upstream cost")
    def upstream_cost(self, record: UsageRecord) -> SafeString:
        return number(usd_text(record.upstream_cost_nanos), "" if record.upstream_cost_nanos else "quiet")

    @display(description="Took")
    def duration(self, record: UsageRecord) -> SafeString:
        return number("—" if record.duration_ms is None else f"{record.duration_ms:,} ms")

    @display(description="When (UTC)")
    def when(self, record: UsageRecord) -> str:
        return f"{record.created_at:%Y-%m-%d %H:%M:%S.%f}"[:-3]

    @display(description="Outcome")
    def outcome(self, record: UsageRecord) -> SafeString:
        variant = VARIANTS.get(UsageRecord.Status(record.status), "default")
        detail = " · ".join(
            filter(None, (f"HTTP {record.http_status}" if record.http_status else "", record.error_code))
        )
        return two_lines(badge(record.get_status_display(), variant), detail)

    @display(description="Organization")
    def organization_name(self, record: UsageRecord) -> SafeString | str:
        return name_of(record, "organization_id")

    @display(description="API key")
    def key_name(self, record: UsageRecord) -> SafeString | str:
        return name_of(record, "api_key_id")

    @display(description="User")
    def user_name(self, record: UsageRecord) -> SafeString | str:
        return name_of(record, "user_id")

    @display(description="Margin")
    def margin(self, record: UsageRecord) -> SafeString:
        nanos = record.cost_nanos - record.upstream_cost_nanos
        return number(usd_text(nanos), "bad" if nanos < 0 else "")

    @display(description="Held")
    def held(self, record: UsageRecord) -> SafeString:
        return number(usd_text(record.held_nanos))

    @display(description="Overrun")
    def overrun(self, record: UsageRecord) -> SafeString:
        return number(usd_text(record.overrun_nanos), "bad" if record.overrun_nanos else "quiet")

    @display(description="Price and rate")
    def price(self, record: UsageRecord) -> SafeString | str:
        if record.price_id is None:
            return "—"
        return two_lines(
            link(page_url("billing.price", "change", record.price_id), f"Price #{record.price_id}"),
            f"× {plain(record.rate)}",
        )

    @display(description="Lines (prices before the rate)")
    def lines_shown(self, record: UsageRecord) -> SafeString | str:
        return lines_table(record.lines)

    @display(description="Units")
    def units_shown(self, record: UsageRecord) -> SafeString | str:
        return units_text(record.units, every=True)

    @display(description="Channel")
    def channel_name(self, record: UsageRecord) -> SafeString | str:
        if record.channel_id is None:
            return "None: nothing was sent upstream" if not record.attempts else "None answered"
        return link(page_url("channels_app.channel", "change", record.channel_id), record.channel)

    @display(description="First byte")
    def first_byte(self, record: UsageRecord) -> SafeString:
        return number("—" if record.first_byte_ms is None else f"{record.first_byte_ms:,} ms")

    @display(description="Attempts")
    def attempts_shown(self, record: UsageRecord) -> SafeString | str:
        return attempts_table(record.attempts)

    @display(description="Flags")
    def flags(self, record: UsageRecord) -> str:
        return (
            ", ".join(
                filter(
                    None,
                    (
                        "streamed" if record.streamed else "",
                        "usage estimated by our tokenizer" if record.estimated else "",
                    ),
                )
            )
            or "—"
        )
