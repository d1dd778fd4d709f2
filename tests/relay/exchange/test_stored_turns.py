"""Stored turns and videos: looked up by what a client sends, for its organization alone, within bounds."""

from __future__ import annotations

import pytest

from relay.errors import RelayError
from relay.exchange.conversations import load
from relay.models import StoredTurn
from relay.videos import tasks as video_tasks
from tests.doubles.upstream import json_reply

RESPONSES = "/v1/responses"


@pytest.fixture
def talk(world, upstream, relay, client):
    world.new_channel(upstream.url, provider="openai")
    relay.settled_down()
    message = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Yes."}]}
    usage = {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}
    answer = {"id": "resp_up", "object": "response", "status": "completed", "output": [message], "usage": usage}
    upstream.default = json_reply(answer)

    def say(text, **fields):
        return client.post(RESPONSES, json={"model": "double-1", "input": text, **fields})

    return say


def test_a_conversation_is_no_larger_than_a_body_may_be(world, upstream, talk, settings):
    settings.MAX_BODY_BYTES = 4_000
    first = talk("a" * 2_500).json()
    assert talk("b", previous_response_id=first["id"]).status_code == 200
    response = talk("b" * 2_500, previous_response_id=first["id"])
    assert (response.status_code, response.json()["error"]["code"]) == (413, "body_too_large")
    assert response.json()["error"]["param"] == "previous_response_id"
    assert len(upstream.seen) == 2
    world.prove()


def test_another_organizations_turn_is_not_found(world, upstream, talk):
    world.credit(1_000_000_000, organization=world.bobs)
    first = talk("a secret").json()
    response = talk("what did I say?", previous_response_id=first["id"])
    assert response.status_code == 200
    assert StoredTurn.objects.filter(organization_id=world.organization.pk).count() == 2
    with pytest.raises(RelayError) as refused:
        load(first["id"], world.bobs.pk)
    assert refused.value.code == "previous_response_not_found"


@pytest.mark.parametrize("sent", ["resp_\0", "resp_\N{SNOWMAN}"])
def test_what_cannot_be_an_id_is_not_looked_up(world, django_assert_num_queries, sent):
    # PostgreSQL refuses a text with a NUL.
    with django_assert_num_queries(0):
        with pytest.raises(RelayError) as refused:
            load(sent, world.organization.pk)
        assert video_tasks.find(sent, organization_id=world.organization.pk) is None
        page = video_tasks.page(organization_id=world.organization.pk, after=sent, limit=1, ascending=True)
        assert page is None
    assert refused.value.status == 404
