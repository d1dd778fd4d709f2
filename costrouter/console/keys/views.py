"""API keys: the list, a key's page, and what is done to a key. A secret is shown once, in the answer that made it."""

from __future__ import annotations

import secrets
from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from accounts.models import ApiKey
from accounts.permissions import allows
from accounts.selectors import reach_of
from billing.models import Budget
from billing.reports.spending import days_of_key
from costrouter.console.access import ConsoleRequest, console_page
from costrouter.console.errors import say
from costrouter.console.keys.forms import KeyForm, RotateForm
from costrouter.console.snippets import key_snippets
from costrouter.members import keys
from costrouter.members.key_rows import KeyRow, key_rows, keys_of
from costrouter.sign_in.links import base_url

PAGE_SIZE = 50
# Forms that have been sent, of a session; a secret is never made twice by a page that is sent again.
SENT, MOST_SENT = "sent_key_forms", 20


@console_page("keys.own")
def index(request: ConsoleRequest) -> HttpResponse:
    """The keys within reach, with spending, limits and last use."""
    reach = reach_of(request.member, "keys.all")
    search = request.GET.get("q", "").strip()[:100].replace("\x00", "")
    page = Paginator(keys_of(reach, search=search), PAGE_SIZE).get_page(request.GET.get("page"))
    return render(
        request,
        "console/keys.html",
        {
            "page": page,
            "rows": key_rows(reach, page.object_list),
            "search": search,
            "shows_owner": reach.user_id is None,
        },
    )


@console_page("keys.own")
@require_http_methods(["GET", "HEAD", "POST"])
def new(request: ConsoleRequest) -> HttpResponse:
    """Make a key; the answer to a valid form shows its secret."""
    groups = keys.usable_groups(request.member.organization_id)
    if request.method != "POST":
        form = KeyForm(groups=groups, initial={"once": secrets.token_hex(16), "group": _first_group(groups)})
        return render(request, "console/key_new.html", {"form": form})
    form = KeyForm(request.POST, groups=groups)
    if form.is_valid():
        if _was_sent(request, form.cleaned_data["once"]):
            messages.warning(request, _("This form was sent before: the key exists, and was shown then."))
            return redirect("console:keys")
        try:
            key, secret = keys.create_key(member=request.member, spec=form.spec())
        except ValidationError as error:
            form.refuse(error)
        else:
            _note_sent(request, form.cleaned_data["once"])
            return _secret_page(request, key, secret, rotated=False)
    return render(request, "console/key_new.html", {"form": form}, status=422)


@console_page("keys.own")
@require_http_methods(["GET", "HEAD", "POST"])
def detail(request: ConsoleRequest, key_id: int) -> HttpResponse:
    """A key: what it has spent, how it stands, and its settings."""
    key = _key(request, key_id)
    before = keys.spec_of(key)
    groups = keys.usable_groups(request.member.organization_id)
    form = KeyForm(request.POST or None, groups=groups, before=before)
    if request.method == "POST" and form.is_valid():
        try:
            keys.change_key(member=request.member, key=key, spec=form.spec())
        except ValidationError as error:
            form.refuse(error)
        else:
            messages.success(request, _("Saved. It is in force within a second."))
            return redirect("console:key", key_id=key.pk)
    days = days_of_key(organization_id=key.organization_id, api_key_id=key.pk, last=timezone.now().date())
    used = any(day.requests for day in days)
    return render(
        request,
        "console/key.html",
        {
            "key": key,
            "row": _row(request, key),
            "form": form,
            "days": [(day.day, day.cost_nanos) for day in days] if used else None,
            "requests": sum(day.requests for day in days),
            "budgets": Budget.objects.filter(api_key=key).count(),
        },
        status=422 if form.errors else 200,
    )


@console_page("keys.own")
@require_http_methods(["GET", "HEAD", "POST"])
def rotate(request: ConsoleRequest, key_id: int) -> HttpResponse:
    """Give a key a new secret; the answer shows it."""
    key = _key(request, key_id)
    form = RotateForm(request.POST if request.method == "POST" else None, initial={"once": secrets.token_hex(16)})
    if request.method == "POST" and form.is_valid():
        if _was_sent(request, form.cleaned_data["once"]):
            messages.warning(request, _("This form was sent before: the new key was shown then."))
            return redirect("console:key", key_id=key.pk)
        try:
            secret = keys.rotate_key(member=request.member, key=key, overlap=form.overlap_given())
        except ValidationError as error:
            form.add_error(None, error.messages)
        else:
            _note_sent(request, form.cleaned_data["once"])
            return _secret_page(request, _key(request, key_id), secret, rotated=True)
    status = 422 if form.errors else 200
    return render(request, "console/key_rotate.html", {"key": key, "form": form}, status=status)


@console_page("keys.own")
@require_POST
def enable(request: ConsoleRequest, key_id: int) -> HttpResponse:
    """Enable a key (`enabled=1`) or disable it."""
    key = _key(request, key_id)
    enabled = request.POST.get("enabled") == "1"
    try:
        if keys.set_key_enabled(member=request.member, key=key, enabled=enabled):
            said = _("“%(name)s” works again.") if enabled else _("“%(name)s” is disabled: its requests are refused.")
            messages.success(request, said % {"name": key.name})
    except ValidationError as error:
        say(request, error)
    return redirect("console:key", key_id=key.pk)


@console_page("keys.own")
@require_http_methods(["GET", "HEAD", "POST"])
def delete(request: ConsoleRequest, key_id: int) -> HttpResponse:
    """Ask whether to delete a key, and do it."""
    key = _key(request, key_id)
    if request.method == "POST":
        keys.delete_key(member=request.member, key=key)
        messages.success(request, _("“%(name)s” is deleted. Its requests stay in Usage Logs.") % {"name": key.name})
        return redirect("console:keys")
    return render(request, "console/key_delete.html", {"key": key, "row": _row(request, key)})


def _key(request: ConsoleRequest, key_id: int) -> ApiKey:
    key = keys.find_key(member=request.member, key_id=key_id)
    if key is None:
        raise Http404
    return key


def _row(request: ConsoleRequest, key: ApiKey) -> KeyRow:
    return key_rows(reach_of(request.member, "keys.all"), [key])[0]


def _first_group(groups: list[keys.GroupChoice]) -> str:
    names = [group.name for group in groups]
    return "default" if "default" in names else next(iter(names), "")


def _secret_page(request: ConsoleRequest, key: ApiKey, secret: str, *, rotated: bool) -> HttpResponse:
    """The only page that ever shows a secret. No cache and no session keeps it."""
    context: dict[str, Any] = {
        "key": key,
        "secret": secret,
        "rotated": rotated,
        "snippets": key_snippets(base=base_url(request), key=secret, model=_example_model(request, key)),
        "shows_logs": allows(request.member.role, "logs.own"),
    }
    response = render(request, "console/key_secret.html", context)
    response.headers["Cache-Control"] = "no-store, private"
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


def _example_model(request: ConsoleRequest, key: ApiKey) -> str:
    """A model that the key may use, for the snippets: one that answers in text, where there is one."""
    groups = keys.usable_groups(request.member.organization_id)
    names = key.allowed_models or next((group.models for group in groups if group.name == key.group), ())
    return keys.chat_model(names) or next(iter(names), "gpt-4o-mini")


def _was_sent(request: ConsoleRequest, once: str) -> bool:
    return bool(once) and once in request.session.get(SENT, [])


def _note_sent(request: ConsoleRequest, once: str) -> None:
    if once:
        request.session[SENT] = [*request.session.get(SENT, []), once[:64]][-MOST_SENT:]
