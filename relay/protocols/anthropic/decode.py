"""Anthropic's Messages, the streamed answer, to and from `relay.protocols.ir`.

Source of the format: `RawMessageStreamEvent` and the accumulators of the anthropic 2.12 package.
"""

from __future__ import annotations

from typing import Any

import msgspec

from relay.protocols import ir
from relay.protocols.anthropic.answer import MESSAGE_STOP, Event, Stream
from relay.protocols.anthropic.answer_ir import as_text, begun_part, new_message, stop_of, stop_reason, thinking_block
from relay.protocols.anthropic.from_ir import tool_id
from relay.protocols.base import Request
from relay.protocols.usage import anthropic_usage

_encode = msgspec.json.encode


class StreamDecoder(Stream):
    """A streamed message as events of `relay.protocols.ir`: see `relay.protocols.base.Decoder`."""

    def __init__(self) -> None:
        super().__init__()
        self._parts = 0
        self._open: ir.Text | ir.Reasoning | ir.ToolCall | None = None
        self._block: object = None
        self._input: Any = None
        self._begun = self._stopped = False

    def decode(self, event: bytes) -> list[ir.Event]:
        """What an event means: nothing, or up to four of ours."""
        known = self.take(event)
        if known is None or self._stopped:
            return []
        if known.type == "message_start" and not self._begun:
            self._begun = True
            message = known.message if isinstance(known.message, dict) else {}
            return [ir.Start(as_text(message.get("id")), as_text(message.get("model")), 0)]
        if known.type == "content_block_start":
            return [*self._end(), *self._begin(known)]
        if known.type == "content_block_delta" and known.index == self._block and isinstance(known.delta, dict):
            return self._grow(known.delta)
        if known.type == "content_block_stop" and known.index == self._block:
            return self._end()
        if known.type == "message_delta" and isinstance(known.delta, dict) and self.finished:
            self._stopped = True
            sequence = known.delta.get("stop_sequence")
            reason = stop_of(known.delta.get("stop_reason"))
            return [*self._end(), ir.Stop(reason, sequence if isinstance(sequence, str) else None)]
        return []

    def _begin(self, known: Event) -> list[ir.Event]:
        block, begun = known.content_block, begun_part(known.content_block)
        if begun is None:
            return []
        self._open, self._block, self._input = begun, known.index, block.get("input") or {}
        events: list[ir.Event] = [ir.PartStart(self._parts, begun)]
        said = as_text(block.get("text" if isinstance(begun, ir.Text) else "thinking"))
        if said:
            events.append(ir.Delta(self._parts, said))
        if isinstance(begun, ir.Reasoning):
            events += self._sealed(block.get("signature"), block.get("data"))
        return events

    def _grow(self, delta: dict[str, Any]) -> list[ir.Event]:
        match self._open:
            case None:
                return []
            case ir.Text():
                said = as_text(delta.get("text"))
            case ir.Reasoning():
                said = as_text(delta.get("thinking"))
            case ir.ToolCall():
                said = as_text(delta.get("partial_json"))
                self._input = None if said else self._input
        if said:
            return [ir.Delta(self._parts, said)]
        return self._sealed(delta.get("signature"), None) if isinstance(self._open, ir.Reasoning) else []

    def _sealed(self, signature: object, redacted: object) -> list[ir.Event]:
        sealed = ir.Sealed(self._parts, as_text(signature) or None, as_text(redacted) or None)
        return [sealed] if sealed.signature or sealed.redacted else []

    def _end(self) -> list[ir.Event]:
        if self._open is None:
            return []
        events: list[ir.Event] = []
        if isinstance(self._open, ir.ToolCall) and self._input is not None:
            # A call without arguments, or whose arguments came with its beginning.
            events.append(ir.Delta(self._parts, _encode(self._input).decode()))
        events.append(ir.PartEnd(self._parts))
        self._open = self._block = self._input = None
        self._parts += 1
        return events


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
