"""Embeddings as the protocol file reads them: what is counted, what is refused, what the answer tells."""

from __future__ import annotations

import json

import pytest

from relay.errors import RelayError
from relay.exchange import tokens
from relay.protocols import DIALECTS
from relay.protocols.base import Feature, Media, Target

EMBEDDINGS = DIALECTS["embeddings"]
ANSWER = (
    b'{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.0023064255,-0.009327292]}],'
    b'"model":"text-embedding-3-small","usage":{"prompt_tokens":8,"total_tokens":8}}'
)


def read(**fields):
    return EMBEDDINGS.parse(json.dumps({"model": "m", "input": "hello", **fields}).encode(), "")


def refusal(**fields):
    with pytest.raises(RelayError) as refused:
        read(**fields)
    assert refused.value.status == 400
    return refused.value.code, refused.value.param


INPUTS = [
    ("hello", 5),
    ("héllo €", 10),
    (["ab", "cde"], 5),
    ([1, 2, 3], 3),
    ([[1, 2], [3]], 3),
    (["ab", [1, 2, 3]], 5),
    ([{"text": "abc"}], 3),
    ([{"text": "abc"}, {"image": "data:image/png;base64,AAAA"}], 3),
]


@pytest.mark.parametrize(("value", "size"), INPUTS)
def test_texts_count_their_bytes_and_tokens_count_themselves(value, size):
    request = read(input=value)
    assert (request.text_bytes, request.output, request.stream, request.features) == (size, False, False, [])


def test_a_tokenizer_counts_what_was_sent_as_tokens():
    assert tokens.count(read(input=[[9906, 1917], [5, 6, 7]]).texts) == 5


def test_an_image_is_not_text():
    assert read(input=[{"image": "data:image/png;base64,AAAA"}]).media == [Media("image")]


@pytest.mark.parametrize(
    "value", [None, "", [], [[]], 5, [""], [None], [1.5], [-1], [True], {}, [{}], [[1, "a"]], [[[1]]], ["a", 1]]
)
def test_an_input_of_another_kind_is_refused(value):
    assert refusal(input=value) == ("invalid_request", "input")


@pytest.mark.parametrize(
    ("name", "value"),
    [("dimensions", 0), ("dimensions", 10**9), ("dimensions", "5"), ("encoding_format", "int8"), ("model", 5)],
)
def test_a_field_out_of_bounds_is_named(name, value):
    assert refusal(**{name: value}) == ("invalid_request", name)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b'{"model":"m"}', b'{"input":"a"}', b'{"model":"m","input":"\\ud800']
)
def test_a_body_that_is_no_request_is_a_400(body):
    with pytest.raises(RelayError) as refused:
        EMBEDDINGS.parse(body, "")
    assert refused.value.status == 400


def test_nesting_is_read_or_refused():
    deep = b'{"model":"m","input":[{"a":' + b"[" * 200 + b"]" * 200 + b"}]}"
    assert EMBEDDINGS.parse(deep, "").text_bytes == 0
    with pytest.raises(RelayError) as refused:
        EMBEDDINGS.parse(deep.replace(b"[" * 200, b"[" * 5_000).replace(b"]" * 200, b"]" * 5_000), "")
    assert refused.value.code == "invalid_json"


def test_a_service_tier_must_have_a_price():
    assert read(service_tier="flex").features == [Feature("service_tier", tier="flex")]
    assert read(service_tier="auto").features == []


def test_an_unknown_field_counts_as_text_and_travels_on():
    request = read(task="retrieval.query", normalized=True)
    assert request.text_bytes == len("hello") + len('"retrieval.query"')
    assert json.loads(EMBEDDINGS.body(request, Target("there"))) == {
        "model": "there",
        "input": "hello",
        "task": "retrieval.query",
        "normalized": True,
    }


def test_an_answer_gains_its_cost_and_nothing_else():
    answer = EMBEDDINGS.read_answer(ANSWER, read())
    assert (answer.units, answer.texts) == ({"input": 8}, [])
    assert answer.render({"input": 8}, "0.00000016") == ANSWER.replace(
        b'"total_tokens":8}', b'"total_tokens":8,"cost":0.00000016}'
    )


USAGES = [
    ({"prompt_tokens": 3, "total_tokens": 9}, {"input": 3}),
    ({"total_tokens": 9}, {"input": 9}),
    ({"prompt_tokens": 0, "total_tokens": 0}, None),
    ({"prompt_tokens": -1}, None),
    ({"prompt_tokens": 1e300}, None),
    ({"prompt_tokens": True}, None),
    ([], None),
    (None, None),
]


@pytest.mark.parametrize(("usage", "units"), USAGES)
def test_usage_in_any_words(usage, units):
    answer = EMBEDDINGS.read_answer(json.dumps({"data": [], "usage": usage}).encode(), read())
    assert answer.units == units
    assert json.loads(answer.render(units or {}, "0.5"))["usage"]["cost"] == 0.5


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b"{}", b'{"data":{}}', b'{"data":[],"error":{}}', b"\xff", b"<p>"]
)
def test_a_body_that_is_no_answer(body):
    assert EMBEDDINGS.read_answer(body, read()) is None
