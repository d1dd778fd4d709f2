"""Rerank: documents in the order in which they answer a query, in the words of Cohere (v1 and v2) and Jina.

Sources of the format: `rerank` of the cohere 7.3 package (v1 and v2), Jina's reranker API, Cohere's price list: a
search unit is one query with up to 100 documents, where a document that is longer than 500 tokens with its query counts
as several. Jina counts tokens, the query's once for each document.

Cohere v2 has no `return_documents` and takes plain texts only: `cohere_v2` writes the request so, and the documents are
put into the answer here, for every upstream that leaves them out.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec

from relay.errors import RelayError
from relay.protocols import ir
from relay.protocols.base import Answer, Media, Request
from relay.protocols.fields import (
    Fields,
    boolean,
    given,
    integer,
    list_of,
    model_of,
    no_deep_nesting,
    read_object,
    value_of,
)
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

__all__ = ["cohere_v2", "parse", "read_answer", "upstream_body"]

_encode = msgspec.json.encode
MAX_DOCUMENTS = 10_000
MAX_NUMBER = 1_000_000
# The query is read with each document: more text than this, all told, is refused.
MAX_BYTES = 32 * 1024 * 1024
_DOCUMENTS_A_SEARCH = 100
_TOKENS_A_CHUNK, _LONGEST_QUERY = 500, 250
_BYTES_A_TOKEN = 4
_ONLY_V1 = ("max_chunks_per_doc", "rank_fields")
_KNOWN = frozenset(
    {
        *("model", "query", "documents", "top_n", "top_k", "return_documents", "max_chunks_per_doc"),
        *("max_tokens_per_doc", "rank_fields", "relevant_spans", "priority", "truncation", "service_tier"),
    }
)


def parse(body: bytes, path: str = "") -> Request:
    """Read a request's body. Raises RelayError."""
    with no_deep_nesting():
        fields = read_object(body)
        request = Request(
            "rerank", fields, model_of(fields), output=False, features=tier_of(fields), pieces={"calls": 1}
        )
        for name in ("top_n", "top_k", "max_chunks_per_doc", "max_tokens_per_doc"):
            integer(fields, name, 1, MAX_NUMBER)
        documents = list_of(fields, "documents")
        if not 1 <= len(documents) <= MAX_DOCUMENTS:
            raise RelayError(
                "invalid_request", f"documents must be a list of 1 to {MAX_DOCUMENTS:,}.", param="documents"
            )
        query = _read_query(request, value_of(fields, "query"), len(documents))
        # Documents are kept only to be put into the answer.
        request.options = documents if boolean(fields, "return_documents") else None
        request.pieces["searches"] = _searches(query, [_read_document(request, document) for document in documents])
        add_unknown(request, _KNOWN)
        return request


def _read_query(request: Request, query: Any, times: int) -> int:
    """Count the query once for each document; its own length in bytes."""
    if not isinstance(query, str | dict) or not query:
        raise RelayError("invalid_request", "query must be a text.", param="query")
    _read_document(request, query, "query")
    texts, length = request.texts, request.text_bytes
    if length * times > MAX_BYTES:
        raise RelayError("invalid_request", "query is too long for so many documents.", param="query")
    request.texts = texts * times
    request.text_bytes = length * times
    return length


def _read_document(request: Request, document: Any, field: str = "documents") -> int:
    """Count a document: a text, or an object whose values are texts; its length in bytes."""
    before = request.text_bytes
    if isinstance(document, dict) and document:
        for name, value in document.items():
            if name in ("image", "image_url"):
                request.media.append(Media("image"))
            else:
                add_text(request, value)
    elif isinstance(document, str):
        add_text(request, document)
    else:
        raise RelayError("invalid_request", f"{field}: only texts and objects with a text are known.", param=field)
    return request.text_bytes - before


def _searches(query: int, documents: list[int]) -> int:
    """The most search units there can be, for lengths in bytes: no text has more tokens than bytes."""
    room = _TOKENS_A_CHUNK - min(query, _LONGEST_QUERY)
    return -(-sum(max(1, -(-length // room)) for length in documents) // _DOCUMENTS_A_SEARCH)


def cohere_v2(fields: Fields) -> Fields:
    """The same request for Cohere's v2: for a provider's `shape`. Raises RelayError for what v2 cannot express."""
    for name in _ONLY_V1:
        if given(fields, name):
            raise ir.unsupported(name, "Cohere v2")
    texts = [_text_of(document) for document in list_of(fields, "documents")]
    left = {name: value for name, value in fields.items() if name not in ("return_documents", *_ONLY_V1)}
    return {**left, "documents": msgspec.Raw(_encode(texts))}


def _text_of(document: Any) -> str:
    if isinstance(document, dict) and set(document) == {"text"}:
        document = document["text"]
    if not isinstance(document, str):
        raise ir.unsupported("documents", "Cohere v2")
    return document


def read_answer(body: bytes, request: Request | None = None) -> Answer | None:
    """A ranking, as `results` (Voyage: `data`); None where the body is no such thing."""
    fields = answer_fields(body)
    if fields is None or not (is_list(fields, "results") or is_list(fields, "data")):
        return None
    units = _units(fields, request) if request is not None else None
    if request is not None and request.options is not None:
        fields = _with_documents(fields, request.options)
    return Answer(units, [], partial(with_cost, fields))


def _units(fields: Fields, request: Request) -> dict[str, int] | None:
    """Search units and tokens; what the answer tells of one only, the request tells of the other."""
    usage, meta = _object(value_or_none(fields, "usage")), _object(value_or_none(fields, "meta"))
    billed, read = _object(meta.get("billed_units")), _object(meta.get("tokens"))
    searches = count(billed.get("search_units"))
    told = (usage.get("total_tokens"), usage.get("prompt_tokens"), billed.get("input_tokens"), read.get("input_tokens"))
    tokens = next((n for n in map(count, told) if n), None)
    if searches is None and tokens is None:
        return None
    if searches is None:
        searches = -(-len(list_of(request.fields, "documents")) // _DOCUMENTS_A_SEARCH)
    if tokens is None:
        tokens = -(-request.text_bytes // _BYTES_A_TOKEN)
    return {"input": tokens, "searches": searches}


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _with_documents(fields: Fields, documents: list[Any]) -> Fields:
    name = "results" if "results" in fields else "data"
    results = value_or_none(fields, name)
    if not isinstance(results, list):
        return fields
    for result in results:
        place = result.get("index") if isinstance(result, dict) else None
        if type(place) is int and 0 <= place < len(documents) and result.get("document") is None:
            document = documents[place]
            result["document"] = {"text": document} if isinstance(document, str) else document
    return {**fields, name: msgspec.Raw(_encode(results))}
