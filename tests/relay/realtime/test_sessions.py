"""The realtime websocket: relayed both ways, each response held for and charged alone, whoever ends it."""

from __future__ import annotations

import asyncio
import json
import socket
import threading

import httpx
import openai
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from billing.models import Hold, Wallet
from relay.exchange import tokens
from relay.protocols.realtime import MAX_HEARD, Heard
from tests.cast.waiting import eventually
from tests.doubles.realtime import USAGE, Realtime, done, one_response

# 50 input, 30 read from the cache, 30 audio in (the other 10 were cached), 10 output, 40 audio out; in nanos.
UNITS = {"input": 40, "cache_read": 30, "audio_in": 30, "output": 10, "audio_out": 40}
COST = 40 * 4_000 + 30 * 400 + 30 * 32_000 + 10 * 16_000 + 40 * 64_000
PRICES = {"input": "4", "cache_read": "0.4", "audio_in": "32", "output": "16", "audio_out": "64"}
# The whole context window as audio, and the longest answer as audio.
HELD = 8_000 * 32_000 + 1_000 * 64_000


@pytest.fixture
def double():
    upstream = Realtime().start()
    yield upstream
    upstream.stop()


@pytest.fixture
def voice(world, double, relay):
    model = world.new_model("voice-1", **PRICES)
    world.new_channel(double.url, models={model: "gpt-realtime-2"}, provider="openai")
    relay.settled_down()
    return model


@pytest.fixture
def session(relay, world, voice):
    """A websocket under Alice's key, its first event read."""
    url = relay.url.replace("http", "ws") + "/v1/realtime?model=voice-1"
    with connect(url, additional_headers={"authorization": f"Bearer {world.secret}"}) as socket:
        assert json.loads(socket.recv(10))["type"] == "session.created"
        yield socket


def ended(world, relay):
    """Wait until every session is over and every record is written; the report of a proof."""
    relay.settled_down()
    return world.prove()


def say(socket, **event):
    socket.send(json.dumps(event))


def hear(socket):
    return json.loads(socket.recv(10))


def until(socket, kind):
    while (event := hear(socket))["type"] != kind:
        pass
    return event


def test_a_response_passes_both_ways_and_is_charged_when_it_is_over(world, relay, session, double):
    say(session, type="response.create", response={"instructions": "Say hello."})
    assert hear(session)["type"] == "response.created"
    assert hear(session) == {"type": "response.output_text.delta", "response_id": "resp_1", "delta": "Hello"}
    event = hear(session)
    [record] = world.records()  # committed before its last event
    session.close()

    assert event == json.loads(json.dumps(done()))
    assert double.seen == [{"type": "response.create", "response": {"instructions": "Say hello."}}]
    path, headers = double.requests[0]
    assert path == "/v1/realtime?model=gpt-realtime-2"
    assert headers["authorization"] == "Bearer sk-upstream"
    assert (record.status, record.units, record.cost_nanos, record.held_nanos) == ("ok", UNITS, COST, HELD)
    assert (record.endpoint, record.model, record.channel, record.http_status) == ("realtime", "voice-1", "first", 101)
    ended(world, relay)
    assert world.prove()["charged_nanos"] == COST


def test_each_response_is_a_record_of_its_own_under_the_sessions_id(world, relay, session):
    for _ in range(2):
        say(session, type="response.create")
        until(session, "response.done")
    session.close()
    ended(world, relay)
    world.prove()
    first, second, last = world.records()
    assert [record.request_id.partition(":")[2] for record in (first, second, last)] == ["1", "2", "3"]
    assert len({record.request_id.partition(":")[0] for record in (first, second, last)}) == 1
    assert [record.cost_nanos for record in (first, second, last)] == [COST, COST, 0]
    assert last.units == {}


def test_the_next_response_is_held_for_before_the_last_event_of_the_one_before(world, session):
    assert list(Hold.objects.values_list("amount_nanos", "captured")) == [(HELD, False)]
    say(session, type="response.create")
    until(session, "response.done")
    assert sorted(Hold.objects.values_list("amount_nanos", "captured")) == [(COST, True), (HELD, False)]


def test_a_refused_hold_closes_the_session_with_an_error_event(world, relay, session):
    Wallet.objects.filter(pk=world.organization.pk).update(credit_limit_nanos=HELD - 10_000_000_000)
    say(session, type="response.create")
    until(session, "response.done")
    event = hear(session)
    with pytest.raises(ConnectionClosed) as closed:
        session.recv(10)
    assert event["type"] == "error"
    assert (event["error"]["type"], event["error"]["code"]) == ("insufficient_quota", "insufficient_balance")
    assert closed.value.rcvd.code == 1008
    relay.settled_down()
    Wallet.objects.filter(pk=world.organization.pk).update(credit_limit_nanos=0)
    assert world.prove()["charged_nanos"] == COST
    [record] = world.records()
    assert record.cost_nanos == COST


def test_without_money_the_upstream_is_never_called(world, relay, voice, double):
    url = relay.url.replace("http", "ws") + "/v1/realtime?model=voice-1"
    with pytest.raises(InvalidStatus) as refused:
        connect(url, additional_headers={"authorization": f"Bearer {world.bobs_secret}"})
    assert refused.value.response.status_code == 403
    assert json.loads(refused.value.response.body)["error"]["code"] == "insufficient_balance"
    assert double.requests == []
    record = world.record()
    assert (record.status, record.error_code, record.cost_nanos) == ("refused", "insufficient_balance", 0)


@pytest.mark.parametrize(
    ("query", "headers", "status", "code"),
    [
        ("?model=voice-1", {}, 401, "invalid_api_key"),
        ("?model=nothing", None, 404, "model_not_found"),
        ("", None, 400, "missing_model"),
        ("?model=double-1", None, 400, "unsupported_endpoint"),
        ("?model=voice-1&intent=transcription", None, 400, "unsupported_field"),
        ("?call_id=rtc_1&model=voice-1", None, 400, "unsupported_field"),
    ],
)
def test_what_cannot_be_served_is_refused_before_the_upgrade(
    world, relay, voice, double, upstream, query, headers, status, code
):
    world.new_channel("http://127.0.0.1:1", name="reranker", provider="jina")
    relay.settled_down()
    sent = {"authorization": f"Bearer {world.secret}"} if headers is None else headers
    with pytest.raises(InvalidStatus) as refused:
        connect(relay.url.replace("http", "ws") + "/v1/realtime" + query, additional_headers=sent)
    assert refused.value.response.status_code == status
    assert json.loads(refused.value.response.body)["error"]["code"] == code
    assert double.requests == []
    assert not Hold.objects.exists()


def test_a_plain_request_is_told_that_this_is_a_websocket(client):
    response = client.get("/v1/realtime?model=voice-1")
    assert (response.status_code, response.json()["error"]["code"]) == (426, "upgrade_required")
    assert response.headers["upgrade"] == "websocket"


def test_an_upstream_that_refuses_costs_nothing(world, relay, voice, double):
    double.status = 401
    with pytest.raises(InvalidStatus) as refused:
        connect(
            relay.url.replace("http", "ws") + "/v1/realtime?model=voice-1",
            additional_headers={"authorization": f"Bearer {world.secret}"},
        )
    assert refused.value.response.status_code == 502
    record = world.record()
    assert (record.status, record.cost_nanos) == ("upstream_error", 0)
    assert [attempt["outcome"] for attempt in record.attempts] == ["status 401"]
    assert world.prove()["charged_nanos"] == 0


def test_a_key_in_the_query_is_not_logged(world, relay, voice, caplog):
    with (
        caplog.at_level("INFO"),
        connect(relay.url.replace("http", "ws") + f"/v1/realtime?model=voice-1&key={world.secret}") as socket,
    ):
        hear(socket)
    with pytest.raises(InvalidStatus):
        connect(relay.url.replace("http", "ws") + f"/v1/realtime?key={world.secret}")
    assert world.secret not in caplog.text
    assert "handshake" not in caplog.text


def test_a_browsers_key_is_a_subprotocol(world, relay, voice):
    protocols = ["realtime", f"openai-insecure-api-key.{world.secret}"]
    with connect(relay.url.replace("http", "ws") + "/v1/realtime?model=voice-1", subprotocols=protocols) as socket:
        assert socket.subprotocol == "realtime"
        assert hear(socket)["type"] == "session.created"


@pytest.mark.parametrize(
    ("event", "code"),
    [
        ({"type": "session.update", "session": {"tools": [{"type": "mcp"}]}}, "unpriced_feature"),
        (
            {"type": "session.update", "session": {"audio": {"input": {"transcription": {"model": "whisper-1"}}}}},
            "unpriced_feature",
        ),
        ({"type": "session.update", "session": {"input_audio_transcription": {"model": "w"}}}, "unpriced_feature"),
        ({"type": "session.update", "session": {"type": "transcription"}}, "unpriced_feature"),
        ({"type": "session.update", "session": {"prompt": {"id": "pmpt_1"}}}, "stored_state"),
        ({"type": "session.update", "session": {"model": "gpt-realtime-9"}}, "invalid_request"),
        ({"type": "response.create", "response": {"prompt": {"id": "pmpt_1"}}}, "stored_state"),
        ({"type": "transcription_session.update"}, "unpriced_feature"),
        ({"nothing": 1}, "invalid_json"),
    ],
)
def test_an_event_that_cannot_be_relayed_is_refused_and_the_session_goes_on(session, double, event, code):
    say(session, **event)
    error = hear(session)
    assert (error["type"], error["error"]["code"]) == ("error", code)
    assert error["event_id"].startswith("event_")
    say(session, type="response.create")
    until(session, "response.done")
    assert double.seen == [{"type": "response.create"}]


def test_the_sessions_own_model_is_not_sent_under_the_name_that_clients_use(session, double):
    say(session, type="session.update", session={"model": "voice-1", "instructions": "Be brief."})
    eventually(lambda: double.seen)
    assert double.seen == [{"type": "session.update", "session": {"instructions": "Be brief."}}]


async def _hanging(upstream, event):
    """A response that is begun and never over, unless it is cancelled."""
    if event["type"] == "response.create":
        await upstream.say(type="response.created", response={"id": "resp_1"})
        await upstream.say(type="response.output_text.delta", delta="Hello there, how are you?")
    elif event["type"] == "response.cancel" and upstream.number >= 0:
        await upstream.say(**done(1, status="cancelled"))


def test_a_client_that_goes_away_pays_for_what_the_upstream_says_it_used(world, relay, session, double):
    double.answer = _hanging
    say(session, type="response.create")
    until(session, "response.output_text.delta")
    session.close()
    assert double.closed.wait(10)
    ended(world, relay)
    assert {"type": "response.cancel"} in double.seen
    charged, rest = world.records()
    assert (charged.cost_nanos, charged.units, charged.estimated) == (COST, UNITS, False)
    assert rest.cost_nanos == 0
    assert world.prove()["charged_nanos"] == COST


def test_a_client_that_goes_away_before_its_response_has_begun_pays_for_it(world, relay, session, double):
    gate = threading.Event()

    async def slow(upstream, event):
        if event["type"] == "response.create":
            await asyncio.to_thread(gate.wait, 10)
        await _hanging(upstream, event)

    double.answer = slow
    say(session, type="response.create")
    eventually(lambda: double.seen)
    session.close()
    gate.set()
    assert double.closed.wait(10)
    ended(world, relay)
    assert [event["type"] for event in double.seen] == ["response.create", "response.cancel"]
    assert world.prove()["charged_nanos"] == COST


def test_an_upstream_that_breaks_off_costs_nothing(world, relay, session, double):
    async def breaking(upstream, event):
        await upstream.say(type="response.created", response={"id": "resp_1"})
        await upstream.say(type="response.output_text.delta", delta="Hello")
        await upstream.socket.close()

    double.answer = breaking
    say(session, type="response.create")
    with pytest.raises(ConnectionClosed):
        until(session, "nothing")
    ended(world, relay)
    assert world.prove()["charged_nanos"] == 0
    [record] = world.records()
    assert (record.status, record.error_code, record.cost_nanos) == ("upstream_error", "upstream_error", 0)


def test_a_failed_response_costs_nothing_and_the_session_goes_on(world, relay, session, double):
    async def failing(upstream, event):
        if upstream.number:
            await one_response(upstream, event)
            return
        upstream.number = 1
        await upstream.say(type="response.created", response={"id": "resp_1"})
        await upstream.say(**done(1, status="failed", usage=None))

    double.answer = failing
    say(session, type="response.create")
    assert until(session, "response.done")["response"]["status"] == "failed"
    say(session, type="response.create")
    until(session, "response.done")
    session.close()
    ended(world, relay)
    assert [(r.status, r.cost_nanos) for r in world.records()] == [("upstream_error", 0), ("ok", COST), ("ok", 0)]
    assert world.prove()["charged_nanos"] == COST


def test_a_response_without_usage_is_estimated(world, relay, session, double):
    async def silent(upstream, event):
        await upstream.say(type="response.created", response={"id": "resp_1"})
        await upstream.say(type="response.output_text.delta", delta="one two three four")
        await upstream.say(**done(1, usage=None))

    double.answer = silent
    say(session, type="response.create")
    until(session, "response.done")
    record = world.records()[0]
    assert record.estimated
    assert record.units == {"input": 7, "output": 4}
    assert record.cost_nanos == 7 * 4_000 + 4 * 16_000


def test_parallel_responses_are_each_held_for(world, relay, session, double):
    async def parallel(upstream, event):
        for number in (1, 2):
            await upstream.say(type="response.created", response={"id": f"resp_{number}"})
        for number in (1, 2):
            await upstream.say(**done(number))

    double.answer = parallel
    say(session, type="response.create")
    until(session, "response.done")
    until(session, "response.done")
    session.close()
    ended(world, relay)
    assert sorted(record.cost_nanos for record in world.records()) == [0, COST, COST]
    assert all(record.overrun_nanos == 0 for record in world.records())
    assert world.prove()["charged_nanos"] == 2 * COST


def test_the_official_client(world, relay, voice):
    client = openai.OpenAI(api_key=world.secret, base_url=relay.url + "/v1")
    with client.realtime.connect(model="voice-1") as connection:
        connection.response.create()
        kinds = []
        for event in connection:
            kinds.append(event.type)
            if event.type == "response.done":
                usage = event.response.usage
                break
    assert kinds == ["session.created", "response.created", "response.output_text.delta", "response.done"]
    assert usage.total_tokens == USAGE["total_tokens"]


def test_shutting_down_charges_what_was_begun(world, relay, session, double):
    double.answer = _hanging
    say(session, type="response.create")
    until(session, "response.output_text.delta")
    for exchange in list(relay.runtime.exchanges):
        relay.loop.call_soon_threadsafe(exchange.cut)
    error = until(session, "error")
    assert error["error"]["code"] == "shutting_down"
    ended(world, relay)
    world.prove()
    [record] = world.records()
    assert (record.status, record.estimated) == ("cancelled", True)
    assert record.units == {"input": 7, "output": 7}


def test_a_client_that_goes_away_while_the_upstream_is_called_leaves_no_hold(world, relay, voice, double):
    double.gate = threading.Event()
    head = (
        "GET /v1/realtime?model=voice-1 HTTP/1.1\r\nhost: relay\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
        "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n"
        f"authorization: Bearer {world.secret}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", relay.port)) as connection:
        connection.sendall(head.encode())
        eventually(lambda: double.requests)
    double.gate.set()
    assert double.closed.wait(10)
    report = world.prove()
    assert report["charged_nanos"] == 0
    assert world.balance()[1] == 0


def test_a_tokenizer_that_fails_loses_no_charge(world, relay, session, double, monkeypatch):
    def broken(texts):
        raise ValueError("no such token")

    monkeypatch.setattr("relay.exchange.tokens.count", broken)
    double.answer = _hanging
    say(session, type="response.create")
    until(session, "response.output_text.delta")
    for exchange in list(relay.runtime.exchanges):
        relay.loop.call_soon_threadsafe(exchange.cut)
    until(session, "error")
    ended(world, relay)
    [record] = world.records()
    assert (record.status, record.estimated) == ("cancelled", True)
    assert record.units == {"input": 6, "output": 6}  # four characters are a token
    assert world.prove()["charged_nanos"] == record.cost_nanos


def test_a_response_that_is_being_counted_when_the_relay_stops_is_charged(world, relay, session, double, monkeypatch):
    counting, go_on = threading.Event(), threading.Event()
    count = tokens.count

    def slow(texts):
        counting.set()
        assert go_on.wait(10)
        return count(texts)

    async def without_usage(upstream, event):
        await upstream.say(type="response.created", response={"id": "resp_1"})
        await upstream.say(type="response.output_text.delta", delta="one two three four")
        await upstream.say(**done(1, usage=None))

    monkeypatch.setattr("relay.exchange.tokens.count", slow)
    double.answer = without_usage
    say(session, type="response.create")
    assert counting.wait(10)
    for exchange in list(relay.runtime.exchanges):
        relay.loop.call_soon_threadsafe(exchange.cut)
    go_on.set()
    until(session, "error")
    ended(world, relay)
    [record] = world.records()
    assert (record.status, record.units) == ("cancelled", {"input": 7, "output": 4})
    assert world.prove()["charged_nanos"] == 7 * 4_000 + 4 * 16_000


def test_an_error_that_echoes_the_channels_key_does_not_pass(world, relay, session, double):
    async def leaking(upstream, event):
        await upstream.say(type="error", error={"message": "Incorrect API key provided: sk-upstream"})

    double.answer = leaking
    say(session, type="response.create")
    with pytest.raises(ConnectionClosed) as closed:
        session.recv(10)
    assert closed.value.rcvd.code == 1011
    ended(world, relay)
    assert world.prove()["charged_nanos"] == 0


def test_of_a_key_that_stands_twice_the_upstream_sees_what_was_checked(session, double):
    session.send('{"type":"session.update","session":{"tools":[{"type":"mcp"}]},"session":{"instructions":"Hi"}}')
    eventually(lambda: double.seen)
    raw = double.raw[0]
    assert "mcp" not in raw


@pytest.mark.parametrize("value", ["1e999", "[" * 5_000 + "]" * 5_000])
def test_an_event_that_cannot_be_read_is_refused_and_the_session_goes_on(session, double, value):
    session.send('{"type":"session.update","session":{"instructions":' + value + "}}")
    error = hear(session)
    assert (error["type"], error["error"]["code"]) == ("error", "invalid_json")
    say(session, type="response.create")
    until(session, "response.done")


def test_what_is_kept_of_a_session_for_an_estimate_is_bounded():
    heard = Heard()
    text = "x" * (1 << 20)
    for _ in range(100):
        heard.sent("conversation.item.create", text)
    assert sum(map(len, heard.texts_in)) == MAX_HEARD


def test_health_still_answers_beside_websockets(relay, session):
    assert httpx.get(relay.url + "/readyz").status_code == 200
