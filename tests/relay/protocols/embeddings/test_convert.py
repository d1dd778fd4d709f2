"""Embeddings between dialects: OpenAI's clients to Cohere and Gemini, Gemini's clients to an OpenAI-style upstream."""

from __future__ import annotations

import base64
import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import RelayError
from relay.protocols import DIALECTS
from relay.protocols.base import Target
from relay.protocols.embeddings.convert import CONVERSIONS

TO_COHERE = CONVERSIONS["embeddings", "cohere_embed"]
TO_GEMINI = CONVERSIONS["embeddings", "gemini_embed"]
TO_OPENAI = CONVERSIONS["gemini_embed", "embeddings"]
THERE = Target("there")
VECTORS = [[0.5, -0.25], [1.0, 2.0]]


def openai(**fields):
    body = {"model": "m", "input": ["ab", "cde"], **fields}
    return DIALECTS["embeddings"].parse(json.dumps(body).encode(), "")


def content(text, **fields):
    return {"content": {"parts": [{"text": text}]}, **fields}


def one(**fields):
    return DIALECTS["gemini_embed"].parse(json.dumps({**content("ab"), **fields}).encode(), "g:embedContent")


def many(*requests):
    return DIALECTS["gemini_embed"].parse(json.dumps({"requests": requests}).encode(), "g:batchEmbedContents")


def written(pair, request):
    return json.loads(pair.body(request, THERE))


def refusal(pair, request):
    with pytest.raises(RelayError) as refused:
        pair.body(request, THERE)
    assert refused.value.status == 400
    return refused.value.code, refused.value.param


def rendered(pair, body, request):
    """Units, and what the client gets for them."""
    answer = pair.read_answer(json.dumps(body).encode(), request)
    return answer.units, json.loads(answer.render(answer.units or {"input": 5}, "0.25"))


def test_a_request_for_cohere():
    assert written(TO_COHERE, openai(user="u")) == {
        "model": "there",
        "texts": ["ab", "cde"],
        "input_type": "search_document",
        "embedding_types": ["float"],
    }
    request = openai(input="ab", dimensions=256, input_type="search_query", truncate="END", encoding_format="base64")
    assert written(TO_COHERE, request) == {
        "model": "there",
        "texts": ["ab"],
        "input_type": "search_query",
        "embedding_types": ["float"],
        "output_dimension": 256,
        "truncate": "END",
    }


def test_a_request_for_gemini():
    assert written(TO_GEMINI, openai(dimensions=256)) == {
        "requests": [
            {"model": "models/there", **content("ab"), "outputDimensionality": 256},
            {"model": "models/there", **content("cde"), "outputDimensionality": 256},
        ]
    }
    assert written(TO_GEMINI, openai(input="ab")) == {"requests": [{"model": "models/there", **content("ab")}]}


@pytest.mark.parametrize("pair", [TO_COHERE, TO_GEMINI])
@pytest.mark.parametrize(
    ("name", "value"), [("input", [1, 2]), ("input", [[1, 2]]), ("input", [{"text": "a"}]), ("task", "x")]
)
def test_what_they_cannot_express_is_refused(pair, name, value):
    assert refusal(pair, openai(**{name: value})) == ("unsupported_field", name)


COHERE = {
    "id": "1",
    "embeddings": {"float": VECTORS},
    "texts": ["ab", "cde"],
    "meta": {"api_version": {"version": "2"}, "billed_units": {"input_tokens": 7}},
    "response_type": "embeddings_by_type",
}
GEMINI = {"embeddings": [{"values": row} for row in VECTORS], "usageMetadata": {"promptTokenCount": 7}}


@pytest.mark.parametrize(("pair", "body"), [(TO_COHERE, COHERE), (TO_GEMINI, GEMINI)])
def test_an_answer_for_openais_client(pair, body):
    units, shown = rendered(pair, body, openai())
    assert units == {"input": 7}
    assert shown == {
        "object": "list",
        "data": [
            {"object": "embedding", "index": 0, "embedding": VECTORS[0]},
            {"object": "embedding", "index": 1, "embedding": VECTORS[1]},
        ],
        "model": "m",
        "usage": {"prompt_tokens": 7, "total_tokens": 7, "cost": 0.25},
    }


@pytest.mark.parametrize(("pair", "body"), [(TO_COHERE, COHERE), (TO_GEMINI, GEMINI)])
def test_an_answer_in_base64(pair, body):
    _, shown = rendered(pair, body, openai(encoding_format="base64"))
    found = [base64.b64decode(row["embedding"]) for row in shown["data"]]
    assert [list(struct.unpack("<2f", row)) for row in found] == VECTORS


def test_an_answer_that_tells_no_usage_is_estimated():
    for pair, body, name in ((TO_COHERE, COHERE, "meta"), (TO_GEMINI, GEMINI, "usageMetadata")):
        units, shown = rendered(pair, {**body, name: {}}, openai())
        assert (units, shown["usage"]["prompt_tokens"]) == (None, 5)


def test_a_number_beyond_32_bits_is_no_answer():
    body = json.dumps({**GEMINI, "embeddings": [{"values": [1e300]}]}).encode()
    assert TO_GEMINI.read_answer(body, openai(encoding_format="base64")) is None


NO_ANSWER = [
    b"",
    b"[]",
    b"{}",
    b'{"embeddings":[]}',
    b'{"embeddings":{"float":[["a"]]}}',
    b'{"embeddings":[{}]}',
    b"\xff",
]


@pytest.mark.parametrize("pair", CONVERSIONS.values())
@pytest.mark.parametrize("body", [*NO_ANSWER, b'{"error":{}}', b'{"data":5}', b'{"data":[{"embedding":"AAAA"}]}'])
def test_a_body_that_is_no_answer(pair, body):
    assert pair.read_answer(body, one() if pair is TO_OPENAI else openai()) is None


@given(st.binary(max_size=100))
def test_no_answer_breaks_a_reader(noise):
    for pair in CONVERSIONS.values():
        pair.read_answer(noise, one() if pair is TO_OPENAI else openai())


def test_geminis_request_for_an_openai_upstream():
    assert written(TO_OPENAI, one(taskType="RETRIEVAL_QUERY", title="t", outputDimensionality=256)) == {
        "model": "there",
        "input": ["ab"],
        "encoding_format": "float",
        "dimensions": 256,
    }
    parts = {"content": {"role": "user", "parts": [{"text": "a"}, {"text": "b"}]}, "model": "models/g"}
    batch = many({**parts, "output_dimensionality": 3}, {**content("cd"), "outputDimensionality": 3})
    assert written(TO_OPENAI, batch) == {
        "model": "there",
        "input": ["a\nb", "cd"],
        "encoding_format": "float",
        "dimensions": 3,
    }


IMAGE = {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}
REFUSED = [
    (one(content={"parts": [{"text": "a"}, IMAGE]}), "content.parts"),
    (one(autoTruncate=True), "autoTruncate"),
    (many(content("a"), {"content": {"parts": [IMAGE]}}), "requests[1].content.parts"),
    (many(content("a", outputDimensionality=1), content("a", outputDimensionality=2)), "outputDimensionality"),
    (many(content("a", outputDimensionality=1), content("a")), "outputDimensionality"),
]


@pytest.mark.parametrize(("request_", "field"), REFUSED)
def test_what_openai_cannot_express_is_refused(request_, field):
    assert refusal(TO_OPENAI, request_) == ("unsupported_field", field)


OPENAI = {
    "object": "list",
    "data": [{"index": 1, "embedding": VECTORS[1]}, {"index": 0, "embedding": VECTORS[0]}],
    "usage": {"prompt_tokens": 7, "total_tokens": 7},
}
USAGE = {"promptTokenCount": 7, "totalTokenCount": 7}


def test_an_answer_for_geminis_client():
    assert rendered(TO_OPENAI, OPENAI, many(content("a"), content("b"))) == (
        {"input": 7},
        {"embeddings": [{"values": VECTORS[0]}, {"values": VECTORS[1]}], "usageMetadata": USAGE},
    )
    single = {**OPENAI, "data": OPENAI["data"][:1]}
    assert rendered(TO_OPENAI, single, one()) == (
        {"input": 7},
        {"embedding": {"values": VECTORS[1]}, "usageMetadata": USAGE},
    )


def test_fewer_embeddings_than_were_asked_are_no_answer():
    assert TO_OPENAI.read_answer(json.dumps(OPENAI).encode(), one()) is None
