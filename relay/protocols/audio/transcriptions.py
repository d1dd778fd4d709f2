"""OpenAI transcriptions and translations: a recording becomes a text.

Source of the format: `TranscriptionCreateParams`, `Transcription`, `TranscriptionVerbose`, `TranslationCreateParams`
and the transcript events of the openai 3.54 package. A request is a form, as `relay.entry.multipart` describes it,
where the `seconds` of the file were measured: no JSON of a client's own may be parsed here. A recording is charged by
the second or by tokens: an upstream says which, and a price names one or the other.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec

from relay.errors import RelayError
from relay.protocols import ir
from relay.protocols.base import Answer, CostOf, Request
from relay.protocols.fields import Fields, model_of, no_deep_nesting, read_object, string, value_of
from relay.protocols.form import files, flag
from relay.protocols.large_events import is_whole
from relay.protocols.media_events import read_event
from relay.protocols.plain_json import (
    add_text,
    answer_fields,
    count,
    tier_of,
    upstream_body,
    value_or_none,
    with_cost,
)
from relay.protocols.sse import data_of

__all__ = ["TranscriptReader", "parse_transcription", "parse_translation", "read_answer", "upstream_body"]

# OpenAI's price list: a minute of audio at $6 a million tokens is $0.006.
AUDIO_TOKENS_A_MINUTE = 1_000
# Fast speech, in a script of many tokens.
_TEXT_TOKENS_A_SECOND, _TEXT_TOKENS_AT_LEAST = 8, 256
_PLAIN = frozenset({"text", "srt", "vtt"})
_NOT_TEXT = frozenset(
    {"model", "file", "stream", "response_format", "temperature", "language", "languages[]", "include[]"}
    | {"timestamp_granularities[]", "service_tier"}
)


def parse_transcription(body: bytes, path: str = "") -> Request:
    """`POST /v1/audio/transcriptions`, from a form's description. Raises RelayError."""
    with no_deep_nesting():
        return _parse("transcriptions", read_object(body))


def parse_translation(body: bytes, path: str = "") -> Request:
    """`POST /v1/audio/translations`, from a form's description. Raises RelayError."""
    with no_deep_nesting():
        request = _parse("translations", read_object(body))
        if request.stream:
            raise RelayError(
                "unsupported_field", "stream cannot be relayed: translations are not streamed.", param="stream"
            )
        return request


def _parse(dialect: str, fields: Fields) -> Request:
    found = files(fields, "file")
    seconds = count(found[0].get("seconds")) if len(found) == 1 else None
    if not seconds:
        raise RelayError("invalid_request", "file must be one recording.", param="file")
    request = Request(
        dialect,
        fields,
        model_of(fields),
        stream=flag(fields, "stream"),
        cap=_TEXT_TOKENS_A_SECOND * seconds + _TEXT_TOKENS_AT_LEAST,
        features=tier_of(fields),
        options=string(fields, "response_format") or "json",
    )
    request.pieces = {"audio_in": _audio_tokens(seconds), "seconds": seconds}
    for name in fields:
        if name in _NOT_TEXT:
            continue
        value = value_of(fields, name)
        for text in value if isinstance(value, list) else [value]:
            if not isinstance(text, str):
                raise ir.unsupported(name, "a recording is sent as file, once")
            if not text.startswith("data:"):
                add_text(request, text)
    return request


def _audio_tokens(seconds: int) -> int:
    return -(-seconds * AUDIO_TOKENS_A_MINUTE // 60)


def read_answer(body: bytes, request: Request) -> Answer | None:
    """A transcript in the format that was asked for; None where the body is no such thing."""
    if request.options in _PLAIN:
        if not body or (body[:1] == b"{" and answer_fields(body) is None):
            return None
        return Answer(None, [body.decode("utf-8", "replace")], lambda units, cost: body, content_type=b"")
    fields = answer_fields(body)
    text = value_or_none(fields, "text") if fields is not None else None
    if fields is None or not isinstance(text, str):
        return None
    units = _units(value_or_none(fields, "usage"), value_or_none(fields, "duration"))
    render = partial(with_cost, fields) if "usage" in fields else lambda units, cost: body
    return Answer(units, [text], render, content_type=b"")


def _units(usage: Any, duration: Any = None) -> dict[str, int] | None:
    """Units of a `usage` of either kind, or of a duration; None where nothing is told."""
    usage = usage if isinstance(usage, dict) else {}
    read, made = count(usage.get("input_tokens")), count(usage.get("output_tokens"))
    if read and made is not None:
        details = usage.get("input_token_details")
        text = (count(details.get("text_tokens")) if isinstance(details, dict) else None) or 0
        text = min(read, text)
        return {"input": text, "audio_in": read - text, "output": made}
    seconds = count(usage.get("seconds")) or count(duration)
    return {"audio_in": _audio_tokens(seconds), "seconds": seconds} if seconds else None


class TranscriptReader:
    """A streamed transcript: see `relay.protocols.base.Reader`. A whole answer of an upstream that does not stream (as
    whisper-1) becomes the one event that ends a stream."""

    def __init__(self, request: Request, _: CostOf) -> None:
        self._request = request
        self._held = self._whole = b""
        self.started = self.done = self.failed = False
        self.units: dict[str, int] | None = None
        self.texts: list[str] = []

    @property
    def finished(self) -> bool:
        """The last event."""
        return self.done

    def read(self, event: bytes) -> bytes:
        """What of an event goes to the client at once."""
        data = data_of(event)
        if data == b"[DONE]":
            return b""
        if data is None:
            if self.started or event.startswith(b":"):
                return event
            self._whole += event
            return b""
        said = read_event(data)
        if said is None:
            return event
        if said.type == "error":
            self.failed = True
            return b""
        self.started = True
        if said.type != "transcript.text.done":
            if isinstance(said.delta, str):
                self.texts.append(said.delta)
            return event
        self.done, self._held = True, event
        self.units = _units(said.usage)
        return b""

    def read_rest(self, event: bytes) -> bytes:
        """What a stream ended with: the last event, or all of an answer that was not streamed."""
        if is_whole(event):
            return self.read(event)
        whole = (self._whole + event).strip(b"\r\n")
        answer = None if self.started or not whole else read_answer(whole, self._request)
        if answer is not None:
            self.started = self.done = True
            self.units, self.texts = answer.units, answer.texts
            said = {"type": "transcript.text.done", "text": answer.texts[0]}
            self._held = b"event: transcript.text.done\ndata: " + msgspec.json.encode(said) + b"\n\n"
        return b""

    def last(self, units: dict[str, int], cost: str) -> tuple[bytes, bytes]:
        """The last event."""
        return b"", self._held
