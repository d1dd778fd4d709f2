"""An upstream's response as the protocol file reads it: what it used, what of it a client sees, and when it is over."""

from __future__ import annotations

import json

import msgspec
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import RelayError
from relay.protocols.responses.answer import StreamReader, read_answer, read_compaction
from relay.protocols.responses.request import parse, parse_compact, with_history
from relay.protocols.usage import responses_units, responses_usage
from tests.doubles.upstream import split

SEED = "0123456789abcdef" * 2
OURS = "resp_" + SEED
USAGE = {
    "input_tokens": 30,
    "input_tokens_details": {"cached_tokens": 10, "cache_write_tokens": 4},
    "output_tokens": 12,
    "output_tokens_details": {"reasoning_tokens": 7},
    "total_tokens": 42,
}
UNITS = {"input": 16, "cache_read": 10, "cache_write_5m": 4, "output": 12, "reasoning": 7}
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "status": "completed",
    "role": "assistant",
    "content": [{"type": "output_text", "text": "Hello there!", "annotations": []}],
}
CALL = {"id": "fc_1", "type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}", "status": "completed"}


def response(**fields):
    return {
        "id": "resp_theirs",
        "object": "response",
        "created_at": 1_700_000_000,
        "status": "completed",
        "error": None,
        "model": "double-1",
        "output": [MESSAGE],
        "store": False,
        "previous_response_id": None,
        "usage": USAGE,
        **fields,
    }


def ask(**fields):
    request = parse(json.dumps({"model": "m", "input": "hello", **fields}).encode())
    request.options.seed = SEED
    return request


def read(body, **fields):
    return read_answer(json.dumps(body).encode(), ask(**fields))


def test_a_response_is_shown_as_ours_with_its_cost():
    continued = with_history(ask(previous_response_id="resp_old"), [])
    answer = read_answer(json.dumps(response(unheard_of=1)).encode(), continued)
    assert (answer.units, answer.texts) == (UNITS, [])
    assert [json.loads(bytes(item)) for item in answer.output] == [MESSAGE]
    assert json.loads(answer.render(UNITS, "0.000123")) == response(
        unheard_of=1, id=OURS, store=True, previous_response_id="resp_old", usage={**USAGE, "cost": 0.000123}
    )


def test_a_client_that_wants_nothing_stored_is_told_so():
    shown = json.loads(read(response(), store=False).render(UNITS, "0.1"))
    assert (shown["id"], shown["store"], shown["previous_response_id"]) == (OURS, False, None)


def test_an_answer_without_usage_is_counted():
    answer = read(response(usage=None, output=[MESSAGE, CALL]))
    assert answer.units is None
    assert [text for text in answer.texts if text] == ["Hello there!", "f", "{}"]
    shown = json.loads(answer.render({"input": 3, "output": 2}, "0.1"))
    assert shown["usage"] == {**responses_usage({"input": 3, "output": 2}), "cost": 0.1}


def test_an_incomplete_response_is_an_answer():
    answer = read(response(status="incomplete", incomplete_details={"reason": "max_output_tokens"}, output=[]))
    assert (answer.units, answer.output) == (UNITS, [])


@pytest.mark.parametrize(
    "body",
    [
        response(status="failed"),
        response(status="cancelled"),
        response(status="in_progress"),
        response(status=["completed"]),
        response(error={"code": "server_error", "message": "no"}),
        response(output=None),
        response(output={}),
        response(output=[], usage=None),
        {"error": {"message": "no"}},
        {},
        [],
        None,
        "completed",
    ],
)
def test_what_is_no_answer(body):
    assert read(body) is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff",
        b'{"output":[%s]}' % (b"[" * 5_000 + b"]" * 5_000),
        b'{"output":[{}],"usage":%s}' % (b"[" * 5_000 + b"]" * 5_000),
        b'{"output":[{"a":"\xff"}]}',
        b'{"output":[NaN]}',
    ],
)
def test_broken_bodies_are_no_answers(body):
    assert read_answer(body, ask()) is None


@pytest.mark.parametrize(
    ("usage", "units"),
    [
        (USAGE, UNITS),
        ({"input_tokens": 5, "output_tokens": 0}, {"input": 5}),
        ({"input_tokens": 5, "output_tokens": 1, "input_tokens_details": None}, {"input": 5, "output": 1}),
        ({"input_tokens": 5, "output_tokens": 1, "input_tokens_details": {"cached_tokens": 9}}, {"cache_read": 5}),
        ({"input_tokens": 0, "output_tokens": 0}, None),
        ({"input_tokens": -1, "output_tokens": 1}, None),
        ({"input_tokens": "5", "output_tokens": 1}, None),
        ({"input_tokens": 10**30, "output_tokens": 1}, None),
        ({"input_tokens": True, "output_tokens": 1}, None),
        ({"output_tokens": 1}, None),
        ({}, None),
        ([], None),
        (None, None),
    ],
)
def test_usage_becomes_disjoint_units(usage, units):
    found = responses_units(usage)
    assert found == units or {**found, "output": 0} == {**units, "output": 0}


QUANTITIES = st.dictionaries(
    st.sampled_from(["input", "cache_read", "cache_write_5m", "audio_in", "image_in", "output", "audio_out"]),
    st.integers(1, 99),
)


@given(QUANTITIES, st.integers(0, 99))
def test_units_come_back_from_their_usage(units, reasoning):
    units["input"] = units.get("input", 1)
    if thought := min(reasoning, units.get("output", 0)):
        units["reasoning"] = thought
    usage = responses_usage(units)
    assert responses_units(usage) == units
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]


SEARCH = [{"type": "web_search"}]


@pytest.mark.parametrize(
    ("fields", "searches"),
    [
        ({"tool_usage": {"web_search": {"num_requests": 3}}}, 3),
        ({"tool_usage": {"web_search": {"num_requests": -3}}}, 0),
        ({"tool_usage": {"web_search": {"num_requests": True}}}, 0),
        ({"tool_usage": []}, 0),
        ({"output": [{"type": "web_search_call"}, MESSAGE, {"type": "web_search_call"}]}, 2),
        ({}, 0),
    ],
)
def test_searches_are_charged_as_they_were_made(fields, searches):
    assert read(response(**fields), tools=SEARCH).units == {**UNITS, "searches": searches}
    assert read(response(**fields)).units == UNITS


def test_a_compaction():
    request = parse_compact(b'{"model":"m","input":"hello"}')
    request.options.seed = SEED
    made = {"type": "compaction", "id": "cmp_1", "encrypted_content": "gAAA"}
    body = {"id": "resp_1", "object": "response.compaction", "created_at": 1, "output": [made], "usage": USAGE}
    answer = read_compaction(json.dumps(body).encode(), request)
    assert (answer.units, [json.loads(bytes(item)) for item in answer.output]) == (UNITS, [made])
    assert json.loads(answer.render(UNITS, "0.5")) == {**body, "usage": {**USAGE, "cost": 0.5}}
    assert read_compaction(json.dumps({**body, "output": []}).encode(), request) is None
    assert read_compaction(b'{"error":{"message":"no"}}', request) is None


def event(kind, number, **fields):
    body = {"type": kind, "sequence_number": number, **fields}
    return b"event: " + kind.encode() + b"\ndata: " + json.dumps(body).encode() + b"\n\n"


BEGUN = response(status="in_progress", output=[], usage=None)
AT = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
STREAM = [
    event("response.created", 0, response=BEGUN),
    event("response.in_progress", 1, response=BEGUN),
    event("response.output_item.added", 2, output_index=0, item={**MESSAGE, "content": []}),
    event("response.content_part.added", 3, **AT, part={"type": "output_text", "text": "", "annotations": []}),
    event("response.output_text.delta", 4, **AT, delta="Hello ", logprobs=[]),
    event("response.output_text.delta", 5, **AT, delta="thére!", logprobs=[]),
    event("response.output_item.done", 6, output_index=0, item=MESSAGE),
    event("response.output_item.added", 7, output_index=1, item={**CALL, "arguments": ""}),
    event("response.function_call_arguments.delta", 8, item_id="fc_1", output_index=1, delta="{}"),
    event("response.output_item.done", 9, output_index=1, item=CALL),
    event("response.completed", 10, response=response(output=[MESSAGE, CALL])),
]


def reader(**fields):
    return StreamReader(ask(**fields), lambda units: "0.1")


def payload(data):
    return json.loads(data.partition(b"data: ")[2])


def test_a_stream_passes_at_once_with_our_id_and_its_end_waits():
    stream = reader()
    shown = [stream.read(part) for part in STREAM]
    ours = {"id": OURS, "store": True, "previous_response_id": None}
    for number in (0, 1):
        assert payload(shown[number]) == {**payload(STREAM[number]), "response": {**BEGUN, **ours}}
        assert shown[number].startswith(b"event: response.")
    assert shown[2:10] == STREAM[2:10]
    assert shown[10] == b""
    assert (stream.started, stream.finished, stream.done, stream.failed) == (True, True, True, False)
    assert (stream.units, stream.texts) == (UNITS, ["Hello ", "thére!", "f", "{}"])
    assert [json.loads(bytes(item)) for item in stream.output] == [MESSAGE, CALL]
    at_once, held = stream.last(UNITS, "0.1")
    assert at_once == b""
    whole = response(output=[MESSAGE, CALL], usage={**USAGE, "cost": 0.1}, **ours)
    assert payload(held) == {"type": "response.completed", "sequence_number": 10, "response": whole}
    assert held.startswith(b"event: response.completed\ndata: ")


def test_nothing_follows_the_end():
    stream = reader()
    for part in STREAM:
        stream.read(part)
    assert stream.read(b"data: [DONE]\n\n") == stream.read(event("error", 11, message="no")) == b""
    assert (stream.finished, stream.failed) == (True, False)


def test_an_end_without_items_is_told_from_those_before_it():
    stream = reader(tools=SEARCH)
    for part in STREAM[:-1]:
        stream.read(part)
    stream.read(event("response.output_item.done", 10, output_index=2, item={"type": "web_search_call"}))
    assert stream.read(event("response.incomplete", 11, response=response(status="incomplete", output=[]))) == b""
    assert (stream.finished, stream.units) == (True, {**UNITS, "searches": 1})
    assert [json.loads(bytes(item))["type"] for item in stream.output] == [
        "message",
        "function_call",
        "web_search_call",
    ]
    assert payload(stream.last(UNITS, "1")[1])["type"] == "response.incomplete"


@pytest.mark.parametrize(
    "failure",
    [
        event("response.failed", 3, response=response(status="failed", error={"code": "x", "message": "y"})),
        event("error", 3, code="server_error", message="secret", param=None),
        b'data: {"error":{"message":"secret"}}\n\n',
        event("response.completed", 3),
        event("response.completed", 3, response=None),
        event("response.completed", 3, response=[]),
        b'data: {"type":"response.completed","response":{"output":[%s]}}\n\n' % (b"[" * 5_000 + b"]" * 5_000),
        b'data: {"type":"response.completed","response":{"output":[{"a":"\xff"}]}}\n\n',
    ],
)
def test_a_failure_is_not_shown(failure):
    stream = reader()
    for part in STREAM[:3]:
        assert stream.read(part)
    assert stream.read(failure) == b""
    assert (stream.failed, stream.finished, stream.done) == (True, False, False)
    assert stream.last({}, "0") == (b"", b"")


def test_what_is_not_an_event_passes():
    stream = reader()
    for other in (b": ping\n\n", b"data: 5\n\n", b"data: \n\n", b"event: x\n\n", b'data: {"type":5}\n\n'):
        assert stream.read(other) == other
    assert not stream.failed
    image = event("response.image_generation_call.partial_image", 1, partial_image_b64="AAAA")
    assert (stream.read(image), stream.texts) == (image, [])


def test_half_an_event_is_none():
    stream = reader()
    assert stream.read_rest(STREAM[-1][:-40] + b"\n\n") == b""
    assert not stream.finished
    assert stream.read_rest(STREAM[-1]) == b""
    assert stream.finished


def test_a_stream_without_an_end_is_not_finished():
    stream = reader()
    for part in STREAM[:-1]:
        stream.read(part)
    assert (stream.started, stream.finished, stream.done) == (True, False, False)


def test_a_stream_that_fails_ends_in_its_own_words():
    stream = reader()
    for part in STREAM[:5]:
        stream.read(part)
    told = payload(stream.error(RelayError("upstream_error", "The upstream failed.")))
    assert (told["type"], told["sequence_number"]) == ("response.failed", 5)
    assert told["response"]["id"] == OURS
    assert told["response"]["error"] == {"code": "server_error", "message": "The upstream failed."}
    openai.types.responses.ResponseFailedEvent.construct(**told)


@given(st.sampled_from([b"\n", b"\r\n", b"\r"]), st.data())
def test_any_split_of_a_stream_gives_the_same(newline, data):
    whole = b"".join(STREAM).replace(b"\n", newline)
    cuts = data.draw(st.lists(st.integers(0, len(whole)), max_size=8))
    events = split(whole, cuts)
    one, other = reader(), reader()
    shown = [one.read(part) for part in STREAM]
    assert [other.read(part) for part in events] == shown
    assert (other.texts, other.units, other.last(UNITS, "1")) == (one.texts, one.units, one.last(UNITS, "1"))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
KINDS = st.sampled_from(
    ["response.created", "response.completed", "response.output_item.added", "response.output_item.done", "x.delta", ""]
)
ODD = st.fixed_dictionaries(
    {"type": KINDS | JSON},
    optional={
        "response": JSON | st.fixed_dictionaries({"output": JSON, "usage": JSON}),
        "item": JSON | st.fixed_dictionaries({"type": JSON, "name": JSON}),
        **dict.fromkeys(["delta", "output_index", "error", "sequence_number"], JSON),
    },
)


@given(st.lists(ODD, max_size=4))
def test_any_event_is_read(events):
    stream = reader(tools=SEARCH)
    for odd in events:
        stream.read(b"data: " + json.dumps(odd).encode() + b"\n\n")
    last = stream.last(UNITS, "0.1")[1]
    assert bool(last) == stream.finished
    assert not last or payload(last)["response"]["usage"]["cost"] == 0.1


@given(JSON | st.fixed_dictionaries({"output": st.lists(JSON, max_size=3), "usage": JSON, "tool_usage": JSON}))
def test_any_body_is_read(body):
    answer = read_answer(msgspec.json.encode(body), ask(tools=SEARCH))
    assert answer is None or payload(b"data: " + answer.render(UNITS, "0.1"))["usage"]["cost"] == 0.1
