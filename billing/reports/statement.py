"""An organization's month on paper, and its ledger day by day. Months and days are UTC; usage is of the request's day.

opening balance + what people moved − usage = closing balance, to the nano: usage is in the day totals at the same cost
as in the ledger, where settlement writes an entry a second.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.db.models import QuerySet, Sum
from django.db.models.functions import TruncMonth

from accounts.models import Membership, Organization, User
from accounts.selectors import Reach
from billing.models import DayTotal, LedgerEntry
from billing.reports import usage
from billing.reports.usage import DayUsage, ModelUsage, Period, Totals, month_of

Kind = LedgerEntry.Kind


@dataclass(frozen=True, slots=True)
class Entry:
    """What a person did to the balance or the credit limit. `member`: the e-mail of the member who did; else empty."""

    id: int
    at: datetime
    kind: str
    amount_nanos: int
    limit_change_nanos: int
    note: str
    member: str

    @property
    def kind_text(self) -> str:
        """Its kind for people."""
        return str(Kind(self.kind).label)


@dataclass(frozen=True, slots=True)
class Statement:
    """A month: what there was, what came and went, what is left. Nanos.

    `finished`: the month is over; until then the closing balance is that of now.
    """

    month: Period
    finished: bool
    opening_nanos: int
    closing_nanos: int
    entries: list[Entry]
    usage: Totals
    by_day: list[DayUsage]
    by_model: list[ModelUsage]

    @property
    def added_nanos(self) -> int:
        """All that was put in."""
        return sum(entry.amount_nanos for entry in self.entries if entry.amount_nanos > 0)

    @property
    def taken_nanos(self) -> int:
        """All that people took out, as a positive number."""
        return -sum(entry.amount_nanos for entry in self.entries if entry.amount_nanos < 0)


@dataclass(frozen=True, slots=True)
class MonthLine:
    """A month in the list of months. `moved_nanos`: what people moved, signed."""

    first: date
    moved_nanos: int
    usage_nanos: int
    closing_nanos: int
    finished: bool


@dataclass(frozen=True, slots=True)
class LedgerLine:
    """A line of the ledger for people: an entry, or a day's usage. `balance_nanos`: after it."""

    day: date
    entry: Entry | None
    requests: int
    amount_nanos: int
    balance_nanos: int


def months(*, organization_id: int, today: date) -> list[MonthLine]:
    """Every month since the organization was made, or first used, the newest first."""
    moved: dict[date, int] = defaultdict(int)
    for at, amount in _entries(organization_id).values_list("created_at", "amount_nanos"):
        moved[_month(at.astimezone(UTC).date())] += amount
    used = {
        _month(row["month"]): int(row["cost"])
        for row in DayTotal.objects.filter(organization_id=organization_id)
        .order_by()
        .annotate(month=TruncMonth("day"))
        .values("month")
        .annotate(cost=Sum("cost_nanos"))
    }
    made = Organization.objects.values_list("created_at", flat=True).get(pk=organization_id)
    this = _month(today)
    month = min([_month(made.astimezone(UTC).date()), this, *moved, *used])
    lines, balance = [], 0
    while month <= this:
        balance += moved.get(month, 0) - used.get(month, 0)
        lines.append(MonthLine(month, moved.get(month, 0), used.get(month, 0), balance, finished=month < this))
        month = month_of(month).last + timedelta(days=1)
    return lines[::-1]


def statement(*, organization_id: int, month: date, today: date) -> Statement:
    """The statement of the month that a day is in."""
    period = month_of(month)
    opening = balance_before(organization_id=organization_id, day=period.first)
    entries = entries_of(organization_id=organization_id, period=period)
    rows = usage.by_day_and_model(Reach(organization_id, None), period)
    everything = sum((sums for _day, _model, sums in rows), Totals())
    return Statement(
        month=period,
        finished=period.last < today,
        opening_nanos=opening,
        closing_nanos=opening + sum(entry.amount_nanos for entry in entries) - everything.cost_nanos,
        entries=entries,
        usage=everything,
        by_day=usage.days_of(rows),
        by_model=usage.models_of(rows),
    )


def balance_before(*, organization_id: int, day: date) -> int:
    """The settled balance as a day began, in nanos."""
    moved = _entries(organization_id).filter(created_at__lt=_start(day)).aggregate(sum=Sum("amount_nanos"))["sum"]
    used = DayTotal.objects.filter(organization_id=organization_id, day__lt=day).aggregate(sum=Sum("cost_nanos"))["sum"]
    return int(moved or 0) - int(used or 0)


def entries_of(*, organization_id: int, period: Period) -> list[Entry]:
    """What people did in a period, the first one first."""
    rows = _entries(organization_id).filter(created_at__gte=_start(period.first))
    return _with_members(organization_id, rows.filter(created_at__lt=_start(period.last + timedelta(days=1))))


def ledger(
    *, organization_id: int, period: Period, days: Iterable[DayUsage], limit: int
) -> tuple[list[LedgerLine], bool]:
    """The last `limit` lines of a period, the newest first, and whether there are more. `days`: its usage.

    A day's usage stands after what people did that day.
    """
    lines: list[tuple[date, Entry | None, int, int]] = [
        (entry.at.astimezone(UTC).date(), entry, 0, entry.amount_nanos)
        for entry in entries_of(organization_id=organization_id, period=period)
    ]
    lines += [(row.day, None, row.totals.requests, -row.totals.cost_nanos) for row in days if row.totals.requests]
    lines.sort(key=lambda line: (line[0], line[1] is None))
    balance = balance_before(organization_id=organization_id, day=period.first)
    found = []
    for day, entry, requests, amount in lines:
        balance += amount
        found.append(LedgerLine(day, entry, requests, amount, balance))
    return found[::-1][:limit], len(found) > limit


def _entries(organization_id: int) -> QuerySet[LedgerEntry]:
    """What people did, on the index that leaves settlement's entries out."""
    return LedgerEntry.objects.filter(wallet_id=organization_id).exclude(kind=Kind.USAGE).order_by("id")


def _with_members(organization_id: int, rows: Iterable[Any]) -> list[Entry]:
    """Entries; of those who made them, members alone are named: who the operators are is not the reader's concern."""
    found = list(rows)
    actors = {row.actor_id for row in found if row.actor_id is not None}
    members = Membership.objects.filter(organization_id=organization_id, user__in=actors).values("user")
    names = dict(User.objects.filter(pk__in=members).values_list("pk", "email")) if actors else {}
    return [
        Entry(
            id=row.pk,
            at=row.created_at,
            kind=row.kind,
            amount_nanos=row.amount_nanos,
            limit_change_nanos=row.limit_change_nanos,
            note=row.note,
            member=names.get(row.actor_id, ""),
        )
        for row in found
    ]


def _month(day: date) -> date:
    return day.replace(day=1)


def _start(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
