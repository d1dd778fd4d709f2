"""Shutting down: open requests go on for a while, then are cut and charged for what was delivered; no hold is left."""

from __future__ import annotations

import asyncio
import json
import threading

import httpx
import pytest

from billing.models import Hold, ProcessLease
from billing.writing import leases
from relay.exchange import capture
from tests.cast.calls import Call, handed_over, locked_wallet
from tests.cast.waiting import eventually
from tests.doubles.upstream import COST, HANG, ask, completion, delta, json_reply, sse_reply, whole_stream

# The prompt "hello" as we count it, and two tokens delivered.
CUT_COST = (1 + 4 + 3) * 1_000 + 2 * 2_000


@pytest.fixture
def serving(world, upstream, relay):
    world.new_channel(upstream.url)
    relay.settled_down()
    return relay


def drain(relay, settings, seconds):
    """What SIGTERM does first: see `costrouter/serve/worker.py`."""
    settings.DRAIN_SECONDS = seconds
    relay.loop.call_soon_threadsafe(relay.application.drain)
    eventually(lambda: relay.runtime.draining)


def open_stream(relay, world, upstream, **options):
    upstream.script.append(sse_reply([delta("Hello"), delta(" there")], then="hang", **options))
    call = Call(relay, world.secret, ask(stream=True))
    call.until(b" there")
    return call


def test_readiness_fails_at_once_while_health_does_not(serving, world, settings):
    assert httpx.get(serving.url + "/readyz").status_code == 200
    drain(serving, settings, 5)
    ready, well = httpx.get(serving.url + "/readyz"), httpx.get(serving.url + "/healthz")
    assert (ready.status_code, ready.json()) == (503, {"status": "unavailable"})
    assert (well.status_code, well.json()) == (200, {"status": "ok"})
    world.prove()


def test_an_open_stream_goes_on_to_its_end(serving, world, upstream, settings):
    gate = threading.Event()
    upstream.script.append(sse_reply(whole_stream("Hel", "lo"), gates={2: gate}))
    call = Call(serving, world.secret, ask(stream=True))
    call.until(b"Hel")

    drain(serving, settings, 10)
    gate.set()

    assert call.whole().endswith(b"data: [DONE]\n\n")
    eventually(lambda: serving.application._draining.done(), within=2, what="draining ends with the last request")
    record = world.record()
    assert (record.status, record.cost_nanos) == ("ok", COST)
    assert world.prove()["charged_nanos"] == COST


def test_a_stream_that_does_not_end_is_cut_and_charged_for_what_was_delivered(serving, world, upstream, settings):
    call = open_stream(serving, world, upstream)

    drain(serving, settings, 0.2)

    content = call.whole()
    shown = delta("Hello") + delta(" there")
    assert content.startswith(shown)
    assert json.loads(content.removeprefix(shown + b"data: ")) == {
        "error": {
            "message": "The relay is shutting down; the answer was cut short.",
            "type": "server_error",
            "param": None,
            "code": "shutting_down",
        }
    }
    assert upstream.closed_early.wait(5)
    record = world.record()
    assert (record.status, record.error_code, record.estimated) == ("cancelled", "shutting_down", True)
    assert record.cost_nanos == CUT_COST
    assert world.prove()["charged_nanos"] == CUT_COST


def test_a_plain_request_that_does_not_end_is_cut_for_nothing(serving, world, upstream, settings):
    upstream.script.append(HANG)
    call = Call(serving, world.secret, ask())
    eventually(lambda: upstream.seen)

    drain(serving, settings, 0.2)

    assert call.status == 503
    assert json.loads(call.whole())["error"]["code"] == "shutting_down"
    assert upstream.closed_early.wait(5)
    record = world.record()
    assert (record.status, record.cost_nanos, record.attempts[0]["outcome"]) == ("cancelled", 0, "cut")
    assert world.prove()["charged_nanos"] == 0


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_waits_for_its_commit_is_not_cut(serving, world, upstream, settings, stream):
    """The upstream has answered, and is paid: so is the relay, and the client has its answer."""
    parts = whole_stream("Hel", "lo")
    upstream.script.append(sse_reply(parts) if stream else json_reply(completion()))
    with handed_over(serving, "hold") as held:
        call = Call(serving, world.secret, ask(stream=stream))
        assert held.wait(5)
        with handed_over(serving, "capture") as handed:
            eventually(lambda: Hold.objects.filter(captured=False).exists() or handed.is_set())
            assert handed.wait(5)
            drain(serving, settings, 0)
    assert call.status == 200
    whole = call.whole()
    assert b"shutting_down" not in whole
    record = world.record()
    assert (record.status, record.cost_nanos) == ("ok", COST)
    assert world.prove()["charged_nanos"] == COST


@pytest.mark.parametrize("stream", [False, True])
def test_a_second_cut_does_not_disturb_the_capture(serving, world, upstream, settings, monkeypatch, stream):
    """Stopping cuts again what draining has cut already, while its tokens are being counted."""
    counting, go_on = asyncio.Event(), threading.Event()
    count = capture.estimate

    async def slow(ctx, delivered):
        counting.set()
        while not go_on.is_set():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        return await count(ctx, delivered)

    monkeypatch.setattr(capture, "estimate", slow)
    if stream:
        call = open_stream(serving, world, upstream)
    else:
        upstream.script.append(json_reply(completion(usage=None)))
        call = Call(serving, world.secret, ask())
        eventually(counting.is_set)
    [exchange] = serving.runtime.exchanges

    drain(serving, settings, 0)
    eventually(counting.is_set)
    for _ in range(3):
        serving.loop.call_soon_threadsafe(exchange.cut)
    if stream:
        serving.loop.call_soon_threadsafe(exchange.client_gone)
    done = threading.Event()
    serving.loop.call_soon_threadsafe(done.set)
    assert done.wait(5)
    go_on.set()

    call.whole()
    record = world.record()
    assert (record.status, record.estimated) == ("cancelled" if stream else "ok", True)
    assert record.cost_nanos > 0
    assert world.prove()["charged_nanos"] == record.cost_nanos


def test_stopping_leaves_no_open_hold_and_gives_its_lease_back(serving, world, upstream):
    call = open_stream(serving, world, upstream)
    assert ProcessLease.objects.count() == 1
    lifespan = asyncio.run_coroutine_threadsafe(serving.runtime.stop(), serving.loop)
    lifespan.result(15)
    assert b"shutting_down" in call.whole()
    assert not Hold.objects.filter(captured=False).exists()
    assert leases.dead_lease_ids() == [ProcessLease.objects.get().pk]
    assert world.record().cost_nanos == CUT_COST
    assert world.prove()["charged_nanos"] == CUT_COST


def test_stopping_commits_what_waits_for_the_database(serving, world, upstream):
    call = open_stream(serving, world, upstream)
    with locked_wallet(world):
        stopping = asyncio.run_coroutine_threadsafe(serving.runtime.stop(), serving.loop)
        eventually(lambda: serving.runtime.writer._closing)
        assert world.records() == []
    stopping.result(15)
    call.whole()
    assert world.record().cost_nanos == CUT_COST
    assert world.prove()["charged_nanos"] == CUT_COST


def test_a_client_that_does_not_read_does_not_keep_us_from_stopping(serving, world, upstream, settings, monkeypatch):
    monkeypatch.setattr("relay.exchange.stream.LAST_WORDS_SECONDS", 0.2)
    upstream.script.append(sse_reply([delta("x" * 100_000)] * 200, then="hang"))
    call = Call(serving, world.secret, ask(stream=True), reads=False)
    eventually(lambda: serving.runtime.exchanges)
    [exchange] = serving.runtime.exchanges
    said = 0

    def stalled():
        nonlocal said
        before, said = said, len(exchange._reader.texts)
        return said and said == before

    eventually(stalled)
    drain(serving, settings, 0)

    eventually(lambda: not serving.runtime.exchanges, within=5)
    record = world.record()
    assert (record.status, record.error_code) == ("cancelled", "shutting_down")
    assert record.cost_nanos == record.held_nanos > 0
    call.hang_up()
    assert world.prove()["charged_nanos"] == record.cost_nanos
