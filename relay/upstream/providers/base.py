"""What the relay asks of a provider."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from urllib.parse import quote

from costrouter.lib.upstreams import DIALECTS, KINDS
from relay.protocols.fields import Fields

Headers = list[tuple[bytes, bytes]]
# What a dialect's requests carry unless the client says otherwise. Anthropic refuses a request without a version; this
# one still takes every field that our own conversions write.
DEFAULT_HEADERS: Mapping[str, Headers] = {
    "anthropic": [(b"anthropic-version", b"2023-06-01")],
    "anthropic_count": [(b"anthropic-version", b"2023-06-01")],
}

# Dialects that belong to a conversation's: who is not asked in the one has not the other.
COMPANIONS = {"responses_compact": "responses", "anthropic_count": "anthropic", "gemini_count": "gemini"}


class Fault(Enum):
    """Whose fault an upstream's error answer is.

    CLIENT: passes through, nothing is retried. OPERATOR: never passes through, for it may echo a secret; retried.
    """

    CLIENT = "client"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Call:
    """A request as it goes out, for what depends on all of it: a path with the model in it, a signature over the body.

    `dialect`: what the body is written in. `action`: what the dialect's path leaves open (Gemini's
    `streamGenerateContent`, the rest of a video's path), "" where nothing or where `stream` says it. `base_url` and
    `credentials`: the channel's. `version`: the client's `anthropic-version`, "" where it sent none.
    """

    base_url: str
    dialect: str
    model: str
    stream: bool = False
    action: str = ""
    credentials: str = field(default="", repr=False)
    version: str = ""


def join(base_url: str, path: str) -> str:
    """A path under a base URL."""
    return base_url.rstrip("/") + path


def root(base_url: str, *versions: str) -> str:
    """A base URL without the version that some write at its end, for providers whose SDKs add it themselves."""
    url = base_url.rstrip("/")
    for version in versions:
        url = url.removesuffix("/" + version)
    return url


def segment(text: str, safe: str = "") -> str:
    """A text as part of a path."""
    return quote(text, safe=safe)


def bearer(credentials: str) -> Headers:
    """`Authorization: Bearer`, or nothing for a server that asks for no key."""
    return [(b"authorization", b"Bearer " + credentials.encode())] if credentials else []


@dataclass(frozen=True, slots=True)
class Provider:
    """An upstream kind; its row in `costrouter.lib.upstreams.KINDS` says what an operator may choose.

    `paths`: every dialect it serves (conversations, "embeddings", "rerank", …) → path under the channel's base URL.
    `headers`: credentials → authentication headers. `output_cap`: the field of a chat completion that limits its output
    tokens. `fault`: status and body → whose fault. `stores`: it keeps conversations unless it is told not to. `tiers`:
    service tiers it honours, beside its standard.

    Where paths and headers are not enough: `url` makes the URL from the call, ready to be sent as it is; `sign` makes
    the authentication headers of one request from (credentials, method, URL, body), and replaces `headers` (ValueError:
    unusable credentials); `shape` changes the body's top level; `cap_at` makes the field from the base URL; `spoken`
    says what dialects a model (by its name there) is asked in, where that differs between models.
    """

    name: str
    paths: Mapping[str, str]
    headers: Callable[[str], Headers]
    output_cap: str
    fault: Callable[[int, bytes], Fault]
    stores: bool = False
    tiers: frozenset[str] = field(default_factory=frozenset)
    url: Callable[[Call], str] | None = None
    sign: Callable[[str, str, str, bytes], Headers] | None = None
    shape: Callable[[Call, Fields], Fields] | None = None
    cap_at: Callable[[str], str] | None = None
    spoken: Callable[[str], tuple[str, ...]] | None = None

    @property
    def dialects(self) -> tuple[str, ...]:
        """The conversation dialects its channels are asked in unless they say otherwise, the best first."""
        return KINDS[self.name].dialects

    def dialects_for(self, model: str, chosen: tuple[str, ...]) -> tuple[str, ...]:
        """What of a channel's dialects one of its models (by its name there) is asked in."""
        if self.spoken is None:
            return chosen
        spoken = self.spoken(model)
        return tuple(name for name in chosen if name in spoken)

    def serves(self, dialect: str, model: str, chosen: tuple[str, ...]) -> bool:
        """Whether a channel with these dialects takes a request for a model (by its name there) in a dialect."""
        if dialect not in self.paths:
            return False
        conversation = COMPANIONS.get(dialect, dialect)
        return conversation not in DIALECTS or conversation in self.dialects_for(model, chosen)

    def url_of(self, call: Call) -> str:
        """Where a request goes."""
        return self.url(call) if self.url is not None else join(call.base_url, self.paths[call.dialect])

    def headers_of(self, call: Call) -> Headers:
        """What a request carries unless the client's own headers say otherwise: authentication, and a version."""
        own = [] if self.sign is not None else self.headers(call.credentials)
        return [*DEFAULT_HEADERS.get(call.dialect, ()), *own]

    def cap_field(self, base_url: str) -> str:
        """The field of a chat completion that limits output tokens there."""
        return self.cap_at(base_url) if self.cap_at is not None else self.output_cap

    def keeps(self, dialect: str) -> bool:
        """Whether a request is kept there unless it says `store: false`: responses are, wherever they are spoken."""
        return self.stores or dialect == "responses"
