"""The OpenAPI document, and a page that shows it: readable without JavaScript, and with it one can send requests."""

from __future__ import annotations

from functools import lru_cache

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils.safestring import SafeString
from django.utils.translation import get_language
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_safe

from accounts.permissions import SCOPES
from costrouter.api import pages
from costrouter.api.config import REST_FRAMEWORK
from costrouter.api.errors import CODES
from costrouter.api.schema import document
from costrouter.sign_in.links import base_url


@require_safe
@cache_control(public=True, max_age=300)
def schema(request: HttpRequest) -> JsonResponse:
    """The OpenAPI document, for anyone."""
    return JsonResponse(document(), json_dumps_params={"ensure_ascii": False})


@require_safe
def docs(request: HttpRequest) -> HttpResponse:
    """Every operation, by chapter."""
    reference = _reference(get_language() or "").replace(pages.BASE, base_url(request))
    context = {
        "chapters": pages.chapters(),
        "reference": SafeString(reference),
        "operations": sum(len(entries) for *_, entries in pages.chapters()),
        "rate": REST_FRAMEWORK["DEFAULT_THROTTLE_RATES"]["api"].partition("/")[0],
        "base": f"{base_url(request)}/api/v1",
        "scopes": SCOPES,
        "codes": [(code, status, text) for code, (status, text) in CODES.items()],
        "error": '{"error": {"code": "invalid", "message": "name: This field is required.", '
        '"fields": {"name": ["This field is required."]}}}',
        "first": f'curl {base_url(request)}/api/v1/me -H "Authorization: Bearer {pages.TOKEN}"',
    }
    return render(request, "api/docs.html", context)


@lru_cache(maxsize=8)
def _reference(language: str) -> str:
    """The chapters as HTML, the same for everybody but for where this site is."""
    return render_to_string("api/reference.html", {"chapters": pages.chapters()})
