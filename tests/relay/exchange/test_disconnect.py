"""A client that goes away: the upstream is stopped where that saves something, and what was used is charged."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import httpx
import pytest

from billing.models import Hold
from channels_app.services import save_model
from relay import asgi
from relay.exchange import tokens
from relay.exchange.stream import StreamExchange
from tests.cast.calls import Call, handed_over, locked_wallet
from tests.cast.waiting import eventually
from tests.doubles.upstream import COST, DONE, HANG, ask, completion, delta, json_reply, sse_reply, usage_chunk

# The prompt "hello" as we count it: its tokens, 4 a message, 3 a request.
PROMPT = 1 + 4 + 3
WORDS = ["The", " quick", " brown", " fox"]
CANCELLED_COST = PROMPT * 1_000 + 4 * 2_000


def test_a_stream_is_stopped_at_once_and_charged_for_what_was_delivered(world, upstream, relay):
    world.new_channel(upstream.url, cost_multiplier="0.5")
    relay.settled_down()
    upstream.script.append(sse_reply([delta(word) for word in WORDS], then="hang"))
    call = Call(relay, world.secret, ask(stream=True))
    call.until(b" fox")

    call.hang_up()

    assert upstream.closed_early.wait(5)
    record = world.record()
    assert tokens.count(["".join(WORDS)]) == 4
    assert (record.status, record.estimated, record.streamed) == ("cancelled", True, True)
    assert record.units == {"input": PROMPT, "output": 4}
    assert (record.cost_nanos, record.overrun_nanos, record.upstream_cost_nanos) == (
        CANCELLED_COST,
        0,
        CANCELLED_COST // 2,
    )
    assert world.prove()["charged_nanos"] == CANCELLED_COST


def test_an_estimate_for_a_gone_client_never_exceeds_the_hold(world, upstream, relay):
    world.new_channel(upstream.url)
    relay.settled_down()
    upstream.script.append(sse_reply([delta(" one" * 500), delta("end")], then="hang"))
    call = Call(relay, world.secret, ask(stream=True, max_tokens=20))
    call.until(b"end")

    call.hang_up()

    record = world.record()
    held = (5 + 16 + 64) * 1_000 + 20 * 2_000
    assert record.units["output"] > 20
    assert (record.held_nanos, record.cost_nanos, record.overrun_nanos) == (held, held, 0)
    assert world.prove()["charged_nanos"] == held


def test_the_usage_of_a_finished_answer_is_still_read(world, upstream, relay):
    world.new_channel(upstream.url)
    relay.settled_down()
    gate = threading.Event()
    parts = [delta("Hello"), delta(finish="stop"), usage_chunk(), DONE]
    upstream.script.append(sse_reply(parts, gates={2: gate}))
    call = Call(relay, world.secret, ask(stream=True))
    call.until(b'"finish_reason": "stop"')
    [exchange] = relay.runtime.exchanges

    call.hang_up()
    eventually(lambda: exchange.gone)
    gate.set()

    record = world.record()
    assert (record.status, record.estimated, record.cost_nanos) == ("cancelled", False, COST)
    assert not upstream.closed_early.is_set()
    assert world.prove()["charged_nanos"] == COST


def test_a_finished_answer_is_not_waited_for_longer_than_its_usage_is_worth(world, upstream, relay, monkeypatch):
    monkeypatch.setattr("relay.exchange.stream.USAGE_SECONDS", 0.2)
    world.new_channel(upstream.url)
    relay.settled_down()
    upstream.script.append(sse_reply([delta("Hello"), delta(finish="stop")], then="hang"))
    call = Call(relay, world.secret, ask(stream=True))
    call.until(b'"finish_reason": "stop"')

    call.hang_up()

    assert upstream.closed_early.wait(5)
    record = world.record()
    assert (record.status, record.estimated) == ("cancelled", True)
    assert record.cost_nanos == PROMPT * 1_000 + 1 * 2_000
    assert world.prove()["charged_nanos"] == record.cost_nanos


def test_where_reasoning_is_hidden_the_stream_is_read_to_its_end(world, upstream, relay):
    world.model.hidden_reasoning = True
    save_model(model=world.model)
    world.new_channel(upstream.url)
    relay.settled_down()
    gate = threading.Event()
    parts = [delta("Hello"), delta(" there"), delta(finish="stop"), usage_chunk(), DONE]
    upstream.script.append(sse_reply(parts, gates={1: gate}))
    call = Call(relay, world.secret, ask(stream=True))
    call.until(b"Hello")
    [exchange] = relay.runtime.exchanges

    call.hang_up()
    eventually(lambda: exchange.gone)
    gate.set()

    record = world.record()
    assert (record.status, record.estimated, record.cost_nanos) == ("cancelled", False, COST)
    assert not upstream.closed_early.is_set()
    assert world.prove()["charged_nanos"] == COST


def test_an_upstream_that_cuts_a_gone_clients_stream_is_not_paid_for(world, upstream, relay):
    world.model.hidden_reasoning = True
    save_model(model=world.model)
    world.new_channel(upstream.url)
    relay.settled_down()
    gate = threading.Event()
    upstream.script.append(sse_reply([delta("Hello"), delta(" there")], then="cut", gates={1: gate}))
    call = Call(relay, world.secret, ask(stream=True))
    call.until(b"Hello")
    [exchange] = relay.runtime.exchanges

    call.hang_up()
    eventually(lambda: exchange.gone)
    gate.set()

    record = world.record()
    assert (record.status, record.cost_nanos) == ("upstream_error", 0)
    assert world.prove()["charged_nanos"] == 0


def test_before_the_upstream_has_answered_nothing_is_charged(world, upstream, relay):
    world.new_channel(upstream.url)
    relay.settled_down()
    upstream.script.append(HANG)
    call = Call(relay, world.secret, ask(stream=True))
    eventually(lambda: upstream.seen)

    call.hang_up()

    assert upstream.closed_early.wait(5)
    record = world.record()
    assert (record.status, record.cost_nanos, record.units) == ("cancelled", 0, {})
    assert record.attempts[0]["outcome"] == "cut"
    assert world.prove()["charged_nanos"] == 0


def test_a_plain_answer_is_read_to_its_end_and_charged(world, upstream, relay):
    world.new_channel(upstream.url)
    relay.settled_down()
    gate = threading.Event()
    upstream.script.append(json_reply(completion(), gates={0: gate}))
    call = Call(relay, world.secret, ask())
    eventually(lambda: upstream.seen)

    call.hang_up()
    gate.set()

    record = world.record()
    assert (record.status, record.estimated, record.cost_nanos) == ("ok", False, COST)
    assert world.prove()["charged_nanos"] == COST


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_goes_while_its_hold_waits_is_not_served(world, upstream, relay, stream):
    world.new_channel(upstream.url)
    relay.settled_down()
    with handed_over(relay, "hold") as asked, handed_over(relay, "capture") as released:
        with locked_wallet(world):
            call = Call(relay, world.secret, ask(stream=stream))
            assert asked.wait(5)
            call.hang_up()
            # The hold is still being decided: nothing can be released before.
            eventually(lambda: not _requests(relay))
            assert not released.is_set()
        assert released.wait(5)

    record = world.record()
    assert (record.status, record.http_status, record.error_code) == ("cancelled", 499, "client_gone")
    assert (record.cost_nanos, record.attempts) == (0, [])
    assert upstream.seen == []
    assert world.prove()["charged_nanos"] == 0
    assert world.balance() == (10_000_000_000, 0)


def test_a_client_that_goes_before_its_body_is_whole_leaves_a_record_and_no_hold(world, upstream, relay):
    world.new_channel(upstream.url)
    relay.settled_down()
    call = Call(relay, world.secret, ask(), send_body=False)
    call.send(b'{"model":')
    eventually(lambda: _requests(relay))

    call.hang_up()

    record = world.record()
    assert (record.status, record.http_status, record.error_code) == ("cancelled", 499, "client_gone")
    assert upstream.seen == []
    assert not Hold.objects.exists()
    assert world.prove()["charged_nanos"] == 0


def _requests(relay: Any) -> int:
    """How many requests the server is serving."""
    return len(relay.server.server_state.tasks)


class Cancelled:
    """A request whose server cancels its task, as servers do when its client is gone."""

    def __init__(self, relay: Any, secret: str, body: Any) -> None:
        self._relay = relay
        self._body: list[bytes] = [json.dumps(body).encode()]
        self._scope = {
            "type": "http",
            "method": "POST",
            "path": "/v1/chat/completions",
            "query_string": b"",
            "headers": [(b"authorization", f"Bearer {secret}".encode())],
            "client": ("127.0.0.1", 1),
        }
        self.sent: list[dict[str, Any]] = []
        self._future = asyncio.run_coroutine_threadsafe(self._serve(), relay.loop)

    async def _serve(self) -> None:
        await asgi.handle(self._scope, self._receive, self._send, self._relay.runtime)

    async def _receive(self) -> dict[str, Any]:
        if self._body:
            return {"type": "http.request", "body": self._body.pop(), "more_body": False}
        await asyncio.Event().wait()
        raise AssertionError

    async def _send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)

    def cancel(self) -> None:
        assert self._future.cancel()


def test_a_cancelled_task_of_a_plain_request_does_not_cancel_the_charge(world, upstream, relay):
    world.new_channel(upstream.url)
    relay.settled_down()
    gate = threading.Event()
    upstream.script.append(json_reply(completion(), gates={0: gate}))
    request = Cancelled(relay, world.secret, ask())
    eventually(lambda: upstream.seen)

    request.cancel()
    gate.set()

    record = world.record()
    assert (record.status, record.cost_nanos) == ("ok", COST)
    assert world.prove()["charged_nanos"] == COST


def test_a_cancelled_task_of_a_stream_is_charged_for_what_was_delivered(world, upstream, relay):
    world.new_channel(upstream.url)
    relay.settled_down()
    upstream.script.append(sse_reply([delta(word) for word in WORDS], then="hang"))
    request = Cancelled(relay, world.secret, ask(stream=True))
    eventually(lambda: any(b" fox" in message.get("body", b"") for message in request.sent))

    request.cancel()

    assert upstream.closed_early.wait(5)
    record = world.record()
    assert (record.status, record.cost_nanos) == ("cancelled", CANCELLED_COST)
    assert world.prove()["charged_nanos"] == CANCELLED_COST


def test_a_cancelled_task_whose_hold_waits_gives_it_back(world, upstream, relay):
    world.new_channel(upstream.url)
    relay.settled_down()
    with handed_over(relay, "hold") as asked, locked_wallet(world):
        request = Cancelled(relay, world.secret, ask())
        assert asked.wait(5)
        request.cancel()

    record = world.record()
    assert (record.status, record.cost_nanos, record.error_code) == ("cancelled", 0, "client_gone")
    assert upstream.seen == []
    assert world.prove()["charged_nanos"] == 0
    assert world.balance() == (10_000_000_000, 0)


def test_a_server_that_says_so_when_the_client_is_gone_is_no_failure_of_the_upstream(
    world, upstream, relay, client, monkeypatch
):
    class Gone(StreamExchange):
        def __init__(self, ctx, runtime):
            send = ctx.send

            async def until_gone(message):
                if b"second" in message.get("body", b""):
                    raise ConnectionResetError
                await send(message)

            ctx.send = until_gone
            super().__init__(ctx, runtime)

    monkeypatch.setattr("relay.exchange.pipeline.StreamExchange", Gone)
    world.new_channel(upstream.url)
    relay.settled_down()
    upstream.script.append(sse_reply([delta("first"), delta(" second")], then="hang"))
    with pytest.raises(httpx.RemoteProtocolError):
        client.post("/v1/chat/completions", json=ask(stream=True))
    relay.settled_down()
    record = world.record()
    assert (record.status, record.estimated) == ("cancelled", True)
    assert record.units == {"input": 8, "output": 2}
    assert world.prove()["charged_nanos"] == 8 * 1_000 + 2 * 2_000
