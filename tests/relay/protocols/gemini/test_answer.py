"""An upstream's Gemini answer: its usage, what of a stream goes at once and what waits for the charge, errors."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relay.protocols import DIALECTS
from relay.protocols.gemini.answer import StreamReader, read_answer
from relay.protocols.gemini.request import parse
from relay.protocols.usage import gemini_units, gemini_usage
from tests.cast.examples import examples
from tests.doubles.upstream import split

# How long an example takes depends on what else the machine does.
unhurried = settings(deadline=None, max_examples=examples(25), suppress_health_check=[HealthCheck.too_slow])
USAGE = {"promptTokenCount": 10, "candidatesTokenCount": 4, "totalTokenCount": 14}


def chunk(text=None, finish=None, index=0, usage=None, **more):
    """A response as Google streams it."""
    candidate = {"index": index}
    if text is not None:
        candidate["content"] = {"parts": [{"text": text}], "role": "model"}
    if finish is not None:
        candidate["finishReason"] = finish
    found = {"candidates": [candidate], "modelVersion": "gemini-2.5-flash", "responseId": "r-1", **more}
    return {**found, "usageMetadata": usage} if usage else found


def event(value, newline=b"\n"):
    return b"data: " + json.dumps(value).encode() + newline + newline


def reader(alt="sse"):
    request = parse(b'{"contents":[{}]}', f"g:streamGenerateContent?alt={alt}")
    return StreamReader(request, lambda units: "0")


ASKED = parse(b'{"contents":[{}]}', "g:generateContent")
FIRST = event(chunk("Hel", usage={"promptTokenCount": 10, "candidatesTokenCount": 1}))
SECOND = event(chunk("lo"))
END = event(chunk("", "STOP", usage=USAGE))
AFTER = event({"usageMetadata": {**USAGE, "candidatesTokenCount": 5}})


# ---- usage ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("usage", "units"),
    [
        (USAGE, {"input": 10, "output": 4}),
        ({"promptTokenCount": 10}, {"input": 10}),
        ({**USAGE, "cachedContentTokenCount": 8}, {"input": 2, "cache_read": 8, "output": 4}),
        ({**USAGE, "cachedContentTokenCount": 80}, {"cache_read": 10, "output": 4}),
        ({**USAGE, "thoughtsTokenCount": 30}, {"input": 10, "output": 34, "reasoning": 30}),
        ({**USAGE, "toolUsePromptTokenCount": 5}, {"input": 15, "output": 4}),
        (
            {
                **USAGE,
                "promptTokenCount": 100,
                "cachedContentTokenCount": 30,
                "toolUsePromptTokenCount": 7,
                "promptTokensDetails": [
                    {"modality": "TEXT", "tokenCount": 20},
                    {"modality": "AUDIO", "tokenCount": 50},
                    {"modality": "IMAGE", "tokenCount": 25},
                    {"modality": "VIDEO", "tokenCount": 5},
                ],
                "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 20}, {"modality": "TEXT", "tokenCount": 10}],
                "toolUsePromptTokensDetails": [{"modality": "IMAGE", "tokenCount": 7}],
            },
            {"input": 15, "cache_read": 30, "audio_in": 30, "image_in": 32, "output": 4},
        ),
        (
            {
                **USAGE,
                "candidatesTokenCount": 1300,
                "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1290}],
            },
            {"input": 10, "output": 10, "image_out": 1290},
        ),
        (
            {**USAGE, "candidatesTokensDetails": [{"modality": "AUDIO", "tokenCount": 99}, 5, {"modality": []}]},
            {"input": 10, "audio_out": 4},
        ),
        ({**USAGE, "promptTokensDetails": "x", "cachedContentTokenCount": "x"}, {"input": 10, "output": 4}),
        *((broken, None) for broken in (None, [], "x", {}, {"promptTokenCount": 0}, {**USAGE, "promptTokenCount": -1})),
        *(({**USAGE, "thoughtsTokenCount": broken}, None) for broken in (True, "9", 10**30, 1.5, [1])),
    ],
)
def test_usage_becomes_disjoint_units(usage, units):
    assert gemini_units(usage) == units


def test_units_become_usage():
    assert gemini_usage({"input": 2, "cache_read": 8, "output": 34, "reasoning": 30}) == {
        **{"promptTokenCount": 10, "cachedContentTokenCount": 8, "candidatesTokenCount": 4, "thoughtsTokenCount": 30},
        "totalTokenCount": 44,
    }
    assert gemini_usage({"input": 2, "audio_in": 3, "image_out": 5})["promptTokensDetails"] == [
        {"modality": "TEXT", "tokenCount": 2},
        {"modality": "AUDIO", "tokenCount": 3},
    ]


COUNTS = st.integers(0, 10**6)


@unhurried
@given(
    st.fixed_dictionaries(
        dict.fromkeys(("input", "cache_read", "audio_in", "image_in", "output", "audio_out", "image_out"), COUNTS)
    ),
    COUNTS,
)
def test_units_survive_the_way_to_usage_and_back(units, thoughts):
    units = {**units, "reasoning": min(thoughts, units["output"])}
    units = {name: quantity for name, quantity in units.items() if quantity}
    assert gemini_units(gemini_usage(units)) == (units or None)


# ---- whole answers --------------------------------------------------------------------------------------------------


def test_an_answer_goes_to_the_client_as_it_is():
    body = json.dumps(chunk("Hello", "STOP", usage=USAGE), indent=2).encode()
    answer = read_answer(body, ASKED)
    assert (answer.units, answer.texts, answer.render({"input": 1}, "0.1")) == ({"input": 10, "output": 4}, [], body)


def test_an_answer_without_usage_is_read_for_what_it_said():
    call = {"functionCall": {"name": "f", "args": {"a": 1}}, "thoughtSignature": "c2ln"}
    thought = {"text": "hm", "thought": True}
    image = {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}
    body = json.dumps({"candidates": [{"content": {"parts": [thought, {"text": "Hi"}, call, image]}}]}).encode()
    answer = read_answer(body, ASKED)
    assert (answer.units, answer.texts, answer.render({}, "0")) == (None, ["hm", "Hi", "f", '{"a":1}'], body)


def test_a_blocked_prompt_is_an_answer():
    body = b'{"promptFeedback":{"blockReason":"SAFETY"},"usageMetadata":{"promptTokenCount":7}}'
    assert read_answer(body, ASKED).units == {"input": 7}


@pytest.mark.parametrize(
    "body",
    [
        *(
            b"",
            b"{}",
            b"[]",
            b"null",
            b"\xff",
            b"<html>",
            b'{"candidates":[]}',
            b'{"candidates":5}',
            b'{"candidates":[5]}',
        ),
        b'{"error":{"code":500},"candidates":[{}]}',
        b'{"promptFeedback":{}}',
        b'{"candidates":' + b"[" * 5_000 + b"]" * 5_000 + b"}",
    ],
)
def test_what_is_no_answer(body):
    assert read_answer(body, ASKED) is None


@pytest.mark.parametrize(
    ("name", "asked", "searches"),
    [
        ("gemini-3-flash", ["a", "", "b", "a"], {"searches": 2}),
        ("gemini-3-flash", [], {"searches": 0}),
        ("gemini-3-flash", None, {"searches": 0}),
        ("gemini-3-flash", [5, {}, "a"], {"searches": 1}),
        ("gemini-3-flash", [str(n) for n in range(500)], {"searches": 100}),
        ("gemini-2.5-flash", ["a", "b"], {"searches": 1}),
        ("gemini-2.5-flash", [], {"searches": 0}),
    ],
)
def test_searches_are_counted_as_google_charges_them(name, asked, searches):
    body = chunk("Hi", "STOP", usage=USAGE, modelVersion=name)
    body["candidates"][0]["groundingMetadata"] = {"webSearchQueries": asked}
    allowed = b'{"contents":[{}],"tools":[{"googleSearch":{}}]}'
    answer = read_answer(json.dumps(body).encode(), parse(allowed, "alias:generateContent"))
    assert answer.units == {"input": 10, "output": 4, **searches}
    stream = StreamReader(parse(allowed, "alias:streamGenerateContent"), lambda units: "0")
    stream.read(event(body))
    assert stream.units == answer.units


def test_what_was_not_allowed_is_not_charged():
    body = chunk("Hi", "STOP", usage=USAGE)
    body["candidates"][0]["groundingMetadata"] = {"webSearchQueries": ["a"]}
    assert read_answer(json.dumps(body).encode(), ASKED).units == {"input": 10, "output": 4}


# ---- streams --------------------------------------------------------------------------------------------------------


def test_a_stream_flows_until_its_finish_reason():
    stream = reader()
    assert stream.read(FIRST) == FIRST
    assert (stream.started, stream.finished, stream.units) == (True, False, None)
    assert stream.read(SECOND) == SECOND
    assert stream.read(END) == b""
    assert (stream.finished, stream.done, stream.failed) == (True, False, False)
    assert stream.units == {"input": 10, "output": 4}
    assert stream.read(AFTER) == b""
    assert stream.units == {"input": 10, "output": 5}
    assert stream.read(b": ping\n\n") == b""
    assert stream.texts == ["Hel", "lo", ""]
    assert stream.last({}, "0") == (b"", END + AFTER + b": ping\n\n")


def test_usage_before_the_end_is_not_the_usage():
    stream = reader()
    stream.read(FIRST)
    stream.read(event(chunk("", "STOP")))
    assert (stream.finished, stream.units) == (True, None)


def test_every_candidate_must_end():
    stream = reader()
    stream.read(event({"candidates": [{"index": 0}, {"index": 1}]}))
    stream.read(event(chunk("a", "STOP", 0)))
    assert (stream.finished, stream.read(event(chunk("b", None, 1)))) == (False, b"")
    stream.read(event(chunk("", "MAX_TOKENS", 1)))
    assert stream.finished


def test_a_blocked_prompt_is_an_ended_stream():
    stream = reader()
    blocked = event({"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 7}})
    assert stream.read(blocked) == b""
    assert (stream.started, stream.finished, stream.units) == (True, True, {"input": 7})
    assert stream.last({}, "0") == (b"", blocked)


def test_a_client_of_the_array_form_gets_an_array():
    stream = reader("json")
    first, second, end = chunk("Hel"), chunk("lo"), chunk("", "STOP", usage=USAGE)
    now = stream.read(event(first, b"\r\n")) + stream.read(b": ping\n\n") + stream.read(event(second))
    assert now == b"[" + json.dumps(first).encode() + b",\r\n" + json.dumps(second).encode()
    assert stream.read(event(end)) == b""
    at_once, waits = stream.last({}, "0")
    assert at_once == b""
    assert json.loads(now + waits) == [first, second, end]


def test_an_array_of_one_waits_whole():
    stream = reader("json")
    end = chunk("Hello", "STOP", usage=USAGE)
    assert stream.read(event(end)) == b""
    assert stream.last({}, "0")[1] == b"[" + json.dumps(end).encode() + b"]"


ERRORS = [
    event({"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}}),
    b'{\n  "error": {\n    "code": 503,\n    "message": "overloaded"\n  }\n}\n\n',
    b'[{"error": {"code": 503}}]\n\n',
]


@pytest.mark.parametrize("error", [*ERRORS, b'data: {"error": broken\n\n'])
def test_an_error_is_a_failure(error):
    stream = reader()
    stream.read(FIRST)
    assert stream.read(error) == b""
    assert (stream.failed, stream.finished) == (True, False)


@pytest.mark.parametrize("error", ERRORS)
def test_an_error_at_the_very_end_is_a_failure(error):
    stream = reader()
    assert stream.read_rest(error) == b""
    assert stream.failed


def test_half_an_event_is_none():
    stream = reader()
    assert stream.read_rest(END[:-20] + b"\n\n") == b""
    assert (stream.started, stream.finished) == (False, False)
    assert stream.read_rest(END) == b""
    assert stream.finished


def test_an_event_of_something_new_passes():
    stream = reader()
    for new in (event({"unheard": 1}), b"data: what\n\n", b"event: x\n\n", b": c\n\n"):
        assert stream.read(new) == new
    assert (stream.started, stream.failed) == (False, False)


EVENTS = st.lists(st.sampled_from([FIRST, SECOND, END, AFTER, b": ping\n\n", event(chunk("é😀"))]), max_size=6)


@unhurried
@given(EVENTS, st.sampled_from([b"\n", b"\r\n", b"\r"]), st.data())
def test_any_split_of_a_stream_gives_the_same_answer(events, newline, data):
    whole = b"".join(events).replace(b"\n", newline)
    cuts = data.draw(st.lists(st.integers(0, len(whole)), max_size=8))
    expected, stream = reader(), reader()
    out = b"".join(map(expected.read, events)) + b"".join(expected.last({}, "0"))
    assert b"".join(map(stream.read, split(whole, cuts))) + b"".join(stream.last({}, "0")) == out
    assert (stream.finished, stream.units, stream.texts) == (expected.finished, expected.units, expected.texts)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["STOP", "x"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("candidates", "content", "parts", "text", "thought", "finishReason", "index", "functionCall"),
                    *("usageMetadata", "promptFeedback", "blockReason", "error", "args", "name", "promptTokenCount"),
                    *("candidatesTokensDetails", "logprobsResult", "chosenCandidates", "topCandidates", "responseId"),
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=30,
)


@unhurried
@given(VALUES, st.binary(max_size=30))
def test_no_upstream_breaks_the_reader(value, noise):
    for known in (value, {"candidates": value}, {"candidates": [value]}, {"candidates": [{"content": value}]}):
        body = json.dumps(known).encode()
        read_answer(body, ASKED)
        stream = reader()
        stream.read(b"data: " + body + b"\n\n")
        stream.read(noise + b"\n\n")
        stream.read_rest(body)
        assert stream.finished in (True, False)
        assert stream.last({}, "0")[0] == b""


def test_a_streamed_image_may_be_large():
    part = {"inlineData": {"mimeType": "image/png", "data": "A" * (20 << 20)}}
    whole = b"data: " + json.dumps({"candidates": [{"content": {"parts": [part]}}]}).encode() + b"\r\n\r\n"
    cutter = DIALECTS["gemini"].streaming.cutter()
    events = [event for start in range(0, len(whole), 65_536) for event in cutter.feed(whole[start : start + 65_536])]
    assert (len(events), len(events[0])) == (1, len(whole) - 2)
    assert cutter.rest() == b""
