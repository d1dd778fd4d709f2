"""Anthropic's Messages, to and from `relay.ir`."""

from __future__ import annotations

from relay.protocols.anthropic_answer_ir import answer_from_ir, answer_to_ir
from relay.protocols.anthropic_from_ir import from_ir
from relay.protocols.anthropic_stream_ir import StreamDecoder, StreamEncoder
from relay.protocols.anthropic_to_ir import to_ir
from relay.protocols.base import Conversation

WORDS = {"stop": "stop_sequences", "parallel_tool_calls": "tool_choice.disable_parallel_tool_use"}
CONVERSATION = Conversation(to_ir, from_ir, answer_to_ir, answer_from_ir, StreamDecoder, StreamEncoder, WORDS)
