"""A Responses request as the protocol file reads it: what is bounded, counted, refused, kept, and what travels on."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import RelayError
from relay.protocols import DIALECTS
from relay.protocols.base import Feature, Media, Target
from relay.protocols.responses.dialect import to_ir
from relay.protocols.responses.request import compact_body, parse, parse_compact, upstream_body, with_history
from relay.protocols.responses.turns import output_of, pack, turn_items, unpack

SEED = "0123456789abcdef" * 2
FUNCTION = {"type": "function", "name": "f", "parameters": {"properties": {"file_id": {"type": "string"}}}}


def read(**fields):
    return parse(json.dumps({"model": "m", "input": "hello", **fields}).encode())


def said(*content):
    return [{"role": "user", "content": list(content)}]


def refusal(**fields):
    with pytest.raises(RelayError) as refused:
        read(**fields)
    assert refused.value.status == 400
    return refused.value.code, refused.value.param


UP = Target("up")


def sent(request, target=UP):
    return json.loads(upstream_body(request, target))


def raw(*items):
    return [msgspec.Raw(json.dumps(item).encode()) for item in items]


def test_a_plain_request():
    request = read()
    assert (request.dialect, request.model, request.stream, request.choices, request.cap) == (
        "responses",
        "m",
        False,
        1,
        None,
    )
    assert (request.text_bytes, request.messages, request.texts, request.media) == (5, 1, ["hello"], [])
    assert (request.features, request.has_tools, request.pieces) == ([], False, {})
    assert (request.options.store, request.options.previous, request.options.history) == (True, None, None)


def test_what_must_change_is_changed_and_nothing_else():
    request = read(max_output_tokens=99, store=True, stream=True, unheard_of={"a": [1.50]}, temperature=0.30)
    assert (request.cap, request.stream) == (99, True)
    assert sent(request, Target("up", cap=50)) == {
        "model": "up",
        "input": "hello",
        "max_output_tokens": 50,
        "store": False,
        "stream": True,
        "unheard_of": {"a": [1.5]},
        "temperature": 0.3,
    }
    assert b'"unheard_of":{"a": [1.5]}' in upstream_body(request, Target("up"))


@pytest.mark.parametrize("name", ["max_output_tokens", "max_tool_calls"])
@pytest.mark.parametrize("value", [0, -1, -(10**30), 10**30, 1.5, 1e300, True, False, "5", [5], {}])
def test_a_quantity_out_of_bounds_is_refused(name, value):
    assert refusal(**{name: value}) == ("invalid_request", name)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"n": 2}, ("unsupported_field", "n")),
        ({"max_tokens": 5}, ("unsupported_field", "max_tokens")),
        ({"max_completion_tokens": 5}, ("unsupported_field", "max_completion_tokens")),
        ({"background": True}, ("unsupported_field", "background")),
        ({"models": ["a"]}, ("unpriced_feature", "models")),
        ({"plugins": []}, ("unpriced_feature", "plugins")),
        ({"conversation": "conv_1"}, ("stored_state", "conversation")),
        ({"prompt": {"id": "pmpt_1"}}, ("stored_state", "prompt")),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, ("stored_state", "input")),
        ({"input": [{"id": "msg_1"}]}, ("stored_state", "input")),
        ({"input": [{"type": "reasoning", "id": "rs_1", "summary": []}]}, ("stored_state", "input")),
        ({"input": said({"type": "input_image", "file_id": "file-1"})}, ("stored_state", "input")),
        ({"input": said({"type": "input_file", "file_id": "file-1"})}, ("stored_state", "input")),
        (
            {"input": [{"type": "function_call_output", "call_id": "c", "output": [{"file_id": "f"}]}]},
            ("stored_state", "input"),
        ),
        (
            {"input": [{"type": "computer_call_output", "call_id": "c", "output": {"file_id": "f"}}]},
            ("stored_state", "input"),
        ),
        (
            {"input": [{"type": "code_interpreter_call", "id": "c", "container_id": "cntr_1"}]},
            ("stored_state", "input"),
        ),
        (
            {"input": [{"type": "shell_call", "environment": {"type": "x", "container_id": "cntr_1"}}]},
            ("stored_state", "input"),
        ),
        ({"input": [{"type": "image_generation_call", "id": "ig_1"}]}, ("stored_state", "input")),
        ({"input": [{"type": "compaction", "id": "cmp_1"}]}, ("stored_state", "input")),
        ({"tools": [{"type": "file_search", "vector_store_ids": ["vs_1"]}]}, ("stored_state", "tools")),
        ({"tools": [{"type": "code_interpreter", "container": "cntr_1"}]}, ("stored_state", "tools")),
        (
            {"tools": [{"type": "code_interpreter", "container": {"type": "auto", "file_ids": ["f"]}}]},
            ("stored_state", "tools"),
        ),
        (
            {"tools": [{"type": "shell", "environment": {"type": "container_reference", "container_id": "c"}}]},
            ("stored_state", "tools"),
        ),
        (
            {"tools": [{"type": "shell", "environment": {"type": "x", "skills": [{"skill_id": "s"}]}}]},
            ("stored_state", "tools"),
        ),
        (
            {"tools": [{"type": "image_generation", "input_image_mask": {"file_id": "f"}}]},
            ("stored_state", "tools"),
        ),
        ({"prompt_cache_options": {"comparison_response_id": "resp_1"}}, ("stored_state", "prompt_cache_options")),
        ({"input": said({"type": "input_image", "image_url": "file:///etc/passwd"})}, ("invalid_request", "input")),
        ({"input": said({"type": "input_file", "file_url": "gopher://x"})}, ("invalid_request", "input")),
        ({"input": None}, ("invalid_request", "input")),
        ({"input": []}, ("invalid_request", "input")),
        ({"input": 5}, ("invalid_request", "input")),
        ({"input": {}}, ("invalid_request", "input")),
        ({"input": ["hello"]}, ("invalid_request", "input")),
        ({"input": [None]}, ("invalid_request", "input")),
        ({"store": "yes"}, ("invalid_request", "store")),
        ({"stream": 1}, ("invalid_request", "stream")),
        ({"tools": {}}, ("invalid_request", "tools")),
        ({"service_tier": 1}, ("invalid_request", "service_tier")),
        ({"previous_response_id": 1}, ("invalid_request", "previous_response_id")),
        ({"model": ""}, ("missing_model", "model")),
    ],
)
def test_what_is_refused(fields, told):
    assert refusal(**fields) == told


def test_null_is_as_good_as_absent():
    names = ("max_output_tokens", "stream", "service_tier", "tools", "store", "conversation", "previous_response_id")
    request = read(**dict.fromkeys((*names, "prompt", "background", "max_tool_calls", "include", "n")))
    assert (request.cap, request.stream, request.features, request.has_tools) == (None, False, [], False)
    assert (request.options.store, request.options.previous) == (True, None)


@pytest.mark.parametrize(
    "tool",
    [
        FUNCTION,
        {"type": "custom", "name": "c"},
        {"type": "local_shell"},
        {"type": "apply_patch"},
        {"type": "computer"},
        {"type": "computer_use_preview", "environment": "browser"},
        {"type": "shell", "environment": {"type": "local"}},
        {"type": "tool_search", "execution": "client"},
        {"type": "namespace", "name": "crm", "description": "d", "tools": [FUNCTION]},
    ],
)
def test_tools_that_the_client_runs_are_free(tool):
    request = read(tools=[tool])
    assert (request.features, request.has_tools) == ([], True)
    brought = read(input=[{"type": "additional_tools", "role": "developer", "tools": [tool]}])
    assert (brought.features, brought.has_tools) == ([], True)


@pytest.mark.parametrize(
    "tool",
    [
        {"type": "file_search"},
        {"type": "code_interpreter", "container": {"type": "auto"}},
        {"type": "image_generation"},
        {"type": "mcp", "server_label": "x", "server_url": "https://example.com"},
        {"type": "shell"},
        {"type": "shell", "environment": {"type": "container_auto"}},
        {"type": "programmatic_tool_calling"},
        {"type": "something_new"},
        {"type": ["function"]},
        {},
        "web_search",
        None,
    ],
)
def test_tools_that_the_upstream_runs_have_no_price(tool):
    assert read(tools=[FUNCTION, tool]).features == [Feature("tools[1].type")]
    inside = {"type": "namespace", "name": "n", "tools": [tool]}
    assert read(tools=[inside]).features == [Feature("tools[0].tools[0].type")]
    for kind in ("additional_tools", "tool_search_output"):
        assert read(input=[{"type": kind, "tools": [tool]}]).features == [Feature("input[0].tools[0].type")]


@pytest.mark.parametrize("kind", ["web_search", "web_search_2025_08_26", "web_search_preview"])
def test_searches_are_held_for(kind):
    request = read(tools=[{"type": kind}])
    assert (request.features, request.pieces) == ([Feature("tools[0].type", unit="searches")], {"searches": 10})
    assert read(tools=[{"type": kind}], max_tool_calls=3).pieces == {"searches": 3}
    assert read(max_tool_calls=3).pieces == {}


@pytest.mark.parametrize("tier", ["flex", "priority", "fast", "ultrafast"])
def test_a_service_tier_is_a_feature(tier):
    assert read(service_tier=tier).features == [Feature("service_tier", tier=tier)]


@pytest.mark.parametrize("tier", ["auto", "default"])
def test_the_standard_tier_is_none(tier):
    assert read(service_tier=tier).features == []


def test_long_caches_have_no_price():
    assert read(prompt_cache_options={"ttl": "30m", "mode": "explicit"}).features == []
    assert read(prompt_cache_options={"ttl": "12h"}).features == [Feature("prompt_cache_options.ttl")]
    mark = {"type": "input_text", "text": "a", "prompt_cache_breakpoint": {"mode": "explicit", "ttl": "12h"}}
    assert read(input=said(mark)).features == [Feature("input[0].prompt_cache_breakpoint.ttl")]


TEXT = [
    ("hello", 5, 1),
    ("héllo €😀", len("héllo €😀".encode()), 1),
    ([{"role": "user", "content": "hello"}], 5, 1),
    ([{"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "ab"}]}], 2, 1),
    (
        [
            {
                "type": "message",
                "id": "msg_1",
                "status": "completed",
                "role": "assistant",
                "content": [
                    {"type": "output_text", "text": "ab", "annotations": [{"type": "file_citation", "file_id": "f"}]},
                    {"type": "refusal", "refusal": "cd"},
                ],
            }
        ],
        # An annotation is text as well: its type and its file's id.
        2 + 2 + len("file_citation") + 1,
        1,
    ),
    ([{"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}], 5, 1),
    ([{"type": "function_call_output", "call_id": "c1", "output": "sunny"}], 7, 1),
    ([{"type": "custom_tool_call_output", "call_id": "c1", "output": [{"type": "input_text", "text": "x"}]}], 3, 1),
    ([{"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "abcd"}], 4, 1),
    ([{"type": "message", "role": "x" * 100, "content": "a"}, {"role": "user", "content": "b"}], 102, 2),
    ([{"type": "strange", "deep": [{"text": "abc"}]}], 3, 1),
]


@pytest.mark.parametrize(("given", "size", "messages"), TEXT)
def test_text_is_counted_in_bytes_wherever_it_stands(given, size, messages):
    request = read(input=given)
    assert (request.text_bytes, request.messages, request.media) == (size, messages, [])
    assert sum(len(text.encode()) for text in request.texts) == size


def test_what_an_upstream_reads_beside_the_input_counts():
    request = read(instructions="be brief", text={"format": {"type": "text"}}, metadata={"a": "b" * 99})
    beside = len('"be brief"') + len('{"format": {"type": "text"}}')
    assert request.text_bytes == 5 + beside
    assert read(tools=[FUNCTION]).text_bytes == 5 + len(json.dumps([FUNCTION]))


def test_media_are_told_apart_and_their_base64_is_not_text():
    parts = [
        {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "high"},
        {"type": "input_file", "file_data": "data:application/pdf;base64,AAAA", "filename": "a.pdf"},
        {"type": "input_file", "file_url": "https://example.com/a.pdf"},
        {"type": "input_audio", "input_audio": {"data": "AAAAAAAA", "format": "wav"}},
    ]
    items = [
        {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_image", "image_url": "data:"}]},
        {"type": "computer_call_output", "output": {"type": "computer_screenshot", "image_url": "data:x"}},
        {"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": "AAAA" * 99},
    ]
    request = read(input=[*said(*parts), *items])
    assert request.media == [
        Media("image"),
        Media("file", 32),
        Media("file"),
        Media("audio", 8),
        Media("image"),
        Media("image"),
        Media("image"),
    ]
    assert request.text_bytes == len("a.pdf") + len("c")


def test_a_turn_is_kept_and_continued():
    first = read(input="hello", instructions="brief")
    first.options.seed = SEED
    output = {"type": "message", "id": "msg_1", "role": "assistant", "content": [{"type": "output_text", "text": "hi"}]}
    dropped = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}]}
    kept = {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "gAAA"}
    turn = unpack(pack(turn_items(first, [dropped, *raw(kept), output])))
    user = {"type": "message", "role": "user", "content": "hello"}
    assert [json.loads(bytes(item)) for item in turn] == [user, kept, output]

    second = with_history(read(input="more", previous_response_id="resp_" + SEED), turn)
    more = {"type": "message", "role": "user", "content": "more"}
    assert sent(second) == {"model": "up", "input": [user, kept, output, more], "store": False}
    assert (second.options.previous, second.messages) == ("resp_" + SEED, 4)
    assert second.text_bytes == len("hello") + len("gAAA") + len("hi") + len("more")
    assert [json.loads(bytes(item)) for item in turn_items(second, [])] == [user, kept, output, more]


def test_the_last_turn_may_be_all_there_is():
    request = with_history(read(input=None, previous_response_id="resp_1"), raw({"role": "user", "content": "hello"}))
    assert sent(request)["input"] == [{"role": "user", "content": "hello"}]
    assert with_history(read(input=[], previous_response_id="resp_1"), []).messages == 0


@pytest.mark.parametrize("convert", [lambda request: upstream_body(request, Target("m")), to_ir])
def test_a_turn_that_nobody_looked_up_is_not_left_out(convert):
    with pytest.raises(RelayError) as refused:
        convert(read(previous_response_id="resp_1"))
    assert (refused.value.code, refused.value.param) == ("stored_state", "previous_response_id")


@pytest.mark.parametrize(
    ("model", "fields", "include"),
    [
        ("gpt-6-astra", {}, ["reasoning.encrypted_content"]),
        (
            "o4-mini",
            {"include": ["web_search_call.results"]},
            ["web_search_call.results", "reasoning.encrypted_content"],
        ),
        ("gpt-5", {"include": ["reasoning.encrypted_content"]}, ["reasoning.encrypted_content"]),
        ("any", {"reasoning": {"effort": "low"}}, ["reasoning.encrypted_content"]),
        ("gpt-4o", {}, None),
        ("gpt-5-chat-latest", {}, None),
        ("gpt-5", {"store": False}, None),
    ],
)
def test_a_stored_turn_keeps_its_reasoning(model, fields, include):
    body = sent(read(**fields), Target(model))
    assert body.get("include") == include
    assert body["store"] is False


def test_reasoning_of_another_maker_stays_here():
    ours = {"type": "reasoning", "summary": [], "encrypted_content": "cr1.abc"}
    theirs = {"type": "reasoning", "summary": [], "encrypted_content": "gAAA"}
    quoting = {"role": "user", "content": "cr1."}
    assert sent(read(input=[ours, theirs, quoting]))["input"] == [theirs, quoting]


def test_a_compaction():
    body = {"model": "m", "input": said({"type": "input_text", "text": "hello"}), "instructions": "brief"}
    request = parse_compact(json.dumps({**body, "previous_response_id": "resp_1"}).encode())
    assert (request.dialect, request.stream, request.options.store) == ("responses_compact", False, False)
    continued = with_history(request, raw({"role": "user", "content": "old"}))
    assert continued.dialect == "responses_compact"
    assert json.loads(compact_body(continued, Target("up", cap=5))) == {
        **body,
        "model": "up",
        "input": [{"role": "user", "content": "old"}, *body["input"]],
    }


def test_what_a_converted_answer_is_stored_from():
    items = output_of(b'{"id":"resp_1","output":[{"type": "message"}]}')
    assert list(map(bytes, items)) == [b'{"type": "message"}']


def test_the_dialects_are_in_the_table():
    assert DIALECTS["responses"].parse is parse
    assert DIALECTS["responses"].conversation is not None
    assert DIALECTS["responses_compact"].conversation is None


@pytest.mark.parametrize("body", [b'{"a":%s}', b'{"model":"m","input":[{"role":"user","content":%s}]}', b"%s"])
@pytest.mark.parametrize("depth", [700, 950, 990, 1_100, 100_000])
@pytest.mark.parametrize("brackets", [(b"[", b"]"), (b'{"a":', b"}")])
def test_nesting_of_any_depth_is_read_or_refused(body, depth, brackets):
    opening, closing = brackets
    _read_or_refuse(body % (opening * depth + b"1" + closing * depth))


def _read_or_refuse(body):
    """All that may happen to a body, or a 400."""

    def whole():
        request = parse(body)
        with_history(request, raw({"role": "user", "content": "x"}))
        to_ir(request)

    for read_it in (
        whole,
        lambda: upstream_body(parse(body), UP),
        lambda: compact_body(parse_compact(body), UP),
    ):
        assert _status(read_it) in (200, 400)


def _status(action):
    try:
        action()
    except RelayError as error:
        return error.status
    return 200


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
NAMES = [
    *("instructions", "store", "previous_response_id", "tools", "tool_choice", "text", "reasoning", "include"),
    *("max_output_tokens", "prompt_cache_options", "metadata", "temperature", "top_logprobs", "truncation", "stream"),
]
PARTS = st.fixed_dictionaries(
    {"type": st.sampled_from(["input_text", "input_image", "input_file", "input_audio", "refusal", "x"]) | JSON},
    optional=dict.fromkeys(["text", "image_url", "file_data", "input_audio", "refusal", "file_id", "detail"], JSON),
)
ITEMS = st.fixed_dictionaries(
    {"type": st.sampled_from(["message", "function_call", "function_call_output", "reasoning", "shell_call"]) | JSON},
    optional={
        **dict.fromkeys(["role", "call_id", "name", "arguments", "summary", "encrypted_content", "environment"], JSON),
        "content": st.lists(PARTS, max_size=2) | JSON,
        "output": st.lists(PARTS, max_size=2) | JSON,
        "tools": st.lists(JSON, max_size=2) | JSON,
    },
)


@given(st.lists(ITEMS, max_size=3) | JSON, st.dictionaries(st.sampled_from(NAMES), JSON, max_size=3))
def test_any_json_is_read_or_refused(given, fields):
    _read_or_refuse(json.dumps({"model": "m", "input": given, **fields}).encode())


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(body):
    _read_or_refuse(body)
    _read_or_refuse(b'{"model":"m","input":"' + body + b'"}')
