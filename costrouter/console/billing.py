"""Billing: balance, codes, what was spent by whom, budgets, the ledger; and a statement a month, for paper."""

from __future__ import annotations

from datetime import date
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from accounts.permissions import allows
from accounts.selectors import reach_of
from billing.redemption import redeem as redeem_code
from billing.reports import usage
from billing.reports.statement import ledger, months, statement
from billing.selectors import budgets_of, credits_of
from costrouter.console.access import ConsoleRequest, console_page
from costrouter.console.overview import key_name, key_url, spend_chart, sum_of
from costrouter.console.periods import chosen, today_utc
from costrouter.lib.money import usd_text
from costrouter.sign_in.links import base_url

ROWS = 50  # of a table of spending, or of budgets
LEDGER_ROWS = 100
WINDOWS = {
    "total": gettext_lazy("in all"),
    "day": gettext_lazy("a day"),
    "week": gettext_lazy("a week"),
    "month": gettext_lazy("a month"),
}


class MonthConverter:
    """A month in an address: 2026-11, its first day."""

    regex = "[1-9][0-9]{3}-(?:0[1-9]|1[0-2])"

    def to_python(self, value: str) -> date:
        return date(int(value[:4]), int(value[5:]), 1)

    def to_url(self, value: date) -> str:
        return f"{value:%Y-%m}"


class RedeemForm(forms.Form):
    """A code, however it is typed."""

    code = forms.CharField(
        label=gettext_lazy("Redemption code"),
        max_length=100,
        widget=forms.TextInput(
            attrs={
                "autocomplete": "off",
                "autocapitalize": "characters",
                "spellcheck": "false",
                "placeholder": "CR-XXXX-XXXX-XXXX-XXXX",
            }
        ),
    )


@console_page("billing.view")
def index(request: ConsoleRequest) -> HttpResponse:
    """Money, and where it went."""
    return _page(request, RedeemForm())


@console_page("billing.redeem")
@require_POST
def redeem(request: ConsoleRequest) -> HttpResponse:
    """Turn a code into money."""
    form = RedeemForm(request.POST)
    if form.is_valid():
        try:
            nanos = redeem_code(member=request.member, code=form.cleaned_data["code"])
        except ValidationError as error:
            form.add_error("code", error)
        else:
            messages.success(request, _("%(amount)s was added to the balance.") % {"amount": usd_text(nanos)})
            return redirect("console:billing")
    return _page(request, form, status=422)


def _page(request: ConsoleRequest, form: RedeemForm, *, status: int = 200) -> HttpResponse:
    reach = reach_of(request.member, "logs.all")
    organization_id = reach.organization_id
    today = today_utc()
    choice = chosen(request.GET.get("period"), today, default="month")
    days = usage.by_day_and_model(reach, choice.period)
    money = credits_of(organization_id=organization_id)
    lines, more = ledger(
        organization_id=organization_id, period=choice.period, days=usage.days_of(days), limit=LEDGER_ROWS
    )
    keys, members = usage.by_key_and_member(reach, choice.period, limit=ROWS)
    context: dict[str, Any] = {
        "form": form,
        "may_redeem": allows(request.member.role, "billing.redeem"),
        "choice": choice,
        "money": money,
        "available": money.balance + money.credit_limit - money.held,
        "spent": usage.spending(reach, today),
        "sums": sum_of(totals for _day, _model, totals in days),
        "spend_chart": spend_chart(days, choice.period),
        "by_model": usage.models_of(days)[:ROWS],
        "by_key": [(key_name(row), key_url(row), row) for row in keys],
        "by_member": members,
        "budgets": [
            (row, WINDOWS[row.state.window])
            for row in budgets_of(organization_id=organization_id, today=today, limit=ROWS)
        ],
        "ledger": lines,
        "ledger_has_more": more,
        "months": months(organization_id=organization_id, today=today),
    }
    return render(request, "console/billing.html", context, status=status)


@console_page("billing.view")
def month(request: ConsoleRequest, asked: date) -> HttpResponse:
    """A month's statement. Months before the first one and after this one are not there: 404."""
    organization_id, today = request.member.organization_id, today_utc()
    found = {line.first: line for line in months(organization_id=organization_id, today=today)}
    if asked not in found:
        raise Http404
    ordered = sorted(found)
    place = ordered.index(asked)
    paper = statement(organization_id=organization_id, month=asked, today=today)
    return render(
        request,
        "console/statement.html",
        {
            "statement": paper,
            "taken_change": -paper.taken_nanos,
            "usage_change": -paper.usage.cost_nanos,
            "earlier": ordered[place - 1] if place else None,
            "later": ordered[place + 1] if place + 1 < len(ordered) else None,
            "today": today,
            "site": base_url(request),
        },
    )
