"""Embeddings between dialects: OpenAI's clients to Cohere's `/v2/embed` and Gemini's `batchEmbedContents`, and Gemini's
clients to an OpenAI-style upstream.

Sources: `embed` and `EmbedByTypeResponse` of the cohere 7.3 package; what the google-genai 3.4 package sends and reads;
`EmbeddingCreateParams` of the openai 3.54 package. What an embedding is for (`taskType`, `title`) is a hint: OpenAI has
no such field. Cohere cannot do without: a document, unless the client says `input_type` as Cohere does.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from relay.protocols import ir
from relay.protocols.base import Answer, Request, Target
from relay.protocols.embeddings.openai import prompt_units
from relay.protocols.fields import Fields, given, list_of, string, value_of
from relay.protocols.gemini.fields import object_of, objects
from relay.protocols.plain_json import answer_fields, count, value_or_none
from relay.protocols.usage import gemini_units

_encode = msgspec.json.encode
Vectors = list[list[float]]
_vectors = msgspec.json.Decoder(Vectors)
DEFAULT_INPUT_TYPE = "search_document"


@dataclass(frozen=True, slots=True)
class Pair:
    """`body(request, target)`: a client's request for an upstream of another dialect; raises RelayError.
    `read_answer(body, request)`: its answer, for the client; None where it is none."""

    body: Callable[[Request, Target], bytes]
    read_answer: Callable[[bytes, Request], Answer | None]


def _texts(request: Request, where: str, also: tuple[str, ...] = ()) -> list[str]:
    """The input of an OpenAI request, where it is texts, and nothing else is asked that cannot be said there."""
    for name in request.fields:
        if name not in ("model", "input", "dimensions", "encoding_format", "user", *also) and given(
            request.fields, name
        ):
            raise ir.unsupported(name, where)
    value = value_of(request.fields, "input")
    texts = value if isinstance(value, list) else [value]
    if not all(isinstance(text, str) for text in texts):
        raise ir.unsupported("input", where)
    return texts


def cohere_body(request: Request, target: Target) -> bytes:
    """OpenAI's request for Cohere."""
    fields: dict[str, Any] = {
        "model": target.model,
        "texts": _texts(request, "Cohere", ("input_type", "truncate")),
        "input_type": string(request.fields, "input_type") or DEFAULT_INPUT_TYPE,
        "embedding_types": ["float"],
    }
    if given(request.fields, "dimensions"):
        fields["output_dimension"] = request.fields["dimensions"]
    if given(request.fields, "truncate"):
        fields["truncate"] = request.fields["truncate"]
    return _encode(fields)


def cohere_answer(body: bytes, request: Request) -> Answer | None:
    """Cohere's answer for OpenAI's client."""
    fields = answer_fields(body)
    inner = answer_fields(fields.get("embeddings", b"")) if fields is not None else None
    vectors = _floats(inner.get("float")) if inner is not None else None
    if fields is None or vectors is None:
        return None
    meta = value_or_none(fields, "meta")
    billed = meta.get("billed_units") if isinstance(meta, dict) else None
    tokens = count(billed.get("input_tokens")) if isinstance(billed, dict) else None
    return _openai_answer(vectors, {"input": tokens} if tokens else None, request)


def gemini_body(request: Request, target: Target) -> bytes:
    """OpenAI's request for Gemini's `batchEmbedContents`."""
    model = f"models/{target.model}"
    extra = {"outputDimensionality": request.fields["dimensions"]} if given(request.fields, "dimensions") else {}
    texts = _texts(request, "Gemini")
    return _encode({"requests": [{"model": model, "content": {"parts": [{"text": text}]}, **extra} for text in texts]})


def gemini_answer(body: bytes, request: Request) -> Answer | None:
    """Gemini's answer for OpenAI's client."""
    fields = answer_fields(body)
    try:
        found = _values.decode(fields["embeddings"]) if fields is not None else []
    except (KeyError, msgspec.DecodeError, RecursionError):
        return None
    if fields is None or not found:
        return None
    return _openai_answer([one.values for one in found], gemini_units(value_or_none(fields, "usageMetadata")), request)


class _Values(msgspec.Struct):
    values: list[float]


_values = msgspec.json.Decoder(list[_Values])


def _floats(raw: msgspec.Raw | None) -> Vectors | None:
    try:
        return _vectors.decode(raw or b"") or None
    except (msgspec.DecodeError, RecursionError):
        return None


def _openai_answer(vectors: Vectors, units: dict[str, int] | None, request: Request) -> Answer | None:
    """Vectors as OpenAI says them: as floats, or as the base64 of little-endian 32-bit floats."""
    rows: list[Any] = list(vectors)
    if string(request.fields, "encoding_format") == "base64":
        try:
            rows = [base64.b64encode(struct.pack(f"<{len(row)}f", *row)).decode() for row in vectors]
        except (OverflowError, struct.error):
            return None

    def render(units: dict[str, int], cost: str) -> bytes:
        tokens = units.get("input", 0)
        return _encode(
            {
                "object": "list",
                "data": [{"object": "embedding", "index": n, "embedding": row} for n, row in enumerate(rows)],
                "model": request.model,
                "usage": {"prompt_tokens": tokens, "total_tokens": tokens, "cost": msgspec.Raw(cost.encode())},
            }
        )

    return Answer(units, [], render)


def openai_body(request: Request, target: Target) -> bytes:
    """A Gemini client's `embedContent` or `batchEmbedContents` for an OpenAI-style upstream."""
    many = "requests" in request.fields
    inner: list[Fields] = _requests.decode(request.fields["requests"]) if many else [request.fields]
    texts = [_text(one, f"requests[{number}]." if many else "") for number, one in enumerate(inner)]
    wanted = {bytes(one["outputDimensionality"]) for one in inner if given(one, "outputDimensionality")}
    if len(wanted) > 1 or (wanted and not all(given(one, "outputDimensionality") for one in inner)):
        raise ir.unsupported("outputDimensionality", "OpenAI: one for all")
    body: dict[str, Any] = {"model": target.model, "input": texts, "encoding_format": "float"}
    if wanted:
        body["dimensions"] = msgspec.Raw(wanted.pop())
    return _encode(body)


_requests = msgspec.json.Decoder(list[Fields])
_SAID = frozenset({"model", "content", "outputDimensionality", "taskType", "title"})


def _text(fields: Fields, where: str) -> str:
    """The text of one content: its parts, one after the other."""
    for name in fields:
        if name not in _SAID and given(fields, name):
            raise ir.unsupported(where + name, "OpenAI")
    content = object_of(value_of(fields, "content"), f"{where}content")
    texts = []
    for part in objects(content.get("parts"), f"{where}content.parts"):
        if set(part) != {"text"} or not isinstance(part["text"], str):
            raise ir.unsupported(f"{where}content.parts", "OpenAI")
        texts.append(part["text"])
    return "\n".join(texts)


def openai_answer(body: bytes, request: Request) -> Answer | None:
    """An OpenAI-style upstream's embeddings for a Gemini client."""
    fields = answer_fields(body)
    try:
        found = sorted(_embeddings.decode(fields["data"]) if fields is not None else [], key=lambda one: one.index)
    except (KeyError, msgspec.DecodeError, RecursionError):
        return None
    many = "requests" in request.fields
    asked = len(list_of(request.fields, "requests")) if many else 1
    if fields is None or len(found) != asked:
        return None

    def render(units: dict[str, int], cost: str) -> bytes:
        tokens = units.get("input", 0)
        values = [{"values": one.embedding} for one in found]
        answer: dict[str, Any] = {"embeddings": values} if many else {"embedding": values[0]}
        answer["usageMetadata"] = {"promptTokenCount": tokens, "totalTokenCount": tokens}
        return _encode(answer)

    return Answer(prompt_units(fields), [], render)


class _Embedding(msgspec.Struct):
    embedding: list[float]
    index: int = 0


_embeddings = msgspec.json.Decoder(list[_Embedding])

# (the client's dialect, the upstream's) → how.
CONVERSIONS: dict[tuple[str, str], Pair] = {
    ("embeddings", "cohere_embed"): Pair(cohere_body, cohere_answer),
    ("embeddings", "gemini_embed"): Pair(gemini_body, gemini_answer),
    ("gemini_embed", "embeddings"): Pair(openai_body, openai_answer),
}
