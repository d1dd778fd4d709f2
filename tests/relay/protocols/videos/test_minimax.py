"""MiniMax's videos: OpenAI's words become its own, and what it says becomes OpenAI's."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from dataclasses import replace

import pytest
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from billing.models import Hold
from channels_app.models import CatalogueModel
from relay.errors import RelayError
from relay.jobs import poll_videos
from relay.models import VideoTask
from relay.protocols.base import Target
from relay.protocols.videos import minimax as videos_minimax
from relay.protocols.videos import openai as videos
from relay.protocols.videos.openai import State
from relay.upstream.connections import UpstreamFailure
from relay.upstream.providers import PROVIDERS, Fault
from relay.upstream.providers.base import Call
from tests.cast.refusals import error_of
from tests.cast.world import USD
from tests.doubles.studio import BYTES, studio_fixture  # noqa: F401
from tests.doubles.upstream import json_reply

pytestmark = pytest.mark.any_database

ASK = {"model": "hailuo", "prompt": "a cat", "seconds": "10", "size": "1280x720"}
EACH = USD * 8 // 100
TASK = "106916112212032"


def body(**asked):
    request = videos.parse(json.dumps({"model": "hailuo", "prompt": "a cat", **asked}).encode())
    return json.loads(videos_minimax.body(request, Target(model="MiniMax-Hailuo-2.3")))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, {"duration": 6}),
        ({"seconds": "6"}, {"duration": 6}),
        ({"seconds": 10}, {"duration": 10}),
        ({"size": "1366x768"}, {"duration": 6, "resolution": "768P"}),
        ({"size": "1920x1080", "user": "u1"}, {"duration": 6, "resolution": "1080P"}),
        (
            {"input_reference": {"image_url": "https://example.com/a.png"}},
            {"duration": 6, "first_frame_image": "https://example.com/a.png"},
        ),
    ],
)
def test_a_request_in_its_words(asked, said):
    assert body(**asked) == {"model": "MiniMax-Hailuo-2.3", "prompt": "a cat", **said}


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"seconds": "4"}, "seconds"),
        ({"size": "720x1280"}, "size"),
        ({"style": "noir"}, "style"),
        ({"last_frame": {"image_url": "https://example.com/a.png"}}, "last_frame"),
    ],
)
def test_what_it_cannot_express_is_refused_by_name(asked, param):
    with pytest.raises(RelayError) as refused:
        body(**asked)
    assert (refused.value.status, refused.value.code, refused.value.param) == (400, "unsupported_field", param)


OK = {"status_code": 0, "status_msg": "success"}


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        ({"task_id": TASK, "base_resp": OK}, State(TASK, "queued")),
        ({"task_id": 7, "base_resp": OK}, State("7", "queued")),
        ({"task_id": TASK, "status": "Preparing", "base_resp": OK}, ("queued", 0)),
        ({"task_id": TASK, "status": "Queueing", "base_resp": OK}, ("queued", 0)),
        ({"task_id": TASK, "status": "Processing", "base_resp": OK}, ("in_progress", 50)),
        ({"task_id": TASK, "status": "Unheard-of", "base_resp": OK}, ("in_progress", 50)),
        ({"task_id": TASK, "status": "Success", "base_resp": OK}, ("in_progress", 99)),
        ({"task_id": TASK, "status": "Fail", "base_resp": OK}, ("failed", 0)),
        ({"task_id": "", "base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}}, None),
        ({"task_id": TASK, "base_resp": {"status_code": 1002, "status_msg": "rate limit"}}, None),
        ({"status": "Success", "file_id": "5"}, None),
        ({"task_id": "a\x00b", "base_resp": OK}, None),
        ({"task_id": "\ud800", "base_resp": OK}, None),
        ([], None),
        ({}, None),
    ],
)
def test_what_it_says_of_a_video(answer, state):
    found = videos_minimax.read(json.dumps(answer).encode())
    assert found == state if state is None or isinstance(state, State) else (found.status, found.progress) == state


def test_a_video_that_it_made_and_one_that_it_would_not():
    made = {
        "task_id": TASK,
        "status": "Success",
        "file_id": "205258526306433",
        "video_width": 1920,
        "video_height": 1080,
    }
    found = videos_minimax.read(json.dumps({**made, "base_resp": OK}).encode())
    assert found is not None
    assert (found.status, found.asset, found.size, found.seconds) == ("completed", "205258526306433", "1920x1080", None)
    failed = {"task_id": TASK, "status": "Fail", "base_resp": {"status_code": 1027, "status_msg": "sensitive content"}}
    found = videos_minimax.read(json.dumps(failed).encode())
    assert found is not None
    assert (found.status, found.error) == ("failed", ("content_policy_violation", "sensitive content"))


@pytest.mark.parametrize("upstream_id", ["", "a\x00", "\ud800", "x" * 201, 5, None, ["x"]])
def test_an_id_that_cannot_be_kept_is_none(upstream_id):
    assert videos.read_video(json.dumps({"id": upstream_id, "status": "queued"}).encode()) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(
    [
        *("id", "status", "progress", "seconds", "size", "error", "expires_at", "task_id", "file_id", "video_width"),
        *("base_resp", "status_code", "status_msg", "file", "download_url", "prompt", "model", "input_reference"),
        *("image_url", "input_reference[image_url]", "filename"),
    ]
)
OBJECTS = st.dictionaries(NAMES, JSON | st.dictionaries(NAMES, JSON, max_size=3), max_size=6)


@given(st.binary(max_size=40) | OBJECTS.map(lambda value: json.dumps(value).encode()))
def test_no_answer_raises(answer):
    for read in (videos.read_video, videos_minimax.read, videos_minimax.problem, videos_minimax.link):
        read(answer)


@given(st.binary(max_size=40) | OBJECTS.map(lambda value: json.dumps({"prompt": "a cat", **value}).encode()))
def test_no_request_raises_anything_but_a_refusal(asked):
    with contextlib.suppress(RelayError):
        request = videos.parse(asked)
        videos.upstream_body(request, Target(model="m"))
        videos_minimax.body(request, Target(model="m"))


@pytest.mark.parametrize(
    "base_url", ["https://api.minimax.io", "https://api.minimax.io/v1", "https://api.minimax.io/v1/"]
)
@pytest.mark.parametrize(
    ("dialect", "action", "path"),
    [
        ("chat", "", "/v1/chat/completions"),
        ("videos_minimax", "", "/v1/video_generation"),
        ("videos_minimax", "query/12", "/v1/query/video_generation?task_id=12"),
        ("videos_minimax", "file/a%26b", "/v1/files/retrieve?file_id=a%26b"),
    ],
)
def test_where_its_requests_go(base_url, dialect, action, path):
    provider = PROVIDERS["minimax"]
    assert provider.url_of(Call(base_url, dialect, "m", action=action)) == "https://api.minimax.io" + path
    assert provider.headers("key") == [(b"authorization", b"Bearer key")]
    assert (provider.fault(400, b"{}"), provider.fault(401, b"{}")) == (Fault.CLIENT, Fault.OPERATOR)


@pytest.fixture
def video(world, studio, client, relay):
    model = world.new_model("hailuo", seconds="0.08")
    world.new_channel(studio.url, provider="minimax", models={model: "MiniMax-Hailuo-2.3"})
    relay.settled_down()
    return client


def test_from_request_to_bytes_with_the_exact_charge(world, studio, video):
    # when
    made = video.post("/v1/videos", json=ASK).json()
    # then
    said = {"model": "MiniMax-Hailuo-2.3", "prompt": "a cat", "duration": 10, "resolution": "720P"}
    assert (studio.seen[0].path, studio.seen[0].json) == ("/v1/video_generation", said)
    assert (made["status"], made["seconds"], made["size"], made["model"]) == ("queued", "10", "1280x720", "hailuo")
    assert Hold.objects.get().amount_nanos == 10 * EACH
    # when it is made
    studio.hailuo = {"status": "Processing"}
    assert video.get(f"/v1/videos/{made['id']}").json()["progress"] == 50
    assert studio.seen[-1].path == f"/v1/query/video_generation?task_id={TASK}"
    studio.hailuo = {"status": "Success", "file_id": "205258526306433", "video_width": 1280, "video_height": 720}
    assert video.get(f"/v1/videos/{made['id']}").json()["status"] == "completed"
    assert (world.record().units, world.record().cost_nanos) == ({"seconds": 10}, 10 * EACH)
    # then its bytes come from where it points to, without the key
    answer = video.get(f"/v1/videos/{made['id']}/content", headers={"range": "bytes=0-9"})
    assert (answer.status_code, answer.content) == (206, BYTES[:10])
    asked, fetched = studio.seen[-2:]
    assert asked.path == "/v1/files/retrieve?file_id=205258526306433"
    assert (fetched.path, fetched.headers["range"]) == ("/download/205258526306433?signature=a%2Fb", "bytes=0-9")
    assert "authorization" not in fetched.headers
    error_of(video.get(f"/v1/videos/{made['id']}/content?variant=thumbnail"), 400, "invalid_request")
    error_of(video.post(f"/v1/videos/{made['id']}/remix", json={"prompt": "a dog"}), 400, "unsupported_endpoint")
    # and there is nothing to delete but our own row
    before = len(studio.seen)
    assert video.delete(f"/v1/videos/{made['id']}").json()["deleted"] is True
    assert len(studio.seen) == before
    assert world.prove()["charged_nanos"] == 10 * EACH


def test_the_worker_charges_it_and_remembers_its_file(world, studio, video):
    made = video.post("/v1/videos", json=ASK).json()
    studio.hailuo = {"status": "Success", "file_id": 205258526306433}
    VideoTask.objects.update(poll_at=timezone.now())
    assert poll_videos() == 1
    assert VideoTask.objects.get().asset == "205258526306433"
    assert video.get(f"/v1/videos/{made['id']}/content").content == BYTES
    assert world.prove()["charged_nanos"] == 10 * EACH


def test_its_own_default_is_held_and_charged(world, studio, video):
    made = video.post("/v1/videos", json={"model": "hailuo", "prompt": "a cat"}).json()
    assert made["seconds"] == "6"
    assert (Hold.objects.get().amount_nanos, studio.seen[0].json["duration"]) == (6 * EACH, 6)


def test_a_picture_of_a_form_goes_along_as_a_data_url(world, studio, video):
    picture = bytes(range(256))
    answer = video.post(
        "/v1/videos",
        data={"model": "hailuo", "prompt": "a cat"},
        files={"input_reference": ("a.png", picture, "image/png")},
    )
    assert answer.status_code == 200
    url = "data:image/png;base64," + base64.b64encode(picture).decode()
    assert studio.seen[0].json["first_frame_image"] == url
    assert studio.seen[0].headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("base_resp", "status", "code", "recorded"),
    [
        ({"status_code": 1026, "status_msg": "sensitive words"}, 400, "refused_by_upstream", "refused"),
        ({"status_code": 2013, "status_msg": "invalid params"}, 400, "refused_by_upstream", "refused"),
        ({"status_code": 2013, "status_msg": "bad key sk-upstream"}, 502, "upstream_error", "upstream_error"),
        ({"status_code": 1004, "status_msg": "login fail: sk-upstream"}, 502, "upstream_error", "upstream_error"),
        ({"status_code": 1008, "status_msg": "insufficient balance"}, 502, "upstream_error", "upstream_error"),
        ({"status_code": 1002, "status_msg": "RPM: too fast"}, 429, "upstream_rate_limited", "upstream_error"),
    ],
)
def test_errors_of_status_200_are_the_clients_or_the_operators(world, studio, video, base_resp, status, code, recorded):
    studio.script.append(json_reply({"task_id": "", "base_resp": base_resp}))
    answer = video.post("/v1/videos", json=ASK)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert "sk-upstream" not in answer.text
    assert (base_resp["status_msg"] in answer.text) is (status == 400)
    assert (world.record().status, VideoTask.objects.count()) == (recorded, 0)
    assert world.prove()["charged_nanos"] == 0


def test_a_query_that_is_rate_limited_ends_nothing(world, studio, video):
    made = video.post("/v1/videos", json=ASK).json()
    studio.script.append(json_reply({"task_id": TASK, "base_resp": {"status_code": 1002, "status_msg": "rate limit"}}))
    error_of(video.get(f"/v1/videos/{made['id']}"), 502, "upstream_error")
    assert VideoTask.objects.get().status == "queued"
    assert world.records() == []


def test_a_link_to_a_private_place_is_not_followed(world, studio, video, relay):
    # given a channel that may not use private addresses
    made = video.post("/v1/videos", json=ASK).json()
    studio.hailuo = {"status": "Success", "file_id": "5"}
    video.get(f"/v1/videos/{made['id']}")
    channel = next(iter(relay.runtime.snapshot.routing.channels.values()))
    public = replace(channel, allow_private_addresses=False)
    for url in (
        "http://127.0.0.1:1/x?y=1",
        "http://169.254.169.254/latest",
        "file:///etc/passwd",
        "http://localhost/x",
    ):
        fetch = relay.runtime.upstreams.fetch(public, url, headers=[], silence=5)
        with pytest.raises(UpstreamFailure):
            asyncio.run_coroutine_threadsafe(fetch, relay.loop).result(10)


def test_a_model_that_two_kinds_serve_is_held_for_the_dearer(world, studio, video, relay):
    # given an upstream of OpenAI's kind, whose default is 4 seconds, that is tried first and fails
    models = {channel_model.model: "" for channel_model in world.model.channel_models.all()}
    models[CatalogueModel.objects.get(name="hailuo")] = ""
    world.new_channel(studio.url, name="second", models=models, priority=1)
    relay.settled_down()
    studio.script.append(json_reply({"error": {"message": "busy"}}, 500))
    # when
    made = video.post("/v1/videos", json={"model": "hailuo", "prompt": "a cat"}).json()
    # then
    assert (studio.seen[0].json["seconds"], studio.seen[1].json["duration"]) == ("4", 6)
    assert (made["seconds"], Hold.objects.get().amount_nanos) == ("6", 6 * EACH)
