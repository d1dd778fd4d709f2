"""Rate limits of keys and organizations: requests and tokens a minute, and requests at the same time.

None is set by default, and then nothing is counted. A request is admitted by all limits of its key and its organization
at once, or refused with 429, which costs nothing and does not count.

**Tokens.** A request counts with an estimate of its input (`estimated_tokens`) until it is over, then with what it
used, input and output. The output that a client allows is not reserved, though some providers do: clients allow the
most there is, and few answers are that long. So answers under way may exceed the limit; what they used then keeps the
next out.

**Where.** With Redis, limits hold for all web processes together; without, for this one. While Redis is away requests
are served under the limits of this process alone, which is logged; Redis is asked again every second.
"""

from __future__ import annotations

import itertools
import logging
import os
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from accounts.selectors import KeyInfo, RateLimits
from relay.entry.limits.local import LocalStore
from relay.entry.limits.redis import RedisStore
from relay.entry.limits.stores import CONCURRENT, REQUESTS, TOKENS, Check, State, Store
from relay.errors import RelayError

log = logging.getLogger(__name__)
Header = tuple[bytes, bytes]
ANTHROPIC = "anthropic"
# How long a Redis that failed is left alone.
AWAY_SECONDS = 1.0
_PER_MESSAGE = 4
_WHAT = {REQUESTS: "requests a minute", TOKENS: "tokens a minute", CONCURRENT: "requests at the same time"}


def estimated_tokens(*, text_bytes: int, messages: int) -> int:
    """The tokens a request counts with while it is under way: four bytes of text a token, and four tokens a message."""
    return max(1, -(-text_bytes // 4) + messages * _PER_MESSAGE)


class Admission:
    """A request that is under way. `release` must be called once it is over, whatever became of it."""

    __slots__ = ("_checks", "_request", "_reserved", "_states", "_store")

    def __init__(
        self, store: Store | None, request: str, checks: Sequence[Check], reserved: int, states: Sequence[State]
    ) -> None:
        self._store = store
        self._request = request
        self._checks = checks
        self._reserved = reserved
        self._states = states

    def release(self, used_tokens: int | None) -> None:
        """The request is over, and used so many tokens, input and output; None: nobody knows, the estimate stands.

        Does not wait. A second call does nothing.
        """
        store, self._store = self._store, None
        if store is not None:
            store.release(self._request, self._checks, self._reserved, used_tokens)

    def headers(self, family: str) -> list[Header]:
        """What an answer says of the limits, of each kind the one with the least left. See `_headers`."""
        return _headers(self._checks, self._states, family) if self._checks else []


# What every request gets where no limit is set.
FREE = Admission(None, "", (), 0, ())


class Limits:
    """The limits of this process, or of all that share a Redis. Used on the event loop alone.

    `clock` (seconds) stands in for every clock, Redis's too.
    """

    def __init__(self, redis_url: str | None, *, clock: Callable[[], float] | None = None) -> None:
        self._clock = clock or time.monotonic
        self.local = LocalStore(self._clock)
        self.shared = RedisStore(redis_url, clock) if redis_url else None
        self._away_until: float | None = None
        # Requests are told apart across processes.
        self._process = os.urandom(8).hex()
        self._numbers = itertools.count()

    async def admit(self, key: KeyInfo, *, tokens: int, family: str = "openai") -> Admission:
        """Admit a request that counts with `tokens` until it is over. Raises `rate_limit_exceeded`.

        `family`: whose headers the client reads, "openai", "anthropic" or "gemini".
        """
        if key.limits is None and key.organization_limits is None:
            return FREE
        checks = _checks(key)
        request = f"{self._process}-{next(self._numbers)}"
        tokens = max(1, tokens)
        store: Store = self.local
        if self.shared is not None and (states := await self._ask(self.shared, request, checks, tokens)) is not None:
            store = self.shared
        else:
            states = await self.local.admit(request, checks, tokens)
        if any(state.wait_ms is not None for state in states):
            raise _refusal(checks, states, tokens, family)
        return Admission(store, request, checks, tokens, states)

    async def _ask(self, shared: RedisStore, request: str, checks: list[Check], tokens: int) -> list[State] | None:
        """What Redis says; None while it is away."""
        from redis.exceptions import RedisError

        if self._away_until is not None and self._clock() < self._away_until:
            return None
        try:
            states = await shared.admit(request, checks, tokens)
        except (RedisError, OSError) as error:
            if self._away_until is None:
                log.warning("rate limits: Redis is away, each process counts for itself: %s", type(error).__name__)
            self._away_until = self._clock() + AWAY_SECONDS
            return None
        if self._away_until is not None:
            log.warning("rate limits: Redis is back")
            self._away_until = None
        return states

    async def close(self) -> None:
        """Close what is open."""
        if self.shared is not None:
            await self.shared.close()


def _checks(key: KeyInfo) -> list[Check]:
    owners: tuple[tuple[str, RateLimits | None], ...] = (
        (f"key:{key.id}", key.limits),
        ("organization", key.organization_limits),
    )
    return [
        Check(kind, key.organization_id, owner, limit)
        for owner, limits in owners
        if limits is not None
        for kind, limit in (
            (REQUESTS, limits.requests_per_minute),
            (TOKENS, limits.tokens_per_minute),
            (CONCURRENT, limits.concurrent_requests),
        )
        if limit is not None
    ]


def _refusal(checks: Sequence[Check], states: Sequence[State], tokens: int, family: str) -> RelayError:
    """The error of a request that was not admitted: it names the limit that takes longest to have room."""
    refusing = [(check, state) for check, state in zip(checks, states, strict=True) if state.wait_ms is not None]
    hopeless = [pair for pair in refusing if pair[1].wait_ms == -1]
    check, state = hopeless[0] if hopeless else max(refusing, key=lambda pair: pair[1].wait_ms or 0)
    whose = "organization" if check.owner == "organization" else "API key"
    message = f"Rate limit reached: this {whose} is limited to {check.limit:,} {_WHAT[check.kind]}"
    headers = {name.decode(): value.decode() for name, value in _headers(checks, states, family)}
    if hopeless:
        headers |= {"retry-after": "60", "x-should-retry": "false"}
        message += f"; this request alone counts {tokens:,}. Shorten it."
    else:
        seconds = max(1, -(-(state.wait_ms or 0) // 1000))
        headers["retry-after"] = str(seconds)
        message += f"; {state.used:,} are used. Try again in {seconds} s."
    return RelayError("rate_limit_exceeded", message, headers=headers)


def _headers(checks: Sequence[Check], states: Sequence[State], family: str) -> list[Header]:
    """OpenAI's `x-ratelimit-{limit,remaining,reset}-{requests,tokens}`; for Anthropic's clients its own names as well:
    `anthropic-ratelimit-{requests,tokens}-{limit,remaining,reset}`. A reset is the time ("12.5s"; Anthropic: the
    moment) at which the whole limit is free again. There is no header for requests at the same time.

    Source: both makers' documentation of rate limits.
    """
    found: list[Header] = []
    for kind in (REQUESTS, TOKENS):
        pairs = [(check, state) for check, state in zip(checks, states, strict=True) if check.kind == kind]
        if not pairs:
            continue
        check, state = min(pairs, key=lambda pair: pair[0].limit - pair[1].used)
        values = (b"%d" % check.limit, b"%d" % max(0, check.limit - state.used))
        name = kind.encode()
        found += [
            (b"x-ratelimit-limit-" + name, values[0]),
            (b"x-ratelimit-remaining-" + name, values[1]),
            (b"x-ratelimit-reset-" + name, f"{state.reset_ms / 1000:g}s".encode()),
        ]
        if family == ANTHROPIC:
            moment = datetime.fromtimestamp(time.time() + state.reset_ms / 1000, UTC)
            found += [
                (b"anthropic-ratelimit-" + name + b"-limit", values[0]),
                (b"anthropic-ratelimit-" + name + b"-remaining", values[1]),
                (b"anthropic-ratelimit-" + name + b"-reset", f"{moment:%Y-%m-%dT%H:%M:%SZ}".encode()),
            ]
    return found
