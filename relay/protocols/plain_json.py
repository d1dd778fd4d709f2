"""What the dialects without a conversation share: a JSON request that passes through, a JSON answer with its cost.

The service tier is read here for all of OpenAI's dialects: they name it alike.
"""

from __future__ import annotations

from typing import Any

import msgspec

from relay.errors import RelayError
from relay.protocols.base import Feature, Request, Target
from relay.protocols.fields import Fields, given, string, strings, top_level, utf8_length, value_of
from relay.protocols.usage import MAX_TOKENS

_encode = msgspec.json.encode


def upstream_body(request: Request, target: Target) -> bytes:
    """The request as it was sent, with the model's name there."""
    return _encode({**request.fields, "model": msgspec.Raw(_encode(target.model))})


def tier_of(fields: Fields) -> list[Feature]:
    """The service tier that a request asks for, where it is not the standard one."""
    tier = string(fields, "service_tier")
    return [] if tier in (None, "auto", "default", "standard") else [Feature("service_tier", tier=tier)]


def add_text(request: Request, value: Any) -> None:
    """Count every string inside a value as text. Raises RecursionError where it is nested too deeply."""
    before = len(request.texts)
    strings(value, request.texts)
    request.text_bytes += sum(map(utf8_length, request.texts[before:]))


def add_unknown(request: Request, known: frozenset[str]) -> None:
    """Count the fields that nobody here has heard of: an upstream may read them as input."""
    for name, value in request.fields.items():
        if name not in known and (raw := bytes(value))[:1] in (b'"', b"[", b"{"):
            request.text_bytes += len(raw)
            request.texts.append(raw.decode("utf-8", "replace"))


def answer_fields(body: bytes) -> Fields | None:
    """The top level of an answer; None where it is not a JSON object, or reports an error."""
    try:
        fields = top_level.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return None if given(fields, "error") else fields


def value_or_none(fields: Fields, name: str) -> Any:
    """A field's value; None where it is absent or cannot be read."""
    try:
        return value_of(fields, name)
    except (RelayError, RecursionError):
        return None


def is_list(fields: Fields, name: str) -> bool:
    """Whether a field is a list, without reading it: embeddings are long."""
    return bytes(memoryview(fields.get(name, b""))[:1]) == b"["


def count(value: Any) -> int | None:
    """A quantity that an upstream told, rounded up; None where it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_TOKENS:
        return None
    return -int(-value // 1)


def with_cost(fields: Fields, units: dict[str, int], cost: str) -> bytes:
    """The answer for the client: as the upstream sent it, with `usage.cost` in USD."""
    usage = value_or_none(fields, "usage")
    told = top_level.decode(fields["usage"]) if isinstance(usage, dict) else {}
    told["cost"] = msgspec.Raw(cost.encode())
    return _encode({**fields, "usage": msgspec.Raw(_encode(told))})
