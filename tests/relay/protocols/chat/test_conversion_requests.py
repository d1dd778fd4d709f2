"""Chat completions and the neutral conversation: requests, both ways."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.errors import RelayError
from relay.protocols import ir
from relay.protocols.base import Target
from relay.protocols.chat.dialect import CONVERSATION
from relay.protocols.chat.reasoning import blocks, entries
from relay.protocols.chat.request import parse
from tests.doubles.conversations import EVERYTHING, Can, reasonings, requests
from tests.doubles.upstream import ask

CHAT = Can(
    files=frozenset({"data"}),
    several_systems=False,
    several_texts=False,
    results=frozenset(),
    output=frozenset({"object", "schema", "name", "strict", "description"}),
    budgets=False,
    show=False,
    cache=frozenset(),
    sampling=Can().sampling - {"user", "metadata", "cache_key"},
    reasoning=frozenset({"chat"}),
    interleaved=False,
    stops=frozenset({"stop", "length", "content_filter"}),
    sequences=False,
    units=frozenset({"input", "cache_read", "cache_write_5m", "output", "reasoning"}),
)


def read(**fields):
    """A client's request, as the neutral one."""
    return CONVERSATION.to_ir(parse(json.dumps(ask(**fields)).encode()))


def said(*messages, **fields):
    return read(messages=list(messages), **fields).messages


def written(request, **target):
    """What an upstream gets."""
    return json.loads(CONVERSATION.from_ir(request, Target("up", **target)))


def status_of(body):
    try:
        CONVERSATION.from_ir(CONVERSATION.to_ir(parse(body)), Target("m"))
    except RelayError as error:
        return error.status
    return 200


def turn(*parts, role="user", **fields):
    return ir.Request("m", [ir.Message(role, list(parts))], **fields)


@settings(deadline=None)
@given(requests(CHAT))
def test_a_request_survives_the_way_there_and_back(request):
    before = msgspec.json.encode(request)
    body = CONVERSATION.from_ir(request, Target("m", stores=True))
    assert CONVERSATION.to_ir(parse(body)) == request
    assert msgspec.json.encode(request) == before


CONTENT = [
    ("hi", [ir.Text("hi")]),
    ("", []),
    (None, []),
    (["hi", {"type": "text", "text": ""}], [ir.Text("hi")]),
    ({"type": "text", "text": "hi"}, [ir.Text("hi")]),
    ([{"type": "text", "text": "hi", "cache_control": {"type": "ephemeral", "ttl": "1h"}}], [ir.Text("hi", "5m")]),
    ([{"type": "text", "text": "hi", "prompt_cache_breakpoint": {"mode": "explicit"}}], [ir.Text("hi", "5m")]),
    ([{"type": "image_url", "image_url": {"url": "https://a/b.png"}}], [ir.Image("https://a/b.png")]),
    ([{"type": "image_url", "image_url": "https://a/b.png"}], [ir.Image("https://a/b.png")]),
    (
        [{"type": "image_url", "image_url": {"url": "data:image/PNG;base64,aGk=", "detail": "original"}}],
        [ir.Image(data="aGk=", media_type="image/png", detail="original")],
    ),
    ([{"type": "input_audio", "input_audio": {"data": "aGk=", "format": "mp3"}}], [ir.Audio("aGk=", "mp3")]),
    (
        [{"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,aGk="}}],
        [ir.File(data="aGk=", media_type="application/pdf", name="a.pdf")],
    ),
    ([{"type": "file", "file": {"file_data": "aGk="}}], [ir.File(data="aGk=", media_type="application/pdf")]),
    ([{"type": "file", "file": {"file_data": "https://a/b.pdf"}}], [ir.File("https://a/b.pdf")]),
]


@pytest.mark.parametrize(("content", "parts"), CONTENT)
def test_what_a_user_says(content, parts):
    assert said({"role": "user", "content": content}) == ([ir.Message("user", parts)] if parts else [])


def test_system_messages_of_either_name_stand_where_they_stood():
    messages = [
        {"role": "developer", "content": "a"},
        {"role": "system", "content": [{"type": "text", "text": "b"}]},
        {"role": "user", "content": "c", "name": "bob"},
        {"role": "system", "content": "d"},
    ]
    assert said(*messages) == [
        ir.Message("system", [ir.Text("a"), ir.Text("b")]),
        ir.Message("user", [ir.Text("c")], "bob"),
        ir.Message("system", [ir.Text("d")]),
    ]


def test_calls_and_their_results():
    calls = [
        {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}},
        {"id": "c2", "type": "custom", "custom": {"name": "shell", "input": "ls"}},
    ]
    conversation = said(
        {"role": "assistant", "content": None, "refusal": None, "annotations": [], "audio": None, "tool_calls": calls},
        {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
        {"role": "tool", "tool_call_id": "c2", "content": [{"type": "text", "text": "a"}]},
        {"role": "tool", "tool_call_id": "c9", "name": "g", "content": ""},
        {"role": "user", "content": "so?"},
    )
    assert conversation == [
        ir.Message("assistant", [ir.ToolCall("c1", "f", '{"a": 1}'), ir.ToolCall("c2", "shell", "ls", True)]),
        ir.Message(
            "user",
            [
                ir.ToolResult("c1", [ir.Text("sunny")], "f"),
                ir.ToolResult("c2", [ir.Text("a")], "shell", custom=True),
                ir.ToolResult("c9", [], "g"),
                ir.Text("so?"),
            ],
        ),
    ]


def test_calls_of_the_old_kind_meet_their_results_by_name():
    old = {"name": "f", "description": "does f", "parameters": {"type": "object"}}
    request = read(
        messages=[
            {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
            {"role": "function", "name": "f", "content": "1"},
            {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "[]"}},
            {"role": "function", "name": "f", "content": "2"},
        ],
        functions=[old],
        function_call={"name": "f"},
    )
    assert [part for message in request.messages for part in message.parts] == [
        ir.ToolCall("call_0", "f", "{}"),
        ir.ToolResult("call_0", [ir.Text("1")], "f"),
        ir.ToolCall("call_1", "f", "[]"),
        ir.ToolResult("call_1", [ir.Text("2")], "f"),
    ]
    assert request.tools == [ir.Tool("f", "does f", {"type": "object"})]
    assert (request.tool_choice, request.parallel) == (ir.ToolChoice("named", ["f"]), False)


ENTRY = {"type": "reasoning.text", "text": "hm", "signature": "s", "format": "anthropic-claude-v1", "index": 0}
THOUGHTS = [
    ({"reasoning_content": "hm"}, [ir.Reasoning("hm", "chat")]),
    ({"reasoning": "hm"}, [ir.Reasoning("hm", "chat")]),
    ({"reasoning": {"odd": 1}, "reasoning_details": "odd"}, []),
    ({"reasoning_content": "x", "reasoning_details": [ENTRY]}, [ir.Reasoning("hm", "anthropic", "s")]),
    ({"reasoning_content": "x", "reasoning_details": [{"type": "odd"}, 5]}, [ir.Reasoning("x", "chat")]),
    (
        {
            "reasoning_details": [
                {"type": "reasoning.summary", "summary": "a", "format": "openai-responses-v1", "index": 0},
                {"type": "reasoning.summary", "summary": "b", "format": "openai-responses-v1", "index": 0},
                {"type": "reasoning.encrypted", "data": "d", "id": "r", "format": "openai-responses-v1", "index": 0},
                {"type": "reasoning.encrypted", "data": "e", "format": "google-gemini-v1", "index": 1},
                {"type": "reasoning.text", "text": "f", "format": "xai-responses-v1"},
                {"type": "reasoning.text", "text": "g", "format": "unknown"},
            ]
        },
        [
            ir.Reasoning("ab", "responses", None, "d", "r"),
            ir.Reasoning("", "gemini", None, "e"),
            ir.Reasoning("f", "chat/xai-responses-v1"),
            ir.Reasoning("g", "chat"),
        ],
    ),
]


@pytest.mark.parametrize(("fields", "parts"), THOUGHTS)
def test_what_a_model_thought_before(fields, parts):
    conversation = said({"role": "assistant", "content": "so", **fields})
    assert conversation == [ir.Message("assistant", [*parts, ir.Text("so")])]


def test_reasoning_comes_back_to_who_made_it_and_to_no_other():
    own = ir.Reasoning("hm", "chat")
    other = ir.Reasoning("xx", "anthropic", "s")
    signed = ir.Reasoning("so", "chat/anthropic-claude-v1", "s")
    assert written(turn(own, other, role="assistant"))["messages"] == [
        {"role": "assistant", "content": None, "reasoning_content": "hm"}
    ]
    assert written(turn(other, signed, ir.Text("a"), role="assistant"))["messages"] == [
        {
            "role": "assistant",
            "content": "a",
            "reasoning_details": [{**ENTRY, "text": "so"}],
        }
    ]


@settings(deadline=None)
@given(st.data())
def test_a_block_of_reasoning_survives_as_entries(data):
    thoughts = data.draw(st.lists(reasonings(EVERYTHING, EVERYTHING.made), max_size=3))
    details = [entry for index, part in enumerate(thoughts) for entry in entries(part, index)]
    assert blocks(details, upstream=False) == thoughts


THINKING = [
    ({"reasoning_effort": "xhigh"}, ir.Thinking("xhigh")),
    ({"reasoning_effort": None}, None),
    ({"reasoning": {"effort": "low", "exclude": True}}, ir.Thinking("low", show=False)),
    ({"reasoning": {"max_tokens": 2_000}}, ir.Thinking(budget=2_000)),
    ({"reasoning": {"enabled": True}}, ir.Thinking()),
    ({"reasoning": {"enabled": False}}, ir.Thinking(budget=0)),
    ({"thinking": {"type": "enabled", "budget_tokens": 5}}, ir.Thinking(budget=5)),
    ({"thinking": {"type": "disabled"}}, ir.Thinking(budget=0)),
    ({"enable_thinking": True}, ir.Thinking()),
    ({"enable_thinking": False}, ir.Thinking(budget=0)),
]


@pytest.mark.parametrize(("fields", "thinking"), THINKING)
def test_how_much_to_think(fields, thinking):
    assert read(**fields).thinking == thinking


EFFORTS = [
    (None, None),
    (ir.Thinking(), None),
    (ir.Thinking("max"), "max"),
    (ir.Thinking("none"), "none"),
    (ir.Thinking(budget=0), None),
    (ir.Thinking("high", budget=0), None),
    (ir.Thinking(budget=1), "low"),
    (ir.Thinking(budget=4_095), "low"),
    (ir.Thinking(budget=4_096), "medium"),
    (ir.Thinking(budget=16_384, show=True), "high"),
]


@pytest.mark.parametrize(("thinking", "effort"), EFFORTS)
def test_a_budget_becomes_an_effort(thinking, effort):
    assert written(turn(ir.Text("a"), thinking=thinking)).get("reasoning_effort") == effort


@pytest.mark.parametrize("model", ["gpt-4o", "openai/gpt-4.1-mini", "gpt-3.5-turbo", "chatgpt-4o-latest"])
def test_a_model_that_never_reasons_is_not_asked_how_much(model):
    request = turn(ir.Text("a"), thinking=ir.Thinking("high"))
    assert "reasoning_effort" not in json.loads(CONVERSATION.from_ir(request, Target(model)))


SYSTEMS = ir.Request(
    "m",
    [
        ir.Message("system", [ir.Text("one")]),
        ir.Message("system", [ir.Text("two")]),
        ir.Message("user", [ir.Text("hi")]),
        ir.Message("system", [ir.Text("three"), ir.Text("four")]),
        ir.Message("assistant", [ir.ToolCall("c", "f")]),
        ir.Message("user", [ir.ToolResult("c", [ir.Text("done")])]),
        ir.Message("system", [ir.Text("five")]),
        ir.Message("user", [ir.Text("go on")]),
    ],
)


def test_system_messages_stand_where_they_stood_for_openai():
    messages = written(SYSTEMS, stores=True)["messages"]
    said = ["system", "system", "user", "system", "assistant", "tool", "system", "user"]
    assert [message["role"] for message in messages] == said


def test_system_messages_of_the_middle_are_reminders_for_others():
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    before = msgspec.json.encode(SYSTEMS)
    assert written(SYSTEMS)["messages"] == [
        {"role": "system", "content": "one\n\ntwo"},
        {"role": "user", "content": "hi\n\n<system-reminder>\nthree\n\nfour\n</system-reminder>"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "done"},
        {"role": "user", "content": "<system-reminder>\nfive\n</system-reminder>\n\ngo on"},
    ]
    assert msgspec.json.encode(SYSTEMS) == before


FUNCTION = {"type": "function", "function": {"name": "f"}}
SHELL = {"type": "custom", "custom": {"name": "shell"}}
CHOICES = [
    ("required", ir.ToolChoice("required"), ["f", "shell"]),
    (FUNCTION, ir.ToolChoice("named", ["f"]), ["f", "shell"]),
    (SHELL, ir.ToolChoice("named", ["shell"]), ["f", "shell"]),
    (
        {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [FUNCTION, SHELL]}},
        ir.ToolChoice("named", ["f", "shell"]),
        ["f", "shell"],
    ),
    (
        {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [SHELL]}},
        ir.ToolChoice("auto"),
        ["shell"],
    ),
]


@pytest.mark.parametrize(("given", "choice", "offered"), CHOICES)
def test_which_tools_may_be_called(given, choice, offered):
    request = read(tools=[FUNCTION, SHELL], tool_choice=given)
    assert (request.tool_choice, [tool.name for tool in request.tools]) == (choice, offered)
    again = written(request)["tool_choice"]
    assert again == (given if choice.mode != "auto" else "auto")


def test_every_field_of_a_request():
    grammar = {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: /a/"}}
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    fields = {
        "stream": True,
        "stream_options": {"include_usage": True},
        "tools": [
            {"type": "function", "function": {"name": "f", "description": "d", "parameters": schema, "strict": True}},
            {"type": "custom", "custom": {"name": "shell", "format": grammar}},
        ],
        "tool_choice": "auto",
        "parallel_tool_calls": False,
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": schema, "strict": True}},
        "reasoning_effort": "low",
        "max_completion_tokens": 100,
        "n": 2,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 40,
        "seed": 7,
        "stop": ["a", "b"],
        "presence_penalty": 0.1,
        "frequency_penalty": 0.2,
        "logit_bias": {"5": -100.0},
        "logprobs": True,
        "top_logprobs": 3,
        "verbosity": "low",
    }
    hints = {
        "user": "u",
        "safety_identifier": "s",
        "metadata": {"a": "b"},
        "prompt_cache_key": "k",
        "prompt_cache_retention": "24h",
        "store": True,
        "service_tier": "default",
        "modalities": ["text"],
        "audio": None,
    }
    request = read(**fields, **hints)
    assert (request.user, request.metadata, request.cache_key) == ("s", {"a": "b"}, "k")
    assert request.tools[1].format == {"type": "grammar", "syntax": "lark", "definition": "start: /a/"}
    assert request.output == ir.OutputFormat(schema, "n", True)
    again = written(request, cap_field="max_completion_tokens")
    assert again == {**fields, "model": "up", "messages": ask()["messages"]}


def test_the_target_decides_cap_and_storage():
    request = turn(ir.Text("hi"), max_tokens=100)
    messages = [{"role": "user", "content": "hi"}]
    assert written(request) == {"model": "up", "messages": messages, "max_tokens": 100}
    assert written(request, cap=50, cap_field="max_completion_tokens", stores=True) == {
        "model": "up",
        "messages": messages,
        "max_completion_tokens": 50,
        "store": False,
    }


def test_results_come_first_and_texts_alone_are_one_string():
    parts = [ir.Text("a"), ir.ToolResult("c", [ir.Text("x"), ir.Text("y")], error=True), ir.Text("b")]
    assert written(turn(*parts))["messages"] == [
        {"role": "tool", "tool_call_id": "c", "content": "x\n\ny"},
        {"role": "user", "content": "a\n\nb"},
    ]
    image = ir.Image("https://a/b.png")
    assert written(turn(ir.Text("a"), image))["messages"][0]["content"] == [
        {"type": "text", "text": "a"},
        {"type": "image_url", "image_url": {"url": "https://a/b.png"}},
    ]


def test_a_document_gets_a_name_and_loses_it_again():
    request = turn(ir.File(data="aGk=", media_type="application/pdf"))
    file = {"filename": "document.pdf", "file_data": "data:application/pdf;base64,aGk="}
    assert written(request)["messages"][0]["content"] == [{"type": "file", "file": file}]


def test_what_a_tool_shows_follows_in_the_users_message():
    first = ir.ToolResult("c1", [ir.Text("one"), ir.Image(data="aGk=", media_type="image/png"), ir.Text("two")])
    results = first, ir.ToolResult("c2", [ir.Text("three")]), ir.ToolResult("c3", [ir.Image("https://a/b.png")])
    follows = "[What this tool call showed follows in the next message.]"
    assert written(turn(ir.Text("And now?"), *results))["messages"] == [
        {"role": "tool", "tool_call_id": "c1", "content": f"one\n\ntwo\n\n{follows}"},
        {"role": "tool", "tool_call_id": "c2", "content": "three"},
        {"role": "tool", "tool_call_id": "c3", "content": follows},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "[From the result of tool call c1:]"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}},
                {"type": "text", "text": "[From the result of tool call c3:]"},
                {"type": "image_url", "image_url": {"url": "https://a/b.png"}},
                {"type": "text", "text": "And now?"},
            ],
        },
    ]


UNSAYABLE = [
    (turn(ir.File(url="https://a/b.pdf")), "a document's URL"),
    (turn(ir.ToolResult("c", [ir.File(url="https://a/b.pdf")])), "a document's URL"),
    (turn(ir.Image("https://a/b.png"), role="assistant"), "an image in an assistant message"),
    (turn(ir.Image("https://a/b.png"), role="system"), "an image in a system message"),
    (
        ir.Request("m", [ir.Message("user", [ir.Text("a")]), ir.Message("system", [ir.Image("https://a/b.png")])]),
        "an image in a system message",
    ),
    (turn(ir.ToolCall("c", "f")), "a tool call in a user message"),
]


@pytest.mark.parametrize(("request_", "what"), UNSAYABLE)
def test_what_chat_cannot_say_is_refused(request_, what):
    with pytest.raises(RelayError) as refused:
        written(request_)
    assert (refused.value.code, refused.value.param) == ("unsupported_field", what)


def refusal(**fields):
    with pytest.raises(RelayError) as refused:
        read(**fields)
    assert refused.value.status == 400
    return refused.value.code, refused.value.param


UNCONVERTIBLE = [
    ({"prediction": {"type": "content", "content": "x"}}, "prediction"),
    ({"web_search_options": {}}, "web_search_options"),
    ({"audio": {"voice": "alloy", "format": "wav"}}, "audio"),
    ({"modalities": ["text", "audio"]}, "modalities"),
    ({"moderation": {"model": "m"}}, "moderation"),
    ({"service_tier": "flex"}, "service_tier"),
    ({"something_new": 1}, "something_new"),
    ({"response_format": {"type": "grammar"}}, "response_format"),
    ({"tool_choice": {"type": "mcp"}}, "tool_choice"),
    ({"messages": [{"role": "user", "content": [{"type": "video_url"}]}]}, "messages[0].content[0].type"),
    ({"messages": [{"role": "system", "content": [{"type": "input_audio"}]}]}, "messages[0].content[0].type"),
    ({"messages": [{"role": "assistant", "tool_calls": [{"id": "c"}]}]}, "messages[0].tool_calls"),
]


@pytest.mark.parametrize(("fields", "param"), UNCONVERTIBLE)
def test_what_cannot_be_converted_is_refused_by_its_name(fields, param):
    assert refusal(**fields) == ("unsupported_field", param)


WRONG = [
    ("messages", [{"role": "narrator", "content": "x"}]),
    ("messages", [{"role": "user", "content": 5}]),
    ("messages", [{"content": "x"}]),
    ("messages", [{"role": "tool", "content": "x"}]),
    ("messages", [{"role": "user", "content": [{"type": "text"}]}]),
    ("messages", [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png,x"}}]}]),
    ("tools", [{"type": "function"}]),
    ("tools", [{"type": "function", "function": {"name": "f", "parameters": []}}]),
    ("tool_choice", "sometimes"),
    ("reasoning_effort", "enormous"),
    ("reasoning", {"effort": "enormous"}),
    ("thinking", {"type": "enabled", "budget_tokens": -1}),
    ("temperature", True),
    ("temperature", "0.5"),
    ("seed", 10**30),
    ("logit_bias", {"5": "much"}),
    ("stop", [5]),
]


@pytest.mark.parametrize(("field", "value"), WRONG)
def test_a_field_of_the_wrong_kind_is_named(field, value):
    assert refusal(**{field: value}) == ("invalid_request", field)


@pytest.mark.parametrize("field", ["response_format", "logit_bias", "metadata", "thinking"])
@pytest.mark.parametrize("depth", [500, 950, 990, 1_100, 100_000])
def test_nesting_of_any_depth_is_read_or_refused(field, depth):
    nested = b'{"type":"json_schema","json_schema":{"schema":{"a":' + b"[" * depth + b"]" * depth + b"}}}"
    body = b'{"model":"m","messages":[{"role":"user","content":"a"}],"' + field.encode() + b'":' + nested + b"}"
    assert status_of(body) in (200, 400)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
NAMES = ["role", "content", "tool_calls", "function_call", "reasoning_details", "reasoning", "refusal", "type", "text"]
NAMES += ["name", "id", "index", "function", "custom", "arguments", "tool_call_id", "data", "signature", "thinking"]
SHAPES = st.recursive(
    JSON | st.sampled_from(["user", "assistant", "tool", "function", "text", "image_url", "file", "thinking"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=12,
)
FIELDS = ["tools", "tool_choice", "response_format", "stop", "thinking", "functions", "function_call", "metadata"]


@settings(deadline=None)
@given(st.lists(SHAPES, max_size=3), st.dictionaries(st.sampled_from(FIELDS), SHAPES, max_size=2))
def test_any_request_is_converted_or_refused(messages, fields):
    assert status_of(json.dumps(ask(messages=messages, **fields)).encode()) in (200, 400)
