"""An upstream's answer as the protocol files read it: events cut anywhere, usage in every maker's words, errors."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import RelayError
from relay.protocols.chat.answer import StreamReader, read_answer
from relay.protocols.chat.request import parse
from relay.protocols.error_shapes import stream_error
from relay.protocols.sse import EventTooLarge, Splitter, data_of
from relay.protocols.usage import openai_units, openai_usage
from tests.doubles.upstream import CHUNK, DONE, USAGE, ask, completion, delta, event, split, usage_chunk, whole_stream

EVENTS = st.lists(
    st.sampled_from(
        [delta("é😀"), delta(finish="stop"), usage_chunk(), DONE, b": ping\n\n", b"event: x\ndata: a\ndata: b\n\n"]
    ),
    max_size=5,
)


@given(EVENTS, st.sampled_from([b"\n", b"\r\n", b"\r"]), st.data())
def test_any_split_of_a_stream_gives_the_same_events(events, newline, data):
    whole = b"".join(events).replace(b"\n", newline)
    cuts = data.draw(st.lists(st.integers(0, len(whole)), max_size=8))
    assert split(whole, cuts) == events


@given(st.binary(max_size=300), st.data())
def test_any_split_of_any_bytes_gives_the_same_events(whole, data):
    cuts = data.draw(st.lists(st.integers(0, len(whole)), max_size=8))
    assert split(whole, cuts) == split(whole, [])


@pytest.mark.parametrize("newline", [b"\n", b"\r\n", b"\r"])
def test_every_single_boundary(newline):
    events = whole_stream("é", "😀")
    whole = b"".join(events).replace(b"\n", newline)
    for cut in range(len(whole) + 1):
        assert split(whole, [cut]) == events


def test_an_event_that_never_ends_is_too_large(monkeypatch):
    monkeypatch.setattr("relay.protocols.sse.MAX_EVENT_BYTES", 10)
    splitter = Splitter()
    assert splitter.feed(b"data: 123\n\ndata: 1234") == [b"data: 123\n\n"]
    with pytest.raises(EventTooLarge):
        splitter.feed(b"5")


DATA = [
    (b"data: x\n\n", b"x"),
    (b"data:x\n\n", b"x"),
    (b"data:  x \n\n", b"x"),
    (b"event: a\nid: 1\ndata: x\n\n", b"x"),
    (b"data: a\ndata:b\n\n", b"a\nb"),
    (b": comment\n\n", None),
    (b"event: ping\n\n", None),
    (b"data\n\n", None),
]


@pytest.mark.parametrize(("raw", "data"), DATA)
def test_the_data_of_an_event(raw, data):
    assert data_of(raw) == data


def details(**counts):
    return {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150, **counts}


UNITS = {
    "plain": (USAGE, {"input": 10, "output": 5}),
    "floats that are whole": ({"prompt_tokens": 10.0, "completion_tokens": 5.0}, {"input": 10, "output": 5}),
    "no completion": ({"prompt_tokens": 10}, {"input": 10}),
    "cached": (details(prompt_tokens_details={"cached_tokens": 30}), {"input": 70, "cache_read": 30, "output": 50}),
    "cached, as Moonshot says it": (details(cached_tokens=30), {"input": 70, "cache_read": 30, "output": 50}),
    "cached, as DeepSeek says it": (
        details(prompt_cache_hit_tokens=30, prompt_cache_miss_tokens=70),
        {"input": 70, "cache_read": 30, "output": 50},
    ),
    "cached, said twice": (
        details(cached_tokens=30, prompt_tokens_details={"cached_tokens": 30}),
        {"input": 70, "cache_read": 30, "output": 50},
    ),
    "written to the cache": (
        details(prompt_tokens_details={"cached_tokens": 30, "cache_write_tokens": 20}),
        {"input": 50, "cache_read": 30, "cache_write_5m": 20, "output": 50},
    ),
    "audio and images": (
        details(
            prompt_tokens_details={"audio_tokens": 60, "image_tokens": 10},
            completion_tokens_details={"audio_tokens": 40, "image_tokens": 4},
        ),
        {"input": 30, "audio_in": 60, "image_in": 10, "output": 6, "audio_out": 40, "image_out": 4},
    ),
    "reasoning within": (
        details(completion_tokens_details={"reasoning_tokens": 20}),
        {"input": 100, "output": 50, "reasoning": 20},
    ),
    "reasoning beside, as xAI counts": (
        {**details(completion_tokens_details={"reasoning_tokens": 20}), "total_tokens": 170},
        {"input": 100, "output": 70, "reasoning": 20},
    ),
    "more details than there are tokens": (
        details(
            prompt_tokens_details={"cached_tokens": 90, "audio_tokens": 90},
            completion_tokens_details={"reasoning_tokens": 900, "audio_tokens": 40},
        ),
        {"cache_read": 90, "audio_in": 10, "output": 10, "reasoning": 10, "audio_out": 40},
    ),
    "details of nonsense": (
        details(prompt_tokens_details={"cached_tokens": -5, "audio_tokens": True}, completion_tokens_details=[1]),
        {"input": 100, "output": 50},
    ),
}


@pytest.mark.parametrize("case", UNITS)
def test_usage_becomes_disjoint_units(case):
    usage, units = UNITS[case]
    assert openai_units(usage) == units


NO_COUNTS = [-1, 1.5, float("nan"), float("inf"), 10**9 + 1, 10**40, 1e300, True, "10", None, [10]]


@pytest.mark.parametrize("broken", NO_COUNTS)
@pytest.mark.parametrize("name", ["prompt_tokens", "completion_tokens"])
def test_a_broken_counter_is_no_usage(name, broken):
    assert openai_units({**USAGE, name: broken}) is None


@pytest.mark.parametrize("usage", [None, [], "usage", 5, {}, {"prompt_tokens": 0, "completion_tokens": 0}])
def test_what_counts_nothing_is_no_usage(usage):
    assert openai_units(usage) is None


@given(
    st.dictionaries(
        st.sampled_from(["prompt_tokens", "completion_tokens", "total_tokens", "cached_tokens"]), st.integers(0, 10**9)
    )
)
def test_units_are_disjoint_and_add_up(usage):
    units = openai_units(usage)
    if units is not None:
        read = sum(units.get(name, 0) for name in ("input", "cache_read"))
        assert (read, units.get("output", 0)) == (usage["prompt_tokens"], usage.get("completion_tokens", 0))


def reader(*, include_usage=False):
    request = parse(json.dumps(ask(stream=True, stream_options={"include_usage": include_usage})).encode())
    return StreamReader(request, lambda units: f"{sum(units.values())}.5")


def test_usage_is_hidden_from_a_client_that_did_not_ask():
    stream = reader()
    assert stream.read(usage_chunk()) == b""
    assert stream.units == {"input": 10, "output": 5}


def test_usage_is_shown_with_its_cost_to_a_client_that_asked_and_the_rest_stays_as_it_was():
    raw = b'data: {"id":"x", "choices":[], "n":1e5, "usage":{"prompt_tokens":10,"completion_tokens":5,"x":1.50}}\n\n'
    shown = reader(include_usage=True).read(raw)
    assert shown == (
        b'data: {"id":"x","choices":[],"n":1e5,'
        b'"usage":{"prompt_tokens":10,"completion_tokens":5,"x":1.50,"cost":15.5}}\n\n'
    )


@pytest.mark.parametrize("asked", [False, True])
def test_usage_in_the_chunk_that_finishes(asked):
    chunk = {**CHUNK, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    stream = reader(include_usage=asked)
    shown = json.loads(data_of(stream.read(event({**chunk, "usage": USAGE}))))
    assert shown == ({**chunk, "usage": {**USAGE, "cost": 15.5}} if asked else chunk)
    assert (stream.finished, stream.units) == (True, {"input": 10, "output": 5})


def test_of_continuous_usage_the_last_counts():
    stream = reader()
    for number in (1, 2, 3):
        chunk = {**CHUNK, "choices": [{"index": 0, "delta": {"content": "a"}}]}
        usage = {"prompt_tokens": 10, "completion_tokens": number}
        assert json.loads(data_of(stream.read(event({**chunk, "usage": usage})))) == chunk
    assert stream.units == {"input": 10, "output": 3}


@pytest.mark.parametrize("asked", [False, True])
def test_a_broken_usage_is_shown_to_nobody_and_replaced_by_our_own_count(asked):
    stream = reader(include_usage=asked)
    stream.read(delta("Hi", finish="stop"))
    assert stream.read(usage_chunk({"prompt_tokens": -1, "completion_tokens": 5})) == b""
    ours, held = stream.last({"input": 7, "output": 1}, "0.25")
    assert held == DONE
    if asked:
        expected = {**CHUNK, "choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 1, "total_tokens": 8}}
        expected["usage"]["cost"] = 0.25
        assert json.loads(data_of(ours)) == expected
    else:
        assert ours == b""


def test_a_chunk_with_an_empty_usage_passes_as_it_is():
    chunk = event({**CHUNK, "choices": [{"index": 0, "delta": {"content": "a"}}], "usage": None})
    assert reader().read(chunk) == chunk


def test_everything_an_answer_says_is_noted_for_an_estimate():
    stream = reader()
    call = {"index": 0, "id": "call", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    for raw in (
        delta("", role="assistant"),
        delta("a"),
        delta(reasoning_content="b"),
        delta("c", reasoning="d"),
        delta(tool_calls=[call]),
        delta(refusal="e"),
    ):
        assert stream.read(raw) == raw
    said = "".join(stream.texts)
    assert "assistant" not in said
    for text in ("a", "b", "c", "d", "e", "f", "{}"):
        assert text in said


ERRORS = [
    event({"error": {"message": "sk-secret"}}),
    event({"error": "sk-secret"}),
    event({"choices": [], "error": {"code": 500}}),
    event({"object": "error", "message": "sk-secret"}),
    b'event: error\ndata: {"message":"sk-secret"}\n\n',
    b'event:error\ndata: {"message":"sk-secret"}\n\n',
    b'data: {"error": sk-secret}\n\n',
]


@pytest.mark.parametrize("raw", ERRORS)
def test_an_error_event_is_kept_from_the_client(raw):
    stream = reader()
    assert stream.read(raw) == b""
    assert (stream.failed, stream.started) == (True, False)


def choice(index, finish=None):
    return {"index": index, "delta": {"content": "x"}, "finish_reason": finish}


def test_an_answer_has_finished_when_every_choice_that_began_has():
    stream = reader()
    states = []
    for choices in ([choice(0)], [choice(0, "stop"), choice(1)], [choice(2)], [choice(1, "stop")], [choice(2, "stop")]):
        stream.read(event({**CHUNK, "choices": choices}))
        states.append(stream.finished)
    assert states == [False, False, False, False, True]


NOT_ANSWERS = [b"", b"null", b"[]", b"{}", b'{"choices":[]}', b'{"choices":{}}', b'{"choices":[{}],"error":{}}']
NOT_ANSWERS += [b'{"choices":[{}],"usage":1e400}', b"<html>", b'{"choices":[{}]}x', b'{"choices":' + b"[" * 9_999]


@pytest.mark.parametrize("body", NOT_ANSWERS)
def test_what_is_not_a_completion_is_not_read(body):
    assert read_answer(body) is None


def test_an_answer_travels_on_as_it_was_with_its_cost():
    body = b'{"id":"x","choices":[{"a":1e5,"b":"\\u00e9"}],"usage":{"prompt_tokens":10,"completion_tokens":5,"cost":9}}'
    answer = read_answer(body)
    assert answer.units == {"input": 10, "output": 5}
    assert answer.render(answer.units, "0.00002") == body.replace(b'"cost":9', b'"cost":0.00002')


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": -1}, "none"])
def test_an_answer_without_usage_gets_our_own_count(usage):
    answer = read_answer(json.dumps({**completion("Hi", usage=None), "usage": usage}).encode())
    assert (answer.units, "".join(answer.texts)) == (None, "Hi")
    units = {"input": 7, "output": 1}
    sent = json.loads(answer.render(units, "0.25"))
    assert sent["usage"] == {**openai_usage(units), "cost": 0.25}


def test_an_error_in_mid_stream_is_one_event():
    raw = stream_error(RelayError("upstream_error", 'it "failed"\n\nbadly'), "chat")
    assert split(raw, []) == [raw]
    assert json.loads(data_of(raw))["error"]["message"] == 'it "failed"\n\nbadly'


WRITTEN = {**USAGE, "prompt_tokens_details": {"cache_write_tokens": 4}}


@pytest.mark.parametrize(("ttl", "unit"), [("5m", "cache_write_5m"), ("1h", "cache_write_1h")])
def test_what_is_written_to_a_cache_is_charged_for_as_long_as_was_asked(ttl, unit):
    request = parse(json.dumps(ask(cache_control={"type": "ephemeral", "ttl": ttl})).encode())
    units = {"input": 6, unit: 4, "output": 5}
    answer = read_answer(json.dumps(completion(usage=WRITTEN)).encode(), request)
    assert answer is not None
    assert answer.units == units
    reader = StreamReader(request, lambda units: "0")
    reader.read(usage_chunk(WRITTEN))
    assert reader.units == units
