"""Older versions of what the clients and upstreams speak: calls without ids, and Anthropic's first version."""

from __future__ import annotations

import anthropic
import pytest

from tests.sdk.clients import CLIENTS, Ask
from tests.sdk.conftest import connect
from tests.sdk.gemini_double import OldGeminiDouble
from tests.sdk.mind import SYSTEM
from tests.sdk.test_pairs import right


@pytest.fixture
def old(world, relay):
    double = OldGeminiDouble().start()
    connect(world, double, "old")
    relay.settled_down()
    yield double
    double.stop()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_call_without_an_id_gets_one(world, relay, old, subtests, stream):
    for client in CLIENTS:
        with subtests.test(client):
            sdk = CLIENTS[client](relay.url, world.secret, "old", stream=stream)
            heard = right(old, sdk.ask, Ask("Weather in Paris and Rome", tools=True))
            assert [(name, arguments) for _, name, arguments in heard.calls] == [
                ("get_weather", {"city": "Paris"}),
                ("get_weather", {"city": "Rome"}),
            ]
            ids = [id for id, _, _ in heard.calls]
            if client == "gemini":
                # Nothing of what passes through is changed, so its results are told in the order of the calls.
                assert ids == [None, None]
                continue
            assert all(isinstance(id, str) and id for id in ids) and len(set(ids)) == 2
            # Told the other way round, each result still finds its call.
            results = {ids[1]: "rain", ids[0]: "sun"}
            assert sorted(right(old, sdk.tell, results).text.split("; ")) == ["Paris: sun", "Rome: rain"]
            again = right(old, sdk.more, "Weather in Rome")
            [(id, _, arguments)] = again.calls
            assert (id not in ids, arguments) == (True, {"city": "Rome"})
            assert right(old, sdk.tell, {id: "wind"}).text == "Rome: wind"
            sdk.close()
    assert not old.wrongs
    world.prove()


def test_sampling_of_anthropics_first_version(world, relay, everywhere):
    with anthropic.Anthropic(
        base_url=relay.url,
        api_key=world.secret,
        max_retries=0,
        default_headers={"anthropic-version": "2023-06-01"},
    ) as sdk:
        for upstream, double in everywhere.items():
            answer = sdk.messages.create(
                model=f"to-{upstream}",
                max_tokens=50,
                system=SYSTEM,
                messages=[{"role": "user", "content": "Hello you"}],
                extra_body={"temperature": 0.5, "top_p": 0.9},
            )
            assert answer.content[0].text == "Hello there, Zoë! 🌍"
            body = double.seen[0].json
            sampling = body.get("generationConfig", body)
            assert (sampling["temperature"], sampling.get("top_p", sampling.get("topP"))) == (0.5, 0.9)
        assert everywhere["anthropic"].seen[0].headers["anthropic-version"] == "2023-06-01"
    world.prove()
