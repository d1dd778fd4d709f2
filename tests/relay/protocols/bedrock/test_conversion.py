"""Bedrock's Converse: bodies that botocore's own model takes, answers and binary streams, whole, cut and broken."""

from __future__ import annotations

import base64
import json
import re
import struct
from binascii import crc32
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from botocore.model import Shape
from botocore.parsers import RestJSONParser
from botocore.validate import ParamValidator
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from relay.errors import RelayError
from relay.protocols import DIALECTS, ir
from relay.protocols.base import Target
from relay.protocols.bedrock.from_ir import tool_id
from relay.protocols.eventstream import FAILURE
from relay.protocols.sse import MAX_EVENT_BYTES
from relay.protocols.usage import bedrock_units
from tests.cast.examples import examples
from tests.doubles.bedrock_frames import (
    SERVICE,
    START,
    as_botocore_reads,
    call,
    delta,
    end,
    event,
    exception,
    frame,
    framed,
    metadata,
    stop,
)
from tests.doubles.conversations import EVERYTHING, Can, answer_of, answers, events_of, requests

unhurried = settings(deadline=None, max_examples=examples(25), suppress_health_check=[HealthCheck.too_slow])
BEDROCK = DIALECTS["bedrock"]
CLAUDE = "eu.anthropic.claude-sonnet-4-5-20250929-v1:0"
NOVA = "amazon.nova-2-lite-v1:0"
OSS = "openai.gpt-oss-120b-1:0"
CONVERSE = Can(
    images=frozenset({"data"}),
    details=frozenset(),
    files=frozenset({"data"}),
    names=False,
    custom=False,
    named=frozenset({"one"}),
    results=frozenset({"image", "file", "error", "many"}),
    output=frozenset({"schema", "name", "description"}),
    sampling=frozenset(
        {
            *("max_tokens", "temperature", "top_p", "top_k", "stop"),
            *("user", "metadata", "seed", "verbosity", "cache_key"),  # hints
        }
    ),
    reasoning=frozenset({"anthropic"}),
    made=frozenset({"bedrock"}),
    reasoning_ids=False,
    refusals=False,
    stops=EVERYTHING.stops - {"refusal", "pause"},
    logprobs=False,
    choices=False,
    units=EVERYTHING.units - {"reasoning"},
)


def written(request: ir.Request, model: str = CLAUDE, **target: Any) -> dict[str, Any]:
    return json.loads(BEDROCK.conversation.from_ir(request, Target(model, **target)))


def asked(*messages: ir.Message, **fields: Any) -> ir.Request:
    return ir.Request("m", list(messages) or [user(ir.Text("hello"))], **fields)


def user(*parts: ir.Part) -> ir.Message:
    return ir.Message("user", list(parts))


def assistant(*parts: ir.Part) -> ir.Message:
    return ir.Message("assistant", list(parts))


def python(shape: Shape, value: Any) -> Any:
    """A value of a JSON body as botocore's callers give it: blobs are bytes."""
    if shape.type_name == "blob":
        return base64.b64decode(value, validate=True)
    if shape.type_name == "structure" and shape.members:
        return {name: python(shape.members[name], inner) for name, inner in value.items()}
    if shape.type_name == "list":
        return [python(shape.member, inner) for inner in value]
    return value


def check(shape: Shape, value: Any) -> None:
    """What botocore leaves to the server: enumerations, patterns and upper limits."""
    if shape.type_name == "structure":
        for name, inner in value.items() if shape.members else ():
            check(shape.members[name], inner)
        return
    if shape.type_name == "list":
        assert len(value) <= shape.metadata.get("max", 10**9)
        for inner in value:
            check(shape.member, inner)
        return
    if shape.type_name == "string":
        assert not shape.enum or value in shape.enum
        assert re.fullmatch(shape.metadata.get("pattern", "(?s).*"), value)
        assert len(value) <= shape.metadata.get("max", 10**9)
    elif shape.type_name in ("integer", "float"):
        assert value <= shape.metadata.get("max", value)


def accepted(body: dict[str, Any], model: str = CLAUDE, operation: str = "Converse") -> None:
    """Assert that botocore, and the model's own limits, take a body."""
    shape = SERVICE.operation_model(operation).input_shape
    params = python(shape, body)
    report = ParamValidator().validate({"modelId": model, **params}, shape)
    assert not report.has_errors(), report.generate_report()
    check(shape, params)
    roles = [message["role"] for message in body["messages"]]
    assert all(one != other for one, other in pairwise(roles))
    assert all(message["content"] for message in body["messages"])


def refusal_of(step: Callable[[], object]) -> tuple[int, str, bool] | None:
    """How a step is refused; None where it is not."""
    try:
        step()
    except RelayError as error:
        return error.status, error.code, bool(error.param)
    return None


# Requests


@unhurried
@given(requests(CONVERSE), st.sampled_from([CLAUDE, NOVA, OSS, "meta.llama4-scout-17b-instruct-v1:0"]))
def test_every_conversation_it_can_hold_is_one_that_botocore_takes(request, model):
    called = any(isinstance(part, ir.ToolCall) for message in request.messages for part in message.parts)
    assume(not (called and request.tool_choice and request.tool_choice.mode == "none"))
    assume(model == CLAUDE or not (request.thinking and request.thinking.budget))
    accepted(written(request, model), model, "ConverseStream" if request.stream else "Converse")


@unhurried
@given(requests(), st.sampled_from([CLAUDE, NOVA, "m"]))
def test_any_request_is_written_or_refused_by_name(request, model):
    assert refusal_of(lambda: accepted(written(request, model), model)) in (None, (400, "unsupported_field", True))


def test_a_whole_request_is_written_like_this():
    request = ir.Request(
        "claude",
        [
            ir.Message("system", [ir.Text("Be brief.", cache="1h")]),
            user(
                ir.Text("What is this?"),
                ir.Image(data="aGVsbG8=", media_type="image/png"),
                ir.File(data="aGVsbG8=", media_type="application/pdf", name="my_report.pdf", cache="5m"),
                ir.File(data="aGVsbG8=", media_type="text/x-log", name="my_report.pdf"),
                ir.Audio("aGVsbG8=", "wav"),
            ),
            assistant(
                ir.Reasoning("Hm.", "bedrock", "c2ln"),
                ir.Reasoning("", "anthropic", None, "cmVk"),
                ir.Reasoning("Elsewhere.", "responses", None, "ZW5j"),
                ir.Text("Let me look."),
                ir.ToolCall("call_1", "look", '{"at": 1.50}'),
                ir.ToolCall("call|2", "look", ""),
            ),
            user(ir.ToolResult("call_1", [ir.Text("a cat"), ir.Image(data="aGVsbG8=", media_type="image/webp")])),
            user(ir.Text("Go on."), ir.ToolResult("call|2", [ir.Text(" ")], error=True)),
            ir.Message("system", [ir.Text("Still.")]),
        ],
        True,
        [ir.Tool("look", "Looks.", {"type": "object"}, True, cache="5m"), ir.Tool("hear", "")],
        ir.ToolChoice("named", ["look"]),
        None,
        ir.OutputFormat({"type": "object"}, "cat", True, "A cat."),
        ir.Thinking(budget=2_000, show=True),
        max_tokens=4_096,
        temperature=1.0,
        top_p=0.5,
        top_k=7,
        seed=1,
        stop=["END"],
        user="u",
    )
    body = written(request)
    accepted(body, operation="ConverseStream")
    assert body == {
        "system": [{"text": "Be brief."}, {"cachePoint": {"type": "default", "ttl": "1h"}}, {"text": "Still."}],
        "messages": [
            {
                "role": "user",
                "content": [
                    {"text": "What is this?"},
                    {"image": {"format": "png", "source": {"bytes": "aGVsbG8="}}},
                    {"document": {"format": "pdf", "name": "my-report-pdf", "source": {"bytes": "aGVsbG8="}}},
                    {"cachePoint": {"type": "default"}},
                    {"document": {"format": "txt", "name": "my-report-pdf (2)", "source": {"bytes": "aGVsbG8="}}},
                    {"audio": {"format": "wav", "source": {"bytes": "aGVsbG8="}}},
                ],
            },
            {
                "role": "assistant",
                "content": [
                    {"reasoningContent": {"reasoningText": {"text": "Hm.", "signature": "c2ln"}}},
                    {"reasoningContent": {"redactedContent": "cmVk"}},
                    {"text": "Let me look."},
                    {"toolUse": {"toolUseId": "call_1", "name": "look", "input": {"at": 1.5}}},
                    {"toolUse": {"toolUseId": tool_id("call|2"), "name": "look", "input": {}}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {
                        "toolResult": {
                            "toolUseId": "call_1",
                            "content": [
                                {"text": "a cat"},
                                {"image": {"format": "webp", "source": {"bytes": "aGVsbG8="}}},
                            ],
                        }
                    },
                    {"toolResult": {"toolUseId": tool_id("call|2"), "content": [], "status": "error"}},
                    {"text": "Go on."},
                ],
            },
        ],
        "inferenceConfig": {"maxTokens": 4_096, "temperature": 1.0, "topP": 0.5, "stopSequences": ["END"]},
        "toolConfig": {
            "tools": [
                {
                    "toolSpec": {
                        "name": "look",
                        "description": "Looks.",
                        "inputSchema": {"json": {"type": "object"}},
                        "strict": True,
                    }
                },
                {"cachePoint": {"type": "default"}},
                {"toolSpec": {"name": "hear", "inputSchema": {"json": {"type": "object", "properties": {}}}}},
            ],
            "toolChoice": {"tool": {"name": "look"}},
        },
        "outputConfig": {
            "textFormat": {
                "type": "json_schema",
                "structure": {"jsonSchema": {"name": "cat", "description": "A cat.", "schema": '{"type":"object"}'}},
            }
        },
        "additionalModelRequestFields": {
            "thinking": {"type": "enabled", "budget_tokens": 2_000, "display": "summarized"},
            "top_k": 7,
        },
        "additionalModelResponseFieldPaths": ["/stop_sequence"],
    }


def test_a_request_that_says_nothing_more_says_nothing_more():
    assert written(asked()) == {"messages": [{"role": "user", "content": [{"text": "hello"}]}]}


@pytest.mark.parametrize(("given", "cap", "most"), [(None, None, None), (7, None, 7), (None, 9, 9), (7, 5, 5)], ids=str)
def test_the_longest_answer_is_what_is_held_for(given, cap, most):
    inference = written(asked(max_tokens=given), cap=cap).get("inferenceConfig", {})
    assert inference.get("maxTokens") == most


@pytest.mark.parametrize(
    ("model", "thinking", "more", "effort"),
    [
        (CLAUDE, ir.Thinking("high"), {"thinking": {"type": "adaptive"}}, "high"),
        (CLAUDE, ir.Thinking("minimal"), {"thinking": {"type": "adaptive"}}, "low"),
        (CLAUDE, ir.Thinking("none"), {"thinking": {"type": "disabled"}}, None),
        (CLAUDE, ir.Thinking(budget=0), {"thinking": {"type": "disabled"}}, None),
        (CLAUDE, ir.Thinking(budget=90_000), {"thinking": {"type": "enabled", "budget_tokens": 90_000}}, None),
        (NOVA, ir.Thinking("low"), {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "low"}}, None),
        (NOVA, ir.Thinking("max"), {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "high"}}, None),
        (NOVA, ir.Thinking("none"), {"reasoningConfig": {"type": "disabled"}}, None),
        (OSS, ir.Thinking("low"), {"reasoning_effort": "low"}, None),
        ("deepseek.v3-v1:0", ir.Thinking("medium"), None, "medium"),
        ("deepseek.v3-v1:0", ir.Thinking("none"), None, None),
    ],
)
def test_thinking_is_said_in_the_makers_words(model, thinking, more, effort):
    body = written(asked(thinking=thinking), model)
    accepted(body, model)
    assert body.get("additionalModelRequestFields") == more
    assert body.get("outputConfig", {}).get("effort") == effort


def test_a_budget_is_below_the_cap():
    body = written(asked(thinking=ir.Thinking(budget=5_000), max_tokens=2_000))
    assert body["additionalModelRequestFields"] == {"thinking": {"type": "enabled", "budget_tokens": 1_999}}


@pytest.mark.parametrize(
    ("thought", "more"),
    [
        (ir.Reasoning("I know.", "anthropic", "c2ln"), {"thinking": {"type": "enabled", "budget_tokens": 2_000}}),
        (ir.Reasoning("I know.", "chat"), None),
    ],
)
def test_a_budget_is_left_out_where_a_turn_goes_on_without_a_thought_of_claudes(thought, more):
    messages = [
        ir.Message("user", [ir.Text("What time is it?")]),
        ir.Message("assistant", [thought, ir.ToolCall("call_1", "clock", "{}")]),
        ir.Message("user", [ir.ToolResult("call_1", [ir.Text("noon")])]),
    ]
    body = written(asked(*messages, thinking=ir.Thinking(budget=2_000), max_tokens=4_000))
    assert body.get("additionalModelRequestFields") == more


def test_novas_top_k_has_a_place_of_its_own():
    assert written(asked(top_k=3), NOVA)["additionalModelRequestFields"] == {"inferenceConfig": {"topK": 3}}


def test_an_opaque_arn_is_known_by_the_name_that_clients_use():
    arn = "arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/abcdefghijkl"
    request = msgspec.structs.replace(asked(thinking=ir.Thinking("high")), model="claude-opus-4-5")
    assert written(request, arn)["additionalModelRequestFields"] == {"thinking": {"type": "adaptive"}}


@pytest.mark.parametrize("model", [NOVA, OSS])
def test_only_claude_gets_thoughts_and_cache_points(model):
    body = written(
        asked(
            user(ir.Text("a", cache="5m")),
            assistant(ir.Reasoning("hm", "bedrock", "c2ln"), ir.Text("b")),
            user(ir.Text("c")),
        ),
        model,
    )
    assert body["messages"] == [
        {"role": "user", "content": [{"text": "a"}]},
        {"role": "assistant", "content": [{"text": "b"}]},
        {"role": "user", "content": [{"text": "c"}]},
    ]


def test_roles_alternate_where_a_turn_says_nothing():
    body = written(asked(user(ir.Text("a")), assistant(ir.Text(" ")), user(ir.Text("b"))))
    assert body["messages"] == [{"role": "user", "content": [{"text": "a"}, {"text": "b"}]}]


@pytest.mark.parametrize(
    "part", [ir.Reasoning("hm", "bedrock"), ir.Reasoning("hm", "anthropic"), ir.Reasoning("hm", "gemini", "c2ln")]
)
def test_thoughts_that_claude_did_not_sign_stay_behind(part):
    body = written(asked(user(ir.Text("a")), assistant(part, ir.Text("b")), user(ir.Text("c"))))
    assert body["messages"][1]["content"] == [{"text": "b"}]


@pytest.mark.parametrize(("spoken", "origin"), [("anthropic", "bedrock"), ("bedrock", "anthropic")])
def test_claudes_thoughts_go_on_where_else_claude_runs(spoken, origin):
    thoughts = [ir.Reasoning("hm", origin, "c2ln"), ir.Reasoning("", origin, None, "cmVk"), ir.Reasoning("x", origin)]
    request = asked(user(ir.Text("a")), assistant(*thoughts, ir.Text("b")), user(ir.Text("c")))
    body = json.loads(DIALECTS[spoken].conversation.from_ir(request, Target(CLAUDE)))
    own = [ir.Reasoning("hm", spoken, "c2ln"), ir.Reasoning("", spoken, None, "cmVk"), ir.Text("b")]
    if spoken == "bedrock":
        answered = {"output": {"message": body["messages"][1]}}
    else:
        answered = {"id": "a", "model": "m", "usage": {}, **body["messages"][1]}
    answer = DIALECTS[spoken].conversation.answer_to_ir(json.dumps(answered).encode())
    assert answer.choices[0].parts == own


TOOL = ir.Tool("look", None, {"type": "object"})
CALLED = [user(ir.Text("a")), assistant(ir.ToolCall("c1", "look", "{}")), user(ir.ToolResult("c1", [ir.Text("b")]))]


@pytest.mark.parametrize(
    ("choice", "found"),
    [
        (None, None),
        (ir.ToolChoice("auto"), {"auto": {}}),
        (ir.ToolChoice("required"), {"any": {}}),
        (ir.ToolChoice("named", ["look"]), {"tool": {"name": "look"}}),
    ],
)
def test_a_choice_of_tools(choice, found):
    assert written(asked(tools=[TOOL], tool_choice=choice))["toolConfig"].get("toolChoice") == found


def test_tools_that_may_not_be_called_are_left_out():
    assert "toolConfig" not in written(asked(tools=[TOOL], tool_choice=ir.ToolChoice("none"), parallel=True))


def test_calls_of_tools_that_are_gone_are_declared():
    config = written(asked(*CALLED))["toolConfig"]
    spec = {"name": "look", "description": "This tool is not available any more."}
    assert config == {"tools": [{"toolSpec": {**spec, "inputSchema": {"json": {"type": "object", "properties": {}}}}}]}


def png(**fields: Any) -> ir.Message:
    return user(ir.Image(**fields))


@pytest.mark.parametrize(
    ("request_", "named"),
    [
        (asked(choices=2), "n"),
        (asked(presence_penalty=0.5), "presence_penalty"),
        (asked(frequency_penalty=0.5), "frequency_penalty"),
        (asked(logit_bias={"1": 1.0}), "logit_bias"),
        (asked(logprobs=0), "logprobs"),
        (asked(temperature=1.5), "a temperature above 1"),
        (asked(output=ir.OutputFormat()), "JSON output without a schema"),
        (asked(tools=[TOOL], parallel=False), "parallel_tool_calls: false"),
        (asked(tools=[ir.Tool("a", custom=True)]), "tools[0].type"),
        (asked(tools=[TOOL], tool_choice=ir.ToolChoice("named", ["look", "hear"])), "tool_choice of several tools"),
        (asked(tool_choice=ir.ToolChoice("required")), "tool_choice without tools"),
        (
            asked(*CALLED, tools=[TOOL], tool_choice=ir.ToolChoice("none")),
            "tool_choice: none, in a conversation with tool calls,",
        ),
        (asked(png(url="https://example.com/a.png")), "an image's URL"),
        (asked(png(data="aGVsbG8=", media_type="image/tiff")), "an image of type image/tiff"),
        (asked(png(data="aGVsbG8=")), "an image of type unknown"),
        (asked(user(ir.File(url="https://example.com/a.pdf"))), "a document's URL"),
        (asked(user(ir.File(data="aGVsbG8=", media_type="application/zip"))), "a file of type application/zip"),
        (asked(user(ir.Audio("aGVsbG8=", "speex"))), "audio of format speex"),
        (asked(ir.Message("system", [ir.Image(url="u")])), "a system message that is not text"),
        (asked(assistant(ir.ToolCall("a", "b", "x", True))), "a call of a custom tool"),
        (asked(assistant(ir.ToolCall("a", "b", "[1]"))), "a tool call whose arguments are not a JSON object"),
        (asked(assistant(ir.ToolCall("a", "b", "{"))), "a tool call whose arguments are not a JSON object"),
    ],
)
def test_what_converse_cannot_say_is_refused_by_name(request_, named):
    with pytest.raises(RelayError) as refused:
        written(request_)
    assert (refused.value.status, refused.value.code, refused.value.param) == (400, "unsupported_field", named)


def test_a_budget_is_claudes_alone():
    with pytest.raises(RelayError) as refused:
        written(asked(thinking=ir.Thinking(budget=2_000)), NOVA)
    assert refused.value.param == "a thinking budget"


@pytest.mark.parametrize("name", ["a", "a" * 500, "../é\t\n x__.pdf", "   ", "()[]", "日本"])
def test_a_documents_name_is_one_that_is_allowed(name):
    body = written(asked(user(*[ir.File(data="aGVsbG8=", media_type="application/pdf", name=name)] * 3)))
    accepted(body)
    names = [block["document"]["name"] for block in body["messages"][0]["content"]]
    assert len(set(names)) == 3
    assert all(re.fullmatch(r"[a-zA-Z0-9()\[\]-]+( [a-zA-Z0-9()\[\]-]+)*", each) for each in names)


@unhurried
@given(st.text(max_size=90))
def test_a_calls_id_is_one_that_is_allowed(call_id):
    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", tool_id(call_id))
    assert tool_id(tool_id(call_id)) == tool_id(call_id)


# Answers

_STOPS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "stop_sequence": "stop_sequence",
    "tool_calls": "tool_use",
    "content_filter": "content_filtered",
    "context_window": "model_context_window_exceeded",
}


def usage_of(units: dict[str, int]) -> dict[str, Any]:
    """Units in Bedrock's words."""
    read, made = units.get("input", 0), units.get("output", 0)
    hour, five = units.get("cache_write_1h", 0), units.get("cache_write_5m", 0)
    details = [{"ttl": ttl, "inputTokens": count} for ttl, count in (("1h", hour), ("5m", five)) if count]
    cached = units.get("cache_read", 0)
    return {
        "inputTokens": read,
        "outputTokens": made,
        "totalTokens": read + made + cached + hour + five,
        "cacheReadInputTokens": cached,
        "cacheWriteInputTokens": hour + five,
        "cacheDetails": details,
    }


def more_of(choice: ir.Choice) -> dict[str, Any]:
    return {"additionalModelResponseFields": {"stop_sequence": choice.stop_sequence}} if choice.stop_sequence else {}


def block_of(part: ir.Part) -> dict[str, Any]:
    if isinstance(part, ir.Reasoning):
        if part.redacted:
            return {"reasoningContent": {"redactedContent": part.redacted}}
        signed = {"signature": part.signature} if part.signature else {}
        return {"reasoningContent": {"reasoningText": {"text": part.text, **signed}}}
    if isinstance(part, ir.ToolCall):
        return {"toolUse": {"toolUseId": part.id, "name": part.name, "input": json.loads(part.arguments)}}
    return {"text": part.text}


def body_of(answer: ir.Answer) -> dict[str, Any]:
    """An answer as Bedrock writes it."""
    [choice] = answer.choices
    return {
        "output": {"message": {"role": "assistant", "content": [block_of(part) for part in choice.parts]}},
        "stopReason": _STOPS[choice.stop],
        "usage": usage_of(answer.units or {}),
        "metrics": {"latencyMs": 12},
        **more_of(choice),
    }


def stream_of(answer: ir.Answer, size: int = 3) -> list[bytes]:
    """The same, streamed."""
    frames = []
    for said in events_of(answer, size):
        match said:
            case ir.Start():
                frames.append(START)
            case ir.PartStart():
                part = said.part
                if isinstance(part, ir.ToolCall):
                    frames.append(call(said.index, part.name, part.id))
            case ir.Delta():
                field = {ir.Text: "text", ir.ToolCall: "toolUse", ir.Reasoning: "reasoningContent"}[type(part)]
                inside = {"toolUse": {"input": said.text}, "reasoningContent": {"text": said.text}}
                frames.append(delta(said.index, **{field: inside.get(field, said.text)}))
            case ir.Sealed(signature=str() as signature):
                frames.append(delta(said.index, reasoningContent={"signature": signature}))
            case ir.Sealed(redacted=redacted):
                frames.append(delta(said.index, reasoningContent={"redactedContent": redacted}))
            case ir.PartEnd():
                frames.append(end(said.index))
            case ir.Stop():
                frames.append(stop(_STOPS[said.reason], **more_of(answer.choices[0])))
    return [*frames, metadata(**usage_of(answer.units or {}))]


def read(*chunks: bytes) -> tuple[list[ir.Event], Any]:
    """What chunks of a stream mean, and what their decoder knows then."""
    cutter, decoder = BEDROCK.streaming.cutter(), BEDROCK.conversation.decoder()
    events = [said for chunk in chunks for raw in cutter.feed(chunk) for said in decoder.decode(raw)]
    assert decoder.decode(cutter.rest()) == []
    return events, decoder


def of_bedrock(answer: ir.Answer) -> ir.Answer:
    return msgspec.structs.replace(answer, id="", model="", created=0)


@unhurried
@given(answers(CONVERSE))
def test_an_answer_is_read_as_it_was_written(answer):
    body = body_of(answer)
    accepted_answer = RestJSONParser().parse(
        {"status_code": 200, "headers": {}, "body": json.dumps(body).encode()},
        SERVICE.operation_model("Converse").output_shape,
    )
    assert accepted_answer["stopReason"] == body["stopReason"]
    found = BEDROCK.conversation.answer_to_ir(json.dumps(body).encode())
    assert found == of_bedrock(answer)


@unhurried
@given(answers(CONVERSE), st.integers(1, 5), st.lists(st.integers(0, 3_000), max_size=6))
def test_a_stream_is_read_as_it_was_written_wherever_it_is_cut(answer, size, cuts):
    stream = b"".join(stream_of(answer, size))
    at = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    events, decoder = read(*(stream[one:other] for one, other in pairwise(at)))
    assert (decoder.started, decoder.finished, decoder.done, decoder.failed) == (True, True, True, False)
    assert answer_of(events, decoder.units) == of_bedrock(answer)


def test_a_stream_byte_by_byte():
    answer = ir.Answer("", "", 0, [ir.Choice([ir.Text("Hello")])], {"input": 1, "output": 2})
    stream = b"".join(stream_of(answer))
    events, decoder = read(*(bytes([byte]) for byte in stream))
    assert answer_of(events, decoder.units) == answer


GOLDEN = [
    START,
    delta(0, reasoningContent={"text": "Hm"}),
    delta(0, reasoningContent={"text": "."}),
    delta(0, reasoningContent={"signature": "c2"}),
    delta(0, reasoningContent={"signature": "ln"}),
    end(0),
    delta(1, reasoningContent={"redactedContent": "cmVk"}),
    end(1),
    delta(2, text="So"),
    delta(2, text=""),
    end(2),
    call(3, "look", "tooluse_1"),
    delta(3, toolUse={"input": ""}),
    delta(3, toolUse={"input": '{"at":'}),
    delta(3, toolUse={"input": "1}"}),
    end(3),
    call(4, "hear", "tooluse_2"),
    end(4),
    stop("tool_use"),
    metadata(
        inputTokens=3,
        outputTokens=5,
        totalTokens=29,
        cacheReadInputTokens=7,
        cacheWriteInputTokens=14,
        cacheDetails=[{"ttl": "1h", "inputTokens": 9}, {"ttl": "5m", "inputTokens": 5}],
    ),
]


def test_a_recorded_stream_means_this():
    events, decoder = read(*GOLDEN)
    assert answer_of(events, decoder.units) == ir.Answer(
        "",
        "",
        0,
        [
            ir.Choice(
                [
                    ir.Reasoning("Hm.", "bedrock", "c2ln"),
                    ir.Reasoning("", "bedrock", None, "cmVk"),
                    ir.Text("So"),
                    ir.ToolCall("tooluse_1", "look", '{"at":1}'),
                    ir.ToolCall("tooluse_2", "hear", "{}"),
                ],
                "tool_calls",
            )
        ],
        {"input": 3, "cache_read": 7, "cache_write_5m": 5, "cache_write_1h": 9, "output": 5},
    )
    assert decoder.texts == ["Hm", ".", "So", "look", '{"at":', "1}", "hear"]


def test_botocore_reads_the_same_frames():
    found = as_botocore_reads(*GOLDEN)
    assert [next(iter(each)) for each in found[:4]] == ["messageStart", *["contentBlockDelta"] * 3]
    assert found[6]["contentBlockDelta"]["delta"] == {"reasoningContent": {"redactedContent": b"red"}}
    assert found[-2] == {"messageStop": {"stopReason": "tool_use"}}
    assert len(found) == len(GOLDEN)


@pytest.mark.parametrize(
    ("reason", "meant"),
    [
        *((reason, stop) for stop, reason in _STOPS.items()),
        ("guardrail_intervened", "content_filter"),
        ("malformed_tool_use", "stop"),
        ("malformed_model_output", "stop"),
        ("something_new", "stop"),
        (None, "stop"),
        ([], "stop"),
    ],
)
def test_why_it_stopped(reason, meant):
    body = {"output": {"message": {"role": "assistant", "content": [{"text": "a"}]}}, "stopReason": reason}
    assert BEDROCK.conversation.answer_to_ir(json.dumps(body).encode()).choices[0].stop == meant
    events, _ = read(START, delta(0, text="a"), event("messageStop", stopReason=reason))
    assert events[-1] == ir.Stop(meant)


def test_every_stop_reason_of_the_model_is_known():
    known = {*_STOPS.values(), "guardrail_intervened", "malformed_tool_use", "malformed_model_output"}
    assert set(SERVICE.shape_for("StopReason").enum) == known


def test_blocks_that_upstreams_tools_made_are_left_out():
    server = {"toolUseId": "s", "name": "nova_grounding", "input": {}, "type": "server_tool_use"}
    cited = {"citationsContent": {"content": [{"text": "It "}, {"text": "is."}], "citations": [{"title": "T"}]}}
    content = [{"toolUse": server}, {"toolResult": {"toolUseId": "s", "content": []}}, cited, {"image": {}}, {"new": 1}]
    body = {"output": {"message": {"role": "assistant", "content": content}}, "stopReason": "end_turn"}
    found = BEDROCK.conversation.answer_to_ir(json.dumps(body).encode())
    assert found.choices == [ir.Choice([ir.Text("It is.")])]
    assert found.units is None

    started = {"toolUse": {"toolUseId": "s", "name": "nova_grounding", "type": "server_tool_use"}}
    events, decoder = read(
        START,
        event("contentBlockStart", contentBlockIndex=0, start=started),
        delta(0, toolUse={"input": "{}"}),
        end(0),
        event("contentBlockStart", contentBlockIndex=1, start={"toolResult": {"toolUseId": "s"}}),
        delta(1, toolResult=[{"text": "x"}]),
        end(1),
        delta(2, text="It is."),
        delta(2, citation={"title": "T"}),
        end(2),
        stop(),
    )
    assert answer_of(events).choices == [ir.Choice([ir.Text("It is.")])]
    assert decoder.texts == ["It is."]


# Usage


@pytest.mark.parametrize(
    ("usage", "units"),
    [
        ({"inputTokens": 3, "outputTokens": 5, "totalTokens": 8}, {"input": 3, "output": 5}),
        (
            {"inputTokens": 3, "outputTokens": 0, "cacheReadInputTokens": 900, "cacheWriteInputTokens": 40},
            {"input": 3, "cache_read": 900, "cache_write_5m": 40},
        ),
        (
            {
                "inputTokens": 3,
                "outputTokens": 5,
                "cacheWriteInputTokens": 40,
                "cacheDetails": [{"ttl": "1h", "inputTokens": 30}, {"ttl": "2d", "inputTokens": 1}, 7],
            },
            {"input": 3, "cache_write_5m": 10, "cache_write_1h": 30, "output": 5},
        ),
        ({"inputTokens": 0, "outputTokens": 0}, None),
        ({"inputTokens": -1, "outputTokens": 5}, None),
        ({"inputTokens": 3}, None),
        ({"inputTokens": "3", "outputTokens": 5}, None),
        ({"inputTokens": True, "outputTokens": 5}, None),
        ({"inputTokens": 10**18, "outputTokens": 5}, None),
        (
            {"inputTokens": 1, "outputTokens": 1, "cacheDetails": [{"ttl": "1h", "inputTokens": 10**9}] * 2},
            None,
        ),
        ({"inputTokens": 1, "outputTokens": 1, "cacheDetails": {"ttl": "1h"}}, {"input": 1, "output": 1}),
        (None, None),
        ([], None),
    ],
)
def test_usage_is_told_in_disjoint_units(usage, units):
    assert bedrock_units(usage) == units


# What upstreams should not send


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"{}",
        b'{"message":"Too many requests"}',
        b'{"output":null}',
        b'{"output":{"message":{"content":"x"}}}',
        b'{"output":{"message":[]}}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"output":{"message":{"content":[' + b'{"a":' * 100_000,
    ],
)
def test_what_is_no_answer_is_none(body):
    assert BEDROCK.conversation.answer_to_ir(body) is None


KEYS = st.sampled_from(
    [
        *("text", "toolUse", "toolUseId", "name", "input", "type", "reasoningContent", "reasoningText", "signature"),
        *("redactedContent", "citationsContent", "content", "delta", "start", "contentBlockIndex", "stopReason"),
        *("usage", "inputTokens", "outputTokens", "cacheDetails", "ttl", "additionalModelResponseFields", "role"),
        "stop_sequence",
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@unhurried
@given(st.lists(JSON, max_size=3), JSON, JSON)
def test_blocks_of_any_shape_are_read_without_an_exception(content, reason, usage):
    body = {"output": {"message": {"content": content}}, "stopReason": reason, "usage": usage}
    found = BEDROCK.conversation.answer_to_ir(json.dumps(body).encode())
    assert found is None or found.texts() is not None


KINDS = st.sampled_from(
    ["messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop", "metadata", "new"]
)


@unhurried
@given(st.lists(st.tuples(KINDS, st.dictionaries(KEYS, JSON, max_size=4)), max_size=8))
def test_events_of_any_shape_and_order_are_read_as_events_in_order(said):
    events, decoder = read(*(event(kind, **payload) for kind, payload in said))
    if decoder.finished and not decoder.failed:
        answer_of(events)  # asserts their order


@unhurried
@given(st.lists(st.binary(max_size=40), max_size=5))
@example([b"HTTP/1.1 500 Internal Server Error"])
@example([b'{"message": "Internal Server Error"}'])
def test_bytes_that_are_no_frames_are_a_failure_or_nothing(chunks):
    events, decoder = read(START, *chunks)
    assert events == [ir.Start("", "", 0)]
    assert not decoder.finished


@unhurried
@given(st.integers(0), st.integers(1, 255))
def test_a_byte_that_flips_is_a_failure_and_what_came_before_it_stands(at, flip):
    good, bad = [START, delta(0, text="So")], bytearray(delta(0, text="bad"))
    bad[at % len(bad)] ^= flip
    events, decoder = read(b"".join([*good, bad, stop()]))
    assert events == [ir.Start("", "", 0), ir.PartStart(0, ir.Text("")), ir.Delta(0, "So")]
    assert (decoder.failed, decoder.finished) == (True, False)


def _prelude(length: int, headers: int) -> bytes:
    head = struct.pack("!II", length, headers)
    return head + struct.pack("!I", crc32(head))


HEAD = {":event-type": "messageStart", ":message-type": "event"}


@pytest.mark.parametrize(
    "broken",
    [
        _prelude(0, 0),
        _prelude(15, 0) + b"\0" * 8,
        _prelude(MAX_EVENT_BYTES + 1, 0),
        _prelude(0xFFFFFFFF, 0xFFFFFFFF),
        framed(b"\x05abc", b"{}"),  # a header's name that does not end
        framed(b"\x01a\x63", b"{}"),  # a header of a type that does not exist
        framed(b"\x01a\x07\xff\xffx", b"{}"),  # a header's value that does not end
        framed(b"\x01\xff\x07\x00\x01x", b"{}"),  # a header's name that is not UTF-8
        framed(b"\x01a\x07\x00\x01x" * 2, b"{}"),  # a header twice
        framed(b"", b"{}"),  # no header
        frame({":message-type": "event"}, b"{}"),
        framed(b"\x0d:message-type\x07\x00\x05event\x0b:event-type\x04\x00\x00\x00\x01", b"{}"),
        frame({":message-type": "error", ":error-code": "500", ":error-message": "no"}, b""),
        frame({**HEAD, ":event-type": "contentBlockDelta"}, b"{"),
        frame({**HEAD, ":event-type": "contentBlockDelta"}, b"[]"),
        frame({**HEAD, ":event-type": "contentBlockDelta"}, b"\xff"),
        frame({**HEAD, ":event-type": "contentBlockDelta"}, b'{"a":' * 100_000),
        exception("throttlingException", "Too many tokens"),
        exception("modelStreamErrorException", "The model failed"),
    ],
)
def test_a_frame_that_is_broken_or_tells_an_error_is_a_failure(broken):
    events, decoder = read(START, delta(0, text="So"), broken, delta(0, text="more"), stop(), metadata())
    assert events == [ir.Start("", "", 0), ir.PartStart(0, ir.Text("")), ir.Delta(0, "So")]
    assert (decoder.failed, decoder.finished, decoder.done) == (True, False, False)


def test_half_a_frame_is_none():
    events, decoder = read(START, delta(0, text="So")[:-1])
    assert events == [ir.Start("", "", 0)]
    assert (decoder.failed, decoder.finished) == (False, False)


def test_an_event_that_nobody_has_heard_of_is_passed_over():
    new = [event("initial-response"), event("somethingNew", a=1), frame({**HEAD, ":event-type": "new"}, b"\xff")]
    events, decoder = read(*new, START, delta(0, text="So"), *new, end(0), stop(), *new)
    assert answer_of(events).choices == [ir.Choice([ir.Text("So")])]
    assert (decoder.finished, decoder.done, decoder.failed, decoder.units) == (True, False, False, None)


def test_usage_that_comes_early_does_not_end_a_stream():
    events, decoder = read(
        START, delta(0, text="So"), metadata(inputTokens=1, outputTokens=1), delta(0, text="!"), stop()
    )
    assert answer_of(events).choices == [ir.Choice([ir.Text("So!")])]
    assert (decoder.finished, decoder.done, decoder.units) == (True, False, {"input": 1, "output": 1})


def test_what_follows_the_end_is_not_read():
    events, decoder = read(
        START, delta(0, text="So"), stop(), delta(0, text="more"), metadata(inputTokens=1, outputTokens=1)
    )
    assert events[-1] == ir.Stop("stop")
    assert (decoder.done, decoder.units) == (True, {"input": 1, "output": 1})
    assert decoder.decode(FAILURE + b"\n") == [] and not decoder.failed
