"""The overview: money, and what was used in the last days; for a new organization, its first steps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from urllib.parse import urlencode

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _

from accounts.permissions import allows
from accounts.selectors import Reach, api_keys, reach_of
from billing.reports import usage
from billing.reports.usage import KeyUsage, Period, Totals
from billing.selectors import Credits, credits_of
from costrouter.console.access import ConsoleRequest, console_page
from costrouter.console.periods import chosen, today_utc
from costrouter.console.snippets import key_snippets
from costrouter.members.keys import chat_model, usable_groups
from costrouter.sign_in.links import base_url

OFFERED = ("7", "30", "90")
SERIES = 6  # models of a chart; the last one is all others
TOP = 8


@console_page("overview.view")
def index(request: ConsoleRequest) -> HttpResponse:
    """Of the organization for those who see all of it, else of the member's own keys."""
    reach = reach_of(request.member, "logs.all")
    today = today_utc()
    choice = chosen(request.GET.get("period"), today, offered=OFFERED)
    days = usage.by_day_and_model(reach, choice.period)
    sums = sum_of(totals for _day, _model, totals in days)
    money = credits_of(organization_id=reach.organization_id)
    spent = usage.spending(reach, today)
    before = usage.totals(reach, choice.period.before)
    context: dict[str, Any] = {
        "choice": choice,
        "money": money,
        "available": money.balance + money.credit_limit - money.held,
        "spent": spent,
        "sums": sums,
        "cost_change": compared(sums.cost_nanos, before.cost_nanos, choice.period.days),
        "request_change": compared(sums.requests, before.requests, choice.period.days),
        "spend_chart": spend_chart(days, choice.period),
        "request_chart": request_chart(days, choice.period),
        "top_models": top_models(days),
        "top_keys": [(key_name(row), row.totals.cost_nanos, key_url(row)) for row in _top_keys(reach, choice.period)],
        "is_own": reach.user_id is not None,
        "may_see_billing": allows(request.member.role, "billing.view"),
    }
    if not sums.requests and not spent.month and not usage.ever(reach):
        context["steps"] = first_steps(request, reach, money)
    return render(request, "console/overview.html", context)


def _top_keys(reach: Reach, period: Period) -> list[KeyUsage]:
    return [row for row in usage.by_key(reach, period, limit=TOP) if row.totals.cost_nanos]


def sum_of(rows: Iterable[Totals]) -> Totals:
    """All of them together."""
    return sum(rows, Totals())


def compared(now: int, before: int, days: int) -> str:
    """How an amount compares with that of the days before: "12% more than the 30 days before"."""
    if before == 0:
        return _("none in the %(days)s days before") % {"days": days}
    if now >= before * 10:
        return _("%(times)s times the %(days)s days before") % {"times": f"{round(now / before):,}", "days": days}
    change = round((now - before) * 100 / before)
    if change == 0:
        return _("as much as in the %(days)s days before") % {"days": days}
    said = (
        _("%(share)s%% more than in the %(days)s days before")
        if change > 0
        else _("%(share)s%% less than in the %(days)s days before")
    )
    return said % {"share": f"{abs(change):,}", "days": days}


def key_name(row: KeyUsage) -> str:
    """What a key is called, whatever became of it."""
    if row.playground:
        return _("Playground")
    name = row.name or _("Unknown key")
    return _("%(name)s (deleted)") % {"name": name} if row.deleted and row.name else name


def key_url(row: KeyUsage) -> str:
    """A key's page; none for those that have no page any more."""
    if row.api_key_id is None or row.deleted:
        return ""
    return reverse("console:key", args=[row.api_key_id])


DayModels = Sequence[tuple[date, str, Totals]]


def top_models(days: DayModels) -> list[tuple[str, int, str]]:
    """The dearest models: (name, nanos, where its requests are)."""
    logs = reverse("console:logs")
    return [
        (row.model, row.totals.cost_nanos, f"{logs}?{urlencode({'model': row.model})}")
        for row in usage.models_of(days)[:TOP]
        if row.totals.cost_nanos
    ]


@dataclass(frozen=True, slots=True)
class ChartOf:
    """Rows of `{% bars %}`: (day, a value for each of `series`)."""

    rows: list[tuple[date, list[int]]]
    series: list[str]


def spend_chart(days: DayModels, period: Period) -> ChartOf:
    """What each day cost, by model: the dearest by name, the others together."""
    models = [row.model for row in usage.models_of(days) if row.totals.cost_nanos]
    named = models if len(models) <= SERIES else models[: SERIES - 1]
    series = [*named, _("Other models")] if len(named) < len(models) else (named or [_("Spent")])
    place = {model: at for at, model in enumerate(named)}
    rows = {day: [0] * len(series) for day in period.each()}
    for day, model, totals in days:
        if totals.cost_nanos:
            rows[day][place.get(model, len(series) - 1)] += totals.cost_nanos
    return ChartOf(list(rows.items()), series)


def request_chart(days: DayModels, period: Period) -> ChartOf:
    """How many requests each day had, and how many of them failed."""
    rows = {day: [0, 0] for day in period.each()}
    for day, _model, totals in days:
        rows[day][0] += totals.requests - totals.failures
        rows[day][1] += totals.failures
    return ChartOf(list(rows.items()), [_("Succeeded"), _("Failed")])


@dataclass(frozen=True, slots=True)
class FirstSteps:
    """What is left to do before the first request is answered."""

    has_key: bool
    has_money: bool
    may_redeem: bool
    snippets: list[tuple[str, str, str]]


def first_steps(request: ConsoleRequest, reach: Reach, money: Credits) -> FirstSteps:
    """A key, money, a request."""
    groups = usable_groups(reach.organization_id)
    model = chat_model(name for group in groups for name in group.models) or "MODEL"
    return FirstSteps(
        has_key=api_keys(reach).exists(),
        has_money=money.balance + money.credit_limit > 0,
        may_redeem=allows(request.member.role, "billing.redeem"),
        snippets=key_snippets(base=base_url(request), key="sk-...", model=model),
    )
