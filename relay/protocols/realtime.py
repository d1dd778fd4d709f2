"""OpenAI's Realtime API over a websocket: what of its events the relay must know.

Source of the format: the `openai.types.realtime` types of the openai 3.54 package. Events pass on as they were sent;
the client's are checked for what would cost without a price, the server's are read for their usage.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec

from costrouter.lib.units import UNITS
from relay.errors import RelayError
from relay.protocols.usage import token_count

# Audio of 24 kHz and 16 bits: a token of input is 100 ms, of output 50 ms (OpenAI, "Managing costs").
_INPUT_BYTES_A_TOKEN, _OUTPUT_BYTES_A_TOKEN = 4_800, 2_400
_FREE_TOOLS = ("function",)
# Text that is kept for an estimate: more than any model's conversation has room for.
MAX_HEARD = 8 * 1024 * 1024


class _Type(msgspec.Struct):
    type: str = ""


_TYPE = msgspec.json.Decoder(_Type)
_CHECKED = frozenset({"session.update", "response.create", "transcription_session.update"})


def type_of(event: str | bytes) -> str:
    """An event's type; "" where it is none."""
    try:
        return _TYPE.decode(event).type
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""


def checked(event: str, model: str) -> str:
    """A client's event for the upstream. Raises RelayError for what cannot be relayed: what has no price, stored state.

    `model`: what the client calls the session's model; the upstream has another name for it.
    """
    kind = type_of(event)
    if kind not in _CHECKED:
        if not kind:
            raise RelayError("invalid_json", "An event is a JSON object with a type.")
        return event
    if kind == "transcription_session.update":
        raise RelayError("unpriced_feature", "A transcription session has no price here.", param="type")
    try:
        value = msgspec.json.decode(event)
    except (msgspec.DecodeError, RecursionError) as error:
        raise RelayError("invalid_json", f"The event is not JSON that can be relayed: {error}.") from error
    name = "session" if kind == "session.update" else "response"
    inside = value.get(name)
    if inside is None:
        return event
    if not isinstance(inside, dict):
        raise RelayError("invalid_request", f"{name} must be an object.", param=name)
    _check(inside, name)
    if name == "session" and inside.pop("model", model) != model:
        raise RelayError("invalid_request", "The model of a session cannot change.", param="session.model")
    # What was checked is what is sent: of a key that stands twice, another reader might take the other one.
    return msgspec.json.encode(value).decode()


def _check(inside: dict[str, Any], name: str) -> None:
    if inside.get("type", "realtime") != "realtime":
        raise RelayError("unpriced_feature", "Only realtime sessions have a price here.", param=f"{name}.type")
    if inside.get("prompt") is not None:
        raise RelayError(
            "stored_state",
            f"{name}.prompt names state that is stored upstream, which is not available here.",
            param=f"{name}.prompt",
        )
    audio = inside.get("audio")
    source = audio.get("input") if isinstance(audio, dict) else None
    transcribed = source.get("transcription") if isinstance(source, dict) else None
    if transcribed is not None or inside.get("input_audio_transcription") is not None:
        raise RelayError(
            "unpriced_feature",
            "The transcription of input audio is charged apart, and has no price here.",
            param=f"{name}.audio.input.transcription",
        )
    tools = inside.get("tools")
    for number, tool in enumerate(tools if isinstance(tools, list) else ()):
        if not isinstance(tool, dict) or tool.get("type", "function") not in _FREE_TOOLS:
            raise RelayError(
                "unpriced_feature",
                f"{name}.tools[{number}] changes what the session costs, and has no price here.",
                param=f"{name}.tools[{number}].type",
            )


def error_event(error: RelayError, event_id: str) -> str:
    """An error as an event of the server."""
    inside = {"type": error.kind.type, "code": error.code, "message": error.message, "param": error.param}
    return msgspec.json.encode({"type": "error", "event_id": event_id, "error": {**inside, "event_id": None}}).decode()


def realtime_units(usage: object) -> dict[str, int] | None:
    """Units of a response's `usage`, or None where it does not say what was used. Input tokens include cached ones."""
    if not isinstance(usage, dict):
        return None
    read, made = token_count(usage.get("input_tokens")), token_count(usage.get("output_tokens"))
    if read is None or made is None or not (read or made):
        return None
    inside, cached = _details(usage, "input_token_details"), {}
    if isinstance(inside.get("cached_tokens_details"), dict):
        cached = inside["cached_tokens_details"]
    units = {"cache_read": min(read, token_count(inside.get("cached_tokens")) or 0)}
    rest = read - units["cache_read"]
    for unit, name in (("audio_in", "audio_tokens"), ("image_in", "image_tokens")):
        fresh = (token_count(inside.get(name)) or 0) - (token_count(cached.get(name)) or 0)
        units[unit] = max(0, min(rest, fresh))
        rest -= units[unit]
    units["input"] = rest
    units["audio_out"] = min(made, token_count(_details(usage, "output_token_details").get("audio_tokens")) or 0)
    units["output"] = made - units["audio_out"]
    return {name: units[name] for name in UNITS if units.get(name)}


def _details(usage: dict[str, Any], name: str) -> dict[str, Any]:
    found = usage.get(name)
    return found if isinstance(found, dict) else {}


class _Done(msgspec.Struct):
    id: Any = None
    status: Any = None
    usage: Any = None


class _ServerEvent(msgspec.Struct):
    response: _Done = msgspec.field(default_factory=_Done)


@dataclass(frozen=True, slots=True)
class Done:
    """A response that is over. `units` None: it does not say what it used."""

    failed: bool
    units: dict[str, int] | None
    context: int


def done(event: str) -> Done:
    """What `response.done` says. `context`: the tokens that the conversation has now."""
    try:
        said = msgspec.json.decode(event, type=_ServerEvent).response
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        said = _Done()
    total = token_count(said.usage.get("total_tokens")) if isinstance(said.usage, dict) else None
    return Done(said.status == "failed", realtime_units(said.usage), total or 0)


class _Delta(msgspec.Struct):
    delta: str = ""


def _delta(event: str) -> str:
    """What an event adds to a text; "" where it is none."""
    try:
        return msgspec.json.decode(event, type=_Delta).delta
    except (msgspec.DecodeError, RecursionError):
        return ""


@dataclass(slots=True)
class Heard:
    """What passed since the last response was over, for an estimate: bytes of base64 audio, and text."""

    audio_in: int = 0
    audio_out: int = 0
    texts_in: list[str] = field(default_factory=list)
    texts_out: list[str] = field(default_factory=list)
    kept: int = 0

    def _keep(self, text: str, into: list[str]) -> None:
        if self.kept + len(text) <= MAX_HEARD:
            self.kept += len(text)
            into.append(text)

    def sent(self, kind: str, event: str) -> None:
        """Note an event of the client."""
        if kind == "input_audio_buffer.append":
            self.audio_in += len(event)
        elif kind in ("conversation.item.create", "response.create"):
            self._keep(event, self.texts_in)

    def received(self, kind: str, event: str) -> None:
        """Note an event of the server."""
        if kind in ("response.output_audio.delta", "response.audio.delta"):
            self.audio_out += len(event)
        elif kind.startswith("response.") and kind.endswith(".delta"):
            self._keep(_delta(event), self.texts_out)

    def guess(self) -> tuple[int, int]:
        """Tokens of text in and out without a tokenizer: four characters are one."""
        return sum(map(len, self.texts_in)) // 4, sum(map(len, self.texts_out)) // 4

    def units(self, context: int, read: int, made: int) -> dict[str, int]:
        """An estimate: `context` tokens from before, `read` and `made` tokens of text since, and the audio."""
        found = {
            "input": context + read,
            "audio_in": self.audio_in * 3 // 4 // _INPUT_BYTES_A_TOKEN,
            "output": made,
            "audio_out": self.audio_out * 3 // 4 // _OUTPUT_BYTES_A_TOKEN,
        }
        return {name: found[name] for name in UNITS if found.get(name)}
