"""`previous_response_id`: the relay keeps the turns, whatever the upstream speaks, and keeps them to their owner."""

from __future__ import annotations

from datetime import timedelta

import openai
import pytest
from django.utils import timezone

from relay.models import StoredTurn
from tests.sdk.clients import DESCRIPTION, WEATHER
from tests.sdk.mind import SYSTEM

pytestmark = pytest.mark.any_database

TOOL = {
    "type": "function",
    "name": "get_weather",
    "description": DESCRIPTION,
    "parameters": WEATHER,
    "strict": False,
}


def client(relay, key):
    return openai.OpenAI(base_url=f"{relay.url}/v1", api_key=key, max_retries=0)


def respond(sdk, stream, **fields):
    """A response, streamed or whole."""
    fields = {"model": "double-2", "instructions": SYSTEM, "tools": [TOOL], **fields}
    if not stream:
        return sdk.responses.create(**fields)
    return list(sdk.responses.create(**fields, stream=True))[-1].response


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_conversations_go_on(world, relay, everywhere, subtests, stream):
    with client(relay, world.secret) as sdk:
        for upstream, double in everywhere.items():
            with subtests.test(upstream):
                goes_on(sdk, double, f"to-{upstream}", stream)
    assert [record.status for record in world.records()] == ["ok"] * 3 * len(everywhere)
    world.prove()


def goes_on(sdk, double, model, stream):
    hello = respond(sdk, stream, model=model, input="Hello you")
    asked = respond(sdk, stream, model=model, input="Weather in Paris and Rome", previous_response_id=hello.id)
    assert not double.wrongs, double.wrongs
    calls = [item for item in asked.output if item.type == "function_call"]
    results = [{"type": "function_call_output", "call_id": call.call_id, "output": "sunny"} for call in calls]
    told = respond(sdk, stream, model=model, input=results, previous_response_id=asked.id)
    assert not double.wrongs, double.wrongs
    assert told.output_text == "Paris: sunny; Rome: sunny"
    assert (told.previous_response_id, told.store, told.status) == (asked.id, True, "completed")
    assert len({hello.id, asked.id, told.id, "resp_double"}) == 4
    # The upstream was sent all that came before, and was never asked to keep it.
    last = double.seen[-1].body.decode()
    assert "Hello you" in last and "Hello there" in last and "Weather in Paris and Rome" in last
    assert "previous_response_id" not in last
    assert ('"store":false' in last) == (double.dialect == "responses")


def test_who_may_go_on_and_how_long(world, relay, place):
    double = place("chat")
    world.credit(10**9, organization=world.bobs)
    with client(relay, world.secret) as alice, client(relay, world.bobs_secret) as bob:
        first = respond(alice, False, input="Hello you")
        unkept = respond(alice, False, input="Hello you", store=False)
        expired = respond(alice, False, input="Hello you")
        StoredTurn.objects.filter(pk=expired.id).update(expires_at=timezone.now() - timedelta(seconds=1))
        for sdk, turn in ((bob, first), (alice, unkept), (alice, expired)):
            with pytest.raises(openai.NotFoundError) as missing:
                respond(sdk, False, input="Hello you", previous_response_id=turn.id)
            body = missing.value.body
            assert (body["code"], body["param"]) == ("previous_response_not_found", "previous_response_id")
            assert body["message"] == f"Previous response with id '{turn.id}' not found."
        assert respond(alice, False, input="Hello you", previous_response_id=first.id).status == "completed"
    assert (len(double.seen), double.wrongs) == (4, [])
    world.prove()
