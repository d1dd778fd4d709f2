"""Gemini's embedContent and batchEmbedContents.

Source of the format: the request that the google-genai 3.4 package makes of `EmbedContentConfig`, and its
`EmbedContentResponse`, whose `usageMetadata` not every model fills in: where it is missing, the prompt is estimated.
"""

from __future__ import annotations

import msgspec

from relay.errors import RelayError
from relay.protocols.base import Answer, Request, Target
from relay.protocols.fields import Fields, no_deep_nesting, read_object, top_level, value_of
from relay.protocols.gemini.fields import count_text, object_of, read_content, top
from relay.protocols.gemini.request import Options, read_path
from relay.protocols.usage import gemini_units

EMBED, BATCH = "embedContent", "batchEmbedContents"
MAX_REQUESTS = 10_000
_encode = msgspec.json.encode
_requests = msgspec.json.Decoder(list[Fields])
_NOT_INPUT = frozenset({"content", "model", "taskType"})


def parse(body: bytes, path: str) -> Request:
    """Read a request for one embedding, or for many."""
    model, action, _ = read_path(path, (EMBED, BATCH))
    with no_deep_nesting():
        fields = top(read_object(body))
        inner = [fields] if action == EMBED else _batch(fields)
        request = Request(
            dialect="gemini_embed",
            fields=fields,
            model=model,
            output=False,
            messages=len(inner),
            options=Options(action),
        )
        read: list[msgspec.Raw] = []
        for number, one in enumerate(inner):
            name = "content" if action == EMBED else f"requests[{number}].content"
            content = object_of(value_of(one, "content"), name)
            if not content:
                raise RelayError("invalid_request", f"{name} must be given.", param=name)
            read_content(content, name, request)
            read += [raw for key, raw in one.items() if key not in _NOT_INPUT and bytes(raw)[:1] in (b'"', b"[", b"{")]
        count_text(request, read)
    if action == BATCH:
        request.fields = {**fields, "requests": msgspec.Raw(_encode(inner))}
    return request


def _batch(fields: Fields) -> list[Fields]:
    try:
        inner = _requests.decode(fields.get("requests", msgspec.Raw(b"[]")))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RelayError("invalid_request", "requests must be a list of objects.", param="requests") from error
    if not 1 <= len(inner) <= MAX_REQUESTS:
        raise RelayError("invalid_request", f"requests must be 1 to {MAX_REQUESTS} requests.", param="requests")
    return [top(one, f"requests[{number}].") for number, one in enumerate(inner)]


def body(request: Request, target: Target) -> bytes:
    """The request for an upstream: each request in it names the model as that calls it."""
    fields = dict(request.fields)
    model = msgspec.Raw(_encode(f"models/{target.model}"))
    if "requests" in fields and request.options.action == BATCH:
        fields["requests"] = msgspec.Raw(_encode([{**one, "model": model} for one in _batch(fields)]))
        fields.pop("model", None)
    else:
        fields["model"] = model
    return _encode(fields)


def read_answer(body: bytes, request: Request) -> Answer | None:
    """Embeddings, which the client gets as they are; None where the body is none."""
    try:
        fields = top_level.decode(body)
        usage = value_of(fields, "usageMetadata")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, RelayError):
        return None
    if "error" in fields or not ("embedding" in fields or "embeddings" in fields):
        return None
    return Answer(gemini_units(usage), [], lambda units, cost: body)
