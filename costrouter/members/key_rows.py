"""Lists of API keys with what each has spent and how it stands: a few queries for a whole page."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q, QuerySet
from django.utils import timezone

from accounts.models import ApiKey
from accounts.selectors import Reach, api_keys
from billing.reports.spending import NOTHING, Spending, last_used, limits_of_keys, spending_of_keys
from billing.selectors import BudgetState

ACTIVE, ROTATING, DISABLED, EXPIRED, LIMIT_REACHED = "active", "rotating", "disabled", "expired", "limit_reached"


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A key in a list. `status`: active, rotating (the old secret still works), disabled, expired, limit_reached."""

    key: ApiKey
    status: str
    spent: Spending
    limit: BudgetState | None
    last_used_at: datetime | None

    @property
    def limit_high(self) -> int:
        """From where a limit is nearly reached: four fifths of it."""
        return self.limit.limit * 4 // 5 if self.limit is not None else 0


def keys_of(reach: Reach, *, search: str = "") -> QuerySet[ApiKey]:
    """The keys within reach, the newest first; `search` in name and prefix."""
    rows = api_keys(reach).select_related("user").order_by("-created_at", "-pk")
    if search:
        rows = rows.filter(Q(name__icontains=search) | Q(prefix__startswith=search))
    return rows


def key_rows(reach: Reach, keys: Iterable[ApiKey] | None = None) -> list[KeyRow]:
    """Keys of one organization with their spending, limit and last use, in four queries however many they are.

    `keys`: a page of `keys_of(reach)`; all of them where none are given.
    """
    found = list(keys_of(reach) if keys is None else keys)
    numbers = [key.pk for key in found]
    if not numbers:
        return []
    now = timezone.now()
    today = now.date()
    spent = spending_of_keys(organization_id=reach.organization_id, api_key_ids=numbers, today=today)
    limits = limits_of_keys(numbers, today=today)
    used = last_used(numbers)
    rows = []
    for key in found:
        limit = limits[key.pk].state if key.pk in limits else None
        rows.append(
            KeyRow(
                key=key,
                status=status_of(key, limit, now),
                spent=spent.get(key.pk, NOTHING),
                limit=limit,
                last_used_at=used.get(key.pk),
            )
        )
    return rows


def status_of(key: ApiKey, limit: BudgetState | None, now: datetime) -> str:
    """What a request under this key would meet first."""
    if not key.enabled:
        return DISABLED
    if key.expires_at is not None and key.expires_at <= now:
        return EXPIRED
    if limit is not None and limit.spent >= limit.limit:
        return LIMIT_REACHED
    if key.previous_expires_at is not None and key.previous_expires_at > now:
        return ROTATING
    return ACTIVE
