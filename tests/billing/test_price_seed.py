"""Prices from genai-prices: what the data mean in our units."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from genai_prices import Usage
from genai_prices.data import providers as package
from genai_prices.types import (
    ClauseStartsWith,
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    Tier,
    TieredPrices,
    TimeOfDateConstraint,
)

from billing.pricing.rates import PriceInfo, compile_rates
from billing.pricing.seed import Inexpressible, price_at, seed_price
from costrouter.setup.prices import DEFAULT_PROVIDERS

# The data of genai-prices 0.2.3 as they stand on this day; later versions may of course say otherwise.
DAY = datetime(2026, 11, 23, 12, tzinfo=UTC)
D = Decimal


def entry(provider: str, model: str) -> ModelInfo:
    return next(m for p in package if p.id == provider for m in p.models if m.id == model)


def texts(provider: str, model: str, tier: str = "standard", at: datetime = DAY) -> dict[str, str]:
    price = price_at(entry(provider, model), tier=tier, at=at)
    assert price is not None
    return {unit: f"{usd:f}" for unit, usd in price.units.items()}


def model(id: str, prices: Any, **more: Any) -> ModelInfo:
    return ModelInfo(id=id, match=ClauseStartsWith(starts_with=id), prices=prices, **more)


def flat(**prices: str) -> ModelPrice:
    return ModelPrice(**{key: D(usd) for key, usd in prices.items()})


# Well-known models, by independent reading of the package's data


@pytest.mark.parametrize(
    ("provider", "name", "tier", "units"),
    [
        (
            "openai",
            "gpt-4o-mini",
            "standard",
            {"input": "0.15", "cache_read": "0.075", "output": "0.6", "searches": "0.01"},
        ),
        (
            "openai",
            "gpt-4o-mini",
            "batch",
            {"input": "0.075", "cache_read": "0.075", "output": "0.3", "searches": "0.01"},
        ),
        (
            "openai",
            "gpt-4o-mini",
            "priority",
            {"input": "0.25", "cache_read": "0.125", "output": "1", "searches": "0.01"},
        ),
        ("openai", "gpt-5", "flex", {"input": "0.625", "cache_read": "0.0625", "output": "5", "searches": "0.01"}),
        ("openai", "text-embedding-3-small", "standard", {"input": "0.02"}),
        ("openai", "tts-1", "standard", {"characters": "0.015"}),
        ("openai", "whisper-1", "standard", {"seconds": "0.0001"}),
        (
            "openai",
            "gpt-audio",
            "standard",
            {"input": "2.5", "audio_in": "32", "output": "10", "audio_out": "64"},
        ),
        (
            "anthropic",
            "claude-haiku-4-5",
            "standard",
            {
                "input": "1",
                "cache_read": "0.1",
                "cache_write_5m": "1.25",
                "cache_write_1h": "2",
                "output": "5",
                "searches": "0.01",
            },
        ),
        ("mistral", "mistral-large-2512", "standard", {"input": "0.5", "cache_read": "0.05", "output": "1.5"}),
        ("x-ai", "grok-3", "standard", {"input": "3", "cache_read": "0.75", "output": "15"}),
        ("perplexity", "sonar", "standard", {"input": "1", "output": "1", "calls": "0.012"}),
    ],
)
def test_known_models(provider: str, name: str, tier: str, units: dict[str, str]) -> None:
    assert texts(provider, name, tier) == units


def test_long_context_of_gemini_2_5_pro() -> None:
    price = price_at(entry("google", "gemini-2.5-pro"), tier="standard", at=DAY)
    assert price is not None
    assert price.terms() == (
        {"input": D("1.25"), "cache_read": D("0.125"), "output": D("10"), "searches": D("0.035")},
        200_000,
        {"input": D("2.5"), "cache_read": D("0.25"), "output": D("15")},
    )
    batch = price_at(entry("google", "gemini-2.5-pro"), tier="batch", at=DAY)
    assert batch is not None
    assert batch.long_units == {"input": D("1.25"), "cache_read": D("0.25"), "output": D("7.5")}


def test_an_announced_increase_is_known_by_its_day() -> None:
    assert texts("google", "gemini-3.6-flash")["output"] == "3.75"
    assert texts("google", "gemini-3.6-flash", at=datetime(2027, 1, 1, tzinfo=UTC))["output"] == "7.5"
    assert texts("google", "gemini-3.6-flash", "batch", at=datetime(2027, 1, 1, tzinfo=UTC))["output"] == "3.75"


def test_a_tier_that_the_data_do_not_know() -> None:
    assert price_at(entry("openai", "gpt-4o-mini"), tier="flex", at=DAY) is None
    assert price_at(entry("openai", "gpt-4o-mini"), tier="batch", at=datetime(2026, 10, 13, tzinfo=UTC)) is None


# Agreement with the package's own calculator

CONTEXTS = {
    "standard": {},
    "batch": {"processing": "batch"},
    "flex": {"service_tier": "flex"},
    "priority": {"service_tier": "priority"},
}


@pytest.mark.parametrize("tier", list(CONTEXTS))
@pytest.mark.parametrize("tokens", [1_000, 199_999, 200_000, 200_001, 260_000])
def test_every_seeded_text_model_costs_what_the_package_calculates(tier: str, tokens: int) -> None:
    usage = Usage(input_tokens=tokens, cache_read_tokens=333, output_tokens=3_001)
    compared = 0
    for provider in package:
        for info in provider.models if provider.id in DEFAULT_PROVIDERS else ():
            try:
                price = price_at(info, tier=tier, at=DAY)
            except Inexpressible:
                continue
            if price is None or not {"input", "output"} <= price.units.keys():
                continue
            ours = compile_rates(
                PriceInfo(1, info.id, tier, price.units, price.long_above, price.long_units, DAY), D(1)
            )
            theirs = info.calc_price(
                usage, provider, genai_request_timestamp=DAY, price_context=CONTEXTS[tier]
            ).total_price
            units = {"input": tokens - 333, "cache_read": 333, "output": 3_001}
            assert ours.cost_nanos(units) == int((theirs * 10**9).to_integral_value("ROUND_HALF_UP")), info.id
            compared += 1
    assert compared > {"standard": 150, "batch": 60, "flex": 15, "priority": 15}[tier]


# What a price cannot say


@pytest.mark.parametrize(
    ("prices", "reason"),
    [
        (flat(), "the data give it no price (free of charge, or unknown)"),
        (flat(input_mtok="1", input_video_mtok="2"), "we have no unit for input_video_mtok"),
        (flat(input_document_kpages="4"), "we have no unit for input_document_kpages"),
        (flat(audio_hours="0.111"), "audio_hours is not an exact decimal in our unit seconds"),
        (
            flat(input_audio_hours="0.36", output_audio_hours="0.72"),
            "input_audio_hours and output_audio_hours are one unit of ours with two prices",
        ),
        (
            ModelPrice(input_mtok=TieredPrices(base=D(1), tiers=[Tier(32_000, D(2)), Tier(128_000, D(3))])),
            "it has several long-context thresholds: 32000, 128000",
        ),
        (
            ModelPrice(
                input_mtok=TieredPrices(base=D(1), tiers=[Tier(32_000, D(2))]),
                output_mtok=TieredPrices(base=D(1), tiers=[Tier(64_000, D(2))]),
            ),
            "it has several long-context thresholds: 32000, 64000",
        ),
    ],
)
def test_what_cannot_be_said_is_refused_with_the_reason(prices: ModelPrice, reason: str) -> None:
    with pytest.raises(Inexpressible) as refusal:
        seed_price(prices)
    assert str(refusal.value) == reason


def test_what_is_left_out_is_told() -> None:
    price = seed_price(
        flat(
            input_mtok="0.3",
            cache_read_mtok="0.03",
            input_audio_mtok="1",
            cache_audio_read_mtok="0.1",
            input_image_mtok="0.5",
            cache_image_read_mtok="0.03",
            storage_searches_kcount="2.5",
        )
    )
    assert price.units == {"input": D("0.3"), "cache_read": D("0.03"), "audio_in": D("1"), "image_in": D("0.5")}
    assert price.left_out == (
        "cache_audio_read_mtok 0.1: charged as cache_read_mtok 0.03",
        "storage_searches_kcount 2.5: a tool that we have no unit for",
    )


def test_one_hour_writes_without_a_price_of_their_own_cost_what_writes_cost() -> None:
    units = seed_price(flat(input_mtok="1", cache_write_mtok="1.25")).units
    assert units == {"input": D("1"), "cache_write_5m": D("1.25"), "cache_write_1h": D("1.25")}
    units = seed_price(flat(input_mtok="1", cache_write_mtok="1.3", cache_write_5m_mtok="1.25")).units
    assert units == {"input": D("1"), "cache_write_5m": D("1.25"), "cache_write_1h": D("1.3")}


def by_the_clock(dear: ModelPrice, **prices: str) -> ModelInfo:
    hours = TimeOfDateConstraint(
        start_time=datetime(2026, 1, 1, 1, tzinfo=UTC).timetz(), end_time=datetime(2026, 1, 1, 4, tzinfo=UTC).timetz()
    )
    return model("night", [ConditionalPrice(prices=flat(**prices)), ConditionalPrice(hours, prices=dear)])


def test_a_price_by_the_clock_is_refused_or_its_dearest() -> None:
    info = by_the_clock(flat(input_mtok="0.3", output_mtok="1.2"), input_mtok="0.15", output_mtok="0.6")
    with pytest.raises(Inexpressible, match="depends on the time of day"):
        price_at(info, tier="standard", at=DAY)
    price = price_at(info, tier="standard", at=DAY, peak=True)
    assert price is not None
    assert price.units == {"input": D("0.3"), "output": D("1.2")}
    assert price.left_out == ("cheaper hours of the day: the dearest price is charged at all hours",)


def test_no_hour_may_be_the_dearest() -> None:
    info = by_the_clock(flat(input_mtok="0.3", output_mtok="0.5"), input_mtok="0.15", output_mtok="0.6")
    with pytest.raises(Inexpressible, match="no hour is the dearest"):
        price_at(info, tier="standard", at=DAY, peak=True)
