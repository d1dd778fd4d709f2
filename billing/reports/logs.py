"""Reads over usage records for Usage Logs, newest first: pages by cursor, filters, one request.

A cursor is a request id. No page looks through more than `MOST_LOOKED_THROUGH` records: where a filter that no index
helps lets fewer through than a page holds, the page says from where to look further. Rows that arrive meanwhile are
newer than every cursor handed out for what is older, so a walk back meets each row once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db.models import Exists, OuterRef, Q, QuerySet, Subquery, Sum

from accounts.models import ApiKey, User
from accounts.selectors import Reach
from billing.models import Hold, RefusalTally, UsageRecord
from costrouter.lib import ids
from costrouter.lib.ids import request_id_at

PAGE_SIZE = 50
MOST_LOOKED_THROUGH = 20_000
# A member who used more keys than this is looked for among the organization's records.
MOST_KEYS = 20
# `created_at` is when money was held: after the body was read, or later still within a realtime session.
EARLIER, LATER = timedelta(hours=1), timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class LogFilter:
    """What to show; empty: everything. Times are those of `created_at`: from `start` on and before `end`."""

    key_id: int | None = None
    user_id: int | None = None
    model: str = ""
    group: str = ""
    endpoint: str = ""
    status: str = ""
    streamed: bool | None = None
    min_cost_nanos: int | None = None
    start: datetime | None = None
    end: datetime | None = None


@dataclass(frozen=True, slots=True)
class LogPage:
    """Records, newest first. `older`, `newer`: cursors (`before`, `after`) of what lies beyond, None where nothing can.

    `bounded`: the look ended before the page was full; `older` (or `newer`) says from where to look further. A page
    of what is newer than `after` whose `newer` is None holds the newest.
    """

    rows: list[UsageRecord] = field(default_factory=list)
    older: str | None = None
    newer: str | None = None
    bounded: bool = False


def page(reach: Reach, chosen: LogFilter, *, before: str = "", after: str = "", size: int = PAGE_SIZE) -> LogPage:
    """A page of what is older than `before`, else the oldest of what is newer than `after`, else the newest."""
    if not (_may_be_cursor(before) and _may_be_cursor(after)):
        return LogPage()
    upwards = bool(after and not before)
    rows, bound = _look(reach, chosen, cursor=after if upwards else before, upwards=upwards, size=size + 1)
    more, rows = len(rows) > size, rows[:size]
    beyond = rows[-1].pk if more else bound
    bounded = bound is not None and not more
    attach_names(rows)
    if upwards:
        rows.reverse()
        return LogPage(rows, older=rows[-1].pk if rows else None, newer=beyond, bounded=bounded)
    return LogPage(rows, older=beyond, newer=rows[0].pk if rows and before else None, bounded=bounded)


def one(reach: Reach, request_id: str) -> UsageRecord | None:
    """A record within reach, with its names; None for anybody else's."""
    if not ids.may_be_id(request_id):
        return None
    rows = _of(reach).filter(pk=request_id)
    if reach.user_id is not None:
        rows = rows.filter(user_id=reach.user_id)
    found = attach_names(rows)
    return found[0] if found else None


def under_way(reach: Reach) -> QuerySet[Hold]:
    """The requests within reach that hold money now."""
    rows = Hold.objects.filter(wallet_id=reach.organization_id, captured=False)
    return rows if reach.user_id is None else rows.filter(user_id=reach.user_id)


def held(reach: Reach, request_id: str) -> Hold | None:
    """A request within reach that is under way. Ask before `one`: once it holds nothing, its record is there."""
    return under_way(reach).filter(pk=request_id).first() if ids.may_be_id(request_id) else None


@dataclass(frozen=True, slots=True)
class Uncounted:
    """Refusals past ten a second of a key: merely counted, and in no list."""

    api_key_id: int
    error_code: str
    count: int


def tallied(reach: Reach, chosen: LogFilter) -> list[Uncounted]:
    """What was refused too often to be recorded one by one, by key and code, the most first."""
    if chosen.model or chosen.endpoint or chosen.group or chosen.status not in ("", UsageRecord.Status.REFUSED):
        return []
    rows = RefusalTally.objects.filter(organization_id=reach.organization_id)
    user_id = reach.user_id if reach.user_id is not None else chosen.user_id
    if user_id is not None:
        rows = rows.filter(api_key_id__in=ApiKey.objects.filter(user_id=user_id).values("pk"))
    if chosen.key_id is not None:
        rows = rows.filter(api_key_id=chosen.key_id)
    if chosen.start is not None:
        rows = rows.filter(minute__gte=chosen.start.replace(second=0, microsecond=0))
    if chosen.end is not None:
        rows = rows.filter(minute__lt=chosen.end)
    sums = rows.order_by().values_list("api_key_id", "error_code").annotate(total=Sum("count")).order_by("-total")
    return [Uncounted(key_id, code, int(total)) for key_id, code, total in sums[:20]]


def attach_names(rows: Iterable[UsageRecord]) -> list[UsageRecord]:
    """The rows, each with `key_name` and `user_name`: empty where what they name is gone. Two queries."""
    found = list(rows)
    keys = key_names({row.api_key_id for row in found if row.api_key_id is not None})
    users = user_names({row.user_id for row in found if row.user_id is not None})
    for row in found:
        row.key_name = keys.get(row.api_key_id or 0, "")  # type: ignore[attr-defined]
        row.user_name = users.get(row.user_id or 0, "")  # type: ignore[attr-defined]
    return found


def key_names(numbers: Iterable[int]) -> dict[int, str]:
    """Names of keys, deleted ones too."""
    wanted = set(numbers)
    return dict(ApiKey.objects.filter(pk__in=wanted).values_list("pk", "name")) if wanted else {}


def user_names(numbers: Iterable[int]) -> dict[int, str]:
    """E-mail addresses of users."""
    wanted = set(numbers)
    return dict(User.objects.filter(pk__in=wanted).values_list("pk", "email")) if wanted else {}


def walk(
    reach: Reach, chosen: LogFilter, *, size: int = 2_000, before: str = ""
) -> tuple[list[UsageRecord], str | None]:
    """A chunk of a walk back through everything: rows without names, and the next `before`, None at the end.

    A chunk may be empty though the walk goes on.
    """
    rows, bound = _look(reach, chosen, cursor=before, upwards=False, size=size)
    return rows, rows[-1].pk if len(rows) == size else bound


def _may_be_cursor(text: str) -> bool:
    return len(text) <= 40 and ids.may_be_id(text)


def _look(
    reach: Reach, chosen: LogFilter, *, cursor: str, upwards: bool, size: int
) -> tuple[list[UsageRecord], str | None]:
    """Up to `size` rows beyond a cursor, the nearest first; and the id where the look ended, None for the very end."""
    span = _span(chosen, cursor, upwards)
    source = _source(reach, chosen, span)
    if source is None:
        return [], None
    keys, filters = source
    order = "request_id" if upwards else "-request_id"
    bound = None
    if keys and (filters or len(keys) > 1):
        depth = max(size, MOST_LOOKED_THROUGH // len(keys)) if filters else size
        found = _nth_of_keys(keys, span, order, depth)
        bound = (min if upwards else max)(found, default=None)
    elif filters:
        nth = _of(reach).filter(*span).order_by(order).values_list("pk", flat=True)
        bound = next(iter(nth[MOST_LOOKED_THROUGH - 1 : MOST_LOOKED_THROUGH]), None)
    if bound is not None:
        span = [*span, Q(request_id__lte=bound) if upwards else Q(request_id__gte=bound)]
    filters = [*filters, *_times(chosen)]
    parts = [_of(reach).filter(api_key_id=number) for number in keys] or [_of(reach)]
    parts = [part.filter(*span, *filters).order_by() for part in parts]
    rows = parts[0].union(*parts[1:], all=True) if len(parts) > 1 else parts[0]
    return list(rows.order_by(order)[:size]), bound


def _source(reach: Reach, chosen: LogFilter, span: list[Q]) -> tuple[list[int], list[Q]] | None:
    """The keys whose index to walk (none: the organization's), and the filters that no index helps with.

    None: nothing can match.
    """
    filters = _filters(chosen)
    user_id = reach.user_id
    if chosen.user_id is not None:
        if user_id not in (None, chosen.user_id):
            return None
        user_id = chosen.user_id
    keys = ApiKey.objects.filter(organization_id=reach.organization_id).order_by()
    if user_id is not None:
        keys = keys.filter(user_id=user_id)
    if chosen.key_id is not None:
        return ([chosen.key_id], filters) if keys.filter(pk=chosen.key_id).exists() else None
    if user_id is None:
        return [], filters
    used = UsageRecord.objects.filter(*span, api_key_id=OuterRef("pk"))
    numbers = list(keys.filter(Exists(used)).values_list("pk", flat=True)[: MOST_KEYS + 1])
    if not numbers:
        return None
    return (numbers, filters) if len(numbers) <= MOST_KEYS else ([], [*filters, Q(user_id=user_id)])


def _nth_of_keys(keys: Sequence[int], span: list[Q], order: str, depth: int) -> list[str]:
    """The id of each key's `depth`th record of a span, where it has so many. One query, on the index alone."""
    nth = UsageRecord.objects.filter(*span, api_key_id=OuterRef("pk")).order_by(order).values("pk")
    rows = ApiKey.objects.filter(pk__in=keys).order_by().annotate(nth=Subquery(nth[depth - 1 : depth]))
    return [found for found in rows.values_list("nth", flat=True) if found is not None]


def _of(reach: Reach) -> QuerySet[UsageRecord]:
    return UsageRecord.objects.filter(organization_id=reach.organization_id)


def _filters(chosen: LogFilter) -> list[Q]:
    columns = ("model", "group", "endpoint", "status")
    found = [Q(**{column: value}) for column in columns if (value := getattr(chosen, column))]
    if chosen.streamed is not None:
        found.append(Q(streamed=chosen.streamed))
    if chosen.min_cost_nanos is not None:
        found.append(Q(cost_nanos__gte=chosen.min_cost_nanos))
    return found


def _span(chosen: LogFilter, cursor: str, upwards: bool) -> list[Q]:
    """The span of ids to look at: beyond the cursor, and about the chosen time."""
    found = []
    if cursor:
        found.append(Q(request_id__gt=cursor) if upwards else Q(request_id__lt=cursor))
    if chosen.start is not None:
        found.append(Q(request_id__gte=request_id_at(chosen.start - EARLIER)))
    if chosen.end is not None:
        found.append(Q(request_id__lt=request_id_at(chosen.end + LATER)))
    return found


def _times(chosen: LogFilter) -> list[Q]:
    """The chosen time exactly; of what is in the span, few are not in it."""
    found = []
    if chosen.start is not None:
        found.append(Q(created_at__gte=chosen.start))
    if chosen.end is not None:
        found.append(Q(created_at__lt=chosen.end))
    return found
