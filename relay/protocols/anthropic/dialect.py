"""Anthropic's Messages, to and from `relay.protocols.ir`."""

from __future__ import annotations

from relay.protocols.anthropic import answer, count, request
from relay.protocols.anthropic.answer_ir import answer_from_ir, answer_to_ir
from relay.protocols.anthropic.decode import StreamDecoder
from relay.protocols.anthropic.encode import StreamEncoder
from relay.protocols.anthropic.from_ir import from_ir
from relay.protocols.anthropic.to_ir import to_ir
from relay.protocols.base import Conversation, Dialect

WORDS = {"stop": "stop_sequences", "parallel_tool_calls": "tool_choice.disable_parallel_tool_use"}
CONVERSATION = Conversation(to_ir, from_ir, answer_to_ir, answer_from_ir, StreamDecoder, StreamEncoder, WORDS)

# Rows of `relay.protocols.DIALECTS`.
DIALECTS = (
    Dialect("anthropic", request.parse, request.upstream_body, answer.read_answer, answer.StreamReader, CONVERSATION),
    Dialect("anthropic_count", request.parse_count, request.upstream_body, count.read_answer),
)
