"""The audit log: who did what. It is only ever read."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import (
    AutocompleteSelectFilter,
    ChoicesDropdownFilter,
    DropdownFilter,
    RangeDateFilter,
)
from unfold.decorators import display

from accounts.audit import ACTIONS
from accounts.audit_words import action_text, changes_of
from accounts.models import AuditEntry, Organization
from costrouter.admin.base import ReadOnlyAdmin, link, page_url, table, two_lines

MOST_COUNTED = 10_000
# Kind of object → the admin page of one.
PAGES = {
    "api_key": "accounts.apikey",
    "user": "accounts.user",
    "organization": "accounts.organization",
    "channel": "channels_app.channel",
    "model": "channels_app.cataloguemodel",
    "group": "channels_app.modelgroup",
    "price": "billing.price",
    "budget": "billing.budget",
    "wallet": "billing.wallet",
    "redemption": "billing.redemptionbatch",
}


class ActionFilter(DropdownFilter):
    """By what was done, or by the kind of thing it was done to."""

    title = "action"
    parameter_name = "action"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, str(text)) for name, text in ACTIONS.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(action=self.value()) if self.value() else queryset


class BoundedPaginator(Paginator):
    """Counts no further than anyone turns pages."""

    template_name = "admin/parts/bounded_pagination.html"

    @cached_property
    def count(self) -> int:
        return self.object_list.order_by()[:MOST_COUNTED].count()  # type: ignore[union-attr]

    @property
    def is_bounded(self) -> bool:
        return self.count >= MOST_COUNTED


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    """Audit entries, newest first."""

    list_display = ("when", "who", "thing", "changes_text", "organization_name")
    list_display_links = ("when",)
    list_filter = (
        ActionFilter,
        ("organization", AutocompleteSelectFilter),
        ("via", ChoicesDropdownFilter),
        ("at", RangeDateFilter),
    )
    list_filter_submit = True
    search_fields = ("object_name", "object_id", "actor_name")
    search_help_text = "Name or number of the object, or who did it"
    show_full_result_count = False
    paginator = BoundedPaginator
    ordering = ("-id",)
    sortable_by = ()
    fieldsets = ((None, {"fields": (("when", "who"), ("thing", "organization_name"), "changes_table")}),)

    def get_queryset(self, request: HttpRequest) -> QuerySet[AuditEntry]:
        """With names in one query each, never by a join: it would hide the entries of what is gone."""
        return super().get_queryset(request).prefetch_related("organization", "actor")

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Any], search_term: str) -> Any:
        """A number is an object's own; any other text is a part of a name."""
        term = search_term.strip()
        if term.isdecimal():
            return queryset.filter(object_id=term), False
        return super().get_search_results(request, queryset, search_term)

    @display(description="When (UTC)", ordering="-id")
    def when(self, entry: AuditEntry) -> str:
        return f"{entry.at:%Y-%m-%d %H:%M:%S}"

    @display(description="What")
    def thing(self, entry: AuditEntry) -> SafeString:
        name: str | SafeString = entry.object_name or entry.object_id
        page = PAGES.get(entry.object_kind)
        if page is not None and entry.object_id and not entry.action.endswith(".deleted"):
            name = link(page_url(page, "change", entry.object_id), name)
        return two_lines(action_text(entry.action), name)

    @display(description="Changes")
    def changes_text(self, entry: AuditEntry) -> SafeString | str:
        rows = changes_of(entry)
        lines = [
            (f"{row.label}: {row.before} → {row.after}" if row.before else f"{row.label}: {row.after}",)
            for row in rows[:3]
        ]
        if len(rows) > 3:
            lines.append((f"and {len(rows) - 3} more",))
        return (
            format_html('<div class="cr-lines">{}</div>', format_html_join("", "<div>{}</div>", lines))
            if lines
            else "—"
        )

    @display(description="Changes")
    def changes_table(self, entry: AuditEntry) -> SafeString | str:
        rows: list[list[object]] = [[row.label, row.before or "—", row.after or "—"] for row in changes_of(entry)]
        return table(["Field", "Before", "After"], rows) if rows else "—"

    @display(description="Who")
    def who(self, entry: AuditEntry) -> SafeString:
        how = f"{entry.get_via_display()} {entry.client_ip}".strip()
        return two_lines(entry.actor_name or "nobody signed in", how)

    @display(description="Organization")
    def organization_name(self, entry: AuditEntry) -> SafeString | str:
        if entry.organization_id is None:
            return "—"
        found: Organization | None = entry.organization
        name = found.name if found is not None else f"#{entry.organization_id} (deleted)"
        return link(page_url("accounts.organization", "change", entry.organization_id), name)
