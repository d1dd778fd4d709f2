"""The admin's first page: what happened today, what money waits, what wants attention. A handful of bounded queries.

Sums come from day totals, which settlement keeps within seconds of a request; never from a scan of the records.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from typing import Any

from django.db.models import Count, F, Sum
from django.http import HttpRequest
from django.utils import timezone

from billing.models import DayTotal, Hold, UsageRecord, Wallet
from billing.selectors import current_prices
from channels_app.models import CatalogueModel, Channel
from costrouter.admin_base import page_url
from costrouter.lib.money import NANOS_PER_USD, divide_half_up, usd_text

DAYS = 14
# Failures are looked for among so many of the latest records: a bounded walk of the primary key.
LATEST = 5_000
SHOWN = 8
FAILED = (UsageRecord.Status.UPSTREAM_ERROR, UsageRecord.Status.INTERRUPTED, UsageRecord.Status.REFUSED)


def callback(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Called by unfold for the index page. Each part is shown to those who may view what it is made of."""
    user: Any = request.user
    if user.has_perm("billing.view_daytotal"):
        context["today"] = _today()
        context["days"] = _days()
        context["top_models"] = _top_models()
    if user.has_perm("billing.view_wallet"):
        context["money"] = _money()
    if user.has_perm("billing.view_usagerecord"):
        context["recent"] = _recent()
    if user.has_perm("channels_app.view_channel"):
        context["attention"] = _attention()
    return context


def _sum(days: Iterable[date]) -> dict[str, int]:
    found = DayTotal.objects.filter(day__in=list(days)).aggregate(
        requests=Sum("requests"), failures=Sum("failures"), cost=Sum("cost_nanos"), upstream=Sum("upstream_cost_nanos")
    )
    return {name: int(value or 0) for name, value in found.items()}


def _today() -> list[dict[str, Any]]:
    day = timezone.now().date()
    now, before = _sum([day]), _sum([day - timedelta(days=1)])
    url = page_url("billing.daytotal", "changelist", day_from=day.isoformat(), day_to=day.isoformat())
    margin, margin_before = (found["cost"] - found["upstream"] for found in (now, before))
    return [
        _card("Requests", f"{now['requests']:,}", f"{before['requests']:,} yesterday", url),
        _card("Failures", f"{now['failures']:,}", f"{before['failures']:,} yesterday", url, bad=now["failures"] > 0),
        _money_card("Revenue", now["cost"], f"{_short(before['cost'])} yesterday", url),
        _money_card("Upstream cost", now["upstream"], f"{_short(before['upstream'])} yesterday", url),
        _money_card("Margin", margin, f"{_short(margin_before)} yesterday", url),
    ]


def _card(title: str, value: str, detail: str, url: str, *, bad: bool = False) -> dict[str, Any]:
    return {"title": title, "value": value, "detail": detail, "url": url, "bad": bad, "exact": value}


def _money_card(title: str, nanos: int, detail: str, url: str) -> dict[str, Any]:
    return {**_card(title, _short(nanos), detail, url, bad=nanos < 0), "exact": usd_text(nanos)}


def _days() -> list[dict[str, Any]]:
    """The last days' bars: upstream cost below, margin (or loss) above, in percent of the highest."""
    first = timezone.now().date() - timedelta(days=DAYS - 1)
    rows = DayTotal.objects.filter(day__gte=first).values("day")
    sums = {
        row["day"]: (int(row["cost"]), int(row["upstream"]))
        for row in rows.annotate(cost=Sum("cost_nanos"), upstream=Sum("upstream_cost_nanos")).order_by("day")
    }
    days = [first + timedelta(days=n) for n in range(DAYS)]
    most = max((max(pair) for pair in sums.values()), default=0) or 1
    bars = []
    for day in days:
        cost, upstream = sums.get(day, (0, 0))
        bars.append(
            {
                "label": f"{day:%b} {day.day}",
                "title": f"{day}: revenue {usd_text(cost)}, upstream {usd_text(upstream)}, "
                f"margin {usd_text(cost - upstream)}",
                "upstream": min(cost, upstream) * 100 // most,
                "margin": max(0, cost - upstream) * 100 // most,
                "loss": max(0, upstream - cost) * 100 // most,
                "url": page_url("billing.daytotal", "changelist", day_from=day.isoformat(), day_to=day.isoformat()),
            }
        )
    return bars


def _short(nanos: int) -> str:
    """Dollars to the cent for a glance; below a cent to four decimals. The page has the exact amount as a title."""
    step = NANOS_PER_USD // (100 if abs(nanos) >= NANOS_PER_USD // 100 else 10_000)
    rounded = divide_half_up(abs(nanos), step) * step
    return usd_text(rounded if nanos >= 0 else -rounded)


def _top_models() -> list[dict[str, Any]]:
    """Today's models by revenue, each with its share of the first."""
    rows = (
        DayTotal.objects.filter(day=timezone.now().date())
        .values("model")
        .annotate(total_cost=Sum("cost_nanos"), total_requests=Sum("requests"))
        .order_by("-total_cost")[:SHOWN]
    )
    found = [(row["model"], int(row["total_cost"]), int(row["total_requests"])) for row in rows]
    most = max((cost for _, cost, _ in found), default=0)
    return [
        {
            "model": model,
            "cost": _short(cost),
            "exact": usd_text(cost),
            "requests": f"{requests:,}",
            "percent": cost * 100 // most if most else 0,
            "url": page_url("billing.usagerecord", "changelist", model=model, period=1),
        }
        for model, cost, requests in found
    ]


def _money() -> list[dict[str, Any]]:
    wallets = Wallet.objects.aggregate(balance=Sum("balance_nanos"), held=Sum("held_nanos"), count=Count("pk"))
    waiting = Hold.objects.filter(captured=True).aggregate(amount=Sum("amount_nanos"), count=Count("pk"))
    running = Hold.objects.filter(captured=False).aggregate(amount=Sum("amount_nanos"), count=Count("pk"))
    below = Wallet.objects.filter(balance_nanos__lt=0).count()
    holds = page_url("billing.hold", "changelist")
    return [
        _money_card(
            "Balance of all wallets",
            int(wallets["balance"] or 0),
            f"{wallets['count']:,} wallets",
            page_url("billing.wallet", "changelist"),
        ),
        _money_card("Held for running requests", int(running["amount"] or 0), f"{running['count']:,} running", holds),
        _money_card(
            "Charges to be settled",
            int(waiting["amount"] or 0),
            f"{waiting['count']:,} waiting",
            page_url("billing.hold", "changelist", captured__exact=1),
        ),
        _card(
            "Wallets below zero",
            f"{below:,}",
            "on credit or overrun",
            page_url("billing.wallet", "changelist", standing="negative"),
            bad=below > 0,
        ),
    ]


def _recent() -> list[dict[str, Any]]:
    """The latest failures among the latest records."""
    latest = UsageRecord.objects.order_by("-request_id")
    oldest = latest.values_list("request_id", flat=True)[LATEST - 1 : LATEST].first()
    rows = latest.filter(status__in=FAILED)
    if oldest is not None:
        rows = rows.filter(request_id__gte=oldest)
    return [
        {
            "url": page_url("billing.usagerecord", "change", row.pk),
            "when": row.created_at,
            "status": row.get_status_display(),
            "refused": row.status == UsageRecord.Status.REFUSED,
            "error": row.error_code or (f"HTTP {row.http_status}" if row.http_status else "—"),
            "model": row.model or "—",
            "channel": row.channel or "—",
        }
        for row in rows[:SHOWN]
    ]


def _attention() -> list[dict[str, str]]:
    """What keeps requests from being served, each with where to put it right."""
    found: list[dict[str, str]] = []
    names = list(CatalogueModel.objects.values_list("name", flat=True))
    channels = Channel.objects.filter(status=Channel.Status.ENABLED)
    if not channels.exists():
        found.append(
            {"text": "No channel is enabled: nothing can be served.", "url": page_url("channels_app.channel", "add")}
        )
    if not names:
        url = page_url("channels_app.cataloguemodel", "add")
        found.append({"text": "The catalogue holds no model.", "url": url})
    priced = current_prices(model_names=names)
    for name in [name for name in names if name not in priced][:SHOWN]:
        url = page_url("billing.price", "add", model_name=name)
        found.append({"text": f"{name} has no price in force: it is refused.", "url": url})
    unserved = CatalogueModel.objects.exclude(channels__in=channels)
    for model in unserved[:SHOWN]:
        url = page_url("channels_app.cataloguemodel", "change", model.pk)
        found.append({"text": f"{model.name} is served by no enabled channel.", "url": url})
    broke = Wallet.objects.filter(balance_nanos__lt=-F("credit_limit_nanos")).select_related("organization")
    for wallet in broke[:SHOWN]:
        text = f"{wallet.organization} is below its credit limit at {usd_text(wallet.balance_nanos)}."
        found.append({"text": text, "url": page_url("billing.wallet", "change", wallet.pk)})
    return found
