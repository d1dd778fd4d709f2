"""Rate limits as clients meet them: 429 with its headers, nothing sent upstream, and slots that always come free."""

from __future__ import annotations

import threading

import httpx
import pytest

from accounts.services import save_api_key, save_organization
from relay.entry.limits.admission import Limits
from tests.cast.calls import Call
from tests.cast.refusals import CHAT, error_of, post
from tests.cast.waiting import eventually
from tests.doubles.upstream import DONE, HANG, ask, completion, delta, json_reply, sse_reply, usage_chunk, whole_stream

# The prompt "hello" counts two tokens (four bytes each) and four for its message; the double's answers say 10 + 5.
ESTIMATE, USED = 6, 15


@pytest.fixture
def limited(world, upstream, relay):
    """Sets limits on Alice's key, on a clock that stands still; the relay knows them."""
    world.new_channel(upstream.url)
    relay.runtime.limits = Limits(None, clock=lambda: 1_000.0)

    def set_limits(**limits):
        for name, value in limits.items():
            setattr(world.key, name, value)
        save_api_key(key=world.key)
        relay.settled_down()

    return set_limits


def left(response, kind="tokens"):
    return int(response.headers[f"x-ratelimit-remaining-{kind}"])


def test_requests_beyond_the_limit_are_429_cost_nothing_and_are_recorded(world, upstream, relay, client, limited):
    limited(requests_per_minute=3)

    answers = [client.post(CHAT, json=ask()) for _ in range(5)]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
    assert [left(answer, "requests") for answer in answers] == [2, 1, 0, 0, 0]
    assert "retry-after" not in answers[2].headers
    error = error_of(answers[3], 429, "rate_limit_exceeded")
    assert error["type"] == "rate_limit_error"
    assert error["message"].startswith("Rate limit reached: this API key is limited to 3 requests a minute")
    shown = {name: answers[3].headers[name] for name in ("retry-after", "x-ratelimit-limit-requests")}
    assert shown == {"retry-after": "60", "x-ratelimit-limit-requests": "3"}
    assert answers[3].headers["x-ratelimit-reset-requests"] == "60s"
    assert len(upstream.seen) == 3
    eventually(lambda: len(world.records()) == 5)
    refused = [record for record in world.records() if record.status == "refused"]
    assert [(r.http_status, r.error_code, r.cost_nanos) for r in refused] == [(429, "rate_limit_exceeded", 0)] * 2
    world.prove()


def test_no_limit_means_no_headers(world, upstream, relay, client):
    world.new_channel(upstream.url)
    relay.settled_down()

    answer = client.post(CHAT, json=ask())

    assert answer.status_code == 200
    assert not [name for name in answer.headers if "ratelimit" in name]


def test_an_organizations_limit_bites_within_a_second_and_holds_for_all_its_keys(world, upstream, relay, limited):
    limited()
    _, second = world.new_key()
    world.organization.requests_per_minute = 2
    assert post(relay, world.secret).status_code == post(relay, second).status_code == 200
    save_organization(organization=world.organization)
    relay.settled_down()

    statuses = [post(relay, secret).status_code for secret in (world.secret, second, world.secret, second)]

    assert statuses == [200, 200, 429, 429]
    assert post(relay, world.bobs_secret).status_code == 403  # no limit: refused for want of money
    assert "this organization is limited to 2 requests" in post(relay, second).json()["error"]["message"]


def test_tokens_are_counted_as_used_streamed_or_not(world, upstream, relay, client, limited):
    limited(tokens_per_minute=100)
    upstream.script.extend([json_reply(completion()), sse_reply(whole_stream("Hi")), json_reply(completion())])

    first = client.post(CHAT, json=ask())
    second = client.post(CHAT, json=ask(stream=True))
    third = client.post(CHAT, json=ask())

    assert [left(answer) for answer in (first, second, third)] == [
        100 - ESTIMATE,
        100 - USED - ESTIMATE,
        100 - 2 * USED - ESTIMATE,
    ]
    assert first.headers["x-ratelimit-limit-tokens"] == "100"


@pytest.mark.parametrize("body", [{"model": "nobody"}, {"service_tier": "flex"}, {}])
def test_what_fails_uses_no_tokens_and_frees_its_slot(world, upstream, relay, client, limited, body):
    limited(tokens_per_minute=100, concurrent_requests=1)
    upstream.default = json_reply({"error": {"message": "down"}}, 500)

    failed = [client.post(CHAT, json=ask(**body)).status_code for _ in range(3)]
    upstream.default = json_reply(completion())

    assert len(set(failed)) == 1 and failed[0] in (400, 404, 502)
    assert left(client.post(CHAT, json=ask())) == 100 - ESTIMATE


def test_too_little_money_frees_the_slot(world, upstream, relay, limited):
    limited()
    world.bobs_key.concurrent_requests = 1
    save_api_key(key=world.bobs_key)
    relay.settled_down()

    for _ in range(2):
        error_of(post(relay, world.bobs_secret), 403, "insufficient_balance")


def test_a_slot_is_taken_until_a_stream_ends(world, upstream, relay, client, limited):
    limited(concurrent_requests=1)
    gate = threading.Event()
    parts = [delta("one"), delta(" two", finish="stop"), usage_chunk(), DONE]
    upstream.script.append(sse_reply(parts, gates={1: gate}))
    streaming = Call(relay, world.secret, ask(stream=True))
    streaming.until(b"one")

    error = error_of(client.post(CHAT, json=ask()), 429, "rate_limit_exceeded")
    gate.set()

    assert "limited to 1 requests at the same time" in error["message"]
    assert streaming.whole().endswith(DONE)
    assert client.post(CHAT, json=ask()).status_code == 200
    world.prove()


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_hangs_up_frees_its_slot(world, upstream, relay, client, limited, stream):
    limited(concurrent_requests=1)
    gate = threading.Event()
    waiting = sse_reply([delta("one")], then="hang") if stream else json_reply(completion(), gates={0: gate})
    upstream.script.append(waiting)
    call = Call(relay, world.secret, ask(stream=stream))
    eventually(lambda: upstream.seen)
    if stream:
        call.until(b"one")
    assert client.post(CHAT, json=ask()).status_code == 429

    call.hang_up()
    gate.set()

    eventually(lambda: client.post(CHAT, json=ask()).status_code == 200)


def test_every_slot_is_free_after_concurrent_requests_of_every_fate(world, upstream, relay, client, limited):
    limited(concurrent_requests=3, tokens_per_minute=1_000_000)
    fates = [json_reply(completion()), sse_reply([delta("x")], then="cut"), json_reply({}, 500), json_reply({}, 400)]
    upstream.script.extend(fates * 3)
    calls = [Call(relay, world.secret, ask(stream=number % 2 == 0)) for number in range(12)]
    statuses = {call.status for call in calls}
    for call in calls:
        call.whole()

    relay.settled_down()

    assert statuses <= {200, 400, 429, 502}
    assert eventually(lambda: relay.runtime.limits.local._open == {} or None)
    upstream.script.clear()
    upstream.script.extend([HANG, HANG, HANG])
    hanging = [Call(relay, world.secret, ask()) for _ in range(3)]
    eventually(lambda: len(relay.runtime.exchanges) == 3)
    assert client.post(CHAT, json=ask()).status_code == 429
    for call in hanging:
        call.hang_up()


def test_anthropics_clients_read_their_own_headers_and_error(world, upstream, relay, limited):
    limited(requests_per_minute=1)
    body = {"model": "double-1", "max_tokens": 10, "messages": [{"role": "user", "content": "hello"}]}
    headers = {"x-api-key": world.secret, "anthropic-version": "2023-06-01"}

    first, second = (httpx.post(relay.url + "/v1/messages", json=body, headers=headers, timeout=20) for _ in range(2))

    assert (first.headers["anthropic-ratelimit-requests-limit"], left(first, "requests")) == ("1", 0)
    assert second.status_code == 429
    assert second.json()["error"]["type"] == "rate_limit_error"
    assert second.headers["anthropic-ratelimit-requests-remaining"] == "0"
    assert second.headers["retry-after"] == "60"
