"""OpenAI Responses meets other dialects: requests, answers and streams, to and from the neutral conversation."""

from __future__ import annotations

import json
from dataclasses import replace

import httpx
import msgspec
import openai
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from relay.errors import RelayError
from relay.protocols import ir
from relay.protocols.base import Target
from relay.protocols.responses.decode import StreamDecoder
from relay.protocols.responses.dialect import answer_from_ir, answer_to_ir, from_ir, to_ir
from relay.protocols.responses.encode import StreamEncoder
from relay.protocols.responses.request import parse, with_history
from relay.protocols.responses.turns import turn_items
from tests.doubles.conversations import EVERYTHING, answer_of, answers, events_of, requests, streams

SEED = "0123456789abcdef" * 2
TARGET = Target("m")
RESPONSES = replace(
    EVERYTHING,
    details=frozenset({"low", "high"}),
    names=False,
    results=frozenset({"image", "image_url", "file", "many"}),
    budgets=False,
    cache=frozenset(),
    sampling=EVERYTHING.sampling
    - {"choices", "top_k", "seed", "stop", "presence_penalty", "frequency_penalty", "logit_bias"},
    reasoning=frozenset({"responses"}),
    signatures=False,
    stops=frozenset({"stop", "length", "content_filter"}),
    sequences=False,
    choices=False,
    units=frozenset({"input", "cache_read", "cache_write_5m", "output", "reasoning"}),
)


def ask(**fields):
    return parse(json.dumps({"model": "m", "input": "hello", **fields}).encode())


def known(request):
    """What a request says that the dialect says otherwise: strict or not, shown or not."""
    for tool in request.tools:
        tool.strict = None if tool.custom else bool(tool.strict)
    if request.thinking is not None:
        request.thinking.show = request.thinking.show or None
    return request


@given(requests(RESPONSES))
def test_a_request_comes_back_as_it_went(request):
    body = from_ir(request, TARGET)
    assert to_ir(parse(body)) == known(request)


def _answer(body):
    """An answer without what the encoder chose itself."""
    answer = answer_to_ir(body)
    for part in answer.choices[0].parts:
        if isinstance(part, ir.Reasoning) and (part.id or "").startswith("rs_" + SEED):
            part.id = None
    return msgspec.structs.replace(answer, id="answer-1")


@given(answers(replace(RESPONSES, signatures=True, made=frozenset({"chat", "anthropic", "gemini"}))))
def test_an_answer_comes_back_as_it_went(answer):
    body = answer_from_ir(answer, ask(include=["message.output_text.logprobs"]), SEED, "0.1")
    assert _answer(body) == answer


@given(answers(replace(RESPONSES, made=frozenset({"responses"}))))
def test_its_own_reasoning_comes_back_as_it_went(answer):
    assert _answer(answer_from_ir(answer, ask(), SEED, "0.1")) == answer


def sse(encoder, events, units, cost="0.1"):
    return b"".join([*map(encoder.encode, events), *encoder.last(units, cost)])


def split(data):
    return [part + b"\n\n" for part in data.split(b"\n\n") if part]


def decoded(data):
    decoder = StreamDecoder()
    events = [heard for event in split(data) for heard in decoder.decode(event)]
    assert decoder.finished and decoder.done and decoder.started and not decoder.failed
    return answer_of(events, decoder.units)


@given(answers(replace(RESPONSES, signatures=True)), st.integers(1, 5), st.booleans())
def test_a_stream_comes_back_as_it_went_and_ends_with_the_whole(answer, size, logprobs):
    request = ask(include=["message.output_text.logprobs"] if logprobs else [])
    data = sse(StreamEncoder(request, SEED), events_of(answer, size), answer.units)
    back = decoded(data)
    for part, told in zip(answer.choices[0].parts, back.choices[0].parts, strict=True):
        if isinstance(part, ir.Reasoning) and part.origin == "responses":
            # One without an id gets one of ours; this dialect knows no signatures of its own.
            told.id, told.signature = part.id, part.signature
    assert back.choices == answer.choices
    assert back.units == answer.units
    terminal = json.loads(split(data)[-1].partition(b"\ndata: ")[2])
    assert terminal["response"] == json.loads(answer_from_ir(answer, request, SEED, "0.1"))


class Replay(httpx.BaseTransport):
    def __init__(self, data, kind="text/event-stream"):
        self.data, self.kind = data, kind

    def handle_request(self, request):
        return httpx.Response(200, headers={"content-type": self.kind}, content=self.data)


def client(data, kind="text/event-stream"):
    return openai.OpenAI(
        api_key="sk-x", base_url="http://relay.test/v1", http_client=httpx.Client(transport=Replay(data, kind))
    )


@settings(deadline=None)  # the first use of the official types builds them
@given(answers(replace(RESPONSES, signatures=True)), st.integers(1, 5))
def test_the_official_accumulator_takes_every_stream(answer, size):
    answer.choices[0].stop = "tool_calls" if answer.choices[0].stop == "tool_calls" else "stop"
    ids = [part.id for part in answer.choices[0].parts if isinstance(part, ir.Reasoning) and part.id]
    assume(len(set(ids)) == len(ids))  # OpenAI never gives two items one id
    data = sse(StreamEncoder(ask(), SEED), events_of(answer, size), answer.units)
    with client(data).responses.stream(model="m", input="hello") as stream:
        events = list(stream)
        final = stream.get_final_response()
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert final.id == "resp_" + SEED
    parts = answer.choices[0].parts
    assert final.output_text == "".join(part.text for part in parts if isinstance(part, ir.Text))
    calls = [item for item in final.output if item.type in ("function_call", "custom_tool_call")]
    assert [item.call_id for item in calls] == [part.id for part in parts if isinstance(part, ir.ToolCall)]


@settings(deadline=None)  # the first use of the official types builds them
@given(answers(replace(RESPONSES, signatures=True)), st.integers(1, 5))
def test_every_event_is_of_the_official_types(answer, size):
    data = sse(StreamEncoder(ask(), SEED), events_of(answer, size), answer.units)
    adapter = TypeAdapter(ResponseStreamEvent)
    for event in split(data):
        head, _, body = event.partition(b"\ndata: ")
        value = json.loads(body)
        assert head == b"event: " + value["type"].encode()
        adapter.validate_python(value)
    Response.model_validate(json.loads(answer_from_ir(answer, ask(), SEED, "0.1")))


@given(streams(RESPONSES))
def test_what_the_encoder_made_may_be_stored_and_continued(events):
    request = ask(input=[{"role": "user", "content": "hello"}])
    request.options.seed = SEED
    encoder = StreamEncoder(request, SEED)
    sse(encoder, events, {"input": 1})
    stored = turn_items(request, encoder.output)
    following = with_history(ask(input="more", previous_response_id="resp_" + SEED), stored)
    back = to_ir(following)
    assert back.messages[0] == ir.Message("user", [ir.Text("hello")])
    assert back.messages[-1] == ir.Message("user", [ir.Text("more")])
    answer = answer_of(events)
    said = [part for part in answer.choices[0].parts if not isinstance(part, ir.Reasoning)]
    assert [part for part in back.messages[1].parts if not isinstance(part, ir.Reasoning)] == said


FUNCTION = {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": True}


def test_a_request_as_codex_sends_it():
    spawn = {"type": "function", "name": "spawn", "description": "d", "strict": False, "parameters": {}}
    request = ask(
        instructions="be brief",
        input=[
            {"type": "message", "id": "m1", "role": "developer", "content": [{"type": "input_text", "text": "rules"}]},
            {"role": "user", "content": "hi"},
            {"type": "reasoning", "id": "rs_1", "summary": [], "content": None, "encrypted_content": "gAAA"},
            {
                "type": "message",
                "role": "assistant",
                "phase": "commentary",
                "content": [{"type": "output_text", "text": "Hm", "annotations": [], "logprobs": []}],
            },
            {"type": "function_call", "name": "spawn", "namespace": "agents", "arguments": "{}", "call_id": "c1"},
            {"type": "custom_tool_call", "name": "patch", "input": "*** Begin", "call_id": "c2", "status": "completed"},
            {"type": "function_call_output", "id": "o1", "call_id": "c1", "output": "done"},
            {
                "type": "custom_tool_call_output",
                "call_id": "c2",
                "output": [
                    {"type": "input_text", "text": "see"},
                    {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "original"},
                ],
            },
        ],
        tools=[
            {"type": "namespace", "name": "agents", "description": "d", "tools": [spawn]},
            {"type": "custom", "name": "patch", "format": {"type": "text"}},
        ],
        tool_choice="auto",
        parallel_tool_calls=True,
        reasoning={"effort": "medium", "summary": "auto"},
        store=False,
        stream=True,
        include=["reasoning.encrypted_content"],
        prompt_cache_key="session",
        text={"verbosity": "low"},
        client_metadata={"x-codex-window-id": "w"},
        service_tier=None,
        max_tool_calls=5,
    )
    assert to_ir(request) == ir.Request(
        "m",
        [
            ir.Message("system", [ir.Text("be brief"), ir.Text("rules")]),
            ir.Message("user", [ir.Text("hi")]),
            ir.Message(
                "assistant",
                [
                    ir.Reasoning("", "responses", redacted="gAAA", id="rs_1"),
                    ir.Text("Hm"),
                    ir.ToolCall("c1", "agents__spawn", "{}"),
                    ir.ToolCall("c2", "patch", "*** Begin", custom=True),
                ],
            ),
            ir.Message(
                "user",
                [
                    ir.ToolResult("c1", [ir.Text("done")], "agents__spawn"),
                    ir.ToolResult(
                        "c2",
                        [ir.Text("see"), ir.Image(data="AAAA", media_type="image/png", detail="high")],
                        "patch",
                        custom=True,
                    ),
                ],
            ),
        ],
        stream=True,
        tools=[
            ir.Tool("agents__spawn", "d", {}, False),
            ir.Tool("patch", custom=True, format={"type": "text"}),
        ],
        tool_choice=ir.ToolChoice("auto"),
        parallel=True,
        thinking=ir.Thinking("medium", show=True),
        verbosity="low",
        cache_key="session",
    )


def test_a_call_goes_back_into_its_namespace():
    tools = [{"type": "namespace", "name": "agents", "tools": [FUNCTION]}, {**FUNCTION, "name": "g"}]
    answer = ir.Answer("a", "m", 1, [ir.Choice([ir.ToolCall("c", "agents__f"), ir.ToolCall("d", "g")], "tool_calls")])
    output = json.loads(answer_from_ir(answer, ask(tools=tools), SEED, "0"))["output"]
    assert [(call.get("namespace"), call["name"]) for call in output] == [("agents", "f"), (None, "g")]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"unheard_of": 1}, "unheard_of"),
        ({"truncation": "auto"}, "truncation"),
        ({"context_management": [{"type": "compaction"}]}, "context_management"),
        ({"moderation": {"model": "m"}}, "moderation"),
        ({"service_tier": "flex"}, "service_tier"),
        ({"include": ["something.new"]}, "include"),
        ({"reasoning": {"mode": "pro"}}, "reasoning.mode"),
        ({"text": {"format": {"type": "grammar"}}}, "text.format"),
        ({"tools": [FUNCTION, {"type": "local_shell"}]}, "tools[1].type"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [{**FUNCTION, "defer_loading": True}]}, "tools[0].defer_loading"),
        ({"tools": [{**FUNCTION, "allowed_callers": ["programmatic"]}]}, "tools[0].allowed_callers"),
        ({"tool_choice": {"type": "web_search"}}, "tool_choice"),
        ({"tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "mcp"}]}}, "tool_choice"),
        ({"input": [{"type": "local_shell_call", "call_id": "c", "action": {}}]}, "input[0].type"),
        ({"input": [{"type": "shell_call_output", "call_id": "c", "output": [{"stdout": "x"}]}]}, "input[0].type"),
        ({"input": [{"type": "compaction", "encrypted_content": "x"}]}, "input[0].type"),
        ({"input": [{"role": "user", "content": [{"type": "video"}]}]}, "input[0].content[0].type"),
        (
            {"input": [{"role": "assistant", "content": [{"type": "input_image", "image_url": "https://x/y"}]}]},
            "input[0].content[0].type",
        ),
    ],
)
def test_what_no_other_dialect_has_is_refused_by_its_name(fields, field):
    with pytest.raises(RelayError) as refused:
        to_ir(ask(**fields))
    assert (refused.value.status, refused.value.code, refused.value.param) == (400, "unsupported_field", field)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"temperature": "hot"}, "temperature"),
        ({"top_logprobs": -1}, "top_logprobs"),
        ({"reasoning": {"effort": "huge"}}, "reasoning"),
        ({"tool_choice": "sometimes"}, "tool_choice"),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"tools": [FUNCTION, FUNCTION]}, "tools"),
        ({"metadata": {"a": 1}}, "metadata"),
        ({"input": [{"role": "robot", "content": "x"}]}, "input"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input"),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "data:x"}]}]}, "input"),
        ({"input": [{"type": "function_call", "name": "f"}]}, "input"),
        ({"input": [{"type": "function_call", "name": "f", "call_id": "c", "arguments": {}}]}, "input"),
        ({"input": [{"type": "function_call_output", "output": "x"}]}, "input"),
        ({"input": [{"type": "function_call_output", "call_id": "c", "output": {}}]}, "input"),
    ],
)
def test_what_is_not_valid_is_refused_by_its_name(fields, field):
    with pytest.raises(RelayError) as refused:
        to_ir(ask(**fields))
    assert (refused.value.status, refused.value.code, refused.value.param) == (400, "invalid_request", field)


def test_allowed_tools():
    tools = [FUNCTION, {**FUNCTION, "name": "g"}, {"type": "custom", "name": "h"}]
    named = [{"type": "function", "name": "f"}, {"type": "custom", "name": "h"}]
    allowed = to_ir(ask(tools=tools, tool_choice={"type": "allowed_tools", "mode": "auto", "tools": named}))
    assert (allowed.tool_choice, [tool.name for tool in allowed.tools]) == (ir.ToolChoice("auto"), ["f", "h"])
    required = to_ir(ask(tools=tools, tool_choice={"type": "allowed_tools", "mode": "required", "tools": named}))
    assert required.tool_choice == ir.ToolChoice("named", ["f", "h"])


def text(**fields):
    return ir.Request("m", [ir.Message("user", [ir.Text("hi")])], **fields)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"stop": ["x"]}, "stop"),
        ({"choices": 2}, "n"),
        ({"top_k": 1}, "top_k"),
        ({"presence_penalty": 0.5}, "presence_penalty"),
        ({"frequency_penalty": 0.5}, "frequency_penalty"),
        ({"logit_bias": {"1": 1.0}}, "logit_bias"),
    ],
)
def test_what_this_dialect_has_not_is_refused(fields, field):
    with pytest.raises(RelayError) as refused:
        from_ir(text(**fields), TARGET)
    assert (refused.value.code, refused.value.param) == ("unsupported_field", field)


def test_hints_and_what_others_thought_are_left_out():
    request = text(seed=1)
    request.messages.insert(0, ir.Message("assistant", [ir.Reasoning("hm", "anthropic", signature="s")]))
    assert json.loads(from_ir(request, TARGET)) == {
        "model": "m",
        "store": False,
        "input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}],
    }


@pytest.mark.parametrize(
    ("thinking", "reasoning"),
    [
        (ir.Thinking(budget=4_000), {"effort": "low"}),
        (ir.Thinking(budget=10_000, show=True), {"effort": "medium", "summary": "auto"}),
        (ir.Thinking(budget=32_000, show=False), {"effort": "high"}),
        (ir.Thinking(effort="xhigh"), {"effort": "xhigh"}),
    ],
)
def test_a_budget_is_an_effort(thinking, reasoning):
    body = json.loads(from_ir(text(thinking=thinking, max_tokens=9), Target("up", cap=5)))
    assert body["reasoning"] == reasoning
    assert (body["model"], body["max_output_tokens"]) == ("up", 5)
    assert body["include"] == ["reasoning.encrypted_content"]


@pytest.mark.parametrize("model", ["gpt-4o", "gpt-4.1-mini", "chatgpt-4o-latest"])
def test_a_model_that_never_reasons_is_not_asked_how_much(model):
    body = json.loads(from_ir(text(thinking=ir.Thinking("high")), Target(model)))
    assert not {"reasoning", "include"} & body.keys()


@pytest.mark.parametrize("thinking", [ir.Thinking(budget=0), ir.Thinking("high", budget=0)])
def test_not_to_think_at_all_is_left_to_the_model(thinking):
    assert "reasoning" not in json.loads(from_ir(text(thinking=thinking), Target("up")))


def test_a_whole_response():
    answer = ir.Answer(
        "theirs", "up", 1_700_000_000, [ir.Choice([ir.Reasoning("hm", "anthropic", "sig"), ir.Text("Hi")], "length")]
    )
    answer.units = {"input": 3, "cache_read": 2, "output": 4, "reasoning": 1}
    request = ask(tools=[FUNCTION], instructions="brief", temperature=0.5, store=False, metadata={"a": "b"})
    assert json.loads(answer_from_ir(answer, request, SEED, "0.25")) == {
        "id": "resp_" + SEED,
        "object": "response",
        "created_at": 1_700_000_000,
        "status": "incomplete",
        "background": False,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"},
        "instructions": "brief",
        "max_output_tokens": None,
        "metadata": {"a": "b"},
        "model": "up",
        "output": [
            {
                "id": f"rs_{SEED}0",
                "type": "reasoning",
                "summary": [{"type": "summary_text", "text": "hm"}],
                "encrypted_content": ir.seal(ir.Reasoning("hm", "anthropic", "sig")),
            },
            {
                "id": f"msg_{SEED}1",
                "type": "message",
                "role": "assistant",
                "status": "incomplete",
                "content": [{"type": "output_text", "text": "Hi", "annotations": [], "logprobs": []}],
            },
        ],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "store": False,
        "temperature": 0.5,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [FUNCTION],
        "top_logprobs": 0,
        "top_p": None,
        "truncation": "disabled",
        "usage": {
            "input_tokens": 5,
            "input_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 0},
            "output_tokens": 4,
            "output_tokens_details": {"reasoning_tokens": 1},
            "total_tokens": 9,
            "cost": 0.25,
        },
        "user": None,
    }


def test_how_an_answer_ends():
    def ends(stop, *parts):
        body = json.loads(answer_from_ir(ir.Answer("a", "m", 1, [ir.Choice([*parts], stop)]), ask(), SEED, "0"))
        return body["status"], (body["incomplete_details"] or {}).get("reason")

    assert ends("stop") == ends("stop_sequence") == ends("tool_calls") == ends("pause") == ("completed", None)
    assert ends("length") == ends("context_window") == ("incomplete", "max_output_tokens")
    assert ends("content_filter") == ends("refusal") == ("incomplete", "content_filter")
    assert ends("refusal", ir.Refusal("no")) == ("completed", None)


def event(kind, **fields):
    return b"data: " + json.dumps({"type": kind, **fields}).encode() + b"\n\n"


def heard(*events):
    decoder = StreamDecoder()
    return decoder, [found for one in events for found in decoder.decode(one)]


SAID = {"type": "message", "id": "m", "role": "assistant", "content": [{"type": "output_text", "text": "Hi"}]}
CALLED = {"type": "function_call", "call_id": "c", "name": "f", "arguments": '{"a":1}'}
THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": [{"text": "hm"}, {"text": "so"}], "encrypted_content": "gAAA"}
USAGE = {"input_tokens": 3, "output_tokens": 2}
END = event("response.completed", response={"usage": USAGE})
PARTS = [
    ir.Reasoning("hm\n\nso", "responses", redacted="gAAA", id="rs_1"),
    ir.Text("Hi"),
    ir.ToolCall("c", "f", '{"a":1}'),
]


def test_items_that_came_whole_are_heard():
    items = [THOUGHT, SAID, CALLED]
    done = [event("response.output_item.done", output_index=at, item=item) for at, item in enumerate(items)]
    for events in ([*done, END], [event("response.completed", response={"output": items, "usage": USAGE})]):
        decoder, found = heard(*events)
        answer = answer_of(found, decoder.units)
        assert answer.choices == [ir.Choice(PARTS, "tool_calls")]
        assert (answer.units, decoder.texts) == ({"input": 3, "output": 2}, ["hm\n\nso", "Hi", "f", '{"a":1}'])
    body = {"id": "r", "model": "up", "created_at": 5, "status": "completed", "output": items, "usage": USAGE}
    assert answer_to_ir(json.dumps(body).encode()) == ir.Answer(
        "r", "up", 5, [ir.Choice(PARTS, "tool_calls")], {"input": 3, "output": 2}
    )


def test_items_that_grow_side_by_side_come_one_after_the_other():
    other = {**CALLED, "call_id": "d"}
    begun = [
        event("response.output_item.added", output_index=at, item={**item, "arguments": ""})
        for at, item in enumerate([CALLED, other])
    ]
    grown = [
        event("response.function_call_arguments.delta", output_index=at, delta=delta)
        for at, delta in ((1, '{"b"'), (0, '{"a"'), (1, ":2}"), (0, ":1}"))
    ]
    done = [event("response.output_item.done", output_index=at, item=[CALLED, other][at]) for at in (1, 0)]
    _, found = heard(*begun, *grown, *done, END)
    assert answer_of(found).choices == [
        ir.Choice([ir.ToolCall("c", "f", '{"a":1}'), ir.ToolCall("d", "f", '{"b":2}')], "tool_calls")
    ]


def test_summaries_are_paragraphs_of_one_thought():
    deltas = [
        event("response.reasoning_summary_text.delta", output_index=0, summary_index=at, delta=text)
        for at, text in ((0, "h"), (0, "m"), (1, "so"))
    ]
    _, found = heard(*deltas, event("response.output_item.done", output_index=0, item=THOUGHT), END)
    assert answer_of(found).choices[0].parts == [ir.Reasoning("hm\n\nso", "responses", redacted="gAAA")]


def test_an_incomplete_stream_says_why():
    for reason, stop in (("max_output_tokens", "length"), ("content_filter", "content_filter"), (5, "length")):
        _, found = heard(event("response.incomplete", response={"incomplete_details": {"reason": reason}}))
        assert found[-1] == ir.Stop(stop)


@pytest.mark.parametrize(
    "failure",
    [event("response.failed", response={}), event("error", message="x"), b'data: {"error":{"message":"x"}}\n\n'],
)
def test_a_failure_ends_what_is_heard(failure):
    decoder, found = heard(event("response.created", response={"id": "r"}), failure, END)
    assert (decoder.failed, decoder.finished, decoder.done) == (True, False, False)
    assert found == [ir.Start("r", "", 0)]


def test_a_stream_that_fails_ends_in_its_own_words():
    encoder = StreamEncoder(ask(), SEED)
    encoder.encode(ir.Start("a", "m", 1))
    told = json.loads(encoder.error(RelayError("upstream_rate_limited", "Slow down.")).partition(b"data: ")[2])
    assert (told["type"], told["sequence_number"]) == ("response.failed", 2)
    assert told["response"]["error"] == {"code": "rate_limit_exceeded", "message": "Slow down."}
    assert (told["response"]["id"], told["response"]["status"]) == ("resp_" + SEED, "failed")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
ODD_ITEMS = st.fixed_dictionaries(
    {"type": st.sampled_from(["message", "function_call", "reasoning", "x"]) | JSON},
    optional=dict.fromkeys(["content", "name", "call_id", "arguments", "summary", "encrypted_content", "id"], JSON),
)
ODD_EVENTS = st.fixed_dictionaries(
    {
        "type": st.sampled_from(
            [
                *("response.created", "response.output_item.added", "response.output_item.done"),
                *("response.output_text.delta", "response.reasoning_text.delta", "response.content_part.done"),
                *("response.function_call_arguments.delta", "response.completed", "response.incomplete"),
            ]
        )
        | JSON
    },
    optional={
        "item": ODD_ITEMS | JSON,
        "output_index": st.integers(0, 2) | JSON,
        "delta": st.text(max_size=3) | JSON,
        "response": st.fixed_dictionaries({"output": st.lists(ODD_ITEMS, max_size=2), "usage": JSON}) | JSON,
        **dict.fromkeys(["content_index", "summary_index", "logprobs"], st.integers(0, 1) | JSON),
    },
)


@given(st.lists(ODD_EVENTS, max_size=6))
def test_any_events_make_a_well_formed_answer(events):
    decoder, found = heard(*(b"data: " + json.dumps(one).encode() + b"\n\n" for one in events), END)
    if decoder.done:
        answer = answer_of(found)
        data = sse(StreamEncoder(ask(), SEED), found, {"input": 1})
        assert decoded(data).choices[0].stop == answer.choices[0].stop


@given(st.lists(ODD_ITEMS | JSON, max_size=3), JSON, JSON)
def test_any_body_is_an_answer_or_none(output, usage, status):
    for body in ({"output": output, "usage": usage, "status": status}, {"output": output, "usage": USAGE}):
        answer = answer_to_ir(json.dumps(body).encode())
        assert answer is None or isinstance(answer.choices[0], ir.Choice)


@given(st.binary(max_size=60))
def test_any_bytes_are_heard(data):
    StreamDecoder().decode(b"data: " + data + b"\n\n")
    answer_to_ir(data)
