"""The models that a key may use, listed and looked up by the three official SDKs."""

from __future__ import annotations

import anthropic
import openai
import pytest
from google import genai
from google.genai import errors, types

pytestmark = pytest.mark.any_database

NAMES = ["to-anthropic", "to-chat", "to-gemini", "to-responses"]


def test_openais(world, relay, everywhere):
    with openai.OpenAI(base_url=f"{relay.url}/v1", api_key=world.secret, max_retries=0) as sdk:
        assert sorted(model.id for model in sdk.models.list()) == NAMES
        model = sdk.models.retrieve("to-chat")
        assert (model.id, model.object, model.owned_by) == ("to-chat", "model", "double")
        with pytest.raises(openai.NotFoundError):
            sdk.models.retrieve("nothing")


def test_anthropics(world, relay, everywhere):
    with anthropic.Anthropic(base_url=relay.url, api_key=world.secret, max_retries=0) as sdk:
        # Its pages are walked through: two models each.
        assert sorted(model.id for model in sdk.models.list(limit=2)) == NAMES
        model = sdk.models.retrieve("to-anthropic")
        assert (model.id, model.type) == ("to-anthropic", "model")
        with pytest.raises(anthropic.NotFoundError):
            sdk.models.retrieve("nothing")


def test_googles(world, relay, everywhere):
    sdk = genai.Client(api_key=world.secret, http_options=types.HttpOptions(base_url=relay.url))
    found = list(sdk.models.list(config=types.ListModelsConfig(page_size=2)))
    assert sorted(model.name for model in found) == [f"models/{name}" for name in NAMES]
    model = sdk.models.get(model="to-gemini")
    assert (model.name, model.input_token_limit, model.output_token_limit) == ("models/to-gemini", 8_000, 1_000)
    with pytest.raises(errors.ClientError) as missing:
        sdk.models.get(model="nothing")
    assert missing.value.code == 404
    sdk.close()
