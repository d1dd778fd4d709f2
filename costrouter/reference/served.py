"""A model that the examples may name, so that they work here: this site may serve none of those that they know."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import datetime

from billing.models import Price
from channels_app.snapshot import RoutingSnapshot
from costrouter.reference import guides
from relay.snapshot import Snapshot, utc_now

GROUP = "default"
EXAMPLE = guides.CHAT.doc.models[0]


def model_for_examples() -> str:
    """A model's name, or "" where the example's own will do. Reads what this process knows: no database is asked."""
    snapshot = _snapshot()
    return choose(snapshot, utc_now()) if snapshot is not None else ""


def _snapshot() -> Snapshot | None:
    """What the relay of this process knows; None where there is none, as in a command."""
    server = sys.modules.get("costrouter.asgi")
    runtime = server.application.runtime if server is not None else None
    return runtime.snapshot if runtime is not None else None


def choose(snapshot: Snapshot, at: datetime) -> str:
    """The cheapest model that answers anybody's key with text; "" where the example's own is among them, or none is."""
    prices = {}
    for name in _open_models(snapshot.routing):
        price = snapshot.price(name, Price.STANDARD, at)
        if price is not None and {"input", "output"} <= price.units.keys():
            prices[name] = price.units["output"]
    if not prices or EXAMPLE in prices:
        return ""
    return min(prices, key=lambda name: (prices[name], name))


def _open_models(routing: RoutingSnapshot) -> Iterator[str]:
    """Models that talk, and that the group of ordinary keys serves to every organization."""
    group = routing.group_by_name.get(GROUP)
    if group is None or not group.is_public:
        return
    for name, channels in routing.by_model.items():
        model = routing.model_by_name.get(name)
        talks = model is not None and "text" in model.output_modalities
        if talks and any(one.enabled and one.dialects and GROUP in one.groups for one in channels):
            yield name
