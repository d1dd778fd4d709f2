"""Counting tokens of whatever a client sends or an upstream says: no text is too long, or too odd, to be charged."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from relay.exchange import tokens
from tests.cast.calls import Call
from tests.doubles.upstream import ask, delta, sse_reply

LONG = "word " * 300_000  # 1.5 million characters: beyond what the library takes at once


def test_a_text_is_counted_in_the_o200k_vocabulary():
    assert tokens.count(["hello world", "", "The quick brown fox"]) == 2 + 4


@pytest.mark.parametrize("text", ["字", "\ud83d", "\U0010ffff", "\x00", "<|endoftext|>", " "])
def test_any_text_can_be_counted_however_long(text):
    one = tokens.count([text])
    assert 1 <= one <= 10
    assert 1 <= tokens.count([text * 1_200_000 if len(text) == 1 else text * 100_000]) <= one * 1_200_000


def test_a_piece_more_is_a_token_more_at_most(monkeypatch):
    whole = tokens.count([LONG[:400_000]])
    monkeypatch.setattr(tokens, "PIECE", 1_001)
    assert whole <= tokens.count([LONG[:400_000]]) <= whole + 400


def test_a_long_prompt_whose_client_goes_away_is_charged(world, upstream, relay):
    wide = world.new_model("wide", context_window=2_000_000, max_output=1_000, input="1", output="2")
    world.new_channel(upstream.url, models={wide: ""})
    relay.settled_down()
    upstream.script.append(sse_reply([delta("Hello")], then="hang"))
    call = Call(relay, world.secret, ask(model="wide", messages=[{"role": "user", "content": LONG}], stream=True))
    call.until(b"Hello")

    call.hang_up()

    record = world.record()
    assert (record.status, record.units) == ("cancelled", {"input": tokens.count([LONG]) + 4 + 3, "output": 1})
    assert record.cost_nanos == record.units["input"] * 1_000 + 2_000
    assert world.prove()["charged_nanos"] == record.cost_nanos


def test_a_long_prompt_is_counted_before_it_is_refused(world, upstream, relay, client):
    dear = world.new_model("dear", context_window=None, max_output=10, input="10000", output="1")
    world.new_channel(upstream.url, models={dear: ""})
    relay.settled_down()
    response = client.post("/v1/chat/completions", json=ask(model="dear", messages=[{"role": "user", "content": LONG}]))
    assert (response.status_code, response.json()["error"]["code"]) == (403, "insufficient_balance")
    assert world.record().error_code == "insufficient_balance"
    assert world.prove()["charged_nanos"] == 0


def test_a_tokenizer_that_fails_does_not_lose_the_charge(world, upstream, relay, monkeypatch):
    monkeypatch.setattr(tokens, "count", lambda texts: 1 // 0)
    world.new_channel(upstream.url)
    relay.settled_down()
    upstream.script.append(sse_reply([delta("x" * 400)], then="hang"))
    call = Call(relay, world.secret, ask(messages=[{"role": "user", "content": "y" * 40}], stream=True))
    call.until(b"xxx")

    call.hang_up()

    record = world.record()
    assert (record.status, record.units) == ("cancelled", {"input": 10 + 4 + 3, "output": 100})
    assert world.prove()["charged_nanos"] == 17 * 1_000 + 100 * 2_000


def test_keys_are_looked_up_though_every_thread_that_counts_is_busy(world, upstream, relay, monkeypatch):
    counting, go_on = threading.Semaphore(0), threading.Event()

    def slow(texts):
        counting.release()
        go_on.wait(20)
        return 1

    monkeypatch.setattr(tokens, "count", slow)
    world.new_channel(upstream.url)
    relay.settled_down()
    asked = {"model": "double-1", "messages": [{"role": "user", "content": "hello"}]}
    url, headers = relay.url + "/v1/messages/count_tokens", {"authorization": f"Bearer {world.secret}"}
    with ThreadPoolExecutor(40) as pool:  # more than the event loop's own threads
        waiting = [pool.submit(httpx.post, url, json=asked, headers=headers, timeout=30) for _ in range(40)]
        assert counting.acquire(timeout=10)
        try:
            unknown = {"authorization": f"Bearer {world.bobs_secret}"}
            assert httpx.get(relay.url + "/v1/models", headers=unknown, timeout=10).status_code == 200
        finally:
            go_on.set()
        assert {call.result().status_code for call in waiting} == {200}
