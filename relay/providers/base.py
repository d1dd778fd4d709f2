"""What the relay asks of a provider."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum


class Fault(Enum):
    """Whose fault an upstream's error answer is.

    CLIENT: passes through, nothing is retried. OPERATOR: never passes through, for it may echo a secret; retried.
    """

    CLIENT = "client"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Provider:
    """An upstream kind.

    `paths`: endpoint dialect → path under the channel's base URL. `headers`: credentials → authentication headers.
    `output_cap`: the field of a chat request that limits its output tokens. `fault`: status and body → whose fault.
    `stores`: it keeps conversations unless it is told not to. `tiers`: service tiers it honours, beside its standard.
    """

    name: str
    paths: dict[str, str]
    headers: Callable[[str], list[tuple[bytes, bytes]]]
    output_cap: str
    fault: Callable[[int, bytes], Fault]
    stores: bool = False
    tiers: frozenset[str] = frozenset()

    def url(self, base_url: str, dialect: str) -> str:
        """Where requests of a dialect go."""
        return base_url.rstrip("/") + self.paths[dialect]
