"""What the relay asks of a client dialect. Pure: bytes and numbers in, bytes and numbers out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from relay.errors import RelayError
from relay.protocols import ir
from relay.protocols.fields import Fields
from relay.protocols.sse import Splitter

# A charge in USD as JSON writes it, for units.
CostOf = Callable[[dict[str, int]], str]


@dataclass(frozen=True, slots=True)
class Feature:
    """A field that changes what the upstream charges: priced by a unit, or by a price row, of its own: a tier.

    `of`: the unit whose price it changes: the tier counts only for models that have a price of that unit.
    """

    field: str
    unit: str | None = None
    tier: str | None = None
    of: str | None = None


@dataclass(frozen=True, slots=True)
class Media:
    """A part that is not text: "image", "audio", "file". `size` is the length of its base64, if it was sent along."""

    kind: str
    size: int | None = None


@dataclass(slots=True)
class Request:
    """What the relay needs to know of a request, whatever its dialect.

    `fields`: its top level, as it was sent. `choices` and `cap`: answers, and output tokens of each, that the client
    asked for. `output`: whether it makes output tokens at all. `text_bytes`, `messages`, `has_tools`, `media`: what
    bounds its input. `texts`: its text, for a tokenizer. `pieces`: the most of each unit that is charged by the piece
    (images, seconds, characters, searches), charged so unless the answer's units say otherwise. `hour_cache`: it asks
    for one-hour cache writes. `options`: what the dialect's own files remember.
    """

    dialect: str
    fields: Fields
    model: str
    stream: bool = False
    choices: int = 1
    cap: int | None = None
    output: bool = True
    messages: int = 0
    text_bytes: int = 0
    has_tools: bool = False
    media: list[Media] = field(default_factory=list)
    features: list[Feature] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    pieces: dict[str, int] = field(default_factory=dict)
    hour_cache: bool = False
    options: Any = None


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes, and what changes in it on the way.

    `model`: its name there. `cap`: output tokens we hold for, None where the client's own bound stands; `cap_field`:
    the field of OpenAI's chat completions that says so there. `stores`: it keeps conversations unless it is told not
    to. `default_cap`: for a dialect that must say how long an answer may be.
    """

    model: str
    cap: int | None = None
    cap_field: str = "max_tokens"
    stores: bool = False
    default_cap: int = 8_192


@dataclass(slots=True)
class Answer:
    """A whole answer that was read. `units` is None where it does not say what was used; `texts` are then what it said.

    `render(units, cost)` is what the client gets.
    """

    units: dict[str, int] | None
    texts: list[str]
    render: Callable[[dict[str, int], str], bytes]
    content_type: bytes = b"application/json"


class Progress(Protocol):
    """How far a streamed answer has come.

    `started`: data was seen. `finished`: every choice that began has its stop reason. `done`: the terminator was seen.
    `failed`: the upstream reported an error. `units`: the usage, once told. `texts`: what was said so far.
    """

    @property
    def started(self) -> bool: ...

    @property
    def finished(self) -> bool: ...

    @property
    def done(self) -> bool: ...

    @property
    def failed(self) -> bool: ...

    @property
    def units(self) -> dict[str, int] | None: ...

    @property
    def texts(self) -> list[str]: ...


class Reader(Progress, Protocol):
    """Reads a streamed answer event by event, and says what of each goes to the client at once."""

    def read(self, event: bytes) -> bytes:
        """What of an event (with the blank line that ends it) goes to the client now."""

    def read_rest(self, event: bytes) -> bytes:
        """The same for what a stream ended with, though nothing ended it: half an event is none."""

    def last(self, units: dict[str, int], cost: str) -> tuple[bytes, bytes]:
        """The end of the stream: what may go at once, and what waits for the charge to be committed."""


class Telling(Protocol):
    """A reader, or an encoder, whose dialect numbers its events, so that only it can say how a stream ends."""

    def error(self, error: RelayError) -> bytes:
        """An error as the stream's last event."""


class Keeping(Protocol):
    """A reader, or an encoder, of a dialect whose turns are stored: `output` are an answer's items, at its end."""

    output: list[msgspec.Raw]


class Decoder(Progress, Protocol):
    """The same for another dialect's stream: events become those of `relay.protocols.ir`."""

    def decode(self, event: bytes) -> list[ir.Event]:
        """What an event (with the blank line that ends it) means."""


class Encoder(Protocol):
    """Writes a streamed answer in a client's dialect."""

    def encode(self, event: ir.Event) -> bytes:
        """What goes to the client now; events that need the usage, or that end the stream, are kept for `last`."""

    def last(self, units: dict[str, int], cost: str) -> tuple[bytes, bytes]:
        """The end of the stream: what may go at once, and what waits for the charge to be committed."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """How a dialect meets others, in `relay.protocols.ir`. All may raise RelayError for what cannot be expressed.

    `answer_to_ir`: an upstream's body, or None where it is no answer. `answer_from_ir(answer, request, seed, cost)`:
    `request` is the client's own, `seed` is unique to this request (32 hexadecimal digits), for ids.
    `encoder(request, seed)`. `words`: what `from_ir` calls by a name of chat's → this dialect's own.
    """

    to_ir: Callable[[Request], ir.Request]
    from_ir: Callable[[ir.Request, Target], bytes]
    answer_to_ir: Callable[[bytes], ir.Answer | None]
    answer_from_ir: Callable[[ir.Answer, Request, str, str], bytes]
    decoder: Callable[[], Decoder]
    encoder: Callable[[Request, str], Encoder]
    words: Mapping[str, str] = field(default_factory=dict)


def never(*_: Any) -> Any:
    """What only a client would ask of a dialect that upstreams alone speak."""
    raise AssertionError


class Cutter(Protocol):
    """Cuts a byte stream into events."""

    def feed(self, data: bytes) -> list[bytes]:
        """The events that are complete now. May raise where the bytes cannot be cut."""

    def rest(self) -> bytes:
        """What is left when the stream has ended; empty where nothing is."""


def server_sent(_: Request) -> bytes:
    """The content type of server-sent events."""
    return b"text/event-stream; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Streaming:
    """How a dialect streams. `cutter`: what cuts an upstream's bytes into events. `content_type`: what the client gets,
    None: what the upstream says. `by_body`: the end of the body is the only sign that an answer is complete: the reader
    is then told by `read_rest`.
    """

    cutter: Callable[[], Cutter] = Splitter
    content_type: Callable[[Request], bytes] | None = server_sent
    by_body: bool = False


EVENTS = Streaming()


@dataclass(frozen=True, slots=True)
class Dialect:
    """A client dialect, or one that upstreams alone speak, of which nobody asks but its conversation and its cutter.

    `parse(body, path)`: a request; `path` is what the endpoint's path left open (a model, and an action).
    `body(request, target)`: the same request for an upstream that speaks this dialect.
    `read_answer(body, request)`: None where the body is no answer (an error in a 200, an empty body).
    `reader(request, cost_of)`: for a streamed answer.
    `conversation`: how it is converted; None where it never is. `streaming`: how its streams are cut and named.
    """

    name: str
    parse: Callable[[bytes, str], Request]
    body: Callable[[Request, Target], bytes]
    read_answer: Callable[[bytes, Request], Answer | None]
    reader: Callable[[Request, CostOf], Reader] | None = None
    conversation: Conversation | None = None
    streaming: Streaming = EVENTS
