"""What the relay asks of a provider."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from relay.protocols.fields import Fields

Headers = list[tuple[bytes, bytes]]


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
    `streamGenerateContent`), "" where nothing. `base_url`: the channel's.
    """

    base_url: str
    dialect: str
    model: str
    stream: bool = False
    action: str = ""


def join(base_url: str, path: str) -> str:
    """A path under a base URL."""
    return base_url.rstrip("/") + path


@dataclass(frozen=True, slots=True)
class Provider:
    """An upstream kind.

    `dialects`: the conversation dialects it speaks, the best first ("chat", "responses", "anthropic", "gemini",
    "bedrock"); a channel may name fewer or others. `paths`: every dialect it serves (conversations, "embeddings",
    "rerank", …) → path under the channel's base URL. `headers`: credentials → authentication headers. `output_cap`:
    the field of a chat completion that limits its output tokens. `fault`: status and body → whose fault.
    `stores`: it keeps conversations unless it is told not to. `tiers`: service tiers it honours, beside its standard.

    Where paths and headers are not enough: `url` makes the URL from the call; `sign` makes the authentication headers
    of one request from (credentials, method, URL, body), and replaces `headers`; `shape` changes the body's top level.
    """

    name: str
    paths: Mapping[str, str]
    headers: Callable[[str], Headers]
    output_cap: str
    fault: Callable[[int, bytes], Fault]
    dialects: tuple[str, ...] = ("chat",)
    stores: bool = False
    tiers: frozenset[str] = field(default_factory=frozenset)
    url: Callable[[Call], str] | None = None
    sign: Callable[[str, str, str, bytes], Headers] | None = None
    shape: Callable[[Call, Fields], Fields] | None = None

    def url_of(self, call: Call) -> str:
        """Where a request goes."""
        return self.url(call) if self.url is not None else join(call.base_url, self.paths[call.dialect])
