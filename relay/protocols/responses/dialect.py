"""OpenAI Responses, whole answers to and from `relay.protocols.ir`; and all that makes the dialect convertible."""

from __future__ import annotations

import msgspec

from relay.protocols import ir
from relay.protocols.base import Conversation, Dialect, Request
from relay.protocols.fields import value_of
from relay.protocols.responses import answer, request
from relay.protocols.responses.answer import read_response
from relay.protocols.responses.decode import StreamDecoder
from relay.protocols.responses.encode import StreamEncoder
from relay.protocols.responses.from_ir import from_ir
from relay.protocols.responses.items import item_of, logprobs_of, made_parts, stop_of
from relay.protocols.responses.to_ir import to_ir
from relay.protocols.usage import responses_units


def answer_to_ir(body: bytes) -> ir.Answer | None:
    """An upstream's response; None where the body is none. Items of tools that the upstream ran are left out."""
    read = read_response(body)
    if read is None:
        return None
    fields, output = read
    parts: list[ir.Part] = []
    logprobs: list[ir.Logprob] = []
    for raw in output:
        item = item_of(raw)
        if item is None:
            continue
        parts += made_parts(item)
        for part in item.content if isinstance(item.content, list) else ():
            logprobs += logprobs_of(part.logprobs)
    id, model, created, status, details, usage = (
        value_of(fields, name) for name in ("id", "model", "created_at", "status", "incomplete_details", "usage")
    )
    called = any(isinstance(part, ir.ToolCall) for part in parts)
    return ir.Answer(
        id if isinstance(id, str) else "",
        model if isinstance(model, str) else "",
        int(created) if isinstance(created, int | float) and 0 <= created < 2**53 else 0,
        [ir.Choice(parts, stop_of(status, details, called=called), logprobs=logprobs or None)],
        responses_units(usage),
    )


def answer_from_ir(answer: ir.Answer, request: Request, seed: str, cost: str) -> bytes:
    """The response that a client gets: what the stream of the same answer ends with."""
    encoder = whole(answer, request, seed)
    return msgspec.json.encode(encoder.response(answer.units or {}, cost))


def whole(answer: ir.Answer, request: Request, seed: str) -> StreamEncoder:
    """An encoder that was told a whole answer: its `output` may be stored."""
    encoder = StreamEncoder(request, seed)
    encoder.encode(ir.Start(answer.id, answer.model, answer.created))
    choice = answer.choices[0] if answer.choices else ir.Choice([])
    said = [index for index, part in enumerate(choice.parts) if isinstance(part, ir.Text)]
    for index, part in enumerate(choice.parts):
        if not isinstance(part, ir.Text | ir.Refusal | ir.Reasoning | ir.ToolCall):
            continue
        encoder.encode(ir.PartStart(index, part))
        if choice.logprobs and index == said[-1]:
            encoder.encode(ir.Probabilities(index, choice.logprobs))
        encoder.encode(ir.PartEnd(index))
    encoder.encode(ir.Stop(choice.stop))
    return encoder


WORDS = {"logprobs": "top_logprobs"}
CONVERSATION = Conversation(to_ir, from_ir, answer_to_ir, answer_from_ir, StreamDecoder, StreamEncoder, WORDS)

# Rows of `relay.protocols.DIALECTS`.
DIALECTS = (
    Dialect("responses", request.parse, request.upstream_body, answer.read_answer, answer.StreamReader, CONVERSATION),
    Dialect("responses_compact", request.parse_compact, request.compact_body, answer.read_compaction),
)
