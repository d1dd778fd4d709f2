"""JSON objects whose fields stay as they were sent until they are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from relay.errors import RelayError

Fields = dict[str, msgspec.Raw]
top_level = msgspec.json.Decoder(Fields)
_any = msgspec.json.Decoder()
# No client asks for more output tokens than this, and no upstream gives them.
MAX_CAP = 1_000_000_000


# Fields that say what a request costs, in any dialect.
_COSTS = frozenset(
    {
        *("model", "models", "n", "best_of", "n_choices", "stream", "store", "service_tier", "speed", "modalities"),
        *("max_tokens", "max_completion_tokens", "max_output_tokens", "max_new_tokens", "max_tokens_to_sample"),
        *("n_predict", "num_predict", "messages", "system", "input", "instructions", "prompt", "tools", "functions"),
        *("web_search_options", "enable_search", "plugins", "provider", "previous_response_id", "conversation"),
        *("container", "documents", "seconds", "size", "quality", "mcp_servers", "fallbacks", "route"),
    }
)


def read_object(body: bytes) -> Fields:
    """A body's top level. Raises RelayError where it is not a JSON object.

    Servers written in Go read `Max_Tokens` as `max_tokens`, and even letters that only fold to these: such a name is
    refused, for what it says would not be held for.
    """
    try:
        fields = top_level.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RelayError("invalid_json", f"The body is not a JSON object: {error}.") from error
    for name in fields:
        if name not in _COSTS and (known := name.casefold()) in _COSTS:
            raise RelayError("invalid_request", f"{name} is not a field; {known} is.", param=name)
    return fields


@contextmanager
def no_deep_nesting() -> Iterator[None]:
    """Reading a body that is nested too deeply is the client's error."""
    try:
        yield
    except RecursionError as error:
        raise RelayError("invalid_json", "The body is nested too deeply.") from error


def model_of(fields: Fields) -> str:
    """The model that a body names. Raises `missing_model`."""
    model = string(fields, "model")
    if not model:
        raise RelayError("missing_model", "You must provide a model parameter.", param="model")
    return model


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


def string(fields: Fields, name: str) -> str | None:
    value = value_of(fields, name)
    if value is not None and not isinstance(value, str):
        raise RelayError("invalid_request", f"{name} must be a string.", param=name)
    return value


def boolean(fields: Fields, name: str) -> bool:
    value = value_of(fields, name)
    if value is not None and not isinstance(value, bool):
        raise RelayError("invalid_request", f"{name} must be true or false.", param=name)
    return bool(value)


def integer(fields: Fields, name: str, least: int, most: int) -> int | None:
    value = value_of(fields, name)
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise RelayError("invalid_request", f"{name} must be a whole number from {least} to {most}.", param=name)
    return value


def list_of(fields: Fields, name: str) -> list[Any]:
    value = value_of(fields, name)
    if value is not None and not isinstance(value, list):
        raise RelayError("invalid_request", f"{name} must be a list.", param=name)
    return value or []


def utf8_length(text: str) -> int:
    """The bytes of a text in UTF-8; a lone surrogate counts as three."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
