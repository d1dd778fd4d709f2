"""Anthropic's Messages, the streamed answer for a client, from `relay.protocols.ir`.

Source of the format: `RawMessageStreamEvent` of the anthropic 2.12 package.
"""

from __future__ import annotations

from typing import Any

import msgspec

from relay.protocols import ir
from relay.protocols.anthropic.answer import MESSAGE_STOP
from relay.protocols.anthropic.answer_ir import new_message, stop_reason, thinking_block
from relay.protocols.anthropic.decode import _encode
from relay.protocols.anthropic.from_ir import tool_id
from relay.protocols.base import Request
from relay.protocols.usage import anthropic_usage


class StreamEncoder:
    """A streamed message for a client: see `relay.protocols.base.Encoder`."""

    def __init__(self, request: Request, seed: str) -> None:
        self._model = request.model
        self._seed = seed
        self._index = 0
        self._started = self._shown = self._refused = False
        self._kind = "text"
        self._thought: ir.Reasoning | None = None
        self._stop = ir.Stop("stop")

    def encode(self, event: ir.Event) -> bytes:
        """What goes to the client now. How the message stopped waits for the usage, which the same event tells."""
        match event:
            case ir.Start():
                return self._start()
            case ir.PartStart(choice=0):
                return self._start() + self._begin(event.part)
            case ir.Delta(choice=0) if event.text:
                return self._grow(event.text)
            case ir.Sealed(choice=0) if self._thought is not None:
                self._thought.signature = event.signature or self._thought.signature
                self._thought.redacted = event.redacted or self._thought.redacted
            case ir.PartEnd(choice=0):
                return self._end()
            case ir.Stop(choice=0):
                self._stop = event
        return b""

    def last(self, units: dict[str, int], cost: str) -> tuple[bytes, bytes]:
        """The event with the usage; the terminator."""
        delta = {"stop_reason": stop_reason(self._stop.reason, self._refused), "stop_sequence": self._stop.sequence}
        return self._start() + _event("message_delta", delta=delta, usage=anthropic_usage(units)), MESSAGE_STOP

    def _start(self) -> bytes:
        if self._started:
            return b""
        self._started = True
        return _event("message_start", message=new_message(self._seed, self._model))

    def _begin(self, part: ir.Text | ir.Refusal | ir.Reasoning | ir.ToolCall) -> bytes:
        self._refused = self._refused or isinstance(part, ir.Refusal)
        if isinstance(part, ir.Reasoning):
            # Its first delta, or its end, says which of two kinds of block it is.
            self._thought = msgspec.structs.replace(part)
            return b""
        if isinstance(part, ir.ToolCall):
            return self._show({"type": "tool_use", "id": tool_id(part.id), "name": part.name, "input": {}})
        return self._show({"type": "text", "text": ""})

    def _show(self, block: dict[str, Any]) -> bytes:
        self._shown, self._kind = True, block["type"]
        return _event("content_block_start", index=self._index, content_block=block)

    def _grow(self, text: str) -> bytes:
        begun = b""
        if self._thought is not None:
            self._thought.text += text
            if not self._shown:
                begun = self._show({"type": "thinking", "thinking": "", "signature": ""})
        kind, name = _DELTAS[self._kind]
        return begun + self._delta(kind, name, text)

    def _delta(self, kind: str, name: str, text: str) -> bytes:
        return _event("content_block_delta", index=self._index, delta={"type": kind, name: text})

    def _end(self) -> bytes:
        written = b""
        thought, self._thought = self._thought, None
        if thought is not None:
            block = thinking_block(thought)
            if block is None:
                return b""
            if block["type"] == "thinking":
                written += b"" if self._shown else self._show({**block, "signature": ""})
                written += self._delta("signature_delta", "signature", block["signature"])
            else:
                written += self._show(block)
        written += _event("content_block_stop", index=self._index)
        self._shown = False
        self._index += 1
        return written


_DELTAS = {
    "text": ("text_delta", "text"),
    "thinking": ("thinking_delta", "thinking"),
    "tool_use": ("input_json_delta", "partial_json"),
}


def _event(kind: str, **fields: Any) -> bytes:
    return b"event: " + kind.encode() + b"\ndata: " + _encode({"type": kind, **fields}) + b"\n\n"
