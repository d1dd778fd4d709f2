"""Videos: asked for, looked at, downloaded, deleted and remixed; each charged once, when somebody sees it made."""

from __future__ import annotations

import re
import threading
from datetime import timedelta
from decimal import Decimal

import httpx
import openai
import pytest
from django.db import OperationalError, transaction
from django.utils import timezone

from accounts.changes import record_change
from accounts.models import ConfigChange
from billing.models import Budget, Hold, ProcessLease, UsageRecord
from billing.services import append_price
from billing.sweep import sweep
from billing.writing.connections import capture_now
from channels_app.models import Channel
from channels_app.services import delete_channel, save_group, set_channels_status
from relay.jobs import poll_videos
from relay.models import VideoTask
from relay.protocols.videos.openai import State
from relay.videos import poll as video_poll
from relay.videos import tasks as video_tasks
from tests.cast.calls import handed_over
from tests.cast.refusals import error_of
from tests.cast.waiting import eventually
from tests.cast.world import USD
from tests.doubles.studio import BYTES, Studio, field, studio_fixture  # noqa: F401
from tests.doubles.upstream import RESET, Reply, json_reply

ASK = {"model": "reel-1", "prompt": "a cat on a wall", "seconds": "8", "size": "1280x720"}
# `reel-1` costs 0.1 USD a second; the group's rate is 1.5; the channel pays half of the list price.
EACH = USD * 15 // 100


@pytest.fixture
def video(world, studio, client, relay):
    """The client of a world where `reel-1` is charged by the second, and `clip-1` by the call."""
    world.group.rate = Decimal("1.5")
    save_group(group=world.group)
    models = [world.model, world.new_model("reel-1", seconds="0.1"), world.new_model("clip-1", calls="0.25")]
    world.channel = world.new_channel(studio.url, models=dict.fromkeys(models, "sora-upstream"), cost_multiplier="0.5")
    relay.settled_down()
    return client


def make_due():
    """Every video is to be asked for now."""
    VideoTask.objects.update(poll_at=timezone.now() - timedelta(seconds=1))


def make_late():
    past = timezone.now() - timedelta(seconds=1)
    Hold.objects.update(deadline=past)
    VideoTask.objects.update(deadline=past, poll_at=past)


def submit(video, **changed):
    answer = video.post("/v1/videos", json={**ASK, **changed})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_what_is_asked_for_is_held_until_it_is_made_and_then_charged_once(world, studio, video):
    # when
    answer = video.post("/v1/videos", json={**ASK, "unheard_of": True})
    # then
    made = answer.json()
    assert re.fullmatch(r"video_[0-9a-f]{32}", made["id"])
    task = VideoTask.objects.get()
    assert made == {
        "id": task.pk,
        "object": "video",
        "created_at": int(task.created_at.timestamp()),
        "status": "queued",
        "model": "reel-1",
        "progress": 0,
        "prompt": "a cat on a wall",
        "seconds": "8",
        "size": "1280x720",
        "completed_at": None,
        "expires_at": None,
        "remixed_from_video_id": None,
        "error": None,
    }
    [seen] = studio.seen
    assert seen.json == {**ASK, "model": "sora-upstream", "unheard_of": True}
    assert seen.headers["authorization"] == "Bearer sk-upstream"
    hold = Hold.objects.get()
    assert (hold.pk, hold.amount_nanos, hold.captured) == (answer.headers["x-request-id"], 8 * EACH, False)
    assert (hold.lease_id, hold.deadline, hold.endpoint) == (None, task.deadline, "videos.create")
    assert world.balance() == (10 * USD, 8 * EACH)
    assert world.records() == []
    # when it is on its way
    studio.make(status="in_progress", progress=40)
    shown = video.get(f"/v1/videos/{task.pk}").json()
    assert (shown["status"], shown["progress"], shown["completed_at"]) == ("in_progress", 40, None)
    assert world.records() == []
    # when it is made
    studio.complete(expires_at=1_900_000_000)
    shown = video.get(f"/v1/videos/{task.pk}").json()
    assert (shown["status"], shown["progress"], shown["expires_at"]) == ("completed", 100, 1_900_000_000)
    assert shown["completed_at"] >= shown["created_at"]
    record = world.record()
    assert (record.request_id, record.endpoint, record.status) == (hold.pk, "videos.create", "ok")
    assert (record.units, record.cost_nanos, record.upstream_cost_nanos) == ({"seconds": 8}, 8 * EACH, 4 * USD // 10)
    assert record.lines == [{"unit": "seconds", "quantity": 8, "price": "0.1", "per": 1}]
    assert (record.held_nanos, record.overrun_nanos, str(record.rate)) == (8 * EACH, 0, "1.5000")
    assert (record.channel, record.model, [a["outcome"] for a in record.attempts]) == ("first", "reel-1", ["ok"])
    # when it is looked at again
    asked = len(studio.seen)
    assert video.get(f"/v1/videos/{task.pk}").json() == shown
    assert len(studio.seen) == asked
    assert world.prove()["charged_nanos"] == 8 * EACH
    assert world.balance() == (10 * USD - 8 * EACH, 0)


def test_seconds_are_four_unless_said_and_are_always_said_where_they_are_charged(world, studio, video):
    made = video.post("/v1/videos", json={"model": "reel-1", "prompt": "a cat"}).json()
    assert made["seconds"] == "4"
    assert studio.seen[0].json == {"model": "sora-upstream", "prompt": "a cat", "seconds": "4"}
    assert Hold.objects.get().amount_nanos == 4 * EACH


def test_a_price_of_calls_charges_one(world, studio, video):
    made = video.post("/v1/videos", json={"model": "clip-1", "prompt": "a cat"}).json()
    assert studio.seen[0].json == {"model": "sora-upstream", "prompt": "a cat"}
    studio.complete()
    video.get(f"/v1/videos/{made['id']}")
    record = world.record()
    assert (record.units, record.cost_nanos) == ({"calls": 1}, USD * 375 // 1000)
    assert world.prove()["charged_nanos"] == USD * 375 // 1000


def test_what_the_upstream_made_is_charged_where_it_tells(world, studio, video):
    made = submit(video)
    studio.complete(seconds="4")
    assert video.get(f"/v1/videos/{made['id']}").json()["seconds"] == "4"
    assert world.record().units == {"seconds": 4}
    assert world.prove()["charged_nanos"] == 4 * EACH


def test_a_form_goes_on_as_a_form_with_its_picture(world, studio, video):
    # when
    answer = video.post(
        "/v1/videos",
        data={"model": "reel-1", "prompt": "a cat"},
        files={"input_reference": ("a.png", b"PNG", "image/png")},
    )
    # then
    assert answer.status_code == 200
    [seen] = studio.seen
    assert seen.headers["content-type"].startswith("multipart/form-data; boundary=")
    assert [field(seen, name) for name in ("model", "prompt", "seconds")] == ["sora-upstream", "a cat", "4"]
    assert b'name="input_reference"; filename="a.png"\r\nContent-Type: image/png\r\n\r\nPNG\r\n' in seen.body


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({"prompt": ""}, "invalid_request", "prompt"),
        ({"prompt": 5}, "invalid_request", "prompt"),
        ({"seconds": "0"}, "invalid_request", "seconds"),
        ({"seconds": "601"}, "invalid_request", "seconds"),
        ({"seconds": 1.5}, "invalid_request", "seconds"),
        ({"seconds": "-8"}, "invalid_request", "seconds"),
        ({"seconds": "9" * 400}, "invalid_request", "seconds"),
        ({"size": "big"}, "invalid_request", "size"),
        ({"size": "0x0"}, "invalid_request", "size"),
        ({"size": "1792x1024"}, "unpriced_feature", "size"),
        ({"n": 2}, "unpriced_feature", "n"),
        ({"service_tier": "priority"}, "unpriced_feature", "service_tier"),
        ({"num_frames": 999}, "unpriced_feature", "num_frames"),
        ({"input_reference": {"file_id": "file-1"}}, "stored_state", "input_reference"),
        ({"input_reference": "x"}, "invalid_request", "input_reference"),
        ({"input_reference": {"filename": "a.png", "content_type": "image/png", "size": 3}}, "invalid_request", None),
        ({"characters": [{"id": "char_1"}]}, "stored_state", "characters"),
        ({"video": {"id": "video_1"}}, "stored_state", "video"),
        ({"model": "double-1"}, "unpriced_model", "model"),
    ],
)
def test_what_cannot_be_relayed_is_refused_and_costs_nothing(world, studio, video, body, code, param):
    answer = video.post("/v1/videos", json={**ASK, **body})
    error = error_of(answer, 400, code)
    if param is not None:
        assert error["param"] == param
    assert studio.seen == []
    assert world.record().status == "refused"
    assert world.balance() == (10 * USD, 0)


def test_a_larger_picture_has_a_price_of_its_own(world, studio, video, relay):
    append_price(model_name="reel-1", tier="1792x1024", units={"seconds": "0.5"})
    relay.settled_down()
    made = submit(video, size="1792x1024", seconds="4")
    studio.complete()
    video.get(f"/v1/videos/{made['id']}")
    assert world.record().cost_nanos == 4 * USD * 75 // 100
    assert world.prove()["charged_nanos"] == 4 * USD * 75 // 100


def test_a_larger_picture_and_a_service_tier_have_no_price_together(world, studio, video, relay):
    models = {channel_model.model: "" for channel_model in world.channel.channel_models.all()}
    world.new_channel(studio.url, name="second", models=models, provider="openai")
    for tier in ("1792x1024", "priority"):
        append_price(model_name="reel-1", tier=tier, units={"seconds": "0.5"})
    relay.settled_down()
    answer = video.post("/v1/videos", json={**ASK, "size": "1792x1024", "service_tier": "priority"})
    assert error_of(answer, 400, "unpriced_feature")["param"] == "size"
    assert studio.seen == []


def test_a_wallet_that_cannot_pay_asks_nothing_upstream(world, studio, video, relay):
    answer = video.post("/v1/videos", json={**ASK, "seconds": "600"})
    assert "needs $90.00" in error_of(answer, 403, "insufficient_balance")["message"]
    assert studio.seen == [] and VideoTask.objects.count() == 0


def test_a_channel_that_fails_is_followed_by_another(world, studio, video, relay):
    other = Studio().start()
    models = {channel_model.model: "" for channel_model in world.channel.channel_models.all()}
    world.new_channel(other.url, name="second", models=models, priority=-1)
    relay.settled_down()
    studio.script.append(json_reply({"error": {"message": "busy"}}, 500))
    made = submit(video)
    other.complete()
    assert video.get(f"/v1/videos/{made['id']}").json()["status"] == "completed"
    other.stop()
    record = world.record()
    assert [a["outcome"] for a in record.attempts] == ["status 500", "ok"]
    assert (record.channel, len(studio.seen)) == ("second", 1)
    assert world.prove()["charged_nanos"] == 8 * EACH


@pytest.mark.parametrize(
    ("reply", "status", "code", "recorded"),
    [
        (json_reply({"error": {"message": "sk-upstream is bad"}}, 401), 502, "upstream_error", "upstream_error"),
        (RESET, 502, "upstream_error", "upstream_error"),
        (json_reply({"object": "video"}), 502, "upstream_error", "upstream_error"),
        (json_reply({"error": {"message": "No such size", "code": "bad_size"}}, 400), 400, "bad_size", "refused"),
    ],
)
def test_a_video_that_no_channel_accepts_costs_nothing(world, studio, video, reply, status, code, recorded):
    studio.script.append(reply)
    answer = video.post("/v1/videos", json=ASK)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert "sk-upstream" not in answer.text
    record = world.record()
    assert (record.status, record.cost_nanos, record.held_nanos) == (recorded, 0, 8 * EACH)
    assert VideoTask.objects.count() == 0
    assert world.prove()["charged_nanos"] == 0
    assert world.balance() == (10 * USD, 0)


def test_a_video_that_fails_costs_nothing_and_says_why(world, studio, video):
    made = submit(video)
    studio.make(status="failed", error={"code": "moderation_blocked", "message": "Not this cat."})
    shown = video.get(f"/v1/videos/{made['id']}").json()
    assert (shown["status"], shown["error"]) == (
        "failed",
        {"code": "moderation_blocked", "message": "Not this cat."},
    )
    record = world.record()
    assert (record.status, record.error_code, record.units, record.cost_nanos) == (
        "upstream_error",
        "video_failed",
        {},
        0,
    )
    assert error_of(video.get(f"/v1/videos/{made['id']}/content"), 400, "invalid_request")
    assert world.prove()["charged_nanos"] == 0
    assert world.balance() == (10 * USD, 0)


def test_a_client_that_never_comes_back_is_charged_by_the_worker(world, studio, video):
    # given
    made, failed = submit(video), submit(video, seconds="4")
    first, second = studio.videos.values()
    # when it is not due yet
    assert poll_videos() == 0
    assert studio.asked() == 0
    # when it is due, but not made
    make_due()
    assert poll_videos() == 0
    assert studio.asked() == 2
    # it is not due again at once
    assert poll_videos() == 0
    assert studio.asked() == 2
    # when it is made
    first.update(status="completed")
    second.update(status="failed")
    make_due()
    assert poll_videos() == 2
    assert {task.pk: task.status for task in VideoTask.objects.all()} == {
        made["id"]: "completed",
        failed["id"]: "failed",
    }
    assert [(record.status, record.cost_nanos) for record in world.records()] == [
        ("ok", 8 * EACH),
        ("upstream_error", 0),
    ]
    make_due()
    assert poll_videos() == 0
    assert world.prove()["charged_nanos"] == 8 * EACH
    assert world.balance() == (10 * USD - 8 * EACH, 0)


def test_a_budget_holds_and_then_spends_what_the_worker_charges(world, studio, video, relay):
    budget = Budget.objects.create(organization=world.organization, api_key=world.key, limit_nanos=2 * USD)
    with transaction.atomic():
        record_change(ConfigChange.Kind.API_KEY, world.key.pk)
    relay.settled_down()
    submit(video)
    budget.refresh_from_db()
    assert (budget.held_nanos, budget.spent_nanos) == (8 * EACH, 0)
    studio.complete()
    make_due()
    assert poll_videos() == 1
    budget.refresh_from_db()
    assert (budget.held_nanos, budget.spent_nanos) == (0, 8 * EACH)
    error_of(video.post("/v1/videos", json=ASK), 403, "budget_exceeded")
    world.prove()


def test_the_worker_asks_the_less_often_the_older_a_video_is(world, studio, video):
    submit(video)
    now = timezone.now()
    waits = []
    for age in (0, 600, 6_000, 20_000):
        VideoTask.objects.update(created_at=now - timedelta(seconds=age), poll_at=now)
        [task] = video_tasks.claim(limit=10)
        task.refresh_from_db()
        waits.append(round((task.poll_at - now).total_seconds()))
    assert waits == [10, 60, 300, 300]


def test_two_workers_do_not_ask_for_the_same_video(world, studio, video):
    submit(video)
    make_due()
    stale = VideoTask.objects.get()
    assert len(video_tasks.claim(limit=10)) == 1
    assert video_tasks._is_ours(stale, timezone.now()) is False


def test_a_worker_and_many_clients_see_it_made_at_once_and_charge_it_once(world, studio, video, relay):
    # given
    made = submit(video)
    studio.complete()
    make_due()
    answers: list[httpx.Response] = []

    def look() -> None:
        headers = {"authorization": f"Bearer {world.secret}"}
        answers.append(httpx.get(f"{relay.url}/v1/videos/{made['id']}", headers=headers, timeout=20))

    threads = [threading.Thread(target=look) for _ in range(8)]
    # when
    for thread in threads:
        thread.start()
    video_poll.poll()
    for thread in threads:
        thread.join(30)
    # then
    assert [(answer.status_code, answer.json()["status"]) for answer in answers] == [(200, "completed")] * 8
    assert len(world.records()) == 1
    assert world.prove()["charged_nanos"] == 8 * EACH
    assert world.balance() == (10 * USD - 8 * EACH, 0)


def test_a_worker_that_dies_between_charge_and_row_charges_once(world, studio, video):
    # given a capture that was committed by somebody who then died
    made = submit(video)
    studio.complete()
    task = VideoTask.objects.get()
    capture_now([video_tasks.charge(task, State(task.upstream_id, "completed", seconds=8))])
    assert VideoTask.objects.get().status == "queued"
    # when
    assert video.get(f"/v1/videos/{made['id']}").json()["status"] == "completed"
    # then
    assert world.prove()["charged_nanos"] == 8 * EACH


def test_a_row_says_what_the_record_says(world, studio, video):
    # given a failure that was recorded first
    submit(video)
    task = VideoTask.objects.get()
    capture_now([video_tasks.charge(task, State(task.upstream_id, "failed"))])
    # when somebody sees it completed
    studio.complete()
    assert video.get(f"/v1/videos/{task.pk}").json()["status"] == "failed"
    # then
    assert world.prove()["charged_nanos"] == 0


def test_the_deadline_gives_back_what_is_held(world, studio, video):
    # given
    made = submit(video)
    studio.make(status="in_progress")
    make_late()
    # when
    assert sweep() == 1
    assert poll_videos() == 1
    # then
    record = world.record()
    assert (record.status, record.cost_nanos, record.held_nanos) == ("interrupted", 0, 8 * EACH)
    shown = video.get(f"/v1/videos/{made['id']}").json()
    assert (shown["status"], shown["error"]["code"]) == ("failed", "timeout")
    # whatever becomes of it later
    studio.complete()
    make_due()
    assert poll_videos() == 0
    assert video.get(f"/v1/videos/{made['id']}").json()["status"] == "failed"
    assert world.prove()["charged_nanos"] == 0
    assert world.balance() == (10 * USD, 0)


def test_a_video_outlives_the_process_that_asked_for_it(world, studio, video):
    # given a process that is dead
    submit(video)
    ProcessLease.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    # when
    assert sweep() == 0
    assert world.balance() == (10 * USD, 8 * EACH)
    studio.complete()
    make_due()
    assert poll_videos() == 1
    # then
    assert (world.record().status, world.record().overrun_nanos) == ("ok", 0)
    assert world.prove()["charged_nanos"] == 8 * EACH


def test_a_video_seen_completed_at_its_deadline_is_charged_as_overrun(world, studio, video):
    submit(video)
    make_late()
    assert sweep() == 1
    studio.complete()
    assert poll_videos() == 1
    record = world.record()
    assert (record.status, record.cost_nanos, record.overrun_nanos) == ("ok", 8 * EACH, 8 * EACH)
    assert world.prove()["charged_nanos"] == 8 * EACH
    assert world.balance() == (10 * USD - 8 * EACH, 0)


def test_a_hold_that_was_swept_before_the_upstream_accepted_starts_no_task(world, studio, video, relay):
    gate = threading.Event()
    studio.script.append(Reply([b'{"id":"up-9","object":"video","status":"queued"}'], gates={0: gate}))
    answers: list[httpx.Response] = []
    thread = threading.Thread(target=lambda: answers.append(video.post("/v1/videos", json=ASK)))
    thread.start()
    eventually(lambda: studio.seen)
    hold = Hold.objects.get()
    assert (hold.lease_id, (hold.deadline - hold.created_at).total_seconds()) == (None, pytest.approx(20 * 60, abs=5))
    Hold.objects.update(deadline=timezone.now() - timedelta(seconds=1))
    assert sweep() == 1
    gate.set()
    thread.join(20)
    error_of(answers[0], 504, "upstream_timeout")
    assert VideoTask.objects.count() == 0
    eventually(lambda: world.record().status == "upstream_error")
    assert world.prove()["charged_nanos"] == 0
    assert world.balance() == (10 * USD, 0)


def test_a_database_that_is_away_for_a_moment_loses_no_video(world, studio, video, monkeypatch):
    # given
    store, tried = video_tasks.store, []

    def stumble(task: VideoTask) -> None:
        tried.append(task.pk)
        if len(tried) == 1:
            raise OperationalError("database is locked")
        store(task)

    monkeypatch.setattr(video_tasks, "store", stumble)
    # when
    made = submit(video)
    # then
    assert tried == [made["id"]] * 2
    assert VideoTask.objects.get().pk == made["id"]


def test_a_client_that_hangs_up_while_it_asks_still_has_its_video(world, studio, video, relay):
    gate = threading.Event()
    studio.script.append(Reply([b'{"id":"up-9","object":"video","status":"queued"}'], gates={0: gate}))
    with pytest.raises(httpx.ReadTimeout):
        video.post("/v1/videos", json=ASK, timeout=0.5)
    gate.set()
    eventually(VideoTask.objects.exists)
    assert [one["seconds"] for one in video.get("/v1/videos").json()["data"]] == ["8"]
    assert Hold.objects.get().amount_nanos == 8 * EACH


def test_the_bytes_stream_through_and_are_free(world, studio, video):
    # given
    made = submit(video)
    error_of(video.get(f"/v1/videos/{made['id']}/content"), 400, "invalid_request")
    studio.complete()
    # when nobody has looked at it before: that it is made is seen, and charged, first
    answer = video.get(f"/v1/videos/{made['id']}/content")
    # then
    assert (answer.status_code, answer.content) == (200, BYTES)
    assert answer.headers["content-type"] == "video/mp4"
    assert (answer.headers["content-length"], answer.headers["etag"]) == (str(len(BYTES)), '"e1"')
    assert "set-cookie" not in answer.headers
    assert studio.seen[-1].path == "/v1/videos/vid%2Fup%201/content"
    # a part of it, and another variant
    part = video.get(f"/v1/videos/{made['id']}/content", headers={"range": "bytes=5-9"})
    assert (part.status_code, part.content) == (206, BYTES[5:10])
    assert part.headers["content-range"] == f"bytes 5-9/{len(BYTES)}"
    video.get(f"/v1/videos/{made['id']}/content?variant=thumbnail")
    assert studio.seen[-1].path == "/v1/videos/vid%2Fup%201/content?variant=thumbnail"
    error_of(video.get(f"/v1/videos/{made['id']}/content?variant=../x"), 400, "invalid_request")
    assert len(world.records()) == 1
    assert world.prove()["charged_nanos"] == 8 * EACH


def test_bytes_that_are_elsewhere_are_fetched_without_the_key(world, studio, video):
    made = submit(video)
    studio.complete()
    video.get(f"/v1/videos/{made['id']}")
    studio.script.append(Reply([], 302, headers={"location": "/download/7?signature=x"}))
    assert video.get(f"/v1/videos/{made['id']}/content").content == BYTES
    assert studio.seen[-1].path == "/download/7?signature=x"
    assert "authorization" not in studio.seen[-1].headers


def test_bytes_that_are_cut_upstream_are_not_whole_here(world, studio, video):
    made = submit(video)
    studio.complete()
    video.get(f"/v1/videos/{made['id']}")
    studio.script.append(Reply([b"half"], content_type="video/mp4", then="cut"))
    with pytest.raises(httpx.RemoteProtocolError):
        video.get(f"/v1/videos/{made['id']}/content")


def test_bytes_that_are_a_page_are_no_page_here(world, studio, video):
    made = submit(video)
    studio.complete()
    video.get(f"/v1/videos/{made['id']}")
    studio.script.append(Reply([b"<script>"], content_type="text/html"))
    answer = video.get(f"/v1/videos/{made['id']}/content")
    assert (answer.content, answer.headers["content-type"]) == (b"<script>", "application/octet-stream")
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_bytes_that_the_upstream_lost(world, studio, video):
    made = submit(video)
    studio.complete()
    video.get(f"/v1/videos/{made['id']}")
    studio.script.append(json_reply({"error": {"message": "expired"}}, 404))
    error_of(video.get(f"/v1/videos/{made['id']}/content"), 404, "not_found")
    studio.script.append(json_reply({"error": {"message": "sk-upstream"}}, 500))
    error_of(video.get(f"/v1/videos/{made['id']}/content"), 502, "upstream_error")


def test_a_client_that_does_not_read_holds_the_upstream_back_and_one_that_goes_away_ends_it(
    world, studio, video, relay
):
    made = submit(video)
    studio.complete()
    video.get(f"/v1/videos/{made['id']}")
    studio.script.append(Reply([b"x" * (1 << 20)] * 64, content_type="video/mp4"))
    with video.stream("GET", f"/v1/videos/{made['id']}/content") as answer:
        next(answer.iter_raw())
    assert studio.closed_early.wait(10)


def test_a_video_is_listed_newest_first_and_page_by_page(world, studio, video):
    ids = [submit(video, prompt=f"number {number}")["id"] for number in range(5)]

    def page(query: str = "") -> tuple[list[str], bool]:
        answer = video.get(f"/v1/videos{query}").json()
        found = [one["id"] for one in answer["data"]]
        assert answer["object"] == "list"
        assert (answer["first_id"], answer["last_id"]) == ((found[0], found[-1]) if found else (None, None))
        return found, answer["has_more"]

    assert page() == (ids[::-1], False)
    assert page("?limit=2") == ([ids[4], ids[3]], True)
    assert page(f"?limit=2&after={ids[3]}") == ([ids[2], ids[1]], True)
    assert page(f"?limit=2&after={ids[1]}") == ([ids[0]], False)
    assert page("?order=asc&limit=3") == (ids[:3], True)
    assert page(f"?order=asc&after={ids[2]}") == (ids[3:], False)
    assert page("?limit=0") == ([], True)
    for query in ("limit=101", "limit=-1", "limit=x", "order=up"):
        error_of(video.get(f"/v1/videos?{query}"), 400, "invalid_request")
    error_of(video.get("/v1/videos?after=video_0"), 404, "not_found")
    assert studio.asked() == 0


def test_another_organization_sees_none_of_it(world, studio, video, relay):
    made = submit(video)
    studio.complete()
    video.get(f"/v1/videos/{made['id']}")
    asked = len(studio.seen)
    upstream_id = VideoTask.objects.get().upstream_id
    headers = {"authorization": f"Bearer {world.bobs_secret}"}
    with httpx.Client(base_url=relay.url, headers=headers, timeout=20) as bob:
        for name in (made["id"], upstream_id, "video_" + "0" * 32):
            for response in (
                bob.get(f"/v1/videos/{name}"),
                bob.get(f"/v1/videos/{name}/content"),
                bob.delete(f"/v1/videos/{name}"),
                bob.post(f"/v1/videos/{name}/remix", json={"prompt": "mine"}),
                bob.get(f"/v1/videos?after={name}"),
            ):
                error_of(response, 404, "not_found")
        assert bob.get("/v1/videos").json()["data"] == []
    assert len(studio.seen) == asked
    error_of(video.get(f"/v1/videos/{upstream_id}"), 404, "not_found")


def test_a_deleted_video_is_gone_here_and_there_and_stays_charged(world, studio, video):
    made = submit(video)
    error_of(video.delete(f"/v1/videos/{made['id']}"), 400, "invalid_request")
    assert studio.asked("DELETE") == 0
    # when it was made meanwhile: whoever deletes it pays for it
    studio.complete()
    answer = video.delete(f"/v1/videos/{made['id']}")
    assert answer.json() == {"id": made["id"], "object": "video.deleted", "deleted": True}
    assert studio.videos == {}
    assert (studio.seen[-1].method, studio.seen[-1].path) == ("DELETE", "/v1/videos/vid%2Fup%201")
    assert "content-type" not in studio.seen[-1].headers
    for response in (
        video.get(f"/v1/videos/{made['id']}"),
        video.get(f"/v1/videos/{made['id']}/content"),
        video.delete(f"/v1/videos/{made['id']}"),
    ):
        error_of(response, 404, "not_found")
    assert video.get("/v1/videos").json()["data"] == []
    assert world.prove()["charged_nanos"] == 8 * EACH


def test_a_remix_goes_to_the_channel_that_has_the_video_and_costs_its_seconds(world, studio, video, relay):
    # given a better channel that has come since
    made = submit(video)
    studio.complete()
    other = Studio().start()
    models = {channel_model.model: "" for channel_model in world.channel.channel_models.all()}
    world.new_channel(other.url, name="second", models=models, priority=9)
    relay.settled_down()
    # when
    answer = video.post(f"/v1/videos/{made['id']}/remix", json={"prompt": "a dog"})
    other.stop()
    # then
    remix = answer.json()
    assert (remix["remixed_from_video_id"], remix["prompt"], remix["seconds"]) == (made["id"], "a dog", "8")
    assert remix["id"] != made["id"] and other.seen == []
    assert (studio.seen[-1].path, studio.seen[-1].json) == ("/v1/videos/vid%2Fup%201/remix", {"prompt": "a dog"})
    assert Hold.objects.get(pk=answer.headers["x-request-id"]).amount_nanos == 8 * EACH
    studio.complete()
    video.get(f"/v1/videos/{remix['id']}")
    assert [(r.endpoint, r.units) for r in world.records()] == [
        ("videos.create", {"seconds": 8}),
        ("videos.remix", {"seconds": 8}),
    ]
    error_of(
        video.post(f"/v1/videos/{made['id']}/remix", json={"prompt": "x", "seconds": "12"}), 400, "unpriced_feature"
    )
    assert world.prove()["charged_nanos"] == 16 * EACH


def test_only_what_is_made_can_be_remixed(world, studio, video):
    made = submit(video)
    error_of(video.post(f"/v1/videos/{made['id']}/remix", json={"prompt": "a dog"}), 400, "invalid_request")
    assert studio.asked("POST") == 1


@pytest.mark.parametrize("gone", ["disabled", "deleted"])
def test_a_video_of_a_channel_that_is_gone_says_so_and_its_deadline_still_comes(world, studio, video, relay, gone):
    # given
    made = submit(video)
    if gone == "disabled":
        set_channels_status(channels=[world.channel], status=Channel.Status.DISABLED)
    else:
        delete_channel(channel=world.channel)
    relay.settled_down()
    # when
    error = error_of(video.get(f"/v1/videos/{made['id']}"), 503, "no_channel")
    assert "not available" in error["message"]
    make_due()
    assert poll_videos() == 0
    assert studio.asked() == 0
    # then
    make_late()
    assert sweep() == 1
    assert video.get(f"/v1/videos/{made['id']}").json()["status"] == "failed"
    assert world.prove()["charged_nanos"] == 0


def test_an_upstream_that_says_nothing_useful_changes_nothing(world, studio, video):
    made = submit(video)
    for reply in (
        json_reply({"error": {"message": "x"}}, 500),
        json_reply([]),
        json_reply({"id": "y", "status": "completed"}),
    ):
        studio.script.append(reply)
        error_of(video.get(f"/v1/videos/{made['id']}"), 502, "upstream_error")
        studio.script.append(reply)
        make_due()
        assert poll_videos() == 0
    assert VideoTask.objects.get().status == "queued"
    assert world.records() == []


def test_a_completed_answer_waits_for_its_charge(world, studio, video, relay):
    made = submit(video)
    studio.complete()
    with handed_over(relay, "capture") as handed:
        assert video.get(f"/v1/videos/{made['id']}").json()["status"] == "completed"
        assert handed.is_set()
    assert UsageRecord.objects.get().cost_nanos == 8 * EACH


@pytest.mark.filterwarnings("ignore:The Sora API")
def test_the_official_client(world, studio, video, relay):
    with openai.OpenAI(base_url=f"{relay.url}/v1", api_key=world.secret) as sdk:
        threading.Thread(target=lambda: (eventually(lambda: studio.asked()), studio.complete())).start()
        made = sdk.videos.create_and_poll(
            model="reel-1", prompt="a cat", seconds="8", input_reference=("a.png", b"PNG"), poll_interval_ms=20
        )
        assert (made.status, made.seconds, made.progress) == ("completed", "8", 100)
        assert sdk.videos.download_content(made.id).read() == BYTES
        again = sdk.videos.remix(made.id, prompt="a dog")
        assert again.remixed_from_video_id == made.id
        assert [one.id for one in sdk.videos.list(limit=1)] == [again.id, made.id]
        assert sdk.videos.delete(made.id).deleted is True
        with pytest.raises(openai.NotFoundError):
            sdk.videos.retrieve(made.id)
        studio.complete()
        assert sdk.videos.retrieve(again.id).status == "completed"
    assert world.prove()["charged_nanos"] == 16 * EACH
