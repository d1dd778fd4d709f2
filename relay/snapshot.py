"""What a web process knows: routing and prices as one immutable object, kept fresh by a polling thread."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django.db import close_old_connections, connection

from accounts import changes
from accounts.models import ConfigChange
from billing import selectors as prices_of
from billing.pricing.rates import PriceInfo, Rates, compile_rates
from channels_app import snapshot as routing
from channels_app.snapshot import RoutingSnapshot

log = logging.getLogger(__name__)
Kind = ConfigChange.Kind
POLL_SECONDS = 0.4
STALE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Routing and prices at a version."""

    version: int
    routing: RoutingSnapshot
    prices: Mapping[str, list[PriceInfo]]
    _rates: dict[tuple[int, Decimal], Rates] = field(default_factory=dict)

    def price(self, model_name: str, tier: str, at: datetime) -> PriceInfo | None:
        """The price of a model and service tier that is in force at a moment."""
        for price in self.prices.get(model_name, ()):
            if price.tier == tier and price.effective_from <= at:
                return price
        return None

    def rates(self, price: PriceInfo, rate: Decimal) -> Rates:
        """A price with a rate, compiled once for each snapshot."""
        key = (price.id, rate)
        found = self._rates.get(key)
        if found is None:
            found = self._rates[key] = compile_rates(price, rate)
        return found


def load() -> Snapshot:
    """Everything from the database. The version is read first: a change that comes between is fetched again."""
    version = changes.current_version()
    return Snapshot(version=version, routing=routing.load(), prices=prices_of.prices())


class Poller:
    """Polls the version and fetches what changed. `current` is always a whole snapshot.

    `on_keys` is told, on the polling thread, which keys, users and organizations changed; None: anything may have.
    """

    def __init__(self, *, on_keys: Callable[[list[tuple[str, str]] | None], None]) -> None:
        self.current = load()
        self._on_keys = on_keys
        self._stop = threading.Event()
        self._polled = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="snapshot", daemon=True)

    def start(self) -> None:
        """Start polling."""
        self._thread.start()

    def close(self) -> None:
        """Stop polling."""
        self._stop.set()
        self._thread.join(timeout=5)

    @property
    def stale(self) -> bool:
        """Whether the database has not answered for so long that a cached key must be checked against it."""
        return time.monotonic() - self._polled > STALE_SECONDS

    def poll(self) -> None:
        """Fetch what changed since the current snapshot."""
        before = self.current
        if changes.current_version() != before.version:
            self._fetch(before)
        self._polled = time.monotonic()

    def _fetch(self, before: Snapshot) -> None:
        listed = changes.changes_since(before.version)
        if listed is None:
            self.current = load()
            self._on_keys(None)
            return
        ids: dict[str, set[str]] = {}
        version = before.version
        for number, kind, object_id in listed:
            ids.setdefault(kind, set()).add(object_id)
            version = number
        keys = [(str(kind), n) for kind in (Kind.API_KEY, Kind.USER, Kind.ORGANIZATION) for n in ids.get(kind, ())]
        route = before.routing
        channels, models, groups = (
            {int(number) for number in ids.get(kind, ())} for kind in (Kind.CHANNEL, Kind.MODEL, Kind.GROUP)
        )
        if channels or models or groups:
            route = routing.refresh(route, channel_ids=channels, model_ids=models, group_ids=groups)
        prices = before.prices
        if names := ids.get(Kind.PRICE):
            prices = {**{n: p for n, p in prices.items() if n not in names}, **prices_of.prices(model_names=names)}
        self.current = Snapshot(version=version, routing=route, prices=prices)
        if keys:
            self._on_keys(keys)

    def _run(self) -> None:
        wait = _redis_wait() or self._stop.wait
        while not self._stop.is_set():
            try:
                self.poll()
            except Exception as error:
                log.warning("snapshot: polling failed: %s: %s", type(error).__name__, str(error)[:200])
                close_old_connections()
            wait(POLL_SECONDS)
        connection.close()


def _redis_wait() -> Callable[[float], Any] | None:
    """A wait that ends early when a change is pushed over Redis; None where there is no Redis."""
    client = changes.redis_client()
    if client is None:
        return None
    pubsub = client.pubsub(ignore_subscribe_messages=True)
    subscribed = False

    def wait(seconds: float) -> None:
        nonlocal subscribed
        deadline = time.monotonic() + seconds
        try:
            if not subscribed:
                pubsub.subscribe(changes.REDIS_CHANNEL)
                subscribed = True
            while (left := deadline - time.monotonic()) > 0:
                if pubsub.get_message(timeout=left) is not None:
                    return
        except Exception as error:
            log.debug("snapshot: Redis is away, polling goes on: %s", type(error).__name__)
            subscribed = False
            time.sleep(max(0.0, deadline - time.monotonic()))

    return wait


def utc_now() -> datetime:
    """This moment."""
    return datetime.now(UTC)
