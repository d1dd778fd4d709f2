"""Clients of every dialect on a channel of Bedrock: signed requests, binary streams, tools, errors, exact charges."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from typing import Any

import pytest

from tests.doubles.bedrock_frames import START, TYPE, call, delta, end, exception, metadata, stop
from tests.doubles.upstream import Reply, json_reply, sse_reply, whole_stream

pytestmark = pytest.mark.any_database

ACCESS, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
MODEL = "eu.anthropic.claude-sonnet-4-5-20250929-v1:0"
PATH = "/model/eu.anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse"
USAGE = {"inputTokens": 10, "outputTokens": 5, "totalTokens": 115, "cacheReadInputTokens": 100}
COST = 110 * 1_000 + 5 * 2_000  # a cached token costs what an uncached one does, where it has no price
HELLO = [{"role": "user", "content": "hello"}]
ASKS: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("/v1/chat/completions", {"model": "double-1", "messages": HELLO}),
    "responses": ("/v1/responses", {"model": "double-1", "input": "hello"}),
    "anthropic": ("/v1/messages", {"model": "double-1", "max_tokens": 99, "messages": HELLO}),
    "gemini": (
        "/v1beta/models/double-1:generateContent",
        {"contents": [{"role": "user", "parts": [{"text": "hello"}]}]},
    ),
}


@pytest.fixture
def bedrock(world, upstream, relay):
    channel = world.new_channel(
        upstream.url.removesuffix("/v1"),
        provider="bedrock",
        credentials=f"{ACCESS}:{SECRET}@eu-west-1",
        models={world.model: MODEL},
    )
    relay.settled_down()
    return channel


def answer(*blocks: dict[str, Any], reason: str = "end_turn") -> Reply:
    message = {"role": "assistant", "content": list(blocks)}
    return json_reply(
        {"output": {"message": message}, "stopReason": reason, "usage": USAGE, "metrics": {"latencyMs": 1}}
    )


def stream(*frames: bytes, **options: Any) -> Reply:
    """Frames as a network delivers them: cut anywhere."""
    whole = b"".join(frames)
    return Reply([whole[at : at + 50] for at in range(0, len(whole), 50)], content_type=TYPE, **options)


WORDS = [START, delta(0, text="Hel"), delta(0, text="lo"), end(0), stop(), metadata(**USAGE)]


def signature_of(seen: Any) -> str:
    """Signature Version 4 of what arrived, as Amazon describes it."""
    date = seen.headers["x-amz-date"]
    path = seen.path.replace("%", "%25")  # what is escaped is escaped once more
    canonical = f"POST\n{path}\n\nhost:{seen.headers['host']}\nx-amz-date:{date}\n\nhost;x-amz-date\n"
    canonical += hashlib.sha256(seen.body).hexdigest()
    scope = f"{date[:8]}/eu-west-1/bedrock/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{date}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{SECRET}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signed = hmac.new(key, text.encode(), "sha256").hexdigest()
    return f"AWS4-HMAC-SHA256 Credential={ACCESS}/{scope}, SignedHeaders=host;x-amz-date, Signature={signed}"


def events(response: Any) -> list[Any]:
    """The data of a stream's events."""
    lines = [line[5:].strip() for line in response.text.splitlines() if line.startswith("data:")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


SAID = {
    "chat": lambda body: (body["choices"][0]["message"]["content"], body["choices"][0]["finish_reason"]),
    "responses": lambda body: (body["output"][0]["content"][0]["text"], body["status"]),
    "anthropic": lambda body: (body["content"][0]["text"], body["stop_reason"]),
    "gemini": lambda body: (
        body["candidates"][0]["content"]["parts"][0]["text"],
        body["candidates"][0]["finishReason"],
    ),
}
ENDS = {"chat": "stop", "responses": "completed", "anthropic": "end_turn", "gemini": "STOP"}
COUNTED = {
    "chat": ("usage", {"prompt_tokens": 110, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 100}}),
    "responses": ("usage", {"input_tokens": 110, "output_tokens": 5}),
    "anthropic": ("usage", {"input_tokens": 10, "cache_read_input_tokens": 100, "output_tokens": 5}),
    "gemini": ("usageMetadata", {"promptTokenCount": 110, "cachedContentTokenCount": 100, "candidatesTokenCount": 5}),
}


@pytest.mark.parametrize("dialect", ASKS)
def test_a_plain_answer_is_converted_signed_and_charged(world, upstream, client, bedrock, dialect):
    upstream.script.append(answer({"text": "Hello"}))
    path, body = ASKS[dialect]

    response = client.post(path, json=body)

    assert response.status_code == 200
    assert response.headers["content-type"].startswith("application/json")
    assert SAID[dialect](response.json()) == ("Hello", ENDS[dialect])
    field, counted = COUNTED[dialect]
    assert counted.items() <= response.json()[field].items()
    [seen] = upstream.seen
    assert seen.path == PATH
    assert seen.headers["authorization"] == signature_of(seen)
    assert seen.json == {
        "messages": [{"role": "user", "content": [{"text": "hello"}]}],
        **({"inferenceConfig": {"maxTokens": 99}} if dialect == "anthropic" else {}),
    }
    record = world.record()
    assert (record.status, record.cost_nanos, record.estimated) == ("ok", COST, False)
    assert record.units == {"input": 10, "cache_read": 100, "output": 5}
    assert world.prove()["charged_nanos"] == COST


def streaming(dialect: str) -> tuple[str, dict[str, Any]]:
    path, body = ASKS[dialect]
    if dialect == "gemini":
        return path.replace("generateContent", "streamGenerateContent?alt=sse"), body
    return path, {**body, "stream": True}


TEXTS = {
    "chat": lambda said: [event["choices"][0]["delta"].get("content") for event in said],
    "responses": lambda said: [event.get("delta") for event in said],
    "anthropic": lambda said: [event.get("delta", {}).get("text") for event in said],
    "gemini": lambda said: [
        part.get("text") for event in said for part in event["candidates"][0].get("content", {}).get("parts", [])
    ],
}


@pytest.mark.parametrize("dialect", ASKS)
def test_a_stream_is_converted_signed_and_charged(world, upstream, client, bedrock, dialect):
    upstream.script.append(stream(*WORDS))
    path, body = streaming(dialect)

    response = client.post(path, json=body)

    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/event-stream")
    assert [text for text in TEXTS[dialect](events(response)) if text] == ["Hel", "lo"]
    [seen] = upstream.seen
    assert seen.path == PATH + "-stream"
    assert seen.headers["authorization"] == signature_of(seen)
    assert "stream" not in seen.json
    record = world.record()
    assert (record.status, record.cost_nanos, record.estimated, record.streamed) == ("ok", COST, False, True)
    assert world.prove()["charged_nanos"] == COST


def test_an_anthropic_stream_is_this(world, upstream, client, bedrock):
    upstream.script.append(stream(*WORDS))
    said = events(client.post("/v1/messages", json={**ASKS["anthropic"][1], "stream": True}))
    assert [event["type"] for event in said] == [
        *("message_start", "content_block_start", "content_block_delta", "content_block_delta"),
        *("content_block_stop", "message_delta", "message_stop"),
    ]
    assert said[-2]["delta"] == {"stop_reason": "end_turn", "stop_sequence": None}
    assert COUNTED["anthropic"][1].items() <= said[-2]["usage"].items()


TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
SPEC = {"toolSpec": {"name": "look", "inputSchema": {"json": {"type": "object", "properties": {}}}}}


def test_a_tool_is_called_and_answered(world, upstream, client, bedrock):
    calls = [call(0, "look", "tooluse_1"), delta(0, toolUse={"input": '{"at":'}), delta(0, toolUse={"input": "1}"})]
    upstream.script.append(stream(START, *calls, end(0), stop("tool_use"), metadata(**USAGE)))
    upstream.script.append(answer({"text": "A cat."}))
    body = {"model": "double-1", "messages": HELLO, "tools": [TOOL], "tool_choice": "required"}

    said = events(client.post("/v1/chat/completions", json={**body, "stream": True}))

    pieces = [piece for event in said for piece in event["choices"][0]["delta"].get("tool_calls", [])]
    assert (pieces[0]["id"], pieces[0]["function"]["name"]) == ("tooluse_1", "look")
    arguments = "".join(piece["function"].get("arguments", "") for piece in pieces)
    assert arguments == '{"at":1}'
    assert said[-1]["choices"][0]["finish_reason"] == "tool_calls"

    called = {"id": "tooluse_1", "type": "function", "function": {"name": "look", "arguments": arguments}}
    turns = [
        *HELLO,
        {"role": "assistant", "content": None, "tool_calls": [called]},
        {"role": "tool", "tool_call_id": "tooluse_1", "content": "cat"},
    ]
    response = client.post("/v1/chat/completions", json={**body, "messages": turns, "tool_choice": "auto"})

    assert response.json()["choices"][0]["message"]["content"] == "A cat."
    first, second = upstream.seen
    assert first.json["toolConfig"] == {"tools": [SPEC], "toolChoice": {"any": {}}}
    assert second.json == {
        "messages": [
            {"role": "user", "content": [{"text": "hello"}]},
            {
                "role": "assistant",
                "content": [{"toolUse": {"toolUseId": "tooluse_1", "name": "look", "input": {"at": 1}}}],
            },
            {"role": "user", "content": [{"toolResult": {"toolUseId": "tooluse_1", "content": [{"text": "cat"}]}}]},
        ],
        "toolConfig": {"tools": [SPEC], "toolChoice": {"auto": {}}},
    }
    assert world.prove()["charged_nanos"] == 2 * COST


@pytest.mark.parametrize("streamed", [False, True])
def test_a_thought_comes_back_as_it_was_signed(world, upstream, client, bedrock, streamed):
    if streamed:
        thought = [delta(0, reasoningContent={"text": "Hm."}), delta(0, reasoningContent={"signature": "c2ln"}), end(0)]
        upstream.script.append(stream(START, *thought, delta(1, text="So"), end(1), stop(), metadata(**USAGE)))
    else:
        thought_block = {"reasoningContent": {"reasoningText": {"text": "Hm.", "signature": "c2ln"}}}
        upstream.script.append(answer(thought_block, {"text": "So"}))
    upstream.script.append(answer({"text": "Yes."}))
    body = {"model": "double-1", "max_tokens": 999, "messages": HELLO, "thinking": {"type": "adaptive"}}

    response = client.post("/v1/messages", json={**body, "stream": streamed})

    if streamed:
        deltas = [event["delta"] for event in events(response) if event["type"] == "content_block_delta"]
        seal = next(each["signature"] for each in deltas if each["type"] == "signature_delta")
        content = [{"type": "thinking", "thinking": "Hm.", "signature": seal}, {"type": "text", "text": "So"}]
    else:
        content = response.json()["content"]
    turns = [*HELLO, {"role": "assistant", "content": content}, {"role": "user", "content": "sure?"}]
    assert client.post("/v1/messages", json={**body, "messages": turns}).status_code == 200
    assert upstream.seen[0].json["additionalModelRequestFields"] == {"thinking": {"type": "adaptive"}}
    assert upstream.seen[1].json["messages"][1]["content"] == [
        {"reasoningContent": {"reasoningText": {"text": "Hm.", "signature": "c2ln"}}},
        {"text": "So"},
    ]


# Errors

REFUSED = {
    "chat": lambda body: (body["error"]["message"], body["error"]["type"]),
    "responses": lambda body: (body["error"]["message"], body["error"]["type"]),
    "anthropic": lambda body: (body["error"]["message"], body["error"]["type"]),
    "gemini": lambda body: (body["error"]["message"], body["error"]["status"]),
}


def refused(kind: str, message: str, status: int) -> Reply:
    return json_reply({"message": message}, status, headers={"x-amzn-errortype": f"{kind}:http://internal.amazon.com/"})


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("dialect", ASKS)
def test_the_clients_own_error_keeps_its_status_and_message(world, upstream, client, bedrock, dialect, streamed):
    message = "The maximum tokens you requested exceeds the model limit of 64000."
    upstream.script.append(refused("ValidationException", message, 400))
    path, body = streaming(dialect) if streamed else ASKS[dialect]

    response = client.post(path, json=body)

    assert response.status_code == 400
    kind = "INVALID_ARGUMENT" if dialect == "gemini" else "invalid_request_error"
    assert REFUSED[dialect](response.json()) == (message, kind)
    assert len(upstream.seen) == 1
    record = world.record()
    assert (record.http_status, record.cost_nanos) == (400, 0)
    assert world.prove()["charged_nanos"] == 0


@pytest.mark.parametrize(
    ("kind", "message", "status", "found"),
    [
        ("ThrottlingException", "Too many requests, please wait before trying again.", 429, 429),
        ("AccessDeniedException", "User: arn:aws:iam::123456789012:user/relay is not authorized", 403, 502),
        ("ValidationException", "The provided model identifier is invalid.", 400, 502),
        ("ServiceUnavailableException", "Bedrock is unable to process your request.", 503, 503),
        ("ModelErrorException", "The model failed.", 424, 502),
    ],
)
def test_the_operators_errors_never_pass_through(world, upstream, client, bedrock, kind, message, status, found):
    upstream.script.append(refused(kind, message, status))
    response = client.post("/v1/chat/completions", json=ASKS["chat"][1])
    assert response.status_code == found
    assert message not in response.text
    assert world.record().cost_nanos == 0


BROKEN = {
    "an exception": exception("modelStreamErrorException", "arn:aws:secret"),
    "half a frame": delta(0, text="lost")[:-3],
    "bytes that are no frame": b"<html>Bad gateway</html>",
    "a checksum that is wrong": delta(0, text="lost")[:-1] + b"\0",
    "a frame without end": b"\xff\xff\xff\xff" * 8,
}


@pytest.mark.parametrize("dialect", ["chat", "anthropic"])
@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_a_stream_that_breaks_ends_in_an_error_and_costs_nothing(world, upstream, client, bedrock, broken, dialect):
    upstream.script.append(stream(START, delta(0, text="Hel"), broken))
    path, body = streaming(dialect)

    response = client.post(path, json=body)

    assert response.status_code == 200
    said = events(response)
    assert said[-1]["error"]["message"] == ("The upstream failed before it had finished; this answer is not charged.")
    assert "Hel" in response.text and "arn:aws" not in response.text and "lost" not in response.text
    record = world.record()
    assert (record.status, record.cost_nanos) == ("upstream_error", 0)
    assert world.prove()["charged_nanos"] == 0


def test_a_stream_that_is_an_exception_goes_to_another_channel(world, upstream, relay, client, bedrock):
    world.new_channel(upstream.url, name="second", priority=-1)
    relay.settled_down()
    upstream.script.append(stream(exception("throttlingException", "Too many tokens")))
    upstream.script.append(sse_reply(whole_stream("Hel", "lo")))

    response = client.post("/v1/chat/completions", json={**ASKS["chat"][1], "stream": True})

    assert [text for text in TEXTS["chat"](events(response)) if text] == ["Hel", "lo"]
    assert [seen.path for seen in upstream.seen] == [PATH + "-stream", "/v1/chat/completions"]


def test_a_stream_without_usage_is_estimated(world, upstream, client, bedrock):
    upstream.script.append(stream(*WORDS[:-1]))
    response = client.post("/v1/messages", json={**ASKS["anthropic"][1], "stream": True})
    assert events(response)[-1] == {"type": "message_stop"}
    record = world.record()
    assert (record.status, record.estimated) == ("ok", True)
    assert 0 < record.cost_nanos < COST


def test_an_api_key_is_a_bearer_token(world, upstream, relay, client):
    world.new_channel(
        upstream.url.removesuffix("/v1"), provider="bedrock", credentials="ABSKkey", models={world.model: MODEL}
    )
    relay.settled_down()
    upstream.script.append(answer({"text": "Hello"}))
    assert client.post("/v1/chat/completions", json=ASKS["chat"][1]).status_code == 200
    [seen] = upstream.seen
    assert seen.headers["authorization"] == "Bearer ABSKkey"
    assert not [name for name in seen.headers if re.match("x-amz", name)]


def test_what_converse_cannot_say_is_refused_unsent(world, upstream, client, bedrock):
    body = {**ASKS["chat"][1], "n": 2}
    response = client.post("/v1/chat/completions", json=body)
    assert response.status_code == 400
    assert (response.json()["error"]["code"], response.json()["error"]["param"]) == ("unsupported_field", "n")
    assert upstream.seen == []


def test_what_a_model_can_say_is_judged_by_its_name_there(world, upstream, relay, client, bedrock):
    """A budget is Claude's alone, which "double-1" does not tell, but its upstream name does."""
    upstream.script.append(answer({"text": "Hello"}))
    thinking = {"type": "enabled", "budget_tokens": 1_024}
    body = {"model": "double-1", "max_tokens": 2_000, "messages": HELLO, "thinking": thinking}
    assert client.post("/v1/messages", json=body).status_code == 200
    assert upstream.seen[0].json["additionalModelRequestFields"]["thinking"] == thinking
