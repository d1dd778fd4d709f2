"""Moderations as the protocol file reads them."""

from __future__ import annotations

import json

import pytest

from relay.errors import RelayError
from relay.protocols import DIALECTS
from relay.protocols.base import Media, Target

MODERATIONS = DIALECTS["moderations"]
ANSWER = b'{"id":"modr-1","model":"omni-moderation-latest","results":[{"flagged":false,"categories":{"hate":false}}]}'


def read(**fields):
    return MODERATIONS.parse(json.dumps({"input": "hello", **fields}).encode(), "")


def test_a_text_is_one_call():
    request = read(model="omni")
    assert (request.model, request.text_bytes, request.pieces, request.output) == ("omni", 5, {"calls": 1}, False)


def test_without_a_model_it_is_openais_default():
    request = read()
    assert request.model == "omni-moderation-latest"
    assert json.loads(MODERATIONS.body(request, Target("there"))) == {"input": "hello", "model": "there"}


def test_parts_are_texts_and_images():
    parts = [{"type": "text", "text": "abc"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}]
    request = read(input=parts)
    assert (request.text_bytes, request.media) == (3, [Media("image")])
    assert read(input=["ab", "cd"]).text_bytes == 4


@pytest.mark.parametrize("value", [None, [], 5, True, [5], [None], [[]]])
def test_an_input_of_another_kind_is_refused(value):
    with pytest.raises(RelayError) as refused:
        read(input=value)
    assert (refused.value.status, refused.value.param) == (400, "input")


def test_an_answer_is_one_call_and_goes_on_as_it_is():
    answer = MODERATIONS.read_answer(ANSWER, read())
    assert (answer.units, answer.render({"calls": 1}, "0")) == ({"input": 2, "calls": 1}, ANSWER)


def test_tokens_count_where_they_are_told():
    body = json.dumps({"results": [], "usage": {"prompt_tokens": 7, "completion_tokens": 0}}).encode()
    assert MODERATIONS.read_answer(body, read()).units == {"input": 7, "calls": 1}


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"results":{}}', b'{"results":[],"error":"x"}', b"\xff"])
def test_a_body_that_is_no_answer(body):
    assert MODERATIONS.read_answer(body, read()) is None
