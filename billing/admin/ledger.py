"""The ledger: every movement of every wallet, never changed."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet, Sum
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter, ChoicesDropdownFilter
from unfold.decorators import display
from unfold.views import ChangeList

from billing.admin.lists import BoundedPaginator, DayRangeFilter, LookList, count_total, money_total, sums
from billing.admin.names import name_of
from billing.models import LedgerEntry
from costrouter.admin.base import OfWallets, ReadOnlyAdmin, badge, link, number, page_url
from costrouter.lib.money import usd_text

VARIANTS = {
    LedgerEntry.Kind.OPENING: "info",
    LedgerEntry.Kind.CREDIT: "success",
    LedgerEntry.Kind.DEBIT: "danger",
    LedgerEntry.Kind.USAGE: "default",
    LedgerEntry.Kind.CREDIT_LIMIT: "warning",
    LedgerEntry.Kind.REDEMPTION: "success",
}


@admin.register(LedgerEntry)
class LedgerEntryAdmin(OfWallets, ReadOnlyAdmin):
    """Ledger entries."""

    list_display = ("number_of", "when", "organization", "kind_badge", "amount", "requests_text", "actor_name", "note")
    list_display_links = ("number_of",)
    list_filter = (
        ("kind", ChoicesDropdownFilter),
        ("wallet", AutocompleteSelectFilter),
        ("created_at", DayRangeFilter),
    )
    list_filter_submit = True
    search_fields = ("idempotency_key",)
    search_help_text = "Idempotency key"
    show_full_result_count = False
    paginator = BoundedPaginator
    ordering = ("-id",)
    sortable_by = ()
    list_before_template = "admin/parts/totals.html"
    indexed = ("wallet__organization__exact", "wallet__isnull", "created_at_from", "created_at_to")
    fieldsets = (
        (None, {"fields": (("organization", "kind_badge"), ("amount", "limit_change"), ("when", "requests_text"))}),
        ("Why", {"fields": ("note", "actor_name", "idempotency_key")}),
    )

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return LookList

    def is_own_id(self, term: str) -> bool:
        """A search is for an idempotency key, which is unique."""
        return True

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Any], search_term: str) -> Any:
        """An exact key: a pattern would read the whole table."""
        term = search_term.strip()
        return (queryset.filter(idempotency_key=term) if term else queryset), False

    def totals(self, rows: QuerySet[Any]) -> dict[str, Any]:
        found = sums(
            rows,
            amount="amount_nanos",
            requests="requests",
            added=Sum("amount_nanos", filter=Q(amount_nanos__gt=0)),
        )
        return {
            "limited": found["limited"],
            "most": found["most"],
            "rows": found["rows"],
            "cells": [
                count_total("Entries", found["rows"]),
                money_total("Added", found["added"]),
                money_total("Taken", found["added"] - found["amount"]),
                money_total("Net change of balances", found["amount"]),
                count_total("Requests charged", found["requests"]),
            ],
        }

    @display(description="Entry")
    def number_of(self, entry: LedgerEntry) -> str:
        return f"#{entry.pk}"

    @display(description="When (UTC)")
    def when(self, entry: LedgerEntry) -> str:
        return f"{entry.created_at:%Y-%m-%d %H:%M:%S}"

    @display(description="Organization")
    def organization(self, entry: LedgerEntry) -> SafeString | str:
        return name_of(entry, "wallet_id")

    @display(description="Kind")
    def kind_badge(self, entry: LedgerEntry) -> SafeString:
        return badge(entry.get_kind_display(), VARIANTS.get(LedgerEntry.Kind(entry.kind), "default"))

    @display(description="Amount")
    def amount(self, entry: LedgerEntry) -> SafeString:
        if entry.kind == LedgerEntry.Kind.CREDIT_LIMIT:
            return number(f"limit {_signed(entry.limit_change_nanos)}", "quiet")
        return number(_signed(entry.amount_nanos), "bad" if entry.amount_nanos < 0 else "good")

    @display(description="Change of the credit limit")
    def limit_change(self, entry: LedgerEntry) -> SafeString:
        return number(_signed(entry.limit_change_nanos) if entry.limit_change_nanos else "—")

    @display(description="Requests")
    def requests_text(self, entry: LedgerEntry) -> SafeString | str:
        if entry.kind != LedgerEntry.Kind.USAGE:
            return "—"
        url = page_url("billing.usagerecord", "changelist", organization__id__exact=entry.wallet_id)
        return link(url, number(f"{entry.requests:,}"))

    @display(description="By")
    def actor_name(self, entry: LedgerEntry) -> SafeString | str:
        return name_of(entry, "actor_id")


def _signed(nanos: int) -> str:
    return f"+{usd_text(nanos)}" if nanos > 0 else usd_text(nanos)
