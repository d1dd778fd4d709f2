"""Usage Logs: every request with what it used, cost and met; one request line by line; the same as CSV."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.http import Http404, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts.models import Membership
from accounts.selectors import Reach, api_keys, reach_of
from billing.models import Price, UsageRecord
from billing.pricing.rates import INPUT_UNITS
from billing.reports import logs
from billing.reports.arithmetic import arithmetic
from billing.reports.logs import LogFilter, LogPage
from costrouter.console.access import ConsoleRequest, console_page
from costrouter.console.logs.csv import gzipped, stream
from costrouter.console.logs.forms import LogForm
from costrouter.console.logs.text import usage_text
from costrouter.members.keys import usable_groups
from relay.error_help import help_for

Status = UsageRecord.Status
TONES = {
    Status.OK: "ok",
    Status.CANCELLED: "info",
    Status.REFUSED: "warn",
    Status.UPSTREAM_ERROR: "bad",
    Status.INTERRUPTED: "bad",
}
MOST_KEYS = 300
# How far back an export goes, where no time is chosen.
EXPORT_DAYS = 30


@console_page("logs.own")
@require_safe
def index(request: ConsoleRequest) -> HttpResponse:
    """A page of requests, newest first. `request_id` finds one."""
    reach = reach_of(request.member, "logs.all")
    asked = request.GET.get("request_id", "").strip()
    if asked and (logs.held(reach, asked) is not None or logs.one(reach, asked) is not None):
        return redirect("console:log", request_id=asked)
    form, models = _form(request, reach)
    chosen = form.chosen()
    before, after = request.GET.get("before", ""), request.GET.get("after", "")
    page = LogPage() if form.errors else logs.page(reach, chosen, before=before, after=after)
    if after and page.newer is None:
        return redirect(f"{request.path}?{_query(request)}")
    is_first = not (before or after)
    context = {
        **_rows(page),
        "form": form,
        "models": models,
        "asked": asked,
        "page": page,
        "query": _query(request),
        "is_first": is_first,
        "under_way": logs.under_way(reach).count() if is_first else 0,
        "tallied": _tallied(reach, chosen) if is_first else [],
        "shows_members": reach.user_id is None,
        "end_of_look": _time_of(page.older) if page.bounded else None,
        "export_days": EXPORT_DAYS if chosen.start is None else None,
    }
    return render(request, "console/logs.html", context)


@console_page("logs.own")
@require_safe
def tail(request: ConsoleRequest) -> HttpResponse:
    """The newest page's rows again; 204 while they are those that `seen` is the mark of.

    The whole page, not only what is newer than its first row: a request is recorded when it ends, so that a long one
    appears below shorter ones that began later.
    """
    reach = reach_of(request.member, "logs.all")
    form, _models = _form(request, reach)
    chosen = form.chosen()
    context = _rows(LogPage() if form.errors else logs.page(reach, chosen))
    if request.GET.get("seen") == context["mark"]:
        return HttpResponse(status=204)
    response = render(request, "console/log_rows.html", {**context, "shows_members": reach.user_id is None})
    response.headers["X-Mark"] = context["mark"]
    return response


@console_page("logs.own")
@require_safe
def export(request: ConsoleRequest) -> HttpResponse | StreamingHttpResponse:
    """What the filters let through as CSV, of the last 30 days where no time is chosen."""
    reach = reach_of(request.member, "logs.all")
    form, _models = _form(request, reach)
    chosen, now = form.chosen(), timezone.now()
    if form.errors:
        return HttpResponse(form.errors.as_text(), status=400, content_type="text/plain; charset=utf-8")
    if chosen.start is None:
        chosen = replace(chosen, start=(chosen.end or now) - timedelta(days=EXPORT_DAYS))
    rows = stream(reach, chosen)
    packs = "gzip" in request.headers.get("Accept-Encoding", "")
    response = StreamingHttpResponse(gzipped(rows) if packs else rows, content_type="text/csv; charset=utf-8")
    response.headers["Vary"] = "Accept-Encoding"
    if packs:
        response.headers["Content-Encoding"] = "gzip"
    response.headers["Content-Disposition"] = f'attachment; filename="usage-{now:%Y-%m-%d-%H%M}.csv"'
    response.headers["Cache-Control"] = "no-store"
    return response


@console_page("logs.own")
@require_safe
def detail(request: ConsoleRequest, request_id: str) -> HttpResponse:
    """One request: who and what, usage, the cost's arithmetic, the route, and what an error means."""
    reach = reach_of(request.member, "logs.all")
    hold = logs.held(reach, request_id)
    record = logs.one(reach, request_id)
    if record is None:
        if hold is None:
            raise Http404
        return render(request, "console/log_under_way.html", {"hold": hold})
    taken = sum(record.units.get(name, 0) for name in INPUT_UNITS)
    price = Price.objects.filter(pk=record.price_id).first() if record.price_id is not None else None
    long_above = price.long_context_above if price is not None else None
    context: dict[str, Any] = {
        "record": record,
        "tone": TONES[Status(record.status)],
        "usage": usage_text(record.units),
        "sums": arithmetic(record.lines, record.rate, record.cost_nanos),
        "failed": record.status in (Status.UPSTREAM_ERROR, Status.REFUSED, Status.INTERRUPTED),
        "price": price,
        "is_long": long_above is not None and taken > long_above,
        "taken": taken,
        "help": help_for(record.error_code, record.status),
        "attempts": [{name: attempt.get(name) for name in ("name", "outcome", "ms")} for attempt in record.attempts],
        "bar": _bar(record),
    }
    return render(request, "console/log.html", context)


def _form(request: ConsoleRequest, reach: Reach) -> tuple[LogForm, list[str]]:
    """The filters with their choices, and the models to suggest."""
    keys = list(api_keys(reach).order_by("-created_at").values_list("pk", "name")[:MOST_KEYS])
    asked = request.GET.get("key", "")
    if asked.isdigit() and len(asked) < 19 and int(asked) not in {pk for pk, _name in keys}:
        keys += api_keys(reach, deleted=True).filter(pk=int(asked)).values_list("pk", "name")
    groups = usable_groups(reach.organization_id)
    users = None
    if reach.user_id is None:
        members = Membership.objects.filter(organization_id=reach.organization_id).order_by("user__email")
        users = list(members.values_list("user_id", "user__email")[:MOST_KEYS])
    form = LogForm(request.GET, keys=keys, groups=[group.name for group in groups], users=users)
    return form, sorted({model for group in groups for model in group.models})


def _rows(page: LogPage) -> dict[str, Any]:
    """What the table's body shows. `mark` changes with every row, and with what may change of a row."""
    seen = "\n".join(f"{row.pk} {row.status} {row.cost_nanos}" for row in page.rows)
    return {
        "rows": [(row, usage_text(row.units), TONES[Status(row.status)], _title(row)) for row in page.rows],
        "mark": hashlib.sha256(seen.encode()).hexdigest()[:16],
    }


def _title(row: UsageRecord) -> str:
    found = help_for(row.error_code, row.status) if row.status != Status.OK else None
    return str(found.title) if found is not None else ""


def _tallied(reach: Reach, chosen: LogFilter) -> list[dict[str, Any]]:
    """Refusals that were only counted: of the last day, where no time is chosen."""
    if chosen.start is None and chosen.end is None:
        chosen = replace(chosen, start=timezone.now() - timedelta(days=1))
    found = logs.tallied(reach, chosen)
    names = logs.key_names(row.api_key_id for row in found)
    return [
        {
            "key": names.get(row.api_key_id, ""),
            "count": row.count,
            "code": row.error_code,
            "help": help_for(row.error_code),
        }
        for row in found
    ]


def _query(request: ConsoleRequest) -> str:
    """The filters of this page, without its place."""
    skipped = {"before", "after", "seen", "request_id"}
    return urlencode([(name, value) for name, value in request.GET.items() if name not in skipped and value])


def _time_of(request_id: str | None) -> datetime | None:
    """When a request began: its id says so."""
    try:
        return datetime.fromtimestamp(int((request_id or "")[4:16], 16) / 1000, tz=UTC)
    except (ValueError, OverflowError):
        return None


def _bar(record: UsageRecord) -> dict[str, Any] | None:
    """Where the time went, in percent: waiting for the first byte, then receiving the rest."""
    if not record.duration_ms or record.first_byte_ms is None:
        return None
    first = min(record.first_byte_ms, record.duration_ms)
    share = round(100 * first / record.duration_ms, 2)
    return {"first": first, "rest": record.duration_ms - first, "share": share, "left": round(100 - share, 2)}
