"""The neutral conversation: what two different dialects meet in. Dialect → ir → dialect, never N×M converters.

Rules that every converter keeps:
- A field that the target cannot express is refused (`unsupported`), naming the client's own field; a mere hint (cache
  marks, `user`, metadata, a seed, a verbosity, reasoning of another maker) may be left out.
- Tool results are parts of a user message. A system message may stand anywhere; targets that know only one system
  prompt take them all into it, in order.
- Parts of an answer are sequential: a part ends before the next begins.
- What only the maker of some reasoning can read (signatures, encrypted reasoning) travels through a client of another
  dialect as `seal(...)`, in that dialect's own opaque field, and comes back by `unseal`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from relay.errors import RelayError


class Text(msgspec.Struct, tag="text"):
    """Text. `cache`: a mark that what is before and with it should be cached ("5m" or "1h"); a hint."""

    text: str
    cache: str | None = None


class Image(msgspec.Struct, tag="image"):
    """An image: a URL, or base64 `data` of a `media_type`. `detail`: "low", "high", "auto"."""

    url: str | None = None
    data: str | None = None
    media_type: str | None = None
    detail: str | None = None
    cache: str | None = None


class Audio(msgspec.Struct, tag="audio"):
    """Audio as base64; `format` is "wav", "mp3", …"""

    data: str
    format: str


class File(msgspec.Struct, tag="file"):
    """A document (a PDF, a text): a URL, or base64 `data` of a `media_type`."""

    url: str | None = None
    data: str | None = None
    media_type: str | None = None
    name: str | None = None
    cache: str | None = None


class Reasoning(msgspec.Struct, tag="reasoning"):
    """What a model thought. `signature` or `redacted` (encrypted reasoning) are for the maker alone, whose dialect is
    `origin`; where `text` is empty, a signature belongs to the part that follows."""

    text: str = ""
    origin: str = ""
    signature: str | None = None
    redacted: str | None = None
    id: str | None = None


class ToolCall(msgspec.Struct, tag="tool_call"):
    """A call of a tool. `arguments` is JSON text; of a `custom` tool, its free-form input."""

    id: str
    name: str
    arguments: str = ""
    custom: bool = False


class Refusal(msgspec.Struct, tag="refusal"):
    """The model's own words for why it does not answer."""

    text: str


class ToolResult(msgspec.Struct, tag="tool_result"):
    """What a tool answered. `name` is known where the client said it, or the call is in the conversation."""

    call_id: str
    parts: list[Text | Image | File] = []
    name: str | None = None
    error: bool = False
    custom: bool = False
    cache: str | None = None


Part = Text | Image | Audio | File | Reasoning | ToolCall | Refusal | ToolResult
Role = Literal["system", "user", "assistant"]


class Message(msgspec.Struct):
    """One turn, or a piece of one."""

    role: Role
    parts: list[Part]
    name: str | None = None


class Tool(msgspec.Struct):
    """A tool. `schema`: JSON Schema of its arguments; of a `custom` tool, `format` is that of its input, in
    Responses' shape: `{"type": "text"}` or `{"type": "grammar", "syntax", "definition"}`."""

    name: str
    description: str | None = None
    schema: dict[str, Any] | None = None
    strict: bool | None = None
    custom: bool = False
    format: dict[str, Any] | None = None
    cache: str | None = None


class ToolChoice(msgspec.Struct):
    """Whether tools are called: as it likes ("auto"), never, at least one ("required"), or one of `names` ("named")."""

    mode: Literal["auto", "none", "required", "named"]
    names: list[str] = []


class OutputFormat(msgspec.Struct):
    """The answer is JSON, of a schema where one is given."""

    schema: dict[str, Any] | None = None
    name: str | None = None
    strict: bool | None = None
    description: str | None = None


class Thinking(msgspec.Struct):
    """How much the model should think: an `effort` ("none", "minimal", "low", "medium", "high", "xhigh", "max") or a
    `budget` in tokens (0: not at all); both None: as the model likes. `show`: whether the client wants to see it."""

    effort: str | None = None
    budget: int | None = None
    show: bool | None = None


class Request(msgspec.Struct):
    """A request for the next turn. `logprobs`: how many alternatives to show, None: no log probabilities."""

    model: str
    messages: list[Message]
    stream: bool = False
    tools: list[Tool] = []
    tool_choice: ToolChoice | None = None
    parallel: bool | None = None
    output: OutputFormat | None = None
    thinking: Thinking | None = None
    max_tokens: int | None = None
    choices: int = 1
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None
    stop: list[str] = []
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    logprobs: int | None = None
    user: str | None = None
    metadata: dict[str, str] | None = None
    verbosity: str | None = None
    cache_key: str | None = None


StopReason = Literal[
    "stop", "length", "tool_calls", "stop_sequence", "content_filter", "refusal", "context_window", "pause"
]


class Logprob(msgspec.Struct):
    """A token's log probability, and those of the likeliest others."""

    token: str
    logprob: float
    top: list[Logprob] = []


class Choice(msgspec.Struct):
    """One answer. `stop_sequence`: the one that was met, where the upstream says which."""

    parts: list[Part]
    stop: StopReason = "stop"
    stop_sequence: str | None = None
    logprobs: list[Logprob] | None = None


class Answer(msgspec.Struct):
    """A whole answer. `units` as in `costrouter.lib.units`; None where the upstream did not say."""

    id: str
    model: str
    created: int
    choices: list[Choice]
    units: dict[str, int] | None = None

    def texts(self) -> list[str]:
        """What it says, for counting."""
        found = []
        for choice in self.choices:
            for part in choice.parts:
                if isinstance(part, Text | Refusal | Reasoning):
                    found.append(part.text)
                elif isinstance(part, ToolCall):
                    found += [part.name, part.arguments]
        return found


class Start(msgspec.Struct):
    """A streamed answer begins."""

    id: str
    model: str
    created: int


class PartStart(msgspec.Struct):
    """A part begins: a Text, Refusal, Reasoning or ToolCall, without the content that deltas bring."""

    index: int
    part: Text | Refusal | Reasoning | ToolCall
    choice: int = 0


class Delta(msgspec.Struct):
    """More of the open part: of its text, or of a tool call's arguments."""

    index: int
    text: str
    choice: int = 0


class Sealed(msgspec.Struct):
    """What only the maker can read of the open Reasoning part."""

    index: int
    signature: str | None = None
    redacted: str | None = None
    choice: int = 0


class Probabilities(msgspec.Struct):
    """Log probabilities of what the open Text part said last."""

    index: int
    tokens: list[Logprob]
    choice: int = 0


class PartEnd(msgspec.Struct):
    """The open part is complete."""

    index: int
    choice: int = 0


class Stop(msgspec.Struct):
    """A choice is complete. Its last part has ended before."""

    reason: StopReason
    sequence: str | None = None
    choice: int = 0


Event = Start | PartStart | Delta | Sealed | Probabilities | PartEnd | Stop


class Unsupported(RelayError):
    """The 400 for what a target cannot express. `where`: "Anthropic", …

    `field` is in the client's own words, or, where only the neutral request is known, in chat's: see `in_words`.
    """

    def __init__(self, field: str, where: str) -> None:
        message = f"{field} cannot be expressed for this model's upstream ({where})."
        super().__init__("unsupported_field", message, param=field)
        self.field, self.where = field, where

    def in_words(self, words: Mapping[str, str]) -> Unsupported:
        """The same with the client's own word for the field."""
        return Unsupported(words.get(self.field, self.field), self.where)


def unsupported(field: str, where: str) -> Unsupported:
    """The 400 for what a target cannot express."""
    return Unsupported(field, where)


def called(call_id: str, allowed: re.Pattern[str], prefix: str) -> str:
    """A tool call's id where not every id is allowed: the same for a call and its result."""
    if allowed.fullmatch(call_id):
        return call_id
    return prefix + hashlib.sha256(call_id.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def normal(request: Request) -> Request:
    """The same request with neighbours of one role joined, and what says nothing left out."""
    messages: list[Message] = []
    for message in request.messages:
        last = messages[-1] if messages else None
        if last is not None and (last.role, last.name) == (message.role, message.name):
            last.parts = [*last.parts, *message.parts]
        elif message.parts:
            messages.append(Message(message.role, list(message.parts), message.name))
    return msgspec.structs.replace(request, messages=messages)


_SEAL = "cr1."


class _Sealed(msgspec.Struct, omit_defaults=True):
    origin: str
    signature: str | None = None
    redacted: str | None = None
    id: str | None = None


def seal(part: Reasoning) -> str:
    """All of a Reasoning but its text, as one opaque string for a dialect that is not its maker's."""
    inside = _Sealed(part.origin, part.signature, part.redacted, part.id)
    return _SEAL + base64.urlsafe_b64encode(msgspec.json.encode(inside)).decode()


def unseal(sealed: str, text: str = "") -> Reasoning | None:
    """The Reasoning that was sealed; None for what this module did not seal (a maker's own signature)."""
    if not sealed.startswith(_SEAL):
        return None
    try:
        inside = msgspec.json.decode(base64.urlsafe_b64decode(sealed[len(_SEAL) :]), type=_Sealed)
    except (msgspec.MsgspecError, binascii.Error, ValueError, RecursionError):
        return None
    return Reasoning(text, inside.origin, inside.signature, inside.redacted, inside.id)
