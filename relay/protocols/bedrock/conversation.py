"""Amazon Bedrock's Converse, from and to `relay.ir`. Only upstreams speak it."""

from __future__ import annotations

from relay.protocols.base import Conversation, never
from relay.protocols.bedrock_answer_ir import answer_to_ir
from relay.protocols.bedrock_from_ir import from_ir
from relay.protocols.bedrock_stream_ir import StreamDecoder

CONVERSATION = Conversation(never, from_ir, answer_to_ir, never, StreamDecoder, never)
