"""The frame of the API: an operation says once what it needs, takes and answers.

From that one declaration it is checked (`access.py`), its query and body are validated, its answer is made, and the
schema describes it (`schema.py`). A resource is a view whose methods are operations.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import wraps
from typing import Any, ClassVar

from rest_framework import serializers
from rest_framework.exceptions import MethodNotAllowed, NotAuthenticated
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import audit
from accounts.models import Membership
from accounts.permissions import PERMISSIONS, SCOPES
from costrouter.api import access
from costrouter.api.authentication import member_of
from costrouter.api.errors import Refused, not_found
from costrouter.api.fields import In
from costrouter.api.operations import Operation, Serializer
from costrouter.api.throttles import PerCaller
from costrouter.api.wire import unstorable_text
from costrouter.middleware import client_ip


def operation(
    id: str,
    summary: str,
    *,
    scope: str = "",
    action: str | None = None,
    permission: str | tuple[str, ...] = (),
    query: type[In] | None = None,
    body: type[In] | None = None,
    answer: Serializer | None = None,
    status: int = 200,
    session_only: bool = False,
) -> Callable[[Callable[..., Any]], Callable[..., Response]]:
    """A method of a resource. It finds `self.query` and `self.body` validated, and returns what `answer` shows."""
    assert not scope or scope in SCOPES, scope
    assert action is None or action in PERMISSIONS, action
    permissions = (permission,) if isinstance(permission, str) else permission
    declared = Operation(id, summary, scope, action, permissions, query, body, answer, status, session_only)

    def decorator(method: Callable[..., Any]) -> Callable[..., Response]:
        @wraps(method)
        def handler(self: Resource, request: Any, **path: Any) -> Response:
            self.query = _validated(query or In, _single(request.query_params), strict=False)
            self.body = _validated(body, request.data, strict=True) if body is not None else {}
            value = method(self, **path)
            if answer is None:
                return Response(status=204)
            return Response(answer(value).data, status=status)

        handler.operation = declared  # type: ignore[attr-defined]
        return handler

    return decorator


def _validated(kind: type[In], data: Any, *, strict: bool) -> dict[str, Any]:
    taken = kind(data=data, context={"strict": strict})
    taken.is_valid(raise_exception=True)
    return taken.validated_data


def _single(params: Any) -> dict[str, str]:
    """A query's parameters, each once. Raises ValidationError."""
    found = {}
    for name, values in params.lists():
        problem = "It is given more than once." if len(values) > 1 else unstorable_text(name + values[0])
        if problem:
            raise serializers.ValidationError({name.replace("\x00", "�"): [problem]})
        found[name] = values[0]
    return found


class Resource(APIView):
    """A path of the API. `tag`: its chapter in the docs."""

    tag: ClassVar[str] = ""
    throttle_classes: tuple[type, ...] = (PerCaller,)
    http_method_names = ["get", "post", "put", "patch", "delete", "head"]
    permission_classes = ()
    format_kwarg = None
    query: dict[str, Any]
    body: dict[str, Any]
    _member: Membership | None

    @property
    def member(self) -> Membership:
        """The caller's place in their organization, for operations with an `action`."""
        if self._member is None:
            raise Refused("no_organization")
        return self._member

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        with ExitStack() as self._acting:
            response = super().dispatch(request, *args, **kwargs)
        # Answers may hold a secret, and always somebody's own figures.
        response.headers["Cache-Control"] = "private, no-store"
        return response

    def initial(self, request: Any, *args: Any, **kwargs: Any) -> None:
        request.accepted_renderer, request.accepted_media_type = self.perform_content_negotiation(request)
        method = "get" if request.method == "HEAD" else request.method.lower()
        declared: Operation | None = getattr(getattr(self, method, None), "operation", None)
        if declared is None:
            raise MethodNotAllowed(request.method)
        if not request.user.is_authenticated:
            raise NotAuthenticated("Sign in, or send an access token: Authorization: Bearer crt_…")
        self.check_throttles(request)
        self._acting.enter_context(
            audit.acting(user=request.user, via=audit.Via.API, client_ip=client_ip(request._request))
        )
        self._member = request.member = member_of(request)
        access.check(declared, request, self._member)


class NotFound(Resource):
    """Every path that is no resource."""

    schema = None

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        return super().dispatch(request, *args, **kwargs)

    def initial(self, request: Any, *args: Any, **kwargs: Any) -> None:
        request.accepted_renderer, request.accepted_media_type = self.perform_content_negotiation(request)
        raise not_found()
