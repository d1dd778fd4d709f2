"""Which headers pass in either direction, who may call from a browser, and the small pages around the API."""

from __future__ import annotations

import httpx
import pytest

from billing.models import RefusalTally
from tests.cast.waiting import eventually
from tests.doubles.upstream import ask, completion, json_reply, sse_reply, whole_stream

pytestmark = pytest.mark.any_database

CHAT = "/v1/chat/completions"
SENT = {
    "user-agent": "OpenAI/Python 3.54",
    "openai-beta": "assistants=v2",
    "cookie": "session=alice",
    "x-api-key": "sk-alice",
    "x-goog-api-key": "sk-alice",
    "openai-organization": "org-alice",
    "openai-project": "proj-alice",
    "x-stainless-retry-count": "1",
    "x-request-id": "alices-own",
    "x-forwarded-for": "203.0.113.5",
    "forwarded": "for=203.0.113.5",
    "origin": "https://example.com",
    "referer": "https://example.com/secret",
    "te": "trailers",
    "proxy-authorization": "Basic abc",
    "accept-encoding": "gzip, br",
    "x-custom": "1",
}
ANSWERED = {
    "openai-processing-ms": "12",
    "openai-version": "2020-10-01",
    "x-request-id": "the-upstreams-own",
    "set-cookie": "__cf_bm=1",
    "openai-organization": "the-operator",
    "openai-project": "proj_operator",
    "x-ratelimit-remaining-tokens": "5",
    "server": "cloudflare",
    "cf-ray": "1",
    "strict-transport-security": "max-age=1",
    "access-control-allow-origin": "https://other.example",
    "content-encoding": "identity",
    "keep-alive": "timeout=5",
    "x-custom": "1",
}


@pytest.mark.parametrize("stream", [False, True])
def test_only_named_headers_pass_in_either_direction(world, upstream, relay, client, stream):
    world.new_channel(upstream.url)
    relay.settled_down()
    make = sse_reply(whole_stream("Hi"), headers=ANSWERED) if stream else json_reply(completion(), headers=ANSWERED)
    upstream.script.append(make)

    response = client.post(CHAT, json=ask(stream=stream), headers=SENT)

    port = upstream.url.split(":")[2].removesuffix("/v1")
    assert upstream.seen[0].headers == {
        "host": f"127.0.0.1:{port}",
        "user-agent": "OpenAI/Python 3.54",
        "openai-beta": "assistants=v2",
        "authorization": "Bearer sk-upstream",
        "content-type": "application/json",
        "accept-encoding": "identity",
        "accept": "*/*",
        "content-length": str(len(upstream.seen[0].body)),
    }
    assert world.secret not in str(upstream.seen)
    record = world.record()
    assert record.client_request_id == "alices-own"
    common = {
        "date": response.headers["date"],
        "openai-processing-ms": "12",
        "openai-version": "2020-10-01",
        "x-request-id": record.request_id,
        "x-content-type-options": "nosniff",
        "access-control-allow-origin": "*",
        "access-control-expose-headers": "x-request-id, request-id, x-costrouter-cost, x-costrouter-max-output, "
        "retry-after, x-ratelimit-limit-requests, x-ratelimit-remaining-requests, x-ratelimit-reset-requests, "
        "x-ratelimit-limit-tokens, x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens",
        "vary": "origin",
    }
    if stream:
        own = {
            "content-type": "text/event-stream; charset=utf-8",
            "cache-control": "no-cache",
            "x-accel-buffering": "no",
            "transfer-encoding": "chunked",
        }
    else:
        own = {
            "content-type": "application/json",
            "content-length": str(len(response.content)),
            "x-costrouter-cost": "0.00002",
        }
    assert dict(response.headers) == {**common, **own}
    world.prove()


def test_a_channel_without_a_key_sends_none(world, upstream, relay, client):
    world.new_channel(upstream.url, credentials="")
    relay.settled_down()
    assert client.post(CHAT, json=ask()).status_code == 200
    assert "authorization" not in upstream.seen[0].headers
    world.prove()


def test_cookies_of_upstreams_are_not_kept(world, upstream, relay, client):
    world.new_channel(upstream.url)
    relay.settled_down()
    upstream.script.append(json_reply(completion(), headers={"set-cookie": "tenant=alice; Path=/"}))
    for _ in range(2):
        client.post(CHAT, json=ask())
    assert "cookie" not in upstream.seen[1].headers
    world.prove()


def test_each_request_has_an_id_of_ours_that_sorts_by_time(world, upstream, relay, client):
    world.new_channel(upstream.url)
    relay.settled_down()
    odd = b"caf\xe9 " + b"x" * 200
    found = [client.post(CHAT, json=ask(), headers={"x-request-id": odd}).headers["x-request-id"] for _ in range(3)]
    records = world.records()
    assert [record.request_id for record in records] == found
    assert {record.client_request_id for record in records} == {odd[:128].decode("latin-1")}
    world.prove()


@pytest.mark.parametrize("path", [CHAT, "/v1/models", "/v1/anything"])
def test_a_preflight_is_answered_for_any_origin(world, relay, path):
    asked = {
        "origin": "https://app.example",
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization, x-stainless-lang",
    }
    response = httpx.options(relay.url + path, headers=asked)
    assert (response.status_code, response.content) == (204, b"")
    assert response.headers["access-control-allow-origin"] == "*"
    assert response.headers["access-control-allow-headers"] == "authorization, x-stainless-lang"
    assert "POST" in response.headers["access-control-allow-methods"]
    assert "access-control-allow-credentials" not in response.headers
    assert world.prove()["records"] == 0


def test_origins_can_be_narrowed(world, upstream, relay, client, settings):
    settings.CORS_ORIGINS = ["https://app.example"]
    world.new_channel(upstream.url)
    relay.settled_down()
    for origin, allowed in (("https://app.example", "https://app.example"), ("https://evil.example", None)):
        for response in (
            client.post(CHAT, json=ask(), headers={"origin": origin}),
            client.post(CHAT, json={}, headers={"origin": origin}),
            client.options(CHAT, headers={"origin": origin}),
        ):
            assert response.headers.get("access-control-allow-origin") == allowed
    assert "access-control-allow-origin" not in client.post(CHAT, json=ask()).headers
    world.prove()


def test_an_error_can_be_read_by_a_page(world, relay):
    response = httpx.post(relay.url + CHAT, json=ask(), headers={"origin": "https://app.example"})
    assert response.status_code == 401
    assert response.headers["access-control-allow-origin"] == "*"


def test_the_root_answers_a_probe_of_coding_agents(world, relay):
    response = httpx.head(relay.url + "/")
    assert (response.status_code, response.content) == (200, b"")


def test_readiness_follows_the_writer_and_the_poller(world, relay, monkeypatch):
    assert httpx.get(relay.url + "/readyz").json() == {"status": "ok"}
    monkeypatch.setattr("relay.snapshot.STALE_SECONDS", -1.0)
    assert httpx.get(relay.url + "/readyz").status_code == 503
    monkeypatch.setattr("relay.snapshot.STALE_SECONDS", 5.0)
    assert httpx.get(relay.url + "/readyz").status_code == 200
    monkeypatch.setattr(type(relay.runtime.writer), "healthy", property(lambda _: False))
    assert httpx.get(relay.url + "/readyz").status_code == 503
    assert httpx.get(relay.url + "/healthz").status_code == 200


def test_while_nothing_can_be_recorded_requests_are_refused(world, upstream, relay, client, monkeypatch):
    world.new_channel(upstream.url)
    relay.settled_down()
    with monkeypatch.context() as patch:
        patch.setattr(type(relay.runtime.writer), "healthy", property(lambda _: False))
        response = client.post(CHAT, json=ask())
    assert (response.status_code, response.json()["error"]["code"]) == (503, "unavailable")
    assert response.headers["retry-after"] == "1"
    assert upstream.seen == []
    # Records would pile up in memory: they are counted instead.
    eventually(lambda: RefusalTally.objects.filter(error_code="unavailable", count=1).exists())
    assert world.prove()["records"] == 0


def test_nothing_is_remembered_by_a_text_that_a_client_chooses(world, upstream, relay, client):
    model = world.new_model("rank-1", searches="0.002")
    world.new_channel(upstream.url, models={model: ""}, provider="cohere")
    relay.settled_down()
    upstream.default = json_reply({"results": [{"index": 0, "relevance_score": 0.9}]})
    asked = {"model": "rank-1", "query": "what?", "documents": ["this"]}
    for version in ("", "2023-06-01", "a", "b" * 1_000):
        headers = {"anthropic-version": version} if version else {}
        assert client.post("/v1/rerank", json=asked, headers=headers).status_code == 200
    versions = {call.version for _, call in relay.runtime.upstreams._prepared}
    assert versions == {"", "2023-06-01"}
