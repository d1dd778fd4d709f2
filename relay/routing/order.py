"""In which order channels are tried."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import groupby

from channels_app.snapshot import ChannelInfo

MAX_ATTEMPTS = 3


def order(channels: tuple[ChannelInfo, ...], *, first: int | None = None) -> Iterator[ChannelInfo]:
    """The channels to try, at most three: the highest priority first, within a priority by chance and weight.

    `first`: a channel that comes before all others, where it is among them.
    """
    if len(channels) == 1:
        yield channels[0]
        return
    left = MAX_ATTEMPTS
    if first is not None and (preferred := next((c for c in channels if c.id == first), None)) is not None:
        yield preferred
        left -= 1
        channels = tuple(channel for channel in channels if channel is not preferred)
    for _, tier in groupby(channels, key=lambda channel: channel.priority):
        waiting = list(tier)
        while waiting:
            # A weight of 0 is a spare: used when no other of its priority is left.
            weights = [channel.weight for channel in waiting]
            chosen = random.choices(waiting, weights)[0] if any(weights) else random.choice(waiting)
            yield chosen
            left -= 1
            if not left:
                return
            waiting.remove(chosen)
