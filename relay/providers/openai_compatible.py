"""Servers that speak OpenAI's chat completions: vLLM, llama.cpp, Ollama, LiteLLM, and most hosted providers."""

from __future__ import annotations

import re

from relay.providers.base import Fault, Provider

PATHS = {"chat": "/chat/completions"}

# Statuses that say something about the operator's account, configuration or quota, or the upstream itself.
_OPERATOR_STATUSES = frozenset({401, 402, 403, 404, 405, 407, 408, 429})
# A 400 that complains of the credential: Gemini's OpenAI endpoint answers a bad key so. Whole phrases only, for a
# client's own error may quote what the client wrote.
_CREDENTIAL = re.compile(
    rb"api[ _-]?key (provided )?(is )?(not valid|not found|invalid|expired|missing|required|revoked|disabled)"
    rb"|(invalid|incorrect|expired|missing|unknown|no valid|provide (a|an) valid) api[ _-]?key"
    rb"|\"(code|type|status|reason)\" ?: ?\"(invalid_api_key|api_key_invalid|authentication_error|unauthenticated|"
    rb"permission_denied|billing_not_active|insufficient_quota)\"",
    re.IGNORECASE,
)


def bearer(credentials: str) -> list[tuple[bytes, bytes]]:
    """`Authorization: Bearer`, or nothing for a server that asks for no key."""
    return [(b"authorization", b"Bearer " + credentials.encode())] if credentials else []


def fault(status: int, body: bytes) -> Fault:
    """4xx are the client's, save those about the account, a mis-mapped model, or a credential."""
    if not 400 <= status < 500 or status in _OPERATOR_STATUSES:
        return Fault.OPERATOR
    if status == 400 and _CREDENTIAL.search(body[:4096]):
        return Fault.OPERATOR
    return Fault.CLIENT


PROVIDER = Provider("openai_compatible", PATHS, bearer, "max_tokens", fault)
