"""Which failures of an upstream another channel makes good, which are the client's own, and what is said in the end."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from decimal import Decimal

import pytest

from channels_app.snapshot import ChannelInfo
from relay.routing.order import order
from tests.doubles.upstream import (
    COST,
    HANG,
    RESET,
    Reply,
    Upstream,
    ask,
    completion,
    delta,
    event,
    json_reply,
    sse_reply,
    whole_stream,
)
from tests.servers import free_port

pytestmark = pytest.mark.any_database

SECRET = "sk-upstream"  # the channel's credentials, see tests/cast/world.py
LEAK = {"error": {"message": f"Incorrect API key provided: {SECRET}", "code": "leaked"}}


@pytest.fixture
def spare():
    double = Upstream().start()
    yield double
    double.stop()


def two_channels(world, upstream, spare, **options):
    """Everything goes to `upstream` first, and to `spare` when that fails."""
    world.new_channel(upstream.url, name="first", priority=10, **options)
    world.new_channel(spare.url, name="second", priority=0)


def outcomes(record):
    return [(attempt["name"], attempt["outcome"]) for attempt in record.attempts]


ANY_CALL = {
    "reset": (RESET, "connection closed"),
    "redirect": (Reply([b"moved"], 302, headers={"location": "http://127.0.0.1:9/"}), "status 302"),
    **{
        f"status {status}": (json_reply(LEAK, status), f"status {status}")
        for status in (401, 402, 403, 404, 405, 407, 408, 429, 500, 501, 502, 503, 504, 524, 529)
    },
    "a 400 about the key": (json_reply({"error": {"message": "API key not valid."}}, 400), "status 400"),
    "a 400 that echoes the key": (json_reply({"detail": f"what is {SECRET}?"}, 400), "status 400"),
    "a 422 that echoes the key": (json_reply({"detail": f"what is {SECRET}?"}, 422), "status 422"),
    "an error that is cut off": (Reply([b'{"error"'], 400, then="cut"), "status 400"),
    "an endless error": (Reply([b"x" * 300_000], 400), "status 400"),
}
PLAIN = {
    **ANY_CALL,
    "nothing": (Reply([]), "not a completion"),
    "not JSON": (Reply([b"<html>hello</html>"], content_type="text/html"), "not a completion"),
    "a list": (json_reply([completion()]), "not a completion"),
    "no choices": (json_reply({"id": "x"}), "not a completion"),
    "empty choices": (json_reply({"choices": []}), "not a completion"),
    "an error in a 200": (json_reply({**completion(), **LEAK}), "not a completion"),
    "nested too deeply": (Reply([b'{"choices":[{"x":' + b"[" * 5_000 + b"]" * 5_000 + b"}]}"]), "not a completion"),
    "cut in the middle": (Reply([b'{"choices":'], then="cut"), "connection closed"),
}
STREAM = {
    **ANY_CALL,
    "nothing": (sse_reply([]), "empty stream"),
    "only the terminator": (sse_reply([event(b"[DONE]")]), "empty stream"),
    "only comments": (sse_reply([b": ping\n\n", b": ping\n\n"]), "empty stream"),
    "not events": (json_reply(completion()), "empty stream"),
    "events without a chunk": (sse_reply([event({}), event({"type": "ping"}), event(b"[DONE]")]), "empty stream"),
    "an error first": (sse_reply([event(LEAK)]), "error event"),
    "an error in vLLM's words": (sse_reply([event({"object": "error", "message": SECRET})]), "error event"),
    "an event named error": (sse_reply([b"event: error\n" + event({"message": SECRET})]), "error event"),
    "garbage with an error": (sse_reply([b'data: {"error": sk-upstream\n\n']), "error event"),
    "cut before the first event": (sse_reply([b": ping\n\n"], then="cut"), "connection closed"),
    "half an event": (sse_reply([delta("Hi")[:30]]), "empty stream"),
    "nested too deeply": (sse_reply([b'data: {"choices":[{"delta":' + b"[" * 5_000 + b"\n\n"]), None),
}


@pytest.mark.parametrize("case", PLAIN)
def test_a_plain_request_goes_to_the_next_channel(world, upstream, spare, relay, client, case):
    two_channels(world, upstream, spare)
    relay.settled_down()
    reply, outcome = PLAIN[case]
    upstream.script.append(reply)

    response = client.post("/v1/chat/completions", json=ask())

    assert response.status_code == 200
    assert response.json()["choices"] == completion()["choices"]
    assert (len(upstream.seen), len(spare.seen)) == (1, 1)
    record = world.record()
    assert (record.status, record.cost_nanos, record.channel) == ("ok", COST, "second")
    assert outcomes(record) == [("first", outcome), ("second", "ok")]
    assert world.prove()["charged_nanos"] == COST


@pytest.mark.parametrize("case", STREAM)
def test_a_stream_goes_to_the_next_channel_before_its_first_event(world, upstream, spare, relay, client, case):
    two_channels(world, upstream, spare)
    relay.settled_down()
    reply, outcome = STREAM[case]
    upstream.script.append(reply)
    spare.script.append(sse_reply(whole_stream("Hi")))

    response = client.post("/v1/chat/completions", json=ask(stream=True))

    assert response.status_code == 200
    assert response.content == b"".join(
        [delta("", role="assistant"), delta("Hi"), delta(finish="stop"), event(b"[DONE]")]
    )
    record = world.record()
    assert (record.status, record.cost_nanos, record.channel) == ("ok", COST, "second")
    first, second = outcomes(record)
    assert second == ("second", "ok")
    assert first == ("first", outcome) or outcome is None
    assert world.prove()["charged_nanos"] == COST


@pytest.mark.parametrize("stream", [False, True])
def test_a_channel_that_refuses_the_connection_is_left(world, spare, relay, client, stream):
    world.new_channel(f"http://127.0.0.1:{free_port()}/v1", priority=10)
    world.new_channel(spare.url, name="second")
    relay.settled_down()
    spare.script.append(sse_reply(whole_stream("Hi")) if stream else json_reply(completion()))

    response = client.post("/v1/chat/completions", json=ask(stream=stream))

    assert response.status_code == 200
    record = world.record()
    assert outcomes(record) == [("first", "cannot connect"), ("second", "ok")]
    assert world.prove()["charged_nanos"] == COST


@pytest.mark.parametrize(
    ("stream", "reply"),
    [
        (False, HANG),
        (False, Reply([b'{"choices"'], then="hang")),
        (True, HANG),
        (True, sse_reply([b": ping\n\n"], then="hang")),
    ],
)
def test_a_channel_that_keeps_silent_is_left_and_hung_up_on(world, upstream, spare, relay, client, stream, reply):
    two_channels(world, upstream, spare, first_byte_timeout=0.2, answer_timeout=0.2)
    relay.settled_down()
    upstream.script.append(reply)
    spare.script.append(sse_reply(whole_stream("Hi")) if stream else json_reply(completion()))

    response = client.post("/v1/chat/completions", json=ask(stream=stream))

    assert response.status_code == 200
    assert upstream.closed_early.wait(5)
    record = world.record()
    assert outcomes(record) == [("first", "timeout"), ("second", "ok")]
    assert world.prove()["charged_nanos"] == COST


def test_a_kept_connection_that_the_upstream_has_closed_says_nothing_of_the_channel(world, upstream, relay, client):
    world.new_channel(upstream.url)
    relay.settled_down()
    assert client.post("/v1/chat/completions", json=ask()).status_code == 200
    upstream.script.append(RESET)

    assert client.post("/v1/chat/completions", json=ask()).status_code == 200

    assert len(upstream.seen) == 3
    assert [outcomes(record) for record in world.records()] == [[("first", "ok")], [("first", "ok")]]
    assert world.prove()["charged_nanos"] == 2 * COST


def test_an_answer_of_any_size_is_not_kept_in_memory(world, upstream, spare, relay, client, monkeypatch):
    monkeypatch.setattr("relay.exchange.plain.MAX_ANSWER_BYTES", 10_000)
    two_channels(world, upstream, spare)
    relay.settled_down()
    upstream.script.append(Reply([b'{"choices":[', *[b" " * 1_000] * 20], then="hang"))
    assert client.post("/v1/chat/completions", json=ask()).status_code == 200
    assert upstream.closed_early.wait(5)
    assert outcomes(world.record()) == [("first", "answer too large"), ("second", "ok")]
    world.prove()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [400, 409, 413, 415, 422, 451])
def test_what_is_the_clients_own_fault_passes_byte_for_byte(world, upstream, spare, relay, client, stream, status):
    two_channels(world, upstream, spare)
    relay.settled_down()
    body = b'{ "error": {"message":"maximum context length is 8192 tokens","code":"context_length_exceeded"} }\n'
    upstream.script.append(Reply([body], status, content_type="application/json; x=1", headers={"set-cookie": "a=b"}))

    response = client.post("/v1/chat/completions", json=ask(stream=stream))

    assert (response.status_code, response.content) == (status, body)
    assert response.headers["content-type"] == "application/json; x=1"
    assert "set-cookie" not in response.headers
    assert spare.seen == []
    record = world.record()
    assert (record.status, record.http_status, record.error_code) == ("refused", status, "refused_by_upstream")
    assert (record.cost_nanos, outcomes(record)) == (0, [("first", f"status {status}")])
    assert world.prove()["charged_nanos"] == 0


VERDICTS = {
    "rate limits": ([429, 429, 429], 429, "upstream_rate_limited"),
    "rate limits and another": ([429, 429, 500], 502, "upstream_error"),
    "keys": ([401, 403, 402], 502, "upstream_error"),
    "unknown models": ([404, 404, 404], 502, "upstream_error"),
    "overload": ([500, 500, 503], 503, "no_channel"),
    "overload, as Anthropic says it": ([500, 500, 529], 503, "no_channel"),
    "slowness": ([500, 500, HANG], 504, "upstream_timeout"),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("case", VERDICTS)
def test_after_three_channels_the_client_is_told_nothing_of_their_words(world, upstream, relay, client, stream, case):
    for number in range(4):
        world.new_channel(
            upstream.url, name=f"channel {number}", priority=-number, first_byte_timeout=0.2, answer_timeout=0.2
        )
    relay.settled_down()
    replies, status, code = VERDICTS[case]
    upstream.script.extend(json_reply(LEAK, reply) if isinstance(reply, int) else reply for reply in replies)

    response = client.post("/v1/chat/completions", json=ask(stream=stream))

    assert response.status_code == status
    error = response.json()["error"]
    assert (error["code"], error["param"], set(error)) == (code, None, {"message", "type", "param", "code"})
    assert SECRET not in response.text
    assert "leaked" not in response.text
    assert ("retry-after" in response.headers) == (status == 429)
    assert len(upstream.seen) == 3
    record = world.record()
    assert (record.status, record.http_status, record.error_code) == ("upstream_error", status, code)
    assert (record.cost_nanos, record.units, record.lines) == (0, {}, [])
    assert [name for name, _ in outcomes(record)] == ["channel 0", "channel 1", "channel 2"]
    assert world.prove()["charged_nanos"] == 0
    assert world.balance() == (10_000_000_000, 0)


def channel(number: int, *, priority: int = 0, weight: int = 1) -> ChannelInfo:
    return replace(_CHANNEL, id=number, priority=priority, weight=weight)


_CHANNEL = ChannelInfo(
    id=0,
    name="",
    provider="openai_compatible",
    base_url="",
    credentials="",
    enabled=True,
    priority=0,
    weight=1,
    groups=frozenset(),
    models={},
    connect_timeout=1,
    first_byte_timeout=1,
    answer_timeout=1,
    idle_timeout=1,
    cost_multiplier=Decimal(1),
    allow_private_addresses=True,
)


def test_channels_of_a_higher_priority_come_first():
    channels = tuple(channel(number, priority=-(number // 2)) for number in range(6))
    tries = {tuple(c.id for c in order(channels)) for _ in range(200)}
    assert tries == {(0, 1, 2), (0, 1, 3), (1, 0, 2), (1, 0, 3)}


def test_within_a_priority_weights_decide_and_a_weight_of_zero_waits_for_the_others():
    random.seed(7)
    channels = (channel(1, weight=1), channel(3, weight=3), channel(9, weight=0))
    tries = [[c.id for c in order(channels)] for _ in range(4_000)]
    first = Counter(order[0] for order in tries)
    assert first[9] == 0
    assert 900 < first[1] < 1_100
    assert all(order[2] == 9 for order in tries)


def test_channels_of_weight_zero_alone_share_the_requests():
    channels = (channel(1, weight=0), channel(2, weight=0))
    assert {next(order(channels)).id for _ in range(100)} == {1, 2}
