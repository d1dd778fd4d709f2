"""What a web process keeps while it serves: snapshot, keys, writer, upstream sessions, open requests."""

from __future__ import annotations

import asyncio
import gc
import logging
from typing import Protocol

from django.conf import settings
from django.db import connections

from billing.tasks import settle
from billing.writing.writer import Writer
from relay.entry.auth import KeyCache
from relay.entry.limits.admission import Limits
from relay.exchange.capture import Refusals
from relay.routing.health import Recorder
from relay.snapshot import Poller, Snapshot
from relay.upstream.connections import Upstreams

log = logging.getLogger(__name__)


class Exchange(Protocol):
    """A request that is being served by an upstream."""

    def cut(self) -> None:
        """End it now: it is captured for what it delivered."""


class Runtime:
    """Started and stopped by the server's lifespan."""

    def __init__(self, *, keys: KeyCache, poller: Poller, writer: Writer) -> None:
        self.keys = keys
        self.poller = poller
        self.writer = writer
        self.refusals = Refusals(writer)
        self.upstreams = Upstreams()
        self.limits = Limits(settings.REDIS_URL or None)
        self.health = Recorder()
        self.exchanges: set[Exchange] = set()
        self.draining = False

    @property
    def snapshot(self) -> Snapshot:
        """Routing and prices, now."""
        return self.poller.current

    @property
    def ready(self) -> bool:
        """Whether new requests can be served: not draining, the database answers, the writer writes."""
        return not self.draining and self.writer.healthy and not self.poller.stale

    @classmethod
    async def start(cls) -> Runtime:
        """A runtime that serves. Raises where the database cannot be reached."""
        loop = asyncio.get_running_loop()
        keys = KeyCache()
        # Django refuses to read the database on the event loop; the upstream sessions belong to it.
        poller = await asyncio.to_thread(_load_poller, keys)
        writer = Writer(nudge=_nudge)
        await asyncio.to_thread(writer.start, loop)
        runtime = cls(keys=keys, poller=poller, writer=writer)
        poller.start()
        runtime.health.start()
        gc.collect()
        gc.freeze()
        return runtime

    async def drain(self, seconds: float) -> None:
        """Let open requests go on for up to `seconds`, then cut what is left."""
        self.draining = True
        deadline = asyncio.get_running_loop().time() + seconds
        while self.exchanges and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        for exchange in list(self.exchanges):
            exchange.cut()

    async def stop(self) -> None:
        """Commit what is waiting and close everything."""
        await self.drain(0)
        for _ in range(200):
            if not self.exchanges:
                break
            await asyncio.sleep(0.05)
        if not await asyncio.to_thread(self.writer.close):
            log.error("the writer did not finish; its open holds are swept when its lease expires")
        await asyncio.to_thread(self.health.close)
        await asyncio.to_thread(self.poller.close)
        await self.upstreams.close()
        await self.limits.close()


def _load_poller(keys: KeyCache) -> Poller:
    try:
        poller = Poller(on_keys=keys.drop)
        keys.is_stale = lambda: poller.stale
        return poller
    finally:
        connections.close_all()


def _nudge() -> None:
    settle.apply_async(expires=1, retry=False)
