"""JSON objects whose fields stay as they were sent until they are asked for."""

from __future__ import annotations

from typing import Any

import msgspec

from relay.errors import RelayError

Fields = dict[str, msgspec.Raw]
top_level = msgspec.json.Decoder(Fields)
_any = msgspec.json.Decoder()


def value_of(fields: Fields, name: str) -> Any:
    """A field's value; None where it is absent."""
    raw = fields.get(name)
    if raw is None:
        return None
    try:
        return _any.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RelayError("invalid_json", f"The body is not JSON: {error}.", param=name) from error


def given(fields: Fields, name: str) -> bool:
    return name in fields and bytes(fields[name]) != b"null"


def strings(value: Any, into: list[str]) -> None:
    """Every string inside a value. Raises RecursionError where it is nested too deeply."""
    if isinstance(value, str):
        into.append(value)
    elif isinstance(value, dict):
        for inner in value.values():
            strings(inner, into)
    elif isinstance(value, list):
        for inner in value:
            strings(inner, into)
