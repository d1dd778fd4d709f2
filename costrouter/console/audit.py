"""Audit log: who did what to which thing of the organization."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import urlencode

from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext_lazy as lazy
from django.views.decorators.http import require_http_methods

from accounts.audit_log import OPERATOR, ORGANIZATION_ACTIONS, AuditFilter, actors, audit_page
from costrouter.console.access import ConsoleRequest, console_page

DAYS = (("1", lazy("Last 24 hours")), ("7", lazy("Last 7 days")), ("30", lazy("Last 30 days")), ("90", lazy("90 days")))


@console_page("audit.view")
@require_http_methods(["GET", "HEAD"])
def index(request: ConsoleRequest) -> HttpResponse:
    """A page of entries, newest first; `before` is the number of the entry that the page before ended with."""
    organization_id = request.member.organization_id
    people = [(str(number), email) for number, email in actors(organization_id=organization_id)]
    people.append((OPERATOR, str(lazy("Operator of this site"))))
    asked = {
        "action": _one_of(request, "action", ORGANIZATION_ACTIONS),
        "who": _one_of(request, "who", dict(people)),
        "days": _one_of(request, "days", dict(DAYS)),
    }
    since = timezone.now() - timedelta(days=int(asked["days"])) if asked["days"] else None
    before = request.GET.get("before", "")
    page = audit_page(
        organization_id=organization_id,
        wanted=AuditFilter(action=asked["action"], who=asked["who"], since=since),
        before=int(before) if before.isdecimal() and len(before) < 19 else None,
    )
    kept = {name: value for name, value in asked.items() if value}
    context = {
        "page": page,
        "asked": asked,
        "is_filtered": bool(kept),
        "is_first": not before,
        "actions": list(ORGANIZATION_ACTIONS.items()),
        "people": people,
        "days": DAYS,
        "older": urlencode({**kept, "before": page.before}) if page.before is not None else "",
        "newest": urlencode(kept),
    }
    return render(request, "console/audit.html", context)


def _one_of(request: ConsoleRequest, name: str, choices: dict[str, object]) -> str:
    """A parameter that is one of these; "" for anything else."""
    value = request.GET.get(name, "")
    return value if value in choices else ""
