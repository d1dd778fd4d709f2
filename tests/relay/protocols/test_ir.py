"""The neutral conversation: joining, sealing, and the strategies that other tests rely on."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.protocols import ir
from tests.doubles import conversations
from tests.doubles.conversations import EVERYTHING, Can, answer_of, answers, events_of, requests


@settings(deadline=None)
@given(requests())
def test_conversations_are_valid(request):
    """Ids are unique, results follow their calls and know their names, the user speaks last."""
    before = msgspec.json.encode(request)
    assert ir.normal(request) == request
    assert msgspec.json.encode(request) == before
    assert request.messages[-1].role == "user"
    seen: dict[str, ir.ToolCall] = {}
    for last, message in zip([None, *request.messages], request.messages, strict=False):
        assert message.parts
        for part in message.parts:
            if isinstance(part, ir.ToolCall):
                assert part.id not in seen
                seen[part.id] = part
            if isinstance(part, ir.ToolResult):
                assert (part.name, part.custom) == (seen[part.call_id].name, seen[part.call_id].custom)
                assert last.role == "assistant"
        calls = [part.id for part in last.parts if isinstance(part, ir.ToolCall)] if last else []
        results = [part.call_id for part in message.parts if isinstance(part, ir.ToolResult)]
        assert results == calls


@settings(deadline=None)
@given(answers(), st.integers(1, 5))
def test_an_answer_and_its_events_say_the_same(answer, size):
    assert answer_of(events_of(answer, size), answer.units) == answer


NOTHING = Can(**{name: type(getattr(EVERYTHING, name))() for name in Can.__dataclass_fields__})
LITTLE = NOTHING & EVERYTHING


@settings(deadline=None)
@given(requests(LITTLE))
def test_what_cannot_be_expressed_is_not_made(request):
    assert LITTLE == NOTHING
    allowed = (ir.Text, ir.ToolCall, ir.ToolResult)
    for message in request.messages:
        assert message.name is None
        assert all(isinstance(part, allowed) for part in message.parts)
    assert request.thinking is request.output is request.max_tokens is None


def test_neighbours_of_one_role_are_joined_and_the_request_stays_as_it_was():
    first, second = ir.Message("user", [ir.Text("a")]), ir.Message("user", [ir.Text("b")])
    empty, named = ir.Message("assistant", []), ir.Message("user", [ir.Text("c")], "bob")
    request = ir.Request("m", [first, second, empty, named])
    joined = ir.Message("user", [ir.Text("a"), ir.Text("b")])
    assert ir.normal(request) == ir.Request("m", [joined, named])
    assert request.messages == [first, second, empty, named]
    assert first.parts == [ir.Text("a")]


@settings(deadline=None)
@given(conversations.reasonings(EVERYTHING, EVERYTHING.made))
def test_what_is_sealed_is_unsealed(part):
    assert ir.unseal(ir.seal(part), part.text) == part


@pytest.mark.parametrize("signature", ["", "abc", "cr1.", "cr1.!!!", "cr1.e30=", "cr1.é", "cr1.W10="])
def test_what_was_not_sealed_here_is_not_unsealed(signature):
    assert ir.unseal(signature) is None


def test_what_an_answer_says():
    parts = [ir.Reasoning("a"), ir.Text("b"), ir.Refusal("c"), ir.ToolCall("1", "d", "e"), ir.Image(url="f")]
    assert ir.Answer("x", "m", 1, [ir.Choice(parts)]).texts() == ["a", "b", "c", "d", "e"]


def test_a_refusal_names_the_field():
    error = ir.unsupported("top_k", "OpenAI")
    assert (error.status, error.code, error.param) == (400, "unsupported_field", "top_k")
