"""Tokens counted before a request: by the upstream where it speaks the client's dialect, else by the relay itself."""

from __future__ import annotations

import json

import anthropic
import pytest
from google import genai
from google.genai import types

from tests.doubles.upstream import json_reply
from tests.sdk.clients import WEATHER
from tests.sdk.mind import SYSTEM

pytestmark = pytest.mark.any_database

WORDS = "How many tokens are these few words?"
TOOL = {"name": "get_weather", "input_schema": WEATHER}


def anthropics(relay, world, model):
    with anthropic.Anthropic(base_url=relay.url, api_key=world.secret, max_retries=0) as sdk:
        asked = {"messages": [{"role": "user", "content": WORDS}], "system": SYSTEM, "tools": [TOOL]}
        return sdk.messages.count_tokens(model=model, **asked).input_tokens


def googles(relay, world, model):
    sdk = genai.Client(api_key=world.secret, http_options=types.HttpOptions(base_url=relay.url))
    found = sdk.models.count_tokens(model=model, contents=WORDS)
    sdk.close()
    return found.total_tokens


# Client's dialect → how it asks, what its own upstream answers and is asked, and what the relay counts by itself.
COUNTS = {
    "anthropic": (
        *(anthropics, {"input_tokens": 421}, "/v1/messages/count_tokens"),
        {
            "model": "claude-double",
            "messages": [{"role": "user", "content": WORDS}],
            "system": SYSTEM,
            "tools": [TOOL],
        },
        62,
    ),
    "gemini": (
        *(googles, {"totalTokens": 421, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 421}]}),
        "/v1beta/models/gemini-3-double:countTokens",
        {"contents": [{"role": "user", "parts": [{"text": WORDS}]}]},
        11,
    ),
}


@pytest.mark.parametrize("client", COUNTS)
def test_counts(world, relay, everywhere, client):
    count, answer, path, body, own = COUNTS[client]
    everywhere[client].script.append(json_reply(answer))
    assert count(relay, world, f"to-{client}") == 421
    [seen] = everywhere[client].seen
    assert (seen.path, json.loads(seen.body)) == (path, body)
    for upstream, double in everywhere.items():
        if upstream != client:
            assert count(relay, world, f"to-{upstream}") == own
            assert double.seen == []
    # An upstream that cannot count is no reason not to.
    everywhere[client].script.append(json_reply({"error": "down"}, 500))
    assert count(relay, world, f"to-{client}") == own
    assert {record.cost_nanos for record in world.records()} <= {0}
    assert world.prove()["charged_nanos"] == 0
