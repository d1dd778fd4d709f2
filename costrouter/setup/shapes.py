"""The kinds of requests that a made-up past is drawn from: priced once, then repeated."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from billing.models import Price
from billing.pricing.rates import Rates, compile_rates
from billing.selectors import current_prices, price_info
from billing.services import append_price
from channels_app.models import CatalogueModel, Channel, Provider
from channels_app.services import default_group, save_channel, save_model

# Model, endpoint, prices, the most of each unit in a request.
MODELS: tuple[tuple[str, str, dict[str, str], dict[str, int]], ...] = (
    (
        "gpt-5-mini",
        "chat.completions",
        {"input": "0.25", "cache_read": "0.025", "output": "2"},
        {"input": 9_000, "cache_read": 20_000, "output": 1_500, "reasoning": 500},
    ),
    ("gpt-5", "responses", {"input": "1.25", "cache_read": "0.125", "output": "10"}, {"input": 8_000, "output": 2_000}),
    (
        "claude-sonnet-4-5",
        "messages",
        {"input": "3", "cache_read": "0.3", "cache_write_5m": "3.75", "output": "15"},
        {"input": 4_000, "cache_read": 60_000, "cache_write_5m": 8_000, "output": 2_500},
    ),
    ("gemini-2.5-flash", "gemini.stream", {"input": "0.3", "output": "2.5"}, {"input": 12_000, "output": 900}),
    ("text-embedding-3-small", "embeddings", {"input": "0.02"}, {"input": 4_000}),
    ("gpt-image-1", "images.generations", {"images": "0.042"}, {"images": 4}),
    ("whisper-1", "audio.transcriptions", {"seconds": "0.0001"}, {"seconds": 900}),
    ("tts-1", "audio.speech", {"characters": "0.015"}, {"characters": 4_000}),
)
CHANNELS = (("Seeded primary", "1"), ("Seeded reserve", "0.85"))
PER_MODEL = 40
STREAMED = {"chat.completions", "responses", "messages", "gemini.stream"}


@dataclass(frozen=True, slots=True)
class Shape:
    """A request as it was: the columns of its record but those of who and when.

    `counts`: part of day totals and ledger. `first_byte_ms`: the least; 0 where none was seen.
    """

    model: str
    columns: dict[str, Any]
    units: dict[str, int]
    cost_nanos: int
    counts: bool
    failed: bool
    first_byte_ms: int


def shapes(dice: random.Random) -> list[Shape]:
    """What a past is drawn from; models, prices and channels are made where they are missing."""
    names = [name for name, *_ in MODELS]
    models = {model.name: model for model in CatalogueModel.objects.filter(name__in=names)}
    priced = current_prices(model_names=names)
    for name, _endpoint, prices, _most in MODELS:
        if name not in models:
            models[name] = save_model(model=CatalogueModel(name=name, context_window=400_000))
        if name not in priced:
            priced[name] = append_price(model_name=name, units=prices)
    channels = [_channel(name, multiplier, models) for name, multiplier in CHANNELS]
    return [
        shape
        for name, endpoint, _prices, most in MODELS
        for shape in _of_model(endpoint, most, priced[name], channels, dice)
    ]


def _channel(name: str, multiplier: str, models: dict[str, CatalogueModel]) -> Channel:
    found = Channel.objects.filter(name=name).first()
    if found is not None:
        return found
    # It is never asked: nothing routes to a channel that is off.
    channel = Channel(
        name=name,
        provider=Provider.OPENAI_COMPATIBLE,
        base_url="https://seeded.example/v1",
        cost_multiplier=Decimal(multiplier),
        status=Channel.Status.DISABLED,
    )
    return save_channel(channel=channel, groups=[default_group()], models=dict.fromkeys(models.values(), ""))


def _of_model(
    endpoint: str, most: dict[str, int], price: Price, channels: list[Channel], dice: random.Random
) -> list[Shape]:
    info = price_info(price)
    rates = compile_rates(info, Decimal(1))
    found = []
    for number in range(PER_MODEL):
        units = {name: 1 + dice.randrange(top) for name, top in most.items()}
        if "reasoning" in units:
            units["reasoning"] = min(units["reasoning"], units["output"])
        channel = channels[0] if dice.random() < 0.9 else channels[1]
        spent = compile_rates(info, channel.cost_multiplier).cost_nanos(units)
        if number == 0:
            found.append(_shape(endpoint, price, channel, status="upstream_error", http_status=502))
        elif number == 1:
            found.append(_shape(endpoint, price, None, status="refused", http_status=403, counts=False))
        elif number == 2:
            found.append(_shape(endpoint, price, channel, status="refused", http_status=400))
        else:
            status = "cancelled" if number == 3 and endpoint in STREAMED else "ok"
            found.append(_shape(endpoint, price, channel, status=status, units=units, rates=rates, spent=spent))
    return found


def _shape(
    endpoint: str,
    price: Price,
    channel: Channel | None,
    *,
    status: str,
    http_status: int = 200,
    units: dict[str, int] | None = None,
    rates: Rates | None = None,
    spent: int = 0,
    counts: bool = True,
) -> Shape:
    units = units or {}
    cost = rates.cost_nanos(units) if rates is not None else 0
    # One in a while costs more than was held for it.
    held = cost - 1_000 if cost % 97 == 0 and cost > 1_000 else cost * 3 + 1_000_000
    outcome = "ok" if http_status == 200 else f"status {http_status}"
    tried = [{"channel": channel.pk, "name": channel.name, "outcome": outcome, "ms": 640}] if channel else []
    columns = {
        "endpoint": endpoint,
        "model": price.model_name,
        "group": "default",
        "channel_id": channel.pk if channel is not None else None,
        "channel": channel.name if channel is not None else "",
        "attempts": json.dumps(tried, separators=(",", ":")),
        "status": status,
        "http_status": http_status,
        "error_code": {502: "upstream_error", 403: "insufficient_balance", 400: "refused_by_upstream"}.get(
            http_status, ""
        ),
        "streamed": endpoint in STREAMED,
        "estimated": status == "cancelled",
        "units": json.dumps(units, separators=(",", ":")),
        "lines": rates.lines_json(units) if rates is not None else "[]",
        "cost_nanos": cost,
        "upstream_cost_nanos": spent,
        "held_nanos": held if counts else 0,
        "overrun_nanos": max(0, cost - held) if counts else 0,
        "price_id": price.pk if counts else None,
        "rate": "1",
    }
    answered = endpoint in STREAMED and http_status == 200
    failed = status in ("upstream_error", "refused")
    return Shape(price.model_name, columns, units, cost, counts, failed, 300 if answered else 0)
