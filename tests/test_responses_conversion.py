"""OpenAI Responses meets other dialects: requests, answers and streams, to and from the neutral conversation."""

from __future__ import annotations

import json
from dataclasses import replace

import httpx
import msgspec
import openai
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.responses import Response

from relay import ir
from relay.protocols.base import Target
from relay.protocols.openai_responses import parse, with_history
from relay.protocols.openai_responses_decode import StreamDecoder
from relay.protocols.openai_responses_encode import StreamEncoder
from relay.protocols.openai_responses_ir import answer_from_ir, answer_to_ir, from_ir, to_ir
from relay.protocols.turns import turn_items
from tests.conversations import EVERYTHING, answer_of, answers, events_of, requests, streams

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


def ours(parts):
    """Reasoning of its own that is in the open has no other maker to be known by."""
    return [msgspec.structs.replace(p) if isinstance(p, ir.Reasoning) else p for p in parts]


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
    adapter = _adapter()
    for event in split(data):
        head, _, body = event.partition(b"\ndata: ")
        value = json.loads(body)
        assert head == b"event: " + value["type"].encode()
        for removed in ("response.function_call_arguments.done",):
            if value["type"] == removed:
                assert value["name"] in ("get_weather", "shell")
        adapter.validate_python(value)
    Response.model_validate(json.loads(answer_from_ir(answer, ask(), SEED, "0.1")))


def _adapter():
    from openai.types.responses import ResponseStreamEvent
    from pydantic import TypeAdapter

    return TypeAdapter(ResponseStreamEvent)


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
