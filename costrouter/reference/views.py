"""The docs pages. They are public, and ask no database unless somebody is signed in."""

from __future__ import annotations

import re
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import cache_control, never_cache
from django.views.decorators.http import require_POST, require_safe

from costrouter.console.access import current_member
from costrouter.members import keys
from costrouter.reference import entries, openapi, pages, served
from costrouter.reference.marks import KEY
from costrouter.reference.snippets import Reader, filled
from costrouter.sign_in.links import base_url

KEY_NAME = "Docs"
# A model's name as it may stand in a path, in JSON and in a shell's single quotes alike.
_MODEL = re.compile(r"[A-Za-z0-9._:/@+-]{1,100}")


@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """The whole page; `?q=`, `?method=`, `?category=` and `?provider=` narrow the reference down."""
    return _index(request, KEY)


@require_safe
def endpoint(request: HttpRequest, name: str) -> HttpResponse:
    """One endpoint alone."""
    entry = entries.ENTRIES.get(name)
    if entry is None:
        raise Http404(_("There is no such endpoint."))
    ordered = [one for _category, inside in entries.by_category(entries.ENTRIES.values()) for one in inside]
    at = ordered.index(entry)
    context = {
        "entry": entry,
        "section": pages.section(entry, level=2),
        "nav": pages.nav_at(entry),
        "before": ordered[at - 1] if at else None,
        "after": ordered[at + 1] if at + 1 < len(ordered) else None,
    }
    return _answer(request, "reference/endpoint.html", context, KEY)


@require_safe
@cache_control(public=True, max_age=300)
def openapi_document(request: HttpRequest) -> HttpResponse:
    """The OpenAPI document."""
    return JsonResponse(openapi.document(base_url(request)), json_dumps_params={"ensure_ascii": False})


@never_cache
@require_POST
@login_required
def make_key(request: HttpRequest) -> HttpResponse:
    """Make a key of the reader's own, and show the page with it: this once."""
    member = current_member(request)
    if member is None:
        return redirect("console:organization-new")
    groups = [group.name for group in keys.usable_groups(member.organization_id)]
    group = "default" if "default" in groups or not groups else groups[0]
    try:
        _key, secret = keys.create_key(member=member, spec=keys.KeySpec(name=KEY_NAME, group=group))
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
        return redirect("reference:index")
    return _index(request, secret)


def _index(request: HttpRequest, key: str) -> HttpResponse:
    asked = {name: request.GET.get(name, "")[:100] for name in ("q", "method", "category", "provider")}
    found = entries.search(
        text=asked["q"], method=asked["method"], category=asked["category"], provider=asked["provider"]
    )
    context = {
        **pages.counts(),
        "asked": asked,
        "is_narrowed": any(asked.values()),
        "found": len(found),
        "reference": pages.reference(found),
        "methods": entries.METHODS,
        "providers": entries.PROVIDERS,
        "all_categories": entries.by_category(entries.ENTRIES.values()),
        "nav": pages.part("nav"),
        "start": pages.part("start"),
        "guides": pages.part("guides"),
        "made_key": key if key != KEY else "",
    }
    return _answer(request, "reference/index.html", context, key)


def _answer(request: HttpRequest, template: str, context: dict[str, Any], key: str) -> HttpResponse:
    """A page with the reader's address, key and model in its snippets."""
    model = request.GET.get("model", "")
    chosen = model if _MODEL.fullmatch(model) else ""
    ours = served.model_for_examples()
    # It goes into HTML and into shell commands as it is.
    shown = chosen or (ours if _MODEL.fullmatch(ours) else "")
    site = base_url(request)
    about = {"base_url": site, "chosen_model": chosen, "shown_model": shown or served.EXAMPLE}
    response = render(request, template, {**context, **about})
    response.content = filled(response.content.decode(), Reader(site, key, shown)).encode()
    return response
