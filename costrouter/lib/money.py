"""Exact money. An amount is an integer of nano-USD (10⁻⁹ USD); names of such columns and variables end in `_nanos`."""

from __future__ import annotations

from decimal import Decimal

NANOS_PER_USD = 1_000_000_000
# The largest amount a signed 64-bit column can hold, with room to add a few of them: 2 billion USD.
MAX_NANOS = 2_000_000_000 * NANOS_PER_USD


def usd_to_nanos(usd: Decimal | str | int) -> int:
    """`usd` dollars in nanos. Raises ValueError where that is not a whole number of nanos or beyond ±MAX_NANOS."""
    amount = Decimal(usd)
    if not amount.is_finite():
        raise ValueError("an amount must be a finite number")
    nanos = amount.scaleb(9)
    if nanos != nanos.to_integral_value():
        raise ValueError("an amount has at most nine decimals")
    if abs(nanos) > MAX_NANOS:
        raise ValueError("an amount is at most 2,000,000,000 USD")
    return int(nanos)


def nanos_to_usd(nanos: int) -> Decimal:
    """`nanos` as an exact decimal of dollars."""
    return Decimal(nanos).scaleb(-9)


def usd_number(nanos: int) -> str:
    """`nanos` as the text of a JSON number of dollars: exact, without an exponent, at least one decimal ("0.0")."""
    sign = "-" if nanos < 0 else ""
    whole, rest = divmod(abs(nanos), NANOS_PER_USD)
    return f"{sign}{whole}.{f'{rest:09d}'.rstrip('0') or '0'}"


def usd_text(nanos: int) -> str:
    """`nanos` for people: "$1,234.56", with as many decimals as the amount needs and never fewer than two."""
    sign = "-" if nanos < 0 else ""
    whole, rest = divmod(abs(nanos), NANOS_PER_USD)
    return f"{sign}${whole:,}.{f'{rest:09d}'.rstrip('0').ljust(2, '0')}"


def divide_half_up(numerator: int, denominator: int) -> int:
    """`numerator / denominator` to the nearest integer, halves up. Both non-negative, the denominator positive."""
    return (2 * numerator + denominator) // (2 * denominator)
