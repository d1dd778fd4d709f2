"""Amazon Bedrock's ConverseStream, the answer, to `relay.protocols.ir`.

Source of the format: `ConverseStreamOutput` of botocore 1.44 (`bedrock-runtime/2023-09-30`). Only blocks of tools have
a start: a text or a thought begins with its first delta. `messageStop` ends the answer, `metadata` with its usage the
stream.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

import msgspec

from relay.protocols import ir
from relay.protocols.bedrock.answer_ir import as_object, as_text, begun_call, sequence_of, stop_of
from relay.protocols.eventstream import FAILURE
from relay.protocols.usage import bedrock_units

_decode = msgspec.json.Decoder(dict[str, Any]).decode


class StreamDecoder:
    """A streamed answer as events of `relay.protocols.ir` (`protocols.base.Decoder`). Its events: `FrameCutter`'s."""

    def __init__(self) -> None:
        self.started = self.finished = self.done = self.failed = False
        self.units: dict[str, int] | None = None
        self.texts: list[str] = []
        self._parts = 0
        self._open: ir.Text | ir.Reasoning | ir.ToolCall | None = None
        self._block: object = None
        self._said = False
        self._signature = ""
        self._redacted = b""

    def decode(self, event: bytes) -> list[ir.Event]:
        """What an event means: nothing, or up to four of ours. What cannot be read is a failure."""
        kind, _, payload = event.partition(b"\n")
        if self.failed or self.done or kind not in _EVENTS:
            return []
        try:
            said = {} if kind == FAILURE else _decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            kind, said = FAILURE, {}
        if kind == FAILURE:
            self.failed = True
            return []
        if kind == b"metadata":
            self.units = bedrock_units(said.get("usage"))
            self.done = self.finished
            return []
        if self.finished:
            return []
        begun: list[ir.Event] = [] if self.started else [ir.Start("", "", 0)]
        self.started = True
        return begun + self._take(kind, said)

    def _take(self, kind: bytes, said: dict[str, Any]) -> list[ir.Event]:
        if kind == b"contentBlockStart":
            ended, self._block = self._end(), said.get("contentBlockIndex")
            call = begun_call(as_object(said.get("start")).get("toolUse"))
            if call is None:
                return ended
            self.texts.append(call.name)
            return ended + self._begin(call)
        if kind == b"contentBlockDelta":
            return self._grow(as_object(said.get("delta")), said.get("contentBlockIndex"))
        if kind == b"contentBlockStop":
            return self._end() if said.get("contentBlockIndex") == self._block else []
        if kind == b"messageStop":
            self.finished = True
            return [*self._end(), ir.Stop(stop_of(said.get("stopReason")), sequence_of(said))]
        return []

    def _grow(self, delta: dict[str, Any], block: object) -> list[ir.Event]:
        if "toolUse" in delta:
            text = as_text(as_object(delta["toolUse"]).get("input"))
            known = isinstance(self._open, ir.ToolCall) and block == self._block
            return self._say(text) if known else []
        thought = as_object(delta.get("reasoningContent"))
        text = as_text(thought.get("text") if thought else delta.get("text"))
        if not thought and not text:
            return []
        events: list[ir.Event] = []
        wanted = ir.Reasoning if thought else ir.Text
        if not isinstance(self._open, wanted) or block != self._block:
            events, self._block = self._end(), block
            events += self._begin(ir.Reasoning(origin="bedrock") if thought else ir.Text(""))
        self._signature += as_text(thought.get("signature"))
        self._redacted += _bytes(thought.get("redactedContent"))
        return events + self._say(text)

    def _begin(self, part: ir.Text | ir.Reasoning | ir.ToolCall) -> list[ir.Event]:
        self._open = part
        return [ir.PartStart(self._parts, part)]

    def _say(self, text: str) -> list[ir.Event]:
        if not text:
            return []
        self._said = True
        self.texts.append(text)
        return [ir.Delta(self._parts, text)]

    def _end(self) -> list[ir.Event]:
        if self._open is None:
            return []
        events: list[ir.Event] = []
        if isinstance(self._open, ir.ToolCall) and not self._said:
            events.append(ir.Delta(self._parts, "{}"))
        if self._signature or self._redacted:
            redacted = base64.b64encode(self._redacted).decode() or None
            events.append(ir.Sealed(self._parts, self._signature or None, redacted))
        events.append(ir.PartEnd(self._parts))
        self._open, self._block, self._said, self._signature, self._redacted = None, None, False, "", b""
        self._parts += 1
        return events


_EVENTS = frozenset(
    {
        *(b"messageStart", b"contentBlockStart", b"contentBlockDelta", b"contentBlockStop"),
        *(b"messageStop", b"metadata", FAILURE),
    }
)


def _bytes(value: object) -> bytes:
    """What base64 stands for; nothing for what is none."""
    try:
        return base64.b64decode(as_text(value), validate=True)
    except (binascii.Error, ValueError):
        return b""
