"""Providers that sign, shape or convert, over HTTP: where a request goes, what it says, its answer and its charge."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.auth import jwt

from tests.doubles.service_account import ACCOUNT, PUBLIC_KEY
from tests.doubles.upstream import COST, Upstream, completion, event, json_reply, sse_reply, whole_stream

pytestmark = pytest.mark.any_database

HELLO = [{"role": "user", "content": "hello"}]
CONTENTS = [{"role": "user", "parts": [{"text": "hello"}]}]
CHAT = "/v1/chat/completions"
MESSAGES = "/v1/messages"


@pytest.fixture(autouse=True)
def _relay(relay):
    """Every test has a relay, and a channel of its own."""


def serve(world: Any, relay: Any, upstream: Upstream, provider: str, base: str = "", **options: Any) -> None:
    """A channel of a provider at the upstream double: `double-1` is called `there` there."""
    options.setdefault("models", {world.model: "there"})
    world.new_channel(upstream.url.removesuffix("/v1") + base, provider=provider, **options)
    relay.settled_down()


def charged(world: Any, cost: int, **units: int) -> None:
    """Assert what the only record says, and that the books agree."""
    record = world.record()
    assert (record.status, record.http_status, record.cost_nanos, record.units) == ("ok", 200, cost, units)
    assert not record.estimated
    assert world.prove()["charged_nanos"] == cost


# Vertex

PLACE = "/v1/projects/my-project/locations/global/publishers"
CLAUDE = "claude-sonnet-4-5@20250929"
GEMINI_ANSWER = {
    "candidates": [{"content": {"role": "model", "parts": [{"text": "Hello"}]}, "finishReason": "STOP", "index": 0}],
    "usageMetadata": {"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 15},
}
CLAUDE_ANSWER = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-5",
    "content": [{"type": "text", "text": "Hello"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 10, "output_tokens": 5},
}


def sse(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\n".encode() + event({"type": kind, **fields})


CLAUDE_STREAM = [
    sse("message_start", message={**CLAUDE_ANSWER, "content": [], "stop_reason": None}),
    sse("content_block_start", index=0, content_block={"type": "text", "text": ""}),
    sse("content_block_delta", index=0, delta={"type": "text_delta", "text": "Hello"}),
    sse("content_block_stop", index=0),
    sse("message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None}, usage={"output_tokens": 5}),
    sse("message_stop"),
]


def signed(seen: Any) -> None:
    """Assert that a request carries a token which the account has signed, and no other credentials."""
    kind, _, token = seen.headers["authorization"].partition(" ")
    claims = jwt.decode(token, certs=PUBLIC_KEY)
    account = "relay@my-project.iam.gserviceaccount.com"
    assert (kind, claims["iss"], claims["sub"]) == ("Bearer", account, account)
    assert claims["scope"] == "https://www.googleapis.com/auth/cloud-platform"
    assert not {"x-api-key", "x-goog-api-key"} & set(seen.headers)


def test_gemini_on_vertex(world, upstream, relay, client):
    serve(world, relay, upstream, "vertex", credentials=ACCOUNT, models={world.model: "gemini-3-flash"})
    upstream.script.append(json_reply(GEMINI_ANSWER))

    response = client.post("/v1beta/models/double-1:generateContent", json={"contents": CONTENTS})

    assert response.json()["candidates"] == GEMINI_ANSWER["candidates"]
    [seen] = upstream.seen
    assert seen.path == f"{PLACE}/google/models/gemini-3-flash:generateContent"
    assert seen.json == {"contents": CONTENTS}
    signed(seen)
    charged(world, COST, input=10, output=5)


def test_gemini_on_vertex_streams_to_a_chat_client(world, upstream, relay, client):
    serve(world, relay, upstream, "vertex", credentials=ACCOUNT, models={world.model: "gemini-3-flash"})
    upstream.script.append(sse_reply([event(GEMINI_ANSWER)]))

    response = client.post(CHAT, json={"model": "double-1", "messages": HELLO, "stream": True})

    assert '"content":"Hello"' in response.text and response.text.endswith("data: [DONE]\n\n")
    [seen] = upstream.seen
    assert seen.path == f"{PLACE}/google/models/gemini-3-flash:streamGenerateContent?alt=sse"
    assert seen.json["contents"] == CONTENTS
    signed(seen)
    charged(world, COST, input=10, output=5)


def test_claude_on_vertex(world, upstream, relay, client):
    serve(world, relay, upstream, "vertex", credentials=ACCOUNT, models={world.model: CLAUDE})
    upstream.script.append(json_reply(CLAUDE_ANSWER))
    body = {"model": "double-1", "max_tokens": 99, "messages": HELLO, "unheard_of": 1}

    response = client.post(MESSAGES, json=body, headers={"anthropic-beta": "context-1m-2025-08-07"})

    assert response.json()["content"] == CLAUDE_ANSWER["content"]
    [seen] = upstream.seen
    assert seen.path == f"{PLACE}/anthropic/models/{CLAUDE}:rawPredict"
    assert seen.body == (
        b'{"anthropic_version":"vertex-2023-10-16","max_tokens":99,"messages":[{"role":"user","content":"hello"}],'
        b'"unheard_of":1}'
    )
    assert seen.headers["anthropic-beta"] == "context-1m-2025-08-07"
    signed(seen)
    charged(world, COST, input=10, output=5)


def test_claude_on_vertex_streams(world, upstream, relay, client):
    serve(world, relay, upstream, "vertex", credentials=ACCOUNT, models={world.model: CLAUDE})
    upstream.script.append(sse_reply(CLAUDE_STREAM))

    response = client.post(MESSAGES, json={"model": "double-1", "max_tokens": 99, "messages": HELLO, "stream": True})

    assert '"text":"Hello"' in response.text.replace(": ", ":") and "event: message_stop" in response.text
    [seen] = upstream.seen
    assert seen.path == f"{PLACE}/anthropic/models/{CLAUDE}:streamRawPredict"
    assert (seen.json["stream"], "model" in seen.json) == (True, False)
    charged(world, COST, input=10, output=5)


def test_claude_on_vertex_for_a_chat_client(world, upstream, relay, client):
    serve(world, relay, upstream, "vertex", credentials=ACCOUNT, models={world.model: CLAUDE})
    upstream.script.append(json_reply(CLAUDE_ANSWER))

    response = client.post(CHAT, json={"model": "double-1", "messages": HELLO})

    assert response.json()["choices"][0]["message"]["content"] == "Hello"
    [seen] = upstream.seen
    assert seen.path == f"{PLACE}/anthropic/models/{CLAUDE}:rawPredict"
    assert seen.json == {
        "anthropic_version": "vertex-2023-10-16",
        "max_tokens": 1_000,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hello"}]}],
    }
    signed(seen)
    charged(world, COST, input=10, output=5)


def test_a_service_account_whose_key_is_none_is_the_operators_fault(world, upstream, relay, client):
    broken = json.dumps({**json.loads(ACCOUNT), "private_key": "not a key"})
    serve(world, relay, upstream, "vertex", credentials=broken, models={world.model: CLAUDE})
    response = client.post(MESSAGES, json={"model": "double-1", "max_tokens": 99, "messages": HELLO})
    assert (response.status_code, upstream.seen) == (502, [])
    assert world.record().attempts[0]["outcome"] == "unusable credentials"


# Azure


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("base", "path"),
    [
        ("/openai/v1", "/openai/v1/chat/completions"),
        ("", "/openai/deployments/there/chat/completions?api-version=2025-04-01-preview"),
    ],
)
def test_azures_two_apis(world, upstream, relay, client, base, path, streamed):
    serve(world, relay, upstream, "azure_openai", base, credentials="azure-key")
    upstream.script.append(sse_reply(whole_stream("Hel", "lo")) if streamed else json_reply(completion("Hello")))

    response = client.post(CHAT, json={"model": "double-1", "messages": HELLO, "stream": streamed})

    assert response.status_code == 200
    assert ('"content": "lo"' if streamed else '"content": "Hello"') in response.text
    [seen] = upstream.seen
    assert seen.path == path
    assert (seen.headers["api-key"], "authorization" in seen.headers) == ("azure-key", False)
    more = {"stream_options": {"include_usage": True}} if streamed else {}
    assert seen.json == {"model": "there", "messages": HELLO, "stream": streamed, "store": False, **more}
    charged(world, COST, input=10, output=5)


@pytest.mark.parametrize(
    ("base", "path"),
    [("/openai/v1", "/openai/v1/responses"), ("/openai", "/openai/responses?api-version=2025-04-01-preview")],
)
def test_azures_responses_for_an_anthropic_client(world, upstream, relay, client, base, path):
    serve(world, relay, upstream, "azure_openai", base, credentials="azure-key")
    said = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed"}
    upstream.script.append(
        json_reply(
            {
                "id": "resp_1",
                "object": "response",
                "created_at": 1_700_000_000,
                "status": "completed",
                "model": "there",
                "output": [{**said, "content": [{"type": "output_text", "text": "Hello", "annotations": []}]}],
                "usage": {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15},
            }
        )
    )

    response = client.post(MESSAGES, json={"model": "double-1", "max_tokens": 99, "messages": HELLO})

    assert response.json()["content"] == [{"type": "text", "text": "Hello"}]
    [seen] = upstream.seen
    assert (seen.path, seen.headers["api-key"]) == (path, "azure-key")
    assert (seen.json["model"], seen.json["store"], seen.json["max_output_tokens"]) == ("there", False, 99)
    charged(world, COST, input=10, output=5)


# Rankings

RESULTS = [{"index": 1, "relevance_score": 0.98}, {"index": 0, "relevance_score": 0.02}]
RANK = {"model": "rank-1", "query": "what?", "documents": ["ab", "cd"], "return_documents": True}
RANKED = [
    {"index": 1, "relevance_score": 0.98, "document": {"text": "cd"}},
    {"index": 0, "relevance_score": 0.02, "document": {"text": "ab"}},
]


def test_cohere_ranks(world, upstream, relay, client):
    serve(world, relay, upstream, "cohere", models={world.new_model("rank-1", searches="0.002"): "rerank-v4"})
    upstream.script.append(json_reply({"id": "1", "results": RESULTS, "meta": {"billed_units": {"search_units": 1}}}))

    response = client.post("/v1/rerank", json=RANK)

    assert response.json()["results"] == RANKED
    [seen] = upstream.seen
    assert (seen.path, seen.headers["authorization"]) == ("/v2/rerank", "Bearer sk-upstream")
    assert seen.json == {"model": "rerank-v4", "query": "what?", "documents": ["ab", "cd"]}
    record = world.record()
    assert (record.cost_nanos, record.units["searches"]) == (2_000_000, 1)
    assert world.prove()["charged_nanos"] == 2_000_000


def test_jina_ranks(world, upstream, relay, client):
    serve(world, relay, upstream, "jina", "/v1", models={world.new_model("rank-1", input="1"): "jina-reranker-v3"})
    upstream.script.append(json_reply({"model": "jina", "usage": {"total_tokens": 815}, "results": RANKED}))

    response = client.post("/v1/rerank", json=RANK)

    assert response.json()["results"] == RANKED
    [seen] = upstream.seen
    assert (seen.path, seen.headers["authorization"]) == ("/v1/rerank", "Bearer sk-upstream")
    assert seen.json == {**RANK, "model": "jina-reranker-v3"}
    assert world.record().cost_nanos == 815_000
    assert world.prove()["charged_nanos"] == 815_000


# Embeddings

EMBED = {"model": "embed-1", "input": ["ab", "cd"]}
VECTORS = [[0.5, -0.25], [1.0, 2.0]]
OPENAI_VECTORS = {
    "object": "list",
    "data": [{"object": "embedding", "index": n, "embedding": vector} for n, vector in enumerate(VECTORS)],
    "model": "there",
    "usage": {"prompt_tokens": 7, "total_tokens": 7},
}


def embedder(world: Any) -> dict[Any, str]:
    return {world.new_model("embed-1", input="1"): "there"}


def embedded(response: Any) -> list[list[float]]:
    return [one["embedding"] for one in response.json()["data"]]


def test_jina_embeds(world, upstream, relay, client):
    serve(world, relay, upstream, "jina", "/v1", models=embedder(world))
    upstream.script.append(json_reply(OPENAI_VECTORS))

    response = client.post("/v1/embeddings", json={**EMBED, "task": "text-matching"})

    assert embedded(response) == VECTORS
    [seen] = upstream.seen
    assert (seen.path, seen.headers["authorization"]) == ("/v1/embeddings", "Bearer sk-upstream")
    assert seen.json == {**EMBED, "model": "there", "task": "text-matching"}
    charged(world, 7_000, input=7)


def test_cohere_embeds_for_an_openai_client(world, upstream, relay, client):
    serve(world, relay, upstream, "cohere", models=embedder(world))
    meta = {"billed_units": {"input_tokens": 7}}
    upstream.script.append(json_reply({"id": "1", "embeddings": {"float": VECTORS}, "texts": [], "meta": meta}))

    response = client.post("/v1/embeddings", json={**EMBED, "dimensions": 2})

    assert embedded(response) == VECTORS
    assert response.json()["usage"] == {"prompt_tokens": 7, "total_tokens": 7, "cost": 0.000007}
    [seen] = upstream.seen
    assert (seen.path, seen.headers["authorization"]) == ("/v2/embed", "Bearer sk-upstream")
    assert seen.json == {
        "model": "there",
        "texts": ["ab", "cd"],
        "input_type": "search_document",
        "embedding_types": ["float"],
        "output_dimension": 2,
    }
    charged(world, 7_000, input=7)


def test_gemini_embeds_for_an_openai_client(world, upstream, relay, client):
    serve(world, relay, upstream, "gemini", models=embedder(world))
    usage = {"promptTokenCount": 7, "totalTokenCount": 7}
    upstream.script.append(json_reply({"embeddings": [{"values": v} for v in VECTORS], "usageMetadata": usage}))

    response = client.post("/v1/embeddings", json={**EMBED, "encoding_format": "base64"})

    assert [one["embedding"] for one in response.json()["data"]] == ["AAAAPwAAgL4=", "AACAPwAAAEA="]
    [seen] = upstream.seen
    assert seen.path == "/v1beta/models/there:batchEmbedContents"
    assert (seen.headers["x-goog-api-key"], "authorization" in seen.headers) == ("sk-upstream", False)
    assert seen.json == {
        "requests": [
            {"model": "models/there", "content": {"parts": [{"text": "ab"}]}},
            {"model": "models/there", "content": {"parts": [{"text": "cd"}]}},
        ]
    }
    charged(world, 7_000, input=7)


def test_openai_embeds_for_a_gemini_client(world, upstream, relay, client):
    serve(world, relay, upstream, "openai", "/v1", models=embedder(world))
    upstream.script.append(json_reply({**OPENAI_VECTORS, "data": OPENAI_VECTORS["data"][:1]}))
    body = {"content": {"parts": [{"text": "ab"}]}, "outputDimensionality": 2, "taskType": "RETRIEVAL_QUERY"}

    response = client.post("/v1beta/models/embed-1:embedContent", json=body)

    assert response.json() == {
        "embedding": {"values": VECTORS[0]},
        "usageMetadata": {"promptTokenCount": 7, "totalTokenCount": 7},
    }
    [seen] = upstream.seen
    assert (seen.path, seen.headers["authorization"]) == ("/v1/embeddings", "Bearer sk-upstream")
    assert seen.json == {"model": "there", "input": ["ab"], "encoding_format": "float", "dimensions": 2}
    charged(world, 7_000, input=7)


def test_openai_embeds_many_for_a_gemini_client(world, upstream, relay, client):
    serve(world, relay, upstream, "openai", "/v1", models=embedder(world))
    upstream.script.append(json_reply(OPENAI_VECTORS))
    requests = [{"model": "models/embed-1", "content": {"parts": [{"text": text}]}} for text in ("ab", "cd")]

    response = client.post("/v1beta/models/embed-1:batchEmbedContents", json={"requests": requests})

    assert response.json()["embeddings"] == [{"values": vector} for vector in VECTORS]
    assert upstream.seen[0].json["input"] == ["ab", "cd"]
    charged(world, 7_000, input=7)


# Chat of those who are known for something else


@pytest.mark.parametrize(("provider", "path"), [("cohere", "/compatibility/v1/chat/completions")])
def test_a_kind_that_speaks_chat_only_where_it_is_chosen(world, upstream, relay, client, provider, path):
    serve(world, relay, upstream, provider, dialects=["chat"])
    response = client.post(CHAT, json={"model": "double-1", "messages": HELLO})
    assert response.json()["choices"][0]["message"]["content"] == "Hello there!"
    assert upstream.seen[0].path == path
    charged(world, COST, input=10, output=5)
