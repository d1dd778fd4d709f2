"""OpenAI embeddings: texts, or texts as tokens, become vectors.

Source of the format: `EmbeddingCreateParams` and `CreateEmbeddingResponse` of the openai 3.54 package. Servers of this
dialect (Jina, vLLM, Voyage) also take objects with a `text` or an `image`, and may tell only `total_tokens`.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from relay.errors import RelayError
from relay.protocols.base import Answer, Media, Request
from relay.protocols.fields import Fields, integer, model_of, no_deep_nesting, read_object, string, value_of
from relay.protocols.plain_json import (
    add_text,
    add_unknown,
    answer_fields,
    count,
    is_list,
    tier_of,
    upstream_body,
    value_or_none,
    with_cost,
)

__all__ = ["parse", "prompt_units", "read_answer", "upstream_body"]

MAX_DIMENSIONS = 1_000_000
_KNOWN = frozenset({"model", "input", "dimensions", "encoding_format", "user", "service_tier"})
# A word that is one token of every tokenizer: so many of it stand for as many tokens.
_WORD = " a"


def parse(body: bytes, path: str = "") -> Request:
    """Read a request's body. Raises RelayError."""
    with no_deep_nesting():
        fields = read_object(body)
        request = Request("embeddings", fields, model_of(fields), output=False, features=tier_of(fields))
        integer(fields, "dimensions", 1, MAX_DIMENSIONS)
        if string(fields, "encoding_format") not in (None, "float", "base64"):
            raise RelayError("invalid_request", "encoding_format must be float or base64.", param="encoding_format")
        _read_input(request, value_of(fields, "input"))
        add_unknown(request, _KNOWN)
        return request


def _read_input(request: Request, value: Any) -> None:
    if isinstance(value, list) and not all(map(_is_token, value)):
        items = value
    else:
        items = [value]
    tokens = 0
    for item in items:
        if isinstance(item, list) and item and all(map(_is_token, item)):
            tokens += len(item)
        elif isinstance(item, str) and item:
            add_text(request, item)
        elif isinstance(item, dict) and item:
            _read_object(request, item)
        else:
            raise RelayError(
                "invalid_request",
                "input must be a text, a list of texts, a list of tokens, or a list of lists of tokens, none empty.",
                param="input",
            )
    request.text_bytes += tokens
    if tokens:
        request.texts.append(_WORD * tokens)


def _read_object(request: Request, item: dict[str, Any]) -> None:
    for name, value in item.items():
        if name in ("image", "image_url"):
            request.media.append(Media("image"))
        else:
            add_text(request, value)


def _is_token(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def read_answer(body: bytes, _: Request | None = None) -> Answer | None:
    """A list of embeddings; None where the body is no such thing."""
    fields = answer_fields(body)
    if fields is None or not is_list(fields, "data"):
        return None
    return Answer(prompt_units(fields), [], partial(with_cost, fields))


def prompt_units(fields: Fields) -> dict[str, int] | None:
    """Units of a `usage` that counts a prompt only; None where it does not say."""
    usage = value_or_none(fields, "usage")
    if not isinstance(usage, dict):
        return None
    tokens = count(usage.get("prompt_tokens")) or count(usage.get("total_tokens"))
    return {"input": tokens} if tokens else None
