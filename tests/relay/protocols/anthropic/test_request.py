"""A request for Anthropic's Messages as the protocol file reads it: bounded, counted, refused, passed on as sent."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relay.errors import RelayError
from relay.protocols.anthropic import request as anthropic
from relay.protocols.anthropic.request import parse, parse_count, upstream_body
from relay.protocols.base import Feature, Media, Target
from tests.cast.examples import examples

# How long an example takes depends on what else the machine does.
unhurried = settings(deadline=None, max_examples=examples(25), suppress_health_check=[HealthCheck.too_slow])
HELLO = [{"role": "user", "content": "hello"}]


def read(**fields):
    return parse(json.dumps({"model": "m", "max_tokens": 9, "messages": HELLO, **fields}).encode())


def say(*blocks, role="user"):
    return read(messages=[{"role": role, "content": list(blocks)}])


def status_of(body, reader=parse):
    try:
        reader(body)
    except RelayError as error:
        return error.status
    return 200


def refusal(**fields):
    with pytest.raises(RelayError) as refused:
        read(**fields)
    assert refused.value.status == 400
    return refused.value.code, refused.value.param


def test_what_the_relay_needs_to_know():
    request = read(stream=True, system="be brief", tools=[{"name": "f", "input_schema": {}}])
    assert (request.dialect, request.model, request.stream, request.cap) == ("anthropic", "m", True, 9)
    assert (request.output, request.has_tools, request.hour_cache, request.choices) == (True, True, False, 1)
    assert (request.messages, request.features, request.pieces) == (2, [], {})


def test_max_tokens_is_required():
    body = json.dumps({"model": "m", "messages": HELLO}).encode()
    with pytest.raises(RelayError) as refused:
        parse(body)
    assert (refused.value.status, refused.value.param) == (400, "max_tokens")
    assert parse_count(body).cap is None


@pytest.mark.parametrize("cap", [-1, 10**9 + 1, 1.5, True, "9", [9], None])
def test_a_cap_out_of_bounds_is_refused(cap):
    assert refusal(max_tokens=cap) == ("invalid_request", "max_tokens")


def test_a_request_for_no_token_fills_the_cache():
    request = read(max_tokens=0)
    assert (request.cap, request.output) == (None, False)
    assert b'"max_tokens":0' in upstream_body(request, Target("up", cap=5))


def test_a_count_makes_no_output_and_has_no_features():
    request = parse_count(json.dumps({"model": "m", "messages": HELLO, "tools": [SEARCH], "speed": "fast"}).encode())
    assert (request.dialect, request.output, request.features, request.pieces) == ("anthropic_count", False, [], {})
    assert upstream_body(request, Target("up", cap=5)).startswith(b'{"model":"up","messages":[')
    assert b"max_tokens" not in upstream_body(request, Target("up", cap=5))


@pytest.mark.parametrize("messages", [None, [], {}, "hello", 5, [None], ["hello"], [[]]])
def test_messages_must_be_a_list_of_objects(messages):
    assert refusal(messages=messages) == ("invalid_request", "messages")


@pytest.mark.parametrize(
    ("name", "value"), [("model", 1), ("stream", "yes"), ("service_tier", 1), ("speed", 1), ("tools", {})]
)
def test_a_field_of_the_wrong_kind_is_named(name, value):
    assert refusal(**{name: value}) == ("invalid_request", name)


# Blocks, and the text that counts of each.
TEXTS = [
    ({"type": "text", "text": "héllo"}, ["héllo"]),
    ({"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}, ["a"]),
    ({"type": "text", "text": "a", "citations": [{"cited_text": "b"}]}, ["a", '{"citations":[{"cited_text":"b"}]}']),
    ({"type": "text", "text": 5}, []),
    (
        {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": [1, 2], "content": "x"}},
        ['{"id":"t1","name":"f","input":{"a":[1,2],"content":"x"}}'],
    ),
    ({"type": "tool_result", "tool_use_id": "t1", "content": "sunny"}, ["sunny", '{"tool_use_id":"t1"}']),
    (
        {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "sunny"}]},
        ["sunny", '{"tool_use_id":"t1"}'],
    ),
    ({"type": "thinking", "thinking": "hm", "signature": "c2ln"}, ['{"thinking":"hm","signature":"c2ln"}']),
    (
        {"type": "document", "title": "T", "source": {"type": "text", "media_type": "text/plain", "data": "abc"}},
        ["abc", '{"title":"T"}'],
    ),
    ({"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "abc"}]}}, ["abc"]),
    (
        {"type": "search_result", "source": "https://x", "title": "T", "content": [{"type": "text", "text": "abc"}]},
        ["abc", '{"source":"https://x","title":"T"}'],
    ),
    ({"type": "strange", "deep": [{"n": 1}]}, ['{"deep":[{"n":1}]}']),
    ("plain", ['"plain"']),
]


@pytest.mark.parametrize(("block", "texts"), TEXTS)
def test_text_is_counted_in_bytes_wherever_it_stands(block, texts):
    request = say(block)
    assert request.texts == texts
    assert request.text_bytes == sum(len(text.encode()) for text in texts)
    assert request.media == []


def test_a_system_prompt_and_tools_are_counted_as_well():
    tools = '[ {"name" : "f", "input_schema":{}} ]'
    body = f'{{"model":"m","max_tokens":9,"messages":{json.dumps(HELLO)},"system":"be brief","tools":{tools}}}'
    assert parse(body.encode()).text_bytes == 5 + 8 + len(tools)
    assert read(system=[{"type": "text", "text": "be"}, {"type": "text", "text": "brief"}]).texts[1:] == ["be", "brief"]
    assert read(messages=[{"role": "user", "content": "a", "x": "y"}]).texts == ["a", '{"x":"y"}']
    assert read(unheard_of=["y" * 100]).text_bytes == 5 + 104
    assert read(metadata={"user_id": "u" * 100}, stop_sequences=["z" * 100]).text_bytes == 5


PNG = {"type": "base64", "media_type": "image/png", "data": "A" * 12}
PDF = {"type": "base64", "media_type": "application/pdf", "data": "A" * 16}
MEDIA = [
    ({"type": "image", "source": PNG}, [Media("image", 12)]),
    ({"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}, [Media("image")]),
    ({"type": "document", "source": PDF}, [Media("file", 16)]),
    ({"type": "document", "source": {"type": "url", "url": "HTTP://example.com/a.pdf"}}, [Media("file")]),
    ({"type": "tool_result", "content": [{"type": "image", "source": PNG}]}, [Media("image", 12)]),
    (
        {"type": "document", "source": {"type": "content", "content": [{"type": "image", "source": PNG}]}},
        [Media("image", 12)],
    ),
]


@pytest.mark.parametrize(("block", "media"), MEDIA)
def test_a_part_that_is_not_text_is_no_text(block, media):
    request = say(block)
    assert (request.media, request.text_bytes) == (media, 0)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "gs://bucket/a", "", 5, ["http://x"]])
def test_media_are_named_by_their_data_or_an_address(url):
    block = {"type": "image", "source": {"type": "url", "url": url}}
    assert refusal(messages=[{"role": "user", "content": [block]}]) == ("invalid_request", "messages")


STORED_BLOCKS = [
    {"type": "image", "source": {"type": "file", "file_id": "file_1"}},
    {"type": "document", "source": {"type": "file", "file_id": "file_1"}},
    {"type": "container_upload", "file_id": "file_1"},
    {"type": "tool_result", "content": [{"type": "image", "source": {"type": "file", "file_id": "file_1"}}]},
    {"type": "bash_code_execution_tool_result", "content": {"content": [{"file_id": "file_1"}]}},
]


@pytest.mark.parametrize("block", STORED_BLOCKS)
def test_a_file_that_is_stored_upstream_is_refused(block):
    messages = [{"role": "user", "content": [block]}]
    assert refusal(messages=messages) == ("stored_state", "messages")
    assert status_of(json.dumps({"model": "m", "messages": messages}).encode(), parse_count) == 400


def test_an_argument_of_that_name_is_the_clients_own():
    say({"type": "tool_use", "id": "t1", "name": "f", "input": {"file_id": "mine"}}, role="assistant")


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("stored_state", anthropic.STORED),
        ("unpriced_feature", anthropic.UNPRICED),
        ("unsupported_field", anthropic.UNBOUNDED),
    ],
)
def test_what_is_not_covered_by_the_hold_is_refused(code, names):
    for name in names:
        assert refusal(**{name: "x"}) == (code, name)
        read(**{name: None})


SEARCH = {"type": "web_search_20260318", "name": "web_search"}
FEATURES = [
    ({}, []),
    ({"service_tier": "auto"}, []),
    ({"service_tier": "standard_only"}, []),
    ({"service_tier": "priority"}, [Feature("service_tier", tier="priority")]),
    ({"speed": "standard"}, []),
    ({"speed": "fast"}, [Feature("speed", tier="fast")]),
    ({"inference_geo": "global"}, []),
    ({"inference_geo": "us"}, [Feature("inference_geo")]),
    ({"context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}}, []),
    (
        {"context_management": {"edits": [{"type": "clear_tool_uses_20250919"}, {"type": "compact_20260112"}]}},
        [Feature("context_management.edits[1].type")],
    ),
    ({"tools": [{"name": "f"}, {"type": "custom", "name": "g"}, {"type": "bash_20250124", "name": "bash"}]}, []),
    ({"tools": [{"type": "text_editor_20250728"}, {"type": "memory_20250818"}, {"type": "computer_20251124"}]}, []),
    ({"tools": [{"type": "browser_toolset_20260801"}, {"type": "tool_search_tool_regex"}]}, []),
    ({"tools": [SEARCH]}, [Feature("tools[0].type", unit="searches")]),
    ({"tools": [{"type": "web_fetch_20260318"}]}, [Feature("tools[0].type")]),
    ({"tools": [{"name": "f"}, {"type": "code_execution_20260521"}]}, [Feature("tools[1].type")]),
    ({"tools": [{"type": "advisor_20260301"}, {"type": 5}]}, [Feature("tools[0].type"), Feature("tools[1].type")]),
]


@pytest.mark.parametrize(("fields", "features"), FEATURES)
def test_what_changes_the_charge_is_a_feature(fields, features):
    assert read(**fields).features == features


def test_searches_are_bounded_by_what_the_tool_says():
    assert read(tools=[SEARCH]).pieces == {"searches": 10}
    assert read(tools=[{**SEARCH, "max_uses": 3}]).pieces == {"searches": 3}
    assert read(tools=[{**SEARCH, "max_uses": 3}, SEARCH]).pieces == {"searches": 13}


@pytest.mark.parametrize("uses", [0, -1, 1_001, 10**30, 1.5, True, "3"])
def test_a_number_of_searches_out_of_bounds_is_refused(uses):
    assert refusal(tools=[{**SEARCH, "max_uses": uses}]) == ("invalid_request", "tools[0].max_uses")


HOUR = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
HOURS = [
    {"cache_control": HOUR["cache_control"]},
    {"system": [{"type": "text", "text": "a", **HOUR}]},
    {"tools": [{"name": "f", **HOUR}]},
    {"messages": [{"role": "user", "content": [{"type": "text", "text": "a", **HOUR}]}]},
    {"messages": [{"role": "user", "content": [{"type": "tool_result", "content": [{"type": "text", **HOUR}]}]}]},
]


@pytest.mark.parametrize("fields", HOURS)
def test_cache_writes_of_an_hour_are_noted_wherever_they_are_asked_for(fields):
    assert read(**fields).hour_cache
    assert not parse(
        json.dumps({"model": "m", "max_tokens": 9, "messages": HELLO, **fields}).replace("1h", "5m").encode()
    ).hour_cache


def body_of(text, *, cap=None):
    fields = f'{{"model" : "m", "max_tokens":7,"messages":[{{"content":"x"}}]{text}}}'.encode()
    return upstream_body(parse(fields), Target("up/stream", cap=cap)).decode()


ODD = [
    '"a":1e5',
    '"a":-0.0',
    '"a":12345678901234567890123456789',
    '"a":[ 1 ,  2 ]',
    '"a":"\\u00e9\\/\\ud83d\\ude00é😀"',
    '"a":{"a":1,"a":2}',
    '"stream":true,"temperature":0.70,"thinking":{ "type":"adaptive" },"a":null',
]


@pytest.mark.parametrize("text", ODD)
def test_fields_nobody_here_has_heard_of_travel_on_byte_for_byte(text):
    assert body_of("," + text) == f'{{"model":"up/stream","max_tokens":7,"messages":[{{"content":"x"}}],{text}}}'


def test_a_cap_of_ours_replaces_the_clients():
    assert body_of("", cap=5) == '{"model":"up/stream","max_tokens":5,"messages":[{"content":"x"}]}'


def test_what_names_another_message_of_the_account_does_not_travel_on():
    assert "diagnostics" not in body_of(',"diagnostics":{"previous_message_id":"msg_somebody_elses"}')


@pytest.mark.parametrize("template", [b'{"a":%s}', b'{"model":"m","max_tokens":1,"messages":[{"content":%s}]}', b"%s"])
@pytest.mark.parametrize("depth", [700, 950, 990, 1_100, 100_000])
@pytest.mark.parametrize("brackets", [(b"[", b"]"), (b'{"content":', b"}")])
def test_nesting_of_any_depth_is_read_or_refused(template, depth, brackets):
    opening, closing = brackets
    body = template % (opening * depth + b"1" + closing * depth)
    assert status_of(body) in (200, 400)
    assert status_of(body, parse_count) in (200, 400)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
KNOWN = st.sampled_from(
    ["system", "tools", "context_management", "cache_control", "stream", "service_tier", "max_tokens"]
)
BLOCKS = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "image", "document", "tool_use", "tool_result", "thinking"]) | JSON},
    optional=dict.fromkeys(("text", "source", "content", "input", "cache_control", "file_id"), JSON),
)


@unhurried
@given(st.dictionaries(KNOWN | st.text(max_size=12), JSON, max_size=6), JSON | st.lists(BLOCKS))
def test_any_json_is_taken_whole_or_refused_with_a_400(fields, content):
    fields = {"max_tokens": 5, **fields, "model": "m", "messages": [{"role": "user", "content": content}]}
    body = json.dumps(fields).encode()
    if status_of(body) != 200:
        assert status_of(body) == 400
        return
    fields.pop("diagnostics", None)
    sent = msgspec.json.decode(upstream_body(parse(body), Target("u")))
    assert sent == msgspec.json.decode(json.dumps({**fields, "model": "u"}))


@unhurried
@given(st.binary(max_size=200))
def test_any_bytes_are_refused_with_a_400(body):
    assert status_of(body) == status_of(body, parse_count) == 400
