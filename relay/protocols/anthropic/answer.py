"""Anthropic's Messages, the answer: what it used, what of it the client sees, and when it is over.

Source of the format: `Message` and `RawMessageStreamEvent` of the anthropic 2.12 package, and its accumulator of
streamed events: counters of a `message_delta` are totals that replace those of `message_start`.

An answer names its model as the client did, whatever it is called upstream: Claude Code takes an answer of another name
for another model's, and sends its thoughts back no more, without which that model refuses the next turn.
"""

from __future__ import annotations

from typing import Any

import msgspec

from relay.errors import RelayError
from relay.protocols.base import Answer, CostOf, Request
from relay.protocols.fields import Fields, given, top_level, value_of
from relay.protocols.sse import data_of
from relay.protocols.usage import anthropic_units

_encode = msgspec.json.encode


def read_answer(body: bytes, request: Request | None = None) -> Answer | None:
    """A message that was not streamed; None where the body is not one (an error in a 200, an empty body)."""
    try:
        fields = top_level.decode(body)
        content = value_of(fields, "content")
        usage = value_of(fields, "usage")
        shown = body if request is None else _named(fields, body, request.model)
    except (msgspec.DecodeError, RelayError, UnicodeDecodeError, RecursionError):
        return None
    if not isinstance(content, list) or given(fields, "error"):
        return None
    units = with_searches(anthropic_units(usage), request)
    texts: list[str] = []
    if units is None:
        for block in content:
            note_block(block, texts)
    return Answer(units, texts, lambda _units, _cost: shown)


def _named(fields: Fields, message: bytes, model: str) -> bytes:
    """A message under its client's own name of the model. `fields`: its top level."""
    if value_of(fields, "model") in (None, model):
        return message
    return _encode({**fields, "model": model})


def _start_named(event: bytes, model: str) -> bytes:
    """A stream's first event, likewise."""
    fields = top_level.decode(data_of(event) or b"")
    message = bytes(fields["message"])
    named = _named(top_level.decode(message), message, model)
    if named == message:
        return event
    return b"event: message_start\ndata: " + _encode({**fields, "message": msgspec.Raw(named)}) + b"\n\n"


def with_searches(units: dict[str, int] | None, request: Request | None) -> dict[str, int] | None:
    """Usage that says nothing of searches, though they were allowed, says that there were none."""
    if units is not None and request is not None and "searches" in request.pieces:
        units.setdefault("searches", 0)
    return units


def note_block(block: Any, texts: list[str]) -> None:
    """What a block of an answer says, for counting."""
    if not isinstance(block, dict):
        return
    for name in ("text", "thinking", "name"):
        if isinstance(block.get(name), str):
            texts.append(block[name])
    if block.get("input"):
        texts.append(_encode(block["input"]).decode())


class Event(msgspec.Struct):
    """An event of a stream, as much of it as is read."""

    type: Any = None
    index: Any = None
    message: Any = None
    content_block: Any = None
    delta: Any = None
    usage: Any = None
    error: Any = None


_EVENT = msgspec.json.Decoder(Event)
MESSAGE_STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'


class Stream:
    """What the events of a stream say of its progress, whoever reads them: see `relay.protocols.base.Reader`."""

    def __init__(self, request: Request | None = None) -> None:
        self._request = request
        self._usage: dict[str, Any] = {}
        self.started = self.done = self.failed = self.finished = False
        self.units: dict[str, int] | None = None
        self.texts: list[str] = []

    def take(self, raw: bytes) -> Event | None:
        """Note an event, and say what it is; None for what is none, and for an error."""
        data = data_of(raw)
        if data is None:
            return None
        try:
            event = _EVENT.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            # Not an event as Anthropic sends them: an error in other words, or something new.
            self.failed = self.failed or raw.startswith((b"event: error", b"event:error")) or b'"error"' in data[:64]
            return None
        if event.type == "error" or event.error is not None:
            self.failed = True
            return None
        if event.type == "message_stop":
            self.done = True
        elif event.type == "message_start":
            self.started = True
            if isinstance(event.message, dict):
                self._note_usage(event.message.get("usage"))
        elif event.type == "content_block_start":
            self.started = True
            note_block(event.content_block, self.texts)
        elif event.type == "content_block_delta":
            self._note_delta(event.delta)
        elif event.type == "message_delta":
            self.started = True
            if isinstance(event.delta, dict) and event.delta.get("stop_reason"):
                self.finished = True
            if self._note_usage(event.usage):
                self.units = with_searches(anthropic_units(self._usage), self._request)
        return event

    def _note_delta(self, delta: Any) -> None:
        if isinstance(delta, dict):
            for name in ("text", "thinking", "partial_json"):
                if isinstance(delta.get(name), str):
                    self.texts.append(delta[name])

    def _note_usage(self, usage: Any) -> bool:
        """Take the totals over that are told; a zero after a count is a counter that was not filled in."""
        if not isinstance(usage, dict):
            return False
        for name, value in usage.items():
            if value or (value is not None and name not in self._usage):
                self._usage[name] = value
        return True


class StreamReader(Stream):
    """A streamed answer for a client of the same dialect: see `relay.protocols.base.Reader`."""

    def __init__(self, request: Request, cost_of: CostOf) -> None:
        super().__init__(request)
        self._model = request.model
        self._stop = MESSAGE_STOP

    def read(self, event: bytes) -> bytes:
        """What of an event goes to the client: itself, or nothing of an error, and of the end for now."""
        known = self.take(event)
        if known is not None and known.type == "message_stop":
            self._stop = event
            return b""
        if self.failed:
            return b""
        starts = known is not None and known.type == "message_start" and isinstance(known.message, dict)
        return _start_named(event, self._model) if starts else event

    def read_rest(self, event: bytes) -> bytes:
        """The same for what a stream ended with, though no blank line ended it: half an event is none."""
        try:
            return self.read(event) if msgspec.json.decode(data_of(event) or b"") else b""
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return b""

    def last(self, units: dict[str, int], cost: str) -> tuple[bytes, bytes]:
        """The end of the stream, which waits for the charge to be committed."""
        return b"", self._stop
