"""What to append so that a model costs what the data say, now and from each date they announce. Pure.

Prices are append-only: a planned increase that the data no longer announce is undone by a price that takes effect at
the same moment, appended later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from genai_prices.types import ModelInfo

from billing.pricing.seed import STANDARD, TIERS, Inexpressible, SeedPrice, changes_after, price_at, unknown_variants


@dataclass(frozen=True, slots=True)
class Dated:
    """A price of a tier from a moment on. `ours`: seeded before, so a later seeding may follow it by another."""

    tier: str
    start: datetime
    price: SeedPrice
    ours: bool = True


@dataclass(slots=True)
class Plan:
    """`steps` are to be appended; then (tier or "", text) for people. `priced`: the standard tier has a price."""

    steps: list[Dated] = field(default_factory=list)
    protected: list[tuple[str, str]] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    priced: bool = False


def plan_model(
    model: ModelInfo, existing: Sequence[Dated], *, now: datetime, peak: bool = False, overwrite: bool = False
) -> Plan:
    """Compare `existing`, oldest first, with the data. What is not ours stays unless `overwrite`.

    While someone's own standard price is in force, the model's other tiers stay as they are too: else a tier at list
    price would undercut it.
    """
    plan = Plan()
    known = list(existing)
    moments = {now, *changes_after(model, now=now), *(dated.start for dated in existing if dated.start > now)}
    for tier in (STANDARD, *TIERS):
        expressible = False
        for moment in sorted(moments):
            try:
                wanted = price_at(model, tier=tier, at=moment, peak=peak)
            except Inexpressible as reason:
                plan.skipped.append((tier, str(reason) if moment == now else f"from {moment:%Y-%m-%d}: {reason}"))
                break
            expressible = True
            if wanted is None:
                continue
            current = in_force(known, tier, moment)
            if current is None or current.price.terms() != wanted.terms():
                guards = (current, in_force(known, STANDARD, moment))
                if not overwrite and any(guard is not None and not guard.ours for guard in guards):
                    _tell(plan.protected, tier, "the model's price in force was not seeded: it stays")
                    continue
                step = Dated(tier, moment, wanted)
                plan.steps.append(step)
                known.append(step)
            for text in wanted.left_out:
                _tell(plan.left_out, tier, text)
        if tier == STANDARD:
            plan.priced = in_force(known, STANDARD, max(moments)) is not None
            if not plan.priced or not expressible:
                return plan
    for text in unknown_variants(model, at=now):
        _tell(plan.left_out, "", f"{text}: none of our tiers stands for such requests")
    return plan


def in_force(prices: Sequence[Dated], tier: str, moment: datetime) -> Dated | None:
    """The price of a tier at a moment: the latest to take effect; of two at once, the one appended last."""
    found: Dated | None = None
    for dated in prices:
        if dated.tier == tier and dated.start <= moment and (found is None or dated.start >= found.start):
            found = dated
    return found


def _tell(remarks: list[tuple[str, str]], tier: str, text: str) -> None:
    if (tier, text) not in remarks:
        remarks.append((tier, text))
