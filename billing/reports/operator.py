"""What the operator's overview reads of money: day totals in any order, and what waits. No read walks the records.

Amounts are nanos. Tenants' reads are in `billing.reports.usage`; they read units too, which would cost
more than all the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from django.db.models import Count, F, Min, Q, Sum

from billing.models import DayTotal, Hold, Wallet
from billing.reports.rows import COUNTED, Period, Totals

# What the top lists can be sorted by: name → sum, the largest first.
ORDERS: Mapping[str, Any] = {
    "revenue": F("sum_cost_nanos"),
    "margin": F("sum_cost_nanos") - F("sum_upstream_cost_nanos"),
    "loss": F("sum_upstream_cost_nanos") - F("sum_cost_nanos"),
    "requests": F("sum_requests"),
    "errors": F("sum_failures"),
}
# What a row of a top list is made of: adding up more columns costs more than everything else about it.
_OF_A_ROW = ("requests", "failures", "cost_nanos", "upstream_cost_nanos")
# Holds are counted up to here: a stopped worker may leave any number of them behind.
MOST_COUNTED = 100_000


@dataclass(frozen=True, slots=True)
class Ranked:
    """A row of a top list: a model's name, or an organization's or a channel's number (0: none answered)."""

    key: Any
    totals: Totals


@dataclass(frozen=True, slots=True)
class Waiting:
    """Holds of a kind: how many, how much, since when. `more`: there are more than were counted."""

    count: int
    nanos: int
    oldest: datetime | None
    more: bool = False


@dataclass(frozen=True, slots=True)
class Wallets:
    """All wallets together; `below_zero`: how many have less than nothing, `owed_nanos`: how much they lack."""

    count: int
    balance_nanos: int
    held_nanos: int
    below_zero: int
    owed_nanos: int


def by_day(period: Period) -> dict[date, Totals]:
    """Each day of a period that has requests."""
    return {row["day"]: _totals(row) for row in _grouped(period, "day", COUNTED)}


def top(column: str, period: Period, *, order: str, limit: int) -> list[Ranked]:
    """The first organizations (`organization_id`), models (`model`) or channels (`channel_id`) in an order of `ORDERS`.

    Where the order is about errors or losses, only those that have some.
    """
    rows = _grouped(period, column, _OF_A_ROW).annotate(rank=ORDERS[order]).order_by("-rank", column)
    if order in ("errors", "loss"):
        rows = rows.filter(rank__gt=0)
    return [Ranked(row[column], _totals(row)) for row in rows[:limit]]


def unsettled() -> Waiting:
    """Charges that wait for settlement; their oldest one's age is how far settlement lags behind."""
    return _waiting(Hold.objects.filter(captured=True))


def open_holds() -> Waiting:
    """What is held for requests under way, and for videos that are being made."""
    return _waiting(Hold.objects.filter(captured=False))


def wallets() -> Wallets:
    """All of them, in one query."""
    below = Q(balance_nanos__lt=0)
    found = Wallet.objects.order_by().aggregate(
        count=Count("pk"),
        balance=Sum("balance_nanos"),
        held=Sum("held_nanos"),
        below=Count("pk", filter=below),
        owed=Sum("balance_nanos", filter=below),
    )
    return Wallets(
        found["count"], int(found["balance"] or 0), int(found["held"] or 0), found["below"], -int(found["owed"] or 0)
    )


def _waiting(rows: Any) -> Waiting:
    found = rows.order_by()[:MOST_COUNTED].aggregate(
        count=Count("pk"), nanos=Sum("amount_nanos"), oldest=Min("created_at")
    )
    return Waiting(found["count"], int(found["nanos"] or 0), found["oldest"], found["count"] >= MOST_COUNTED)


def _grouped(period: Period, column: str, names: tuple[str, ...]) -> Any:
    rows = DayTotal.objects.filter(day__gte=period.first, day__lte=period.last).order_by()
    return rows.values(column).annotate(**{f"sum_{name}": Sum(name) for name in names})


def _totals(row: Mapping[str, Any]) -> Totals:
    return Totals(**{name: int(row.get(f"sum_{name}") or 0) for name in COUNTED})
