"""What the overview does beside showing itself."""

from __future__ import annotations

from django.contrib.admin.views.decorators import staff_member_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from costrouter.dashboard.checklist import HIDDEN


@require_POST
@staff_member_required
def hide_checklist(request: HttpRequest) -> HttpResponse:
    """Hide the checklist until the next sign-in."""
    request.session[HIDDEN] = True
    return redirect("admin:index")
