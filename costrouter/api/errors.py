"""Every error of the API in one shape: `{"error": {"code", "message", "fields"?}}`."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from django.core import exceptions as django_exceptions
from django.db import IntegrityError
from django.db.models import ProtectedError
from django.http import Http404
from rest_framework import exceptions, serializers
from rest_framework.response import Response
from rest_framework.views import set_rollback

log = logging.getLogger(__name__)

# THE table of codes: status, and what it means for people.
CODES: dict[str, tuple[int, str]] = {
    "malformed": (400, "The body is not JSON, or not in a form that can be kept."),
    "invalid": (400, "A parameter or a field is missing, unknown or not as it should be; `fields` says which."),
    "unauthenticated": (401, "No session, or a token that is unknown, expired or of somebody who left."),
    "csrf_failed": (403, "A session changes things only with its CSRF token, in `X-CSRFToken`."),
    "no_organization": (403, "You are in no organization yet."),
    "missing_role": (403, "Your role in the organization does not allow this."),
    "missing_scope": (403, "The access token has not the scope that the message names."),
    "session_needed": (403, "Access tokens cannot do this; sign in."),
    "operators_only": (403, "Only operators of this site may do this, with the permission that the message names."),
    "mfa_needed": (403, "Operators need a second factor on this site."),
    "forbidden": (403, "This is not allowed."),
    "not_found": (404, "There is no such thing, or it is not yours."),
    "method_not_allowed": (405, "This path does not answer to this method; `Allow` names those it does."),
    "conflict": (409, "It is in use, or somebody else changed it at the same time."),
    "too_large": (413, "The body is over the limit."),
    "unsupported_media_type": (415, "Bodies are `application/json`."),
    "too_many_requests": (429, "Too many requests; `Retry-After` says how many seconds to wait."),
    "internal": (500, "Our mistake. It is in the log."),
}


class Refused(exceptions.APIException):
    """A refusal with a code of the table and words of its own."""

    def __init__(self, code: str, message: str = "") -> None:
        self.status_code, default = CODES[code]
        super().__init__(message or default, code)


def not_found() -> Refused:
    """What is not there, and what is another organization's: nobody can tell the two apart."""
    return Refused("not_found")


class Problem(serializers.Serializer):
    """What went wrong."""

    code = serializers.ChoiceField(choices=list(CODES))
    message = serializers.CharField()
    fields = serializers.DictField(  # type: ignore[assignment]
        child=serializers.ListField(child=serializers.CharField()),
        required=False,
        help_text="Field or parameter → what is wrong with it. Inner fields are joined by dots.",
    )


class Error(serializers.Serializer):
    """The one shape of every error."""

    error = Problem()


def _flat(detail: Any, path: str = "") -> dict[str, list[str]]:
    """Nested messages of serializers as one level: "limits.window" → ["…"]."""
    if isinstance(detail, Mapping):
        pairs = [(str(name), inner) for name, inner in detail.items()]
    elif isinstance(detail, list) and any(isinstance(item, Mapping | list) for item in detail):
        pairs = [(str(place), inner) for place, inner in enumerate(detail) if inner]
    else:
        return {path or "body": [str(item) for item in (detail if isinstance(detail, list) else [detail])]}
    found: dict[str, list[str]] = {}
    for name, inner in pairs:
        here = (
            path
            if name in ("non_field_errors", django_exceptions.NON_FIELD_ERRORS)
            else ".".join(part for part in (path, name) if part)
        )
        for key, messages in _flat(inner, here).items():
            found.setdefault(key, []).extend(messages)
    return found


def answer(code: str, message: str = "", fields: Mapping[str, list[str]] | None = None, **headers: str) -> Response:
    """An error as the response that the API gives."""
    status, default = CODES[code]
    error: dict[str, Any] = {"code": code, "message": message or default}
    if fields:
        error["fields"] = dict(fields)
    return Response({"error": error}, status=status, headers={k.replace("_", "-"): v for k, v in headers.items()})


def _invalid(fields: Mapping[str, list[str]]) -> Response:
    name, messages = next(iter(fields.items()))
    text = messages[0] if name == "body" else f"{name}: {messages[0]}"
    return answer("invalid", text, fields)


def handle(error: Exception, context: Mapping[str, Any]) -> Response:
    """DRF's exception handler: any exception as an answer. Those nobody expected are logged and not told."""
    set_rollback()
    match error:
        case exceptions.ValidationError():
            return _invalid(_flat(error.detail))
        case django_exceptions.ValidationError():
            return _invalid(_flat(error.message_dict if hasattr(error, "error_dict") else error.messages))
        case Refused():
            return answer(str(error.get_codes()), str(error.detail))
        case exceptions.ParseError():
            return answer("malformed", str(error.detail))
        case exceptions.NotAuthenticated() | exceptions.AuthenticationFailed():
            return answer("unauthenticated", str(error.detail), WWW_Authenticate='Bearer realm="api"')
        case exceptions.Throttled():
            return answer("too_many_requests", Retry_After=str(max(1, int(error.wait or 1))))
        case exceptions.MethodNotAllowed():
            view: Any = context["view"]
            return answer("method_not_allowed", Allow=", ".join(view.allowed_methods))
        case exceptions.UnsupportedMediaType():
            return answer("unsupported_media_type")
        case exceptions.NotFound() | Http404():
            return answer("not_found")
        case django_exceptions.RequestDataTooBig():
            return answer("too_large")
        case exceptions.PermissionDenied():
            text = str(error.detail)
            return answer("csrf_failed" if text.startswith("CSRF") else "forbidden", text)
        case django_exceptions.PermissionDenied():
            return answer("forbidden", str(error))
        case ProtectedError():
            return answer("conflict")
        case IntegrityError():
            log.warning("%s met a constraint of the database", context["request"].path, exc_info=error)
            return answer("conflict")
    log.error("%s failed", context["request"].path, exc_info=error)
    return answer("internal")
