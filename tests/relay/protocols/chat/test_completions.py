"""Legacy completions: what is bounded, counted and refused, what travels on, and what comes back."""

from __future__ import annotations

import json

import msgspec
import pytest
from openai.types import Completion

from relay.errors import RelayError
from relay.protocols import DIALECTS
from relay.protocols.base import Feature, Target
from relay.protocols.sse import data_of
from tests.doubles.upstream import DONE, USAGE, event

DIALECT = DIALECTS["completions"]


def read(**fields):
    return DIALECT.parse(json.dumps({"model": "m", "prompt": "Say", **fields}).encode(), "")


def refusal(**fields):
    with pytest.raises(RelayError) as refused:
        read(**fields)
    return refused.value.code, refused.value.param


def sent(request, **target):
    return json.loads(DIALECT.body(request, Target("up", **target)))


PROMPTS = [
    ("Say é", 1, 6, ["Say é"]),
    (["Say", "it"], 2, 5, ["Say", "it"]),
    ([1, 2, 3], 1, 3, [" a a a"]),
    ([[1, 2], [3]], 2, 3, [" a a", " a"]),
    ([[1, 2], "it"], 2, 4, [" a a", "it"]),
    (None, 1, 0, []),
    ("", 1, 0, [""]),
]


@pytest.mark.parametrize(("prompt", "choices", "size", "texts"), PROMPTS)
def test_prompts_are_counted_and_each_is_answered(prompt, choices, size, texts):
    request = read(prompt=prompt)
    assert (request.choices, request.messages, request.text_bytes, request.texts) == (choices, choices, size, texts)
    assert read(prompt=prompt, n=3).choices == 3 * choices


def test_a_suffix_and_unknown_fields_are_read_as_input():
    request = read(suffix="end", guided_json={"a": 1}, user="nobody", stop=["x"], temperature=1)
    assert (request.text_bytes, request.texts) == (3 + 3 + len('{"a": 1}'), ["Say", "end", '{"a": 1}'])


@pytest.mark.parametrize("prompt", [5, {}, [[]], [["a"]], [[1], [-1]], [True], [1.5], [{"a": 1}], [[[1]]]])
def test_a_prompt_of_another_kind_is_refused(prompt):
    assert refusal(prompt=prompt) == ("invalid_request", "prompt")


@pytest.mark.parametrize("name", ["n", "best_of", "max_tokens"])
@pytest.mark.parametrize("value", [-1, 10**30, 1.5, True, "5", [5]])
def test_a_quantity_out_of_bounds_is_refused(name, value):
    assert refusal(**{name: value}) == ("invalid_request", name)


def test_more_candidates_than_answers_cannot_be_relayed():
    assert refusal(best_of=2) == ("unsupported_field", "best_of")
    assert refusal(best_of=4, n=3) == ("unsupported_field", "best_of")
    assert (read(best_of=3, n=3).choices, read(best_of=None).choices) == (3, 1)


@pytest.mark.parametrize(
    ("name", "code"),
    [("n_predict", "unsupported_field"), ("plugins", "unpriced_feature"), ("previous_response_id", "stored_state")],
)
def test_what_chat_refuses_is_refused_here(name, code):
    assert refusal(**{name: "x"}) == (code, name)
    assert refusal(extra_body={"a": {"cached_content": "x"}}) == ("stored_state", "cached_content")


def test_a_service_tier_is_a_feature():
    assert read(service_tier="flex").features == [Feature("service_tier", tier="flex")]


@pytest.mark.parametrize("depth", [700, 990, 1_100, 100_000])
def test_nesting_of_any_depth_is_refused(depth):
    body = b'{"model":"m","prompt":' + b"[" * depth + b"]" * depth + b"}"
    with pytest.raises(RelayError) as refused:
        DIALECT.parse(body, "")
    assert refused.value.status == 400


def test_how_long_an_answer_may_be_is_always_said():
    assert (read().cap, read(max_tokens=None).cap, read(max_tokens=0).cap, read(max_tokens=9).cap) == (16, 16, 0, 9)
    assert sent(read()) == {"model": "up", "prompt": "Say", "max_tokens": 16}
    assert sent(read(max_tokens=None)) == {"model": "up", "prompt": "Say", "max_tokens": 16}
    assert sent(read(max_tokens=0, echo=True)) == {"model": "up", "prompt": "Say", "max_tokens": 0, "echo": True}


def test_what_nobody_here_has_heard_of_travels_on():
    body = b'{"model":"m","prompt":"Say","max_tokens":9,"new":[1e5, "\\u00e9"],"logit_bias":{"50256":-100}}'
    again = DIALECT.body(DIALECT.parse(body, ""), Target("up", stores=True))
    assert again == body.replace(b'"model":"m"', b'"model":"up"')


def test_usage_is_asked_of_every_stream():
    request = read(stream=True)
    assert request.options is False
    assert sent(request)["stream_options"] == {"include_usage": True}
    assert read(stream=True, stream_options={"include_usage": True}).options is True


HEAD = {"id": "cmpl-1", "object": "text_completion", "created": 1_700_000_000, "model": "up"}


def answer(**fields):
    choices = [
        {"text": " hello", "index": 0, "logprobs": None, "finish_reason": "length"},
        {"text": " there", "index": 1, "logprobs": None, "finish_reason": "stop"},
    ]
    return {**HEAD, "choices": choices, **fields}


def test_a_whole_answer_travels_on_with_its_cost():
    found = DIALECT.read_answer(json.dumps(answer(usage=USAGE)).encode(), read())
    assert found.units == {"input": 10, "output": 5}
    rendered = found.render(found.units, "0.25")
    assert json.loads(rendered) == answer(usage={**USAGE, "cost": 0.25})
    assert Completion.model_validate_json(rendered).choices[1].text == " there"


def test_an_answer_without_usage_says_what_can_be_counted():
    found = DIALECT.read_answer(json.dumps(answer()).encode(), read())
    assert (found.units, found.texts) == (None, [" hello", " there"])
    usage = {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5, "cost": 0.25}
    assert json.loads(found.render({"input": 2, "output": 3}, "0.25")) == answer(usage=usage)


def chunk(text, index=0, finish=None, **fields):
    choice = {"text": text, "index": index, "logprobs": None, "finish_reason": finish}
    return event(msgspec.json.encode({**HEAD, "choices": [choice], **fields}))


@pytest.mark.parametrize("asked", [False, True])
def test_a_stream_passes_as_it_is_but_for_its_usage(asked):
    reader = DIALECT.reader(read(stream=True, stream_options={"include_usage": asked}), lambda units: "0.25")
    chunks = [chunk(" hel"), chunk("lo", finish="length"), chunk(" there", 1), chunk("", 1, "stop")]
    states = []
    for raw in chunks:
        assert reader.read(raw) == raw
        states.append(reader.finished)
    assert states == [False, True, False, True]
    shown = reader.read(event({**HEAD, "choices": [], "usage": USAGE}))
    assert (json.loads(data_of(shown)) if shown else None) == (
        {**HEAD, "choices": [], "usage": {**USAGE, "cost": 0.25}} if asked else None
    )
    assert reader.read(DONE) == b""
    assert (reader.done, reader.failed, reader.units) == (True, False, {"input": 10, "output": 5})
    assert reader.texts == [" hel", "lo", " there"]
    assert reader.last(reader.units, "0.25") == (b"", DONE)
