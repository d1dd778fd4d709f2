"""Values as the languages of the snippets write them, and the marks for what differs from reader to reader."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from costrouter.reference.entries import Entry
from costrouter.reference.marks import MODEL_MARK
from costrouter.reference.shapes import Code

WIDTH, JSON_WIDTH = 88, 52


def model_name(entry: Entry) -> str:
    """The example's model, marked where any chat model could stand for it."""
    name = entry.doc.models[0] if entry.doc.models else ""
    return f"{MODEL_MARK}{name}{MODEL_MARK}" if name and entry.takes_any_chat_model else name


def with_model(value: Any, entry: Entry) -> Any:
    """An example's body with its model marked."""
    if not isinstance(value, Mapping) or "model" not in value:
        return value
    return {**value, "model": model_name(entry)}


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _writer(
    words: Mapping[Any, str],
    key: Callable[[str], str],
    *,
    indent: str = "  ",
    inside: str = " ",
    last: str = ",",
) -> Callable[..., str]:
    """What writes a value in a language: on one line where it has room, else a part a line.

    `words`: for null and the like. `inside`: between braces and what they hold; `last`: after the last of many lines.
    Of what is written, `before` is how much stands before it in its first line.
    """

    def write(value: Any, *, depth: int = 0, room: int = WIDTH, before: int = 0) -> str:
        if isinstance(value, Code):
            return value.text
        if isinstance(value, str):
            return _text(value)
        if value is None or isinstance(value, bool):
            return words[value]
        if isinstance(value, int | float):
            return _number(value)
        keyed = isinstance(value, Mapping)
        parts = [(key(name), inner) for name, inner in value.items()] if keyed else [("", inner) for inner in value]
        (opened, closed), space = ("{}", inside) if keyed else ("[]", "")
        if not parts:
            return opened + closed
        line = opened + space + ", ".join(name + write(inner, room=_ALWAYS) for name, inner in parts) + space + closed
        if depth * len(indent) + before + len(line) + 1 <= room:
            return line
        start = indent * (depth + 1)
        rows = [start + name + write(inner, depth=depth + 1, room=room, before=len(name)) for name, inner in parts]
        return opened + "\n" + ",\n".join(rows) + last + "\n" + indent * depth + closed

    return write


_ALWAYS = 10_000


def _number(value: float) -> str:
    """Without an exponent: amounts are small."""
    return f"{value:.12f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def _js_key(name: str) -> str:
    return f"{name}: " if name.isidentifier() else f"{_text(name)}: "


def _quoted_key(name: str) -> str:
    return f"{_text(name)}: "


_JSON = {None: "null", True: "true", False: "false"}
python_literal = _writer({None: "None", True: "True", False: "False"}, _quoted_key, indent="    ", inside="")
js_literal = _writer(_JSON, _js_key)
_json_literal = _writer(_JSON, _quoted_key, inside="", last="")


def as_json(value: Any) -> str:
    """An example as JSON, as people write it."""
    return _json_literal(value, room=JSON_WIDTH)
