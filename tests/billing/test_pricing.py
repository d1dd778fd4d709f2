"""Exact prices: what a request costs, to the nano-USD."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from billing.pricing.rates import PriceInfo, compile_rates, prices_problem
from costrouter.lib.money import MAX_NANOS

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def price(units: dict[str, str], *, above: int | None = None, long: dict[str, str] | None = None) -> PriceInfo:
    return PriceInfo(
        id=7,
        model_name="m",
        tier="standard",
        units={name: Decimal(usd) for name, usd in units.items()},
        long_above=above,
        long_units={name: Decimal(usd) for name, usd in (long or {}).items()},
        effective_from=NOW,
    )


def cost(info: PriceInfo, units: dict[str, int], rate: str = "1") -> int:
    return compile_rates(info, Decimal(rate)).cost_nanos(units)


# Rounding


@pytest.mark.parametrize(
    ("tokens", "nanos"), [(0, 0), (1, 38), (2, 75), (3, 113), (1_000_000, 37_500_000), (1_000_001, 37_500_038)]
)
def test_a_fractional_nano_a_token_is_rounded_once_half_up(tokens: int, nanos: int) -> None:
    # 0.0375 USD a million is 37.5 nanos a token; per-token rounding would make 1,000,000 tokens 38,000,000.
    assert cost(price({"input": "0.0375"}), {"input": tokens}) == nanos


def test_lines_are_not_rounded_one_by_one() -> None:
    info = price({"input": "0.0005", "output": "0.0005"})
    assert cost(info, {"input": 1}) == 1
    assert cost(info, {"input": 1, "output": 1}) == 1


@pytest.mark.parametrize(("usd", "nanos"), [("0.000499", 0), ("0.0005", 1), ("0.000501", 1), ("0.0015", 2)])
def test_halves_go_up(usd: str, nanos: int) -> None:
    assert cost(price({"input": usd}), {"input": 1}) == nanos


# Units and their parents


def test_known_request_of_gpt_4o_mini() -> None:
    info = price({"input": "0.15", "cache_read": "0.075", "output": "0.6"})
    # 1,200 × 150 + 3,000 × 75 + 456 × 600
    assert cost(info, {"input": 1_200, "cache_read": 3_000, "output": 456, "reasoning": 56}) == 678_600


@pytest.mark.parametrize("unit", ["cache_read", "cache_write_5m", "cache_write_1h", "audio_in", "image_in"])
def test_a_unit_of_the_input_without_a_price_takes_the_inputs(unit: str) -> None:
    assert cost(price({"input": "3"}), {unit: 10}) == 30_000


@pytest.mark.parametrize("unit", ["audio_out", "image_out"])
def test_a_unit_of_the_output_without_a_price_takes_the_outputs(unit: str) -> None:
    assert cost(price({"output": "15"}), {unit: 10}) == 150_000


def test_a_price_of_zero_is_a_price() -> None:
    assert cost(price({"input": "3", "cache_read": "0"}), {"cache_read": 10}) == 0


def test_a_unit_without_price_or_parent_costs_nothing_and_is_not_explicit() -> None:
    rates = compile_rates(price({"input": "3"}), Decimal(1))
    assert rates.cost_nanos({"searches": 4}) == 0
    assert rates.explicit == {"input"}


@pytest.mark.parametrize(
    ("unit", "usd", "quantity", "nanos"),
    [
        ("images", "0.04", 3, 120_000_000),
        ("searches", "0.01", 2, 20_000_000),
        ("calls", "0.005", 1, 5_000_000),
        ("seconds", "0.0001", 61, 6_100_000),
        ("characters", "0.015", 1_234, 18_510_000),
    ],
)
def test_units_that_are_not_tokens(unit: str, usd: str, quantity: int, nanos: int) -> None:
    assert cost(price({unit: usd}), {unit: quantity}) == nanos


# Reasoning


def test_reasoning_is_charged_within_output() -> None:
    assert cost(price({"output": "10"}), {"output": 100, "reasoning": 40}) == 1_000_000


def test_reasoning_with_a_price_of_its_own() -> None:
    info = price({"output": "2", "reasoning": "8"})
    assert cost(info, {"output": 100, "reasoning": 40}) == 60 * 2_000 + 40 * 8_000


def test_more_reasoning_than_output_takes_nothing_off_the_rest() -> None:
    info = price({"input": "5", "output": "10", "reasoning": "1"})
    assert cost(info, {"input": 100, "output": 10, "reasoning": 1_000}) == 100 * 5_000 + 10 * 1_000
    assert cost(info, {"input": 100, "reasoning": 1_000}) == 100 * 5_000


# Long context


@pytest.mark.parametrize(("cached", "nanos"), [(100, 200 * 3_000 + 10 * 15_000), (101, 201 * 6_000 + 10 * 22_500)])
def test_long_context_applies_to_the_whole_request_beyond_the_threshold(cached: int, nanos: int) -> None:
    info = price({"input": "3", "output": "15"}, above=200, long={"input": "6", "output": "22.5"})
    assert cost(info, {"input": 100, "cache_read": cached, "output": 10}) == nanos


def test_long_context_keeps_the_prices_it_does_not_name() -> None:
    info = price({"input": "3", "cache_read": "0.3", "output": "15"}, above=0, long={"input": "6"})
    assert cost(info, {"input": 1, "cache_read": 1, "output": 1}) == 6_000 + 300 + 15_000


def test_output_does_not_make_a_context_long() -> None:
    assert cost(price({"input": "3", "output": "1"}, above=10, long={"output": "9"}), {"input": 10, "output": 99}) == (
        10 * 3_000 + 99 * 1_000
    )


# Group rate


def test_group_rate_multiplies_before_rounding() -> None:
    # 0.15 × 1.25 = 0.1875 USD a million: 187.5 nanos a token.
    info = price({"input": "0.15"})
    assert [cost(info, {"input": n}, "1.25") for n in (1, 2, 3)] == [188, 375, 563]
    assert cost(info, {"input": 1_000}, "0.3333") == 49_995
    assert cost(info, {"input": 1_000}, "0") == 0


# The record's lines


def test_lines_are_exact_json() -> None:
    info = price({"input": "0.15", "cache_read": "0.075", "output": "1E+1", "searches": "0.010"})
    rates = compile_rates(info, Decimal("1.25"))
    assert json.loads(rates.lines_json({"input": 1_200, "cache_read": 0, "output": 9, "searches": 2})) == [
        {"quantity": 1_200, "unit": "input", "price": "0.15", "per": 1_000_000},
        {"quantity": 9, "unit": "output", "price": "10", "per": 1_000_000},
        {"quantity": 2, "unit": "searches", "price": "0.010", "per": 1},
    ]
    assert rates.lines_json({}) == "[]"


def test_lines_show_the_price_that_was_charged() -> None:
    info = price({"input": "3"}, above=10, long={"input": "6"})
    rates = compile_rates(info, Decimal(1))
    assert json.loads(rates.lines_json({"input": 11}))[0]["price"] == "6"
    assert json.loads(rates.lines_json({"cache_read": 11}))[0] == {
        "quantity": 11,
        "unit": "cache_read",
        "price": "6",
        "per": 1_000_000,
    }


def test_reasoning_has_a_line_only_where_it_is_priced_apart() -> None:
    units = {"output": 100, "reasoning": 40}
    same = compile_rates(price({"output": "2"}), Decimal(1))
    apart = compile_rates(price({"output": "2", "reasoning": "8"}), Decimal(1))
    assert [(line["unit"], line["quantity"]) for line in json.loads(same.lines_json(units))] == [("output", 100)]
    assert [(line["unit"], line["quantity"]) for line in json.loads(apart.lines_json(units))] == [
        ("output", 60),
        ("reasoning", 40),
    ]


# Bounds


def test_bound_of_text_covers_cache_writes_of_every_kind() -> None:
    info = price({"input": "3", "cache_write_5m": "3.75", "cache_write_1h": "6"})
    rates = compile_rates(info, Decimal(1))
    assert rates.nanos(rates.input_numerator(text=100)) == 375_000
    assert rates.nanos(rates.input_numerator(text=100, hour_cache=True)) == 600_000
    assert rates.nanos(rates.input_numerator(text=0, image=100)) == 375_000


def test_bound_covers_both_sides_of_the_threshold() -> None:
    info = price({"input": "3", "output": "15"}, above=200, long={"input": "6", "output": "22.5"})
    rates = compile_rates(info, Decimal(1))
    assert rates.nanos(rates.input_numerator(text=200)) == 600_000
    assert rates.nanos(rates.input_numerator(text=201)) == 1_206_000
    assert rates.nanos(rates.output_numerator(audio=False, input_tokens=200)) == 15_000
    assert rates.nanos(rates.output_numerator(audio=False, input_tokens=201)) == 22_500


def test_bound_of_output_covers_what_the_request_may_answer_with() -> None:
    info = price({"output": "10", "reasoning": "12", "audio_out": "64", "image_out": "120"})
    rates = compile_rates(info, Decimal(1))
    assert rates.nanos(rates.output_numerator(audio=False, input_tokens=0)) == 12_000
    assert rates.nanos(rates.output_numerator(audio=True, input_tokens=0)) == 64_000
    assert rates.nanos(rates.output_numerator(audio=False, image=True, input_tokens=0)) == 120_000


# What may be a price


def test_prices_that_are_prices() -> None:
    assert prices_problem({"input": "0.15", "output": Decimal("0.6"), "calls": 0}) is None
    assert prices_problem({}) is None


@pytest.mark.parametrize(
    ("units", "problem"),
    [
        (["input"], "must be a mapping of unit to price"),
        ({"tokens": "1"}, "'tokens' is not a unit"),
        ({"input": "cheap"}, "the price of input is not a number"),
        ({"input": None}, "the price of input is not a number"),
        ({"input": "NaN"}, "the price of input must be between 0 and 1,000,000"),
        ({"input": "Infinity"}, "the price of input must be between 0 and 1,000,000"),
        ({"input": "-0.01"}, "the price of input must be between 0 and 1,000,000"),
        ({"input": "1000001"}, "the price of input must be between 0 and 1,000,000"),
        ({"input": "1e-400000"}, "the price of input has more than 18 decimals"),
    ],
)
def test_prices_that_are_none(units: object, problem: str) -> None:
    assert (prices_problem(units) or "").startswith(problem)


def test_a_cost_that_no_column_could_hold_stops_at_the_most() -> None:
    rates = compile_rates(price({"output": "1000000"}), Decimal("9999"))

    assert rates.cost_nanos({"output": 1_000_000_000}) == MAX_NANOS
    assert rates.nanos(rates.output_numerator(audio=False, input_tokens=0) * 10**9) == MAX_NANOS
