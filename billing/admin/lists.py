"""Lists over tables that may hold millions of rows: bounded counts, bounded totals, date ranges on an index."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import Any

from django.core.paginator import Paginator
from django.core.validators import EMPTY_VALUES
from django.db.models import QuerySet, Sum
from django.http import HttpRequest
from django.utils import timezone
from django.utils.functional import cached_property
from unfold.contrib.filters.admin import DropdownFilter, RangeDateFilter
from unfold.utils import parse_date_str

from billing.admin.names import attach_names
from costrouter.admin_base import PlainList
from costrouter.lib.ids import request_id_at
from costrouter.lib.money import usd_text

MOST_COUNTED = 10_000
MOST_SUMMED = 100_000
# A record's time and the time within its request id differ by moments; this is far more.
SLACK = timedelta(hours=1)


class BoundedPaginator(Paginator):
    """Counts no further than anyone turns pages."""

    template_name = "admin/parts/bounded_pagination.html"

    @cached_property
    def count(self) -> int:
        return self.object_list.order_by()[:MOST_COUNTED].count()  # type: ignore[union-attr]

    @property
    def is_bounded(self) -> bool:
        return self.count >= MOST_COUNTED


class TotalsList(PlainList):
    """A list with names for loose keys, and with totals of all that the filters let through."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.result_list = attach_names(self.result_list)
        self.totals = self.model_admin.totals(self.queryset)
        self.caption = next((spec.caption() for spec in self.filter_specs if isinstance(spec, PeriodFilter)), "")


def sums(rows: QuerySet[Any], **columns: str) -> dict[str, Any]:
    """Sums over at most the latest `MOST_SUMMED` rows, and whether there were more."""
    latest = rows.order_by("-pk")[:MOST_SUMMED]
    found = latest.aggregate(**{name: Sum(column) for name, column in columns.items()})
    rows_counted = latest.count()
    return {
        **{name: int(value or 0) for name, value in found.items()},
        "rows": rows_counted,
        "limited": rows_counted >= MOST_SUMMED,
    }


def money_total(title: str, nanos: int, hint: str = "") -> dict[str, Any]:
    return {"title": title, "value": usd_text(nanos), "bad": nanos < 0, "hint": hint}


def count_total(title: str, count: int, hint: str = "") -> dict[str, Any]:
    return {"title": title, "value": f"{count:,}", "bad": False, "hint": hint}


def within(rows: QuerySet[Any], start: datetime | None, end: datetime | None) -> QuerySet[Any]:
    """Rows made from `start` on and before `end`."""
    by_id = rows.model._meta.pk.attname == "request_id"
    if start is not None:
        rows = rows.filter(created_at__gte=start)
        rows = rows.filter(pk__gte=request_id_at(start - SLACK)) if by_id else rows
    if end is not None:
        rows = rows.filter(created_at__lt=end)
        rows = rows.filter(pk__lt=request_id_at(end + SLACK)) if by_id else rows
    return rows


class DayRangeFilter(RangeDateFilter):
    """From the beginning of one day to the end of another (UTC)."""

    title = "days (UTC), from and to"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.title = "days (UTC), from and to"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        start, end = (self._day(end) for end in ("from", "to"))
        return within(queryset, _midnight(start), _midnight(end + timedelta(days=1)) if end else None)

    def _day(self, end: str) -> date | None:
        value = self.used_parameters.get(f"{self.parameter_name}_{end}")
        return None if value in EMPTY_VALUES else parse_date_str(str(value))


def _midnight(day: date | None) -> datetime | None:
    return datetime.combine(day, time(), tzinfo=timezone.get_default_timezone()) if day else None


class PeriodFilter(DropdownFilter):
    """The last days: seven of them unless something else is asked for, so that a huge table opens at once."""

    title = "period"
    parameter_name = "period"
    all_option = None
    DEFAULT = "7"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("1", "Last 24 hours"), ("7", "Last 7 days"), ("30", "Last 30 days"), ("any", "Any time")]

    def __init__(self, request: HttpRequest, *args: Any) -> None:
        super().__init__(request, *args)
        self._asked = any(request.GET.get(name) for name in ("q", "created_at_from", "created_at_to"))

    def value(self) -> str:
        given = super().value()
        return str(given) if given in {"1", "7", "30", "any"} else ("any" if self._asked else self.DEFAULT)

    def caption(self) -> str:
        """Which period the list shows: said above it, since one is chosen where nobody asked."""
        return {value: str(title) for value, title in self.lookup_choices}[self.value()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() == "any":
            return queryset
        return within(queryset, timezone.now() - timedelta(days=int(self.value())), None)
