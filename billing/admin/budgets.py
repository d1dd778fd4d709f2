"""Budgets: limits on what a key, a member or an organization may spend."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter, ChoicesDropdownFilter
from unfold.decorators import display

from billing import services
from billing.models import Budget
from billing.selectors import spent_now
from costrouter.admin.base import ServiceAdmin, number, two_lines
from costrouter.admin.fields import UsdField
from costrouter.lib.money import usd_text


class BudgetForm(forms.ModelForm):
    """A budget, its limit in dollars."""

    limit_nanos = UsdField(label="Limit in USD", min_value=0, help_text="0 refuses every request that costs anything.")

    class Meta:
        model = Budget
        fields = ("organization", "api_key", "user", "limit_nanos", "window")
        labels = {"api_key": "API key"}
        help_texts = {
            "api_key": "For this key alone.",
            "user": "For all keys of this member together. With neither key nor member: for the whole organization.",
            "window": "When what was spent starts again from zero (UTC); a week on Monday.",
        }


@admin.register(Budget)
class BudgetAdmin(ServiceAdmin):
    """Budgets. What is spent and held is moved by the relay, together with the wallet."""

    form = BudgetForm
    list_display = ("subject", "organization", "window", "limit", "spent", "held", "used")
    list_display_links = ("subject",)
    list_select_related = ("organization", "api_key", "user")
    list_filter = (("organization", AutocompleteSelectFilter), ("window", ChoicesDropdownFilter))
    list_filter_submit = True
    search_fields = ("organization__name", "api_key__name", "user__email")
    search_help_text = "Organization, key or member"
    show_full_result_count = False
    autocomplete_fields = ("organization", "api_key", "user")
    readonly_fields = ("spent", "held", "used", "window_start")
    fieldsets = (
        (None, {"fields": ("organization", ("api_key", "user"), ("limit_nanos", "window"))}),
        ("So far", {"fields": (("spent", "held"), ("used", "window_start"))}),
    )
    add_fieldsets = (fieldsets[0],)
    ordering = ("organization__name", "id")

    def get_readonly_fields(self, request: HttpRequest, obj: Budget | None = None) -> Any:
        return self.readonly_fields if obj is None else ("organization", *self.readonly_fields)

    def get_form(self, request: HttpRequest, obj: Budget | None = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        if "api_key" in form.base_fields:
            # A key is made on its own page, which shows its secret.
            form.base_fields["api_key"].widget.can_add_related = False
        return form

    @display(description="Budget of")
    def subject(self, budget: Budget) -> SafeString:
        if budget.api_key is not None:
            return two_lines(budget.api_key.name, f"key {budget.api_key.prefix}…")
        return two_lines(budget.user or budget.organization, "member" if budget.user else "organization")

    @display(description="Limit", ordering="limit_nanos")
    def limit(self, budget: Budget) -> SafeString:
        return number(usd_text(budget.limit_nanos))

    @display(description="Spent")
    def spent(self, budget: Budget) -> SafeString:
        spent = _spent(budget)
        return number(usd_text(spent), "bad" if spent > budget.limit_nanos else "")

    @display(description="Held", ordering="held_nanos")
    def held(self, budget: Budget) -> SafeString:
        return number(usd_text(budget.held_nanos), "" if budget.held_nanos else "quiet")

    @display(description="Used")
    def used(self, budget: Budget) -> SafeString:
        taken = _spent(budget) + budget.held_nanos
        percent = 100 if budget.limit_nanos == 0 else min(100, taken * 100 // budget.limit_nanos)
        return SafeString(render_to_string("admin/parts/meter.html", {"percent": percent}))

    def save_model(self, request: HttpRequest, obj: Budget, form: Any, change: bool) -> None:
        services.save_budget(budget=obj)

    def delete_model(self, request: HttpRequest, obj: Budget) -> None:
        services.delete_budget(budget=obj)


def _spent(budget: Budget) -> int:
    """What was spent in the window that is open now."""
    return spent_now(budget, datetime.now(UTC).date())
