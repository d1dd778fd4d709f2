"""A streamed answer: what passes, what it costs when it ends in any way, and that its end waits for the charge."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import contextmanager

import pytest

from relay.exchange import tokens
from tests.cast.calls import Call, handed_over, locked_wallet
from tests.doubles.upstream import COST, DONE, USAGE, ask, delta, event, sse_reply, usage_chunk, whole_stream

SHOWN = b"".join([delta("", role="assistant"), delta("Hel"), delta("lo"), delta(finish="stop"), DONE])
# The prompt "hello" as we count it: its tokens, 4 a message, 3 a request.
PROMPT = 1 + 4 + 3


def crlf(data):
    return data.replace(b"\n", b"\r\n")


def pieces(data, size):
    return [data[start : start + size] for start in range(0, len(data), size)]


WHOLE = b"".join(whole_stream("Hel", "lo"))
PACKETS = {
    "all in one": [WHOLE],
    "a byte each": pieces(WHOLE, 1),
    "seven bytes each": pieces(WHOLE, 7),
    "CRLF": [crlf(WHOLE)],
    "CRLF, a byte each": pieces(crlf(WHOLE), 1),
    "CRLF, three bytes each": pieces(crlf(WHOLE), 3),
    "CR": [WHOLE.replace(b"\n", b"\r"), b""],
    "more blank lines": [WHOLE.replace(b"\n\n", b"\n\n\n\n")],
    "no blank line at the end": [WHOLE[:-2]],
    "nothing after the finish reason but usage": [WHOLE.removesuffix(DONE)],
    "something after the end": [WHOLE + delta("more") + DONE],
}


@pytest.mark.parametrize("case", PACKETS)
def test_events_pass_however_packets_cut_them(world, upstream, relay, client, case):
    world.new_channel(upstream.url)
    relay.settled_down()
    upstream.script.append(sse_reply([part for part in PACKETS[case] if part]))

    response = client.post("/v1/chat/completions", json=ask(stream=True))

    assert response.content == SHOWN
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    record = world.record()
    assert (record.status, record.cost_nanos, record.estimated) == ("ok", COST, False)
    assert record.first_byte_ms is not None
    assert world.prove()["charged_nanos"] == COST


def test_comments_and_events_unheard_of_pass_as_they_are(world, upstream, relay, client):
    world.new_channel(upstream.url)
    relay.settled_down()
    odd = [b": ping\n\n", b'event: extra\ndata: {"type":"extra"}\n\n', b"data: hello\n\n", b"id: 1\n" + delta("x")]
    upstream.script.append(sse_reply([*odd, *whole_stream("Hel", "lo")]))

    response = client.post("/v1/chat/completions", json=ask(stream=True))

    assert response.content == b"".join(odd) + SHOWN
    assert world.prove()["charged_nanos"] == COST


CUTS = {
    "the connection is cut": (sse_reply([delta("Hello"), delta(" there")], then="cut"), "upstream_error"),
    "the answer just ends": (sse_reply([delta("Hello"), delta(" there")]), "upstream_error"),
    "half an event is the last": (sse_reply([delta("Hello"), delta(" there"), delta("!")[:40]]), "upstream_error"),
    "an error event": (
        sse_reply([delta("Hello"), delta(" there"), event({"error": {"message": "sk-upstream"}}), DONE]),
        "upstream_error",
    ),
    "an error in other words": (
        sse_reply([delta("Hello"), delta(" there"), event({"object": "error", "message": "sk-upstream"}), DONE]),
        "upstream_error",
    ),
    "silence": (sse_reply([delta("Hello"), delta(" there")], then="hang"), "upstream_timeout"),
}


@pytest.mark.parametrize("case", CUTS)
def test_an_answer_that_the_upstream_cuts_costs_nothing(world, upstream, relay, client, case):
    world.new_channel(upstream.url, idle_timeout=0.3)
    relay.settled_down()
    reply, code = CUTS[case]
    upstream.script.append(reply)

    response = client.post("/v1/chat/completions", json=ask(stream=True))

    shown = delta("Hello") + delta(" there")
    assert response.content.startswith(shown)
    assert b"[DONE]" not in response.content
    assert b"sk-upstream" not in response.content
    [line, rest] = response.content.removeprefix(shown).split(b"\n\n")
    assert rest == b""
    assert json.loads(line.removeprefix(b"data: ")) == {
        "error": {
            "message": "The upstream failed before it had finished; this answer is not charged.",
            "type": "upstream_error",
            "param": None,
            "code": code,
        }
    }
    record = world.record()
    assert (record.status, record.http_status, record.error_code) == ("upstream_error", 200, code)
    assert (record.cost_nanos, record.upstream_cost_nanos, record.lines, record.estimated) == (0, 0, [], True)
    assert record.units == {"input": PROMPT, "output": 2}
    assert record.attempts[0]["outcome"] != "ok"
    assert world.prove()["charged_nanos"] == 0


def test_an_event_without_end_is_a_failure(world, upstream, relay, monkeypatch):
    monkeypatch.setattr("relay.protocols.sse.MAX_EVENT_BYTES", 1_000)
    world.new_channel(upstream.url)
    relay.settled_down()
    gate = threading.Event()
    upstream.script.append(sse_reply([delta("Hello"), b"data: " + b"x" * 2_000], then="hang", gates={1: gate}))

    call = Call(relay, world.secret, ask(stream=True))
    call.until(b"Hello")
    gate.set()

    assert call.whole().startswith(delta("Hello") + b'data: {"error"')
    assert upstream.closed_early.wait(5)
    assert world.record().status == "upstream_error"
    assert world.prove()["charged_nanos"] == 0


ENDS = {
    "a finish reason, then the end": [delta("Hello"), delta(finish="stop")],
    "a finish reason, then an error": [delta("Hello"), delta(finish="stop"), event({"error": "sk-upstream"})],
    "the terminator without a finish reason": [delta("Hello"), DONE],
    "a usage of nothing": [delta("Hello"), delta(finish="stop"), usage_chunk({**USAGE, "prompt_tokens": -1}), DONE],
    "a usage of zeros": [
        delta("Hello"),
        delta(finish="stop"),
        usage_chunk({"prompt_tokens": 0, "completion_tokens": 0}),
        DONE,
    ],
}


@pytest.mark.parametrize("then", ["end", "cut"])
@pytest.mark.parametrize("case", ENDS)
def test_an_answer_that_ended_without_usage_is_estimated(world, upstream, relay, client, case, then):
    world.new_channel(upstream.url)
    relay.settled_down()
    upstream.script.append(sse_reply(ENDS[case], then=then))

    response = client.post("/v1/chat/completions", json=ask(stream=True))

    assert response.content.startswith(delta("Hello"))
    assert response.content.endswith(DONE)
    assert b"sk-upstream" not in response.content
    record = world.record()
    assert (record.status, record.estimated, record.units) == ("ok", True, {"input": PROMPT, "output": 1})
    assert record.cost_nanos == PROMPT * 1_000 + 1 * 2_000
    assert world.prove()["charged_nanos"] == record.cost_nanos


def test_an_estimate_never_exceeds_the_hold_and_the_cost_shown_is_the_cost_charged(world, upstream, relay, client):
    thin = world.new_model("thin", context_window=None, max_output=100, input="1", output="2")
    world.new_channel(upstream.url, models={thin: ""})
    relay.settled_down()
    words = " one" * 500
    upstream.script.append(sse_reply([delta(words), delta(finish="length"), DONE]))

    response = client.post(
        "/v1/chat/completions", json=ask(model="thin", stream=True, stream_options={"include_usage": True})
    )

    record = world.record()
    held = (5 + 16 + 64) * 1_000 + 100 * 2_000
    assert (record.held_nanos, record.cost_nanos, record.overrun_nanos) == (held, held, 0)
    made = tokens.count([words])
    assert record.units == {"input": PROMPT, "output": made}
    last = json.loads(response.content.split(b"\n\n")[-3].removeprefix(b"data: "))
    assert last["choices"] == []
    assert last["usage"] == {
        "prompt_tokens": PROMPT,
        "completion_tokens": made,
        "total_tokens": PROMPT + made,
        "cost": held / 1e9,
    }
    assert world.prove()["charged_nanos"] == held


def test_real_usage_beyond_the_hold_is_charged_and_noted_as_overrun(world, upstream, relay, client):
    world.new_channel(upstream.url)
    relay.settled_down()
    usage = {"prompt_tokens": 1_000, "completion_tokens": 5_000}
    upstream.script.append(sse_reply([delta("Hi", finish="stop"), usage_chunk(usage), DONE]))

    client.post("/v1/chat/completions", json=ask(stream=True, max_tokens=10))

    record = world.record()
    held = (5 + 16 + 64) * 1_000 + 10 * 2_000
    cost = 1_000 * 1_000 + 5_000 * 2_000
    assert (record.held_nanos, record.cost_nanos, record.overrun_nanos) == (held, cost, cost - held)
    assert world.prove()["charged_nanos"] == cost


def test_a_choice_that_the_upstream_cut_fails_the_answer_though_another_had_finished(world, upstream, relay, client):
    world.new_channel(upstream.url)
    relay.settled_down()
    second = {"index": 1, "delta": {"content": "B"}, "finish_reason": None}
    both = event({"choices": [{"index": 0, "delta": {"content": "A"}, "finish_reason": "stop"}, second]})
    upstream.script.append(sse_reply([both], then="cut"))

    response = client.post("/v1/chat/completions", json=ask(stream=True, n=2))

    assert b'"code":"upstream_error"' in response.content
    assert world.record().status == "upstream_error"
    assert world.prove()["charged_nanos"] == 0


def test_the_terminator_waits_until_the_charge_is_committed(world, upstream, relay):
    world.new_channel(upstream.url)
    relay.settled_down()
    gate = threading.Event()
    upstream.script.append(sse_reply(whole_stream("Hel", "lo"), gates={2: gate}))
    call = Call(relay, world.secret, ask(stream=True))
    call.until(b"Hel")

    with handed_over(relay, "capture") as handed, locked_wallet(world):
        gate.set()
        call.until(b'"finish_reason": "stop"')
        assert handed.wait(5)
        assert b"[DONE]" not in call.raw
    call.until(b"[DONE]")

    [record] = world.records()
    assert (record.status, record.cost_nanos) == ("ok", COST)
    assert call.whole() == SHOWN
    assert world.prove()["charged_nanos"] == COST


def test_a_stream_whose_charge_cannot_be_committed_in_time_ends_in_an_error(world, upstream, relay, monkeypatch):
    monkeypatch.setattr("relay.exchange.stream.COMMIT_SECONDS", 0.3)
    world.new_channel(upstream.url)
    relay.settled_down()
    gate = threading.Event()
    upstream.script.append(sse_reply(whole_stream("Hel", "lo"), gates={2: gate}))
    call = Call(relay, world.secret, ask(stream=True))
    call.until(b"Hel")

    with locked_wallet(world):
        gate.set()
        content = call.whole()

    assert b"[DONE]" not in content
    assert content.endswith(b"\n\n")
    error = json.loads(content.split(b"\n\n")[-2].removeprefix(b"data: "))["error"]
    assert (error["code"], error["type"]) == ("unavailable", "server_error")
    record = world.record()
    assert (record.status, record.cost_nanos) == ("ok", COST)
    assert world.prove()["charged_nanos"] == COST


def test_a_client_that_does_not_read_is_gone_after_the_idle_timeout(world, upstream, relay):
    """Its hold and its upstream connection must not be pinned for ever; what was delivered is charged."""
    world.new_channel(upstream.url, idle_timeout=0.3)
    relay.settled_down()
    upstream.default = sse_reply([delta("x" * 50_000)] * 400, then="hang")

    with stalled_client(relay, world.secret, ask(stream=True)):
        record = world.record()

    assert (record.status, record.estimated, record.http_status) == ("cancelled", True, 200)
    assert 0 < record.cost_nanos <= record.held_nanos
    world.prove()


@contextmanager
def stalled_client(relay, secret, body):
    """A client that sends its request and never reads the answer."""
    content = json.dumps(body).encode()
    with socket.create_connection(("127.0.0.1", relay.port)) as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {secret}\r\n"
        raw.sendall(f"{head}content-length: {len(content)}\r\n\r\n".encode() + content)
        yield
