"""Rerank as the protocol file reads it: search units and tokens, Cohere's and Jina's words."""

from __future__ import annotations

import json

import pytest

from relay.errors import RelayError
from relay.protocols import DIALECTS, rerank
from relay.protocols.base import Media, Target

RERANK = DIALECTS["rerank"]
RESULTS = [{"index": 1, "relevance_score": 0.98}, {"index": 0, "relevance_score": 0.02}]
COHERE = {
    "id": "07734bd2",
    "results": RESULTS,
    "meta": {"api_version": {"version": "2"}, "billed_units": {"search_units": 1}},
}
JINA = {"model": "jina-reranker-v2", "usage": {"total_tokens": 815}, "results": RESULTS}


def read(**fields):
    return RERANK.parse(json.dumps({"model": "m", "query": "what?", "documents": ["ab", "cde"], **fields}).encode(), "")


def refusal(**fields):
    with pytest.raises(RelayError) as refused:
        read(**fields)
    assert refused.value.status == 400
    return refused.value.code, refused.value.param


def answer(body, request):
    return RERANK.read_answer(json.dumps(body).encode(), request)


def test_the_query_is_read_with_each_document():
    request = read()
    assert (request.text_bytes, sorted(request.texts)) == (2 * 5 + 5, ["ab", "cde", "what?", "what?"])
    assert (request.output, request.pieces) == (False, {"calls": 1, "searches": 1})


SEARCHES = [
    (["a"], 1),
    (["a"] * 100, 1),
    (["a"] * 101, 2),
    (["a"] * 1_000, 10),
    ([""], 1),
    (["a" * 495], 1),
    (["a" * 496] * 50, 1),
    (["a" * 496] * 51, 2),
    (["é" * 248] * 51, 2),
]


@pytest.mark.parametrize(("documents", "searches"), SEARCHES)
def test_a_search_is_a_query_with_a_hundred_pieces_of_500_tokens(documents, searches):
    assert read(documents=documents).pieces["searches"] == searches


def test_documents_may_be_objects():
    request = read(documents=[{"text": "abc", "title": "t"}, {"image": "data:image/png;base64,AA"}])
    assert (request.text_bytes, request.media) == (2 * 5 + 4, [Media("image")])


@pytest.mark.parametrize("documents", [None, [], "a", {}, [5], [None], [[]], [{}], ["a"] * 10_001])
def test_documents_of_another_kind_are_refused(documents):
    assert refusal(documents=documents) == ("invalid_request", "documents")


@pytest.mark.parametrize("query", [None, "", 5, [], {}, True])
def test_a_query_of_another_kind_is_refused(query):
    assert refusal(query=query) == ("invalid_request", "query")


def test_a_long_query_for_many_documents_is_refused():
    assert refusal(query="a" * 3_356, documents=["a"] * 10_000) == ("invalid_request", "query")
    assert read(query="a" * 3_355, documents=["a"] * 10_000).text_bytes == 10_000 * 3_356


@pytest.mark.parametrize("name", ["top_n", "max_chunks_per_doc", "max_tokens_per_doc"])
@pytest.mark.parametrize("value", [0, -1, 10**30, 1.5, "5", True])
def test_a_quantity_out_of_bounds_is_refused(name, value):
    assert refusal(**{name: value}) == ("invalid_request", name)


def test_the_body_travels_on_with_the_models_name_there():
    request = read(top_n=1, priority=3)
    assert json.loads(RERANK.body(request, Target("there"))) == {
        "model": "there",
        "query": "what?",
        "documents": ["ab", "cde"],
        "top_n": 1,
        "priority": 3,
    }


UNITS = [
    (COHERE, {"input": 4, "searches": 1}),
    (JINA, {"input": 815, "searches": 1}),
    ({**COHERE, "meta": {"billed_units": {"search_units": 2.0}, "tokens": {"input_tokens": 70}}}, (70, 2)),
    ({"results": RESULTS, "usage": {"prompt_tokens": 30, "total_tokens": 0}}, {"input": 30, "searches": 1}),
    ({"object": "list", "data": RESULTS, "usage": {"total_tokens": 26}}, {"input": 26, "searches": 1}),
    ({"results": RESULTS}, None),
    ({"results": RESULTS, "meta": [], "usage": "x"}, None),
    ({"results": RESULTS, "meta": {"billed_units": {"search_units": -1}}}, None),
    ({"results": RESULTS, "meta": {"billed_units": {"search_units": 1e30}}}, None),
]


@pytest.mark.parametrize(("body", "units"), UNITS)
def test_what_an_answer_does_not_tell_the_request_does(body, units):
    if isinstance(units, tuple):
        units = {"input": units[0], "searches": units[1]}
    assert answer(body, read()).units == units


def test_an_answer_gains_its_cost():
    assert json.loads(answer(JINA, read()).render({}, "0.25")) == {**JINA, "usage": {"total_tokens": 815, "cost": 0.25}}
    assert json.loads(answer(COHERE, read()).render({}, "0.25")) == {**COHERE, "usage": {"cost": 0.25}}


def test_documents_are_put_into_an_answer_that_left_them_out():
    request = read(documents=["ab", {"text": "cde", "id": "7"}], return_documents=True)
    results = json.loads(answer(COHERE, request).render({}, "0"))["results"]
    assert [result["document"] for result in results] == [{"text": "cde", "id": "7"}, {"text": "ab"}]
    own = {"results": [{"index": 0, "relevance_score": 1, "document": {"text": "own"}}]}
    assert json.loads(answer(own, request).render({}, "0"))["results"] == own["results"]


@pytest.mark.parametrize("index", [None, -1, 2, "0", True, 1e99, [0]])
def test_a_result_of_no_document_is_left_alone(index):
    body = {"results": [{"index": index, "relevance_score": 1}, 5, None]}
    assert json.loads(answer(body, read(return_documents=True)).render({}, "0"))["results"] == body["results"]


def test_the_request_for_cohere_v2():
    request = read(documents=["ab", {"text": "cde"}], return_documents=True, top_n=2)
    fields = rerank.cohere_v2(request.fields)
    assert {name: json.loads(bytes(value)) for name, value in fields.items()} == {
        "model": "m",
        "query": "what?",
        "documents": ["ab", "cde"],
        "top_n": 2,
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [("max_chunks_per_doc", 3), ("rank_fields", ["title"]), ("documents", [{"text": "a", "title": "b"}])],
)
def test_what_cohere_v2_cannot_express_is_refused(name, value):
    with pytest.raises(RelayError) as refused:
        rerank.cohere_v2(read(**{name: value}).fields)
    assert (refused.value.code, refused.value.param) == ("unsupported_field", name)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"results":{}}', b'{"results":[],"error":{}}', b"\xff"])
def test_a_body_that_is_no_answer(body):
    assert RERANK.read_answer(body, read()) is None
