"""What many keys were charged and when each was last used, in one statement each: for lists of keys."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from django.db.models import OuterRef, Q, Subquery, Sum

from accounts.models import ApiKey
from billing.models import Budget, DayTotal, Hold, UsageRecord
from billing.selectors import BudgetState, budget_state


@dataclass(frozen=True, slots=True)
class Spending:
    """What a key was charged in all, on a day and in its month (UTC), in nanos."""

    total: int
    day: int
    month: int


NOTHING = Spending(total=0, day=0, month=0)


def spending_of_keys(*, organization_id: int, api_key_ids: Sequence[int], today: date) -> dict[int, Spending]:
    """What keys were charged, settled or not; keys that never were are left out.

    One statement: a charge that is being settled counts once.
    """
    first = today.replace(day=1)
    day, month = (datetime.combine(start, time(), UTC) for start in (today, first))
    settled = (
        DayTotal.objects.filter(organization_id=organization_id, api_key_id__in=api_key_ids)
        .order_by()
        .values("api_key_id")
        .annotate(
            a=Sum("cost_nanos"),
            b=Sum("cost_nanos", filter=Q(day=today)),
            c=Sum("cost_nanos", filter=Q(day__gte=first)),
        )
    )
    waiting = (
        Hold.objects.filter(wallet_id=organization_id, api_key_id__in=api_key_ids, captured=True)
        .order_by()
        .values("api_key_id")
        .annotate(
            a=Sum("amount_nanos"),
            b=Sum("amount_nanos", filter=Q(created_at__gte=day)),
            c=Sum("amount_nanos", filter=Q(created_at__gte=month)),
        )
    )
    columns = ("api_key_id", "a", "b", "c")
    found: dict[int, Spending] = {}
    for key_id, *sums in settled.values_list(*columns).union(waiting.values_list(*columns), all=True):
        before = found.get(key_id, NOTHING)
        total, of_day, of_month = (int(value or 0) for value in sums)
        found[key_id] = Spending(total=before.total + total, day=before.day + of_day, month=before.month + of_month)
    return found


def spending_of_key(*, organization_id: int, api_key_id: int, today: date) -> Spending:
    """The same of one key."""
    found = spending_of_keys(organization_id=organization_id, api_key_ids=[api_key_id], today=today)
    return found.get(api_key_id, NOTHING)


def last_used(api_key_ids: Sequence[int]) -> dict[int, datetime]:
    """When each key was last used or refused; those without a record are left out. One index look-up a key."""
    latest = UsageRecord.objects.filter(api_key_id=OuterRef("pk")).order_by("-request_id").values("created_at")[:1]
    rows = ApiKey.objects.filter(pk__in=api_key_ids).order_by().annotate(used_at=Subquery(latest))
    return {pk: used_at for pk, used_at in rows.values_list("pk", "used_at") if used_at is not None}


@dataclass(frozen=True, slots=True)
class KeyLimit:
    """A key's own budget and how it stands today."""

    budget: Budget
    state: BudgetState


def limits_of_keys(api_key_ids: Iterable[int], *, today: date) -> Mapping[int, KeyLimit]:
    """The budget that each key was given with its settings: the first one, where an operator made more."""
    found: dict[int, KeyLimit] = {}
    for row in Budget.objects.filter(api_key_id__in=api_key_ids).order_by("-pk"):
        assert row.api_key_id is not None
        found[row.api_key_id] = KeyLimit(row, budget_state(row, today))
    return found


@dataclass(frozen=True, slots=True)
class KeyDay:
    """A key's settled usage on a day (UTC)."""

    day: date
    requests: int
    cost_nanos: int


def days_of_key(*, organization_id: int, api_key_id: int, last: date, days: int = 30) -> list[KeyDay]:
    """A key's usage on each of the days that end with `last`, the first one first; days without any too."""
    first = last - timedelta(days=days - 1)
    rows = (
        DayTotal.objects.filter(organization_id=organization_id, api_key_id=api_key_id, day__gte=first, day__lte=last)
        .order_by()
        .values_list("day")
        .annotate(r=Sum("requests"), c=Sum("cost_nanos"))
    )
    found = {day: KeyDay(day, int(requests), int(cost)) for day, requests, cost in rows}
    every = (first + timedelta(days=number) for number in range(days))
    return [found.get(day, KeyDay(day, 0, 0)) for day in every]
