"""Whose fault an upstream's error is: a client's passes through, an operator's never does."""

from __future__ import annotations

import json
from typing import Any

import pytest

from relay.upstream.providers import PROVIDERS, Fault
from relay.upstream.providers.faults import read_error


def anthropic(kind: str, message: str = "m") -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}


def google(status: str, message: str = "m", reason: str | None = None) -> dict[str, Any]:
    details = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason}] if reason else []
    return {"error": {"code": 400, "message": message, "status": status, "details": details}}


LONG = "prompt is too long: 210000 tokens > 200000 maximum"
QUOTING = "unknown field: 'your credit balance is too low'"
CLIENTS = [
    ("openai", 400, {"error": {"message": "bad", "type": "invalid_request_error", "code": "context_length_exceeded"}}),
    ("azure_openai", 400, {"error": {"message": "filtered", "code": "content_filter"}}),
    ("openai_compatible", 422, {"detail": "Input should be a valid list"}),
    ("anthropic", 400, anthropic("invalid_request_error", LONG)),
    ("anthropic", 400, anthropic("invalid_request_error", QUOTING)),
    ("anthropic", 413, anthropic("request_too_large")),
    ("gemini", 400, google("INVALID_ARGUMENT", "Request contains an invalid argument.")),
    ("gemini", 400, google("INVALID_ARGUMENT", "text: 'API key not valid'")),
    ("vertex", 400, google("INVALID_ARGUMENT", "Unable to submit request because it must have a text parameter.")),
    ("vertex", 400, anthropic("invalid_request_error", LONG)),
    ("bedrock", 400, {"message": "Malformed input request: expected maxLength: 10"}),
    ("bedrock", 400, {"__type": "ValidationException", "message": "The model returned: operation not allowed"}),
    ("cohere", 400, {"id": "1", "message": "invalid request: all elements in history must have a message"}),
    ("cohere", 422, {"message": "unprocessable"}),
    ("jina", 422, {"detail": "[VALID] Input validation error"}),
]
OPERATORS = [
    *((name, status, {"error": {"message": "m"}}) for name in PROVIDERS for status in (401, 402, 403, 404, 408, 429)),
    *((name, status, {"error": {"message": "m"}}) for name in PROVIDERS for status in (302, 500, 502, 503, 529)),
    ("openai", 400, {"error": {"message": "Incorrect API key provided: sk-1.", "code": "invalid_api_key"}}),
    ("openai", 400, {"error": {"message": "m", "type": "insufficient_quota", "code": "insufficient_quota"}}),
    (
        "anthropic",
        400,
        anthropic("invalid_request_error", "Your credit balance is too low to access the Anthropic API."),
    ),
    (
        "anthropic",
        400,
        anthropic(
            "invalid_request_error", "You have reached your specified API usage limits. You will regain access on"
        ),
    ),
    ("anthropic", 400, anthropic("invalid_request_error", "This organization has been disabled.")),
    ("anthropic", 400, anthropic("authentication_error")),
    ("gemini", 400, google("INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", "API_KEY_INVALID")),
    ("gemini", 400, google("INVALID_ARGUMENT", "API key expired. Please renew the API key.")),
    ("gemini", 400, google("FAILED_PRECONDITION", "User location is not supported for the API use.")),
    ("gemini", 400, [google("INVALID_ARGUMENT", "m", "API_KEY_INVALID")]),
    ("vertex", 400, google("FAILED_PRECONDITION", "m")),
    ("vertex", 400, anthropic("invalid_request_error", "Your credit balance is too low")),
    ("bedrock", 400, {"message": "The provided model identifier is invalid."}),
    (
        "bedrock",
        400,
        {"message": "Invocation of model ID anthropic.claude-x with on-demand throughput isn't supported."},
    ),
    ("bedrock", 400, {"__type": "ServiceQuotaExceededException", "message": "m"}),
    ("bedrock", 400, {"__type": "UnrecognizedClientException", "message": "m"}),
    ("bedrock", 424, {"message": "The model failed", "originalStatusCode": 500}),
    ("cohere", 400, {"message": "invalid api token"}),
    ("cohere", 498, {"message": "invalid token"}),
    ("cohere", 499, {"message": "cancelled"}),
    ("jina", 400, {"detail": "Invalid API key"}),
]


@pytest.mark.parametrize(("provider", "status", "body"), CLIENTS)
def test_the_clients(provider: str, status: int, body: Any) -> None:
    assert PROVIDERS[provider].fault(status, json.dumps(body).encode()) is Fault.CLIENT


@pytest.mark.parametrize(("provider", "status", "body"), OPERATORS)
def test_the_operators(provider: str, status: int, body: Any) -> None:
    assert PROVIDERS[provider].fault(status, json.dumps(body).encode()) is Fault.OPERATOR


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe",
        b"null",
        b"[]",
        b"[[]]",
        b'"text"',
        b"<html>",
        b"[" * 100_000,
        b'{"error": {"type": [], "code": {}, "status": 5, "message": 7, "details": {"reason": "x"}}}',
        b'{"error": {"details": [null, 3, {"reason": ["x"]}]}}',
        b'{"error": "text"}',
        b'{"message": {"a": 1}}',
    ],
)
def test_a_body_that_is_no_error_is_read_as_saying_nothing(body: bytes) -> None:
    assert read_error(body) == (set(), "")
    for name, provider in PROVIDERS.items():
        assert provider.fault(400, body) is Fault.CLIENT, name
        assert provider.fault(500, body) is Fault.OPERATOR, name
