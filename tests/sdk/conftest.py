"""The doubles, and a world in which a channel leads to one of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.sdk.anthropic_double import AnthropicDouble
from tests.sdk.chat_double import ChatDouble
from tests.sdk.double import Double
from tests.sdk.gemini_double import GeminiDouble
from tests.sdk.responses_double import ResponsesDouble

DOUBLES = {double.dialect: double for double in (ChatDouble, ResponsesDouble, AnthropicDouble, GeminiDouble)}


@pytest.fixture(scope="session")
def doubles() -> Iterator[dict[str, Double]]:
    """Every double, serving."""
    running = {dialect: double().start() for dialect, double in DOUBLES.items()}
    yield running
    for double in running.values():
        double.stop()


PRICES = {"input": "3", "cache_read": "0.3", "cache_write_5m": "3.75", "output": "15"}


def connect(world, double: Double, name: str) -> Double:
    """Lead a model to a double, in the double's own dialect alone."""
    double.forget()
    model = world.new_model(name, **PRICES)
    world.new_channel(
        double.url,
        name=name,
        provider=double.provider,
        dialects=[double.dialect],
        models={model: double.model},
    )
    return double


@pytest.fixture
def place(world, relay, doubles):
    """`place(dialect)`: the double of a dialect, behind the model `double-2`."""

    def set_up(dialect: str) -> Double:
        double = connect(world, doubles[dialect], "double-2")
        relay.settled_down()
        return double

    return set_up


@pytest.fixture
def everywhere(world, relay, doubles) -> dict[str, Double]:
    """Every double at once: that of `chat` is behind the model `to-chat`, and so on."""
    for dialect, double in doubles.items():
        connect(world, double, f"to-{dialect}")
    relay.settled_down()
    return doubles
