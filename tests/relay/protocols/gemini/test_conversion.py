"""Gemini conversations to and from the neutral one: requests, answers, streams, and what cannot be said."""

from __future__ import annotations

import base64
import dataclasses
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relay.errors import RelayError
from relay.protocols import ir
from relay.protocols.base import Target
from relay.protocols.gemini.answer import StreamReader, read_answer
from relay.protocols.gemini.decode import Decoder
from relay.protocols.gemini.dialect import answer_from_ir, answer_to_ir
from relay.protocols.gemini.encode import Encoder
from relay.protocols.gemini.from_ir import from_ir
from relay.protocols.gemini.parts import NO_SIGNATURE, sealed
from relay.protocols.gemini.request import parse
from relay.protocols.gemini.to_ir import json_schema, to_ir
from relay.protocols.sse import Splitter
from tests.cast.examples import examples
from tests.doubles.conversations import EVERYTHING, answer_of, answers, events_of, requests

# How long an example takes depends on what else the machine does.
unhurried = settings(deadline=None, max_examples=examples(25), suppress_health_check=[HealthCheck.too_slow])
SEED = "0123456789abcdef0123456789abcdef"
HELLO = [ir.Message("user", [ir.Text("hello")])]

CAN = dataclasses.replace(
    EVERYTHING,
    details=frozenset(),
    cache=frozenset(),
    names=False,
    system_anywhere=False,
    several_systems=True,
    custom=False,
    strict=False,
    results=frozenset({"image", "image_url", "file", "error"}),
    output=frozenset({"object", "schema"}),
    efforts=frozenset({"minimal", "low", "medium", "high"}),
    sampling=EVERYTHING.sampling - {"logit_bias", "user", "metadata", "verbosity", "cache_key", "parallel"},
    reasoning=frozenset({"gemini"}),
    redacted=False,
    reasoning_ids=False,
    refusals=False,
    interleaved=False,  # a stream does not part neighbouring texts
    stops=frozenset({"stop", "length", "content_filter"}),
    sequences=False,
    units=EVERYTHING.units - {"cache_write_5m", "cache_write_1h"},
)

WHOLE = dataclasses.replace(CAN, interleaved=True)


def read(*contents, path="g:generateContent", **fields):
    """A client's request, as neutral."""
    return to_ir(parse(json.dumps({"contents": list(contents) or user("hello"), **fields}).encode(), path))


def user(*parts):
    return {"role": "user", "parts": [{"text": part} if isinstance(part, str) else part for part in parts]}


def model(*parts):
    return {**user(*parts), "role": "model"}


def written(request, name="gemini-3-flash", **target):
    return json.loads(from_ir(request, Target(name, **target)))


def config(name="gemini-3-flash", **fields):
    """The generationConfig for an upstream."""
    return written(ir.Request("g", HELLO, **fields), name).get("generationConfig", {})


def refusal(make, *args, **fields):
    with pytest.raises(RelayError) as refused:
        make(*args, **fields)
    return refused.value.code, refused.value.param


# ---- there and back -------------------------------------------------------------------------------------------------


@unhurried
@given(requests(WHOLE))
def test_a_request_survives_the_way_to_gemini_and_back(request):
    action = "streamGenerateContent" if request.stream else "generateContent"
    body = from_ir(request, Target("gemini-3-flash"))
    assert to_ir(parse(body, f"{request.model}:{action}")) == with_types(request)


def with_types(request):
    """The same request with the media types that URLs let one guess."""
    for message in request.messages:
        for part in message.parts:
            for inner in part.parts if isinstance(part, ir.ToolResult) else [part]:
                if isinstance(inner, ir.Image | ir.File) and inner.url:
                    inner.media_type = {"a.p": "image/png", "b.j": "image/jpeg"}.get(
                        inner.url[20:23], "application/pdf"
                    )
    return request


@unhurried
@given(answers(dataclasses.replace(WHOLE, made=EVERYTHING.made, redacted=True, reasoning_ids=True)))
def test_an_answer_survives_the_way_to_gemini_and_back(answer):
    back = answer_to_ir(answer_from_ir(answer, client(), SEED, "0"))
    answer.id, answer.created = SEED, 0
    assert back == answer


def client(alt="sse"):
    return parse(b'{"contents":[{}]}', f"g:streamGenerateContent?alt={alt}")


def streamed(events, units, alt="sse"):
    encoder = Encoder(client(alt), SEED)
    now = b"".join(map(encoder.encode, events))
    at_once, waits = encoder.last(units, "0")
    assert at_once == b""
    return now, waits


def decoded(*chunks):
    decoder = Decoder()
    events = [event for data in chunks for event in decoder.decode(data)]
    return events, decoder


@unhurried
@given(answers(dataclasses.replace(WHOLE, made=frozenset({"gemini"}), signatures=False)), st.integers(1, 5))
def test_a_stream_survives_the_way_to_gemini_and_back(answer, size):
    now, waits = streamed(events_of(answer, size), answer.units)
    splitter = Splitter()
    events, decoder = decoded(*splitter.feed(now + waits), splitter.rest() or b": \n\n")
    assert decoder.finished and not decoder.failed
    answer.id, answer.created = SEED, 0
    assert joined(answer_of(events, decoder.units)) == joined(answer)


def said(part):
    return getattr(part, "text", "")


def joined(answer):
    """The same answer with what a stream of Gemini's does not part: neighbours of one kind."""
    for choice in answer.choices:
        parts = []
        for part in choice.parts:
            if (
                parts
                and parts[-1] in (ir.Text(said(parts[-1])), ir.Reasoning(said(parts[-1]), "gemini"))
                and (type(parts[-1]) is type(part))
            ):
                parts[-1].text += part.text
            else:
                parts.append(part)
        choice.parts = parts
    return answer


@unhurried
@given(answers(dataclasses.replace(WHOLE, made=EVERYTHING.made - {"gemini"}, redacted=True, reasoning_ids=True)))
def test_what_a_client_got_by_stream_comes_back_as_it_was(answer):
    """Another maker's reasoning is streamed as thoughts, and sealed at the end: the client sends the chunks back."""
    answer.choices = answer.choices[:1]
    answer.choices[0].logprobs = None
    now, waits = streamed(events_of(answer), answer.units)
    chunks = [json.loads(event[6:]) for event in Splitter().feed(now + waits)]
    history = [chunk["candidates"][0]["content"] for chunk in chunks]
    back = read(user("q"), *history, user("and?")).messages
    assert [part for message in back if message.role == "assistant" for part in message.parts] == (
        joined(answer).choices[0].parts
    )


# ---- a request, by its fields ---------------------------------------------------------------------------------------


def test_a_whole_conversation():
    request = read(
        user("look", {"inline_data": {"mime_type": "image/png", "data": "AAAA"}}),
        model(
            {"text": "I should call", "thought": True},
            {"functionCall": {"name": "f", "args": {"a": 1}}, "thoughtSignature": "c2ln"},
            {"functionCall": {"name": "f", "args": {"a": 2}}},
        ),
        user(
            {"functionResponse": {"name": "f", "response": {"output": "one"}}},
            {"functionResponse": {"name": "f", "response": {"error": {"code": 5}}}},
        ),
        system_instruction={"parts": [{"text": "be"}, {"text": "kind"}]},
    )
    first, second = (part for part in request.messages[2].parts if isinstance(part, ir.ToolCall))
    assert first.id != second.id
    assert request.messages == [
        ir.Message("system", [ir.Text("be"), ir.Text("kind")]),
        ir.Message("user", [ir.Text("look"), ir.Image(data="AAAA", media_type="image/png")]),
        ir.Message(
            "assistant",
            [
                ir.Reasoning("I should call", "gemini"),
                ir.Reasoning("", "gemini", "c2ln"),
                ir.ToolCall(first.id, "f", '{"a":1}'),
                ir.ToolCall(second.id, "f", '{"a":2}'),
            ],
        ),
        ir.Message(
            "user",
            [
                ir.ToolResult(first.id, [ir.Text("one")], "f"),
                ir.ToolResult(second.id, [ir.Text('{"code":5}')], "f", error=True),
            ],
        ),
    ]


def test_what_a_tool_shows_is_a_part_of_its_result_or_follows_it():
    shown = ir.Image(data="aGk=", media_type="image/png")
    results = ir.ToolResult("1", [ir.Text("see"), shown]), ir.ToolResult("2", [ir.Text("none")])
    calls = ir.ToolCall("1", "f"), ir.ToolCall("2", "g")
    turns = ir.Message("assistant", [*calls]), ir.Message("user", [ir.Text("now"), *results])
    request = ir.Request("m", [ir.Message("user", [ir.Text("q")]), *turns])
    first = {"id": "1", "name": "f", "response": {"output": "see"}}
    second = {"functionResponse": {"id": "2", "name": "g", "response": {"output": "none"}}}
    picture = {"inlineData": {"mimeType": "image/png", "data": "aGk="}}
    assert written(request)["contents"][2]["parts"] == [
        {"text": "now"},
        {"functionResponse": {**first, "parts": [picture]}},
        second,
    ]
    assert written(request, "gemini-2.5-pro")["contents"][2]["parts"] == [
        {"functionResponse": first},
        second,
        picture,
        {"text": "now"},
    ]


def test_derived_ids_are_the_same_each_time():
    history = [user("q"), model({"functionCall": {"name": "f"}}), user({"functionResponse": {"name": "f"}})]
    assert read(*history) == read(*history)


def test_results_meet_calls_by_id_and_by_name():
    calls = [{"functionCall": {"name": name, "id": known}} for name, known in (("f", "1"), ("g", "2"), ("f", "3"))]
    results = [{"name": "f", "id": "3"}, {"name": "g"}, {"name": "f"}]
    back = read(user("q"), model(*calls), user(*({"functionResponse": result} for result in results)))
    assert [part.call_id for part in back.messages[2].parts] == ["3", "2", "1"]


def test_a_result_of_nothing_is_refused():
    assert refusal(read, user({"functionResponse": {"name": "f"}})) == (
        "invalid_request",
        "contents[0].parts[0].functionResponse",
    )


@pytest.mark.parametrize(
    ("response", "text", "error"),
    [
        ({"output": "x"}, "x", False),
        ({"result": {"a": 1}}, '{"a":1}', False),
        ({"error": "no"}, "no", True),
        ({"output": "x", "more": 1}, '{"output":"x","more":1}', False),
        ({"weather": "sunny"}, '{"weather":"sunny"}', False),
    ],
)
def test_what_a_tool_answered(response, text, error):
    call = {"functionCall": {"name": "f", "id": "1"}}
    back = read(user("q"), model(call), user({"functionResponse": {"name": "f", "id": "1", "response": response}}))
    assert back.messages[2].parts == [ir.ToolResult("1", [ir.Text(text)], "f", error)]


@pytest.mark.parametrize(
    ("part", "neutral"),
    [
        ({"inlineData": {"mimeType": "audio/mpeg", "data": "AA"}}, ir.Audio("AA", "mp3")),
        ({"inlineData": {"mimeType": "audio/x-wav", "data": "AA"}}, ir.Audio("AA", "wav")),
        (
            {"inlineData": {"mimeType": "application/pdf", "data": "AA", "displayName": "a.pdf"}},
            ir.File(data="AA", media_type="application/pdf", name="a.pdf"),
        ),
        ({"fileData": {"fileUri": "https://youtu.be/x"}}, ir.File(url="https://youtu.be/x")),
        (
            {"fileData": {"fileUri": "https://a.b/c", "mimeType": "image/png"}},
            ir.Image(url="https://a.b/c", media_type="image/png"),
        ),
    ],
)
def test_media(part, neutral):
    assert read(user(part)).messages == [ir.Message("user", [neutral])]


@pytest.mark.parametrize(
    ("calling", "choice"),
    [
        ({}, None),
        ({"mode": "AUTO"}, ir.ToolChoice("auto")),
        ({"mode": "VALIDATED"}, ir.ToolChoice("auto")),
        ({"mode": "any"}, ir.ToolChoice("required")),
        ({"mode": "NONE"}, ir.ToolChoice("none")),
        ({"mode": "ANY", "allowed_function_names": ["f", "g"]}, ir.ToolChoice("named", ["f", "g"])),
    ],
)
def test_tool_choices(calling, choice):
    assert read(user("q"), tool_config={"function_calling_config": calling}).tool_choice == choice


def test_googles_schemas_become_json_schema():
    declared = {
        "type": "OBJECT",
        "properties": {
            "any_of": {"type": "STRING", "nullable": True, "enum": ["a"]},
            "n": {"type": "INTEGER", "format": "int32", "maximum": 5},
            "list": {"type": "ARRAY", "items": {"any_of": [{"type": "NUMBER"}]}, "min_items": "1"},
        },
        "required": ["n"],
        "propertyOrdering": ["n", "list"],
    }
    expected = {
        "type": "object",
        "properties": {
            "any_of": {"type": ["string", "null"], "enum": ["a"]},
            "n": {"type": "integer", "format": "int32", "maximum": 5},
            "list": {"type": "array", "items": {"anyOf": [{"type": "number"}]}, "minItems": 1},
        },
        "required": ["n"],
    }
    assert json_schema(declared) == expected
    tools = [{"function_declarations": [{"name": "f", "description": "d", "parameters": declared}]}]
    request = read(user("q"), tools=tools, generationConfig={"responseSchema": declared})
    assert request.tools == [ir.Tool("f", "d", expected)]
    assert request.output == ir.OutputFormat(expected)


@pytest.mark.parametrize(
    ("thinking", "neutral"),
    [
        ({"thinkingBudget": -1}, ir.Thinking()),
        ({"thinkingBudget": 0}, ir.Thinking(budget=0)),
        ({"thinking_level": "XHIGH", "include_thoughts": True}, ir.Thinking("xhigh", show=True)),
        ({"thinkingLevel": "low"}, ir.Thinking("low")),
    ],
)
def test_thinking_is_read(thinking, neutral):
    assert read(user("q"), generationConfig={"thinkingConfig": thinking}).thinking == neutral


@pytest.mark.parametrize(
    ("name", "thinking", "sent"),
    [
        ("gemini-2.5-pro", ir.Thinking("medium", show=True), {"thinkingBudget": 8_192, "includeThoughts": True}),
        ("gemini-2.5-flash", ir.Thinking("none"), {"thinkingBudget": 0}),
        ("gemini-2.5-flash", ir.Thinking(budget=700), {"thinkingBudget": 700}),
        ("gemini-3-pro", ir.Thinking("none"), {"thinkingLevel": "LOW"}),
        ("gemini-3-flash", ir.Thinking("none"), {"thinkingLevel": "MINIMAL"}),
        ("gemini-3-flash", ir.Thinking(budget=0), {"thinkingLevel": "MINIMAL"}),
        ("gemini-3-flash", ir.Thinking("max", budget=700), {"thinkingLevel": "HIGH"}),
        ("gemini-3-flash", ir.Thinking(show=False), {"includeThoughts": False}),
    ],
)
def test_thinking_is_written(name, thinking, sent):
    assert config(name, thinking=thinking) == {"thinkingConfig": sent}


def test_a_conversation_for_gemini():
    request = ir.Request(
        "g",
        [
            ir.Message("system", [ir.Text("be kind")]),
            ir.Message("user", [ir.Text("q"), ir.Audio("AA", "mp3")]),
            ir.Message("system", [ir.Text("be brief")]),
            ir.Message("user", [ir.Text("?")]),
            ir.Message(
                "assistant",
                [
                    ir.Reasoning("hm", "anthropic", "sig"),
                    ir.ToolCall("1", "f", '{"a": 1}'),
                    ir.ToolCall("2", "f", ""),
                    ir.Refusal("no"),
                ],
            ),
            ir.Message("user", [ir.ToolResult("1", [ir.Text("x")])]),
            ir.Message("user", [ir.ToolResult("2", [], error=True)]),
        ],
        tools=[ir.Tool("f", None, {"type": "object"}, strict=True)],
        tool_choice=ir.ToolChoice("named", ["f"]),
        max_tokens=900,
        output=ir.OutputFormat({"type": "object"}, "r", True),
    )
    assert written(request, cap=50) == {
        "systemInstruction": {"parts": [{"text": "be kind"}, {"text": "be brief"}]},
        "contents": [
            user("q", {"inlineData": {"mimeType": "audio/mpeg", "data": "AA"}}, "?"),
            model(
                {"functionCall": {"id": "1", "name": "f", "args": {"a": 1}}, "thoughtSignature": NO_SIGNATURE},
                {"functionCall": {"id": "2", "name": "f", "args": {}}},
                "no",
            ),
            user(
                {"functionResponse": {"id": "1", "name": "f", "response": {"output": "x"}}},
                {"functionResponse": {"id": "2", "name": "f", "response": {"error": ""}}},
            ),
        ],
        "tools": [{"functionDeclarations": [{"name": "f", "parametersJsonSchema": {"type": "object"}}]}],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}},
        "generationConfig": {
            "maxOutputTokens": 50,
            "responseMimeType": "application/json",
            "responseJsonSchema": {"type": "object"},
        },
    }


def test_gemini_2_needs_no_signature():
    turn = ir.Message("assistant", [ir.ToolCall("1", "f", "{}")])
    assert "thoughtSignature" not in written(ir.Request("g", [turn]), "gemini-2.5-pro")["contents"][0]["parts"][0]
    back = read(model({"functionCall": {"id": "1", "name": "f"}, "thoughtSignature": NO_SIGNATURE}))
    assert back.messages == [turn]


def test_a_signature_stands_on_the_part_it_belongs_to():
    signed = ir.Message("assistant", [ir.Reasoning("", "gemini", "c2ln"), ir.ToolCall("1", "f", "{}")])
    assert written(ir.Request("g", [signed]))["contents"] == [
        model({"functionCall": {"id": "1", "name": "f", "args": {}}, "thoughtSignature": "c2ln"})
    ]
    last = ir.Message("assistant", [ir.Text("hi"), ir.Reasoning("", "gemini", "c2ln")])
    assert written(ir.Request("g", [last]))["contents"] == [model("hi", {"text": "", "thoughtSignature": "c2ln"})]


def test_what_another_maker_signed_is_base64_for_the_client():
    part = ir.Reasoning("hm", "anthropic", "sig>>>?")
    signature = sealed(part)
    # Clients decode it, and may encode it in the other alphabet.
    again = base64.b64encode(base64.urlsafe_b64decode(signature)).decode().rstrip("=")
    for form in (signature, again):
        back = read(user("q"), model({"text": "hm", "thought": True, "thoughtSignature": form}))
        assert back.messages[1].parts == [part]


# ---- what cannot be said --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"unheard": 1}, "unheard"),
        ({"serviceTier": "flex"}, "serviceTier"),
        ({"tools": [{"googleSearch": {}}]}, "tools[0].googleSearch"),
        ({"generationConfig": {"speechConfig": {}}}, "generationConfig.speechConfig"),
        ({"generationConfig": {"responseModalities": ["IMAGE"]}}, "generationConfig.responseModalities"),
        ({"generationConfig": {"responseMimeType": "text/x.enum"}}, "generationConfig.responseMimeType"),
        ({"safetySettings": [{"threshold": "OFF"}, {"threshold": "BLOCK_ONLY_HIGH"}]}, "safetySettings[1]"),
        (
            {"toolConfig": {"functionCallingConfig": {"mode": "AUTO", "allowedFunctionNames": ["f"]}}},
            "toolConfig.functionCallingConfig.allowedFunctionNames",
        ),
        ({"toolConfig": {"retrievalConfig": {"latLng": {}, "languageCode": "de"}}}, "toolConfig.retrievalConfig"),
        (
            {"tools": [{"functionDeclarations": [{"name": "f", "behavior": "NON_BLOCKING"}]}]},
            "tools[0].functionDeclarations[0].behavior",
        ),
        ({"contents": [user({"executableCode": {"code": "1"}})]}, "contents[0].parts[0].executableCode"),
        ({"contents": [user({"text": "x", "videoMetadata": {"fps": 1}})]}, "contents[0].parts[0].videoMetadata"),
        ({"systemInstruction": {"parts": [{"inlineData": {}}]}}, "systemInstruction.parts[0]"),
    ],
)
def test_what_only_gemini_can_is_refused(fields, param):
    assert refusal(read, user("q"), **fields) == ("unsupported_field", param)


def test_hints_are_left_out():
    assert read(
        user({"text": "q", "mediaResolution": {"level": "MEDIA_RESOLUTION_LOW"}}),
        labels={"a": "b"},
        safetySettings=[{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}],
        serviceTier="standard",
        store=True,
        generationConfig={"mediaResolution": "MEDIA_RESOLUTION_LOW", "responseModalities": ["TEXT"]},
    ) == read(user("q"))


@pytest.mark.parametrize(
    "part",
    [
        *({"text": "x", "functionCall": {"name": "f"}}, {"text": 5}, {"functionCall": {}}, {"functionCall": 5}),
        *({"functionCall": {"name": "f", "args": []}}, {"inlineData": {}}, {"inlineData": {"mimeType": "image/png"}}),
    ],
)
def test_broken_parts_are_refused(part):
    assert refusal(read, model(part))[0] == "invalid_request"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"logit_bias": {"1": 1.0}}, "logit_bias"),
        ({"parallel": False, "tools": [ir.Tool("f")]}, "parallel_tool_calls"),
        ({"tools": [ir.Tool("f", custom=True)]}, "tools"),
        ({"messages": [ir.Message("system", [ir.Image(url="https://a.b")])]}, "messages"),
    ],
)
def test_what_gemini_cannot_is_refused(fields, param):
    assert refusal(written, ir.Request("g", **{"messages": HELLO, **fields}))[1] == param


def test_hints_for_others_are_left_out():
    hints = {"user": "u", "metadata": {"a": "b"}, "verbosity": "low", "cache_key": "k", "parallel": False}
    assert written(ir.Request("g", HELLO, **hints)) == {"contents": [user("hello")]}


@pytest.mark.parametrize("arguments", ["[]", "{", "5", '"x"', "[" * 5_000])
def test_arguments_must_be_an_object(arguments):
    turn = ir.Message("assistant", [ir.ToolCall("1", "f", arguments)])
    assert refusal(written, ir.Request("g", [turn]))[0] == "invalid_request"


def test_a_stored_file_is_refused_for_a_converted_request_too():
    image = ir.Message("user", [ir.Image(url="https://generativelanguage.googleapis.com/v1beta/files/x")])
    assert refusal(written, ir.Request("g", [image]))[0] == "stored_state"


# ---- answers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "parts", "stop"),
    [
        ("STOP", [{"text": "x"}], "stop"),
        ("STOP", [{"functionCall": {"name": "f"}}], "tool_calls"),
        ("MAX_TOKENS", [{"functionCall": {"name": "f"}}], "length"),
        *((reason, [], "content_filter") for reason in ("SAFETY", "RECITATION", "SPII", "IMAGE_SAFETY", "BLOCKLIST")),
        *((reason, [], "stop") for reason in ("MALFORMED_FUNCTION_CALL", "OTHER", "LANGUAGE", "NEW", None, [])),
    ],
)
def test_finish_reasons(reason, parts, stop):
    body = {"candidates": [{"content": {"parts": parts}, "finishReason": reason}]}
    assert answer_to_ir(json.dumps(body).encode()).choices[0].stop == stop
    if isinstance(reason, str):
        events, _ = decoded(b"data: " + json.dumps(body).encode() + b"\n\n")
        assert events[-1] == ir.Stop(stop)


@pytest.mark.parametrize(
    ("stop", "reason"),
    [
        ("stop", "STOP"),
        ("tool_calls", "STOP"),
        ("stop_sequence", "STOP"),
        ("pause", "STOP"),
        ("length", "MAX_TOKENS"),
        ("context_window", "MAX_TOKENS"),
        ("content_filter", "SAFETY"),
        ("refusal", "SAFETY"),
    ],
)
def test_stop_reasons(stop, reason):
    answer = ir.Answer("a", "m", 0, [ir.Choice([ir.Text("x")], stop)])
    assert json.loads(answer_from_ir(answer, client(), SEED, "0"))["candidates"][0]["finishReason"] == reason


def test_a_blocked_prompt_is_a_filtered_answer():
    body = b'{"promptFeedback":{"blockReason":"PROHIBITED_CONTENT"},"usageMetadata":{"promptTokenCount":7}}'
    assert answer_to_ir(body) == ir.Answer("", "", 0, [ir.Choice([], "content_filter")], {"input": 7})
    events, decoder = decoded(b"data: " + body + b"\n\n")
    assert events == [ir.Start("", "", 0), ir.Stop("content_filter")]
    assert (decoder.finished, decoder.units) == (True, {"input": 7})


GOLDEN = {
    "candidates": [
        {
            "content": {
                "parts": [
                    {"text": "hm", "thought": True},
                    {"text": "Hi "},
                    {"functionCall": {"id": "1", "name": "f", "args": {"a": 1}}, "thoughtSignature": "c2ln"},
                ],
                "role": "model",
            },
            "finishReason": "STOP",
            "index": 0,
            "logprobsResult": {
                "chosenCandidates": [{"token": "Hi ", "logProbability": -0.5}],
                "topCandidates": [{"candidates": [{"token": "Ho", "logProbability": -1.0}]}],
            },
        }
    ],
    "modelVersion": "gemini-3-flash",
    "responseId": SEED,
    "usageMetadata": {
        "promptTokenCount": 10,
        "candidatesTokenCount": 4,
        "totalTokenCount": 44,
        "cachedContentTokenCount": 8,
        "thoughtsTokenCount": 30,
    },
}
NEUTRAL = ir.Answer(
    SEED,
    "gemini-3-flash",
    0,
    [
        ir.Choice(
            [
                ir.Reasoning("hm", "gemini"),
                ir.Text("Hi "),
                ir.Reasoning("", "gemini", "c2ln"),
                ir.ToolCall("1", "f", '{"a":1}'),
            ],
            "tool_calls",
            logprobs=[ir.Logprob("Hi ", -0.5, [ir.Logprob("Ho", -1.0)])],
        )
    ],
    {"input": 2, "cache_read": 8, "output": 34, "reasoning": 30},
)


def test_a_golden_answer():
    assert answer_to_ir(json.dumps(GOLDEN).encode()) == NEUTRAL
    assert json.loads(answer_from_ir(NEUTRAL, client(), SEED, "0.1")) == GOLDEN


def test_when_an_answer_was_made():
    body = {"candidates": [{}], "createTime": "2026-11-23T10:00:00.5Z"}
    assert answer_to_ir(json.dumps(body).encode()).created == 1_795_428_000


def test_a_call_without_arguments_that_can_be_read_is_malformed():
    answer = ir.Answer("a", "m", 0, [ir.Choice([ir.ToolCall("1", "f", '{"a":')], "tool_calls")])
    candidate = json.loads(answer_from_ir(answer, client(), SEED, "0"))["candidates"][0]
    assert candidate == {
        "content": {"parts": [], "role": "model"},
        "finishReason": "MALFORMED_FUNCTION_CALL",
        "index": 0,
    }
    _, waits = streamed(events_of(answer), {})
    assert json.loads(waits[6:])["candidates"][0]["finishReason"] == "MALFORMED_FUNCTION_CALL"
    answer.choices[0].stop = "length"
    _, waits = streamed(events_of(answer), {})
    assert json.loads(waits[6:])["candidates"][0]["finishReason"] == "MAX_TOKENS"


# ---- streams --------------------------------------------------------------------------------------------------------

COMMON = {"modelVersion": "m", "responseId": SEED}
STREAM = [
    {"candidates": [{"content": {"parts": [{"text": "hm", "thought": True}], "role": "model"}, "index": 0}], **COMMON},
    {"candidates": [{"content": {"parts": [{"text": "Hel"}], "role": "model"}, "index": 0}], **COMMON},
    {"candidates": [{"content": {"parts": [{"text": "lo"}], "role": "model"}, "index": 0}], **COMMON},
    {
        "candidates": [
            {
                "content": {
                    "parts": [
                        {"functionCall": {"id": "1", "name": "f", "args": {"a": 1}}, "thoughtSignature": "c2ln"},
                    ],
                    "role": "model",
                },
                "index": 0,
            }
        ],
        **COMMON,
    },
]
END = {
    "candidates": [
        {"content": {"parts": [{"text": ""}], "role": "model"}, "finishReason": "STOP", "index": 0},
    ],
    "usageMetadata": {"promptTokenCount": 10, "candidatesTokenCount": 4, "totalTokenCount": 14},
    **COMMON,
}
EVENTS = [
    ir.Start(SEED, "m", 0),
    ir.PartStart(0, ir.Reasoning(origin="gemini")),
    ir.Delta(0, "hm"),
    ir.PartEnd(0),
    ir.PartStart(1, ir.Text("")),
    ir.Delta(1, "Hel"),
    ir.Delta(1, "lo"),
    ir.PartEnd(1),
    ir.PartStart(2, ir.Reasoning(origin="gemini")),
    ir.Sealed(2, "c2ln"),
    ir.PartEnd(2),
    ir.PartStart(3, ir.ToolCall("1", "f")),
    ir.Delta(3, '{"a":1}'),
    ir.PartEnd(3),
    ir.Stop("tool_calls"),
]


def test_a_golden_stream():
    chunks = [b"data: " + json.dumps(chunk).encode() + b"\r\n\r\n" for chunk in [*STREAM, END]]
    events, decoder = decoded(*chunks)
    assert events == EVENTS
    assert (decoder.units, decoder.texts) == ({"input": 10, "output": 4}, ["hm", "Hel", "lo", "f", '{"a":1}'])
    now, waits = streamed(EVENTS, {"input": 10, "output": 4})
    assert [json.loads(event[6:]) for event in Splitter().feed(now)] == STREAM
    assert [json.loads(event[6:]) for event in Splitter().feed(waits)] == [END]


def test_a_golden_stream_as_an_array():
    now, waits = streamed(EVENTS, {"input": 10, "output": 4}, "json")
    assert json.loads(now + b"]") == STREAM
    assert json.loads(now + waits) == [*STREAM, END]


@pytest.mark.parametrize(
    ("event", "failed"),
    [
        (b'data: {"error":{"code":503}}\n\n', True),
        (b'{"error":{"code":503}}\n\n', True),
        (b'data: {"error": broken\n\n', True),
        (b"data: what\n\n", False),
        (b'data: {"unheard":1}\n\n', False),
        (b": ping\n\n", False),
    ],
)
def test_what_is_no_response(event, failed):
    events, decoder = decoded(event)
    assert (events, decoder.failed, decoder.started, decoder.finished) == ([], failed, False, False)


def test_nothing_is_said_after_the_end():
    end = b"data: " + json.dumps(END).encode() + b"\n\n"
    late = b'data: {"candidates":[{"content":{"parts":[{"text":"late"}]}}]}\n\n'
    events, _ = decoded(end, late, end)
    assert events == [ir.Start(SEED, "m", 0), ir.Stop("stop")]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["STOP", "x", ""]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("candidates", "content", "parts", "text", "thought", "finishReason", "index", "functionCall"),
                    *("usageMetadata", "promptFeedback", "blockReason", "error", "args", "name", "thoughtSignature"),
                    *("logprobsResult", "chosenCandidates", "topCandidates", "token", "logProbability", "responseId"),
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=30,
)


@unhurried
@given(st.lists(VALUES, max_size=3))
def test_no_upstream_breaks_the_conversion(values):
    for made in (
        lambda value: {"candidates": value},
        lambda value: {"candidates": [value]},
        lambda value: {"candidates": [{"content": {"parts": value}}]},
        lambda value: {"candidates": [{"content": {"parts": [value]}, "logprobsResult": value}]},
    ):
        bodies = [json.dumps(made(value)).encode() for value in values]
        for body in bodies:
            answer = answer_to_ir(body)
            assert answer is None or answer.choices
        events, decoder = decoded(*(b"data: " + body + b"\n\n" for body in bodies))
        answer_of([*events, *missing_ends(events)]) if events else None
        assert decoder.finished in (True, False)


def missing_ends(events):
    """What would end a stream that was cut."""
    ended = {event.choice for event in events if isinstance(event, ir.Stop)}
    opened, most = {}, -1
    for event in events[1:]:
        most = max(most, event.choice)
        if isinstance(event, ir.PartStart):
            opened[event.choice] = event.index
        elif isinstance(event, ir.PartEnd):
            del opened[event.choice]
    ends = [ir.PartEnd(index, choice) for choice, index in opened.items()]
    return ends + [ir.Stop("stop", choice=choice) for choice in range(most + 1) if choice not in ended]


@pytest.mark.parametrize("depth", [100, 300, *range(880, 1_100, 5), 5_000])
def test_no_depth_breaks_the_conversion(depth):
    nested = b'{"a":' * depth + b"1" + b"}" * depth
    part = b'{"functionCall":{"name":"f","args":' + nested + b"}}"
    body = b'{"candidates":[{"content":{"parts":[' + part + b"]}}]}"
    call = ir.ToolCall("1", "f", nested.decode())
    answer = ir.Answer("a", "m", 0, [ir.Choice([call], "tool_calls")])
    assert depth > 200 or answer_to_ir(body) is not None
    read_answer(body, client())
    StreamReader(client(), str).read(b"data: " + body + b"\n\n")
    decoded(b"data: " + body + b"\n\n")
    answer_to_ir(body)
    reason = json.loads(answer_from_ir(answer, client(), SEED, "0"))["candidates"][0]["finishReason"]
    assert reason == ("STOP" if depth < 200 else "MALFORMED_FUNCTION_CALL")
    streamed(events_of(answer), {})
    if depth > 200:
        assert refusal(written, ir.Request("g", [ir.Message("assistant", [call])]))[0] == "invalid_request"
    if depth > 1_000:
        with pytest.raises(RelayError):
            to_ir(parse(b'{"contents":[{"parts":[' + part + b"]}]}", "g:generateContent"))
