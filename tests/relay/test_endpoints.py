"""THE table of endpoints: what it counts, what it names, and how a path finds its row."""

from __future__ import annotations

from collections import Counter

import httpx
import pytest

from costrouter.lib.units import UNITS
from relay.asgi import _HANDLERS
from relay.endpoints import ENDPOINTS, allowed_methods, match
from relay.protocols import DIALECTS

pytestmark = pytest.mark.any_database


def test_thirty_model_endpoints_in_eight_categories_and_an_accounts_three():
    assert Counter(endpoint.category for endpoint in ENDPOINTS) == {
        "Chat": 4,
        "Anthropic": 2,
        "Gemini": 5,
        "Embeddings, rerank, moderation": 3,
        "Images": 3,
        "Audio": 3,
        "Video": 6,
        "Models and realtime": 4,
        "Account": 3,
    }
    assert len({endpoint.name for endpoint in ENDPOINTS}) == len(ENDPOINTS)
    paths = [(e.method, path) for e in ENDPOINTS for path in (e.path, *e.aliases)]
    assert len(set(paths)) == len(paths)


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.name)
def test_a_row_names_what_exists(endpoint):
    assert callable(_HANDLERS[endpoint.handler])
    assert set(endpoint.units) <= set(UNITS)
    assert bool(endpoint.units) == (endpoint.meter not in (None, "free"))
    if endpoint.handler.startswith("exchange.") or endpoint.handler == "reading.counting.count_tokens":
        assert endpoint.protocol in DIALECTS


@pytest.mark.parametrize(
    ("method", "path", "name", "parameter"),
    [
        ("POST", "/v1/chat/completions", "chat.completions", ""),
        ("POST", "/v1/responses/compact", "responses.compact", ""),
        ("POST", "/v1beta/models/gemini-2.5-pro:generateContent", "gemini.generate", "gemini-2.5-pro:generateContent"),
        ("POST", "/v1/models/a/b:streamGenerateContent", "gemini.stream", "a/b:streamGenerateContent"),
        ("POST", "/v1beta/models/m:countTokens", "gemini.count_tokens", "m:countTokens"),
        ("GET", "/v1/models/openai/gpt-5", "models.get", "openai/gpt-5"),
        ("GET", "/v1beta/models/m", "models.get", "m"),
        ("GET", "/v1beta/models", "gemini.models", ""),
        ("GET", "/v1/videos/video_1", "videos.get", "video_1"),
        ("GET", "/v1/videos/video_1/content", "videos.content", "video_1"),
        ("POST", "/v1/videos/video_1/remix", "videos.remix", "video_1"),
        ("DELETE", "/v1/videos/video_1", "videos.delete", "video_1"),
    ],
)
def test_a_path_finds_its_row(method, path, name, parameter):
    found = match(method, path)
    assert found is not None
    assert (found[0].name, found[1]) == (name, parameter)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1beta/models/:generateContent"),
        ("POST", "/v1beta/models/m:somethingElse"),
        ("GET", "/v1/models/"),
        ("GET", "/v1/chat/completions"),
        ("POST", "/v1/videos/video_1"),
        ("GET", "/v1/nothing"),
    ],
)
def test_other_paths_find_none(method, path):
    assert match(method, path) is None


def test_the_methods_of_a_path():
    assert sorted(allowed_methods("/v1/videos/video_1")) == ["DELETE", "GET"]
    assert sorted(allowed_methods("/v1/videos")) == ["GET", "POST"]
    assert allowed_methods("/v1/nothing") == []


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.name)
def test_no_endpoint_answers_without_a_key(endpoint, world, relay):
    path = endpoint.path.format(model="double-1", id="video_1")
    response = httpx.request(endpoint.method, relay.url + path, json={} if endpoint.method == "POST" else None)
    assert response.status_code == 401
    error = response.json()["error"]
    assert "API key" in error["message"]
    assert error.get("code") in ("invalid_api_key", 401, None)
