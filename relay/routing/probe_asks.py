"""What a probe asks of an upstream: one short request in a dialect it speaks, and how its answer is read."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from relay.protocols.fields import top_level
from relay.upstream.providers.base import Call, Provider

MAX_TOKENS = 64
PROMPT = "Answer with one word: ready"


class NothingToAsk(Exception):
    """The channel serves nothing that a probe knows how to ask."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A request, and what its answer is called and says. `said` raises where the answer is none."""

    call: Call
    body: bytes
    noun: str
    said: Callable[[Any], str]


def ask_of(
    provider: Provider, *, base_url: str, credentials: str, model: str, dialects: tuple[str, ...] | None = None
) -> Ask:
    """What to ask of a model (by its name there): a conversation in the best of the channel's dialects, or what the
    name says that it is for. Raises NothingToAsk, and ValueError for unusable credentials.
    """
    spoken = provider.dialects_for(model, provider.dialects if dialects is None else dialects)
    dialect = _dialect(provider, spoken, model)
    call = Call(base_url=base_url, dialect=dialect, model=model, credentials=credentials)
    noun, make, said = _KINDS[dialect]
    fields = make(provider, call)
    if provider.shape is not None:
        shaped = provider.shape(call, top_level.decode(json.dumps(fields)))
        return Ask(call, msgspec.json.encode(shaped), noun, said)
    return Ask(call, json.dumps(fields).encode(), noun, said)


def _dialect(provider: Provider, spoken: tuple[str, ...], model: str) -> str:
    name = model.lower()
    if "rerank" in name and "rerank" in provider.paths:
        return "rerank"
    embeds = next((path for path in ("embeddings", "cohere_embed", "gemini_embed") if path in provider.paths), None)
    if embeds and ("embed" in name or not spoken):
        return embeds
    if not spoken:
        raise NothingToAsk(f"{model} is not asked in any dialect of this channel.")
    return spoken[0]


def _chat(provider: Provider, call: Call) -> dict[str, Any]:
    messages = [{"role": "user", "content": PROMPT}]
    return {"model": call.model, "messages": messages, provider.cap_field(call.base_url): MAX_TOKENS}


def _said_chat(answer: Any) -> str:
    choice = answer["choices"][0]
    return choice["message"].get("content") or f"(no text; finish reason: {choice.get('finish_reason')})"


def _responses(provider: Provider, call: Call) -> dict[str, Any]:
    return {"model": call.model, "input": PROMPT, "max_output_tokens": MAX_TOKENS, "store": False}


def _said_responses(answer: Any) -> str:
    parts = [part for item in answer["output"] if item.get("type") == "message" for part in item["content"]]
    return _joined(parts) or f"(no text; status: {answer.get('status')})"


def _anthropic(provider: Provider, call: Call) -> dict[str, Any]:
    return {"model": call.model, "messages": [{"role": "user", "content": PROMPT}], "max_tokens": MAX_TOKENS}


def _said_anthropic(answer: Any) -> str:
    return _joined(answer["content"]) or f"(no text; stop reason: {answer.get('stop_reason')})"


def _gemini(provider: Provider, call: Call) -> dict[str, Any]:
    contents = [{"role": "user", "parts": [{"text": PROMPT}]}]
    return {"contents": contents, "generationConfig": {"maxOutputTokens": MAX_TOKENS}}


def _said_gemini(answer: Any) -> str:
    candidate = answer["candidates"][0]
    parts = candidate.get("content", {}).get("parts", [])
    return _joined(parts) or f"(no text; finish reason: {candidate.get('finishReason')})"


def _bedrock(provider: Provider, call: Call) -> dict[str, Any]:
    messages = [{"role": "user", "content": [{"text": PROMPT}]}]
    return {"messages": messages, "inferenceConfig": {"maxTokens": MAX_TOKENS}}


def _said_bedrock(answer: Any) -> str:
    return _joined(answer["output"]["message"]["content"]) or f"(no text; stop reason: {answer.get('stopReason')})"


def _joined(parts: Any) -> str:
    return "".join(part.get("text") or "" for part in parts)


def _rerank(provider: Provider, call: Call) -> dict[str, Any]:
    return {"model": call.model, "query": "Is it ready?", "documents": ["It is ready.", "It rains."], "top_n": 1}


def _said_rerank(answer: Any) -> str:
    return f"(ranked first: document {answer['results'][0]['index']})"


def _embeddings(provider: Provider, call: Call) -> dict[str, Any]:
    return {"model": call.model, "input": ["ready"]}


def _said_embeddings(answer: Any) -> str:
    return _vector(answer["data"][0]["embedding"])


def _cohere_embed(provider: Provider, call: Call) -> dict[str, Any]:
    wanted = {"input_type": "search_document", "embedding_types": ["float"]}
    return {"model": call.model, "texts": ["ready"], **wanted}


def _said_cohere_embed(answer: Any) -> str:
    return _vector(answer["embeddings"]["float"][0])


def _gemini_embed(provider: Provider, call: Call) -> dict[str, Any]:
    name = call.model if "/" in call.model else f"models/{call.model}"
    return {"requests": [{"model": name, "content": {"parts": [{"text": "ready"}]}}]}


def _said_gemini_embed(answer: Any) -> str:
    return _vector(answer["embeddings"][0]["values"])


def _vector(numbers: Any) -> str:
    return f"(a vector of {len(numbers)} numbers)"


_Row = tuple[str, Callable[[Provider, Call], dict[str, Any]], Callable[[Any], str]]
# Dialect → what its answer is called, what is asked, what was said.
_KINDS: dict[str, _Row] = {
    "chat": ("a chat completion", _chat, _said_chat),
    "responses": ("a response", _responses, _said_responses),
    "anthropic": ("a message", _anthropic, _said_anthropic),
    "gemini": ("a Gemini answer", _gemini, _said_gemini),
    "bedrock": ("a Converse answer", _bedrock, _said_bedrock),
    "rerank": ("a ranking", _rerank, _said_rerank),
    "embeddings": ("an embedding", _embeddings, _said_embeddings),
    "cohere_embed": ("an embedding", _cohere_embed, _said_cohere_embed),
    "gemini_embed": ("an embedding", _gemini_embed, _said_gemini_embed),
}
