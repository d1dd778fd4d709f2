"""The OpenAPI document, made from what operations declare."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiResponse

from costrouter.api.base import Operation
from costrouter.api.errors import CODES, Error
from costrouter.api.fields import In, Text

# THE table of chapters.
TAGS: dict[str, str] = {
    "You": "Who you are, your organizations and your access tokens.",
    "Team": "Members and invitations of your organization, and its audit log.",
    "API keys": "The keys with which clients call the relay.",
    "Usage": "What was used, by day, model, key and member; and every request with its arithmetic.",
    "Billing": "Balance, ledger, statements, redemption codes.",
    "Models": "What you can use, and what it costs.",
    "Operator: channels": "Upstream accounts.",
    "Operator: catalogue": "Models, groups and dated prices.",
    "Operator: organizations": "Tenants, their credits, redemption codes.",
    "Operator: books": "Whether the money agrees.",
}


class Schema(AutoSchema):
    """An operation's part of the document."""

    @property
    def operation(self) -> Operation:
        declared: Operation = getattr(self.view, self.method.lower()).operation
        return declared

    def get_operation_id(self) -> str:
        return self.operation.id

    def get_summary(self) -> str:
        return self.operation.summary

    def get_description(self) -> str:
        text: str = getattr(self.view, self.method.lower()).__doc__ or ""
        return " ".join(text.split())

    def get_tags(self) -> list[str]:
        assert self.view.tag in TAGS, self.view.tag
        return [self.view.tag]

    def get_auth(self) -> list[dict[str, list[str]]]:
        super().get_auth()  # registers the schemes
        by_session: dict[str, list[str]] = {"session": []}
        if self.operation.session_only:
            return [by_session]
        return [{"accessToken": [self.operation.scope] if self.operation.scope else []}, by_session]

    def _map_serializer_field(self, field: Any, direction: Any, bypass_extensions: bool = False) -> Any:
        """Texts that come in are not blank, unless they may be."""
        made = super()._map_serializer_field(field, direction, bypass_extensions)
        if isinstance(field, Text) and not field.allow_blank:
            made = {**made, "minLength": 1, "pattern": r"\S"}
        return made

    def get_override_parameters(self) -> list[Any]:
        return [self.operation.query] if self.operation.query is not None else []

    def get_request_serializer(self) -> Any:
        return self.operation.body

    def get_response_serializers(self) -> Any:
        declared = self.operation
        found: dict[int, Any] = {
            declared.status if declared.answer is not None else 204: OpenApiResponse(
                declared.answer, description="Done." if declared.answer is None else "What was asked for."
            )
        }
        for status in statuses(declared, in_path="{" in self.path, method=self.method):
            codes = ", ".join(code for code, (of, _) in CODES.items() if of == status)
            found[status] = OpenApiResponse(Error, description=codes)
        return found


def statuses(operation: Operation, *, in_path: bool, method: str) -> list[int]:
    """The errors that an operation may answer."""
    found = [400, 401, 429]
    if operation.action or operation.permissions or operation.scope or operation.session_only or method != "GET":
        found.append(403)
    if in_path:
        found.append(404)
    if method != "GET":
        found.append(409)
    if operation.body is not None:
        found += [413, 415]
    return sorted(found)


def finish(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """Bodies take no field they do not name; chapters in their order."""
    closed = {kind.__name__ for kind in _below(In)}
    for name, component in result["components"]["schemas"].items():
        if name in closed:
            component["additionalProperties"] = False
    result["tags"] = [{"name": name, "description": text} for name, text in TAGS.items()]
    return result


def _below(kind: type) -> set[type]:
    found: set[type] = set(kind.__subclasses__())
    return found | {inner for each in found for inner in _below(each)}


@lru_cache(maxsize=1)
def document() -> dict[str, Any]:
    """The OpenAPI 3.1 document of the management API, the same for everyone."""
    made: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)
    return made
