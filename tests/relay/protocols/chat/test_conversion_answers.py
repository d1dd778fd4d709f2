"""Chat completions and the neutral conversation: whole answers and streams, both ways."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from relay.protocols import ir
from relay.protocols.chat.dialect import CONVERSATION
from relay.protocols.chat.request import parse
from relay.protocols.sse import Splitter, data_of
from relay.protocols.usage import openai_units, openai_usage
from tests.doubles.conversations import EVERYTHING, answer_of, answers, events_of, streams, usages
from tests.doubles.upstream import CHUNK, DONE, ask, completion, delta, event, usage_chunk
from tests.relay.protocols.chat.test_conversion_requests import CHAT

SEED = "5eed" * 8
# From an upstream, a format is that upstream's own affair: only what it made itself is the same afterwards.
OWN = CHAT & EVERYTHING.__class__(made=frozenset({"chat"}))


def asked(**fields):
    return parse(json.dumps(ask(stream=True, **fields)).encode())


def rendered(answer, **fields):
    """What a client gets."""
    return json.loads(CONVERSATION.answer_from_ir(answer, asked(**fields), SEED, "0.25"))


def decoded(*events):
    """The events of an upstream's stream, and who read them."""
    decoder = CONVERSATION.decoder()
    return [said for raw in events for said in decoder.decode(raw)], decoder


def encoded(events, **fields):
    encoder = CONVERSATION.encoder(asked(**fields), SEED)
    return [encoder.encode(said) for said in events], encoder


def accumulated(stream):
    """The completion that the official SDK makes of a stream."""
    state = ChatCompletionStreamState()
    for raw in Splitter().feed(stream):
        if data_of(raw) != b"[DONE]":
            state.handle_chunk(ChatCompletionChunk.construct(**json.loads(data_of(raw))))  # as the SDK reads it
    return state.current_completion_snapshot.to_dict()


@settings(deadline=None)
@given(usages(CHAT))
def test_units_survive_as_usage(units):
    assert openai_units(openai_usage(units)) == units


def test_usage_of_every_unit():
    names = ("input", "cache_read", "cache_write_5m", "cache_write_1h", "audio_in", "image_in")
    made = ("output", "reasoning", "audio_out", "image_out", "images", "searches")
    assert openai_usage({name: 2**number for number, name in enumerate(names + made)}) == {
        "prompt_tokens": 63,
        "completion_tokens": 64 + 256 + 512,
        "total_tokens": 63 + 832,
        "prompt_tokens_details": {
            "cached_tokens": 2,
            "cache_write_tokens": 12,
            "audio_tokens": 16,
            "image_tokens": 32,
        },
        "completion_tokens_details": {"audio_tokens": 256, "image_tokens": 512, "reasoning_tokens": 128},
    }


@settings(deadline=None)
@given(answers(OWN))
def test_an_answer_survives_the_way_there_and_back(answer):
    before = msgspec.json.encode(answer)
    body = CONVERSATION.answer_from_ir(answer, asked(), SEED, "0.25")
    assert ChatCompletion.model_validate_json(body).usage.cost == 0.25
    answer_id = f"chatcmpl-{SEED}"
    assert CONVERSATION.answer_to_ir(body) == msgspec.structs.replace(answer, id=answer_id)
    assert msgspec.json.encode(answer) == before


ANSWER = ir.Answer(
    "msg_1",
    "claude",
    1_700_000_000,
    [
        ir.Choice(
            [
                ir.Reasoning("hm", "anthropic", "sig"),
                ir.Reasoning("", "responses", None, "enc", "rs_1"),
                ir.Text("Hello"),
                ir.ToolCall("c1", "f", '{"a":1}'),
                ir.ToolCall("c2", "g"),
                ir.ToolCall("c3", "shell", "ls", True),
            ],
            "tool_calls",
        )
    ],
    {"input": 3, "output": 5},
)
DETAILS = [
    {"type": "reasoning.text", "text": "hm", "signature": "sig", "format": "anthropic-claude-v1", "index": 0},
    {"type": "reasoning.encrypted", "data": "enc", "id": "rs_1", "format": "openai-responses-v1", "index": 1},
]
CALLS = [
    {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}},
    {"id": "c2", "type": "function", "function": {"name": "g", "arguments": "{}"}},
    {"id": "c3", "type": "custom", "custom": {"name": "shell", "input": "ls"}},
]
USAGE = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8, "cost": 0.25}


def test_an_answer_as_a_client_reads_it():
    assert rendered(ANSWER) == {
        "id": f"chatcmpl-{SEED}",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "claude",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "Hello",
                    "refusal": None,
                    "reasoning_content": "hm",
                    "reasoning_details": DETAILS,
                    "tool_calls": CALLS,
                },
                "logprobs": None,
                "finish_reason": "tool_calls",
            }
        ],
        "usage": USAGE,
    }


def test_what_a_client_of_the_old_kind_reads():
    answer = ir.Answer("x", "m", 1, [ir.Choice([ir.ToolCall("c", "f", "{}")], "tool_calls")], {"input": 1})
    fields = {"functions": [{"name": "f"}]}
    choice = rendered(answer, **fields)["choices"][0]
    message = {"role": "assistant", "content": None, "refusal": None}
    assert choice["message"] == {**message, "function_call": {"name": "f", "arguments": "{}"}}
    assert choice["finish_reason"] == "function_call"
    streamed = accumulated(b"".join(encoded(events_of(answer), **fields)[0]))["choices"][0]
    assert streamed["message"]["function_call"] == {"name": "f", "arguments": "{}"}
    assert streamed["finish_reason"] == "function_call"
    # An upstream that answers so is read as one that calls tools.
    said = {"message": {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}}}
    body = json.dumps({"choices": [{**said, "finish_reason": "function_call"}]}).encode()
    choice = CONVERSATION.answer_to_ir(body).choices[0]
    assert ([part.name for part in choice.parts], choice.stop) == (["f"], "tool_calls")


REASONS = {
    "stop": "stop",
    "length": "length",
    "stop_sequence": "stop",
    "content_filter": "content_filter",
    "refusal": "content_filter",
    "context_window": "length",
    "pause": "stop",
    "tool_calls": "tool_calls",
}


@pytest.mark.parametrize("stop", REASONS)
def test_why_an_answer_ended_as_a_client_reads_it(stop):
    answer = ir.Answer("x", "m", 1, [ir.Choice([ir.Text("a")], stop)])
    assert rendered(answer)["choices"][0]["finish_reason"] == REASONS[stop]
    sent, _ = encoded([ir.Start("x", "m", 1), ir.Stop(stop)])
    assert json.loads(data_of(sent[-1]))["choices"][0]["finish_reason"] == REASONS[stop]


CALLED = {"tool_calls": [{"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}
STOPS = [
    ("stop", {}, "stop"),
    ("stop", CALLED, "tool_calls"),
    ("length", CALLED, "length"),
    ("content_filter", {}, "content_filter"),
    ("model_length", {}, "context_window"),
    ("end_turn", {}, "stop"),
    (5, {}, "stop"),
]


@pytest.mark.parametrize(("reason", "more", "stop"), STOPS)
def test_why_an_upstream_ended(reason, more, stop):
    choice = {"message": {"content": "a", **more}, "delta": {"content": "a", **more}, "finish_reason": reason}
    body = json.dumps({"choices": [choice]}).encode()
    assert CONVERSATION.answer_to_ir(body).choices[0].stop == stop
    assert decoded(event(body))[0][-1] == ir.Stop(stop)


def test_what_other_servers_send():
    """Chunks of content as Mistral sends them; arguments that are an object and no id, as Ollama does."""
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}
    content = [thinking, {"type": "text", "text": "Hello"}, {"type": "odd"}, 5]
    calls = [{"function": {"name": "f", "arguments": {"a": 1}}}, {"function": {}}, 5]
    message = {"role": "assistant", "content": content, "tool_calls": calls}
    answer = CONVERSATION.answer_to_ir(json.dumps({"choices": [{"message": message}]}).encode())
    call = answer.choices[0].parts.pop()
    assert answer.choices[0].parts == [ir.Reasoning("hm", "chat"), ir.Text("Hello")]
    assert (call.name, call.arguments, call.id[:5], len(call.id)) == ("f", '{"a":1}', "call_", 29)
    assert (answer.id, answer.model, answer.created, answer.units) == ("", "", 0, None)
    events, _ = decoded(event({"choices": [{"delta": message, "finish_reason": "tool_calls"}]}))
    parts = answer_of(events).choices[0].parts
    assert parts == [ir.Reasoning("hm", "chat"), ir.Text("Hello"), ir.ToolCall(parts[-1].id, "f", '{"a":1}')]


NOT_ANSWERS = [b"", b"null", b"[]", b"{}", b'{"choices":[]}', b'{"choices":{}}', b'{"choices":[{}],"error":{}}']
NOT_ANSWERS += [b'{"choices":[5]}', b'{"choices":[{}],"usage":1e400}', b"<html>", b'{"choices":' + b"[" * 9_999]


@pytest.mark.parametrize("body", NOT_ANSWERS)
def test_what_is_not_a_completion_is_not_read(body):
    assert CONVERSATION.answer_to_ir(body) is None


@settings(deadline=None)
@given(streams(OWN), st.booleans())
def test_a_stream_survives_the_way_there_and_back(events, usage):
    answer = answer_of(events, {"input": 3, "output": 5})
    sent, encoder = encoded(events, stream_options={"include_usage": usage})
    at_once, held = encoder.last(answer.units, "0.25")
    again, decoder = decoded(*Splitter().feed(b"".join(sent) + at_once + held))
    expected = msgspec.structs.replace(answer, id=f"chatcmpl-{SEED}")
    assert answer_of(again, answer.units) == expected
    assert (decoder.started, decoder.finished, decoder.done, decoder.failed) == (True, True, True, False)
    assert decoder.units == (answer.units if usage else None)
    assert "".join(decoder.texts) == "".join(said for choice in answer.choices for said in told(choice))


def told(choice):
    """What a choice says, in the order in which it is decoded."""
    return ir.Answer("", "", 0, [choice]).texts()


@settings(deadline=None)
@given(streams(CHAT))
def test_the_official_sdk_accumulates_what_is_sent(events):
    sent, encoder = encoded(events, stream_options={"include_usage": True})
    answer = answer_of(events, {"input": 3, "output": 5})
    made = accumulated(b"".join(sent) + b"".join(encoder.last(answer.units, "0.25")))
    whole = rendered(answer)
    assert (made["id"], made["model"], made["created"]) == (whole["id"], whole["model"], whole["created"])
    assert {name: value for name, value in made["usage"].items() if value} == whole["usage"]
    for one, other in zip(made["choices"], whole["choices"], strict=True):
        got, expected = one["message"], other["message"]
        assert (one["index"], one["finish_reason"]) == (other["index"], other["finish_reason"])
        assert (got["content"] or None, got["refusal"]) == (expected["content"], expected["refusal"])
        assert got.get("reasoning_content") == expected.get("reasoning_content")
        for call, wanted in zip(got["tool_calls"] or [], expected.get("tool_calls", []), strict=True):
            content = wanted[wanted["type"]]
            assert (call["id"], call["type"]) == (wanted["id"], wanted["type"])
            assert {name: call[wanted["type"]][name] for name in content} == content
        # What a client sends back reads as the same reasoning.
        message = {"role": "assistant", "content": "a", "reasoning_details": got.get("reasoning_details")}
        parts = CONVERSATION.to_ir(asked(messages=[message])).messages[0].parts
        choice = answer.choices[one["index"]]
        assert parts[:-1] == [part for part in choice.parts if isinstance(part, ir.Reasoning)]


def test_a_stream_as_a_client_reads_it():
    answer = msgspec.structs.replace(ANSWER, choices=[ir.Choice([ANSWER.choices[0].parts[0], ir.Text("Hi")], "stop")])
    sent, encoder = encoded(events_of(answer, 5))
    head = {"id": f"chatcmpl-{SEED}", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": "claude"}

    def chunk(change, finish=None):
        return event(
            msgspec.json.encode(
                {**head, "choices": [{"index": 0, "delta": change, "logprobs": None, "finish_reason": finish}]}
            )
        )

    text = {"type": "reasoning.text", "text": "hm", "format": "anthropic-claude-v1", "index": 0}
    assert [raw for raw in sent if raw] == [
        chunk({"role": "assistant", "content": ""}),
        chunk({"reasoning_content": "hm", "reasoning_details": [text]}),
        chunk({"reasoning_details": [{"type": "reasoning.text", "signature": "sig", "index": 0}]}),
        chunk({"content": "Hi"}),
        chunk({}, "stop"),
    ]
    assert encoder.last({"input": 3, "output": 5}, "0.25") == (b"", DONE)
    _, encoder = encoded(events_of(answer), stream_options={"include_usage": True})
    at_once, held = encoder.last({"input": 3, "output": 5}, "0.25")
    assert (json.loads(data_of(at_once)), held) == ({**head, "choices": [], "usage": USAGE}, DONE)


def piece(index, **fields):
    """A piece of a call."""
    return delta(tool_calls=[{"index": index, **fields}])


def call(name, arguments=""):
    return {"type": "function", "function": {"name": name, "arguments": arguments}}


def test_calls_whose_pieces_are_mixed_are_told_one_after_the_other():
    events, _ = decoded(
        piece(0, id="a", **call("f")),
        piece(1, id="b", **call("g", "[")),
        piece(0, function={"arguments": "{"}),
        piece(1, function={"arguments": "]"}),
        delta("late "),
        piece(0, function={"arguments": "}"}),
        delta("words"),
        delta(finish="tool_calls"),
    )
    assert events == [
        ir.Start(CHUNK["id"], CHUNK["model"], CHUNK["created"]),
        ir.PartStart(0, ir.ToolCall("a", "f")),
        ir.Delta(0, "{"),
        ir.Delta(0, "}"),
        ir.PartEnd(0),
        ir.PartStart(1, ir.ToolCall("b", "g")),
        ir.Delta(1, "[]"),
        ir.PartEnd(1),
        ir.PartStart(2, ir.Text("")),
        ir.Delta(2, "late words"),
        ir.PartEnd(2),
        ir.Stop("tool_calls"),
    ]


INDEXES = {
    "all are 0": [
        piece(0, id="a", **call("f", "1")),
        piece(0, id="b", **call("g", "2")),
        piece(0, function={"arguments": "3"}),
    ],
    "none": [
        delta(tool_calls=[{"id": "a", **call("f", "1")}, {"id": "b", **call("g", "2")}]),
        delta(tool_calls=[{"function": {"arguments": "3"}}]),
    ],
    "the id is repeated": [
        piece(0, id="a", **call("f", "1")),
        piece(1, id="b", **call("g", "2")),
        piece(1, id="b", **call("", "3")),
    ],
}


@pytest.mark.parametrize("case", INDEXES)
def test_calls_of_servers_that_number_them_badly(case):
    events, _ = decoded(*INDEXES[case], delta(finish="tool_calls"))
    assert answer_of(events).choices[0].parts == [ir.ToolCall("a", "f", "1"), ir.ToolCall("b", "g", "23")]


def thought(index, **fields):
    return {"reasoning_details": [{"type": "reasoning.text", "format": "f", "index": index, **fields}]}


def test_reasoning_as_openrouter_streams_it():
    """The text comes under two names, the signature with empty content; a call's reasoning comes with the call."""
    events, decoder = decoded(
        b": OPENROUTER PROCESSING\n\n",
        delta("", role="assistant", reasoning="a", **thought(0, text="a")),
        delta("", reasoning="b", **thought(0, text="b")),
        delta("", **thought(0, signature="s")),
        delta("so"),
        delta(
            tool_calls=[{"index": 0, "id": "c", **call("f", "{}")}], **thought(1, type="reasoning.encrypted", data="d")
        ),
        delta(
            tool_calls=[{"index": 1, "id": "e", **call("g", "{}")}], **thought(2, type="reasoning.encrypted", data="x")
        ),
        delta("", finish="tool_calls"),
        delta(""),
        usage_chunk(),
        DONE,
    )
    assert answer_of(events).choices[0].parts == [
        ir.Reasoning("ab", "chat/f", "s"),
        ir.Text("so"),
        ir.Reasoning("", "chat/f", None, "d"),
        ir.ToolCall("c", "f", "{}"),
        ir.Reasoning("", "chat/f", None, "x"),
        ir.ToolCall("e", "g", "{}"),
    ]
    assert (decoder.finished, decoder.done, decoder.units) == (True, True, {"input": 10, "output": 5})
    assert decoder.texts == ["a", "b", "so", "f", "{}", "g", "{}"]


@pytest.mark.parametrize("name", ["reasoning", "reasoning_content"])
def test_reasoning_as_deepseek_and_vllm_stream_it(name):
    events, _ = decoded(delta(**{name: "h"}), delta(**{name: "m"}), delta("so"), delta(finish="stop"))
    assert answer_of(events).choices[0].parts == [ir.Reasoning("hm", "chat"), ir.Text("so")]


def choice(index, text="x", finish=None):
    return {"index": index, "delta": {"content": text}, "finish_reason": finish}


def test_an_answer_has_finished_when_every_choice_that_began_has():
    decoder = CONVERSATION.decoder()
    states = []
    for choices in ([], [choice(0)], [choice(0, "", "stop"), choice(1)], [choice(1, "", "stop")]):
        decoder.decode(event({**CHUNK, "choices": choices}))
        states.append(decoder.finished)
    assert states == [False, False, False, True]


def test_a_stream_that_never_says_why_it_ended_ends_by_its_terminator():
    events, decoder = decoded(delta("a"), piece(0, id="c", **call("f")), DONE)
    assert answer_of(events).choices[0] == ir.Choice([ir.Text("a"), ir.ToolCall("c", "f")], "tool_calls")
    assert (decoder.finished, decoder.done) == (True, True)


def test_an_empty_first_chunk_begins_nothing():
    """Azure's first chunk has no choices, no id and no model."""
    first = event({"id": "", "model": "", "created": 0, "choices": [], "prompt_filter_results": []})
    events, decoder = decoded(first, delta("a"))
    assert (events[0], decoder.started) == (ir.Start(CHUNK["id"], CHUNK["model"], CHUNK["created"]), True)


def test_an_answer_begins_with_its_first_chunk_and_a_choice_after_those_before_it():
    assert decoded(delta("", role="assistant"))[0] == [ir.Start(CHUNK["id"], CHUNK["model"], CHUNK["created"])]
    sent, _ = encoded([ir.Start("x", "m", 1), ir.PartStart(0, ir.Text(""), 2)])
    indexes = [json.loads(data_of(raw))["choices"][0]["index"] for raw in Splitter().feed(b"".join(sent))]
    assert indexes == [0, 1, 2]


FAILURES = [
    event({"error": {"message": "sk-secret"}}),
    event({"choices": [], "error": {"code": 500}}),
    event({"object": "error", "message": "sk-secret"}),
    b'event: error\ndata: {"message":"sk-secret"}\n\n',
    b'data: {"error": sk-secret}\n\n',
    delta("", finish="error"),
]


@pytest.mark.parametrize("raw", FAILURES)
def test_an_error_event_fails_the_stream_and_says_nothing(raw):
    events, decoder = decoded(delta("a"), raw, delta("b"), DONE)
    assert events == [
        ir.Start(CHUNK["id"], CHUNK["model"], CHUNK["created"]),
        ir.PartStart(0, ir.Text("")),
        ir.Delta(0, "a"),
    ]
    assert (decoder.failed, decoder.finished, decoder.done) == (True, False, False)


@settings(deadline=None)
@given(streams(CHAT), st.data())
def test_any_split_of_a_stream_gives_the_same_events(events, data):
    stream = b"".join(encoded(events)[0]) + DONE
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    splitter = Splitter()
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    raw = [found for part in pieces for found in splitter.feed(part)]
    assert decoded(*raw)[0] == decoded(*Splitter().feed(stream))[0]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.just("text"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("index", "delta", "message", "content", "tool_calls", "function", "custom", "name", "arguments"),
                    *("reasoning_details", "reasoning", "text", "signature", "data", "format", "finish_reason", "id"),
                    *("logprobs", "top_logprobs", "token", "logprob", "function_call", "refusal", "thinking", "type"),
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=15,
)


@settings(deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from(["choices", "usage", "id", "model", "created"]), JSON), max_size=3))
def test_whatever_an_upstream_sends_is_read_in_order_or_not_at_all(chunks):
    events, _ = decoded(*(event(chunk) for chunk in chunks), DONE)
    assert not events or answer_of(events)
    encoded(events)
    for chunk in chunks:
        answer = CONVERSATION.answer_to_ir(json.dumps(chunk).encode())
        assert answer is None or rendered(answer)


@settings(deadline=None)
@given(st.lists(JSON, min_size=1, max_size=3), st.sampled_from(["delta", "message"]))
def test_whatever_a_choice_holds_is_read_in_order_or_not_at_all(deltas, name):
    chunks = [{"choices": [{name: change, "finish_reason": None}]} for change in deltas]
    events, _ = decoded(*(event(chunk) for chunk in chunks), DONE)
    assert answer_of(events)
    assert all(encoded(events)[0][:1])
    for chunk in chunks:
        assert rendered(CONVERSATION.answer_to_ir(json.dumps(chunk).encode()))


def test_an_answer_of_the_double():
    answer = CONVERSATION.answer_to_ir(json.dumps(completion("Hi")).encode())
    assert answer == ir.Answer(
        CHUNK["id"], CHUNK["model"], CHUNK["created"], [ir.Choice([ir.Text("Hi")])], {"input": 10, "output": 5}
    )
