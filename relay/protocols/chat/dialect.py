"""How OpenAI chat completions meet other dialects. What chat knows no word for, and what becomes of it:

- Reasoning of another maker shows as `reasoning_content`, and travels as `reasoning_details`; to an upstream of this
  dialect it is left out.
- A budget of thinking is the nearest effort; none, or no tokens, is the effort "none".
- That a tool failed, cache marks, metadata, an end user and a cache key are hints, and are left out.
- A document's URL, and anything but text in a tool's result, are refused.
- What a classifier refused ended by "content_filter"; a full context window is "length"; a pause is "stop".
"""

from __future__ import annotations

from relay.protocols.base import Conversation, Dialect
from relay.protocols.chat import answer, completions, request
from relay.protocols.chat.answer_ir import answer_from_ir, answer_to_ir
from relay.protocols.chat.decode import Decoder
from relay.protocols.chat.encode import Encoder
from relay.protocols.chat.from_ir import from_ir
from relay.protocols.chat.to_ir import to_ir

CONVERSATION = Conversation(to_ir, from_ir, answer_to_ir, answer_from_ir, Decoder, Encoder)

# Rows of `relay.protocols.DIALECTS`.
DIALECTS = (
    Dialect("chat", request.parse, request.upstream_body, answer.read_answer, answer.StreamReader, CONVERSATION),
    Dialect("completions", completions.parse, completions.upstream_body, answer.read_answer, answer.StreamReader),
)
