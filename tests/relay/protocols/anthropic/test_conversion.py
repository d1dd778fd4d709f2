"""Anthropic's Messages to and from the neutral conversation: golden bodies, round trips, the official SDK."""

from __future__ import annotations

import dataclasses
import json

import anthropic
import httpx2
import msgspec
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from relay.errors import RelayError
from relay.protocols import ir
from relay.protocols.anthropic.dialect import CONVERSATION
from relay.protocols.anthropic.from_ir import tool_id
from relay.protocols.anthropic.request import parse
from relay.protocols.base import Target
from relay.protocols.sse import Splitter
from tests.cast.examples import examples
from tests.doubles.conversations import EFFORTS, EVERYTHING, Can, answer_of, answers, events_of, requests

# How long an example takes depends on what else the machine does.
unhurried = settings(deadline=None, max_examples=examples(25), suppress_health_check=[HealthCheck.too_slow])
SEED = "0123456789abcdef" * 2
MESSAGES = Can(
    details=frozenset(),
    audio=False,
    names=False,
    system_anywhere=False,
    custom=False,
    schemaless=False,
    named=frozenset({"one"}),
    output=frozenset({"schema"}),
    efforts=EFFORTS - {"none", "minimal"},
    sampling=frozenset({"max_tokens", "temperature", "top_p", "top_k", "stop", "user", "parallel"}),
    reasoning=frozenset({"anthropic"}),
    made=frozenset({"anthropic"}),
    reasoning_ids=False,
    refusals=False,
    stops=EVERYTHING.stops - {"content_filter"},
    logprobs=False,
    choices=False,
)


def sent(request, **target):
    """What an upstream gets."""
    return json.loads(CONVERSATION.from_ir(request, Target("up", **target)))


def read(**fields):
    """The conversation of a client's request."""
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hello"}], **fields}
    return CONVERSATION.to_ir(parse(json.dumps(body).encode()))


def turns(*messages, **fields):
    return sent(ir.Request("m", list(messages), **fields))


def user(*parts):
    return ir.Message("user", list(parts))


def says(part):
    """Whether Anthropic takes a part: no white space alone, and no thinking that Claude did not sign."""
    if isinstance(part, ir.Reasoning):
        return bool(part.signature or part.redacted)
    if isinstance(part, ir.ToolResult):
        part.parts = [inner for inner in part.parts if says(inner)]
    return not isinstance(part, ir.Text) or bool(part.text.strip())


def expressed(request):
    """What Anthropic keeps of a request."""
    messages = [ir.Message(m.role, [part for part in m.parts if says(part)], m.name) for m in request.messages]
    choice, parallel = request.tool_choice, request.parallel
    if parallel is not None and choice is None:
        choice = ir.ToolChoice("auto")
    if choice is not None and choice.mode == "none":
        parallel = None
    cap = request.max_tokens or 8_192
    return ir.normal(replace(request, messages=messages, tool_choice=choice, parallel=parallel, max_tokens=cap))


@unhurried
@given(requests(MESSAGES))
def test_a_request_comes_back_as_it_went(request):
    budget = request.thinking.budget if request.thinking else None
    assume(budget is None or budget < (request.max_tokens or 8_192))
    # A turn that goes on unthinking gets no budget.
    assume(not budget or not any(isinstance(part, ir.ToolResult) for m in request.messages for part in m.parts))
    assume(any(message.role != "system" for message in expressed(request).messages))
    body = CONVERSATION.from_ir(request, Target("m"))
    assert ir.normal(CONVERSATION.to_ir(parse(body))) == expressed(request)


def there_and_back(body):
    """A client's body to the neutral conversation and to an upstream's body."""
    return CONVERSATION.from_ir(CONVERSATION.to_ir(parse(body)), Target("m"))


def refusal_of(step):
    """How a step is refused; None where it is not."""
    try:
        step()
    except RelayError as error:
        return error.status, error.code, bool(error.param)
    return None


@unhurried
@given(requests())
def test_any_request_is_written_or_refused_by_name(request):
    refused = refusal_of(lambda: there_and_back(CONVERSATION.from_ir(request, Target("m"))))
    assert refused in (None, (400, "unsupported_field", True))


GOLDEN = {
    "model": "m",
    "max_tokens": 4_096,
    "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGVsbG8="}},
                {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
                {"type": "document", "source": {"type": "url", "url": "https://example.com/a.pdf"}, "title": "A"},
                {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "é"}},
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
                {"type": "redacted_thinking", "data": "ZGF0YQ=="},
                {"type": "text", "text": "Let me look."},
                {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"deep": 1.50}},
            ],
        },
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "toolu_1",
                    "content": [
                        {"type": "text", "text": "a cat"},
                        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGVsbG8="}},
                    ],
                    "is_error": True,
                },
                {"type": "text", "text": "And?"},
            ],
        },
    ],
    "tools": [
        {
            "name": "look",
            "description": "Looks.",
            "input_schema": {"type": "object", "properties": {"deep": {"type": "number"}}},
            "strict": True,
            "cache_control": {"type": "ephemeral"},
        }
    ],
    "tool_choice": {"type": "tool", "name": "look", "disable_parallel_tool_use": True},
    "thinking": {"type": "adaptive", "display": "summarized"},
    "output_config": {"effort": "high", "format": {"type": "json_schema", "schema": {"type": "object"}}},
    "stop_sequences": ["END"],
    "stream": True,
    "metadata": {"user_id": "user-1"},
    "temperature": 0.5,
    "top_p": 0.9,
    "top_k": 40,
}
GOLDEN_IR = ir.Request(
    "m",
    [
        ir.Message("system", [ir.Text("Be brief.", "1h")]),
        user(
            ir.Text("What is this?"),
            ir.Image(data="aGVsbG8=", media_type="image/png"),
            ir.Image(url="https://example.com/a.png"),
            ir.File(url="https://example.com/a.pdf", name="A"),
            ir.File(data="w6k=", media_type="text/plain"),
        ),
        ir.Message(
            "assistant",
            [
                ir.Reasoning("Hm.", "anthropic", "c2ln"),
                ir.Reasoning(origin="anthropic", redacted="ZGF0YQ=="),
                ir.Text("Let me look."),
                ir.ToolCall("toolu_1", "look", '{"deep":1.5}'),
            ],
        ),
        user(
            ir.ToolResult(
                "toolu_1",
                [ir.Text("a cat"), ir.Image(data="aGVsbG8=", media_type="image/png")],
                name="look",
                error=True,
            ),
            ir.Text("And?"),
        ),
    ],
    stream=True,
    tools=[ir.Tool("look", "Looks.", {"type": "object", "properties": {"deep": {"type": "number"}}}, True, cache="5m")],
    tool_choice=ir.ToolChoice("named", ["look"]),
    parallel=False,
    output=ir.OutputFormat({"type": "object"}),
    thinking=ir.Thinking("high", show=True),
    max_tokens=4_096,
    temperature=0.5,
    top_p=0.9,
    top_k=40,
    stop=["END"],
    user="user-1",
)


def test_a_whole_request_means_this():
    assert CONVERSATION.to_ir(parse(json.dumps(GOLDEN).encode())) == GOLDEN_IR


def test_a_whole_request_is_written_like_this():
    assert sent(GOLDEN_IR) == {**GOLDEN, "model": "up"}


def test_an_upstream_is_always_told_how_long_an_answer_may_be():
    hello = ir.Request("m", [user(ir.Text("hello"))])
    assert sent(hello)["max_tokens"] == 8_192
    assert sent(hello, default_cap=99)["max_tokens"] == 99
    assert sent(replace(hello, max_tokens=7))["max_tokens"] == 7
    assert sent(replace(hello, max_tokens=7), cap=5)["max_tokens"] == 5


def test_system_messages_anywhere_are_one_prompt_in_order():
    body = turns(
        ir.Message("system", [ir.Text("a")]),
        user(ir.Text("b")),
        ir.Message("system", [ir.Text("c"), ir.Text("")]),
        user(ir.Text("d")),
    )
    assert body["system"] == [{"type": "text", "text": "a"}, {"type": "text", "text": "c"}]
    both = [{"type": "text", "text": "b"}, {"type": "text", "text": "d"}]
    assert body["messages"] == [{"role": "user", "content": both}]


def test_results_come_first_and_white_space_not_at_all():
    call, result = ir.ToolCall("c1", "f", ""), ir.ToolResult("c1", [ir.Text("")])
    body = turns(ir.Message("assistant", [ir.Text("\n\n"), call]), user(ir.Text("a")), user(result))
    assert body["messages"] == [
        {"role": "assistant", "content": [{"type": "tool_use", "id": "c1", "name": "f", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1"}, {"type": "text", "text": "a"}]},
    ]
    assert turns(user(ir.Text("")))["messages"] == []


@pytest.mark.parametrize("odd", ["call.1", "é", "", "a b", "functions.f:0"])
def test_ids_are_such_as_anthropic_allows_in_a_call_and_in_its_result(odd):
    body = turns(ir.Message("assistant", [ir.ToolCall(odd, "f")]), user(ir.ToolResult(odd, [ir.Text("x")])))
    used = body["messages"][0]["content"][0]["id"]
    assert used == body["messages"][1]["content"][0]["tool_use_id"] == tool_id(odd)
    assert used.replace("_", "").isalnum() and used.isascii()
    assert tool_id(used) == used != tool_id(odd + "x")


def test_arguments_travel_on_as_they_were_written():
    written = '{"a":12345678901234567890123456789,"b":1.0,"b":1e5}'
    body = ir.Request("m", [ir.Message("assistant", [ir.ToolCall("c1", "f", written)])])
    assert f'"input":{written}}}' in CONVERSATION.from_ir(body, Target("up")).decode()


def test_reasoning_of_another_maker_is_a_hint():
    thoughts = [ir.Reasoning("a", "gemini", "sig"), ir.Reasoning("b", "anthropic"), ir.Reasoning("c", "anthropic", "s")]
    content = turns(ir.Message("assistant", [*thoughts, ir.Text("d")]))["messages"][0]["content"]
    assert [block["type"] for block in content] == ["thinking", "text"]


THINKING = [
    ({"type": "disabled"}, None, ir.Thinking(budget=0)),
    ({"type": "enabled", "budget_tokens": 2_000}, None, ir.Thinking(budget=2_000)),
    ({"type": "adaptive"}, None, ir.Thinking()),
    ({"type": "adaptive", "display": "omitted"}, "max", ir.Thinking("max", show=False)),
    (None, "low", ir.Thinking("low")),
    (None, None, None),
]


@pytest.mark.parametrize(("thinking", "effort", "meant"), THINKING)
def test_what_a_client_says_of_thinking(thinking, effort, meant):
    assert read(thinking=thinking, output_config={"effort": effort}).thinking == meant


WRITTEN = [
    (ir.Thinking("none"), 9_000, {"type": "disabled"}, None),
    (ir.Thinking(budget=0), 9_000, {"type": "disabled"}, None),
    (ir.Thinking("minimal"), 9_000, {"type": "adaptive"}, {"effort": "low"}),
    (ir.Thinking("xhigh", show=False), 9_000, {"type": "adaptive", "display": "omitted"}, {"effort": "xhigh"}),
    (ir.Thinking(budget=100), 9_000, {"type": "enabled", "budget_tokens": 1_024}, None),
    (ir.Thinking(budget=9_000), 9_000, {"type": "enabled", "budget_tokens": 8_999}, None),
    (ir.Thinking(budget=9_000), 1_024, None, None),
]


@pytest.mark.parametrize(("thinking", "cap", "shape", "config"), WRITTEN)
def test_what_an_upstream_is_told_of_thinking(thinking, cap, shape, config):
    body = turns(user(ir.Text("a")), thinking=thinking, max_tokens=cap)
    assert (body.get("thinking"), body.get("output_config")) == (shape, config)


MINE, OTHERS = ir.Reasoning("a", "anthropic", "c2ln"), ir.Reasoning("a", "gemini", "c2ln")
# Anthropic refuses a budget where a turn that goes on after its tools did not begin with a thought of its own.
GOING_ON = [
    (ir.Thinking(budget=2_000), [MINE], {"type": "enabled", "budget_tokens": 2_000}),
    (ir.Thinking(budget=2_000), [OTHERS], None),
    (ir.Thinking(budget=2_000), [], None),
    (ir.Thinking("high"), [], {"type": "adaptive"}),
]


@pytest.mark.parametrize(("thinking", "thoughts", "shape"), GOING_ON)
def test_a_turn_goes_on_that_began_without_a_thought(thinking, thoughts, shape):
    called = ir.Message("assistant", [*thoughts, ir.ToolCall("toolu_1", "f", "{}")])
    told = user(ir.ToolResult("toolu_1", [ir.Text("b")], "f"))
    body = turns(user(ir.Text("a")), called, told, thinking=thinking, max_tokens=9_000)
    assert body.get("thinking") == shape
    # Once the turn is over, the next may think again.
    over = [user(ir.Text("a")), called, told, ir.Message("assistant", [ir.Text("c")]), user(ir.Text("d"))]
    assert "thinking" in turns(*over, thinking=thinking, max_tokens=9_000)


TOOL = ir.Tool("f", schema={"type": "object"})
CHOICES = [
    (None, None, None),
    (None, False, {"type": "auto", "disable_parallel_tool_use": True}),
    (None, True, {"type": "auto", "disable_parallel_tool_use": False}),
    (ir.ToolChoice("auto"), None, {"type": "auto"}),
    (ir.ToolChoice("none"), False, {"type": "none"}),
    (ir.ToolChoice("required"), None, {"type": "any"}),
    (ir.ToolChoice("named", ["f"]), False, {"type": "tool", "name": "f", "disable_parallel_tool_use": True}),
]


@pytest.mark.parametrize(("choice", "parallel", "shape"), CHOICES)
def test_the_choice_of_tools(choice, parallel, shape):
    body = turns(user(ir.Text("a")), tools=[TOOL], tool_choice=choice, parallel=parallel)
    assert body.get("tool_choice") == shape


def test_no_choice_is_written_where_there_are_no_tools():
    assert "tool_choice" not in turns(user(ir.Text("a")), tool_choice=ir.ToolChoice("auto"), parallel=False)


def test_a_tool_without_a_schema_takes_nothing():
    body = turns(user(ir.Text("a")), tools=[ir.Tool("f")])
    assert body["tools"] == [{"name": "f", "input_schema": {"type": "object", "properties": {}}}]


HELLO = user(ir.Text("hello"))
REFUSED = [
    ({"choices": 2}, "n"),
    ({"presence_penalty": 0.5}, "presence_penalty"),
    ({"frequency_penalty": -0.5}, "frequency_penalty"),
    ({"logit_bias": {"1": 5}}, "logit_bias"),
    ({"logprobs": 0}, "logprobs"),
    ({"temperature": 1.5}, "a temperature above 1"),
    ({"output": ir.OutputFormat()}, "JSON output without a schema"),
    ({"tools": [TOOL, ir.Tool("g", custom=True)]}, "tools[1].type"),
    ({"tools": [TOOL], "tool_choice": ir.ToolChoice("named", ["f", "g"])}, "tool_choice of several tools"),
    ({"messages": [user(ir.Audio("QQ==", "wav"))]}, "input_audio"),
    ({"messages": [user(ir.Image(data="QQ=="))]}, "an image without a media type"),
    ({"messages": [user(ir.File(data="QQ==", media_type="image/tiff"))]}, "a file of type image/tiff"),
    ({"messages": [user(ir.File(url="https://x/a.txt", media_type="text/plain"))]}, "a file of type text/plain"),
    ({"messages": [user(ir.File(data="/w==", media_type="text/csv"))]}, "a text file that is not base64 of UTF-8"),
    ({"messages": [ir.Message("assistant", [ir.ToolCall("c", "f", "x", True)])]}, "a call of a custom tool"),
    (
        {"messages": [ir.Message("assistant", [ir.ToolCall("c", "f", "[1]")])]},
        "a tool call whose arguments are not a JSON object",
    ),
]


@pytest.mark.parametrize(("fields", "field"), REFUSED)
def test_what_anthropic_cannot_express_is_refused(fields, field):
    with pytest.raises(RelayError) as refused:
        sent(replace(ir.Request("m", [HELLO]), **fields))
    assert (refused.value.status, refused.value.code, refused.value.param) == (400, "unsupported_field", field)


def test_mere_hints_are_left_out():
    hints = {"seed": 5, "verbosity": "low", "cache_key": "k", "metadata": {"a": "b"}, "presence_penalty": 0.0}
    named = ir.Message("user", [ir.Text("hello")], "alice")
    assert sent(replace(ir.Request("m", [named]), **hints)) == sent(ir.Request("m", [HELLO]))


# What a client of Anthropic's may say, and only Anthropic understands.
ONLY_HERE = [
    ({"max_tokens": 0}, "max_tokens: 0"),
    ({"unheard_of": 1}, "unheard_of"),
    ({"speed": "fast"}, "speed"),
    ({"service_tier": "priority"}, "service_tier"),
    ({"inference_geo": "us"}, "inference_geo"),
    ({"thinking": {"type": "between_tools"}}, "thinking.type"),
    ({"output_config": {"format": {"type": "grammar"}}}, "output_config.format.type"),
    ({"tool_choice": {"type": "new"}}, "tool_choice.type"),
    ({"tools": [{"type": "bash_20250124", "name": "bash"}]}, "tools[0].type"),
    ({"tools": [{"name": "f", "input_schema": {}, "allowed_callers": ["x"]}]}, "tools[0].allowed_callers"),
    ({"messages": [{"role": "judge", "content": "x"}]}, "messages[0].role"),
    ({"messages": [{"role": "user", "content": [{"type": "search_result"}]}]}, "messages[0].content[0].type"),
    ({"messages": [{"role": "user", "content": [{"type": "thinking"}]}]}, "messages[0].content[0].type"),
    (
        {"messages": [{"role": "user", "content": [{"type": "document", "source": {"type": "content"}}]}]},
        "messages[0].content[0].source.type",
    ),
    (
        {"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": [{}]}]}]},
        "messages[0].content[0].content[0].type",
    ),
]


@pytest.mark.parametrize(("fields", "field"), ONLY_HERE)
def test_what_others_cannot_express_is_refused_in_the_clients_words(fields, field):
    with pytest.raises(RelayError) as refused:
        read(**fields)
    assert (refused.value.status, refused.value.code, refused.value.param) == (400, "unsupported_field", field)


def test_what_claude_code_sends_is_understood():
    request = read(
        system=[{"type": "text", "text": "You are Claude Code.", "cache_control": {"type": "ephemeral"}}],
        tools=[
            {"name": "Bash", "description": "Runs.", "input_schema": {"type": "object"}, "eager_input_streaming": True}
        ],
        context_management={"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        diagnostics={"previous_message_id": None},
        service_tier="auto",
        metadata={"user_id": "u"},
        thinking={"type": "adaptive"},
        output_config={"effort": "high"},
        stream=True,
    )
    assert (request.thinking, request.user, request.stream) == (ir.Thinking("high"), "u", True)
    assert request.tools == [ir.Tool("Bash", "Runs.", {"type": "object"})]


def test_the_older_name_of_an_output_format():
    shape = {"type": "json_schema", "schema": {"type": "object"}}
    assert read(output_format=shape).output == ir.OutputFormat({"type": "object"})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(sorted(set(GOLDEN) - {"model", "messages"}))
KINDS = st.sampled_from(["text", "image", "document", "thinking", "redacted_thinking", "tool_use", "tool_result"])
BLOCKS = st.dictionaries(
    st.sampled_from(
        ["text", "source", "thinking", "signature", "data", "id", "name", "input", "tool_use_id", "content"]
    ),
    JSON | st.text(),
)


@unhurried
@given(
    st.dictionaries(FIELDS, JSON, max_size=4),
    st.sampled_from(["user", "assistant", "system"]) | JSON,
    JSON | st.lists(st.builds(lambda kind, block: {**block, "type": kind}, KINDS, BLOCKS), max_size=3),
)
def test_any_json_is_understood_or_refused_with_a_400(fields, role, content):
    body = {"max_tokens": 5, **fields, "model": "m", "messages": [{"role": role, "content": content}]}
    refused = refusal_of(lambda: there_and_back(json.dumps(body).encode()))
    assert refused is None or refused[0] == 400


@pytest.mark.parametrize("depth", [300, 900, 990, 5_000])
def test_deep_nesting_is_understood_or_refused(depth):
    deep = b'{"a":' * depth + b"1" + b"}" * depth
    call = b'{"role":"assistant","content":[{"type":"tool_use","id":"a","name":"f","input":' + deep + b"}]}"
    refused = refusal_of(lambda: there_and_back(b'{"model":"m","max_tokens":1,"messages":[' + call + b"]}"))
    assert refused is None or refused[0] == 400
    turn = ir.Message("assistant", [ir.ToolCall("c", "f", deep.decode())])
    refused = refusal_of(lambda: CONVERSATION.from_ir(ir.Request("m", [turn]), Target("m")))
    assert refused is None or refused[0] == 400


# Answers

CLIENT = parse(json.dumps({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}).encode())


def answered(answer):
    return CONVERSATION.answer_from_ir(answer, CLIENT, SEED, "0")


def of_the_dialect(answer):
    """The same answer, under the id that this request gives it, and at no time."""
    return replace(answer, id=f"msg_{SEED}", created=0)


@unhurried
@given(answers(MESSAGES))
def test_an_answer_comes_back_as_it_went(answer):
    assert CONVERSATION.answer_to_ir(answered(answer)) == of_the_dialect(answer)


ANSWER = ir.Answer(
    "chatcmpl-1",
    "gpt-6",
    1_700_000_000,
    [
        ir.Choice(
            [
                ir.Reasoning("Hm.", "chat"),
                ir.Text("Let me look."),
                ir.ToolCall("call.1", "look", '{"deep": 1}'),
                ir.ToolCall("call_2", "look", ""),
            ],
            "tool_calls",
        )
    ],
    {"input": 10, "cache_read": 5, "output": 7, "reasoning": 2},
)
USAGE = {
    "input_tokens": 10,
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": 5,
    "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
    "output_tokens": 7,
    "output_tokens_details": {"thinking_tokens": 2},
}


def test_a_whole_answer_is_written_like_this():
    assert json.loads(answered(ANSWER)) == {
        "id": f"msg_{SEED}",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [
            {"type": "thinking", "thinking": "Hm.", "signature": ir.seal(ir.Reasoning(origin="chat"))},
            {"type": "text", "text": "Let me look."},
            {"type": "tool_use", "id": tool_id("call.1"), "name": "look", "input": {"deep": 1}},
            {"type": "tool_use", "id": "call_2", "name": "look", "input": {}},
        ],
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "usage": USAGE,
    }


STOPS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "stop_sequence": "stop_sequence",
    "tool_calls": "tool_use",
    "pause": "pause_turn",
    "refusal": "refusal",
    "content_filter": "refusal",
    "context_window": "model_context_window_exceeded",
}


@pytest.mark.parametrize("stop", STOPS)
def test_why_an_answer_stopped(stop):
    written = answered(replace(ANSWER, choices=[ir.Choice([], stop)]))
    assert json.loads(written)["stop_reason"] == STOPS[stop]
    back = CONVERSATION.answer_to_ir(written).choices[0].stop
    assert back == ("refusal" if stop == "content_filter" else stop)


def test_a_refusal_is_text_that_stops_by_refusal():
    written = json.loads(answered(replace(ANSWER, choices=[ir.Choice([ir.Refusal("No.")])])))
    assert (written["content"], written["stop_reason"]) == ([{"type": "text", "text": "No."}], "refusal")


@pytest.mark.parametrize("arguments", ["[1]", "{oops", "5"])
def test_arguments_that_are_no_object_are_shown_under_a_name(arguments):
    written = answered(replace(ANSWER, choices=[ir.Choice([ir.ToolCall("c", "f", arguments)])]))
    assert json.loads(written)["content"][0]["input"] == {"arguments": arguments}


def test_blocks_of_tools_that_the_upstream_ran_are_left_out():
    content = [{"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}, {"type": "text", "text": "a"}]
    read = CONVERSATION.answer_to_ir(json.dumps({"content": [*content, None, {"type": "new"}]}).encode())
    assert read.choices == [ir.Choice([ir.Text("a")])]
    assert read.units is None


FOREIGN = dataclasses.replace(MESSAGES, made=EVERYTHING.made - {"anthropic"}, reasoning_ids=True)


@unhurried
@given(answers(FOREIGN))
def test_what_its_maker_alone_can_read_comes_back_through_a_client(answer):
    content = json.loads(answered(answer))["content"]
    request = read(messages=[{"role": "assistant", "content": content}])
    assert request.messages[0].parts == answer.choices[0].parts


@pytest.mark.parametrize(
    "part", [ir.Reasoning("", "gemini", "c2ln"), ir.Reasoning("", "responses", None, "ZQ==", "rs_1")]
)
def test_a_signature_without_a_thought_is_kept_for_its_maker(part):
    content = json.loads(answered(replace(ANSWER, choices=[ir.Choice([part, ir.Text("a")])])))["content"]
    assert content[0] == {"type": "redacted_thinking", "data": ir.seal(part)}
    assert read(messages=[{"role": "assistant", "content": content}]).messages[0].parts == [part, ir.Text("a")]
    assert streamed(events_of(replace(ANSWER, choices=[ir.Choice([part, ir.Text("a")])]))).count(b"redacted") == 1


NOT_ANSWERS = [
    b"",
    b"{}",
    b'{"content":5}',
    b'{"content":[],"error":{}}',
    b'{"content":[],"id":1e400}',
    b'{"content":[{]}',
]


@pytest.mark.parametrize("body", NOT_ANSWERS)
def test_what_is_no_answer(body):
    assert CONVERSATION.answer_to_ir(body) is None


@unhurried
@given(st.dictionaries(st.sampled_from(["content", "id", "usage", "stop_reason"]), JSON | st.lists(BLOCKS)))
def test_no_body_makes_the_conversion_fail(body):
    answer = CONVERSATION.answer_to_ir(json.dumps(body).encode())
    assert (answer is None) == (not isinstance(body.get("content"), list))


# Streams


def streamed(events, units=None):
    encoder = CONVERSATION.encoder(CLIENT, SEED)
    written = [encoder.encode(event) for event in events]
    return b"".join([*written, *encoder.last(units or {}, "0")])


def decoded(wire, cuts=()):
    """The events that a byte stream means, and the decoder that read it."""
    splitter, decoder, events, begin = Splitter(), CONVERSATION.decoder(), [], 0
    for stop in [*sorted(cuts), len(wire)]:
        for raw in splitter.feed(wire[begin:stop]):
            events += decoder.decode(raw)
        begin = stop
    return events, decoder


@unhurried
@given(answers(MESSAGES), st.integers(1, 5))
def test_a_stream_comes_back_as_it_went(answer, size):
    events, decoder = decoded(streamed(events_of(answer, size), answer.units))
    assert answer_of(events, decoder.units) == of_the_dialect(answer)
    assert (decoder.started, decoder.finished, decoder.done, decoder.failed) == (True, True, True, False)


@unhurried
@given(answers(MESSAGES), st.data())
def test_any_split_of_a_stream_means_the_same(answer, data):
    wire = streamed(events_of(answer), answer.units)
    cuts = data.draw(st.lists(st.integers(0, len(wire)), max_size=9))
    assert decoded(wire, cuts)[0] == decoded(wire)[0]


def sse(kind, **fields):
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def test_a_whole_stream_is_written_like_this():
    start = json.loads(answered(replace(ANSWER, choices=[], units={})))
    start |= {"stop_reason": None, "usage": {"input_tokens": 0, "output_tokens": 0}}
    thinking = {"type": "thinking", "thinking": "", "signature": ""}
    sealed = {"type": "signature_delta", "signature": ir.seal(ir.Reasoning(origin="chat"))}
    call = {"type": "tool_use", "id": tool_id("call.1"), "name": "look", "input": {}}
    expected = [
        sse("message_start", message=start),
        sse("content_block_start", index=0, content_block=thinking),
        sse("content_block_delta", index=0, delta={"type": "thinking_delta", "thinking": "Hm."}),
        sse("content_block_delta", index=0, delta=sealed),
        sse("content_block_stop", index=0),
        sse("content_block_start", index=1, content_block={"type": "text", "text": ""}),
        sse("content_block_delta", index=1, delta={"type": "text_delta", "text": "Let me look."}),
        sse("content_block_stop", index=1),
        sse("content_block_start", index=2, content_block=call),
        sse("content_block_delta", index=2, delta={"type": "input_json_delta", "partial_json": '{"deep": 1}'}),
        sse("content_block_stop", index=2),
        sse("content_block_start", index=3, content_block={**call, "id": "call_2"}),
        sse("content_block_stop", index=3),
        sse("message_delta", delta={"stop_reason": "tool_use", "stop_sequence": None}, usage=USAGE),
        sse("message_stop"),
    ]
    encoder = CONVERSATION.encoder(CLIENT, SEED)
    written = b"".join(encoder.encode(event) for event in events_of(ANSWER, 99))
    now, held = encoder.last(ANSWER.units, "0")
    found = Splitter().feed(written + now + held)
    assert [(raw.split(b"\n")[0], json.loads(raw.split(b"data: ")[1])) for raw in found] == [
        (raw.split(b"\n")[0], json.loads(raw.split(b"data: ")[1])) for raw in expected
    ]
    assert held == b'event: message_stop\ndata: {"type":"message_stop"}\n\n'


def sdk_message(wire):
    """What the official SDK makes of a stream."""
    transport = httpx2.MockTransport(
        lambda _: httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=wire)
    )
    with httpx2.Client(transport=transport) as http:
        client = anthropic.Anthropic(api_key="k", base_url="http://relay", http_client=http, max_retries=0)
        with client.messages.stream(model="m", max_tokens=9, messages=[{"role": "user", "content": "x"}]) as stream:
            return stream.get_final_message()


def test_the_official_sdk_reads_a_stream_as_the_answer_that_is_not_streamed():
    message = sdk_message(streamed(events_of(ANSWER), ANSWER.units))
    whole = json.loads(answered(ANSWER))
    content = [block.model_dump(exclude_none=True) for block in message.content]
    assert content == whole["content"]
    assert (message.id, message.model, message.stop_reason) == (whole["id"], "m", "tool_use")
    usage = message.usage
    assert (usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens) == (10, 5, 7)
    assert usage.output_tokens_details.thinking_tokens == 2


@unhurried
@given(answers(FOREIGN))
def test_the_official_sdk_reads_any_stream(answer):
    message = sdk_message(streamed(events_of(answer, 2), answer.units))
    whole = json.loads(answered(answer))
    assert [block.model_dump(exclude_none=True) for block in message.content] == whole["content"]
    assert (message.stop_reason, message.stop_sequence) == (whole["stop_reason"], whole["stop_sequence"])


def test_a_refusal_in_a_stream():
    wire = streamed(events_of(replace(ANSWER, choices=[ir.Choice([ir.Refusal("No.")])])))
    message = sdk_message(wire)
    assert (message.content[0].text, message.stop_reason) == ("No.", "refusal")


def test_of_several_answers_the_first_is_shown():
    wire = streamed(events_of(replace(ANSWER, choices=[ir.Choice([ir.Text("a")]), ir.Choice([ir.Text("b")])])))
    assert [block.text for block in sdk_message(wire).content] == ["a"]


def test_a_stream_of_nothing_is_still_a_message():
    message = sdk_message(streamed([], {"input": 3}))
    assert (message.content, message.stop_reason, message.usage.input_tokens) == ([], "end_turn", 3)


RECORDED = [
    sse("message_start", message={"id": "msg_01", "model": "claude", "usage": {"input_tokens": 9, "output_tokens": 1}}),
    sse("ping"),
    sse("content_block_start", index=0, content_block={"type": "thinking", "thinking": "", "signature": ""}),
    sse("content_block_delta", index=0, delta={"type": "thinking_delta", "thinking": "Hm."}),
    sse("content_block_delta", index=0, delta={"type": "signature_delta", "signature": "c2ln"}),
    sse("content_block_stop", index=0),
    sse("content_block_start", index=1, content_block={"type": "redacted_thinking", "data": "ZGF0YQ=="}),
    sse("content_block_stop", index=1),
    sse("content_block_start", index=2, content_block={"type": "server_tool_use", "id": "s", "name": "x", "input": {}}),
    sse("content_block_delta", index=2, delta={"type": "input_json_delta", "partial_json": "{}"}),
    sse("content_block_stop", index=2),
    sse("content_block_start", index=3, content_block={"type": "tool_use", "id": "t", "name": "f", "input": {}}),
    sse("content_block_delta", index=3, delta={"type": "input_json_delta", "partial_json": ""}),
    sse("content_block_stop", index=3),
    sse("content_block_start", index=4, content_block={"type": "tool_use", "id": "u", "name": "g", "input": {"a": 1}}),
    sse("content_block_stop", index=4),
    sse("message_delta", delta={"stop_reason": "tool_use", "stop_sequence": None}, usage={"output_tokens": 30}),
    sse("message_stop"),
]


def test_a_recorded_stream_means_this():
    events, decoder = decoded(b"".join(RECORDED))
    assert events == [
        ir.Start("msg_01", "claude", 0),
        ir.PartStart(0, ir.Reasoning(origin="anthropic")),
        ir.Delta(0, "Hm."),
        ir.Sealed(0, "c2ln"),
        ir.PartEnd(0),
        ir.PartStart(1, ir.Reasoning(origin="anthropic")),
        ir.Sealed(1, redacted="ZGF0YQ=="),
        ir.PartEnd(1),
        ir.PartStart(2, ir.ToolCall("t", "f")),
        ir.Delta(2, "{}"),
        ir.PartEnd(2),
        ir.PartStart(3, ir.ToolCall("u", "g")),
        ir.Delta(3, '{"a":1}'),
        ir.PartEnd(3),
        ir.Stop("tool_calls"),
    ]
    assert decoder.units == {"input": 9, "output": 30}


def test_a_stream_that_fails_says_so():
    decoder = CONVERSATION.decoder()
    assert decoder.decode(RECORDED[0]) == [ir.Start("msg_01", "claude", 0)]
    assert decoder.decode(sse("error", error={"type": "overloaded_error", "message": "sk-secret"})) == []
    assert (decoder.failed, decoder.finished) == (True, False)


FRAGMENTS = st.dictionaries(
    st.sampled_from(["type", "index", "message", "content_block", "delta", "usage"]),
    JSON
    | BLOCKS
    | st.builds(lambda kind: {"type": kind, "text": "a", "name": 5, "input": [1]}, KINDS)
    | st.sampled_from(
        ["message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta"]
    ),
    max_size=5,
)


ANY_EVENT = st.sampled_from(RECORDED) | FRAGMENTS.map(lambda value: b"data: " + json.dumps(value).encode() + b"\n\n")


@unhurried
@given(st.lists(ANY_EVENT))
def test_any_stream_means_parts_one_after_the_other(wire):
    decoder = CONVERSATION.decoder()
    events = [event for raw in wire for event in decoder.decode(raw)]
    open_part = None
    assert sum(isinstance(event, ir.Start) for event in events) <= 1
    for event in events:
        if isinstance(event, ir.PartStart):
            assert open_part is None
            open_part = event.index
        elif isinstance(event, ir.Delta | ir.Sealed | ir.PartEnd):
            assert event.index == open_part
            open_part = None if isinstance(event, ir.PartEnd) else open_part
        elif isinstance(event, ir.Stop):
            assert open_part is None and event is events[-1]
    assert isinstance(msgspec.json.encode(events), bytes)
