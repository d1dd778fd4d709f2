"""OpenAI chat completions, streamed by an upstream: chunks as events.

Sources: `ChatCompletionChunk` of the openai 3.54 package, and what servers of this dialect are known to send besides.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec

from relay.protocols import ir
from relay.protocols.chat import reasoning
from relay.protocols.chat.answer import is_error
from relay.protocols.chat.answer_ir import arguments_of, call_id, content_of, logprobs_of, stop_of, text_of, time_of
from relay.protocols.chat.request import MAX_CHOICES
from relay.protocols.sse import data_of
from relay.protocols.usage import openai_units

Said = ir.Text | ir.Refusal | ir.Reasoning | ir.ToolCall


@dataclass(slots=True)
class _Held:
    """What waits for the open call to end: a part, and its content so far."""

    part: Said
    texts: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Choice:
    """A choice as it grows. `open`: the part that may grow on; `key`: which block of reasoning, or which call, it is.
    `held`: what came while a call was open, by its key, for pieces of that call may still come. `last_call`: the key of
    the last call of each index."""

    number: int
    parts: int = 0
    open: Said | None = None
    key: object = None
    calls: bool = False
    stopped: bool = False
    held: dict[object, _Held] = field(default_factory=dict)
    last_call: dict[object, object] = field(default_factory=dict)

    def begin(self, part: Said, key: object = None) -> list[ir.Event]:
        """A part begins; the open one ends."""
        events = self.end()
        begun = msgspec.structs.replace(part)
        if isinstance(begun, ir.Reasoning):
            begun.signature = begun.redacted = None  # they are told apart
        self.open, self.key = part, key
        self.calls = self.calls or isinstance(part, ir.ToolCall)
        self.parts += 1
        return [*events, ir.PartStart(self.parts - 1, begun, self.number)]

    def end(self) -> list[ir.Event]:
        """The open part ends."""
        if self.open is None:
            return []
        self.open = None
        return [ir.PartEnd(self.parts - 1, self.number)]

    def grow(self, text: str) -> list[ir.Event]:
        """The open part grows."""
        return [ir.Delta(self.parts - 1, text, self.number)] if text else []

    def seal(self, piece: ir.Reasoning) -> list[ir.Event]:
        """The open block of reasoning is sealed."""
        if not piece.signature and not piece.redacted:
            return []
        return [ir.Sealed(self.parts - 1, piece.signature, piece.redacted, self.number)]

    def say(self, part: ir.Text | ir.Refusal, text: str) -> list[ir.Event]:
        """Text of a kind."""
        if isinstance(self.open, ir.ToolCall):
            self.held.setdefault(type(part), _Held(part)).texts.append(text)
            return []
        begun = [] if isinstance(self.open, type(part)) else self.begin(part)
        return begun + self.grow(text)

    def think(self, piece: ir.Reasoning, key: object) -> list[ir.Event]:
        """A piece of reasoning. `key`: the block it belongs to."""
        if isinstance(self.open, ir.ToolCall):
            waiting = self.held.get(key)
            if waiting is None:
                waiting = self.held[key] = _Held(ir.Reasoning(origin=piece.origin, id=piece.id))
            waiting.texts.append(piece.text)
            assert isinstance(waiting.part, ir.Reasoning)
            _note(waiting.part, piece)
            return []
        part, events = self.open, []
        if not isinstance(part, ir.Reasoning) or self.key != key or not reasoning.continues(part, piece):
            part = ir.Reasoning(origin=piece.origin, id=piece.id)
            events = self.begin(part, key)
        _note(part, piece)
        return events + self.grow(piece.text) + self.seal(piece)

    def call(self, said: dict[str, Any]) -> list[ir.Event]:
        """A piece of a call. The first call is told at once; others wait."""
        custom = isinstance(said.get("custom"), dict)
        called = said.get("custom" if custom else "function")
        called = called if isinstance(called, dict) else {}
        key = self._call_key(said)
        text = arguments_of(called.get("input" if custom else "arguments"))
        if isinstance(self.open, ir.ToolCall) and self.key == key:
            return self.grow(text)
        if key in self.held:
            self.held[key].texts.append(text)
            return []
        name = text_of(called.get("name"))
        if not name:
            return []
        part = ir.ToolCall(call_id(said.get("id")), name, custom=custom)
        if isinstance(self.open, ir.ToolCall):
            self.held[key] = _Held(part, [text])
            return []
        return self.begin(part, key) + self.grow(text)

    def _call_key(self, said: dict[str, Any]) -> object:
        """Which call a piece belongs to: some servers leave out the index, or say 0 of each; others repeat the id."""
        index = said.get("index")
        index = index if type(index) is int else None
        if id := text_of(said.get("id")):
            self.last_call[index] = ("call", index, id)
        return self.last_call.setdefault(index, ("call", index, ""))

    def release(self) -> list[ir.Event]:
        """The open part ends, and what was held back is told."""
        held, self.held = self.held, {}
        events = self.end()
        for waiting in held.values():
            events += self.begin(waiting.part) + self.grow("".join(waiting.texts))
            events += self.seal(waiting.part) if isinstance(waiting.part, ir.Reasoning) else []
            events += self.end()
        return events

    def stop(self, reason: object) -> list[ir.Event]:
        """The choice is complete."""
        events = self.release()
        self.stopped = True
        return [*events, ir.Stop(stop_of(reason, calls=self.calls), choice=self.number)]


def _note(part: ir.Reasoning, piece: ir.Reasoning) -> None:
    part.signature, part.redacted = piece.signature or part.signature, piece.redacted or part.redacted


class Decoder:
    """An upstream's stream: see `relay.protocols.base.Decoder`. What is not as it should be is passed over."""

    def __init__(self) -> None:
        self.started = self.done = self.failed = False
        self.units: dict[str, int] | None = None
        self.texts: list[str] = []
        self._choices: dict[int, _Choice] = {}
        self._begun = False

    @property
    def finished(self) -> bool:
        """Whether every choice that began has its finish reason."""
        return bool(self._choices) and all(choice.stopped for choice in self._choices.values())

    def decode(self, event: bytes) -> list[ir.Event]:
        """What an event means."""
        data = data_of(event)
        if data is None or self.failed:
            return []
        if data == b"[DONE]":
            self.done = True
            return [said for choice in self._choices.values() if not choice.stopped for said in choice.stop(None)]
        try:
            chunk = msgspec.json.decode(data)
            events = self._chunk(chunk, event, data) if isinstance(chunk, dict) else []
        except (msgspec.MsgspecError, UnicodeError, RecursionError, OverflowError):
            self.failed = b'"error"' in data[:64]
            return []
        for said in events:
            if isinstance(said, ir.Delta):
                self.texts.append(said.text)
            elif isinstance(said, ir.PartStart) and isinstance(said.part, ir.ToolCall):
                self.texts.append(said.part.name)
        return events

    def _chunk(self, chunk: dict[str, Any], event: bytes, data: bytes) -> list[ir.Event]:
        choices = chunk.get("choices")
        if chunk.get("error") is not None or (choices is None and is_error(event, data)):
            self.failed = True
            return []
        self.started = self.started or choices is not None or chunk.get("usage") is not None
        self.units = openai_units(chunk.get("usage")) or self.units
        events: list[ir.Event] = []
        for said in choices if isinstance(choices, list) else []:
            if isinstance(said, dict):
                events += self._choice(said)
        if self._choices and not self._begun:
            self._begun = True
            created = time_of(chunk.get("created"))
            events.insert(0, ir.Start(text_of(chunk.get("id")), text_of(chunk.get("model")), created))
        return events

    def _choice(self, said: dict[str, Any]) -> list[ir.Event]:
        number = said.get("index")
        number = number if type(number) is int and 0 <= number < MAX_CHOICES else 0
        choice = self._choices.setdefault(number, _Choice(number))
        if choice.stopped:
            return []
        delta, logprobs = said.get("delta"), said.get("logprobs")
        events: list[ir.Event] = []
        if isinstance(delta, dict):
            events += _delta(choice, delta)
        if isinstance(logprobs, dict) and isinstance(choice.open, ir.Text):
            tokens = logprobs_of(logprobs.get("content"))
            events += [ir.Probabilities(choice.parts - 1, tokens, number)] if tokens else []
        if reason := said.get("finish_reason"):
            # OpenRouter's word for an upstream that failed in mid-stream.
            if reason == "error":
                self.failed = True
                return []
            events += choice.stop(reason)
        return events


def _delta(choice: _Choice, delta: dict[str, Any]) -> list[ir.Event]:
    """What a delta adds to a choice."""
    events: list[ir.Event] = []
    details = delta.get("reasoning_details")
    said = [(entry, reasoning.piece_of(entry, upstream=True)) for entry in details] if isinstance(details, list) else []
    for entry, piece in said:
        events += choice.think(piece, ("block", str(entry.get("index")))) if piece is not None else []
    if not any(piece for _, piece in said):
        text = text_of(delta.get("reasoning_content")) or text_of(delta.get("reasoning"))
        events += choice.think(ir.Reasoning(text, "chat"), None) if text else []
    for part in content_of(delta.get("content")):
        if isinstance(part, ir.Reasoning):
            events += choice.think(part, None)
        else:
            events += choice.say(ir.Text(""), part.text)
    if refusal := text_of(delta.get("refusal")):
        events += choice.say(ir.Refusal(""), refusal)
    calls = delta.get("tool_calls")
    for call in calls if isinstance(calls, list) else []:
        events += choice.call(call) if isinstance(call, dict) else []
    if isinstance(delta.get("function_call"), dict):
        events += choice.call({"function": delta["function_call"], "index": -1})
    return events
