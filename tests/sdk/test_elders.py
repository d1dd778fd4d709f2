"""Less than the newest have: calls without ids, Anthropic's first version, clients that lose what a model thought."""

from __future__ import annotations

import anthropic
import pytest
from google import genai
from google.genai import types

from tests.sdk.clients import CLIENTS, WEATHER, Ask
from tests.sdk.conftest import connect
from tests.sdk.gemini_double import OldGeminiDouble
from tests.sdk.mind import SYSTEM
from tests.sdk.test_pairs import right

pytestmark = pytest.mark.any_database


@pytest.fixture
def old(world, relay):
    double = OldGeminiDouble().start()
    connect(world, double, "old")
    relay.settled_down()
    yield double
    double.stop()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_call_without_an_id_gets_one(world, relay, old, subtests, stream):
    for client in CLIENTS:
        with subtests.test(client):
            sdk = CLIENTS[client](relay.url, world.secret, "old", stream=stream)
            heard = right(old, sdk.ask, Ask("Weather in Paris and Rome", tools=True))
            assert [(name, arguments) for _, name, arguments in heard.calls] == [
                ("get_weather", {"city": "Paris"}),
                ("get_weather", {"city": "Rome"}),
            ]
            ids = [id for id, _, _ in heard.calls]
            if client == "gemini":
                # Nothing of what passes through is changed, so its results are told in the order of the calls.
                assert ids == [None, None]
                continue
            assert all(isinstance(id, str) and id for id in ids) and len(set(ids)) == 2
            # Told the other way round, each result still finds its call.
            results = {ids[1]: "rain", ids[0]: "sun"}
            assert sorted(right(old, sdk.tell, results).text.split("; ")) == ["Paris: sun", "Rome: rain"]
            again = right(old, sdk.more, "Weather in Rome")
            [(id, _, arguments)] = again.calls
            assert (id not in ids, arguments) == (True, {"city": "Rome"})
            assert right(old, sdk.tell, {id: "wind"}).text == "Rome: wind"
            sdk.close()
    assert not old.wrongs
    world.prove()


@pytest.mark.parametrize("thinking", [{"thinking_level": "HIGH"}, {"thinking_budget": 2_048}])
def test_thoughts_that_a_client_lost(world, relay, everywhere, thinking):
    """Many a client keeps texts and calls alone of a turn; no upstream may be asked in a way that it then refuses."""
    called = types.FunctionCall(id="made-elsewhere.1", name="get_weather", args={"city": "Paris"})
    result = types.FunctionResponse(id="made-elsewhere.1", name="get_weather", response={"output": "sunny"})
    tool = types.FunctionDeclaration(name="get_weather", parameters_json_schema=WEATHER)
    config = types.GenerateContentConfig(
        system_instruction=SYSTEM,
        thinking_config=types.ThinkingConfig(**thinking),
        tools=[types.Tool(function_declarations=[tool])],
        max_output_tokens=9_000,
    )
    asked = [
        types.Content(role="user", parts=[types.Part.from_text(text="Weather in Paris")]),
        types.Content(role="model", parts=[types.Part(function_call=called)]),
        types.Content(role="user", parts=[types.Part(function_response=result)]),
    ]
    sdk = genai.Client(api_key=world.secret, http_options=types.HttpOptions(base_url=relay.url))
    for upstream in ("responses", "anthropic"):
        answer = sdk.models.generate_content(model=f"to-{upstream}", contents=asked, config=config)
        assert answer.text == "Paris: sunny"
    sdk.close()
    world.prove()


def test_sampling_of_anthropics_first_version(world, relay, everywhere):
    with anthropic.Anthropic(
        base_url=relay.url,
        api_key=world.secret,
        max_retries=0,
        default_headers={"anthropic-version": "2023-06-01"},
    ) as sdk:
        for upstream, double in everywhere.items():
            answer = sdk.messages.create(
                model=f"to-{upstream}",
                max_tokens=50,
                system=SYSTEM,
                messages=[{"role": "user", "content": "Hello you"}],
                extra_body={"temperature": 0.5, "top_p": 0.9},
            )
            assert answer.content[0].text == "Hello there, Zoë! 🌍"
            body = double.seen[0].json
            sampling = body.get("generationConfig", body)
            assert (sampling["temperature"], sampling.get("top_p", sampling.get("topP"))) == (0.5, 0.9)
        assert everywhere["anthropic"].seen[0].headers["anthropic-version"] == "2023-06-01"
    world.prove()
