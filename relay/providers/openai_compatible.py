"""Servers that speak OpenAI's chat completions: vLLM, llama.cpp, Ollama, LiteLLM, and most hosted providers."""

from __future__ import annotations

from relay.providers.base import Fault, Provider

PATHS = {"openai_chat": "/chat/completions"}

# Statuses that say something about the operator's account, configuration or quota, or the upstream itself.
_OPERATOR_STATUSES = frozenset({401, 402, 403, 404, 405, 407, 408, 429})
# A 400 that complains of the credential: Gemini's OpenAI endpoint answers a bad key so.
_CREDENTIAL_WORDS = (b"api key", b"api_key", b"apikey", b"credential", b"unauthorized", b"authentication", b"billing")


def bearer(credentials: str) -> list[tuple[bytes, bytes]]:
    """`Authorization: Bearer`, or nothing for a server that asks for no key."""
    return [(b"authorization", b"Bearer " + credentials.encode())] if credentials else []


def fault(status: int, body: bytes) -> Fault:
    """4xx are the client's, save those about the account, a mis-mapped model, or a credential."""
    if not 400 <= status < 500 or status in _OPERATOR_STATUSES:
        return Fault.OPERATOR
    if status == 400 and any(word in body[:4096].lower() for word in _CREDENTIAL_WORDS):
        return Fault.OPERATOR
    return Fault.CLIENT


PROVIDER = Provider("openai_compatible", PATHS, bearer, "max_tokens", fault)
