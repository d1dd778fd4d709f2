"""Images and audio through the relay, by the official OpenAI client: what goes upstream, what comes back, its price."""

from __future__ import annotations

import asyncio
import gzip
import json
import threading

import httpx
import openai
import pytest

from billing.services import append_price
from relay.entry.multipart import read_form
from relay.exchange import uploads
from tests.cast.waiting import eventually
from tests.doubles.recordings import recording
from tests.doubles.upstream import RESET, Reply, json_reply, sse_reply

pytestmark = pytest.mark.any_database

MP3 = recording("mp3", 3)
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20
TRANSCRIPTIONS = "/v1/audio/transcriptions"
HEARD = {"text": "hi there", "usage": {"type": "duration", "seconds": 3}}
IMAGE_USAGE = {
    "input_tokens": 50,
    "input_tokens_details": {"text_tokens": 10, "image_tokens": 40},
    "output_tokens": 1_000,
    "total_tokens": 1_050,
}
PICTURES = {"created": 1, "data": [{"b64_json": "AAAA"}], "usage": IMAGE_USAGE}


@pytest.fixture
def models(world):
    """One priced by the second, one by tokens, one by the character, each under its upstream's name."""
    return {
        world.new_model("hear", seconds="0.001"): "whisper-there",
        world.new_model("paint", input="5", image_in="10", image_out="40"): "gpt-image-there",
        world.new_model("draw", images="0.02"): "",
        world.new_model("say", characters="0.015"): "tts-there",
    }


@pytest.fixture
def sdk(world, upstream, relay, models):
    world.new_channel(upstream.url, models=models)
    relay.settled_down()
    with openai.OpenAI(base_url=f"{relay.url}/v1", api_key=world.secret, max_retries=0) as client:
        yield client


def form_of(seen):
    """What an upstream understood of a form: its fields, and its files' bytes."""

    async def chunks():
        yield seen.body

    form = asyncio.run(read_form(chunks(), seen.headers["content-type"].encode(), limit=1 << 30))
    files = {}
    for part in form.parts:
        if part.data is not None:
            part.data.seek(0)
            files.setdefault(part.name, []).append((part.filename, part.content_type, part.data.read()))
    fields = {name: value for name, value in form.values().items() if name not in files}
    form.close()
    return fields, files


def test_a_transcription_is_charged_by_the_second(world, upstream, sdk):
    upstream.script.append(json_reply(HEARD))

    answer = sdk.audio.transcriptions.create(
        model="hear", file=("a.mp3", MP3, "audio/mpeg"), language="en", timestamp_granularities=["word", "segment"]
    )

    assert (answer.text, answer.usage.seconds) == ("hi there", 3)
    [seen] = upstream.seen
    assert seen.path == TRANSCRIPTIONS
    fields, files = form_of(seen)
    assert fields == {
        "model": "whisper-there",
        "language": "en",
        "timestamp_granularities[]": ["word", "segment"],
    }
    assert files == {"file": [("a.mp3", "audio/mpeg", MP3)]}
    record = world.record()
    assert (record.endpoint, record.status, record.cost_nanos) == ("audio.transcriptions", "ok", 3_000_000)
    assert (record.units["seconds"], record.estimated) == (3, False)
    assert world.prove()["charged_nanos"] == 3_000_000


def test_a_plain_transcript_is_charged_by_what_was_measured(world, upstream, sdk):
    upstream.script.append(Reply([b"hi there\n"], content_type="text/plain; charset=utf-8"))
    answer = sdk.audio.transcriptions.with_raw_response.create(
        model="hear", file=("a.webm", recording("webm", 20)), response_format="text"
    )
    assert (answer.content, answer.headers["content-type"]) == (b"hi there\n", "text/plain; charset=utf-8")
    record = world.record()
    assert (record.units["seconds"], record.cost_nanos, record.estimated) == (20, 20_000_000, True)
    assert world.prove()["charged_nanos"] == 20_000_000


def test_a_transcript_is_streamed(world, upstream, sdk):
    done = {"type": "transcript.text.done", "text": "hi", "usage": {**HEARD["usage"]}}
    upstream.script.append(
        sse_reply(
            [
                b'data: {"type":"transcript.text.delta","delta":"hi"}\n\n',
                b"data: " + json.dumps(done).encode() + b"\n\n",
            ]
        )
    )
    stream = sdk.audio.transcriptions.create(model="hear", file=("a.mp3", MP3), stream=True)
    assert [event.type for event in stream] == ["transcript.text.delta", "transcript.text.done"]
    assert form_of(upstream.seen[0])[0]["stream"] == "true"
    assert world.record().cost_nanos == 3_000_000
    world.prove()


def test_an_upstream_that_does_not_stream_is_streamed_for(world, upstream, sdk):
    upstream.script.append(json_reply(HEARD))
    [event] = sdk.audio.transcriptions.create(model="hear", file=("a.mp3", MP3), stream=True)
    assert (event.type, event.text) == ("transcript.text.done", "hi there")
    assert world.record().cost_nanos == 3_000_000
    world.prove()


@pytest.mark.parametrize("first", [RESET, json_reply({"error": {}}, 500), json_reply({"error": {}}, 429)])
def test_a_form_is_sent_again_to_another_channel(world, upstream, sdk, relay, models, first):
    world.new_channel(upstream.url, name="second", models=models)
    relay.settled_down()
    upstream.script += [first, json_reply(HEARD)]

    sdk.audio.translations.create(model="hear", file=("a.mp3", MP3 * 40, "audio/mpeg"))

    assert [form_of(seen) for seen in upstream.seen] == [
        ({"model": "whisper-there"}, {"file": [("a.mp3", "audio/mpeg", MP3 * 40)]})
    ] * 2
    record = world.record()
    assert (record.endpoint, len(record.attempts), record.cost_nanos) == ("audio.translations", 2, 3_000_000)
    world.prove()


@pytest.fixture
def forms(monkeypatch):
    """Every form that the relay reads."""
    found = []

    async def kept(*args, **options):
        found.append(await read_form(*args, **options))
        return found[-1]

    monkeypatch.setattr(uploads, "read_form", kept)
    return found


def closed(forms):
    [form] = forms
    return all(part.data.closed for part in form.parts if part.data is not None)


def test_the_files_are_gone_when_the_answer_is_there(world, upstream, sdk, forms):
    upstream.script.append(json_reply(HEARD))
    sdk.audio.transcriptions.create(model="hear", file=("a.mp3", MP3))
    eventually(lambda: closed(forms))


def test_the_files_are_gone_when_the_request_is_refused(world, client, sdk, forms):
    client.post(TRANSCRIPTIONS, data={"model": "nobody"}, files={"file": ("a.mp3", MP3)})
    eventually(lambda: closed(forms))


def test_the_files_stay_while_an_upstream_works_for_a_client_that_is_gone(world, upstream, sdk, relay, forms):
    gate = threading.Event()
    upstream.script.append(json_reply(HEARD, gates={0: gate}))
    with pytest.raises(openai.APITimeoutError):
        sdk.with_options(timeout=1).audio.transcriptions.create(model="hear", file=("a.mp3", MP3))
    assert not closed(forms)
    gate.set()
    eventually(lambda: closed(forms))
    assert world.record().cost_nanos == 3_000_000
    world.prove()


def refused(world, response, code, param=None):
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (400, code, param)
    assert world.record().error_code == code
    assert world.prove()["charged_nanos"] == 0


def test_what_is_no_recording_is_refused(world, upstream, sdk, client):
    files = {"file": ("a.mp3", b"not a recording", "audio/mpeg")}
    refused(world, client.post(TRANSCRIPTIONS, data={"model": "hear"}, files=files), "invalid_request", "file")
    assert upstream.seen == []


@pytest.mark.parametrize(("model", "code"), [("nobody", "model_not_found"), ("draw", "unpriced_model")])
def test_a_recording_is_not_measured_for_whom_it_cannot_be_heard(world, sdk, client, monkeypatch, model, code):
    async def measured(*_):
        raise AssertionError

    monkeypatch.setattr("relay.exchange.uploads.seconds_of", measured)
    response = client.post(TRANSCRIPTIONS, data={"model": model}, files={"file": ("a.mp3", MP3)})
    assert response.json()["error"]["code"] == code
    assert world.record().error_code == code


@pytest.mark.parametrize(
    "body", [{"json": {"model": "hear", "file": {"seconds": 1}}}, {"data": {"model": "hear"}}, {"content": b"x"}]
)
def test_what_is_no_form_is_refused(world, sdk, client, body):
    refused(world, client.post(TRANSCRIPTIONS, **body), "invalid_request")


def test_a_form_without_a_file_or_a_model_is_refused(world, sdk, client):
    response = client.post(TRANSCRIPTIONS, files={"file": ("a.mp3", MP3)})
    refused(world, response, "missing_model", "model")


def test_a_model_of_another_kind_has_no_price_here(world, sdk, client):
    response = client.post(TRANSCRIPTIONS, data={"model": "draw"}, files={"file": ("a.mp3", MP3)})
    refused(world, response, "unpriced_model", "model")


@pytest.mark.parametrize(("encode", "status"), [(gzip.compress, 200), (lambda body: gzip.compress(body)[:-9], 400)])
def test_a_form_may_be_compressed(world, upstream, sdk, client, encode, status):
    upstream.script.append(json_reply(HEARD))
    made = httpx.Request("POST", "http://x", data={"model": "hear"}, files={"file": ("a.mp3", MP3)})
    headers = {"content-type": made.headers["content-type"], "content-encoding": "gzip"}
    assert client.post(TRANSCRIPTIONS, content=encode(made.read()), headers=headers).status_code == status
    assert len(upstream.seen) == (1 if status == 200 else 0)
    world.prove()


def test_a_compressed_form_over_the_limit_is_refused(world, sdk, client, settings):
    settings.MAX_BODY_BYTES = 100_000
    made = httpx.Request("POST", "http://x", data={"model": "hear"}, files={"file": ("a.mp3", bytes(50_000_000))})
    headers = {"content-type": made.headers["content-type"], "content-encoding": "gzip"}
    response = client.post(TRANSCRIPTIONS, content=gzip.compress(made.read()), headers=headers)
    assert (response.status_code, response.json()["error"]["code"]) == (413, "body_too_large")


def test_a_form_that_says_it_is_over_the_limit_is_not_read(world, sdk, client, settings):
    settings.MAX_BODY_BYTES = 1_000
    response = client.post(TRANSCRIPTIONS, data={"model": "hear"}, files={"file": ("a.mp3", MP3)})
    assert (response.status_code, response.json()["error"]["code"]) == (413, "body_too_large")


def test_images_are_charged_by_their_tokens(world, upstream, sdk):
    upstream.script.append(json_reply(PICTURES))
    answer = sdk.images.generate(model="paint", prompt="a cat", size="1024x1024", quality="low")
    assert (answer.data[0].b64_json, answer.usage.output_tokens) == ("AAAA", 1_000)
    assert upstream.seen[0].json["model"] == "gpt-image-there"
    cost = 10 * 5_000 + 40 * 10_000 + 1_000 * 40_000
    assert answer.usage.model_extra["cost"] == cost / 1e9
    record = world.record()
    assert (record.endpoint, record.cost_nanos, record.held_nanos) == ("images.generations", cost, record.held_nanos)
    assert record.units == {"input": 10, "image_in": 40, "image_out": 1_000, "images": 1}
    assert world.prove()["charged_nanos"] == cost


def test_images_are_charged_by_the_piece(world, upstream, sdk):
    upstream.script.append(json_reply({"created": 1, "data": [{"url": "https://a"}, {"url": "https://b"}]}))
    sdk.images.generate(model="draw", prompt="a cat", n=3)
    record = world.record()
    assert (record.cost_nanos, record.held_nanos) == (40_000_000, 60_000_000)
    world.prove()


def test_a_better_image_than_the_usual_has_a_price_of_its_own(world, upstream, sdk, relay):
    append_price(model_name="draw", tier="hd 1024x1792", units={"images": "0.12"})
    relay.settled_down()
    upstream.script.append(json_reply({"created": 1, "data": [{"b64_json": "AAAA"}]}))
    sdk.images.generate(model="draw", prompt="A cat", size="1024x1792", quality="hd")
    assert world.record().cost_nanos == 120_000_000
    assert world.prove()["charged_nanos"] == 120_000_000


@pytest.mark.parametrize(
    ("size", "quality", "field", "tier"),
    [
        ("1024x1792", "standard", "size", "1024x1792"),
        ("1024x1024", "hd", "quality", "hd"),
        (None, "high", "quality", "high"),
    ],
)
def test_a_better_image_without_a_price_of_its_own_is_refused(world, upstream, sdk, client, size, quality, field, tier):
    body = {"model": "draw", "prompt": "A cat", "quality": quality, **({"size": size} if size else {})}
    response = client.post("/v1/images/generations", json=body)
    refused(world, response, "unpriced_feature", field)
    assert response.json()["error"]["message"] == f"{field} {tier} has no price here for draw."
    assert upstream.seen == []


def test_a_better_image_that_is_charged_by_its_tokens_needs_no_price_of_its_own(world, upstream, sdk):
    upstream.script.append(json_reply(PICTURES))
    sdk.images.generate(model="paint", prompt="A cat", size="1024x1792", quality="high")
    assert world.record().units["image_out"] > 0


def test_an_edit_is_a_form(world, upstream, sdk):
    upstream.script.append(json_reply(PICTURES))
    sdk.images.edit(model="paint", prompt="a hat", n=2, image=[("a.png", PNG), ("b.png", PNG)], mask=("m.png", PNG))
    fields, files = form_of(upstream.seen[0])
    assert upstream.seen[0].path == "/v1/images/edits"
    assert fields == {"model": "gpt-image-there", "prompt": "a hat", "n": "2"}
    assert [name for name, _, data in files["image[]"] if data == PNG] == ["a.png", "b.png"]
    assert files["mask"] == [("m.png", "image/png", PNG)]
    assert world.record().units["image_out"] == 1_000
    world.prove()


def test_an_edit_may_be_json(world, upstream, client, sdk):
    upstream.script.append(json_reply(PICTURES))
    body = {"model": "paint", "prompt": "a hat", "images": [{"image_url": "data:image/png;base64,AAAA"}]}
    assert client.post("/v1/images/edits", json=body).status_code == 200
    assert upstream.seen[0].json == {**body, "model": "gpt-image-there"}
    world.prove()


def test_an_edit_is_streamed(world, upstream, sdk):
    events = [
        {"type": "image_edit.partial_image", "b64_json": "AA", "partial_image_index": 0},
        {"type": "image_edit.completed", "b64_json": "AAAA", "usage": IMAGE_USAGE},
    ]
    upstream.script.append(sse_reply([b"data: " + json.dumps(event).encode() + b"\n\n" for event in events]))
    stream = sdk.images.edit(model="paint", prompt="a hat", image=("a.png", PNG), stream=True, partial_images=1)
    assert [event.type for event in stream] == ["image_edit.partial_image", "image_edit.completed"]
    assert world.record().units == {"input": 10, "image_in": 40, "image_out": 1_000, "images": 1}
    world.prove()


def test_a_variation_is_a_form(world, upstream, sdk):
    upstream.script.append(json_reply({"created": 1, "data": [{"url": "https://a"}]}))
    sdk.images.create_variation(model="draw", image=("a.png", PNG))
    assert form_of(upstream.seen[0]) == ({"model": "draw"}, {"image": [("a.png", "image/png", PNG)]})
    assert world.record().cost_nanos == 20_000_000
    world.prove()


def test_speech_comes_as_it_is_spoken(world, upstream, sdk):
    upstream.script.append(Reply([b"ID3", b"\x00\n\n\x01", b"end"], content_type="audio/mpeg"))
    with sdk.audio.speech.with_streaming_response.create(model="say", input="héllo 😀", voice="alloy") as answer:
        assert (answer.headers["content-type"], answer.read()) == ("audio/mpeg", b"ID3\x00\n\n\x01end")
    assert upstream.seen[0].json == {"model": "tts-there", "input": "héllo 😀", "voice": "alloy"}
    record = world.record()
    assert (record.endpoint, record.units["characters"], record.cost_nanos) == ("audio.speech", 7, 105_000)
    assert world.prove()["charged_nanos"] == 105_000


def test_speech_as_events(world, upstream, client, sdk):
    done = b'data: {"type":"speech.audio.done","usage":{"input_tokens":4,"output_tokens":30,"total_tokens":34}}\n\n'
    parts = [b'data: {"type":"speech.audio.delta","audio":"AAAA"}\n\n', done]
    upstream.script.append(sse_reply(parts))
    body = {"model": "say", "input": "hello", "voice": "alloy", "stream_format": "sse"}
    response = client.post("/v1/audio/speech", json=body)
    assert (response.content, response.headers["content-type"]) == (b"".join(parts), "text/event-stream")
    assert world.record().units == {"input": 4, "audio_out": 30, "characters": 5}
    world.prove()


def test_speech_that_is_cut_costs_nothing(world, upstream, client, sdk):
    upstream.script.append(Reply([b"ID3"], content_type="audio/mpeg", then="cut"))
    body = {"model": "say", "input": "hello", "voice": "alloy"}
    try:
        client.post("/v1/audio/speech", json=body)
    except httpx.HTTPError:
        pass
    record = world.record()
    assert (record.status, record.cost_nanos) == ("upstream_error", 0)
    assert world.prove()["charged_nanos"] == 0
