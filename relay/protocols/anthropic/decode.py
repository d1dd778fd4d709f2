"""Anthropic's Messages, the streamed answer of an upstream, to `relay.protocols.ir`.

Source of the format: `RawMessageStreamEvent` and the accumulators of the anthropic 2.12 package.
"""

from __future__ import annotations

from typing import Any

import msgspec

from relay.protocols import ir
from relay.protocols.anthropic.answer import Event, Stream
from relay.protocols.anthropic.answer_ir import as_text, begun_part, stop_of

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
