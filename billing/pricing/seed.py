"""List prices from the `genai-prices` package, said in our units. Pure: no database, no clock, no network.

Source: `genai_prices.types` and `genai_prices.data_units` of 0.2.x (pydantic, MIT). What the package means, and what
becomes of it here:

- *Tiers.* `TieredPrices` is a cliff, not a ramp: `calc_unit_price` takes the price of the highest tier with
  `input_tokens > start` for **all** tokens of the request, output included, and `input_tokens` counts cache reads and
  writes, audio and images. That is exactly `Price.long_context_above`. We have one threshold a price, so a model with
  two is refused.
- *Dates.* Of a list of `ConditionalPrice` the last one in force is used; a `StartDateConstraint` begins at midnight
  UTC. One that lies ahead becomes a price with that `effective_from`. A `TimeOfDateConstraint` (cheaper at night) is
  something no `Price` can say.
- *Variants.* `PriceVariant` overrides some keys of the standard price for requests with a given context; of several,
  the first in force wins, key by key. `processing=batch`, `service_tier=flex` and `service_tier=priority` become rows
  with the tiers `batch`, `flex` and `priority`; `service_tier=default` says nothing new.
- *Units.* A key without a price takes its ancestor's. `cache_write` is the ancestor of both lifetimes, so a model
  without a one-hour price of its own is charged it for one-hour writes too, where our parent would be plain input.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time
from decimal import Decimal
from fractions import Fraction

from genai_prices.data_units import unit_data
from genai_prices.types import (
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    PriceVariant,
    StartDateConstraint,
    TieredPrices,
    TimeOfDateConstraint,
)

from costrouter.lib.units import UNITS

STANDARD = "standard"
# Our tier → the request context that the package knows it by.
TIERS: Mapping[str, Mapping[str, str]] = {
    "batch": {"processing": "batch"},
    "flex": {"service_tier": "flex"},
    "priority": {"service_tier": "priority"},
}
# More decimals than this are not a price but a division that does not end, e.g. 0.111 USD an hour in seconds.
MAX_DECIMALS = 15

_THEIR_PER: Mapping[str, int] = {raw["price_key"]: raw["per"] for raw in unit_data.values()}
_OUR_UNIT: Mapping[str, str] = {
    "input_mtok": "input",
    "cache_read_mtok": "cache_read",
    "cache_write_mtok": "cache_write_5m",
    "cache_write_5m_mtok": "cache_write_5m",
    "cache_write_1h_mtok": "cache_write_1h",
    "input_audio_mtok": "audio_in",
    "input_image_mtok": "image_in",
    "output_mtok": "output",
    "output_reasoning_mtok": "reasoning",
    "output_audio_mtok": "audio_out",
    "output_image_mtok": "image_out",
    "web_searches_kcount": "searches",
    "rerank_searches_kcount": "searches",
    "requests_kcount": "calls",
    "input_mchars": "characters",
    "audio_hours": "seconds",
    "input_audio_hours": "seconds",
    "output_audio_hours": "seconds",
}
# Left out of a price that is otherwise whole, and reported. Cached tokens of a modality are charged as cached tokens;
# a tool without a price is refused by the relay. Any other unknown key refuses the price.
_CHARGED_AS: Mapping[str, str] = {
    f"cache_{modality}_{kind}_mtok": f"cache_{kind}_mtok"
    for modality in ("text", "audio", "image")
    for kind in ("read", "write", "write_5m", "write_1h")
}
_TOOLS = frozenset({"storage_searches_kcount", "social_searches_kcount", "code_executions_kcount"})

_Amount = Decimal | TieredPrices


class Inexpressible(Exception):
    """Our `Price` cannot say what the data say; the message is the reason, for people."""


@dataclass(frozen=True, slots=True)
class SeedPrice:
    """What a `Price` row holds: unit → USD per `UNITS[unit].per`, exact. `left_out` is what the row does not say."""

    units: Mapping[str, Decimal]
    long_above: int | None = None
    long_units: Mapping[str, Decimal] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()

    def terms(self) -> tuple[Mapping[str, Decimal], int | None, Mapping[str, Decimal]]:
        """What must be equal for two prices to be the same."""
        return self.units, self.long_above, self.long_units


def seed_price(prices: ModelPrice) -> SeedPrice:
    """One price of the data in our units. Raises Inexpressible."""
    given: dict[str, _Amount] = {key: value for key, value in vars(prices).items() if value is not None}
    mapped: dict[str, tuple[str, _Amount]] = {}
    left_out: list[str] = []
    for key, value in given.items():
        unit = _OUR_UNIT.get(key)
        if unit is None:
            left_out.extend(_left_out(key, value, given))
        elif unit in mapped and _both(*mapped[unit]) != _both(key, value):
            # `cache_write` is the general price, `cache_write_5m` the one for what our unit counts.
            if unit != "cache_write_5m":
                raise Inexpressible(f"{mapped[unit][0]} and {key} are one unit of ours with two prices")
            mapped[unit] = ("cache_write_5m_mtok", given["cache_write_5m_mtok"])
        else:
            mapped[unit] = (key, value)
    if "cache_write_mtok" in given:
        mapped.setdefault("cache_write_1h", ("cache_write_mtok", given["cache_write_mtok"]))
    if not mapped:
        raise Inexpressible("the data give it no price (free of charge, or unknown)")

    starts: set[int] = set()
    units: dict[str, Decimal] = {}
    long_units: dict[str, Decimal] = {}
    for unit in UNITS:  # in the order of our table
        if unit not in mapped:
            continue
        key, value = mapped[unit]
        base, tiers = _both(key, value)
        units[unit] = _decimal(base, key)
        starts.update(start for start, _ in tiers)
        if tiers:
            long_units[unit] = _decimal(tiers[-1][1], key)
    if len(starts) > 1:
        raise Inexpressible(f"it has several long-context thresholds: {', '.join(map(str, sorted(starts)))}")
    return SeedPrice(units, starts.pop() if starts else None, long_units, tuple(left_out))


def price_at(model: ModelInfo, *, tier: str, at: datetime, peak: bool = False) -> SeedPrice | None:
    """The price of a model and tier at a moment; None where the data know no such tier then.

    Where it depends on the time of day: the dearest one if `peak`, else Inexpressible is raised.
    """
    standard, by_the_clock = _standard_at(model, at=at, peak=peak)
    if tier == STANDARD:
        price = standard
    else:
        variants = [v for v in model.price_variants or () if v.when == TIERS[tier] and _may_apply(v, at)]
        if not variants:
            return None
        price = ModelPrice(**vars(standard))
        for variant in reversed(variants):
            if isinstance(variant.constraint, TimeOfDateConstraint):
                raise Inexpressible("its price depends on the time of day")
            vars(price).update({key: value for key, value in vars(variant.prices).items() if value is not None})
    found = seed_price(price)
    if by_the_clock:
        remark = "cheaper hours of the day: the dearest price is charged at all hours"
        return SeedPrice(found.units, found.long_above, found.long_units, (*found.left_out, remark))
    return found


def changes_after(model: ModelInfo, *, now: datetime) -> list[datetime]:
    """The moments after `now` at which the data announce that some price of the model may change."""
    constraints = [variant.constraint for variant in model.price_variants or ()]
    if not isinstance(model.prices, ModelPrice):
        constraints += [conditional.constraint for conditional in model.prices]
    dates = {constraint.start_date for constraint in constraints if isinstance(constraint, StartDateConstraint)}
    midnights = (datetime.combine(date, time(), UTC) for date in dates)
    return sorted(moment for moment in midnights if moment > now)


def unknown_variants(model: ModelInfo, *, at: datetime) -> list[str]:
    """Variants in force that no tier of ours stands for, as "key=value"."""
    known = [dict(when) for when in TIERS.values()] + [{"service_tier": "default"}]
    variants = [v for v in model.price_variants or () if _may_apply(v, at)]
    priority = [v.prices for v in variants if v.when == TIERS["priority"]]
    found: dict[str, None] = {}
    for variant in variants:
        # OpenAI's newer name for priority.
        renamed = variant.when == {"service_tier": "fast"} and variant.prices in priority
        if variant.when not in known and not renamed:
            found[", ".join(f"{key}={value}" for key, value in variant.when.items())] = None
    return list(found)


def _standard_at(model: ModelInfo, *, at: datetime, peak: bool) -> tuple[ModelPrice, bool]:
    if isinstance(model.prices, ModelPrice):
        return model.prices, False
    if not model.prices:
        raise Inexpressible("the data give it no price (free of charge, or unknown)")
    possible = _possible_at(model.prices, at)
    distinct = [price for n, price in enumerate(possible) if price not in possible[:n]]
    if len(distinct) == 1:
        return distinct[0], False
    if not peak:
        raise Inexpressible("its price depends on the time of day")
    for price in distinct:
        if all(_at_least(price, other) for other in distinct):
            return price, True
    raise Inexpressible("its price depends on the time of day, and no hour is the dearest for every unit")


def _possible_at(prices: Sequence[ConditionalPrice], at: datetime) -> list[ModelPrice]:
    """The prices of the hours of the day at `at`: every daily one that no later entry hides, then the base."""
    possible: list[ModelPrice] = []
    for conditional in reversed(prices):
        possible.append(conditional.prices)
        if isinstance(conditional.constraint, TimeOfDateConstraint):
            continue
        if conditional.constraint is None or conditional.constraint.active(at):
            return possible
        possible.pop()
    return [*possible, prices[0].prices]


def _at_least(price: ModelPrice, other: ModelPrice) -> bool:
    one, two = seed_price(price), seed_price(other)
    return (
        one.units.keys() == two.units.keys()
        and one.long_above == two.long_above
        and all(one.units[name] >= two.units[name] for name in one.units)
        and all(one.long_units.get(name, one.units[name]) >= value for name, value in two.long_units.items())
    )


def _may_apply(variant: PriceVariant, at: datetime) -> bool:
    return not isinstance(variant.constraint, StartDateConstraint) or variant.constraint.active(at)


def _left_out(key: str, value: _Amount, given: Mapping[str, _Amount]) -> list[str]:
    if key in _TOOLS:
        return [f"{key} {_text(value)}: a tool that we have no unit for"]
    if key not in _CHARGED_AS:
        raise Inexpressible(f"we have no unit for {key}")
    stand_in = _CHARGED_AS[key]
    charged = given.get(stand_in)
    if charged is None:
        raise Inexpressible(f"we have no unit for {key}, and there is no {stand_in}")
    return [] if charged == value else [f"{key} {_text(value)}: charged as {stand_in} {_text(charged)}"]


def _text(value: _Amount) -> str:
    if isinstance(value, TieredPrices):
        return f"{value.base:f}" + "".join(f" (above {tier.start}: {tier.price:f})" for tier in value.tiers)
    return f"{value:f}"


def _both(key: str, value: _Amount) -> tuple[Fraction, tuple[tuple[int, Fraction], ...]]:
    """The base price and the (start, price) of each tier, in USD per our unit's `per`."""
    scale = Fraction(UNITS[_OUR_UNIT[key]].per, _THEIR_PER[key])
    if isinstance(value, TieredPrices):
        return Fraction(value.base) * scale, tuple((t.start, Fraction(t.price) * scale) for t in value.tiers)
    return Fraction(value) * scale, ()


def _decimal(value: Fraction, key: str) -> Decimal:
    scaled = value * 10**MAX_DECIMALS
    if scaled.denominator != 1:
        raise Inexpressible(f"{key} is not an exact decimal in our unit {_OUR_UNIT[key]}")
    return Decimal(scaled.numerator).scaleb(-MAX_DECIMALS).normalize()
