"""The OpenAPI 3.1 document of the relay, made of the same tables as the page."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

from django.utils import translation

from costrouter.reference import errors
from costrouter.reference.data import ACCOUNT, CATEGORIES
from costrouter.reference.entries import ENTRIES, Entry
from costrouter.reference.json_schema import Schema, object_schema, param_schema
from costrouter.reference.shapes import Binary, File, Param

_SECURITY: dict[str, Schema] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "Authorization: Bearer sk-…"},
    "anthropicKey": {"type": "apiKey", "in": "header", "name": "x-api-key"},
    "googleKey": {"type": "apiKey", "in": "header", "name": "x-goog-api-key"},
    "googleQueryKey": {"type": "apiKey", "in": "query", "name": "key"},
}
_HEADERS: dict[str, Schema] = {
    "x-request-id": {"description": "The request's ID, for Usage Logs.", "schema": {"type": "string"}},
    "x-costrouter-cost": {"description": "What a whole answer cost, in USD.", "schema": {"type": "string"}},
    "x-costrouter-max-output": {
        "description": "Output tokens that the balance allows, where they are fewer than the model's.",
        "schema": {"type": "integer"},
    },
    "retry-after": {"description": "Seconds after which to try again.", "schema": {"type": "integer"}},
}
_TEXT = {"type": "string"}
_STATUSES_OF_ALL = frozenset({400, 401, 403, 404, 429, 500, 503})
_STATUSES_UPSTREAM = frozenset({502, 504})


def document(base_url: str) -> Schema:
    """The document for a site at this address."""
    return {**_document(), "servers": [{"url": base_url}]}


@cache
def _document() -> Schema:
    with translation.override("en"):
        return _made()


def _made() -> Schema:
    paths: dict[str, Schema] = {}
    for entry in ENTRIES.values():
        row = entry.endpoint
        for number, path in enumerate((row.path, *row.aliases)):
            operation = _operation(entry)
            if number:
                operation["operationId"] += f".{number}"
            paths.setdefault(path, {})[row.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "CostRouter",
            "version": "1",
            "summary": "One base URL and one key for every AI model.",
            "description": (
                "Request and response formats are each provider's official API. Fields that are not listed here pass "
                "through to a provider of the same format, unless they would cost what has no price."
            ),
        },
        "security": [{name: []} for name in _SECURITY],
        "tags": [{"name": category.name, "description": str(category.about)} for category in CATEGORIES],
        "paths": paths,
        "components": {
            "securitySchemes": copy.deepcopy(_SECURITY),
            "headers": copy.deepcopy(_HEADERS),
            "schemas": {f"{family}_error": schema for family, schema in _ERROR_SCHEMAS.items()},
            "responses": {
                f"{family}_{status}": _error_response(family, status)
                for family in errors.DIALECTS
                for status in errors.by_status()
            },
        },
    }


def _operation(entry: Entry) -> Schema:
    doc = entry.doc
    operation: Schema = {
        "operationId": entry.name,
        "tags": [entry.category.name],
        "summary": str(doc.title),
        "description": "\n\n".join(map(str, (doc.summary, *doc.notes))),
        "responses": {**_success(entry), **_refusals(entry)},
    }
    parameters = [_parameter(param) for param in entry.params("path", "query", "header")]
    if parameters:
        operation["parameters"] = parameters
    if doc.request is not None:
        operation["requestBody"] = {"required": True, "content": {entry.content_type: _body(entry)}}
    return operation


def _parameter(param: Param) -> Schema:
    found = {
        "name": param.name,
        "in": param.place,
        "required": param.required,
        "description": str(param.about),
        "schema": param_schema(param),
    }
    return found


def _body(entry: Entry) -> Schema:
    example = entry.doc.request or {}
    shown: Schema = {"schema": object_schema(entry.params("body"))}
    if not any(isinstance(value, File) for value in example.values()):
        shown["example"] = dict(example)
    return shown


def _success(entry: Entry) -> Schema:
    doc = entry.doc
    if entry.is_websocket:
        return {"101": {"description": "The websocket is open. Events are JSON, one a message."}}
    headers = {name: {"$ref": f"#/components/headers/{name}"} for name in ("x-request-id", *_cost_headers(entry))}
    content: Schema = {}
    if isinstance(doc.response, Binary):
        content[doc.response.content_type] = {}
    elif isinstance(doc.response, list):
        content["application/json"] = {
            "schema": {"type": "array", "items": object_schema(doc.fields)},
            "example": doc.response,
        }
    else:
        content["application/json"] = {"schema": object_schema(doc.fields), "example": doc.response}
    if doc.stream:
        content["text/event-stream"] = {"schema": _TEXT, "example": doc.stream}
    return {"200": {"description": str(doc.summary), "headers": headers, "content": content}}


def _cost_headers(entry: Entry) -> tuple[str, ...]:
    if entry.endpoint.meter in (None, "free"):
        return ()
    return ("x-costrouter-cost", "x-costrouter-max-output")


def _refusals(entry: Entry) -> Schema:
    statuses = set(_STATUSES_OF_ALL)
    if entry.endpoint.category != ACCOUNT and entry.endpoint.protocol != "models":
        statuses |= _STATUSES_UPSTREAM
    if entry.doc.request is not None:
        statuses.add(413)
    if entry.is_websocket:
        statuses.add(426)
    return {
        str(status): {"$ref": f"#/components/responses/{entry.family}_{status}"}
        for status in sorted(statuses & errors.by_status().keys())
    }


def _error_response(family: str, status: int) -> Schema:
    found = errors.by_status()[status]
    headers = {"x-request-id": {"$ref": "#/components/headers/x-request-id"}}
    if status in (429, 503):
        headers["retry-after"] = {"$ref": "#/components/headers/retry-after"}
    return {
        "description": "\n".join(f"- `{error.code}`: {error.help.title}. {error.help.means}" for error in found),
        "headers": headers,
        "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{family}_error"}}},
    }


def _shape(required: tuple[str, ...], **properties: Any) -> Schema:
    return {"type": "object", "required": list(required), "properties": properties}


_NULLABLE = {"type": ["string", "null"]}
_ERROR_SCHEMAS: dict[str, Schema] = {
    "openai": _shape(
        ("error",),
        error=_shape(("message", "type", "param", "code"), message=_TEXT, type=_TEXT, param=_NULLABLE, code=_NULLABLE),
    ),
    "anthropic": _shape(
        ("type", "error"),
        type={"const": "error"},
        error=_shape(("type", "message"), type=_TEXT, message=_TEXT),
    ),
    "gemini": _shape(
        ("error",),
        error=_shape(("code", "message", "status"), code={"type": "integer"}, message=_TEXT, status=_TEXT),
    ),
}
