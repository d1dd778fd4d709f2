"""What was earned in a period, against the one before: figures, a chart by day, and who and what made the most."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import reduce
from operator import add
from typing import Any

from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _

from accounts.models import Organization
from billing.reports import operator as operator_usage
from billing.reports.rows import Period, Totals, last_days
from costrouter.admin.base import page_url
from costrouter.dashboard.text import Card, change, share, short
from costrouter.lib import charts
from costrouter.lib.money import usd_text

SHOWN = 8
# THE table of periods: what is asked for → days. Today ends with the last request, so it is compared in words only.
PERIODS = {"today": 1, "7": 7, "30": 30}
DEFAULT = "7"
_ORDERS = ("revenue", "margin", "errors")


@dataclass(frozen=True, slots=True)
class Chosen:
    """What the address asks for."""

    name: str
    period: Period
    order: str

    def address(self, **changed: str) -> str:
        """The overview with something else chosen."""
        query = {"period": self.name, "top": self.order, **changed}
        return f"{reverse('admin:index')}?{urlencode(query)}"

    def records(self, **query: object) -> str:
        """The list of records of the period."""
        return page_url(
            *("billing.usagerecord", "changelist"),
            created_at_from=self.period.first.isoformat(),
            created_at_to=self.period.last.isoformat(),
            **query,
        )

    def day_totals(self, **query: object) -> str:
        """The list of day totals of the period."""
        return _day_totals(self.period.first, self.period.last, **query)


def _day_totals(first: date, last: date, **query: object) -> str:
    days = {"day_from": first.isoformat(), "day_to": last.isoformat()}
    return page_url("billing.daytotal", "changelist", **days, **query)


@dataclass(frozen=True, slots=True)
class Sums:
    """A period and the one before it."""

    days: Mapping[date, Totals]
    now: Totals
    before: Totals


def chosen_period(asked: Mapping[str, Any], *, today: date) -> Chosen:
    """What the address asks for, else the last seven days by revenue."""
    name, order = str(asked.get("period", "")), str(asked.get("top", ""))
    name = name if name in PERIODS else DEFAULT
    return Chosen(name, last_days(PERIODS[name], today), order if order in _ORDERS else _ORDERS[0])


def period_links(chosen: Chosen) -> list[dict[str, Any]]:
    """The switch: (title, address, whether it is the one that is shown)."""
    titles = {"today": _("Today"), "7": _("7 days"), "30": _("30 days")}
    return [
        {"title": titles[name], "url": chosen.address(period=name), "current": name == chosen.name} for name in PERIODS
    ]


def order_links(chosen: Chosen) -> list[dict[str, Any]]:
    """What the top lists are sorted by."""
    titles = {"revenue": _("By revenue"), "margin": _("By margin"), "errors": _("By errors")}
    return [
        {"title": titles[name], "url": chosen.address(top=name), "current": name == chosen.order} for name in _ORDERS
    ]


def sums(chosen: Chosen) -> Sums:
    """Both periods in one query."""
    before = chosen.period.before
    days = operator_usage.by_day(Period(before.first, chosen.period.last))
    parts = [[total for day, total in days.items() if (day >= chosen.period.first) is now] for now in (True, False)]
    now, then = (reduce(add, part, Totals()) for part in parts)
    return Sums(days, now, then)


def cards(chosen: Chosen, found: Sums) -> list[Card]:
    """The figures of a period."""
    now, before = found.now, found.before
    totals = chosen.day_totals()
    failed = chosen.records(trouble="failed")
    margin, margin_before = now.margin_nanos, before.margin_nanos
    byte, byte_before = now.first_byte_average, before.first_byte_average
    return [
        _money(chosen, _("Revenue"), now.cost_nanos, before.cost_nanos, totals),
        _money(chosen, _("Upstream cost"), now.upstream_cost_nanos, before.upstream_cost_nanos, totals),
        _money(
            *(chosen, _("Margin"), margin, margin_before, totals),
            note=_("%(share)s of revenue") % {"share": share(margin, now.cost_nanos)} if now.cost_nanos else "",
        ),
        Card(
            _("Requests"),
            f"{now.requests:,}",
            _against(chosen, f"{before.requests:,}", change(now.requests, before.requests)),
            totals,
        ),
        Card(
            _("Error rate"),
            share(now.failures, now.requests),
            _against(chosen, share(before.failures, before.requests), ""),
            failed,
            exact=_("%(failed)s of %(all)s requests") % {"failed": f"{now.failures:,}", "all": f"{now.requests:,}"},
            tone=_worse(_rate(now), _rate(before)),
            note=_("%(failed)s failed") % {"failed": f"{now.failures:,}"},
        ),
        Card(
            _("First byte, on average"),
            "—" if byte is None else f"{byte:,} ms",
            _against(
                chosen, "—" if byte_before is None else f"{byte_before:,} ms", change(byte or 0, byte_before or 0)
            ),
            chosen.records(),
            exact=_("of %(count)s requests whose first byte was timed") % {"count": f"{now.timed:,}"},
        ),
    ]


def _rate(totals: Totals) -> float:
    return totals.failures / totals.requests if totals.requests else 0.0


def _worse(rate: float, before: float) -> str:
    """A tenth of all requests is bad; half as much again as before is worth a look."""
    if rate >= 0.1:
        return "bad"
    return "warn" if rate >= 0.01 and rate > before * 1.5 else ""


def _money(chosen: Chosen, title: str, nanos: int, before: int, url: str, *, note: str = "") -> Card:
    detail = _against(chosen, short(before), change(nanos, before))
    return Card(title, short(nanos), detail, url, exact=usd_text(nanos), tone="bad" if nanos < 0 else "", note=note)


def _against(chosen: Chosen, before: str, changed: str) -> str:
    """What was before. Of a day that is not over nobody can say how much more or less it is."""
    if chosen.name == "today":
        return _("%(before)s all of yesterday") % {"before": before}
    said = _("%(before)s in the %(days)s days before") % {"before": before, "days": chosen.period.days}
    return f"{changed}; {said}" if changed else said


def chart(chosen: Chosen, found: Sums) -> dict[str, Any]:
    """A bar a day: upstream cost below, margin above; a day's loss is red. The same as a table, with links."""
    days = [chosen.period.first + timedelta(days=number) for number in range(chosen.period.days)]
    totals = [found.days.get(day, Totals()) for day in days]
    rows = [(_day(day), _bar(total)) for day, total in zip(days, totals, strict=True)]
    drawn = charts.bar_chart(
        rows,
        series=(_("upstream cost"), _("margin"), _("loss")),
        write=usd_text,
        write_tick=short,
        title=_("Revenue by day"),
        heading=_("Day (UTC)"),
    )
    table = [
        {
            "day": day.isoformat(),
            "url": _day_totals(day, day),
            "cells": [
                usd_text(total.cost_nanos),
                usd_text(total.upstream_cost_nanos),
                usd_text(total.margin_nanos),
                f"{total.requests:,}",
                f"{total.failures:,}",
            ],
        }
        for day, total in zip(reversed(days), reversed(totals), strict=True)
    ]
    return {"drawn": drawn, "rows": table, "empty": not any(total.requests for total in totals)}


def _bar(total: Totals) -> tuple[int, int, int]:
    cost, upstream = max(0, total.cost_nanos), max(0, total.upstream_cost_nanos)
    return min(cost, upstream), max(0, cost - upstream), max(0, upstream - cost)


def _day(day: date) -> str:
    return f"{day:%b} {day.day}"


def tops(chosen: Chosen, channel_names: Mapping[int, str]) -> list[dict[str, Any]]:
    """The organizations, models and channels of the period that are first in the order asked for."""
    found = {
        column: operator_usage.top(column, chosen.period, order=chosen.order, limit=SHOWN)
        for column in ("organization_id", "model", "channel_id")
    }
    numbers = [row.key for row in found["organization_id"]]
    organizations = dict(Organization.objects.filter(pk__in=numbers).values_list("pk", "name"))
    names = {
        "organization_id": lambda key: _name(organizations, key),
        "model": lambda key: key or "—",
        "channel_id": lambda key: _name(channel_names, key) if key else _("No channel answered"),
    }
    filters = {"organization_id": "organization__id__exact", "model": "model", "channel_id": "channel_id"}
    titles = {"organization_id": _("Organizations"), "model": _("Models"), "channel_id": _("Channels")}
    return [
        {
            "title": titles[column],
            "rows": [
                _top_row(chosen, names[column](row.key), row.totals, filters[column], row.key) for row in found[column]
            ],
        }
        for column in found
    ]


def _name(found: Mapping[int, str], number: int) -> str:
    return found.get(number) or f"#{number} ({_('deleted')})"


def _top_row(chosen: Chosen, name: str, totals: Totals, column: str, key: Any) -> dict[str, Any]:
    where = {column: key} if key else {}
    if chosen.order == "errors":
        url = chosen.records(trouble="failed", **where)
    else:
        url = chosen.day_totals(**where)
    return {
        "name": name,
        "url": url,
        "revenue": short(totals.cost_nanos),
        "exact_revenue": usd_text(totals.cost_nanos),
        "margin": short(totals.margin_nanos),
        "margin_share": share(totals.margin_nanos, totals.cost_nanos),
        "loss": totals.margin_nanos < 0,
        "requests": f"{totals.requests:,}",
        "failures": f"{totals.failures:,}",
        "rate": share(totals.failures, totals.requests),
        "bad": _rate(totals) >= 0.1,
    }
