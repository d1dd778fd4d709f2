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


@pytest.fixture
def place(world, relay, doubles):
    """`place(dialect)`: the double of a dialect, behind a channel of the model `double-2`."""
    model = world.new_model("double-2", input="3", cache_read="0.3", cache_write_5m="3.75", output="15")

    def set_up(dialect: str) -> Double:
        double = doubles[dialect]
        double.forget()
        world.new_channel(double.url, provider=double.provider, dialects=[double.dialect], models={model: double.model})
        relay.settled_down()
        return double

    return set_up
