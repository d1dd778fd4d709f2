"""OpenAI Responses, the answer: what it used, what of it the client sees, and when it is over.

Source of the format: the response and event types of the openai 3.54 package. The id of an answer, whether it is stored
and what it continues are the relay's to say, so they are rewritten wherever an answer is shown. A stream ends with
`response.completed`, `response.incomplete` or `response.failed`; a `[DONE]` that some servers add is dropped.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import msgspec

from relay.errors import RelayError
from relay.protocols.base import Answer, CostOf, Request
from relay.protocols.fields import Fields, given, strings, top_level, value_of
from relay.protocols.sse import data_of
from relay.protocols.usage import responses_units, responses_usage

_encode = msgspec.json.encode
_list = msgspec.json.Decoder(list[msgspec.Raw])
_BROKEN = (msgspec.DecodeError, RelayError, UnicodeDecodeError, RecursionError)


@dataclass(slots=True)
class ResponseAnswer(Answer):
    """An answer whose `output` items may be stored."""

    output: list[msgspec.Raw] = field(default_factory=list)


def read_response(body: bytes) -> tuple[Fields, list[msgspec.Raw]] | None:
    """A response's top level and its items; None where the body is none (an error, a failed or an empty response)."""
    try:
        fields = top_level.decode(body)
        status = value_of(fields, "status")
        if given(fields, "error") or status not in (None, "completed", "incomplete"):
            return None
        output = _list.decode(fields.get("output", b"null"))
        for name in ("usage", "tool_usage"):
            value_of(fields, name)
        if not output and responses_units(value_of(fields, "usage")) is None:
            return None
        return fields, output
    except _BROKEN:
        return None


def read_answer(body: bytes, request: Request) -> ResponseAnswer | None:
    """A response that was not streamed; None where the body is not one."""
    read = read_response(body)
    if read is None:
        return None
    fields, output = read
    try:
        items = [msgspec.json.decode(item) for item in output]
        units = _units(fields, items, request)
        texts: list[str] = []
        if units is None:
            for item in items:
                _texts_of(item, texts)
    except _BROKEN:
        return None
    return ResponseAnswer(units, texts, partial(_render, fields, request), output=output)


def _units(fields: Fields, items: list[Any], request: Request) -> dict[str, int] | None:
    """What a response used. Searches are told apart from its `usage`, or else are counted in its output."""
    units = responses_units(value_of(fields, "usage"))
    if units is None or "searches" not in request.pieces:
        return units
    tools = value_of(fields, "tool_usage")
    search = tools.get("web_search") if isinstance(tools, dict) else None
    told = search.get("num_requests") if isinstance(search, dict) else None
    if isinstance(told, bool) or not isinstance(told, int) or not 0 <= told <= 1_000_000:
        told = sum(isinstance(item, dict) and item.get("type") == "web_search_call" for item in items)
    return {**units, "searches": told}


def _texts_of(item: Any, texts: list[str]) -> None:
    """What an item of the output says, for counting."""
    if isinstance(item, dict):
        for name in ("content", "summary", "name", "arguments", "input", "action", "operation", "code"):
            value = item.get(name)
            parts = value if isinstance(value, list) else [value]
            for part in parts:
                strings({**part, "type": ""} if isinstance(part, dict) else part, texts)


def _render(fields: Fields, request: Request, units: dict[str, int], cost: str) -> bytes:
    """The answer for the client: with our id, and with `usage.cost` in USD."""
    return _encode(_with_cost(as_ours(fields, request), units, cost))


def _with_cost(fields: Fields, units: dict[str, int], cost: str) -> Fields:
    usage = fields.get("usage")
    try:
        told = top_level.decode(usage) if usage is not None else None
        if told is None or responses_units(msgspec.json.decode(usage or b"")) is None:
            told = None
    except _BROKEN:
        told = None
    if told is None:
        told = top_level.decode(_encode(responses_usage(units)))
    told["cost"] = msgspec.Raw(cost.encode())
    return {**fields, "usage": msgspec.Raw(_encode(told))}


def as_ours(fields: Fields, request: Request) -> Fields:
    """A response object with what the relay decides: its id, whether it is stored, what it continues."""
    options = request.options
    ours = dict(fields)
    if options.seed:
        ours["id"] = msgspec.Raw(_encode(options.response_id))
    ours["store"] = msgspec.Raw(_encode(options.store))
    ours["previous_response_id"] = msgspec.Raw(_encode(options.previous))
    return ours


def read_compaction(body: bytes, request: Request) -> ResponseAnswer | None:
    """A compaction of a conversation: items that stand for it, and what making them used."""
    answer = read_answer(body, request)
    if answer is None or not answer.output:
        return None
    return ResponseAnswer(
        answer.units, answer.texts, partial(_render_compaction, top_level.decode(body)), output=answer.output
    )


def _render_compaction(fields: Fields, units: dict[str, int], cost: str) -> bytes:
    return _encode(_with_cost(fields, units, cost))


_NOTHING = msgspec.Raw(b"null")


class _Event(msgspec.Struct):
    type: Any = None
    response: msgspec.Raw = _NOTHING
    item: msgspec.Raw = _NOTHING
    output_index: Any = None
    delta: Any = None
    error: Any = None
    sequence_number: Any = None


_EVENT = msgspec.json.Decoder(_Event)
_LIFE = frozenset({"response.created", "response.in_progress", "response.queued"})
_END = frozenset({"response.completed", "response.incomplete"})
_ITEMS = frozenset({"response.output_item.added", "response.output_item.done"})
# Deltas that are not text.
_NOT_TEXT = frozenset({"response.audio.delta"})


class StreamReader:
    """A streamed answer: see `relay.protocols.base.Reader`. `output`: its items, once it is over."""

    __slots__ = (
        "_items",
        "_request",
        "_sequence",
        "_terminal",
        "done",
        "failed",
        "output",
        "started",
        "texts",
        "units",
    )

    def __init__(self, request: Request, cost_of: CostOf) -> None:
        self._request = request
        self._items: dict[int, msgspec.Raw] = {}
        self._sequence = -1
        self._terminal: tuple[str, Fields, Fields] | None = None
        self.started = self.done = self.failed = False
        self.units: dict[str, int] | None = None
        self.texts: list[str] = []
        self.output: list[msgspec.Raw] = []

    @property
    def finished(self) -> bool:
        """Whether the response said that it is complete."""
        return self._terminal is not None

    def read_rest(self, event: bytes) -> bytes:
        """The same for what a stream ended with, though no blank line ended it: half an event is none."""
        data = data_of(event)
        try:
            return self.read(event) if data == b"[DONE]" or msgspec.json.decode(data or b"") else b""
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return b""

    def read(self, event: bytes) -> bytes:
        """What of an event goes to the client: itself, itself changed, or nothing."""
        data = data_of(event)
        if data is None:
            return event
        if data == b"[DONE]" or self._terminal is not None:
            return b""
        try:
            heard = _EVENT.decode(data)
        except msgspec.DecodeError:
            # Not an event as OpenAI sends them: an error in other words, or something new. It passes, uncounted.
            self.failed = self.failed or b'"error"' in data[:64]
            return b"" if self.failed else event
        except (UnicodeDecodeError, RecursionError):
            self.failed = True
            return b""
        try:
            return self._read(event, data, heard)
        except _BROKEN:  # a response that is none: it must not pass as one that was charged
            self.failed = True
            return b""

    def _read(self, event: bytes, data: bytes, heard: _Event) -> bytes:
        kind = heard.type if isinstance(heard.type, str) else ""
        if kind in ("response.failed", "error") or (heard.error is not None and not kind):
            self.failed = True
            return b""
        self.started = True
        if type(heard.sequence_number) is int:
            self._sequence = heard.sequence_number
        if kind in _END or (kind in _LIFE and bytes(heard.response) != b"null"):
            response = top_level.decode(heard.response)
            if kind in _END:
                return self._end(kind, top_level.decode(data), response)
            return _event(kind, {**top_level.decode(data), "response": _raw(as_ours(response, self._request))})
        if kind.endswith(".delta") and isinstance(heard.delta, str) and kind not in _NOT_TEXT:
            self.texts.append(heard.delta)
        elif kind in _ITEMS:
            self._hear_item(kind, heard)
        return event

    def _hear_item(self, kind: str, heard: _Event) -> None:
        item = msgspec.json.decode(heard.item)
        if not isinstance(item, dict):
            return
        if kind == "response.output_item.done" and type(heard.output_index) is int:
            self._items[heard.output_index] = msgspec.Raw(bytes(heard.item))
        elif kind == "response.output_item.added" and isinstance(item.get("name"), str):
            self.texts.append(item["name"])

    def _end(self, kind: str, event: Fields, response: Fields) -> bytes:
        """The terminal event waits for its charge."""
        try:
            output = _list.decode(response.get("output", b"[]"))
        except msgspec.DecodeError:
            output = []
        # Some servers leave out of the last event what they have sent before.
        self.output = output or [self._items[index] for index in sorted(self._items)]
        self.units = _units(response, [msgspec.json.decode(item) for item in self.output], self._request)
        self._terminal = (kind, event, response)
        self.done = True
        return b""

    def last(self, units: dict[str, int], cost: str) -> tuple[bytes, bytes]:
        """The terminal event, with its cost."""
        if self._terminal is None:
            return b"", b""
        kind, event, response = self._terminal
        ours = _with_cost(as_ours(response, self._request), units, cost)
        return b"", _event(kind, {**event, "response": _raw(ours)})

    def error(self, error: RelayError) -> bytes:
        """The event that ends a stream which failed after it began."""
        response = as_ours({}, self._request) | failure(error)
        fields = {"type": "response.failed", "sequence_number": self._sequence + 1, "response": response}
        return b"event: response.failed\ndata: " + _encode(fields) + b"\n\n"


def failure(error: RelayError) -> dict[str, Any]:
    """What a response that failed says of it, in the few words that the dialect has for codes."""
    code = "rate_limit_exceeded" if error.code == "upstream_rate_limited" else "server_error"
    told = {"code": code, "message": error.message}
    return {"object": "response", "status": "failed", "error": told, "output": [], "usage": None}


def _raw(fields: Fields) -> msgspec.Raw:
    return msgspec.Raw(_encode(fields))


def _event(kind: str, fields: Fields) -> bytes:
    """One server-sent event."""
    return b"event: " + kind.encode() + b"\ndata: " + _encode(fields) + b"\n\n"
