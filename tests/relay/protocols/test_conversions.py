"""Every dialect meets every other: what both can say survives the way from one to the other and back."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import permutations
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.protocols import DIALECTS, ir
from relay.protocols.base import Target
from tests.cast.examples import examples
from tests.doubles.conversations import Can, answer_of, answers, events_of, requests
from tests.relay.protocols.anthropic.test_conversion import MESSAGES
from tests.relay.protocols.chat.test_conversion_requests import CHAT
from tests.relay.protocols.gemini.test_conversion import CAN as GEMINI
from tests.relay.protocols.responses.test_conversion import RESPONSES

CANS = {"chat": CHAT, "responses": RESPONSES, "anthropic": MESSAGES, "gemini": GEMINI}
PAIRS = list(permutations(CANS, 2))
SEED = "0123456789abcdef" * 2
MODEL = "gemini-3-flash"  # what Gemini takes depends on the model's generation


def parsed(name: str, body: bytes, *, stream: bool = False) -> Any:
    """A client's request; Gemini's path says what other dialects' bodies do."""
    path = f"{MODEL}:{'streamGenerateContent?alt=sse' if stream else 'generateContent'}" if name == "gemini" else ""
    return DIALECTS[name].parse(body, path)


def through(name: str, request: ir.Request) -> ir.Request:
    """The same request, written in a dialect and read again. Chat as OpenAI itself speaks it: others know less."""
    conversation = DIALECTS[name].conversation
    body = conversation.from_ir(request, Target(MODEL, stores=True))
    return conversation.to_ir(parsed(name, body, stream=request.stream))


def meaning(request: ir.Request, common: Can) -> ir.Request:
    """A request without what some dialect always says, or guesses, where nobody said it."""
    request = msgspec.json.decode(msgspec.json.encode(request), type=ir.Request)
    for tool in request.tools:
        tool.strict = None if tool.custom else bool(tool.strict)
    for message in request.messages:
        for part in message.parts:
            for inner in [part, *(part.parts if isinstance(part, ir.ToolResult) else [])]:
                if isinstance(inner, ir.Image | ir.File) and inner.url is not None:
                    inner.media_type = None
    if request.output is not None and "name" not in common.output:
        request.output.name = None
    if request.thinking is not None:
        request.thinking.show = None
        if request.thinking.budget and any(isinstance(part, ir.ToolResult) for part in request.messages[-1].parts):
            request.thinking = None  # a turn that goes on without a thought of its maker's gets no budget
    if request.parallel is not None and request.tool_choice is None:
        request.tool_choice = ir.ToolChoice("auto")
    if request.tool_choice is not None and request.tool_choice.mode == "none":
        request.parallel = None
    return request


def blank(value: Any) -> bool:
    """Whether some text is white space alone, which Anthropic does not take."""
    if isinstance(value, dict):
        return any(map(blank, value.values()))
    if isinstance(value, list):
        return any(map(blank, value))
    return isinstance(value, str) and bool(value) and not value.strip()


@pytest.mark.parametrize(("one", "other"), PAIRS)
@settings(max_examples=examples(8), deadline=None)
@given(st.data())
def test_a_request_survives_from_one_to_the_other_and_back(one, other, data):
    common = CANS[one] & CANS[other]
    drawn = data.draw(requests(common, model=MODEL).filter(lambda r: not blank(msgspec.to_builtins(r))))
    # Anthropic always says how long an answer may be, and that it is longer than a budget.
    request = msgspec.structs.replace(drawn, max_tokens=9_000)
    back = through(one, through(other, through(one, request)))
    assert meaning(back, common) == meaning(request, common)


def asked(name: str, *, stream: bool = False) -> Any:
    """A client's plain request, as `answer_from_ir` and an encoder want it."""
    request = ir.Request(MODEL, [ir.Message("user", [ir.Text("hello")])], stream=stream, max_tokens=99)
    fields = json.loads(DIALECTS[name].conversation.from_ir(request, Target(MODEL)))
    if name == "chat" and stream:
        fields["stream_options"] = {"include_usage": True}
    if name == "responses":
        fields["include"] = ["message.output_text.logprobs"]
    return parsed(name, json.dumps(fields).encode(), stream=stream)


def answered(name: str, answer: ir.Answer) -> ir.Answer:
    """The same answer, as a client reads it, and read as an upstream's."""
    conversation = DIALECTS[name].conversation
    found = conversation.answer_to_ir(conversation.answer_from_ir(answer, asked(name), SEED, "0.25"))
    assert found is not None
    return found


@pytest.mark.parametrize(("one", "other"), PAIRS)
@settings(max_examples=examples(8), deadline=None)
@given(st.data())
def test_an_answer_survives_from_one_to_the_other_and_back(one, other, data):
    answer = data.draw(answers(replace(CANS[one] & CANS[other], made=frozenset()), model=MODEL))
    back = answered(one, answered(other, answered(one, answer)))
    assert (back.choices, back.units) == (answer.choices, answer.units)


def joined(choices: list[ir.Choice]) -> list[ir.Choice]:
    """Choices whose neighbouring texts are one: chunks do not tell where one ends and the next begins."""
    found = []
    for choice in choices:
        parts: list[ir.Part] = []
        for part in choice.parts:
            if isinstance(part, ir.Text) and parts and isinstance(parts[-1], ir.Text):
                parts[-1] = ir.Text(parts[-1].text + part.text)
            else:
                parts.append(part)
        found.append(msgspec.structs.replace(choice, parts=parts))
    return found


def streamed(name: str, answer: ir.Answer, size: int) -> ir.Answer:
    """The same answer, streamed to a client, and its stream read as an upstream's."""
    dialect = DIALECTS[name]
    encoder, decoder = dialect.conversation.encoder(asked(name, stream=True), SEED), dialect.conversation.decoder()
    sent = b"".join(encoder.encode(said) for said in events_of(answer, size))
    sent += b"".join(encoder.last(answer.units or {}, "0.25"))
    cutter = dialect.streaming.cutter()
    events = [said for raw in cutter.feed(sent) for said in decoder.decode(raw)]
    assert (decoder.started, decoder.finished, decoder.failed) == (True, True, False)
    return answer_of(events, decoder.units)


@pytest.mark.parametrize(("one", "other"), PAIRS)
@settings(max_examples=examples(8), deadline=None)
@given(st.data(), st.integers(1, 5))
def test_a_stream_survives_from_one_to_the_other_and_back(one, other, data, size):
    answer = data.draw(answers(replace(CANS[one] & CANS[other], made=frozenset()), model=MODEL))
    back = streamed(one, streamed(other, streamed(one, answer, size), size), size)
    assert (joined(back.choices), back.units) == (joined(answer.choices), answer.units)


USER = {"role": "user", "content": "and?"}
# How a client sends an answer back: the field of its turns, and what of the answer are the next.
ECHOES = {
    "chat": ("messages", lambda answer: [answer["choices"][0]["message"], USER]),
    "responses": ("input", lambda answer: [*answer["output"], USER]),
    "anthropic": ("messages", lambda answer: [{"role": "assistant", "content": answer["content"]}, USER]),
    "gemini": (
        "contents",
        lambda answer: [answer["candidates"][0]["content"], {"role": "user", "parts": [{"text": "and?"}]}],
    ),
}
# What each maker's reasoning looks like.
THOUGHTS = {
    "chat": [ir.Reasoning("hm", "chat")],
    "responses": [ir.Reasoning("hm", "responses", None, "ZW5j", "rs_1")],
    "anthropic": [ir.Reasoning("hm", "anthropic", "c2ln"), ir.Reasoning("", "anthropic", None, "cmVk")],
    "gemini": [ir.Reasoning("hm", "gemini"), ir.Reasoning("", "gemini", "c2ln")],
}


def echoed(client: str, body: bytes) -> list[ir.Part]:
    """What of an answer comes back, when a client sends it as its own dialect has it."""
    field, turns_of = ECHOES[client]
    fields = {name: msgspec.json.decode(raw) for name, raw in asked(client).fields.items()}
    request = parsed(client, json.dumps({**fields, field: turns_of(json.loads(body))}).encode())
    messages = DIALECTS[client].conversation.to_ir(request).messages
    return [part for message in messages if message.role == "assistant" for part in message.parts]


@pytest.mark.parametrize(("client", "maker"), PAIRS)
def test_reasoning_comes_back_to_its_maker_through_a_client_of_another_dialect(client, maker):
    parts = [*THOUGHTS[maker], ir.Text("so")]
    answer = ir.Answer("a", MODEL, 1_700_000_000, [ir.Choice(parts)], {"input": 3, "output": 5})
    body = DIALECTS[client].conversation.answer_from_ir(answer, asked(client), SEED, "0.25")
    assert echoed(client, body) == parts
