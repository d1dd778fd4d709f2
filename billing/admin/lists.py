"""Lists over tables that may hold millions of rows: bounded counts, bounded totals, date ranges on an index."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import Any

from django.contrib.admin.views.main import PAGE_VAR
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.core.validators import EMPTY_VALUES
from django.db.models import Count, QuerySet, Sum
from django.http import HttpRequest
from django.utils import timezone
from django.utils.functional import cached_property
from unfold.contrib.filters.admin import DropdownFilter, RangeDateFilter
from unfold.utils import parse_date_str

from billing.admin.names import attach_names
from costrouter.admin.base import PlainList
from costrouter.lib import ids
from costrouter.lib.ids import request_id_at
from costrouter.lib.money import usd_text

MOST_COUNTED = 10_000
MOST_SUMMED = 20_000
# Where a filter has no index, so many rows are looked through for a page; beyond, a link looks further back.
MOST_LOOKED_THROUGH = 20_000
BEFORE = "before"
# A record's time and the time within its request id differ by moments; this is far more.
SLACK = timedelta(hours=1)


class BoundedPaginator(Paginator):
    """Counts no further than anyone turns pages."""

    template_name = "admin/parts/bounded_pagination.html"

    @cached_property
    def count(self) -> int:
        known: int | None = getattr(self.object_list, "known_count", None)
        if known is not None:
            return min(known, MOST_COUNTED)
        return self.object_list.order_by()[:MOST_COUNTED].count()  # type: ignore[union-attr]

    @property
    def is_bounded(self) -> bool:
        return self.count >= MOST_COUNTED


class TotalsList(PlainList):
    """A list with names for loose keys, and with totals of all that the filters let through."""

    def get_results(self, request: HttpRequest) -> None:
        self.totals = self.model_admin.totals(self.queryset)
        # What was summed up was counted too: the paginator need not do so again.
        self.queryset.known_count = self.totals["rows"]
        super().get_results(request)
        self.result_list = attach_names(self.result_list)
        self.caption = next((spec.caption() for spec in self.filter_specs if isinstance(spec, PeriodFilter)), "")


class LookList(TotalsList):
    """A list that filters without an index look through in bounded steps, the newest first.

    The admin's `indexed` names the filters' parameters that an index helps with, its `is_own_id` tells which searches
    have one. With anything else, a page is about the latest `MOST_LOOKED_THROUGH` of what the indexed filters let
    through, before `?before=ID` where that is given; `look` says how far that was, and where to look further.
    """

    look: dict[str, Any] | None = None

    def get_filters_params(self, params: dict[str, Any] | None = None) -> dict[str, Any]:
        found = super().get_filters_params(params)
        found.pop(BEFORE, None)
        return found

    def get_queryset(self, request: HttpRequest, exclude_parameters: list[str | None] | None = None) -> QuerySet[Any]:
        rows = super().get_queryset(request, exclude_parameters)
        before = self._before()
        rows = rows if before is None else rows.filter(pk__lt=before)
        if not self._is_narrowed():
            return rows
        wide = self._by_index(request)
        wide = wide if before is None else wide.filter(pk__lt=before)
        nth = wide.order_by("-pk").values_list("pk", "created_at")[MOST_LOOKED_THROUGH - 1 : MOST_LOOKED_THROUGH]
        bound = next(iter(nth), None)
        self.look = {"further": None, "back_to": None, "before": before is not None}
        if bound is None:
            return rows
        further = self.get_query_string({BEFORE: bound[0]}, [PAGE_VAR])
        self.look |= {"further": further, "back_to": bound[1]}
        return rows.filter(pk__gte=bound[0])

    def _before(self) -> Any:
        """The key to look further back from; None where there is none, or it is no key."""
        asked = str(self.params.get(BEFORE, ""))
        if not asked or len(asked) > 40 or not ids.may_be_id(asked):
            return None
        try:
            return self.lookup_opts.pk.to_python(asked)
        except ValidationError:
            return None

    def _is_narrowed(self) -> bool:
        """Whether a filter or a search without an index is chosen. A row's own id needs no other."""
        if self.query.strip():
            return not self.model_admin.is_own_id(self.query.strip())
        asked = {name for name, values in self.get_filters_params().items() if any(values)}
        return bool(asked - set(self.model_admin.indexed))

    def _by_index(self, request: HttpRequest) -> QuerySet[Any]:
        """What the indexed filters alone let through."""
        rows = self.root_queryset
        for spec in self.filter_specs:
            if set(spec.expected_parameters()) <= set(self.model_admin.indexed):
                found = spec.queryset(request, rows)
                rows = rows if found is None else found
        return rows


def sums(rows: QuerySet[Any], *, most: int = MOST_SUMMED, **columns: str | Sum) -> dict[str, Any]:
    """Sums over at most the latest `most` rows, how many those are, and whether there may be more. One query."""
    latest = rows.order_by("-pk")[:most]
    found = latest.aggregate(
        row_count=Count("pk"),
        **{name: Sum(column) if isinstance(column, str) else column for name, column in columns.items()},
    )
    counted = int(found.pop("row_count"))
    return {
        **{name: int(value or 0) for name, value in found.items()},
        "rows": counted,
        "limited": counted >= most,
        "most": f"{most:,}",
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
