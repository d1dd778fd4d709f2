"""OpenAI moderations: is a text or an image harmful?

Source of the format: `ModerationCreateParams` and `ModerationCreateResponse` of the openai 3.54 package. OpenAI charges
nothing; it is a call here, whose price may be 0. Some count tokens (Mistral): a price names one or the other; tokens
that an answer does not tell are taken from the request.
"""

from __future__ import annotations

from typing import Any

from relay.errors import RelayError
from relay.protocols.base import Answer, Media, Request
from relay.protocols.fields import no_deep_nesting, read_object, string, value_of
from relay.protocols.plain_json import (
    add_text,
    add_unknown,
    answer_fields,
    is_list,
    tier_of,
    upstream_body,
    value_or_none,
)
from relay.protocols.usage import openai_units

__all__ = ["parse", "read_answer", "upstream_body"]

DEFAULT_MODEL = "omni-moderation-latest"
_BYTES_A_TOKEN = 4
_KNOWN = frozenset({"model", "input", "service_tier"})


def parse(body: bytes, path: str = "") -> Request:
    """Read a request's body. Raises RelayError."""
    with no_deep_nesting():
        fields = read_object(body)
        model = string(fields, "model") or DEFAULT_MODEL
        request = Request("moderations", fields, model, output=False, features=tier_of(fields), pieces={"calls": 1})
        value = value_of(fields, "input")
        for item in value if isinstance(value, list) and value else [value]:
            _read_item(request, item)
        add_unknown(request, _KNOWN)
        return request


def _read_item(request: Request, item: Any) -> None:
    if isinstance(item, dict) and item.get("type") == "image_url":
        request.media.append(Media("image"))
    elif isinstance(item, dict):
        add_text(request, {name: value for name, value in item.items() if name != "type"})
    elif isinstance(item, str):
        add_text(request, item)
    else:
        raise RelayError(
            "invalid_request",
            "input must be a text, a list of texts, or a list of text and image parts.",
            param="input",
        )


def read_answer(body: bytes, request: Request) -> Answer | None:
    """A moderation; None where the body is no such thing. It goes to the client as it is."""
    fields = answer_fields(body)
    if fields is None or not is_list(fields, "results"):
        return None
    told = openai_units(value_or_none(fields, "usage")) or {"input": -(-request.text_bytes // _BYTES_A_TOKEN)}
    units = {**told, "calls": 1}
    return Answer(units, [], lambda units, cost: body)
