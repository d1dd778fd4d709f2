"""Exact prices. Pure: no I/O, no Django. A price is compiled once with its rate; a cost is then integer arithmetic.

Cost = round half up of Σ units × price × rate, rounded once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction

from costrouter.lib.money import MAX_NANOS, NANOS_PER_USD, divide_half_up
from costrouter.lib.units import UNITS

INPUT_UNITS = ("input", "cache_read", "cache_write_5m", "cache_write_1h", "audio_in", "image_in")
# More of anything than this in one request is not usage but a broken counter.
MAX_QUANTITY = 1_000_000_000


@dataclass(frozen=True, slots=True)
class PriceInfo:
    """A row of `Price`, as the relay keeps it. `units` and `long_units` are USD per `UNITS[unit].per`."""

    id: int
    model_name: str
    tier: str
    units: Mapping[str, Decimal]
    long_above: int | None
    long_units: Mapping[str, Decimal]
    effective_from: datetime


@dataclass(frozen=True, slots=True)
class _Table:
    """Nano-USD of one unit, as numerators over a common denominator; and the texts that a record shows."""

    numerators: dict[str, int]
    fragments: dict[str, str]


@dataclass(frozen=True, slots=True)
class Rates:
    """A price multiplied by a rate: what one user (or one upstream) pays."""

    price_id: int
    rate: Decimal
    explicit: frozenset[str]
    denominator: int
    base: _Table
    long: _Table | None
    long_above: int

    def _table(self, units: Mapping[str, int]) -> _Table:
        if self.long is not None and sum(units.get(name, 0) for name in INPUT_UNITS) > self.long_above:
            return self.long
        return self.base

    def cost_nanos(self, units: Mapping[str, int]) -> int:
        """The cost of disjoint `units` (reasoning: a part of output), in nanos; at most what a column can hold."""
        numerators = self._table(units).numerators
        total = 0
        for name, quantity in units.items():
            if name == "reasoning":
                # Contained in output, which is already charged: only the difference between the two prices.
                part = min(quantity, units.get("output", 0))
                total += part * (numerators["reasoning"] - numerators["output"])
            else:
                total += quantity * numerators[name]
        return min(divide_half_up(total, self.denominator), MAX_NANOS)

    def lines_json(self, units: Mapping[str, int]) -> str:
        """The record's lines as JSON text: `[{"unit", "quantity", "price", "per"}]`, prices before the rate.

        They add up to the cost: reasoning has a line, taken out of output's, only where its price is not output's.
        """
        table = self._table(units)
        quantities = dict(units)
        reasoning = min(quantities.pop("reasoning", 0), units.get("output", 0))
        if reasoning and table.numerators["reasoning"] != table.numerators["output"]:
            quantities["output"] -= reasoning
            quantities["reasoning"] = reasoning
        lines = (f'{{"quantity":{q},{table.fragments[name]}}}' for name, q in quantities.items() if q)
        return "[" + ",".join(lines) + "]"

    def _worst(self, names: tuple[str, ...], long: bool) -> int:
        tables = [self.base] + ([self.long] if long and self.long is not None else [])
        return max(table.numerators[name] for table in tables for name in names)

    def input_numerator(self, *, text: int, image: int = 0, audio: int = 0, hour_cache: bool = False) -> int:
        """An upper bound of the input's cost, over `denominator`. Any of it may turn out as a cache write.

        `hour_cache`: the request asks for one-hour cache writes, the dearest kind.
        """
        long = text + image + audio > self.long_above
        any_kind = ("input", "cache_read", "cache_write_5m", *(("cache_write_1h",) if hour_cache else ()))
        return (
            text * self._worst(any_kind, long)
            + image * self._worst((*any_kind, "image_in"), long)
            + audio * self._worst((*any_kind, "audio_in"), long)
        )

    def output_numerator(self, *, audio: bool, input_tokens: int, image: bool = False) -> int:
        """An upper bound of the cost of one output token, as a numerator over `denominator`."""
        names = ("output", "reasoning", *(("audio_out",) if audio else ()), *(("image_out",) if image else ()))
        return self._worst(names, input_tokens > self.long_above)

    def flat_numerator(self, units: Mapping[str, int]) -> int:
        """The cost of units that are charged by the piece (searches, calls), as a numerator over `denominator`."""
        return sum(quantity * self.base.numerators[name] for name, quantity in units.items())

    def nanos(self, numerator: int) -> int:
        """A numerator over `denominator` in nanos."""
        return min(divide_half_up(numerator, self.denominator), MAX_NANOS)


def compile_rates(price: PriceInfo, rate: Decimal) -> Rates:
    """A price with a rate, ready for integer arithmetic. A unit without a price takes its parent's, else 0.

    Whether a unit may be used at all without a price of its own is the caller's decision: see `explicit`.
    """
    base = _resolve(price.units)
    long = _resolve({**price.units, **price.long_units}) if price.long_above is not None else None
    exact = [{name: _nanos_each(name, value, rate) for name, value in t.items()} for t in (base, long) if t is not None]
    denominator = math.lcm(*(value.denominator for table in exact for value in table.values()))
    tables = [
        _Table(
            {name: int(value * denominator) for name, value in table.items()},
            {name: f'"unit":"{name}","price":"{usd:f}","per":{UNITS[name].per}' for name, usd in texts.items()},
        )
        for table, texts in zip(exact, [t for t in (base, long) if t is not None], strict=True)
    ]
    return Rates(
        price_id=price.id,
        rate=rate,
        explicit=frozenset(price.units),
        denominator=denominator,
        base=tables[0],
        long=tables[1] if len(tables) > 1 else None,
        long_above=price.long_above if price.long_above is not None else MAX_QUANTITY * 10,
    )


def _resolve(units: Mapping[str, Decimal]) -> dict[str, Decimal]:
    resolved: dict[str, Decimal] = {}
    for name, unit in UNITS.items():
        own = units.get(name)
        resolved[name] = own if own is not None else units.get(unit.parent or "", Decimal(0))
    return resolved


def exact_nanos(usd: Decimal | str, *, quantity: int, per: int) -> Fraction:
    """What a quantity costs at so many USD for `per` of it, in nanos, before rate and rounding."""
    return Fraction(usd) * NANOS_PER_USD * quantity / per


def _nanos_each(name: str, usd: Decimal, rate: Decimal) -> Fraction:
    return exact_nanos(usd, quantity=1, per=UNITS[name].per) * Fraction(rate)


def prices_problem(units: object) -> str | None:
    """Why a mapping of unit → decimal string is not a price, or None."""
    if not isinstance(units, dict):
        return "must be a mapping of unit to price"
    for name, value in units.items():
        if name not in UNITS:
            return f"{name!r} is not a unit; units are {', '.join(UNITS)}"
        try:
            price = Decimal(str(value))
        except ArithmeticError:
            return f"the price of {name} is not a number"
        if not price.is_finite() or price < 0 or price > 1_000_000:
            return f"the price of {name} must be between 0 and 1,000,000"
        if int(price.as_tuple().exponent) < -18:
            return f"the price of {name} has more than 18 decimals"
    return None
