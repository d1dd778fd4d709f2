"""The page that tests a channel: one real call, its result or its exact error; no credentials, no private address."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from channels_app.models import Channel, Provider
from channels_app.services import save_channel
from relay.routing import probe, probe_asks
from relay.upstream import pinned
from tests.cast.admin import SECRET, acme, operator
from tests.relay.upstream.test_providers import ACCOUNT

pytestmark = [pytest.mark.django_db, pytest.mark.any_database]
COMPLETION = json.dumps({"choices": [{"message": {"content": "ready"}, "finish_reason": "stop"}]})


class Double:
    """An upstream that answers what it is told and remembers what it was asked."""

    def __init__(self) -> None:
        self.status, self.body, self.headers = 200, COMPLETION, {"content-type": "application/json"}
        self.requests: list[tuple[str, dict[str, str], Any]] = []
        double = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                double.requests.append(
                    (self.path, {name.lower(): value for name, value in self.headers.items()}, json.loads(body))
                )
                self.send_response(double.status)
                for name, value in {**double.headers, "content-length": str(len(double.body.encode()))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(double.body.encode())

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def double() -> Iterator[Double]:
    made = Double()
    yield made
    made.stop()


def channel_to(url: str, **given: Any) -> Channel:
    cast = acme(**{"allow_private_addresses": True, **given})
    # Past the service, which refuses such an address at once: the probe must refuse it by itself.
    Channel.objects.update(base_url=url)
    cast.channel.refresh_from_db()
    return cast.channel


def test_one_minimal_completion_is_sent_and_its_answer_reported(double: Double) -> None:
    channel = channel_to(double.url)

    result = probe.probe_channel(channel=channel, model="gpt-small")

    (path, headers, body), *more = double.requests
    assert (result.ok, result.status, result.model, result.message) == (True, 200, "gpt-small", "It said: ready")
    assert 0 <= result.latency_ms < 5_000
    assert more == []
    assert path == "/v1/chat/completions"
    assert headers["authorization"] == f"Bearer {SECRET}"
    assert (body["model"], body["max_tokens"], len(body["messages"])) == ("gpt-small-upstream", 64, 1)


ASKED = [{"role": "user", "content": probe_asks.PROMPT}]
VERTEX = "/v1/projects/my-project/locations/global/publishers"


@pytest.mark.parametrize(
    ("given", "upstream_name", "path", "sent", "body", "answer", "said"),
    [
        (
            {"provider": "openai"},
            "gpt",
            "/v1/responses",
            {"authorization": "Bearer the-key"},
            {"model": "gpt", "input": probe_asks.PROMPT, "max_output_tokens": 64, "store": False},
            {
                "output": [
                    {"type": "reasoning"},
                    {"type": "message", "content": [{"type": "output_text", "text": "ok"}]},
                ]
            },
            "ok",
        ),
        (
            {"provider": "openai", "dialects": ["chat"]},
            "gpt",
            "/v1/chat/completions",
            {"authorization": "Bearer the-key"},
            {"model": "gpt", "messages": ASKED, "max_completion_tokens": 64},
            {"choices": [{"message": {"content": None}, "finish_reason": "length"}]},
            "(no text; finish reason: length)",
        ),
        (
            {"provider": "azure_openai"},
            "dep",
            "/v1/responses",
            {"api-key": "the-key"},
            {"model": "dep", "input": probe_asks.PROMPT, "max_output_tokens": 64, "store": False},
            {"output": [], "status": "incomplete"},
            "(no text; status: incomplete)",
        ),
        (
            {"provider": "anthropic"},
            "claude",
            "/v1/messages",
            {"x-api-key": "the-key", "anthropic-version": "2023-06-01"},
            {"model": "claude", "messages": ASKED, "max_tokens": 64},
            {"content": [{"type": "thinking", "thinking": "…"}, {"type": "text", "text": "ok"}]},
            "ok",
        ),
        (
            {"provider": "gemini"},
            "gemini-3",
            "/v1beta/models/gemini-3:generateContent",
            {"x-goog-api-key": "the-key"},
            {
                "contents": [{"role": "user", "parts": [{"text": probe_asks.PROMPT}]}],
                "generationConfig": {"maxOutputTokens": 64},
            },
            {"candidates": [{"finishReason": "MAX_TOKENS"}]},
            "(no text; finish reason: MAX_TOKENS)",
        ),
        (
            {"provider": "gemini"},
            "gemini-embedding-1",
            "/v1beta/models/gemini-embedding-1:batchEmbedContents",
            {"x-goog-api-key": "the-key"},
            {"requests": [{"model": "models/gemini-embedding-1", "content": {"parts": [{"text": "ready"}]}}]},
            {"embeddings": [{"values": [0.5, 0.5, 0.5]}]},
            "(a vector of 3 numbers)",
        ),
        (
            {"provider": "vertex", "credentials": ACCOUNT},
            "claude-x",
            f"{VERTEX}/anthropic/models/claude-x:rawPredict",
            {"anthropic-version": "2023-06-01"},
            {"anthropic_version": "vertex-2023-10-16", "messages": ASKED, "max_tokens": 64},
            {"content": [{"type": "text", "text": "ok"}]},
            "ok",
        ),
        (
            {"provider": "bedrock", "credentials": "AKID:secret-key@eu-west-1"},
            "amazon.nova-v1:0",
            "/model/amazon.nova-v1%3A0/converse",
            {},
            {
                "messages": [{"role": "user", "content": [{"text": probe_asks.PROMPT}]}],
                "inferenceConfig": {"maxTokens": 64},
            },
            {"output": {"message": {"content": [{"text": "ok"}]}}, "stopReason": "end_turn"},
            "ok",
        ),
        (
            {"provider": "cohere"},
            "rerank-v4",
            "/v2/rerank",
            {"authorization": "Bearer the-key"},
            {"model": "rerank-v4", "query": "Is it ready?", "documents": ["It is ready.", "It rains."], "top_n": 1},
            {"results": [{"index": 0, "relevance_score": 0.9}]},
            "(ranked first: document 0)",
        ),
        (
            {"provider": "cohere"},
            "embed-v4.0",
            "/v2/embed",
            {"authorization": "Bearer the-key"},
            {
                "model": "embed-v4.0",
                "texts": ["ready"],
                "input_type": "search_document",
                "embedding_types": ["float"],
            },
            {"embeddings": {"float": [[0.1]]}},
            "(a vector of 1 numbers)",
        ),
        (
            {"provider": "jina"},
            "jina-clip-v2",
            "/v1/embeddings",
            {"authorization": "Bearer the-key"},
            {"model": "jina-clip-v2", "input": ["ready"]},
            {"data": [{"embedding": [0.1, 0.2]}]},
            "(a vector of 2 numbers)",
        ),
    ],
)
def test_every_provider_is_asked_in_its_own_way(
    double: Double,
    given: dict[str, Any],
    upstream_name: str,
    path: str,
    sent: dict[str, str],
    body: dict[str, Any],
    answer: dict[str, Any],
    said: str,
) -> None:
    base = double.url if given["provider"] in ("openai", "azure_openai", "jina") else double.url.removesuffix("/v1")
    channel = channel_to(base if given["provider"] != "azure_openai" else f"{base[:-3]}/openai/v1")
    channel.provider, channel.dialects = given["provider"], given.get("dialects", [])
    save_channel(channel=channel, credentials=given.get("credentials", "the-key"))
    channel.channel_models.update(upstream_name=upstream_name)
    double.body = json.dumps(answer)

    result = probe.probe_channel(channel=channel)

    (found_path, headers, found_body), *more = double.requests
    assert (result.ok, result.message) == (True, f"It said: {said}")
    assert (found_path.removeprefix("/openai"), found_body, more) == (path, body, [])
    assert {**headers, **sent} == headers
    assert headers["content-type"] == "application/json"
    if channel.provider == "bedrock":
        assert headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKID/")
        assert "/eu-west-1/bedrock/" in headers["authorization"]
    if channel.provider == "vertex":
        assert headers["authorization"].startswith("Bearer eyJ")


def test_a_model_that_no_dialect_of_the_channel_is_for_is_not_asked(double: Double) -> None:
    channel = channel_to(double.url)
    channel.provider, channel.dialects = "vertex", ["gemini"]
    save_channel(channel=channel, credentials=ACCOUNT)
    channel.channel_models.update(upstream_name="claude-x")

    result = probe.probe_channel(channel=channel)

    assert (result.ok, result.message) == (False, "claude-x is not asked in any dialect of this channel.")
    assert double.requests == []


def test_credentials_of_another_kind_are_reported(double: Double) -> None:
    channel = channel_to(double.url)
    Channel.objects.update(provider="vertex")
    channel.refresh_from_db()

    result = probe.probe_channel(channel=channel)

    assert result.message.startswith("The stored credentials cannot be used: ")
    assert SECRET not in result.message
    assert double.requests == []


def test_parts_of_credentials_are_not_shown_either(double: Double) -> None:
    channel = channel_to(double.url)
    channel.provider = "bedrock"
    save_channel(channel=channel, credentials="AKIAEXAMPLEEXAMPLE:secret-key-of-forty-characters:token-of-a-session")
    double.status = 403
    double.body = "AKIAEXAMPLEEXAMPLE secret-key-of-forty-characters token-of-a-session"

    result = probe.probe_channel(channel=channel)

    assert result.message == "[credentials] [credentials] [credentials]"


def test_an_error_is_shown_exactly_but_for_the_credentials(double: Double) -> None:
    channel = channel_to(double.url)
    double.status = 401
    double.body = json.dumps({"error": f"bad key {SECRET}, got 'Bearer {SECRET}' and Bearer abcdefghijkl"})

    result = probe.probe_channel(channel=channel)

    assert (result.ok, result.status) == (False, 401)
    assert SECRET not in result.message
    assert "abcdefghijkl" not in result.message
    assert result.message == '{"error": "bad key [credentials], got \'Bearer [credentials]\' and Bearer [credentials]"}'


@pytest.mark.parametrize(
    "body", ["", "<html>hello</html>", "[]", '{"choices": []}', "null", '{"choices": [{"message": 3}]}']
)
def test_an_answer_that_is_not_a_completion_is_a_failure(double: Double, body: str) -> None:
    channel = channel_to(double.url)
    double.body = body

    result = probe.probe_channel(channel=channel)

    assert (result.ok, result.status) == (False, 200)
    assert result.message.startswith("Not a chat completion: ")


def test_redirects_are_not_followed(double: Double) -> None:
    channel = channel_to(double.url)
    double.status, double.headers = 307, {"location": f"{double.url}/elsewhere"}

    result = probe.probe_channel(channel=channel)

    assert (result.ok, result.status, len(double.requests)) == (False, 307, 1)


def test_a_private_address_is_refused_unless_allowed(double: Double) -> None:
    channel = channel_to(double.url, allow_private_addresses=False)

    refused = probe.probe_channel(channel=channel)
    asked_before = len(double.requests)
    channel.allow_private_addresses = True
    allowed = probe.probe_channel(channel=channel)

    assert (refused.ok, refused.status) == (False, None)
    assert "127.0.0.1, a private address" in refused.message
    assert asked_before == 0
    assert allowed.ok


def test_a_name_is_refused_if_any_of_its_addresses_is_private(double: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    port = double.server.server_port
    channel = channel_to(f"http://upstream.example:{port}/v1", allow_private_addresses=False)
    found = [(2, 1, 6, "", ("93.184.216.34", port)), (2, 1, 6, "", ("169.254.169.254", port))]
    monkeypatch.setattr(pinned.socket, "getaddrinfo", lambda *given, **options: found)

    result = probe.probe_channel(channel=channel)

    assert "upstream.example leads to 169.254.169.254" in result.message
    assert double.requests == []


def test_the_connection_goes_to_the_address_that_was_checked(double: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    port = double.server.server_port
    channel = channel_to(f"http://rebinding.example:{port}/v1")
    real, asked = pinned.socket.getaddrinfo, []

    def resolve(host: Any, *given: Any, **options: Any) -> Any:
        asked.append(host)
        return real("127.0.0.1" if host == "rebinding.example" else host, *given, **options)

    monkeypatch.setattr(pinned.socket, "getaddrinfo", resolve)

    result = probe.probe_channel(channel=channel)

    assert result.ok
    assert asked.count("rebinding.example") == 1
    assert double.requests[0][1]["host"] == f"rebinding.example:{port}"


def test_a_dead_ipv6_address_gives_way_to_an_ipv4_one(double: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    port = double.server.server_port
    channel = channel_to(f"http://both.example:{port}/v1")
    real = pinned.socket.getaddrinfo
    found = [(10, 1, 6, "", ("::1", port, 0, 0)), (2, 1, 6, "", ("127.0.0.1", port))]
    monkeypatch.setattr(
        pinned.socket,
        "getaddrinfo",
        lambda host, *given, **o: found if host == "both.example" else real(host, *given, **o),
    )

    result = probe.probe_channel(channel=channel)

    assert result.ok
    assert double.requests[0][1]["host"] == f"both.example:{port}"


def test_nobody_listening_is_reported(double: Double) -> None:
    channel = channel_to(double.url)
    double.stop()

    result = probe.probe_channel(channel=channel)

    assert (result.ok, result.status) == (False, None)
    assert result.message.startswith("ConnectError: ")


def test_the_sandbox_needs_no_permission_but_an_address(double: Double, settings: Any) -> None:
    channel = channel_to("", allow_private_addresses=False)
    channel.provider = Provider.SANDBOX

    settings.SANDBOX_URL = ""
    missing = probe.probe_channel(channel=channel)
    settings.SANDBOX_URL = double.url
    found = probe.probe_channel(channel=channel)

    assert missing.message == "The sandbox is not running here: SANDBOX_URL is not set."
    assert found.ok


def test_credentials_that_cannot_be_decrypted_are_reported(double: Double) -> None:
    channel = channel_to(double.url)
    channel.credentials_encrypted = "gAAAAA-not-a-token"

    result = probe.probe_channel(channel=channel)

    assert result.message.startswith("The stored credentials cannot be used: ")
    assert double.requests == []


def test_the_admins_page_shows_the_result(double: Double) -> None:
    client = operator()
    channel = channel_to(double.url)
    url = f"/admin/channels_app/channel/{channel.pk}/test/"

    good = client.post(url, {"model": "gpt-small"}).content.decode()
    double.status, double.body = 503, f"overloaded {SECRET} <b>"
    bad = client.post(url, {"model": "gpt-small"}).content.decode()
    other = client.post(url, {"model": "not-served"})

    assert "It works" in good
    assert "The upstream answered 503" in bad
    assert "overloaded [credentials] &lt;b&gt;" in bad
    assert SECRET not in good + bad
    assert "model" in other.context["form"].errors
    assert len(double.requests) == 2
