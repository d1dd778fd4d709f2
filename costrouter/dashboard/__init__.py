"""The admin's first page: what was earned, how channels do, what money waits, what wants attention.

Sums come from day totals, which settlement keeps within seconds of a request, and from the hours of channels; never
from a scan of the records. Each part is shown to those who may view what it is made of.
"""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.utils import timezone

from costrouter.dashboard import attention, channels, checklist, figures, money


def callback(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Called by unfold for the index page."""
    user: Any = request.user
    chosen = figures.chosen_period(request.GET, today=timezone.now().date())
    context["periods"] = figures.period_links(chosen)
    may_see_channels = user.has_perm("channels_app.view_channel")
    rows = channels.load() if may_see_channels else []
    names = channels.names(rows)
    if user.has_perm("billing.view_daytotal"):
        sums = figures.sums(chosen)
        context["figures"] = figures.cards(chosen, sums)
        context["chart"] = figures.chart(chosen, sums)
        context["tops"] = figures.tops(chosen, names)
        context["orders"] = figures.order_links(chosen)
    if user.has_perm("billing.view_wallet"):
        context["money"] = money.cards(chosen, sums if "figures" in context else None)
    if may_see_channels:
        context["channels"] = channels.table(rows)
        context["attention"] = attention.found(rows)
    if user.has_perm("billing.view_usagerecord"):
        context["recent"] = attention.recent()
    context["checklist"] = checklist.of(request, rows)
    return context
