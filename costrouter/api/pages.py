"""What the docs page shows of each operation, read from the OpenAPI document: parameters, fields, examples, curl."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from costrouter.api.samples import BODIES, DAY, MOMENT, VALUES
from costrouter.api.schema import TAGS, document

BASE = "https://BASE-URL"
TOKEN = "crt_xxxx"  # noqa: S105  (a placeholder)
METHODS = ("get", "post", "put", "patch", "delete")
MOST_DEPTH = 5


@dataclass(frozen=True, slots=True)
class Param:
    """A parameter of a path or a query, or a field of a body; inner fields as `limit.window`."""

    name: str
    place: str
    type: str
    required: bool
    about: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """An operation. `body`, `answer`: examples as JSON text, "" where there is none."""

    id: str
    method: str
    path: str
    summary: str
    about: str
    scope: str
    session_only: bool
    params: tuple[Param, ...]
    body: str
    status: str
    answer: str
    curl: str


@cache
def chapters() -> list[tuple[str, str, str, list[Entry]]]:
    """(title, slug, what it is about, its operations) of each chapter."""
    found: dict[str, list[Entry]] = {name: [] for name in TAGS}
    for path, methods in document()["paths"].items():
        for method in METHODS:
            if method in methods:
                found[methods[method]["tags"][0]].append(_entry(method, path, methods[method]))
    return [(name, slug(name), text, found[name]) for name, text in TAGS.items()]


def slug(name: str) -> str:
    return name.lower().replace(": ", "-").replace(" ", "-")


def _entry(method: str, path: str, raw: Mapping[str, Any]) -> Entry:
    by_token = next((way["accessToken"] for way in raw["security"] if "accessToken" in way), None)
    params = [_param(param) for param in raw.get("parameters", ())]
    body_schema = _json_schema(raw.get("requestBody", {}))
    body = "" if body_schema is None else _text(BODIES[raw["operationId"]])
    if body_schema is not None:
        params += _fields(body_schema)
    status, response = next(iter(sorted(raw["responses"].items())))
    answer_schema = _json_schema(response)
    return Entry(
        id=raw["operationId"],
        method=method.upper(),
        path=path,
        summary=raw["summary"],
        about=raw.get("description", ""),
        scope=by_token[0] if by_token else "",
        session_only=by_token is None,
        params=tuple(params),
        body=body,
        status=status,
        answer="" if answer_schema is None else _text(example(answer_schema)),
        curl=_curl(method, path, raw, body),
    )


def _json_schema(holder: Mapping[str, Any]) -> dict[str, Any] | None:
    content = holder.get("content", {}).get("application/json")
    return None if content is None else content["schema"]


def _text(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _curl(method: str, path: str, raw: Mapping[str, Any], body: str) -> str:
    for param in raw.get("parameters", ()):
        if param["in"] == "path":
            path = path.replace("{" + param["name"] + "}", str(example(param["schema"], param["name"])))
    lines = [
        f"curl {'' if method == 'get' else f'-X {method.upper()} '}{BASE}{path}",
        f'-H "Authorization: Bearer {TOKEN}"',
    ]
    if body:
        lines += ['-H "Content-Type: application/json"', f"-d '{json.dumps(json.loads(body), ensure_ascii=False)}'"]
    return " \\\n  ".join(lines)


def _param(raw: Mapping[str, Any]) -> Param:
    schema = raw["schema"]
    return Param(
        name=raw["name"],
        place=raw["in"],
        type=kind(schema),
        required=bool(raw.get("required")),
        about=raw.get("description", ""),
        values=tuple(str(value) for value in _resolved(schema).get("enum", ())),
    )


def _fields(schema: Mapping[str, Any], prefix: str = "", depth: int = 0) -> Iterator[Param]:
    """The fields of a body, inner ones too."""
    resolved = _resolved(schema)
    needed = resolved.get("required", ())
    for name, raw in resolved.get("properties", {}).items():
        inner = _resolved(raw)
        yield Param(
            name=prefix + name,
            place="body",
            type=kind(raw),
            required=name in needed,
            about=raw.get("description") or ("" if inner is not raw else inner.get("description", "")),
            values=tuple(str(value) for value in inner.get("enum", ()) if value is not None),
        )
        if depth < MOST_DEPTH:
            yield from _fields(raw, f"{prefix}{name}.", depth + 1)


def _resolved(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A schema, its reference followed; of several, the one that is not null."""
    for ways in ("oneOf", "anyOf", "allOf"):
        if ways in schema:
            return _resolved(next(way for way in schema[ways] if way.get("type") != "null"))
    if "$ref" in schema:
        found: dict[str, Any] = document()["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        return _resolved(found)
    return dict(schema)


def kind(schema: Mapping[str, Any]) -> str:
    """A schema's type for people: "string", "array of string", "object", "integer or null"."""
    resolved = _resolved(schema)
    types = resolved.get("type", "any")
    names = types if isinstance(types, list) else [types]
    nullable = "null" in names or any(way.get("type") == "null" for way in schema.get("oneOf", ()))
    text = " or ".join(name for name in names if name != "null")
    if text == "array":
        text = f"array of {kind(resolved.get('items', {}))}"
    if resolved.get("format") in ("date", "date-time", "email"):
        text = {"date": "date", "date-time": "RFC 3339 time", "email": "e-mail"}[resolved["format"]]
    return f"{text} or null" if nullable else text


def example(schema: Mapping[str, Any], name: str = "", depth: int = 0) -> Any:
    """A value that a schema allows, of which people see at once what it is."""
    resolved = _resolved(schema)
    types = resolved.get("type", "string")
    chosen = next((kind for kind in types if kind != "null"), "null") if isinstance(types, list) else types
    if name == "next_cursor":
        return None
    if "examples" in resolved:
        return resolved["examples"][0]
    if "enum" in resolved:
        return resolved["enum"][0]
    for value in VALUES.get(name, ()):
        if _is_a(value, chosen, resolved):
            return value
    if "default" in resolved:
        return resolved["default"]
    match chosen:
        case "object":
            if depth > MOST_DEPTH:
                return {}
            inside = resolved.get("properties", {})
            return {inner: example(raw, inner, depth + 1) for inner, raw in inside.items()}
        case "array":
            return [example(resolved["items"], name, depth + 1)] if "items" in resolved else []
        case "integer":
            return max(resolved.get("minimum", 0), 12 if name.endswith("id") else 0)
        case "number":
            return max(resolved.get("minimum", 0), 0.98)
        case "boolean":
            return True
    return {"date": DAY, "date-time": MOMENT, "email": "dave@example.com"}.get(resolved.get("format", ""), "…")


def _is_a(value: Any, kind: str, schema: Mapping[str, Any]) -> bool:
    """Whether a value is of a type; of mappings and lists, what is in them too."""
    kinds = {"object": dict, "array": list, "string": str, "integer": int, "number": int | float, "boolean": bool}
    if kind not in kinds or not isinstance(value, kinds[kind]):
        return False
    if isinstance(value, dict):
        inner = schema.get("additionalProperties")
        return isinstance(inner, dict) and all(_is_a(item, inner.get("type", "any"), inner) for item in value.values())
    if isinstance(value, list):
        inner = _resolved(schema.get("items", {}))
        return all(_is_a(item, inner.get("type", "any"), inner) for item in value)
    return True
