"""OpenAI chat completions, the answer: what it used, what of it the client sees, and when it is over. Legacy
completions answer alike: a choice has `text` where a chat completion's has a message or a delta.

Source of the format: the response types of the openai 3.54 package.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec

from relay.errors import RelayError
from relay.protocols.base import Answer, CostOf, Request
from relay.protocols.fields import Fields, given, strings, top_level, value_of
from relay.protocols.sse import data_of
from relay.protocols.usage import openai_units, openai_usage

_encode = msgspec.json.encode


def read_answer(body: bytes, request: Request | None = None) -> Answer | None:
    """A chat completion that was not streamed; None where the body is not one (an error in a 200, an empty body)."""
    try:
        fields = top_level.decode(body)
        choices = value_of(fields, "choices")
        usage = value_of(fields, "usage")
    except (msgspec.DecodeError, RelayError, UnicodeDecodeError, RecursionError):
        return None
    if not isinstance(choices, list) or not choices or given(fields, "error"):
        return None
    units = _units(usage, request)
    texts: list[str] = []
    if units is None:
        for choice in choices:
            if isinstance(choice, dict):
                message = choice.get("message", choice.get("text"))
                strings({**message, "role": ""} if isinstance(message, dict) else message, texts)
    return Answer(units, texts, partial(_with_cost, fields))


def _units(usage: object, request: Request | None) -> dict[str, int] | None:
    """What was used. The dialect does not tell how long a cache lives: it lives as long as was asked for."""
    units = openai_units(usage)
    if units is not None and request is not None and request.hour_cache and "cache_write_5m" in units:
        units["cache_write_1h"] = units.pop("cache_write_5m")
    return units


def _with_cost(fields: Fields, units: dict[str, int], cost: str) -> bytes:
    """The answer for the client: as the upstream sent it, with `usage.cost` in USD."""
    fields = dict(fields)
    fields["usage"] = _usage_with_cost(fields.get("usage"), units, cost)
    return _encode(fields)


def _usage_with_cost(usage: msgspec.Raw | None, units: dict[str, int], cost: str) -> msgspec.Raw:
    try:
        fields = top_level.decode(usage) if usage is not None else None
    except msgspec.DecodeError:
        fields = None
    if fields is None or openai_units(msgspec.json.decode(_encode(fields))) is None:
        fields = top_level.decode(_encode(openai_usage(units)))
    fields["cost"] = msgspec.Raw(cost.encode())
    return msgspec.Raw(_encode(fields))


class _Choice(msgspec.Struct):
    index: Any = 0
    delta: Any = None
    text: Any = None  # of a legacy completion
    finish_reason: Any = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: Any = None
    error: Any = None


_CHUNK = msgspec.json.Decoder(_Chunk)


class StreamReader:
    """A streamed answer: see `relay.protocols.base.Reader`."""

    __slots__ = (
        "_begun",
        "_cost_of",
        "_ended",
        "_include_usage",
        "_last",
        "_request",
        "done",
        "failed",
        "started",
        "texts",
        "units",
    )

    def __init__(self, request: Request, cost_of: CostOf) -> None:
        self._request = request
        self._include_usage: bool = request.options
        self._cost_of = cost_of
        self._last = b""
        self._begun: set[object] = set()
        self._ended: set[object] = set()
        self.started = self.done = self.failed = False
        self.units: dict[str, int] | None = None
        self.texts: list[str] = []

    @property
    def finished(self) -> bool:
        """Whether every choice that began has its finish reason."""
        return bool(self._ended) and self._begun == self._ended

    def read_rest(self, event: bytes) -> bytes:
        """The same for what a stream ended with, though no blank line ended it: half an event is none."""
        data = data_of(event)
        try:
            return self.read(event) if data == b"[DONE]" or msgspec.json.decode(data or b"") else b""
        except (msgspec.DecodeError, UnicodeDecodeError):
            return b""

    def read(self, event: bytes) -> bytes:
        """What of an event goes to the client: itself, itself changed, or nothing."""
        data = data_of(event)
        if data is None:
            return event
        if data == b"[DONE]":
            self.done = True
            return b""
        try:
            chunk = _CHUNK.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            # Not a chunk as OpenAI sends them: an error in other words, or something new. It passes, uncounted.
            self.failed = b'"error"' in data[:64]
            return b"" if self.failed else event
        if chunk.error is not None or (chunk.choices is None and is_error(event, data)):
            self.failed = True
            return b""
        if chunk.choices is None and chunk.usage is None:
            return event
        self.started = True
        self._last = data
        if chunk.choices:
            for choice in chunk.choices:
                index = choice.index if type(choice.index) is int else 0
                self._begun.add(index)
                if choice.finish_reason:
                    self._ended.add(index)
                delta = choice.delta or choice.text
                if delta:
                    content = delta.get("content") if isinstance(delta, dict) else delta
                    if type(content) is str and len(delta) == 1:
                        self.texts.append(content)
                    else:
                        strings({**delta, "role": ""} if isinstance(delta, dict) else delta, self.texts)
        if chunk.usage is None:
            return event
        return self._with_usage(chunk, data)

    def _with_usage(self, chunk: _Chunk, data: bytes) -> bytes:
        """A chunk with usage: shown with its cost to a client that asked, hidden from others and where it is broken."""
        units = _units(chunk.usage, self._request)
        if units is not None:
            self.units = units
        if not chunk.choices and not (units is not None and self._include_usage):
            return b""
        fields = top_level.decode(data)
        if units is not None and self._include_usage:
            fields["usage"] = _usage_with_cost(fields["usage"], units, self._cost_of(units))
        else:
            del fields["usage"]
        return b"data: " + _encode(fields) + b"\n\n"

    def last(self, units: dict[str, int], cost: str) -> tuple[bytes, bytes]:
        """A usage chunk of our own counts, for a client that asked and an upstream that sent none; the terminator."""
        if not self._include_usage or self.units is not None:
            return b"", TERMINATOR
        fields = {k: v for k, v in top_level.decode(self._last).items() if k in ("id", "created", "model", "object")}
        fields["choices"] = msgspec.Raw(b"[]")
        fields["usage"] = _usage_with_cost(None, units, cost)
        return b"data: " + _encode(fields) + b"\n\n", TERMINATOR


def is_error(event: bytes, data: bytes) -> bool:
    """Whether an event that is no chunk reports an error in other words than OpenAI's `{"error": …}`."""
    if any(line.partition(b":")[2].strip() == b"error" for line in event.splitlines() if line.startswith(b"event")):
        return True
    value = msgspec.json.decode(data)
    return isinstance(value, dict) and value.get("object") == "error"


TERMINATOR = b"data: [DONE]\n\n"
