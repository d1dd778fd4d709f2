"""Every provider: where its requests go, what they carry, how they are signed, and what differs from model to model."""

from __future__ import annotations

import datetime
import hashlib
import hmac
import json
from typing import Any

import botocore.auth
import botocore.session
import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import get_current_datetime
from google.auth import jwt

from channels_app.models import Provider as Choice
from costrouter.lib.presets import PRESETS, preset_of
from costrouter.lib.upstreams import DIALECTS, KINDS
from relay.errors import RelayError
from relay.protocols.fields import top_level
from relay.upstream.providers import PROVIDERS, bedrock, vertex
from relay.upstream.providers.base import Call
from tests.doubles.service_account import ACCOUNT, PUBLIC_KEY

AWS = "AKIDEXAMPLE:wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
BEDROCK = "https://bedrock-runtime.eu-west-1.amazonaws.com"
VERTEX = "https://us-east5-aiplatform.googleapis.com"
_PLACE = "https://us-east5-aiplatform.googleapis.com/v1/projects/my-project/locations/us-east5/publishers"


def call(base_url: str, dialect: str, model: str = "m-1", **given: Any) -> Call:
    return Call(base_url=base_url, dialect=dialect, model=model, **given)


def headers(provider: str, dialect: str, credentials: str) -> dict[str, str]:
    found = PROVIDERS[provider].headers_of(call("https://x", dialect, credentials=credentials))
    return {name.decode(): value.decode() for name, value in found}


def test_tables_know_the_same_providers_and_dialects() -> None:
    assert list(KINDS) != [] and set(KINDS) == set(PROVIDERS) == set(Choice.values)
    assert {kind.label for kind in KINDS.values()} == set(Choice.labels)
    for name, provider in PROVIDERS.items():
        assert set(KINDS[name].choices) <= set(provider.paths) & set(DIALECTS)
        assert provider.dialects == KINDS[name].dialects


OPENAI = "https://api.openai.com/v1"


@pytest.mark.parametrize(
    ("dialect", "given", "path"),
    [
        ("chat", {}, "/chat/completions"),
        ("completions", {}, "/completions"),
        ("responses", {"stream": True}, "/responses"),
        ("responses_compact", {}, "/responses/compact"),
        ("embeddings", {}, "/embeddings"),
        ("moderations", {}, "/moderations"),
        ("images", {}, "/images/generations"),
        ("image_edits", {}, "/images/edits"),
        ("image_variations", {}, "/images/variations"),
        ("speech", {}, "/audio/speech"),
        ("transcriptions", {}, "/audio/transcriptions"),
        ("translations", {}, "/audio/translations"),
        ("videos", {}, "/videos"),
        ("videos", {"action": "video_1/remix"}, "/videos/video_1/remix"),
        ("realtime", {"model": "gpt-realtime"}, "/realtime?model=gpt-realtime"),
    ],
)
@pytest.mark.parametrize("provider", ["openai", "openai_compatible", "azure_openai", "sandbox"])
def test_openais_paths_are_under_the_base_url(provider: str, dialect: str, given: dict[str, Any], path: str) -> None:
    base = {"azure_openai": "https://mine.openai.azure.com/openai/v1"}.get(provider, OPENAI)
    if dialect not in PROVIDERS[provider].paths:
        assert (provider, dialect in ("moderations", "image_variations", "responses_compact")) == ("azure_openai", True)
        return
    assert PROVIDERS[provider].url_of(call(base, dialect, **given)) == base + path
    assert PROVIDERS[provider].url_of(call(base + "/", dialect, **given)) == base + path


@pytest.mark.parametrize("base", ["https://mine.openai.azure.com", "https://mine.openai.azure.com/openai/"])
@pytest.mark.parametrize(
    ("dialect", "url"),
    [
        ("chat", "/openai/deployments/my%20gpt/chat/completions?api-version=2025-04-01-preview"),
        ("embeddings", "/openai/deployments/my%20gpt/embeddings?api-version=2025-04-01-preview"),
        ("image_edits", "/openai/deployments/my%20gpt/images/edits?api-version=2025-04-01-preview"),
        ("responses", "/openai/responses?api-version=2025-04-01-preview"),
        ("realtime", "/openai/realtime?api-version=2025-04-01-preview&deployment=my%20gpt"),
    ],
)
def test_azures_classic_api_names_deployment_and_version(base: str, dialect: str, url: str) -> None:
    found = PROVIDERS["azure_openai"].url_of(call(base, dialect, "my gpt"))
    assert found == "https://mine.openai.azure.com" + url


@pytest.mark.parametrize(
    ("provider", "base", "dialect", "given", "url"),
    [
        ("openai_compatible", "https://vllm/v1", "anthropic", {}, "https://vllm/v1/messages"),
        ("openai_compatible", "https://vllm/v1", "anthropic_count", {}, "https://vllm/v1/messages/count_tokens"),
        ("openai_compatible", "https://vllm/v1", "rerank", {}, "https://vllm/v1/rerank"),
        (
            "openai_compatible",
            "https://api.deepseek.com/v1",
            "anthropic",
            {},
            "https://api.deepseek.com/anthropic/v1/messages",
        ),
        ("openai_compatible", "https://api.deepseek.com", "chat", {}, "https://api.deepseek.com/chat/completions"),
        (
            "openai_compatible",
            "https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
            "anthropic",
            {},
            "https://dashscope-intl.aliyuncs.com/apps/anthropic/v1/messages",
        ),
        (
            "openai_compatible",
            "https://openrouter.ai/api/v1",
            "anthropic",
            {},
            "https://openrouter.ai/api/v1/messages",
        ),
        ("anthropic", "https://api.anthropic.com", "anthropic", {}, "https://api.anthropic.com/v1/messages"),
        ("anthropic", "https://api.anthropic.com/v1/", "anthropic", {}, "https://api.anthropic.com/v1/messages"),
        (
            "anthropic",
            "https://api.anthropic.com",
            "anthropic_count",
            {},
            "https://api.anthropic.com/v1/messages/count_tokens",
        ),
        ("gemini", "https://g", "gemini", {}, "https://g/v1beta/models/m-1:generateContent"),
        ("gemini", "https://g", "gemini", {"action": "generateContent"}, "https://g/v1beta/models/m-1:generateContent"),
        (
            "gemini",
            "https://g/v1beta",
            "gemini",
            {"stream": True},
            "https://g/v1beta/models/m-1:streamGenerateContent?alt=sse",
        ),
        (
            "gemini",
            "https://g",
            "gemini",
            {"action": "streamGenerateContent"},
            "https://g/v1beta/models/m-1:streamGenerateContent?alt=sse",
        ),
        ("gemini", "https://g", "gemini_count", {}, "https://g/v1beta/models/m-1:countTokens"),
        ("gemini", "https://g", "gemini_embed", {}, "https://g/v1beta/models/m-1:batchEmbedContents"),
        (
            "gemini",
            "https://g",
            "gemini_embed",
            {"action": "embedContent"},
            "https://g/v1beta/models/m-1:embedContent",
        ),
        (
            "gemini",
            "https://g",
            "gemini",
            {"model": "tunedModels/a b"},
            "https://g/v1beta/tunedModels/a%20b:generateContent",
        ),
        ("vertex", VERTEX, "gemini", {"credentials": ACCOUNT}, f"{_PLACE}/google/models/m-1:generateContent"),
        (
            "vertex",
            VERTEX + "/v1",
            "gemini",
            {"credentials": ACCOUNT, "stream": True},
            f"{_PLACE}/google/models/m-1:streamGenerateContent?alt=sse",
        ),
        ("vertex", VERTEX, "gemini_count", {"credentials": ACCOUNT}, f"{_PLACE}/google/models/m-1:countTokens"),
        (
            "vertex",
            VERTEX,
            "anthropic",
            {"credentials": ACCOUNT, "model": "claude-opus-4-5@20251101"},
            f"{_PLACE}/anthropic/models/claude-opus-4-5@20251101:rawPredict",
        ),
        (
            "vertex",
            VERTEX,
            "anthropic",
            {"credentials": ACCOUNT, "stream": True},
            f"{_PLACE}/anthropic/models/m-1:streamRawPredict",
        ),
        (
            "vertex",
            VERTEX,
            "anthropic_count",
            {"credentials": ACCOUNT},
            f"{_PLACE}/anthropic/models/count-tokens:rawPredict",
        ),
        (
            "bedrock",
            BEDROCK,
            "bedrock",
            {"model": "amazon.nova-pro-v1:0"},
            f"{BEDROCK}/model/amazon.nova-pro-v1%3A0/converse",
        ),
        ("bedrock", BEDROCK, "bedrock", {"stream": True}, f"{BEDROCK}/model/m-1/converse-stream"),
        ("cohere", "https://api.cohere.com", "rerank", {}, "https://api.cohere.com/v2/rerank"),
        ("cohere", "https://api.cohere.com/v2", "rerank", {}, "https://api.cohere.com/v2/rerank"),
        ("cohere", "https://api.cohere.com", "cohere_embed", {}, "https://api.cohere.com/v2/embed"),
        (
            "cohere",
            "https://api.cohere.com/compatibility/v1",
            "chat",
            {},
            "https://api.cohere.com/compatibility/v1/chat/completions",
        ),
        ("jina", "https://api.jina.ai/v1", "rerank", {}, "https://api.jina.ai/v1/rerank"),
        ("jina", "https://api.jina.ai/v1", "embeddings", {}, "https://api.jina.ai/v1/embeddings"),
        ("minimax", "https://api.minimax.io/v1", "chat", {}, "https://api.minimax.io/v1/chat/completions"),
        ("minimax", "https://api.minimax.io", "videos_minimax", {}, "https://api.minimax.io/v1/video_generation"),
    ],
)
def test_where_a_request_goes(provider: str, base: str, dialect: str, given: dict[str, Any], url: str) -> None:
    assert PROVIDERS[provider].url_of(call(base, dialect, **given)) == url


@pytest.mark.parametrize(
    ("provider", "dialect", "found"),
    [
        ("openai", "chat", {"authorization": "Bearer k"}),
        ("openai_compatible", "anthropic", {"authorization": "Bearer k", "anthropic-version": "2023-06-01"}),
        ("azure_openai", "chat", {"api-key": "k"}),
        ("anthropic", "anthropic", {"x-api-key": "k", "anthropic-version": "2023-06-01"}),
        ("anthropic", "anthropic_count", {"x-api-key": "k", "anthropic-version": "2023-06-01"}),
        ("gemini", "gemini", {"x-goog-api-key": "k"}),
        ("cohere", "rerank", {"authorization": "Bearer k"}),
        ("jina", "rerank", {"authorization": "Bearer k"}),
        ("minimax", "chat", {"authorization": "Bearer k"}),
        ("vertex", "gemini", {}),
        ("bedrock", "bedrock", {}),
    ],
)
def test_what_a_request_carries(provider: str, dialect: str, found: dict[str, str]) -> None:
    assert headers(provider, dialect, "k") == found
    assert not {name for name in headers(provider, dialect, "") if name != "anthropic-version"}


def test_a_call_does_not_show_its_credentials() -> None:
    assert "secret" not in repr(call("https://x", "chat", credentials="secret"))


# Amazon


def fields_of(found: list[tuple[bytes, bytes]]) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in found}


@pytest.fixture
def noon(monkeypatch: pytest.MonkeyPatch) -> str:
    """Amazon's clock stands at noon."""
    at = datetime.datetime(2026, 11, 23, 12, 0, 0, tzinfo=get_current_datetime().tzinfo)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda *given, **options: at)
    return "20261123T120000Z"


def signature(secret: str, region: str, headers_signed: str, path: str, host: str, body: bytes, extra: str = "") -> str:
    """Signature Version 4, as Amazon describes it, for a POST at noon."""
    canonical = f"POST\n{path}\n\nhost:{host}\nx-amz-date:20261123T120000Z\n{extra}\n{headers_signed}\n"
    canonical += hashlib.sha256(body).hexdigest()
    scope = f"20261123/{region}/bedrock/aws4_request"
    text = f"AWS4-HMAC-SHA256\n20261123T120000Z\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{secret}".encode()
    for part in ("20261123", region, "bedrock", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.new(key, text.encode(), "sha256").hexdigest()


def test_a_bedrock_request_is_signed_over_its_escaped_path(noon: str) -> None:
    url = PROVIDERS["bedrock"].url_of(call(BEDROCK, "bedrock", "amazon.nova-pro-v1:0"))
    body = b'{"messages": []}'

    found = fields_of(bedrock.sign(AWS, "POST", url, body))

    path = "/model/amazon.nova-pro-v1%253A0/converse"  # what is escaped is escaped once more
    expected = signature(
        AWS.partition(":")[2], "eu-west-1", "host;x-amz-date", path, "bedrock-runtime.eu-west-1.amazonaws.com", body
    )
    assert found == {
        "x-amz-date": noon,
        "authorization": "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261123/eu-west-1/bedrock/aws4_request, "
        f"SignedHeaders=host;x-amz-date, Signature={expected}",
    }
    assert fields_of(bedrock.sign(AWS, "POST", url, body + b" ")) != found


def test_a_session_token_and_a_region_of_their_own(noon: str) -> None:
    url = "http://127.0.0.1:9000/model/m-1/converse"

    found = fields_of(bedrock.sign(f"{AWS}:the-token@ap-south-1", "POST", url, b"{}"))

    signed = "host;x-amz-date;x-amz-security-token"
    expected = signature(
        AWS.partition(":")[2],
        "ap-south-1",
        signed,
        "/model/m-1/converse",
        "127.0.0.1:9000",
        b"{}",
        "x-amz-security-token:the-token\n",
    )
    assert found["x-amz-security-token"] == "the-token"
    assert found["authorization"].endswith(f"SignedHeaders={signed}, Signature={expected}")


@pytest.mark.parametrize("model", ["amazon.nova-pro-v1:0", "arn:aws:bedrock:eu-west-1:1:inference-profile/eu.x-v1:0"])
def test_bedrocks_urls_are_those_of_amazons_own_client(model: str) -> None:
    session = botocore.session.Session()
    session.set_credentials("AKIDEXAMPLE", "secret")
    client = session.create_client("bedrock-runtime", region_name="eu-west-1")
    sent: list[str] = []

    def answer(request: Any, **given: Any) -> AWSResponse:
        sent.append(request.url)
        raw = type("Raw", (), {"stream": lambda self, *given: iter([b"{}"])})()
        return AWSResponse(request.url, 200, {}, raw)

    client.meta.events.register("before-send", answer)
    client.converse(modelId=model, messages=[])

    assert sent == [PROVIDERS["bedrock"].url_of(call(BEDROCK, "bedrock", model))]


@pytest.mark.parametrize("credentials", ["ABSKbedrock-key", "ABSKbedrock-key@us-west-2"])
def test_a_bedrock_api_key_is_a_bearer_token(credentials: str) -> None:
    assert fields_of(bedrock.sign(credentials, "POST", BEDROCK, b"")) == {"authorization": "Bearer ABSKbedrock-key"}


@pytest.mark.parametrize(
    ("url", "credentials", "region"),
    [
        (BEDROCK, "a:b", "eu-west-1"),
        ("https://bedrock-runtime-fips.us-gov-west-1.amazonaws.com/x", "a:b", "us-gov-west-1"),
        ("https://vpce-1.bedrock-runtime.ca-central-1.vpce.amazonaws.com", "a:b", "ca-central-1"),
        (BEDROCK, "a:b@us-west-2", "us-west-2"),
        ("http://127.0.0.1:1", "a:b", "us-east-1"),
    ],
)
def test_the_region_is_the_credentials_else_the_urls(url: str, credentials: str, region: str) -> None:
    assert bedrock.region_of(url, bedrock.keys_of(credentials)) == region


# Google


@pytest.fixture
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*given: Any, **options: Any) -> None:
        raise AssertionError("nothing is asked over the network")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)


@pytest.mark.usefixtures("_offline")
def test_a_vertex_token_is_signed_here_and_kept() -> None:
    token = fields_of(vertex.sign(ACCOUNT, "POST", VERTEX, b"{}"))["authorization"].removeprefix("Bearer ")

    claims = jwt.decode(token, certs=PUBLIC_KEY)
    assert (claims["iss"], claims["sub"]) == ("relay@my-project.iam.gserviceaccount.com",) * 2
    assert claims["scope"] == "https://www.googleapis.com/auth/cloud-platform"
    assert claims["exp"] - claims["iat"] == 3600
    assert jwt.decode_header(token)["kid"] == "key-1"
    assert fields_of(vertex.sign(ACCOUNT, "POST", "https://other", b""))["authorization"] == f"Bearer {token}"


@pytest.mark.usefixtures("_offline")
def test_a_vertex_token_is_renewed_before_it_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    other = json.dumps({**json.loads(ACCOUNT), "client_email": "other@my-project.iam.gserviceaccount.com"})
    real = jwt._helpers.utcnow
    first = vertex.sign(other, "POST", VERTEX, b"")

    monkeypatch.setattr(jwt._helpers, "utcnow", lambda: real() + datetime.timedelta(minutes=50))
    before = vertex.sign(other, "POST", VERTEX, b"")
    monkeypatch.setattr(jwt._helpers, "utcnow", lambda: real() + datetime.timedelta(minutes=58))
    after = vertex.sign(other, "POST", VERTEX, b"")

    assert before == first
    assert after != first


@pytest.mark.parametrize(
    "credentials",
    [
        *("", "sk-1", "[]", "{}", json.dumps({"project_id": "p", "private_key": "s3cret"})),
        json.dumps({**json.loads(ACCOUNT), "private_key": "s3cret"}),
    ],
)
def test_what_is_no_service_account_is_refused_without_a_word_of_it(credentials: str) -> None:
    with pytest.raises(ValueError, match="service account") as refused:
        vertex.sign(credentials, "POST", VERTEX, b"")
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "location"),
    [
        ("https://europe-west4-aiplatform.googleapis.com", "europe-west4"),
        ("https://aiplatform.eu.rep.googleapis.com", "eu"),
        ("https://aiplatform.googleapis.com/v1", "global"),
        ("http://127.0.0.1:9", "global"),
    ],
)
def test_the_location_is_the_hosts(url: str, location: str) -> None:
    assert vertex.location_of(url) == location


@pytest.mark.parametrize(
    ("sent", "version"),
    [("", "vertex-2023-10-16"), ("2023-06-01", "vertex-2023-10-16"), ("2026-10-21", "2026-10-21")],
)
def test_claude_on_vertex_has_its_version_in_the_body_and_its_model_in_the_path(sent: str, version: str) -> None:
    shape = PROVIDERS["vertex"].shape
    assert shape is not None
    body = top_level.decode(b'{"model": "claude", "max_tokens": 5}')

    found = shape(call(VERTEX, "anthropic", version=sent), body)
    counted = shape(call(VERTEX, "anthropic_count", version=sent), body)

    assert {name: json.loads(bytes(raw)) for name, raw in found.items()} == {
        "anthropic_version": version,
        "max_tokens": 5,
    }
    assert "model" in counted
    assert shape(call(VERTEX, "gemini"), body) == body


def test_cohere_ranks_in_the_words_of_its_second_version() -> None:
    shape = PROVIDERS["cohere"].shape
    assert shape is not None
    body = top_level.decode(b'{"model": "r", "documents": [{"text": "a"}, "b"], "return_documents": true}')
    found = shape(call("https://x", "rerank"), body)
    assert {name: json.loads(bytes(raw)) for name, raw in found.items()} == {"model": "r", "documents": ["a", "b"]}
    with pytest.raises(RelayError):
        shape(call("https://x", "rerank"), top_level.decode(b'{"documents": [{"image": "x"}]}'))
    assert shape(call("https://x", "chat"), body) == body


# What differs from model to model, and from service to service


@pytest.mark.parametrize(
    ("provider", "model", "chosen", "found"),
    [
        ("vertex", "claude-opus-5", ("gemini", "anthropic"), ("anthropic",)),
        ("vertex", "gemini-3-pro", ("gemini", "anthropic"), ("gemini",)),
        ("vertex", "claude-opus-5", ("gemini",), ()),
        ("openai", "claude-opus-5", ("responses", "chat"), ("responses", "chat")),
    ],
)
def test_dialects_of_a_model(provider: str, model: str, chosen: tuple[str, ...], found: tuple[str, ...]) -> None:
    assert PROVIDERS[provider].dialects_for(model, chosen) == found


@pytest.mark.parametrize(
    ("provider", "dialect", "chosen", "served"),
    [
        ("openai_compatible", "chat", ("chat",), True),
        ("openai_compatible", "responses", ("chat",), False),
        ("openai_compatible", "anthropic_count", ("chat",), False),
        ("openai_compatible", "anthropic_count", ("anthropic",), True),
        ("openai", "responses_compact", ("chat",), False),
        ("openai", "embeddings", ("chat",), True),
        ("openai", "rerank", ("chat",), False),
        ("jina", "rerank", (), True),
        ("jina", "chat", (), False),
        ("vertex", "anthropic_count", ("gemini", "anthropic"), False),
        ("vertex", "gemini_count", ("gemini", "anthropic"), True),
    ],
)
def test_what_a_channel_serves(provider: str, dialect: str, chosen: tuple[str, ...], served: bool) -> None:
    assert PROVIDERS[provider].serves(dialect, "gemini-3-pro", chosen) is served


@pytest.mark.parametrize(
    ("url", "name"),
    [
        *((preset.base_url, preset.name) for preset in PRESETS.values() if preset.hosts),
        ("https://API.DeepSeek.com./v1", "deepseek"),
        ("https://ws-1.cn-beijing.maas.aliyuncs.com/compatible-mode/v1", "qwen"),
        ("https://evil-api.deepseek.com.example.com/v1", None),
        ("https://notopenrouter.ai/v1", None),
        ("http://localhost:8000/v1", None),
        ("http://[::1", None),
        ("", None),
    ],
)
def test_a_service_is_known_by_its_host(url: str, name: str | None) -> None:
    found = preset_of(url)
    assert (found.name if found else None) == name


def test_presets_are_addresses_of_dialects_that_can_be_chosen() -> None:
    for preset in PRESETS.values():
        assert preset.base_url.rpartition("/")[2] == "v1"
        assert set(preset.others) <= set(KINDS["openai_compatible"].others)
        assert preset.anthropic is None or "anthropic" in preset.others


@pytest.mark.parametrize(
    ("provider", "url", "field"),
    [
        ("openai", OPENAI, "max_completion_tokens"),
        ("azure_openai", "https://x.openai.azure.com", "max_completion_tokens"),
        ("openai_compatible", OPENAI, "max_completion_tokens"),
        ("openai_compatible", "https://api.groq.com/openai/v1", "max_completion_tokens"),
        ("openai_compatible", "https://api.mistral.ai/v1", "max_tokens"),
        ("openai_compatible", "http://vllm:8000/v1", "max_tokens"),
    ],
)
def test_the_field_of_the_output_cap(provider: str, url: str, field: str) -> None:
    assert PROVIDERS[provider].cap_field(url) == field


def test_who_keeps_what() -> None:
    kept = {
        (name, dialect) for name in PROVIDERS for dialect in ("chat", "responses") if PROVIDERS[name].keeps(dialect)
    }
    assert {name for name, dialect in kept if dialect == "chat"} == {"openai", "azure_openai"}
    assert {name for name, dialect in kept if dialect == "responses"} == set(PROVIDERS)


def test_a_service_that_speaks_everything_has_geminis_paths_under_its_root():
    provider = PROVIDERS["openai_compatible"]
    call = Call("https://gateway.example/v1", "gemini", "gemini-2.5-pro", stream=True)
    assert provider.url_of(call) == (
        "https://gateway.example/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse"
    )
    assert provider.serves("gemini_count", "m", ("chat", "gemini"))
    assert not provider.serves("gemini_count", "m", ("chat",))
    assert not provider.serves("gemini_embed", "m", ("chat", "gemini"))
