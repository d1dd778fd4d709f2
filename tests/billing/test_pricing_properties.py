"""Exact prices against plain fractions, for any price, rate and usage."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from billing.pricing.rates import INPUT_UNITS, MAX_QUANTITY, PriceInfo, compile_rates
from costrouter.lib.money import MAX_NANOS
from costrouter.lib.units import UNITS

NOW = datetime(2026, 1, 1, tzinfo=UTC)
usds = st.decimals(min_value=0, max_value=1_000, places=6, allow_nan=False, allow_infinity=False)
tables = st.dictionaries(st.sampled_from(list(UNITS)), usds)
infos = st.builds(
    lambda units, above, long: PriceInfo(1, "m", "standard", units, above, long, NOW),
    tables,
    st.none() | st.integers(0, 2_000),
    tables,
)
rates_ = st.decimals(min_value=0, max_value=20, places=4, allow_nan=False, allow_infinity=False)
quantities = st.dictionaries(st.sampled_from(list(UNITS)), st.integers(0, 1_000) | st.integers(0, MAX_QUANTITY))


def naive_cost(info: PriceInfo, units: dict[str, int], rate: Decimal) -> int:
    """The rule as the design says it, in fractions of USD, rounded half up once at the end."""
    long = info.long_above is not None and sum(units.get(u, 0) for u in INPUT_UNITS) > info.long_above
    prices = {**info.units, **info.long_units} if long else info.units

    def usd(unit: str) -> Fraction:
        own = prices.get(unit, prices.get(UNITS[unit].parent or "", Decimal(0)))
        return Fraction(own) / UNITS[unit].per

    total = Fraction(0)
    for unit, quantity in units.items():
        if unit == "reasoning":
            continue
        if unit == "output":
            reasoning = min(units.get("reasoning", 0), quantity)
            total += reasoning * usd("reasoning") + (quantity - reasoning) * usd("output")
        else:
            total += quantity * usd(unit)
    return math.floor(total * Fraction(rate) * 10**9 + Fraction(1, 2))


@given(infos, rates_, quantities)
def test_cost_equals_plain_fractions(info: PriceInfo, rate: Decimal, units: dict[str, int]) -> None:
    assert compile_rates(info, rate).cost_nanos(units) == min(naive_cost(info, units, rate), MAX_NANOS)


@given(infos, rates_, quantities)
def test_lines_add_up_to_the_cost(info: PriceInfo, rate: Decimal, units: dict[str, int]) -> None:
    rates = compile_rates(info, rate)
    lines = json.loads(rates.lines_json(units))
    total = sum((Fraction(line["price"]) * line["quantity"] / line["per"] for line in lines), Fraction(0))
    exact = math.floor(total * Fraction(rate) * 10**9 + Fraction(1, 2))
    assert min(exact, MAX_NANOS) == rates.cost_nanos(units)


@given(infos, rates_, quantities, st.sampled_from(list(UNITS)), st.integers(0, 10_000))
def test_more_never_costs_less(info: PriceInfo, rate: Decimal, units: dict[str, int], unit: str, more: int) -> None:
    # Where a longer context, or reasoning, is cheaper, more of it may cost less: then there is nothing to say.
    usd = {name: info.units.get(name, info.units.get(UNITS[name].parent or "", Decimal(0))) for name in UNITS}
    long_units = {**info.units, **info.long_units}
    long = {name: long_units.get(name, long_units.get(UNITS[name].parent or "", Decimal(0))) for name in UNITS}
    if info.long_above is not None and any(long[name] < usd[name] for name in UNITS):
        info = PriceInfo(1, "m", "standard", info.units, None, {}, NOW)
    tables = [usd, long] if info.long_above is not None else [usd]
    if unit in ("reasoning", "output") and any(table["reasoning"] < table["output"] for table in tables):
        return
    rates = compile_rates(info, rate)
    assert rates.cost_nanos({**units, unit: units.get(unit, 0) + more}) >= rates.cost_nanos(units)


@given(
    infos,
    rates_,
    st.dictionaries(st.sampled_from(INPUT_UNITS), st.integers(0, 1_500)),
    st.dictionaries(st.sampled_from(["output", "reasoning", "audio_out", "image_out"]), st.integers(0, 1_500)),
    st.integers(0, 500),
)
def test_bound_is_never_below_the_cost(
    info: PriceInfo, rate: Decimal, inputs: dict[str, int], outputs: dict[str, int], slack: int
) -> None:
    rates = compile_rates(info, rate)
    image, audio = inputs.get("image_in", 0), inputs.get("audio_in", 0)
    text = sum(inputs.values()) - image - audio + slack
    each = rates.output_numerator(audio=True, image=True, input_tokens=text + image + audio)
    outputs["reasoning"] = min(outputs.get("reasoning", 0), outputs.get("output", 0))
    tokens = sum(outputs.values()) - outputs["reasoning"]
    numerator = rates.input_numerator(text=text, image=image, audio=audio, hour_cache=True) + tokens * each
    assert rates.nanos(numerator) >= rates.cost_nanos({**inputs, **outputs})
