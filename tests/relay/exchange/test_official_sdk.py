"""The official OpenAI client, given our base URL and key and nothing else."""

from __future__ import annotations

import asyncio
import json

import openai
import pytest

from tests.doubles.upstream import (
    CHUNK,
    COST,
    DONE,
    USAGE,
    completion,
    delta,
    event,
    json_reply,
    sse_reply,
    usage_chunk,
    whole_stream,
)

pytestmark = pytest.mark.any_database

MESSAGES = [{"role": "user", "content": "hello"}]
ASK = {"model": "double-1", "messages": MESSAGES}
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}]
CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Paris"}'}}


@pytest.fixture
def sdk(world, upstream, relay):
    world.new_channel(upstream.url)
    relay.settled_down()
    with openai.OpenAI(base_url=f"{relay.url}/v1", api_key=world.secret) as client:
        yield client


def run(relay, world, call):
    """A call of the asynchronous client."""

    async def go():
        async with openai.AsyncOpenAI(base_url=f"{relay.url}/v1", api_key=world.secret) as client:
            return await call(client)

    return asyncio.run(go())


def test_a_plain_answer_with_its_cost(world, sdk):
    answer = sdk.chat.completions.create(**ASK)
    assert answer.choices[0].message.content == "Hello there!"
    assert answer.usage.total_tokens == 15
    assert answer.usage.model_extra == {"cost": 0.00002}
    assert answer._request_id == world.record().request_id
    raw = sdk.chat.completions.with_raw_response.create(**ASK)
    assert raw.headers["x-costrouter-cost"] == "0.00002"
    assert world.prove()["charged_nanos"] == 2 * COST


def test_a_plain_answer_asynchronously(world, relay, sdk):
    answer = run(relay, world, lambda client: client.chat.completions.create(**ASK))
    assert answer.usage.model_extra == {"cost": 0.00002}
    assert world.prove()["charged_nanos"] == COST


def test_a_stream(world, upstream, sdk):
    upstream.script.append(sse_reply(whole_stream("Hel", "lo")))
    chunks = list(sdk.chat.completions.create(**ASK, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Hello"
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert all(chunk.usage is None for chunk in chunks)
    assert world.prove()["charged_nanos"] == COST


def test_a_stream_with_usage_asynchronously(world, upstream, relay, sdk):
    upstream.script.append(sse_reply(whole_stream("Hel", "lo")))

    async def read(client):
        stream = await client.chat.completions.create(**ASK, stream=True, stream_options={"include_usage": True})
        return [chunk async for chunk in stream]

    chunks = run(relay, world, read)
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == 5
    assert chunks[-1].usage.model_extra == {"cost": 0.00002}
    assert world.prove()["charged_nanos"] == COST


def test_the_streaming_helper_gathers_tool_calls(world, upstream, sdk):
    first = {**CALL, "index": 0, "function": {"name": "weather", "arguments": ""}}
    parts = [
        event({**CHUNK, "choices": [{"index": 0, "delta": {"role": "assistant", "tool_calls": [first]}}]}),
        delta(tool_calls=[{"index": 0, "function": {"arguments": '{"city":'}}]),
        delta(tool_calls=[{"index": 0, "function": {"arguments": '"Paris"}'}}]),
        delta(finish="tool_calls"),
        usage_chunk(),
        DONE,
    ]
    upstream.script.append(sse_reply(parts))
    with sdk.chat.completions.stream(**ASK, tools=TOOLS, stream_options={"include_usage": True}) as stream:
        for _ in stream:
            pass
        final = stream.get_final_completion()
    [call] = final.choices[0].message.tool_calls
    assert (call.id, call.function.name, call.function.arguments) == ("call_1", "weather", '{"city":"Paris"}')
    assert final.usage.model_extra == {"cost": 0.00002}
    assert upstream.seen[0].json["tools"] == TOOLS
    assert world.prove()["charged_nanos"] == COST


def test_a_tool_call_and_its_result_go_round(world, upstream, sdk):
    asked = completion()
    asked["choices"][0] = {
        "index": 0,
        "message": {"role": "assistant", "content": None, "tool_calls": [CALL]},
        "finish_reason": "tool_calls",
    }
    upstream.script.append(json_reply(asked))
    message = sdk.chat.completions.create(**ASK, tools=TOOLS).choices[0].message
    assert message.tool_calls[0].function.arguments == '{"city":"Paris"}'

    result = {"role": "tool", "tool_call_id": "call_1", "content": "sunny"}
    answer = sdk.chat.completions.create(**{**ASK, "messages": [*MESSAGES, message, result]}, tools=TOOLS)

    assert answer.choices[0].message.content == "Hello there!"
    assert upstream.seen[1].json["messages"][1]["tool_calls"] == [CALL]
    assert upstream.seen[1].json["messages"][2] == result
    assert world.prove()["charged_nanos"] == 2 * COST


def test_models(world, sdk):
    assert [model.id for model in sdk.models.list()] == ["double-1"]
    assert sdk.models.retrieve("double-1").owned_by == "double"
    with pytest.raises(openai.NotFoundError):
        sdk.models.retrieve("org/nothing")
    world.prove()


def test_errors_are_the_sdks_own_classes(world, upstream, sdk):
    with pytest.raises(openai.AuthenticationError) as wrong:
        sdk.with_options(api_key="sk-wrong").chat.completions.create(**ASK)
    assert (wrong.value.code, wrong.value.type) == ("invalid_api_key", "authentication_error")
    with pytest.raises(openai.NotFoundError) as missing:
        sdk.chat.completions.create(**{**ASK, "model": "nothing"})
    assert (missing.value.code, missing.value.param) == ("model_not_found", "model")
    assert missing.value.request_id.startswith("req_")
    with pytest.raises(openai.BadRequestError) as unpriced:
        sdk.chat.completions.create(**ASK, service_tier="priority")
    assert unpriced.value.code == "unpriced_feature"
    upstream.script.append(json_reply({"error": {"message": "too long", "code": "context_length_exceeded"}}, 400))
    with pytest.raises(openai.BadRequestError) as long:
        sdk.chat.completions.create(**ASK)
    assert long.value.code == "context_length_exceeded"
    assert world.prove()["charged_nanos"] == 0


def test_a_403_is_not_asked_again(world, upstream, sdk):
    with pytest.raises(openai.PermissionDeniedError) as poor:
        sdk.with_options(api_key=world.bobs_secret).chat.completions.create(**ASK)
    assert poor.value.code == "insufficient_balance"
    record = world.record()
    assert record.http_status == 403
    assert world.prove()["records"] == 1


def test_a_failed_upstream_is_asked_again_by_the_sdk_and_paid_once(world, upstream, sdk):
    upstream.script.append(json_reply({"error": "down"}, 500))
    assert sdk.chat.completions.create(**ASK).usage.model_extra == {"cost": 0.00002}
    assert sorted(record.status for record in world.records()) == ["ok", "upstream_error"]
    assert world.prove()["charged_nanos"] == COST


def test_statuses_of_failing_upstreams(world, upstream, sdk):
    once = sdk.with_options(max_retries=0)
    upstream.script.append(json_reply({}, 429))
    with pytest.raises(openai.RateLimitError):
        once.chat.completions.create(**ASK)
    upstream.script.append(json_reply({}, 500))
    with pytest.raises(openai.InternalServerError) as failed:
        once.chat.completions.create(**ASK)
    assert (failed.value.status_code, failed.value.code) == (502, "upstream_error")
    assert world.prove()["charged_nanos"] == 0


def test_an_error_in_mid_stream_is_raised(world, upstream, sdk):
    upstream.script.append(sse_reply([delta("Hel")], then="cut"))
    stream = sdk.chat.completions.create(**ASK, stream=True)
    assert next(stream).choices[0].delta.content == "Hel"
    with pytest.raises(openai.APIError, match="failed before it had finished") as cut:
        next(stream)
    assert cut.value.code == "upstream_error"
    assert world.prove()["charged_nanos"] == 0


def test_structured_output_is_parsed(world, upstream, sdk):
    upstream.script.append(json_reply(completion(json.dumps({"answer": 42}), usage={**USAGE, "unheard_of": 1})))
    schema = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}, "strict": True}}
    answer = sdk.chat.completions.create(**ASK, response_format=schema)
    assert json.loads(answer.choices[0].message.content) == {"answer": 42}
    assert answer.usage.model_extra == {"unheard_of": 1, "cost": 0.00002}
    assert upstream.seen[0].json["response_format"] == schema
    assert world.prove()["charged_nanos"] == COST
