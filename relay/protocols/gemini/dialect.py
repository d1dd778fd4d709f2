"""Gemini's answers and the neutral conversation, and how the dialect is converted altogether.

Source of the format: the response types of the google-genai 3.4 package. What an answer cites or grounds on is not
told: no other dialect can ask for it.
"""

from __future__ import annotations

from typing import Any

from relay.protocols import ir
from relay.protocols.base import Conversation, Dialect, Request, Streaming
from relay.protocols.gemini import answer, count, request
from relay.protocols.gemini.answer import Chunk, index_of, read_chunk
from relay.protocols.gemini.decode import Decoder
from relay.protocols.gemini.encode import Encoder
from relay.protocols.gemini.fields import encode
from relay.protocols.gemini.from_ir import from_ir
from relay.protocols.gemini.parts import Spoken, spoken
from relay.protocols.gemini.pieces import candidate_of, created, logprobs_of, stop_of
from relay.protocols.gemini.to_ir import to_ir
from relay.protocols.large_events import LargeSplitter
from relay.protocols.usage import gemini_units, gemini_usage


def answer_to_ir(body: bytes) -> ir.Answer | None:
    """An upstream's answer; None where the body is none. A blocked prompt is an answer that a filter stopped."""
    chunk = read_chunk(body)
    if chunk is None or chunk.error is not None or not (chunk.objects() or chunk.blocked()):
        return None
    try:
        choices = [_choice(candidate, chunk) for candidate in sorted(chunk.objects(), key=index_of)]
    except RecursionError:
        return None
    return ir.Answer(
        id=chunk.responseId if isinstance(chunk.responseId, str) else "",
        model=chunk.modelVersion if isinstance(chunk.modelVersion, str) else "",
        created=created(chunk.createTime),
        choices=choices or [ir.Choice([], "content_filter")],
        units=gemini_units(chunk.usageMetadata),
    )


def _choice(candidate: dict[str, Any], chunk: Chunk) -> ir.Choice:
    content = candidate.get("content")
    parts = content.get("parts") if isinstance(content, dict) else None
    found: list[Spoken] = []
    for number, part in enumerate(parts if isinstance(parts, list) else ()):
        if isinstance(part, dict):
            found += spoken(part, chunk.responseId, index_of(candidate), number)
    called = any(isinstance(part, ir.ToolCall) for part in found)
    stop = stop_of(candidate.get("finishReason"), called=called)
    return ir.Choice([*found], stop, logprobs=logprobs_of(candidate))


def answer_from_ir(answer: ir.Answer, request: Request, seed: str, cost: str) -> bytes:
    """The answer for a client of this dialect, which has no place for a cost."""
    body: dict[str, Any] = {
        "candidates": [candidate_of(number, choice) for number, choice in enumerate(answer.choices)],
        "modelVersion": answer.model or request.model,
        "responseId": seed,
    }
    if answer.units is not None:
        body["usageMetadata"] = gemini_usage(answer.units)
    return encode(body)


WORDS = {
    "n": "generationConfig.candidateCount",
    "stop": "generationConfig.stopSequences",
    "top_k": "generationConfig.topK",
    "presence_penalty": "generationConfig.presencePenalty",
    "frequency_penalty": "generationConfig.frequencyPenalty",
    "logprobs": "generationConfig.responseLogprobs",
    "a temperature above 1": "generationConfig.temperature above 1",
    "JSON output without a schema": "generationConfig.responseMimeType without a schema",
    "input_audio": "inlineData of audio",
}
CONVERSATION = Conversation(to_ir, from_ir, answer_to_ir, answer_from_ir, Decoder, Encoder, WORDS)

# Rows of `relay.protocols.DIALECTS`.
DIALECTS = (
    Dialect(
        "gemini",
        request.parse,
        request.upstream_body,
        answer.read_answer,
        answer.StreamReader,
        CONVERSATION,
        Streaming(LargeSplitter, content_type=request.stream_content_type),
    ),
    Dialect("gemini_count", count.parse, count.body, count.read_answer),
)
