"""How a request's cost came about, line by line and exactly: what Usage Logs show. Pure.

Cost = round half up of Σ quantity × price × rate, rounded once. The record keeps the lines and the rate.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

from billing.pricing.rates import exact_nanos
from costrouter.lib.money import MAX_NANOS, NANOS_PER_USD, divide_half_up
from costrouter.lib.units import UNITS, per_text


@dataclass(frozen=True, slots=True)
class Line:
    """A priced unit. `price`: USD for `per` of it, as a decimal string; `nanos`: exact, before the rate."""

    unit: str
    quantity: int
    price: str
    per: int
    nanos: Fraction

    @property
    def label(self) -> str:
        return UNITS[self.unit].label if self.unit in UNITS else self.unit

    @property
    def per_text(self) -> str:
        return per_text(self.unit) if self.unit in UNITS else f"per {self.per:,}"

    @property
    def amount(self) -> str:
        return usd_exact(self.nanos)


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """The lines, their sum, that times the rate, and that rounded; all in nanos.

    `charged` is less than `rounded` only where the usage was estimated: then what was held is the most.
    """

    lines: tuple[Line, ...]
    sum: Fraction
    rate: Decimal
    exact: Fraction
    rounded: int
    charged: int

    @property
    def sum_text(self) -> str:
        return usd_exact(self.sum)

    @property
    def exact_text(self) -> str:
        return usd_exact(self.exact)

    @property
    def rate_text(self) -> str:
        return plain_decimal(self.rate)

    @property
    def is_exact(self) -> bool:
        """Whether nothing had to be rounded."""
        return self.exact == self.rounded

    @property
    def is_capped(self) -> bool:
        """Whether less was charged than the lines come to."""
        return self.charged < self.rounded


def arithmetic(lines: Iterable[Mapping[str, Any]], rate: Decimal, cost_nanos: int) -> Arithmetic:
    """A record's lines, rate and cost as arithmetic."""
    read = tuple(
        Line(
            unit=str(line["unit"]),
            quantity=int(line["quantity"]),
            price=str(line["price"]),
            per=int(line["per"]),
            nanos=exact_nanos(str(line["price"]), quantity=int(line["quantity"]), per=int(line["per"])),
        )
        for line in lines
    )
    total = sum((line.nanos for line in read), Fraction(0))
    exact = total * Fraction(rate)
    rounded = min(divide_half_up(exact.numerator, exact.denominator), MAX_NANOS)
    return Arithmetic(lines=read, sum=total, rate=rate, exact=exact, rounded=rounded, charged=cost_nanos)


def plain_decimal(value: Decimal) -> str:
    """A decimal without trailing zeros or an exponent: Decimal("1.5000") → "1.5"."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def usd_exact(nanos: Fraction) -> str:
    """Nanos, which may be a fraction of one, as dollars with every digit: 37.5 → "$0.0000000375".

    Prices are decimals for 1, 1,000 or a million of a unit: such a fraction always ends.
    """
    usd = nanos / NANOS_PER_USD
    twos = fives = 0
    rest = usd.denominator
    while rest % 2 == 0:
        rest, twos = rest // 2, twos + 1
    while rest % 5 == 0:
        rest, fives = rest // 5, fives + 1
    assert rest == 1, f"{usd} has no end as a decimal"
    digits = max(twos, fives)
    whole, part = divmod(usd.numerator * 10**digits // usd.denominator, 10**digits)
    decimals = f"{part:0{digits}d}" if digits else ""
    return f"${whole:,}.{decimals.ljust(2, '0')}"
