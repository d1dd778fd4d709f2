"""JSON Schemas of parameters and answers, made of the tables' rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from costrouter.reference.shapes import Param

Schema = dict[str, Any]
_FILE: Schema = {"type": "string", "contentMediaType": "application/octet-stream"}


@dataclass(slots=True)
class _Node:
    """A place in a body: its own row, where there is one, and what is inside it, by name."""

    param: Param | None = None
    inside: dict[str, _Node] = field(default_factory=dict)
    is_list: bool = False


def object_schema(params: Iterable[Param]) -> Schema:
    """An object with these fields. Others are allowed: they pass through."""
    root = _Node()
    for param in params:
        node = root
        for name, many in steps(param.name):
            node = node.inside.setdefault(name, _Node())
            node.is_list = node.is_list or many
        node.param = param
    return _object(root.inside)


def steps(name: str) -> list[tuple[str, bool]]:
    """A row's name as steps: `messages[].role` is (messages, a list), (role, none).

    Brackets at the very end belong to the name: so forms call what may be given several times.
    """
    parts = name.split(".")
    return [
        (part.removesuffix("[]"), True) if part.endswith("[]") and part is not parts[-1] else (part, False)
        for part in parts
    ]


def _object(inside: dict[str, _Node]) -> Schema:
    schema: Schema = {"type": "object"}
    if inside:
        schema["properties"] = {name: _node_schema(node) for name, node in inside.items()}
    needed = [name for name, node in inside.items() if node.param is not None and node.param.required]
    return {**schema, "required": needed} if needed else schema


def _node_schema(node: _Node) -> Schema:
    if node.param is None:
        inner = _object(node.inside)
        return {"type": "array", "items": inner} if node.is_list else inner
    schema = type_schema(node.param.type, node.inside)
    if node.param.values:
        schema["enum"] = list(node.param.values)
    return {**schema, "description": str(node.param.about)}


def param_schema(param: Param) -> Schema:
    """Of a parameter of a path, a query or a header."""
    schema = type_schema(param.type, {})
    return {**schema, "enum": list(param.values)} if param.values else schema


def type_schema(text: str, inside: dict[str, _Node] | None = None) -> Schema:
    """A type as the tables write it: "string", "array<object>", "string | null"."""
    kinds = text.split(" | ")
    if len(kinds) == 1:
        return _one(kinds[0], inside or {})
    return {"anyOf": [_one(kind, inside or {}) for kind in kinds]}


def _one(kind: str, inside: dict[str, _Node]) -> Schema:
    if kind == "file":
        return dict(_FILE)
    if kind.startswith("array<"):
        return {"type": "array", "items": _one(kind.removeprefix("array<").removesuffix(">"), inside)}
    return _object(inside) if kind == "object" else {"type": kind}
