"""What travels with a request through the pipeline."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from billing.pricing.rates import PriceInfo, Rates
from channels_app.snapshot import ChannelInfo
from relay.endpoints import Endpoint
from relay.entry.auth import Caller
from relay.entry.limits.admission import FREE, Admission
from relay.exchange.convert import Way
from relay.protocols.base import Request
from relay.routing.resolve import Route


@dataclass(slots=True)
class Context:
    """One request. Filled from top to bottom as it moves on; times are of the monotonic clock.

    `keep`: told of a complete answer (its body, or the items that a stream brought) before its end is delivered.
    `first_channel`: the one to try first, where it serves the request. `size`: bytes of the body that was read.
    """

    request_id: str
    endpoint: Endpoint
    headers: dict[bytes, bytes]
    client_ip: str
    receive: Any
    send: Any
    query: str = ""
    started: float = field(default_factory=time.monotonic)
    created_at: str = ""
    caller: Caller | None = None
    model: str = ""
    request: Request | None = None
    size: int = 0
    ways: dict[int, Way] = field(default_factory=dict)
    route: Route | None = None
    price: PriceInfo | None = None
    rates: Rates | None = None
    input_bound: int = 0
    admission: Admission = FREE
    keep: Callable[[bytes | list[msgspec.Raw]], Awaitable[None]] | None = None
    first_channel: int | None = None
    granted: int | None = None
    cap: int | None = None
    channel: ChannelInfo | None = None
    attempts: list[dict[str, Any]] = field(default_factory=list)
    first_byte: float | None = None
    streamed: bool = False
    response_started: bool = False
    finished: bool = False

    def elapsed_ms(self, until: float | None = None) -> int:
        """Milliseconds since the request came in."""
        return int(((until if until is not None else time.monotonic()) - self.started) * 1000)
