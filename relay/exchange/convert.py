"""How a channel is asked: in the client's own dialect, or through `relay.protocols.ir` in the nearest it speaks."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import ClassVar, Protocol, cast

import msgspec

from channels_app.snapshot import ChannelInfo
from relay.entry.multipart import Upload
from relay.errors import RelayError
from relay.protocols import DIALECTS, ir
from relay.protocols.base import (
    EVENTS,
    Answer,
    Conversation,
    CostOf,
    Decoder,
    Dialect,
    Encoder,
    Keeping,
    Reader,
    Request,
    Streaming,
    Target,
)
from relay.protocols.embeddings.convert import CONVERSIONS as EMBEDDINGS
from relay.protocols.embeddings.convert import Pair
from relay.upstream.providers import PROVIDERS, Provider

# For a client dialect, the others from the nearest on: Responses carries reasoning that chat cannot.
NEAREST: dict[str, tuple[str, ...]] = {
    "chat": ("responses", "anthropic", "gemini", "bedrock"),
    "responses": ("chat", "anthropic", "gemini", "bedrock"),
    "anthropic": ("bedrock", "responses", "chat", "gemini"),
    "gemini": ("chat", "responses", "anthropic", "bedrock"),
}


@dataclass(slots=True)
class _Speaking:
    """A way that `dialect` is spoken in, to serve the client's own `request`."""

    dialect: Dialect
    request: Request

    @property
    def spoken(self) -> str:
        return self.dialect.name

    @property
    def streaming(self) -> Streaming:
        return self.dialect.streaming


class Passing(_Speaking):
    """The client's own dialect: the body goes on as bytes, with only what must change changed."""

    __slots__ = ()
    converts = False

    def body(self, target: Target) -> bytes | Upload:
        """The body for an upstream."""
        return self.dialect.body(self.request, target)

    def read_answer(self, body: bytes) -> Answer | None:
        """An upstream's whole answer."""
        return self.dialect.read_answer(body, self.request)

    def reader(self, cost_of: CostOf) -> Reader:
        """A reader of an upstream's streamed answer."""
        assert self.dialect.reader is not None
        return self.dialect.reader(self.request, cost_of)


@dataclass(slots=True)
class Converting(_Speaking):
    """Another dialect: what the client asked is written in it, and its answer in the client's."""

    asked: ir.Request
    seed: str
    converts: ClassVar[bool] = True

    def body(self, target: Target) -> bytes:
        """The body for an upstream. Raises RelayError for what it cannot express, in the client's words."""
        try:
            return _conversation(self.dialect).from_ir(self.asked, target)
        except ir.Unsupported as error:
            raise error.in_words(_conversation(DIALECTS[self.request.dialect]).words) from None

    def read_answer(self, body: bytes) -> Answer | None:
        """An upstream's whole answer, to be rendered in the client's dialect."""
        answer = _conversation(self.dialect).answer_to_ir(body)
        if answer is None:
            return None
        answer.created = answer.created or int(time.time())
        client = _conversation(DIALECTS[self.request.dialect])

        def render(units: dict[str, int], cost: str) -> bytes:
            answer.units = units
            return client.answer_from_ir(answer, self.request, self.seed, cost)

        return Answer(answer.units, answer.texts(), render)

    def reader(self, _: CostOf) -> Reader:
        """A reader of an upstream's streamed answer that writes the client's dialect."""
        client = _conversation(DIALECTS[self.request.dialect])
        return ConvertingReader(_conversation(self.dialect).decoder(), client.encoder(self.request, self.seed))


@dataclass(slots=True)
class Embedding:
    """Embeddings in another dialect. Never streamed."""

    spoken: str
    request: Request
    pair: Pair
    converts: bool = True

    def body(self, target: Target) -> bytes:
        """The body for an upstream. Raises RelayError for what it cannot express."""
        return self.pair.body(self.request, target)

    def read_answer(self, body: bytes) -> Answer | None:
        """An upstream's answer, to be rendered in the client's dialect."""
        return self.pair.read_answer(body, self.request)

    def reader(self, cost_of: CostOf) -> Reader:
        """There is none: an embedding is no stream."""
        raise AssertionError

    @property
    def streaming(self) -> Streaming:
        return EVENTS


class Way(Protocol):
    """How a channel is asked. `spoken`: the dialect of what it gets; `converts`: it is not the client's own."""

    @property
    def spoken(self) -> str: ...

    @property
    def converts(self) -> bool: ...

    @property
    def streaming(self) -> Streaming: ...

    def body(self, target: Target) -> bytes | Upload: ...

    def read_answer(self, body: bytes) -> Answer | None: ...

    def reader(self, cost_of: CostOf) -> Reader: ...


class ConvertingReader:
    """One dialect's decoder and another's encoder, as a reader. See `relay.protocols.base.Reader`."""

    __slots__ = ("_decoder", "encoder")

    def __init__(self, decoder: Decoder, encoder: Encoder) -> None:
        self._decoder = decoder
        self.encoder = encoder

    @property
    def started(self) -> bool:
        return self._decoder.started

    @property
    def finished(self) -> bool:
        return self._decoder.finished

    @property
    def done(self) -> bool:
        return self._decoder.done

    @property
    def failed(self) -> bool:
        return self._decoder.failed

    @property
    def units(self) -> dict[str, int] | None:
        return self._decoder.units

    @property
    def texts(self) -> list[str]:
        return self._decoder.texts

    @property
    def output(self) -> list[msgspec.Raw]:
        return cast(Keeping, self.encoder).output

    def read(self, event: bytes) -> bytes:
        """What an event says, in the client's dialect."""
        encode = self.encoder.encode
        out = b""
        for said in self._decoder.decode(event):
            if type(said) is ir.Start and not said.created:
                said.created = int(time.time())
            out += encode(said)
        return out

    def read_rest(self, event: bytes) -> bytes:
        """Half an event decodes to nothing."""
        return self.read(event)

    def last(self, units: dict[str, int], cost: str) -> tuple[bytes, bytes]:
        """The end of the stream in the client's dialect."""
        return self.encoder.last(units, cost)


def _conversation(dialect: Dialect) -> Conversation:
    assert dialect.conversation is not None
    return dialect.conversation


def is_native(channel: ChannelInfo, dialect: str, model: str) -> bool:
    """Whether a channel takes a request for a model (by the name that clients use) in a dialect."""
    return PROVIDERS[channel.provider].serves(dialect, channel.models[model], channel.dialects)


def ways(request: Request, channels: tuple[ChannelInfo, ...], *, seed: str) -> dict[int, Way]:
    """How each channel is asked, by its id; a channel that cannot be asked this is left out.

    Raises RelayError where none can: what the first of them could not express, or that none serves this endpoint.
    """
    found: dict[int, Way] = {}
    own = Passing(DIALECTS[request.dialect], request)
    tried: dict[tuple[str, str], Way | RelayError] = {}
    problem: RelayError | None = None
    for channel in channels:
        if is_native(channel, request.dialect, request.model):
            found[channel.id] = own
            continue
        for name in _others(
            PROVIDERS[channel.provider], request.dialect, channel.models[request.model], channel.dialects
        ):
            there = name, channel.models[request.model]
            if there not in tried:
                tried[there] = _convert(request, *there, seed)
            way = tried[there]
            if not isinstance(way, RelayError):
                found[channel.id] = way
                break
            problem = problem or way
    if not found:
        raise problem or RelayError(
            "unsupported_endpoint", f"No channel of {request.model} serves this endpoint.", param="model"
        )
    return found


def can_be_asked(provider: Provider, dialect: str, model: str, chosen: tuple[str, ...]) -> bool:
    """Whether a channel with these dialects takes requests of a client dialect at all, in it or in another.

    `model`: by its name there. What a single request asks may still not be expressible.
    """
    return provider.serves(dialect, model, chosen) or bool(_others(provider, dialect, model, chosen))


def _others(provider: Provider, dialect: str, model: str, chosen: tuple[str, ...]) -> list[str]:
    """The other dialects in which a channel could be asked for a model (by its name there), the nearest first."""
    if dialect in NEAREST:
        spoken = provider.dialects_for(model, chosen)
        return [name for name in NEAREST[dialect] if name in spoken]
    return [name for own, name in EMBEDDINGS if own == dialect and name in provider.paths]


def _convert(request: Request, name: str, model: str, seed: str) -> Way | RelayError:
    """A request in another dialect for a model, or why it cannot be said there."""
    try:
        way = _converting(request, name, seed)
        way.body(Target(model=model))
    except RelayError as error:
        return error
    return way


def _converting(request: Request, name: str, seed: str) -> Converting | Embedding:
    if (pair := EMBEDDINGS.get((request.dialect, name))) is not None:
        return Embedding(name, request, pair)
    return Converting(DIALECTS[name], request, _conversation(DIALECTS[request.dialect]).to_ir(request), seed)
