"""What a store of rate limits is: `local` counts in this process, `redis` for all web processes.

Both count the same way. Requests and tokens are counted in a sliding window: what was admitted at t counts until
t + 60 s, so no 60 seconds ever hold more than the limit. All checks of a request are made and counted in one step, all
or none. What is refused does not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

REQUESTS: Literal["requests"] = "requests"
TOKENS: Literal["tokens"] = "tokens"
CONCURRENT: Literal["concurrent"] = "concurrent"
Kind = Literal["requests", "tokens", "concurrent"]

WINDOW_MS = 60_000
# What a request that must wait for another to end is told: nobody knows when that will be.
CONCURRENT_WAIT_MS = 1_000


@dataclass(frozen=True, slots=True)
class Check:
    """A limit of an owner (such as "key:7") of an organization, and its number."""

    kind: Kind
    organization_id: int
    owner: str
    limit: int


@dataclass(frozen=True, slots=True)
class State:
    """How a limit stands after a request was admitted or refused, in milliseconds from now.

    `reset_ms`: when nothing counts any more. `wait_ms`: None where the limit had room for the request, else when it
    will; -1 where the request alone is more than the limit.
    """

    used: int
    reset_ms: int
    wait_ms: int | None


class Store(Protocol):
    """Counts. A request is admitted where no state has a `wait_ms`, and must then be released."""

    async def admit(self, request: str, checks: Sequence[Check], tokens: int) -> list[State]:
        """Count a request (an id of its own) in all checks, or in none. `tokens`: at least 1."""

    def release(self, request: str, checks: Sequence[Check], reserved: int, used: int | None) -> None:
        """The request is over: its slots are free, and its tokens are `used`, or `reserved` where that is None.

        Tokens saved are given back where they were counted; more than reserved counts from now on.
        """
