"""Images as the protocol file reads them: pieces, tokens, streams."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import RelayError
from relay.protocols import DIALECTS
from relay.protocols.base import Feature, Media, Target
from relay.protocols.images import EventReader
from relay.protocols.large_events import LargeSplitter
from relay.protocols.sse import EventTooLarge

IMAGES, EDITS, VARIATIONS = DIALECTS["images"], DIALECTS["image_edits"], DIALECTS["image_variations"]
FILE = {"filename": "a.png", "content_type": "image/png", "size": 9}
USAGE = {
    "input_tokens": 50,
    "input_tokens_details": {"text_tokens": 10, "image_tokens": 40},
    "output_tokens": 1_056,
    "total_tokens": 1_106,
}
UNITS = {"input": 10, "cache_read": 0, "image_in": 40, "output": 0, "image_out": 1_056, "images": 1}
HIGH = 8_232  # tokens of a square as large as 1536x1024 at high quality


def read(dialect=IMAGES, **fields):
    return dialect.parse(json.dumps({"model": "gpt-image-2", "prompt": "a cat", **fields}).encode(), "")


def refusal(dialect=IMAGES, **fields):
    with pytest.raises(RelayError) as refused:
        read(dialect, **fields)
    assert refused.value.status == 400
    return refused.value.code, refused.value.param


def answer(body, request):
    return IMAGES.read_answer(json.dumps(body).encode(), request)


BOUNDS = [
    ({}, HIGH, 1),
    ({"n": 3}, 3 * HIGH, 3),
    ({"n": None, "size": "auto", "quality": "auto"}, HIGH, 1),
    ({"size": "1024x1024", "quality": "low"}, 439, 1),
    ({"size": "1024x1024", "quality": "high"}, 7_024, 1),
    ({"size": "2880x2880", "quality": "high"}, 23_719, 1),
    ({"size": "1024x1024", "quality": "max"}, 28_096, 1),
    ({"size": "1024x1024", "quality": "high", "partial_images": 3}, 7_324, 1),
    ({"size": "1024x1024", "quality": "low", "output_format": "gif"}, 9 * 439, 1),
    ({"size": "1024x1024", "quality": "low", "output_format": "gif", "frame_count": 16}, 16 * 439, 1),
    ({"size": "1024x1024", "quality": "hd"}, 7_024, 1),
]


@pytest.mark.parametrize(("fields", "tokens", "images"), BOUNDS)
def test_what_is_held_for(fields, tokens, images):
    request = read(**fields)
    assert (request.pieces, request.output, request.text_bytes) == ({"image_out": tokens, "images": images}, False, 5)


@pytest.mark.parametrize("size", ["256x256", "512x512", "1024x1024", "1536x1024", "1024x1536"])
@pytest.mark.parametrize(("quality", "most"), [("low", 408), ("medium", 1_584), ("high", 6_240)])
def test_the_bound_is_above_what_the_first_model_needs(size, quality, most):
    if size in ("1536x1024", "1024x1536"):
        assert read(size=size, quality=quality).pieces["image_out"] >= most


@pytest.mark.parametrize("value", [0, -1, 129, 10**30, 1.5, True, "five", "-1", "", [1], {}])
def test_a_number_of_images_out_of_bounds_is_refused(value):
    assert refusal(n=value) == ("invalid_request", "n")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("prompt", None),
        ("prompt", ""),
        ("prompt", 5),
        ("size", 5),
        ("size", "99999x1"),
        ("quality", []),
        ("stream", "maybe"),
        ("stream", 1),
        ("partial_images", 4),
        ("frame_count", 17),
        ("model", 5),
    ],
)
def test_a_field_out_of_bounds_is_named(name, value):
    assert refusal(**{name: value}) == ("invalid_request", name)


def test_a_drawing_by_a_second_model_has_no_price():
    assert read(output_format="svg", svg={"model": "m"}).features == [Feature("svg"), Feature("output_format")]
    assert read(EDITS, image=FILE, **{"svg[model]": "m"}).features == [Feature("svg")]


def test_the_body_travels_on_with_the_models_name_there():
    body = IMAGES.body(read(n=2, style="vivid", new=[1]), Target("there"))
    assert json.loads(body) == {"model": "there", "prompt": "a cat", "n": 2, "style": "vivid", "new": [1]}


def test_a_form_says_numbers_in_digits():
    request = read(EDITS, n="3", stream="true", partial_images="02", image=FILE, mask=FILE, size="1024x1024")
    assert request.pieces == {"image_out": 3 * (7_024 + 200), "images": 3}
    assert (request.stream, request.media) == (True, [Media("image"), Media("image")])


def test_an_edit_may_have_many_images_and_be_json():
    assert len(read(EDITS, **{"image[]": [FILE] * 16}).media) == 16
    assert len(read(EDITS, images=[{"image_url": "data:image/png;base64,AAAA"}]).media) == 1
    assert refusal(EDITS, images=[{"file_id": "file-1"}]) == ("stored_state", "images")


@pytest.mark.parametrize(
    "fields",
    [{}, {"image": "text"}, {"image": [FILE] * 17}, {"image": []}, {"image": 5}, {"image": FILE, "mask": [FILE] * 3}],
)
def test_an_edit_needs_images(fields):
    assert refusal(EDITS, **fields)[0] == "invalid_request"


@pytest.mark.parametrize("url", ["file:///etc/passwd", "/etc/passwd", 5, {}, ""])
def test_an_image_is_a_url_that_anybody_may_read(url):
    assert refusal(EDITS, images=[{"image_url": url}]) == ("invalid_request", "images")
    assert refusal(image=url) == ("invalid_request", "image")


def test_a_mask_that_is_stored_upstream_is_refused():
    sources = [{"image_url": "https://a/b.png"}]
    assert refusal(EDITS, images=sources, mask={"file_id": "file-1"}) == ("stored_state", "images")


def test_some_servers_make_images_from_others():
    assert read(image="https://a/b.png").media == [Media("image")]
    assert len(read(image=["data:image/png;base64,AA", "http://a"]).media) == 2
    assert refusal(image=["https://a"] * 17) == ("invalid_request", "image")


def test_a_variation_has_no_prompt():
    body = json.dumps({"model": "m", "n": "2", "image": FILE, "size": "512x512"}).encode()
    request = VARIATIONS.parse(body, "")
    assert (request.pieces["images"], request.media) == (2, [Media("image")])
    assert refusal(VARIATIONS, image=FILE, stream="true") == ("unsupported_field", "stream")


def test_an_answer_tells_its_tokens_and_has_its_images():
    body = {"created": 1, "data": [{"b64_json": "AAAA"}], "usage": USAGE}
    found = answer(body, read())
    assert found.units == UNITS
    assert json.loads(found.render(UNITS, "0.04")) == {**body, "usage": {**USAGE, "cost": 0.04}}


USAGES = [
    (
        {**USAGE, "output_tokens_details": {"text_tokens": 56, "image_tokens": 1_000}},
        {"output": 56, "image_out": 1_000},
    ),
    ({**USAGE, "input_tokens_details": {"image_tokens": 99}}, {"input": 0, "image_in": 50}),
    ({**USAGE, "input_tokens_details": {"cached_tokens": 7}}, {"input": 43, "image_in": 0, "cache_read": 7}),
    ({**USAGE, "input_tokens_details": []}, {"input": 50, "image_in": 0}),
]


@pytest.mark.parametrize(("usage", "units"), USAGES)
def test_usage_is_disjoint(usage, units):
    assert answer({"data": [{}], "usage": usage}, read()).units == {**UNITS, **units}


@pytest.mark.parametrize(
    "usage",
    [
        None,
        [],
        {},
        {"input_tokens": -1, "output_tokens": 5},
        {**USAGE, "output_tokens": 0},
        {"input_tokens": 1e300, "output_tokens": 5},
    ],
)
def test_an_answer_that_tells_no_tokens_is_not_free(usage):
    body = {"data": [{"url": "https://a"}, {"url": "https://b"}], "usage": usage}
    found = answer(body, read(n=3))
    assert found.units == {"input": 2, "image_out": 2 * HIGH, "images": 2}


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"data":[]}', b'{"data":[{}],"error":{}}', b'{"data":5}', b"\xff"]
)
def test_a_body_that_is_no_answer(body):
    assert IMAGES.read_answer(body, read()) is None


def event(kind, **fields):
    return f"event: {kind}\ndata: {json.dumps({'type': kind, 'b64_json': 'AAAA', **fields})}\n\n".encode()


PARTIAL = event("image_generation.partial_image", partial_image_index=0)
COMPLETED = event("image_generation.completed", usage=USAGE)


def stream(*events, **fields):
    reader = EventReader(read(stream=True, **fields), lambda units: "0")
    return reader, b"".join(map(reader.read, events))


def test_partial_images_go_on_and_the_last_waits_for_its_charge():
    reader, out = stream(PARTIAL, COMPLETED)
    assert (out, reader.started, reader.finished, reader.done) == (PARTIAL, True, True, False)
    assert reader.read_rest(b"") == b""
    assert (reader.done, reader.failed, reader.units) == (True, False, UNITS)
    assert reader.last(UNITS, "1") == (b"", COMPLETED)


def test_of_several_images_only_the_last_waits():
    reader, out = stream(COMPLETED, PARTIAL, COMPLETED, n=2)
    assert out == PARTIAL + COMPLETED
    assert reader.units == {name: 2 * quantity for name, quantity in UNITS.items()}
    assert reader.last({}, "1") == (b"", COMPLETED)


def test_fewer_images_than_asked_are_told_by_the_end():
    reader, _ = stream(COMPLETED, n=2)
    assert (reader.finished, reader.done) == (False, False)
    reader.read_rest(b"")
    assert (reader.done, reader.units) == (True, UNITS)


@pytest.mark.parametrize(("events", "done"), [([PARTIAL], False), ([COMPLETED], True)])
def test_a_terminator_ends_well_only_where_an_image_was_made(events, done):
    reader, _ = stream(*events, b"data: [DONE]\n\n", n=2)
    assert (reader.done, reader.failed) == (done, not done)


def test_a_last_event_that_no_blank_line_ended():
    reader, _ = stream(PARTIAL)
    assert reader.read_rest(COMPLETED) == b""
    assert (reader.done, reader.last({}, "1")) == (True, (b"", COMPLETED))


def test_half_an_event_is_none():
    reader, _ = stream(PARTIAL)
    reader.read_rest(COMPLETED[:60] + b"\n\n")
    assert (reader.done, reader.finished) == (False, False)


def test_an_edit_streams_in_its_own_words():
    done = event("image_edit.completed", usage=USAGE)
    reader, _ = stream(event("image_edit.partial_image"), done)
    assert (reader.finished, reader.last({}, "1")) == (True, (b"", done))


@pytest.mark.parametrize(
    "bad", [b'data: {"error":{"message":"no"}}\n\n', event("error", message="no"), b'data: {"error": nonsense\n\n']
)
def test_an_error_fails_and_says_nothing(bad):
    reader, out = stream(bad)
    assert (reader.failed, reader.started, out) == (True, False, b"")


@given(st.binary(max_size=200))
def test_no_event_breaks_the_reader(noise):
    stream(b"data: " + noise + b"\n\n", noise)


EVENTS = [PARTIAL, COMPLETED, b": ping\n\n", event("x", b64_json="A" * 500)]


@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
@given(st.lists(st.sampled_from(EVENTS), max_size=5), st.data())
def test_any_split_of_large_events_gives_the_same(newline, events, data):
    whole = b"".join(events).replace(b"\n", newline)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=8)))
    splitter, found = LargeSplitter(), []
    for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        found += splitter.feed(whole[start:end])
    rest = splitter.rest()
    assert found + ([rest] if rest else []) == events


def test_an_event_that_never_ends_is_too_large(monkeypatch):
    monkeypatch.setattr("relay.protocols.large_events.MAX_BYTES", 10)
    splitter = LargeSplitter()
    splitter.feed(b"data: 123")
    with pytest.raises(EventTooLarge):
        splitter.feed(b"45")
