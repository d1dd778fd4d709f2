"""Anthropic: the Messages API.

The base URL is the root, as its SDK has it. `anthropic-version` and `anthropic-beta` are the client's where it sends
them, else the version is `DEFAULT_HEADERS`'s.

Sources: anthropic 2.12, and "Errors", "Versions" and "Rate limits" of Anthropic's API documentation.
"""

from __future__ import annotations

from relay.upstream.providers.base import Call, Headers, Provider, join, root
from relay.upstream.providers.faults import faults

PATHS = {"anthropic": "/v1/messages", "anthropic_count": "/v1/messages/count_tokens"}


def url(call: Call) -> str:
    """Where a request goes; a base URL may end in /v1."""
    return join(root(call.base_url, "v1"), PATHS[call.dialect])


def headers(credentials: str) -> Headers:
    """`x-api-key`, or nothing for a server that asks for no key."""
    return [(b"x-api-key", credentials.encode())] if credentials else []


# A 400 of type `invalid_request_error` may yet be about the account: out of credit, over its own limit, disabled.
fault = faults(
    kinds=frozenset({"authentication_error", "permission_error", "billing_error", "rate_limit_error"}),
    messages=r"your credit balance is too low|you have reached your specified .{0,40}limits|"
    r"this organization has been disabled|invalid (x-)?api[- ]key",
)
PROVIDER = Provider("anthropic", PATHS, headers, "max_tokens", fault, tiers=frozenset({"fast"}), url=url)
