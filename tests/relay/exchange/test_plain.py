"""An answer that is not streamed: it waits for its charge, and without usage it is estimated."""

from __future__ import annotations

import json
import threading

import pytest

from relay.exchange.convert import Converting
from relay.tasks import THREAD_BYTES
from tests.cast.calls import Call, handed_over, locked_wallet
from tests.cast.waiting import eventually
from tests.doubles.upstream import COST, ask, completion, json_reply, sse_reply, whole_stream

CHAT = "/v1/chat/completions"
# The prompt "hello" as we count it, and the three tokens of "Hello there!".
ESTIMATE = (1 + 4 + 3) * 1_000 + 3 * 2_000


def test_a_plain_answer_waits_until_the_charge_is_committed(world, upstream, relay):
    world.new_channel(upstream.url)
    relay.settled_down()
    gate = threading.Event()
    upstream.script.append(json_reply(completion(), gates={0: gate}))
    call = Call(relay, world.secret, ask())
    with handed_over(relay, "capture") as handed:
        eventually(lambda: upstream.seen)
        with locked_wallet(world):
            gate.set()
            assert handed.wait(5)
            assert call.raw == b""
    assert json.loads(call.whole())["usage"]["cost"] == COST / 1e9
    assert [record.cost_nanos for record in world.records()] == [COST]
    assert world.prove()["charged_nanos"] == COST


def test_a_plain_answer_whose_charge_cannot_be_committed_in_time_is_withheld(world, upstream, relay, monkeypatch):
    monkeypatch.setattr("relay.exchange.plain.COMMIT_SECONDS", 0.3)
    world.new_channel(upstream.url)
    relay.settled_down()
    gate = threading.Event()
    upstream.script.append(json_reply(completion(), gates={0: gate}))
    call = Call(relay, world.secret, ask())
    eventually(lambda: upstream.seen)
    with locked_wallet(world):
        gate.set()
        assert json.loads(call.whole())["error"]["code"] == "unavailable"
    assert call.status == 503
    assert world.record().cost_nanos == COST
    assert world.prove()["charged_nanos"] == COST


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": -5, "completion_tokens": 5}, {"prompt_tokens": 10**12}])
def test_without_usage_that_can_be_believed_it_is_estimated(world, upstream, relay, client, usage):
    world.new_channel(upstream.url)
    relay.settled_down()
    upstream.script.append(json_reply({**completion(usage=None), "usage": usage}))

    response = client.post(CHAT, json=ask())

    record = world.record()
    assert (record.estimated, record.units, record.cost_nanos) == (True, {"input": 8, "output": 3}, ESTIMATE)
    assert response.headers["x-costrouter-cost"] == "0.000014"
    assert response.json()["usage"] == {
        "prompt_tokens": 8,
        "completion_tokens": 3,
        "total_tokens": 11,
        "cost": 0.000014,
    }
    assert world.prove()["charged_nanos"] == ESTIMATE


def test_the_operators_cost_follows_the_channels_multiplier(world, upstream, relay, client):
    world.new_channel(upstream.url, cost_multiplier="0.25")
    relay.settled_down()
    client.post(CHAT, json=ask())
    record = world.record()
    assert (record.cost_nanos, record.upstream_cost_nanos) == (COST, COST // 4)
    assert world.prove()["charged_nanos"] == COST


def test_the_route_with_the_models_name_there_and_odd_bytes(world, upstream, relay, client):
    world.new_channel(upstream.url, models={world.model: "org/strange name%41é"})
    relay.settled_down()
    body = (
        b'{ "model":"double-1","messages":[{"role":"user","content":"h\\u00e9"}], '
        b'"big":12345678901234567890123, "x":1e5 }'
    )
    response = client.post(CHAT, content=body)
    assert response.json()["id"] == "chatcmpl-double"
    assert (
        upstream.seen[0].body
        == (
            '{"model":"org/strange name%41é","messages":[{"role":"user","content":"h\\u00e9"}],'
            '"big":12345678901234567890123,"x":1e5}'
        ).encode()
    )
    world.prove()


def _broken(*_):
    raise ValueError("a bug")


@pytest.mark.parametrize("where", ["read_answer", "_with_cost"])
def test_an_answer_that_cannot_be_read_or_written_is_not_charged(world, upstream, relay, client, monkeypatch, where):
    world.new_channel(upstream.url)
    relay.settled_down()
    if where == "read_answer":
        monkeypatch.setattr("relay.exchange.convert.Passing.read_answer", _broken)
    else:
        monkeypatch.setattr("relay.protocols.chat.answer._with_cost", _broken)
    response = client.post(CHAT, json=ask())
    assert (response.status_code, response.json()["error"]["code"]) == (502, "upstream_error")
    record = world.record()
    assert (record.status, record.cost_nanos) == ("upstream_error", 0)
    assert world.prove()["charged_nanos"] == 0


def test_the_end_of_a_stream_that_cannot_be_written_is_not_charged(world, upstream, relay, client, monkeypatch):
    world.new_channel(upstream.url)
    relay.settled_down()
    monkeypatch.setattr("relay.protocols.chat.answer.StreamReader.last", _broken)
    upstream.script.append(sse_reply(whole_stream("Hello")))
    response = client.post(CHAT, json=ask(stream=True))
    events = response.text.strip().split("\n\n")
    assert json.loads(events[-1].removeprefix("data: "))["error"]["code"] == "upstream_error"
    record = world.record()
    assert (record.status, record.cost_nanos) == ("upstream_error", 0)
    assert world.prove()["charged_nanos"] == 0


@pytest.mark.parametrize(("characters", "away"), [(100, False), (2 * THREAD_BYTES, True)])
def test_a_large_body_is_converted_off_the_event_loop(world, upstream, relay, client, monkeypatch, characters, away):
    threads = []
    write, read = Converting.body, Converting.read_answer

    def body(self, target):
        threads.append(threading.current_thread())
        return write(self, target)

    def read_answer(self, answer):
        threads.append(threading.current_thread())
        return read(self, answer)

    monkeypatch.setattr(Converting, "body", body)
    monkeypatch.setattr(Converting, "read_answer", read_answer)
    world.new_channel(upstream.url)
    relay.settled_down()
    upstream.script.append(json_reply(completion("b" * characters)))
    asked = {"model": "double-1", "max_tokens": 5, "messages": [{"role": "user", "content": "a" * characters}]}
    response = client.post("/v1/messages", json=asked)
    assert response.status_code == 200
    assert [thread is not relay._thread for thread in threads] == [away] * 3
