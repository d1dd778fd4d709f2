"""The health of channels: every attempt is counted once, and whose fault a failure is decides whether it counts."""

from __future__ import annotations

import json
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import DatabaseError, connections
from django.utils import timezone
from websockets.sync.client import connect

from accounts.changes import current_version
from billing.services import append_price
from channels_app import health as channel_health
from channels_app.health import Outcome, Tally, Verdict, prune_hours, record_outcomes
from channels_app.models import Channel, ChannelHealth, ChannelHour
from channels_app.services import delete_channel
from channels_app.tasks import prune_hours as prune_task
from relay.models import VideoTask
from relay.routing import health
from relay.routing.health import Outcomes, outcomes
from relay.routing.probe import ProbeResult
from relay.videos import poll as video_poll
from tests.cast.calls import Call
from tests.cast.waiting import eventually
from tests.doubles.realtime import Realtime
from tests.doubles.studio import Studio, studio_fixture  # noqa: F401
from tests.doubles.upstream import (
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

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _nothing_heard():
    outcomes._heard.clear()
    outcomes._tallies.clear()


@pytest.fixture
def spare():
    double = Upstream().start()
    yield double
    double.stop()


def counts(name: str = "first") -> tuple[int, int]:
    """(attempts, failures) of a channel, in all hours, now that everything heard is in the tables."""
    outcomes.flush()
    rows = ChannelHour.objects.filter(channel__name=name)
    return sum(row.attempts for row in rows), sum(row.failures for row in rows)


def of(name: str = "first") -> ChannelHealth:
    outcomes.flush()
    return ChannelHealth.objects.get(channel__name=name)


def reasons(name: str = "first") -> list[tuple[str, str]]:
    return [(found["outcome"], found["model"]) for found in of(name).recent]


def chat(client, **fields: Any):
    return client.post("/v1/chat/completions", json=ask(**fields))


def tally(*heard: tuple[Verdict, float]) -> Tally:
    made = Tally()
    for verdict, at in heard:
        made.add(Outcome(1, "double-1", verdict, "status 500" if verdict is Verdict.FAILED else "ok", 10, at))
    return made


# What the relay hears


def test_an_answer_is_counted_once_with_its_time(world, upstream, client, relay):
    channel = world.new_channel(upstream.url)
    relay.settled_down()
    version = current_version()
    upstream.script.extend([json_reply(completion()), sse_reply(whole_stream("Hello"))])

    before = timezone.now()
    chat(client)
    assert b"[DONE]" in chat(client, stream=True).content

    assert counts() == (2, 0)
    found = of()
    assert (found.failures_in_row, found.recent, found.last_failure_at) == (0, [], None)
    assert before - timedelta(seconds=1) <= found.last_ok_at <= timezone.now()
    [hour] = ChannelHour.objects.filter(channel=channel)
    assert (hour.hour.minute, hour.hour.second, hour.hour.microsecond) == (0, 0, 0)
    assert before - timedelta(hours=1) <= hour.hour <= timezone.now()
    assert 0 <= hour.milliseconds == sum(record.attempts[0]["ms"] for record in world.records())
    assert current_version() == version  # health is no configuration: nothing is loaded again


def test_a_failure_that_another_channel_makes_good_is_a_failure_all_the_same(world, upstream, spare, client, relay):
    world.new_channel(upstream.url, name="first", priority=10)
    world.new_channel(spare.url, name="second")
    relay.settled_down()
    leak = {"error": {"message": "Incorrect API key provided: sk-upstream"}}
    upstream.script.extend([RESET, json_reply(leak, 401), json_reply({}, 529), json_reply({})])
    spare.default = json_reply(completion())

    answers = [chat(client).status_code for _ in range(4)]

    assert answers == [200] * 4
    assert (counts("first"), counts("second")) == ((4, 4), (4, 0))
    assert [outcome for outcome, _ in reasons()] == [
        "not a completion",
        "status 529",
        "status 401",
        "connection closed",
    ]
    assert {model for _, model in reasons()} == {"double-1"}
    found = of()
    assert (found.failures_in_row, found.last_ok_at) == (4, None)
    assert found.last_failure_at is not None
    assert ChannelHour.objects.get(channel__name="first").milliseconds == 0
    assert "Incorrect" not in json.dumps(found.recent)
    assert [sorted(row) for row in found.recent] == [["at", "model", "outcome"]] * 4


def test_a_success_ends_the_row_of_failures(world, upstream, client, relay):
    world.new_channel(upstream.url)
    relay.settled_down()
    upstream.script.extend([json_reply({}, 500), json_reply({}, 500), json_reply(completion()), json_reply({}, 503)])

    found = []
    for _ in range(4):
        chat(client)
        found.append((of().failures_in_row, *counts()))

    assert found == [(1, 1, 1), (2, 2, 2), (0, 3, 2), (1, 4, 3)]
    assert [outcome for outcome, _ in reasons()] == ["status 503", "status 500", "status 500"]


@pytest.mark.parametrize("stream", [False, True])
def test_what_is_the_clients_own_fault_is_no_failure(world, upstream, client, relay, stream):
    world.new_channel(upstream.url)
    relay.settled_down()
    upstream.script.append(json_reply({"error": {"message": "context too long", "code": "x"}}, 400))

    assert chat(client, stream=stream).status_code == 400

    assert counts() == (1, 0)
    found = of()
    assert (found.failures_in_row, found.recent, found.last_ok_at) == (0, [], None)


def test_a_stream_that_is_cut_is_one_attempt_that_failed(world, upstream, client, relay):
    world.new_channel(upstream.url)
    relay.settled_down()
    upstream.script.extend(
        [
            sse_reply([delta("Hel")], then="cut"),
            sse_reply([delta("Hel")]),
            sse_reply([delta("Hel"), event({"error": {"message": "sorry sk-upstream"}})]),
            sse_reply([]),
        ]
    )

    for _ in range(4):
        chat(client, stream=True)

    assert counts() == (4, 4)
    assert [outcome for outcome, _ in reasons()] == [
        "empty stream",
        "error event",
        "cut by the upstream",
        "connection closed",
    ]
    found = of()
    assert (found.failures_in_row, found.last_ok_at) == (4, None)


def test_a_stream_that_falls_silent_is_a_failure(world, upstream, client, relay):
    world.new_channel(upstream.url, idle_timeout=0.3)
    relay.settled_down()
    upstream.script.append(sse_reply([delta("Hel")], then="hang"))

    chat(client, stream=True)

    assert counts() == (1, 1)
    assert reasons() == [("timeout", "double-1")]


def test_a_client_that_leaves_a_stream_is_no_failure(world, upstream, relay):
    world.new_channel(upstream.url)
    relay.settled_down()
    upstream.script.append(sse_reply([delta("Hel")], then="hang"))
    call = Call(relay, world.secret, ask(stream=True))
    call.until(b"Hel")

    call.hang_up()
    assert world.record().status == "cancelled"

    assert counts() == (1, 0)
    assert of().last_ok_at is not None


def test_a_client_that_leaves_before_the_first_event_says_nothing_of_the_channel(world, upstream, relay):
    world.new_channel(upstream.url)
    relay.settled_down()
    upstream.script.append(Reply([], then="hang"))
    call = Call(relay, world.secret, ask(stream=True))
    eventually(lambda: upstream.seen)

    call.hang_up()
    assert world.record().status == "cancelled"

    assert counts() == (0, 0)
    assert not ChannelHealth.objects.exists()


def test_refusals_of_our_own_say_nothing_of_a_channel(world, upstream, client, relay):
    world.new_channel(upstream.url)
    relay.settled_down()

    assert chat(client, model="unknown").status_code == 404
    assert client.post("/v1/chat/completions", content=b"{").status_code == 400

    outcomes.flush()
    assert not ChannelHour.objects.exists()


def test_realtime_sessions_are_attempts(world, relay):
    double = Realtime().start()
    model = world.new_model("voice-1", input="4", output="16", audio_in="32", audio_out="64")
    world.new_channel(double.url, models={model: ""}, provider="openai")
    relay.settled_down()
    url = relay.url.replace("http", "ws") + "/v1/realtime?model=voice-1"
    headers = {"authorization": f"Bearer {world.secret}"}

    with connect(url, additional_headers=headers) as socket:
        socket.recv(10)
    relay.settled_down()
    assert counts() == (1, 0)

    async def breaks(upstream: Realtime, _: object) -> None:
        await upstream.say(type="response.created", response={"id": "resp_1"})
        await upstream.socket.close(code=1011)

    double.answer = breaks
    with connect(url, additional_headers=headers) as socket:
        socket.recv(10)
        socket.send(json.dumps({"type": "response.create"}))
        socket.recv(10)
        relay.settled_down()
    assert counts() == (2, 1)
    assert reasons() == [("cut by the upstream", "voice-1")]

    double.status = 503
    with pytest.raises(Exception, match=r"502|503"), connect(url, additional_headers=headers):
        pass
    assert counts() == (3, 2)
    assert reasons()[0] == ("status 503", "voice-1")
    double.stop()


def test_videos_are_watched_where_they_are_asked_for_and_where_they_are_looked_at(world, studio, client, relay):
    model = world.new_model("reel-1")
    append_price(model_name="reel-1", units={"seconds": "0.1"})
    world.new_channel(studio.url, models={model: ""})
    relay.settled_down()

    made = client.post("/v1/videos", json={"model": "reel-1", "prompt": "a cat"}).json()
    client.get(f"/v1/videos/{made['id']}")
    assert counts() == (2, 0)

    studio.stop()
    assert client.get(f"/v1/videos/{made['id']}").status_code >= 502
    VideoTask.objects.update(poll_at=timezone.now() - timedelta(seconds=1))
    assert video_poll.poll() == 0

    hours = ChannelHour.objects.all()  # the worker has put them there itself
    assert (sum(row.attempts for row in hours), sum(row.failures for row in hours)) == (4, 2)
    assert {model for _, model in reasons()} == {"reel-1"}
    assert of().failures_in_row == 2


# How it reaches the tables


def test_a_web_process_flushes_by_itself_and_when_it_stops(world, upstream, monkeypatch):
    from tests.conftest import RelayServer

    monkeypatch.setattr("relay.snapshot.POLL_SECONDS", 0.02)
    monkeypatch.setattr("relay.exchange.runtime.gc.freeze", lambda: None)
    monkeypatch.setattr("relay.routing.health.FLUSH_SECONDS", 0.05)
    channel = world.new_channel(upstream.url)
    server = RelayServer().start()
    outcomes.add(channel.pk, "double-1", Verdict.OK)
    eventually(lambda: ChannelHour.objects.filter(attempts=1).exists())
    monkeypatch.setattr("relay.routing.health.FLUSH_SECONDS", 1_000.0)
    time.sleep(0.2)  # until the thread waits for the longer time
    outcomes.add(channel.pk, "double-1", Verdict.FAILED, "status 500")

    server.stop()

    assert list(ChannelHour.objects.values_list("attempts", "failures")) == [(2, 1)]
    assert not outcomes._heard
    assert not outcomes._tallies


def test_processes_add_up_and_the_ten_newest_failures_stay(world, upstream):
    channel = world.new_channel(upstream.url)
    noon = NOON.timestamp()
    failed = [(Verdict.FAILED, noon + n) for n in range(8)]

    record_outcomes(tallies={channel.pk: tally((Verdict.OK, noon - 5), *failed)})
    record_outcomes(
        tallies={channel.pk: tally(*((verdict, at + 0.5) for verdict, at in failed), (Verdict.OK, noon - 1))}
    )
    record_outcomes(tallies={channel.pk: tally((Verdict.FAILED, noon - 30))})

    found = ChannelHealth.objects.get()
    assert found.failures_in_row == 1
    assert found.last_ok_at == NOON - timedelta(seconds=1)
    assert found.last_failure_at == NOON + timedelta(seconds=7.5)
    newest = [(NOON + timedelta(seconds=n / 2)).isoformat(timespec="milliseconds") for n in range(15, 5, -1)]
    assert [row["at"] for row in found.recent] == newest
    hours = ChannelHour.objects.order_by("hour").values_list("hour", "attempts", "failures", "milliseconds")
    assert list(hours) == [(NOON - timedelta(hours=1), 3, 1, 20), (NOON, 16, 16, 0)]


def test_many_processes_at_once_lose_nothing(world, upstream):
    channels = [world.new_channel(upstream.url, name=f"c{n}") for n in range(3)]

    def flush() -> None:
        try:
            for _ in range(5):
                own = Outcomes()
                for channel in channels:
                    own.add(channel.pk, "double-1", Verdict.OK, milliseconds=2)
                    own.add(channel.pk, "double-1", Verdict.FAILED, "status 500")
                own.flush()
        finally:
            connections.close_all()

    threads = [threading.Thread(target=flush) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    for channel in channels:
        rows = ChannelHour.objects.filter(channel=channel)
        assert sum(row.attempts for row in rows) == 40
        assert sum(row.failures for row in rows) == 20
        assert sum(row.milliseconds for row in rows) == 40
        assert ChannelHealth.objects.get(channel=channel).failures_in_row == 1
    assert ChannelHour.objects.count() in (3, 6)


def test_a_deleted_channel_is_skipped_and_the_others_are_not(world, upstream):
    gone, there = (world.new_channel(upstream.url, name=name) for name in ("gone", "there"))
    number = gone.pk
    outcomes.add(number, "double-1", Verdict.OK)
    outcomes.add(there.pk, "double-1", Verdict.OK)
    delete_channel(channel=gone)

    outcomes.flush()

    assert list(ChannelHour.objects.values_list("channel__name", "attempts")) == [("there", 1)]
    assert not outcomes._tallies


def test_what_cannot_be_written_now_is_written_later_and_stays_small(world, upstream, monkeypatch):
    channel = world.new_channel(upstream.url)

    def away(**_: object) -> None:
        raise DatabaseError

    monkeypatch.setattr(health, "record_outcomes", away)
    noon = NOON.timestamp()
    for hour in range(60):
        for _ in range(50):
            outcomes._heard.append(Outcome(channel.pk, "double-1", Verdict.FAILED, "x" * 500, 5, noon + hour * 3600))
        with pytest.raises(DatabaseError):
            outcomes.flush()

    kept = outcomes._tallies[channel.pk]
    assert (len(outcomes._heard), len(kept.hours), len(kept.recent)) == (0, channel_health.MOST_HOURS, 10)
    assert len(kept.recent[0]["outcome"]) == 100

    monkeypatch.setattr(health, "record_outcomes", record_outcomes)
    outcomes.flush()
    assert sum(row.failures for row in ChannelHour.objects.all()) == channel_health.MOST_HOURS * 50
    assert outcomes._tallies == {}


def test_a_request_does_not_notice_that_its_outcome_cannot_be_written(world, upstream, client, relay, monkeypatch):
    def away(**_: object) -> None:
        raise DatabaseError

    monkeypatch.setattr(health, "record_outcomes", away)
    world.new_channel(upstream.url)
    relay.settled_down()
    upstream.default = json_reply(completion())

    answers = []
    for _ in range(3):
        answers.append(chat(client).status_code)
        with pytest.raises(DatabaseError):
            outcomes.flush()

    assert answers == [200, 200, 200]
    monkeypatch.setattr(health, "record_outcomes", record_outcomes)
    assert counts() == (3, 0)


def test_noting_an_attempt_costs_the_hot_path_next_to_nothing():
    own = Outcomes()
    rounds = 20_000
    best = min(_seconds(own, rounds) for _ in range(5)) / rounds

    assert best < 4e-6  # 1 µs on an idle machine


def _seconds(own: Outcomes, rounds: int) -> float:
    started = time.perf_counter()
    for _ in range(rounds):
        own.add(1, "double-1", Verdict.OK, "ok", 12)
    return time.perf_counter() - started


def test_hours_older_than_a_month_are_forgotten(world, upstream):
    channel = world.new_channel(upstream.url)
    now = timezone.now()
    for days in (0, 29, 31, 60):
        ChannelHour.objects.create(channel=channel, hour=now - timedelta(days=days), attempts=days)

    assert prune_task() == 2
    assert prune_hours() == 0
    assert sorted(ChannelHour.objects.values_list("attempts", flat=True)) == [0, 29]


# What an operator's test says


def test_an_operators_test_is_noted_without_touching_the_rest(world, upstream, monkeypatch, settings):
    channel = world.new_channel(upstream.url)
    record_outcomes(tallies={channel.pk: tally((Verdict.FAILED, NOON.timestamp()))})
    results = iter(
        [
            ProbeResult(False, 12, 401, "double-1", "bad key\0" + "x" * 400),
            ProbeResult(True, 12, 200, "double-1", "It said: hi"),
        ]
    )
    monkeypatch.setattr("relay.routing.probe.probe_channel", lambda **_: next(results))

    channel_health.check_channel(channel=channel)
    first = ChannelHealth.objects.get()
    channel_health.check_channel(channel=channel)
    second = ChannelHealth.objects.get()

    assert first.last_test_ok is False
    assert first.last_test_detail.startswith("double-1: status 401: bad keyx")
    assert len(first.last_test_detail) == 300
    assert (second.last_test_ok, second.last_test_detail) == (True, "double-1: It said: hi")
    assert second.last_test_at > first.last_test_at
    assert (second.failures_in_row, len(second.recent)) == (1, 1)
    assert not ChannelHour.objects.exclude(attempts=1).exists()


def test_many_channels_are_tested_side_by_side(world, upstream, spare):
    good, bad = world.new_channel(upstream.url, name="good"), world.new_channel(spare.url, name="bad")
    idle = world.new_channel(upstream.url, name="idle", models={})
    gate = threading.Event()
    upstream.default = Reply([json.dumps(completion()).encode()], gates={0: gate})
    spare.default = json_reply({"error": {"message": "wrong key"}}, 401)
    threading.Timer(0.3, gate.set).start()

    found = channel_health.check_channels(channels=[good, bad, idle])

    assert [(channel.name, result.ok, result.status) for channel, result in found] == [
        ("good", True, 200),
        ("bad", False, 401),
        ("idle", False, None),
    ]
    assert dict(ChannelHealth.objects.values_list("channel__name", "last_test_ok")) == {
        "good": True,
        "bad": False,
        "idle": False,
    }
    assert Channel.objects.filter(status="enabled").count() == 3
    assert channel_health.check_channels(channels=[]) == []
