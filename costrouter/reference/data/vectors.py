"""Embeddings, rerank, moderation."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from costrouter.reference.data import parameters
from costrouter.reference.shapes import Call, Code, Doc, Param, need

EMBEDDINGS = Doc(
    "embeddings",
    _("Create Embeddings"),
    _("Turns texts into vectors, to search, cluster and compare them."),
    "OpenAI",
    (
        parameters.MODEL,
        need(
            "input",
            "string | array<string> | array<integer> | array<array<integer>>",
            _("A text, several, or the same as tokens. None is empty."),
        ),
        Param("dimensions", "integer", _("How many numbers a vector has, where the model leaves a choice.")),
        Param("encoding_format", "string", _("Numbers as JSON, or packed."), values=("float", "base64")),
        parameters.USER,
    ),
    (
        parameters.OBJECT,
        Param("data", "array<object>", _("One embedding for each input, in their order.")),
        Param("data[].index", "integer", _("Which input it is of.")),
        Param("data[].embedding", "array<number> | string", _("The vector; a string for base64.")),
        parameters.MODEL_FIELD,
        Param("usage", "object", _("Token usage statistics.")),
        Param("usage.prompt_tokens", "integer", _("Tokens read.")),
        Param("usage.total_tokens", "integer", _("The same: nothing is written.")),
        parameters.COST,
    ),
    {
        "object": "list",
        "data": [{"object": "embedding", "index": 0, "embedding": [0.0023, -0.0093, 0.0158]}],
        "model": "text-embedding-3-small",
        "usage": {"prompt_tokens": 2, "total_tokens": 2, "cost": 0.00000004},
    },
    Call("client.embeddings.create", after=("print(len(response.data[0].embedding))",)),
    Call("client.embeddings.create", after=("console.log(response.data[0].embedding.length);",)),
    models=("text-embedding-3-small", "text-embedding-3-large", "gemini-embedding-001"),
    request={"model": "text-embedding-3-small", "input": "Hello world"},
    notes=(
        _("Gemini's embedding models answer here too, converted."),
        _("Some upstreams (Jina, Voyage) take objects with a text or an image as input; they pass on."),
        parameters.ANSWER_HEADERS,
    ),
)

_RERANK = {
    "model": "rerank-v3.5",
    "query": "What is the capital of France?",
    "documents": ["Paris is the capital of France.", "Berlin is the capital of Germany."],
    "top_n": 1,
}
RERANK = Doc(
    "rerank",
    _("Create Rerank"),
    _("Orders documents by how well they answer a query, in the words of Cohere and Jina."),
    "Cohere, Jina",
    (
        parameters.MODEL,
        need("query", "string", _("What the documents should answer.")),
        need("documents", "array<string> | array<object>", _("1 to 10,000 texts, or objects with a text.")),
        Param("top_n", "integer", _("How many of the best to return.")),
        Param("return_documents", "boolean", _("Put each document into its result.")),
        Param("max_tokens_per_doc", "integer", _("Longer documents are cut.")),
    ),
    (
        parameters.ID,
        parameters.MODEL_FIELD,
        Param("results", "array<object>", _("The best documents, best first.")),
        Param("results[].index", "integer", _("Its place in documents.")),
        Param("results[].relevance_score", "number", _("How well it answers, from 0 to 1.")),
        Param("results[].document", "object", _("The document, where return_documents asked for it.")),
        Param("meta", "object", _("What Cohere counted: search units.")),
        Param("usage", "object", _("What was charged.")),
        parameters.COST,
    ),
    {
        "id": "0f9b6a54",
        "results": [{"index": 0, "relevance_score": 0.98}],
        "meta": {"billed_units": {"search_units": 1}},
        "usage": {"cost": 0.002},
    },
    Call("client.post", {"": "/rerank", "body": _RERANK, "cast_to": Code("object")}, ("print(response)",)),
    Call("client.post", {"": "/rerank", "body": _RERANK}, ("console.log(response);",)),
    models=("rerank-v3.5", "jina-reranker-v2-base-multilingual"),
    request=_RERANK,
    notes=(
        _("A search is a query with up to 100 documents; a long document counts as several. Some models count tokens."),
        _("OpenAI's SDK has no rerank of its own: its post() sends any path with your key."),
        parameters.ANSWER_HEADERS,
    ),
    beyond=frozenset({"query", "documents", "top_n", "return_documents", "max_tokens_per_doc", "model"}),
)

_KINDS = (
    *("harassment", "harassment/threatening", "hate", "hate/threatening", "illicit", "illicit/violent", "self-harm"),
    *("self-harm/instructions", "self-harm/intent", "sexual", "sexual/minors", "violence", "violence/graphic"),
)
MODERATIONS = Doc(
    "moderations",
    _("Create Moderation"),
    _("Says whether texts or images are harmful, and in which way."),
    "OpenAI",
    (
        Param("model", "string", _("Model ID; omni-moderation-latest where it is not said.")),
        need("input", "string | array<string> | array<object>", _("A text, several, or text and image_url parts.")),
    ),
    (
        parameters.ID,
        parameters.MODEL_FIELD,
        Param("results", "array<object>", _("One for each input.")),
        Param("results[].flagged", "boolean", _("Whether any category applies.")),
        Param("results[].categories", "object", _("Category → whether it applies.")),
        Param("results[].category_scores", "object", _("Category → how sure the model is, from 0 to 1.")),
        Param("results[].category_applied_input_types", "object", _("Category → what was looked at: text, image.")),
    ),
    {
        "id": "modr-2ab1",
        "model": "omni-moderation-latest",
        "results": [
            {
                "flagged": False,
                "categories": dict.fromkeys(_KINDS, False),
                "category_scores": dict.fromkeys(_KINDS, 0.0001),
                "category_applied_input_types": {kind: ["text"] for kind in _KINDS},
            }
        ],
    },
    Call("client.moderations.create", after=("print(response.results[0].flagged)",)),
    Call("client.moderations.create", after=("console.log(response.results[0].flagged);",)),
    models=("omni-moderation-latest",),
    request={"model": "omni-moderation-latest", "input": "Hello world"},
    notes=(_("Charged by the call or by tokens, as its price says, which may be 0."),),
)

DOCS = (EMBEDDINGS, RERANK, MODERATIONS)
