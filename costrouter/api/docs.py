"""The OpenAPI document."""

from __future__ import annotations

from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe

from costrouter.api.schema import document


@require_safe
def schema(request: HttpRequest) -> JsonResponse:
    """The OpenAPI document, for anyone."""
    return JsonResponse(document())
