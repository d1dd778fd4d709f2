"""Amazon Bedrock's Converse, from and to `relay.protocols.ir`. Only upstreams speak it."""

from __future__ import annotations

from relay.protocols.base import Conversation, Dialect, Streaming, never
from relay.protocols.bedrock.answer_ir import answer_to_ir
from relay.protocols.bedrock.decode import StreamDecoder
from relay.protocols.bedrock.from_ir import from_ir
from relay.protocols.eventstream import FrameCutter

CONVERSATION = Conversation(never, from_ir, answer_to_ir, never, StreamDecoder, never)

# Rows of `relay.protocols.DIALECTS`.
DIALECTS = (Dialect("bedrock", never, never, never, conversation=CONVERSATION, streaming=Streaming(FrameCutter)),)
