"""A streamed response of an upstream as events of `relay.protocols.ir`: see `relay.protocols.base.Decoder`.

Items of a response may grow side by side; parts of `relay.protocols.ir` may not. What belongs to a later part waits for
the earlier ones to end. Some servers leave out deltas, or all but the last event: what was not heard in pieces is taken
from the item as a whole.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec

from relay.protocols import ir
from relay.protocols.responses.items import (
    ORIGIN,
    Item,
    Part,
    item_of,
    logprobs_of,
    made_parts,
    reasoning_of,
    said,
    stop_of,
)
from relay.protocols.sse import data_of
from relay.protocols.usage import responses_units

NOTHING = msgspec.Raw(b"null")


class _Event(msgspec.Struct):
    type: Any = None
    response: Any = None
    item: msgspec.Raw = NOTHING
    part: Any = None
    output_index: Any = None
    content_index: Any = None
    summary_index: Any = None
    delta: Any = None
    logprobs: Any = None
    error: Any = None


_EVENT = msgspec.json.Decoder(_Event)
_Made = ir.Text | ir.Refusal | ir.Reasoning | ir.ToolCall
_Key = tuple[int, int]
# An item that is one part.
_WHOLE = -1
_ONES = frozenset({"function_call", "custom_tool_call", "reasoning"})
# Deltas of an item that is one part, and of a part of a message.
_DELTAS_OF_ONE = frozenset(
    {
        *("response.function_call_arguments.delta", "response.custom_tool_call_input.delta"),
        *("response.reasoning_summary_text.delta", "response.reasoning_text.delta"),
    }
)
_DELTAS_OF_PARTS: dict[str, type[ir.Text | ir.Refusal]] = {
    "response.output_text.delta": ir.Text,
    "response.refusal.delta": ir.Refusal,
}


@dataclass(slots=True)
class _Growing:
    """A part that is not complete, or that waits for those before it."""

    part: _Made
    events: list[ir.Delta | ir.Sealed | ir.Probabilities] = field(default_factory=list)
    index: int | None = None
    grown: bool = False
    ended: bool = False
    summary: object = None


class StreamDecoder:
    """A streamed response: see `relay.protocols.base.Decoder`."""

    def __init__(self) -> None:
        self.started = self.done = self.failed = False
        self.units: dict[str, int] | None = None
        self.texts: list[str] = []
        self._begun = self._called = False
        self._parts: dict[_Key, _Growing] = {}
        self._queue: list[_Growing] = []
        self._count = 0

    @property
    def finished(self) -> bool:
        """Whether the response said that it is complete."""
        return self.done

    def decode(self, event: bytes) -> list[ir.Event]:
        """What an event means."""
        data = data_of(event)
        if data is None or data == b"[DONE]" or self.done or self.failed:
            return []
        try:
            heard = _EVENT.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self.failed = b'"error"' in data[:64]
            return []
        kind = heard.type if isinstance(heard.type, str) else ""
        if kind in ("response.failed", "error") or (heard.error is not None and not kind):
            self.failed = True
            return []
        self.started = True
        response = heard.response if isinstance(heard.response, dict) else {}
        events = self._start(response)
        if kind in ("response.completed", "response.incomplete"):
            return [*events, *self._end(kind, response)]
        self._hear(kind, heard)
        return [*events, *self._flush()]

    def _start(self, response: dict[str, Any]) -> list[ir.Event]:
        if self._begun:
            return []
        self._begun = True
        id, model, created = response.get("id"), response.get("model"), response.get("created_at")
        return [
            ir.Start(
                id if isinstance(id, str) else "",
                model if isinstance(model, str) else "",
                int(created) if isinstance(created, int | float) and 0 <= created < 2**53 else 0,
            )
        ]

    def _hear(self, kind: str, heard: _Event) -> None:
        at = _number(heard.output_index)
        if kind == "response.output_item.added":
            self._begin_item(at, item_of(heard.item))
        elif kind == "response.output_item.done":
            self._whole(at, item_of(heard.item))
        elif kind in _DELTAS_OF_ONE:
            self._grow_one((at, _WHOLE), kind, heard)
        elif kind in _DELTAS_OF_PARTS and isinstance(heard.delta, str):
            key = (at, _number(heard.content_index))
            growing = self._begin(key, _DELTAS_OF_PARTS[kind](""))
            self._say(growing, heard.delta)
            tokens = logprobs_of(heard.logprobs)
            if tokens and isinstance(growing.part, ir.Text):
                growing.events.append(ir.Probabilities(0, tokens))
        elif kind == "response.content_part.done":
            self._close((at, _number(heard.content_index)))

    def _begin_item(self, at: int, item: Item | None) -> None:
        if item is None or item.type not in _ONES:
            return
        if item.type == "reasoning":
            thought = reasoning_of(item)
            self._begin((at, _WHOLE), ir.Reasoning(origin=thought.origin, id=thought.id))
            return
        for part in made_parts(item):
            if isinstance(part, ir.ToolCall):
                self._begin((at, _WHOLE), ir.ToolCall(part.id, part.name, custom=part.custom))

    def _begin(self, key: _Key, part: _Made) -> _Growing:
        growing = self._parts.get(key)
        if growing is None:
            growing = self._parts[key] = _Growing(part)
            self._queue.append(growing)
            if isinstance(part, ir.ToolCall):
                self._called = True
                self.texts.append(part.name)
        return growing

    def _say(self, growing: _Growing, text: str) -> None:
        if text and not growing.ended:
            growing.grown = True
            growing.events.append(ir.Delta(0, text))
            self.texts.append(text)

    def _grow_one(self, key: _Key, kind: str, heard: _Event) -> None:
        growing = self._parts.get(key)
        if growing is None and kind.startswith("response.reasoning"):
            growing = self._begin(key, ir.Reasoning(origin=ORIGIN))
        if growing is None or not isinstance(heard.delta, str):
            return
        if isinstance(growing.part, ir.Reasoning):
            place = (kind, heard.summary_index, heard.content_index)
            if growing.grown and growing.summary != place:
                self._say(growing, "\n\n")
            growing.summary = place
        self._say(growing, heard.delta)

    def _close(self, key: _Key) -> None:
        growing = self._parts.get(key)
        if growing is not None:
            growing.ended = True

    def _whole(self, at: int, item: Item | None) -> None:
        """An item is complete: what of it was not heard is taken from it."""
        if item is None:
            return
        if item.type == "message":
            content = [Part("output_text", item.content)] if isinstance(item.content, str) else item.content or []
            for number, part in enumerate(content):
                self._fill((at, number), said(part), logprobs_of(part.logprobs))
        for part_ in made_parts(item) if item.type in _ONES else ():
            self._fill((at, _WHOLE), part_, [])
        for key in self._parts:
            if key[0] == at:
                self._close(key)

    def _fill(self, key: _Key, part: _Made | None, tokens: list[ir.Logprob]) -> None:
        if part is None or (isinstance(part, ir.Text | ir.Refusal) and not part.text and key not in self._parts):
            return
        text = part.arguments if isinstance(part, ir.ToolCall) else part.text
        growing = self._begin(key, _bare(part))
        if not growing.grown:
            self._say(growing, text)
            if tokens and isinstance(growing.part, ir.Text):
                growing.events.append(ir.Probabilities(0, tokens))
        if isinstance(part, ir.Reasoning) and (part.signature or part.redacted) and not growing.ended:
            growing.events.append(ir.Sealed(0, part.signature, part.redacted))
        growing.ended = True

    def _flush(self) -> list[ir.Event]:
        """What may be told now: of the first part that is not complete, and of those before it."""
        found: list[ir.Event] = []
        while self._queue:
            growing = self._queue[0]
            if growing.index is None:
                growing.index, self._count = self._count, self._count + 1
                found.append(ir.PartStart(growing.index, growing.part))
            for event in growing.events:
                event.index = growing.index
                found.append(event)
            growing.events = []
            if not growing.ended:
                break
            found.append(ir.PartEnd(growing.index))
            self._queue.pop(0)
        return found

    def _end(self, kind: str, response: dict[str, Any]) -> list[ir.Event]:
        output = response.get("output")
        if not self._parts and isinstance(output, list):
            for at, item in enumerate(output):
                self._whole(at, item_of(msgspec.json.encode(item)))
        for growing in self._queue:
            growing.ended = True
        self.done = True
        self.units = responses_units(response.get("usage"))
        status = kind.removeprefix("response.")
        stop = stop_of(status, response.get("incomplete_details"), called=self._called)
        return [*self._flush(), ir.Stop(stop)]


def _bare(part: _Made) -> _Made:
    """A part without the content that deltas bring."""
    if isinstance(part, ir.ToolCall):
        return ir.ToolCall(part.id, part.name, custom=part.custom)
    if isinstance(part, ir.Reasoning):
        return ir.Reasoning(origin=part.origin, id=part.id)
    return type(part)("")


def _number(value: object) -> int:
    return value if type(value) is int else 0
