"""Gemini's countTokens: nothing is made and nothing is charged; it is recorded.

Source of the format: `CountTokensResponse` of the google-genai 3.4 package; the REST method takes `contents`, or a
whole `generateContentRequest`.
"""

from __future__ import annotations

import msgspec

from relay.errors import RelayError
from relay.protocols.base import Answer, Request, Target
from relay.protocols.fields import Fields, no_deep_nesting, read_object, top_level
from relay.protocols.gemini.fields import top
from relay.protocols.gemini.request import Options, read_generate, read_path, upstream_body

COUNT = "countTokens"
_encode = msgspec.json.encode
_INNER = "generateContentRequest"


def parse(body: bytes, path: str) -> Request:
    """Read a request. Its `texts` and `media` are what is to be counted; it bounds no cost."""
    model, action, _ = read_path(path, (COUNT,))
    with no_deep_nesting():
        fields = top(read_object(body))
        request = read_generate(_counted(fields), model)
    request.dialect = "gemini_count"
    request.options = Options(action)
    request.output = False
    request.text_bytes = request.messages = 0
    request.choices, request.cap, request.has_tools = 1, None, False
    request.features, request.pieces = [], {}
    return request


def _counted(fields: Fields) -> Fields:
    """What is to be counted: the request inside, or the body itself."""
    if _INNER not in fields:
        return fields
    if "contents" in fields:
        raise RelayError("invalid_request", f"contents and {_INNER} exclude each other.", param=_INNER)
    try:
        return top_level.decode(fields[_INNER])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RelayError("invalid_request", f"{_INNER} must be an object.", param=_INNER) from error


def body(request: Request, target: Target) -> bytes:
    """The request for an upstream. Only in a whole request may anything stand beside the contents."""
    if set(request.fields) <= {"contents", "model"}:
        return _encode({"contents": request.fields["contents"]})
    inner: Fields = {"model": msgspec.Raw(_encode(f"models/{target.model}"))}
    inner |= top_level.decode(upstream_body(request, Target(target.model)))
    return _encode({_INNER: inner})


def read_answer(body: bytes, request: Request) -> Answer | None:
    """A count, which the client gets as it is; None where the body is none."""
    try:
        fields = top_level.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if "totalTokens" not in fields or "error" in fields:
        return None
    return Answer({}, [], lambda units, cost: body)


def count_answer(tokens: int) -> bytes:
    """The answer with a count of our own, for an upstream that cannot count."""
    return _encode({"totalTokens": tokens})
