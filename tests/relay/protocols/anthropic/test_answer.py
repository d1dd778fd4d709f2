"""An answer of Anthropic's Messages as the protocol files read it: usage, streams cut anywhere, errors, counts."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relay.protocols.anthropic import count as anthropic_count
from relay.protocols.anthropic.answer import MESSAGE_STOP, StreamReader, read_answer
from relay.protocols.anthropic.count import count_answer
from relay.protocols.anthropic.errors import error_body, read_error, stream_error
from relay.protocols.anthropic.request import parse
from relay.protocols.sse import data_of
from relay.protocols.usage import anthropic_units, anthropic_usage
from tests.cast.examples import examples
from tests.doubles.upstream import split

# How long an example takes depends on what else the machine does.
unhurried = settings(deadline=None, max_examples=examples(25), suppress_health_check=[HealthCheck.too_slow])
SEARCH = {"type": "web_search_20260318", "name": "web_search"}


def asked(**fields):
    messages = [{"role": "user", "content": "hello"}]
    return parse(json.dumps({"model": "claude-opus-5-5", "max_tokens": 9, "messages": messages, **fields}).encode())


USAGE = {"input_tokens": 10, "output_tokens": 5}
UNITS = {
    "plain": (USAGE, {"input": 10, "output": 5}),
    "cached, beside the input": (
        {**USAGE, "cache_read_input_tokens": 70, "cache_creation_input_tokens": 20},
        {"input": 10, "cache_read": 70, "cache_write_5m": 20, "output": 5},
    ),
    "written for two durations": (
        {
            **USAGE,
            "cache_creation_input_tokens": 50,
            "cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 30},
        },
        {"input": 10, "cache_write_5m": 20, "cache_write_1h": 30, "output": 5},
    ),
    "a split that was told earlier than the total": (
        {
            **USAGE,
            "cache_creation_input_tokens": 50,
            "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 30},
        },
        {"input": 10, "cache_write_1h": 50, "output": 5},
    ),
    "thinking within": (
        {**USAGE, "output_tokens_details": {"thinking_tokens": 3}},
        {"input": 10, "output": 5, "reasoning": 3},
    ),
    "more thinking than output": (
        {**USAGE, "output_tokens_details": {"thinking_tokens": 9}},
        {"input": 10, "output": 5, "reasoning": 5},
    ),
    "searches": (
        {**USAGE, "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 0}},
        {"input": 10, "output": 5, "searches": 2},
    ),
    "no searches, which is said": (
        {**USAGE, "server_tool_use": {"web_search_requests": 0}},
        {"input": 10, "output": 5, "searches": 0},
    ),
    "a compaction, which the totals leave out": (
        {
            **USAGE,
            "iterations": [
                {"type": "compaction", "input_tokens": 100, "output_tokens": 20, "cache_read_input_tokens": 7},
                {"type": "message", **USAGE},
            ],
        },
        {"input": 110, "cache_read": 7, "output": 25},
    ),
    "everything from the cache": (
        {"input_tokens": 0, "cache_read_input_tokens": 9, "output_tokens": 0},
        {"cache_read": 9},
    ),
    "details of nonsense": (
        {**USAGE, "cache_creation": [1], "cache_read_input_tokens": -5, "server_tool_use": 7, "iterations": [None, 3]},
        {"input": 10, "output": 5},
    ),
}


@pytest.mark.parametrize("case", UNITS)
def test_usage_becomes_disjoint_units(case):
    usage, units = UNITS[case]
    assert anthropic_units(usage) == units


@pytest.mark.parametrize("broken", [-1, 1.5, float("nan"), 10**9 + 1, 10**40, True, "10", None, [10]])
@pytest.mark.parametrize("name", ["input_tokens", "output_tokens"])
def test_a_broken_counter_is_no_usage(name, broken):
    assert anthropic_units({**USAGE, name: broken}) is None
    assert anthropic_units({**USAGE, "iterations": [{"type": "compaction", **USAGE, name: broken}]}) is None


@pytest.mark.parametrize("usage", [None, [], "usage", {}, {"input_tokens": 0, "output_tokens": 0}])
def test_what_counts_nothing_is_no_usage(usage):
    assert anthropic_units(usage) is None


COUNTED = st.sampled_from(["input", "cache_read", "cache_write_5m", "cache_write_1h", "output", "searches"])


@unhurried
@given(st.dictionaries(COUNTED, st.integers(1, 10**8)), st.integers(1, 10**8), st.integers(0, 10**8))
def test_units_written_as_usage_are_read_as_the_same_units(units, read, thought):
    units = {**units, "input": read}
    if "output" in units and thought:
        units["reasoning"] = min(thought, units["output"])
    assert anthropic_units(anthropic_usage(units)) == units


MESSAGE = {
    "id": "msg_01",
    "type": "message",
    "role": "assistant",
    "model": "claude-opus-5-5",
    "content": [{"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}, {"type": "text", "text": "Hi!"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": USAGE,
}


def test_an_answer_travels_on_as_it_was():
    body = json.dumps(MESSAGE, indent=1).encode()
    answer = read_answer(body, asked())
    assert (answer.units, answer.texts) == ({"input": 10, "output": 5}, [])
    assert answer.render(answer.units, "0.1") == body


def test_an_answer_names_its_model_as_the_client_did():
    upstream = json.dumps({**MESSAGE, "model": "our-own-claude"}).encode()
    answer = read_answer(upstream, asked())
    assert json.loads(answer.render(answer.units, "0.1")) == MESSAGE
    begun = {**MESSAGE, "content": [], "stop_reason": None, "new": [1.50]}
    renamed = reader().read(event("message_start", message={**begun, "model": "claude-opus-5-5-20261021"}))
    assert renamed.startswith(b"event: message_start\ndata: ") and renamed.endswith(b"}\n\n")
    assert json.loads(data_of(renamed)) == {"type": "message_start", "message": begun}


def test_an_answer_that_names_no_model_is_left_alone():
    unnamed = json.dumps({name: value for name, value in MESSAGE.items() if name != "model"}).encode()
    assert read_answer(unnamed, asked()).render({}, "0") == unnamed
    for message in ({}, {"model": None}, []):
        raw = event("message_start", message=message)
        assert reader().read(raw) == raw
    assert read_answer(b'{"content": [], "model": "\xff"}', asked()) is None


@pytest.mark.parametrize("usage", [None, {}, {"input_tokens": -1}, "none"])
def test_an_answer_without_usage_says_what_it_said(usage):
    call = {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}
    body = json.dumps({**MESSAGE, "content": [*MESSAGE["content"], call], "usage": usage}).encode()
    answer = read_answer(body, asked())
    assert (answer.units, answer.texts) == (None, ["Hm.", "Hi!", "f", '{"a":1}'])
    assert answer.render({"input": 1}, "0.1") == body


def test_a_client_that_allowed_searches_pays_for_those_that_were_made():
    assert read_answer(json.dumps(MESSAGE).encode(), asked(tools=[SEARCH])).units["searches"] == 0
    used = {**USAGE, "server_tool_use": {"web_search_requests": 3, "web_fetch_requests": 0}}
    assert read_answer(json.dumps({**MESSAGE, "usage": used}).encode(), asked(tools=[SEARCH])).units["searches"] == 3
    assert "searches" not in read_answer(json.dumps(MESSAGE).encode(), asked()).units


NOT_ANSWERS = [
    b"",
    b"null",
    b"[]",
    b"{}",
    b'{"content":{}}',
    b'{"content":[],"error":{}}',
    b"<html>",
    b'{"content":[]}x',
]
NOT_ANSWERS += [b'{"content":[],"usage":1e400}', b'{"content":' + b"[" * 9_999, error_body(529, "", "Overloaded")]


@pytest.mark.parametrize("body", NOT_ANSWERS)
def test_what_is_not_a_message_is_not_read(body):
    assert read_answer(body, asked()) is None


def event(kind, **fields):
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def start(**usage):
    message = {
        **MESSAGE,
        "content": [],
        "stop_reason": None,
        "usage": {"input_tokens": 10, "output_tokens": 1, **usage},
    }
    return event("message_start", message=message)


def delta(**content):
    return event("content_block_delta", index=0, delta=content)


def end(reason="end_turn", **usage):
    stopped = {"stop_reason": reason, "stop_sequence": None}
    return event("message_delta", delta=stopped, usage={"output_tokens": 5, **usage})


PING = event("ping")
BLOCK = event("content_block_start", index=0, content_block={"type": "text", "text": ""})
STREAM = [
    start(),
    BLOCK,
    PING,
    delta(type="text_delta", text="é😀"),
    delta(type="text_delta", text="!"),
    event("content_block_stop", index=0),
    end(),
    MESSAGE_STOP,
]


def reader(**fields):
    return StreamReader(asked(stream=True, **fields), lambda units: "0")


def test_events_pass_at_once_and_the_last_waits():
    stream = reader()
    assert [stream.read(raw) for raw in STREAM] == [*STREAM[:-1], b""]
    assert (stream.started, stream.finished, stream.done, stream.failed) == (True, True, True, False)
    assert stream.units == {"input": 10, "output": 5}
    assert "".join(stream.texts) == "é😀!"
    assert stream.last(stream.units, "0") == (b"", MESSAGE_STOP)


def test_the_upstreams_own_terminator_is_kept():
    stop = b'event: message_stop\ndata: {"type":"message_stop", "x":1 }\n\n'
    stream = reader()
    assert stream.read(stop) == b""
    assert stream.last({}, "0") == (b"", stop)


def test_how_far_a_stream_has_come():
    stream = reader()
    states = []
    for raw in STREAM:
        stream.read(raw)
        states.append((stream.started, stream.finished, stream.done, stream.units is not None))
    begun = (True, False, False, False)
    assert states == [begun] * 6 + [(True, True, False, True), (True, True, True, True)]


def units_of(*events, **fields):
    stream = reader(**fields)
    for raw in events:
        stream.read(raw)
    return stream.units


def test_counters_of_the_end_replace_those_of_the_beginning():
    assert units_of(start(), end()) == {"input": 10, "output": 5}
    assert units_of(start(input_tokens=0), end(input_tokens=30)) == {"input": 30, "output": 5}
    assert units_of(start(), end(input_tokens=30, cache_read_input_tokens=4)) == {
        "input": 30,
        "cache_read": 4,
        "output": 5,
    }
    assert units_of(start(), end(input_tokens=0), end(output_tokens=7, input_tokens=None)) == {"input": 10, "output": 7}
    written = {"cache_creation_input_tokens": 8, "cache_creation": {"ephemeral_1h_input_tokens": 8}}
    assert units_of(start(**written), end()) == {"input": 10, "cache_write_1h": 8, "output": 5}


def test_usage_is_not_known_before_the_end():
    assert units_of(start()) is None
    assert units_of(start(), event("message_delta", delta={"stop_reason": "end_turn"})) is None
    assert units_of(end()) is None


def test_searches_of_a_stream():
    assert units_of(start(), end(), tools=[SEARCH])["searches"] == 0
    assert units_of(start(), end(server_tool_use={"web_search_requests": 2}), tools=[SEARCH])["searches"] == 2


def test_everything_an_answer_says_is_noted_for_an_estimate():
    stream = reader()
    for raw in (
        start(),
        event("content_block_start", index=0, content_block={"type": "tool_use", "name": "a", "input": {}}),
        delta(type="input_json_delta", partial_json="b"),
        delta(type="thinking_delta", thinking="c"),
        delta(type="signature_delta", signature="no text"),
        event("content_block_start", index=1, content_block={"type": "text", "text": "d"}),
    ):
        assert stream.read(raw) == raw
    assert stream.texts == ["a", "b", "c", "d"]


ERRORS = [
    stream_error(529, "", "sk-secret"),
    event("error", error={"type": "overloaded_error", "message": "sk-secret"}),
    b'data: {"error":{"message":"sk-secret"}}\n\n',
    b'event: error\ndata: {"message": sk-secret}\n\n',
    b'data: {"error": sk-secret}\n\n',
]


@pytest.mark.parametrize("raw", ERRORS)
def test_an_error_event_is_kept_from_the_client(raw):
    stream = reader()
    assert stream.read(raw) == b""
    assert (stream.failed, stream.started, stream.finished) == (True, False, False)


@pytest.mark.parametrize("raw", [b": comment\n\n", PING, event("unheard_of", x=1), b"data: {\n\n", b"data: [1]\n\n"])
def test_what_says_nothing_passes_and_changes_nothing(raw):
    stream = reader()
    assert stream.read(raw) == raw
    assert (stream.failed, stream.started, stream.done) == (False, False, False)


def test_half_an_event_is_none():
    stream = reader()
    assert stream.read_rest(MESSAGE_STOP[:-10] + b"\n\n") == b""
    assert not stream.done
    assert stream.read_rest(MESSAGE_STOP) == b""
    assert stream.done
    assert reader().read_rest(STREAM[3]) == STREAM[3]


@unhurried
@given(st.lists(st.sampled_from(STREAM), max_size=6), st.sampled_from([b"\n", b"\r\n"]), st.data())
def test_any_split_of_a_stream_reads_the_same(events, newline, data):
    whole = b"".join(events).replace(b"\n", newline)
    found = split(whole, data.draw(st.lists(st.integers(0, len(whole)), max_size=8)))
    assert found == events
    one, other = reader(), reader()
    assert [one.read(raw) for raw in found] == [other.read(raw) for raw in events]
    assert (one.units, one.texts, one.finished, one.done) == (other.units, other.texts, other.finished, other.done)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(["type", "index", "message", "content_block", "delta", "usage", "error", "content"])
KINDS = st.sampled_from(["message_start", "content_block_start", "content_block_delta", "message_delta"])


@unhurried
@given(st.lists(st.binary(max_size=60) | st.dictionaries(NAMES, JSON | KINDS, max_size=5).map(json.dumps)))
def test_no_stream_makes_the_reader_fail(events):
    stream = reader()
    for raw in events:
        raw = raw if isinstance(raw, bytes) else raw.encode()
        assert isinstance(stream.read(b"event: x\ndata: " + raw + b"\n\n"), bytes)
        assert isinstance(stream.read_rest(raw + b"\n\n"), bytes)
        assert read_answer(raw, asked()) is None or b"content" in raw
    assert stream.units is None or min(stream.units.values()) >= 0


def test_a_count_passes_and_costs_nothing():
    body = b'{"input_tokens": 2095, "x": 1}'
    answer = anthropic_count.read_answer(body)
    assert (answer.units, answer.texts, answer.render({}, "0")) == ({}, [], body)
    assert count_answer(7) == b'{"input_tokens":7}'


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"input_tokens":-1}', b'{"input_tokens":"5"}', b'{"error":{}}'])
def test_what_is_no_count_is_not_read(body):
    assert anthropic_count.read_answer(body) is None


TYPES = [
    (400, "invalid_json", "invalid_request_error"),
    (401, "invalid_api_key", "authentication_error"),
    (402, "", "billing_error"),
    (403, "key_disabled", "permission_error"),
    (403, "insufficient_balance", "billing_error"),
    (404, "model_not_found", "not_found_error"),
    (405, "method_not_allowed", "invalid_request_error"),
    (409, "", "conflict_error"),
    (413, "body_too_large", "request_too_large"),
    (429, "upstream_rate_limited", "rate_limit_error"),
    (500, "internal_error", "api_error"),
    (502, "upstream_error", "api_error"),
    (503, "no_channel", "api_error"),
    (504, "upstream_timeout", "timeout_error"),
    (529, "", "overloaded_error"),
]


@pytest.mark.parametrize(("status", "code", "kind"), TYPES)
def test_errors_in_anthropics_words(status, code, kind):
    details = {"error_code": code} if code else None
    body = {"type": "error", "error": {"type": kind, "message": 'it "failed"\n\nbadly', "details": details}}
    assert json.loads(error_body(status, code, 'it "failed"\n\nbadly')) == body
    raw = stream_error(status, code, 'it "failed"\n\nbadly')
    assert split(raw, []) == [raw]
    assert raw.startswith(b"event: error\n")
    assert json.loads(data_of(raw)) == body
    assert read_error(error_body(status, code, "no")) == ("no", kind)


@pytest.mark.parametrize(
    "body", [b"", b"{}", b'{"error":"x"}', b'{"error":{"message":5}}', b'{"error":{"message":""}}']
)
def test_what_is_no_error_of_anthropics(body):
    assert read_error(body) is None
