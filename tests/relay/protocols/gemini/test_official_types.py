"""What the relay writes for Gemini's clients and upstreams, read by the types of Google's own SDK."""

from __future__ import annotations

import json

from google.genai import types
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relay.protocols import ir
from relay.protocols.base import Target
from relay.protocols.gemini.count import count_answer
from relay.protocols.gemini.dialect import answer_from_ir
from relay.protocols.gemini.encode import Encoder
from relay.protocols.gemini.from_ir import from_ir
from relay.protocols.gemini.parts import unsealed
from relay.protocols.gemini.request import parse
from relay.protocols.sse import Splitter
from tests.cast.examples import examples
from tests.doubles.conversations import EVERYTHING, answers, events_of, requests
from tests.relay.protocols.gemini.test_conversion import CAN

# How long an example takes depends on what else the machine does.
unhurried = settings(deadline=None, max_examples=examples(25), suppress_health_check=[HealthCheck.too_slow])
CLIENT = parse(b'{"contents":[{}]}', "g:streamGenerateContent?alt=sse")
TOP = {"contents", "systemInstruction", "tools", "toolConfig", "generationConfig"}


@unhurried
@given(answers(EVERYTHING))
def test_an_answer_is_a_response(answer):
    response = types.GenerateContentResponse.model_validate_json(answer_from_ir(answer, CLIENT, "seed", "0"))
    spoken = [part for part in response.candidates[0].content.parts if part.text and not part.thought]
    expected = [part.text for part in answer.choices[0].parts if isinstance(part, ir.Text | ir.Refusal)]
    assert [part.text for part in spoken] == expected
    assert response.usage_metadata.total_token_count == sum(answer.units.values()) - answer.units.get("reasoning", 0)


@unhurried
@given(answers(EVERYTHING), st.integers(1, 5))
def test_a_stream_is_responses(answer, size):
    encoder = Encoder(CLIENT, "seed")
    stream = b"".join(map(encoder.encode, events_of(answer, size))) + b"".join(encoder.last(answer.units, "0"))
    chunks = [types.GenerateContentResponse.model_validate_json(event[6:]) for event in Splitter().feed(stream)]
    last = chunks[-1]
    assert [candidate.finish_reason is not None for candidate in last.candidates] == [True] * len(answer.choices)
    said = "".join(
        part.text
        for chunk in chunks
        for candidate in chunk.candidates
        if candidate.index in (0, None) and candidate.content
        for part in candidate.content.parts
        if part.text and not part.thought
    )
    assert said == "".join(part.text for part in answer.choices[0].parts if isinstance(part, ir.Text | ir.Refusal))


def test_sealed_reasoning_survives_the_sdk():
    part = ir.Reasoning("hm", "anthropic", "sig>>>?")
    answer = ir.Answer("a", "m", 0, [ir.Choice([part, ir.Text("x")])], {"input": 1})
    response = types.GenerateContentResponse.model_validate_json(answer_from_ir(answer, CLIENT, "seed", "0"))
    again = response.candidates[0].content.model_dump(mode="json", by_alias=True, exclude_none=True)
    assert unsealed(again["parts"][0]["thoughtSignature"], "hm") == part


@unhurried
@given(requests(CAN))
def test_a_request_has_googles_fields(request):
    body = json.loads(from_ir(request, Target("gemini-3-flash")))
    assert set(body) <= TOP
    for content in body["contents"]:
        types.Content.model_validate(content)
    types.Content.model_validate(body.get("systemInstruction", {}))
    for tool in body.get("tools", []):
        types.Tool.model_validate(tool)
    types.ToolConfig.model_validate(body.get("toolConfig", {}))
    types.GenerationConfig.model_validate(body.get("generationConfig", {}))


def test_a_count_is_a_count():
    assert types.CountTokensResponse.model_validate_json(count_answer(31)).total_tokens == 31
