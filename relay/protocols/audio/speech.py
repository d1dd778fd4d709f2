"""OpenAI speech: a text becomes a recording, as bytes or (`stream_format: "sse"`) as events.

Source of the format: `SpeechCreateParams` of the openai 3.54 package; the events `speech.audio.delta` and
`speech.audio.done` of OpenAI's API reference. Bytes tell no usage: they are charged by the character. Events tell
tokens.
"""

from __future__ import annotations

from typing import Any

from relay.errors import RelayError
from relay.protocols.base import Answer, CostOf, Request
from relay.protocols.fields import model_of, no_deep_nesting, read_object, string, value_of
from relay.protocols.large_events import is_whole
from relay.protocols.media_events import MediaEvent, read_event
from relay.protocols.plain_json import add_text, add_unknown, answer_fields, count, tier_of, upstream_body
from relay.protocols.sse import Splitter, data_of

__all__ = ["Chunks", "SpeechReader", "parse", "read_answer", "upstream_body"]

_KNOWN = frozenset(
    {"model", "input", "voice", "instructions", "response_format", "speed", "stream_format", "service_tier"}
)
# A character takes about a fifteenth of a second, a second of speech 21 tokens; a slow voice takes more.
_TOKENS_A_CHARACTER, _TOKENS_AT_LEAST = 4, 64
_BYTES_A_TOKEN = 4


def parse(body: bytes, path: str = "") -> Request:
    """Read a request's body. Raises RelayError."""
    with no_deep_nesting():
        fields = read_object(body)
        request = Request("speech", fields, model_of(fields), stream=True, output=False, features=tier_of(fields))
        said = string(fields, "input")
        if not said:
            raise RelayError("invalid_request", "input must be a text.", param="input")
        voice = value_of(fields, "voice")
        if isinstance(voice, dict):
            raise RelayError(
                "stored_state",
                "voice names a voice that is stored upstream, which is not available here.",
                param="voice",
            )
        form = string(fields, "stream_format")
        if form not in (None, "audio", "sse"):
            raise RelayError("invalid_request", "stream_format must be audio or sse.", param="stream_format")
        add_text(request, said)
        add_text(request, string(fields, "instructions"))
        add_unknown(request, _KNOWN)
        request.options = form == "sse"
        request.pieces["characters"] = len(said)
        if request.options:
            request.pieces["audio_out"] = _TOKENS_A_CHARACTER * len(said) + _TOKENS_AT_LEAST
        return request


def read_answer(body: bytes, request: Request) -> Answer | None:
    """A recording that was read whole: what it is, the upstream's content type says."""
    if not body or _is_error(body):
        return None
    return Answer(_by_character(request), [], lambda units, cost: body, content_type=b"")


def _by_character(request: Request) -> dict[str, int]:
    return {"input": -(-request.text_bytes // _BYTES_A_TOKEN), "characters": request.pieces["characters"]}


def _is_error(start: bytes) -> bool:
    """Whether an upstream answers with an error instead: no recording begins like JSON."""
    return start.lstrip()[:1] == b"{" and (answer_fields(start) is None and b'"error"' in start[:200])


class Chunks:
    """Bytes as they come: a recording has no events; those of `sse` are cut by the reader."""

    def feed(self, data: bytes) -> list[bytes]:
        """What came."""
        return [data] if data else []

    def rest(self) -> bytes:
        """Nothing is kept."""
        return b""


class SpeechReader:
    """A recording as it comes: see `relay.protocols.base.Reader`. What came last waits for its charge."""

    def __init__(self, request: Request, _: CostOf) -> None:
        self._request = request
        self._splitter = Splitter() if request.options else None
        self._held = b""
        self.started = self.done = self.failed = False
        self.units: dict[str, int] | None = None
        self.texts: list[str] = []

    @property
    def finished(self) -> bool:
        """The end of the body, or the last event."""
        return self.done

    def read(self, event: bytes) -> bytes:
        """What goes to the client at once."""
        if self._splitter is not None:
            return b"".join([self._read_event(one) for one in self._splitter.feed(event)])
        if not self.started and _is_error(event):
            self.failed = True
            return b""
        self.started = True
        going, self._held = self._held, event
        return going

    def _read_event(self, event: bytes) -> bytes:
        data = data_of(event)
        if data is None or self.done:
            return b"" if self.done else event
        said = read_event(data) or MediaEvent()
        if said.type == "error":
            self.failed = True
            return b""
        self.started = True
        if said.type != "speech.audio.done":
            return event
        self.done, self._held = True, event
        self.units = _told(said.usage, self._request)
        return b""

    def read_rest(self, event: bytes) -> bytes:
        """The body has ended: of a recording this is the end, of events only the last one is."""
        if self._splitter is not None:
            rest = self._splitter.rest()
            return self._read_event(rest) if is_whole(rest) else b""
        self.done = self.started and not self.failed
        if self.done:
            self.units = _by_character(self._request)
        return b""

    def last(self, units: dict[str, int], cost: str) -> tuple[bytes, bytes]:
        """What came last."""
        return b"", self._held


def _told(usage: Any, request: Request) -> dict[str, int] | None:
    """Units of `speech.audio.done`; None where it does not say."""
    usage = usage if isinstance(usage, dict) else {}
    read, made = count(usage.get("input_tokens")), count(usage.get("output_tokens"))
    if read is None or not made:
        return None
    return {"input": read, "audio_out": made, "characters": request.pieces["characters"]}
