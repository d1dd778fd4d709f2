"""A paid chat completion: what goes upstream, what comes back, what it costs."""

from __future__ import annotations

import json

from tests.doubles.upstream import USAGE, completion, delta, sse_reply, usage_chunk, whole_stream

COST = 10 * 1_000 + 5 * 2_000  # 10 input tokens at 1 USD a million, 5 output tokens at 2


def ask(**fields):
    return {"model": "double-1", "messages": [{"role": "user", "content": "hello"}], **fields}


def test_a_plain_answer_is_relayed_and_charged(world, upstream, relay, client):
    world.new_channel(upstream.url, models={world.model: "upstream-name"})
    relay.settled_down()

    response = client.post("/v1/chat/completions", json=ask(temperature=0.5, unheard_of={"a": [1.50]}))

    assert response.status_code == 200
    assert response.json() == completion(usage={**USAGE, "cost": 0.00002})
    assert response.headers["x-costrouter-cost"] == "0.00002"
    [seen] = upstream.seen
    assert seen.path == "/v1/chat/completions"
    assert seen.body == (
        b'{"model":"upstream-name","messages":[{"role":"user","content":"hello"}],"temperature":0.5,'
        b'"unheard_of":{"a":[1.5]}}'
    )
    assert seen.headers["authorization"] == "Bearer sk-upstream"
    [record] = world.records()
    assert (record.status, record.http_status, record.cost_nanos) == ("ok", 200, COST)
    assert record.units == {"input": 10, "output": 5}
    assert record.lines == [
        {"quantity": 10, "unit": "input", "price": "1", "per": 1_000_000},
        {"quantity": 5, "unit": "output", "price": "2", "per": 1_000_000},
    ]
    assert record.request_id == response.headers["x-request-id"]
    assert world.balance() == (10_000_000_000, COST)
    assert world.prove()["charged_nanos"] == COST
    assert world.balance() == (10_000_000_000 - COST, 0)


def test_a_streamed_answer_is_relayed_and_charged(world, upstream, relay, client):
    world.new_channel(upstream.url)
    relay.settled_down()
    upstream.script.append(sse_reply(whole_stream("Hel", "lo")))

    response = client.post("/v1/chat/completions", json=ask(stream=True))

    assert response.content == b"".join(
        [delta("", role="assistant"), delta("Hel"), delta("lo"), delta(finish="stop"), b"data: [DONE]\n\n"]
    )
    assert json.loads(upstream.seen[0].body)["stream_options"] == {"include_usage": True}
    [record] = world.records()
    assert (record.status, record.cost_nanos, record.streamed, record.estimated) == ("ok", COST, True, False)
    assert world.prove()["charged_nanos"] == COST


def test_usage_is_shown_with_its_cost_to_a_client_that_asked(world, upstream, relay, client):
    world.new_channel(upstream.url)
    relay.settled_down()
    upstream.script.append(sse_reply([delta("Hi", finish="stop") + usage_chunk()]))

    response = client.post("/v1/chat/completions", json=ask(stream=True, stream_options={"include_usage": True}))

    last, end = response.content.split(b"\n\n")[-3:-1]
    assert json.loads(last[6:])["usage"] == {**USAGE, "cost": 0.00002}
    assert end == b"data: [DONE]"


def test_bob_without_money_is_refused_and_nothing_is_sent(world, upstream, relay, client):
    world.new_channel(upstream.url)
    relay.settled_down()

    response = client.post("/v1/chat/completions", json=ask(), headers={"authorization": f"Bearer {world.bobs_secret}"})

    assert response.status_code == 403
    assert response.json()["error"]["code"] == "insufficient_balance"
    assert response.headers["x-should-retry"] == "false"
    assert upstream.seen == []
    assert world.prove()["charged_nanos"] == 0
