"""What was used, from the settled totals of UTC days: no read here walks through the records.

Every read takes a `Reach` (a member's own rows are those of their keys, deleted ones and the playground's too), or
`EVERYBODY` for the operator. Amounts are nanos. What is not settled yet is a second's worth, and only `spending`
counts it.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final, Protocol, TypeVar

from django.db.models import Q, QuerySet, Sum

from accounts.models import ApiKey, Organization, User
from accounts.selectors import Reach
from billing.models import DayTotal, Hold
from billing.reports.rows import (
    COUNTED,
    ChannelUsage,
    DayUsage,
    KeyUsage,
    MemberUsage,
    ModelUsage,
    OrganizationUsage,
    Period,
    Spending,
    Totals,
    last_days,
    month_of,
)
from costrouter.lib.units import UNITS


class Everybody:
    """Every organization: for operators. Said by name, so that no reach is forgotten by accident."""


EVERYBODY: Final = Everybody()
Scope = Reach | Everybody


def totals(scope: Scope, period: Period) -> Totals:
    """Everything of a period."""
    return _totals(_rows(scope, period).aggregate(**_sums()))


def by_day(scope: Scope, period: Period) -> list[DayUsage]:
    """Each day of the period, the first one first; days without requests too."""
    found = {row["day"]: _totals(row) for row in _grouped(scope, period, "day")}
    return [DayUsage(day, found.get(day, Totals())) for day in period.each()]


def by_model(scope: Scope, period: Period, *, limit: int | None = None) -> list[ModelUsage]:
    """Models, the dearest first."""
    return [ModelUsage(row["model"], _totals(row)) for row in _some(_grouped(scope, period, "model"), limit)]


def by_day_and_model(scope: Scope, period: Period) -> list[tuple[date, str, Totals]]:
    """Days and models with requests, by day: read at once, so that sums by day and by model agree."""
    rows = _rows(scope, period).values("day", "model").annotate(**_sums()).order_by("day", "model")
    return [(row["day"], row["model"], _totals(row)) for row in rows]


def days_of(rows: Iterable[tuple[date, str, Totals]]) -> list[DayUsage]:
    """The sums by day of what `by_day_and_model` read."""
    found: dict[date, Totals] = {}
    for day, _model, sums in rows:
        found[day] = found[day] + sums if day in found else sums
    return [DayUsage(day, sums) for day, sums in found.items()]


def models_of(rows: Iterable[tuple[date, str, Totals]]) -> list[ModelUsage]:
    """The sums by model of what `by_day_and_model` read, the dearest first."""
    found: dict[str, Totals] = {}
    for _day, model, sums in rows:
        found[model] = found[model] + sums if model in found else sums
    return _dearest([ModelUsage(model, found[model]) for model in sorted(found)], None)


def by_key(scope: Scope, period: Period, *, limit: int | None = None) -> list[KeyUsage]:
    """Keys, the dearest first; deleted ones keep their row, and the playground's keys share one."""
    return _dearest(_key_rows(_per_key(scope, period)), limit)


def by_member(scope: Scope, period: Period, *, limit: int | None = None) -> list[MemberUsage]:
    """Members, the one who spent most first. What a key used is its user's."""
    return _dearest(_member_rows(_per_key(scope, period)), limit)


def by_key_and_member(
    scope: Scope, period: Period, *, limit: int | None = None
) -> tuple[list[KeyUsage], list[MemberUsage]]:
    """Both, from one read."""
    found = _per_key(scope, period)
    return _dearest(_key_rows(found), limit), _dearest(_member_rows(found), limit)


_PerKey = list[tuple[int, ApiKey | None, Totals]]


def _per_key(scope: Scope, period: Period) -> _PerKey:
    """Sums by the number of a key, each with its key; None for a key that is gone altogether."""
    found = {row["api_key_id"]: _totals(row) for row in _grouped(scope, period, "api_key_id")}
    wanted = ApiKey.objects.filter(pk__in=list(found))
    keys = {key.pk: key for key in wanted.only("name", "prefix", "purpose", "deleted_at", "user_id")}
    return [(number, keys.get(number), sums) for number, sums in found.items()]


def _key_rows(found: _PerKey) -> list[KeyUsage]:
    rows: list[KeyUsage] = []
    playground: Totals | None = None
    for number, key, sums in found:
        if key is None:
            rows.append(KeyUsage(number or None, "", "", False, True, None, sums))
        elif key.purpose == ApiKey.Purpose.PLAYGROUND:
            playground = sums if playground is None else playground + sums
        else:
            rows.append(KeyUsage(number, key.name, key.prefix, False, key.deleted_at is not None, key.user_id, sums))
    if playground is not None:
        rows.append(KeyUsage(None, "", "", True, False, None, playground))
    return rows


def _member_rows(found: _PerKey) -> list[MemberUsage]:
    by_user: dict[int | None, Totals] = {}
    for _number, key, sums in found:
        user_id = key.user_id if key is not None else None
        by_user[user_id] = by_user[user_id] + sums if user_id in by_user else sums
    users = User.objects.only("email", "name").in_bulk([number for number in by_user if number is not None])
    rows = []
    for user_id, sums in by_user.items():
        user = users.get(user_id) if user_id is not None else None
        rows.append(MemberUsage(user_id, user.email if user else "", user.name if user else "", sums))
    return rows


def by_organization(period: Period, *, limit: int | None = None) -> list[OrganizationUsage]:
    """Organizations, the one that spent most first. For operators."""
    rows = _some(_grouped(EVERYBODY, period, "organization_id"), limit)
    names = Organization.objects.only("name").in_bulk([row["organization_id"] for row in rows])
    return [
        OrganizationUsage(
            row["organization_id"],
            names[row["organization_id"]].name if row["organization_id"] in names else "",
            _totals(row),
        )
        for row in rows
    ]


def by_channel(period: Period, *, limit: int | None = None) -> list[ChannelUsage]:
    """Channels, the one that earned most first. For operators."""
    return [
        ChannelUsage(row["channel_id"], _totals(row)) for row in _some(_grouped(EVERYBODY, period, "channel_id"), limit)
    ]


def ever(scope: Scope) -> bool:
    """Whether anything was ever used, settled or not."""
    return _within(DayTotal.objects.all(), scope).exists() or _waiting(scope).exists()


def spending(scope: Scope, today: date) -> Spending:
    """What was charged, settled or not, in one statement: a charge that is being settled counts once."""
    first = today.replace(day=1)
    earlier = (first - timedelta(days=1)).replace(day=1)
    day_at, first_at, earlier_at = (datetime.combine(start, time(), UTC) for start in (today, first, earlier))
    settled = (
        _within(DayTotal.objects.filter(day__gte=earlier), scope)
        .order_by()
        .values("organization_id")
        .annotate(
            a=Sum("cost_nanos", filter=Q(day=today)),
            b=Sum("cost_nanos", filter=Q(day__gte=first)),
            c=Sum("cost_nanos", filter=Q(day__lt=first)),
        )
    )
    waiting = (
        _waiting(scope)
        .filter(created_at__gte=earlier_at)
        .order_by()
        .values("wallet_id")
        .annotate(
            a=Sum("amount_nanos", filter=Q(created_at__gte=day_at)),
            b=Sum("amount_nanos", filter=Q(created_at__gte=first_at)),
            c=Sum("amount_nanos", filter=Q(created_at__lt=first_at)),
        )
    )
    rows = list(settled.values_list("a", "b", "c").union(waiting.values_list("a", "b", "c"), all=True))
    day, month, last_month = (int(sum(row[place] or 0 for row in rows)) for place in range(3))
    return Spending(day=day, month=month, last_month=last_month)


def _rows(scope: Scope, period: Period) -> QuerySet[DayTotal]:
    return _within(DayTotal.objects.filter(day__gte=period.first, day__lte=period.last), scope).order_by()


def _within(rows: QuerySet[DayTotal], scope: Scope) -> QuerySet[DayTotal]:
    if isinstance(scope, Everybody):
        return rows
    rows = rows.filter(organization_id=scope.organization_id)
    if scope.user_id is None:
        return rows
    return rows.filter(api_key_id__in=_own_keys(scope))


def _own_keys(reach: Reach) -> Any:
    """Every key a member ever had in the organization."""
    assert reach.user_id is not None
    rows = ApiKey.objects.filter(organization_id=reach.organization_id, user_id=reach.user_id)
    return rows.order_by().values("pk")


def _waiting(scope: Scope) -> QuerySet[Hold]:
    """Charges that wait for settlement."""
    rows = Hold.objects.filter(captured=True)
    if isinstance(scope, Everybody):
        return rows
    rows = rows.filter(wallet_id=scope.organization_id)
    return rows if scope.user_id is None else rows.filter(api_key_id__in=_own_keys(scope))


def _sums() -> dict[str, Any]:
    return {f"sum_{name}": Sum(name) for name in (*COUNTED, *UNITS)}


def _grouped(scope: Scope, period: Period, column: str) -> Any:
    """Sums by a column: rows as dictionaries."""
    return _rows(scope, period).values(column).annotate(**_sums())


def _some(rows: Any, limit: int | None) -> list[Any]:
    ordered = rows.order_by("-sum_cost_nanos", "-sum_requests")
    return list(ordered if limit is None else ordered[:limit])


def _totals(row: Any) -> Totals:
    return Totals(
        **{name: int(row[f"sum_{name}"] or 0) for name in COUNTED},
        units={name: int(row[f"sum_{name}"]) for name in UNITS if row[f"sum_{name}"]},
    )


class _Row(Protocol):
    @property
    def totals(self) -> Totals: ...


_R = TypeVar("_R", bound=_Row)


def _dearest(rows: list[_R], limit: int | None) -> list[_R]:
    """Those that cost most first; among equals, the one with more requests."""
    return sorted(rows, key=lambda row: (-row.totals.cost_nanos, -row.totals.requests))[:limit]


__all__ = [
    "EVERYBODY",
    "ChannelUsage",
    "DayUsage",
    "Everybody",
    "KeyUsage",
    "MemberUsage",
    "ModelUsage",
    "OrganizationUsage",
    "Period",
    "Scope",
    "Spending",
    "Totals",
    "by_channel",
    "by_day",
    "by_day_and_model",
    "by_key",
    "by_key_and_member",
    "by_member",
    "by_model",
    "by_organization",
    "days_of",
    "ever",
    "last_days",
    "models_of",
    "month_of",
    "spending",
    "totals",
]
