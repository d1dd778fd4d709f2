"""Servers that speak OpenAI's formats: vLLM, llama.cpp, Ollama, LiteLLM, and most hosted providers.

Where they differ, `costrouter.lib.presets` says so, by the host of the base URL.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from costrouter.lib.presets import preset_of
from relay.upstream.providers import gemini
from relay.upstream.providers.base import Call, Fault, Provider, bearer, join, segment
from relay.upstream.providers.faults import OPERATOR_STATUSES

# Under the base URL, which ends in /v1.
OPENAI_PATHS = {
    "chat": "/chat/completions",
    "completions": "/completions",
    "responses": "/responses",
    "responses_compact": "/responses/compact",
    "embeddings": "/embeddings",
    "moderations": "/moderations",
    "images": "/images/generations",
    "image_edits": "/images/edits",
    "image_variations": "/images/variations",
    "speech": "/audio/speech",
    "transcriptions": "/audio/transcriptions",
    "translations": "/audio/translations",
    "videos": "/videos",
    "realtime": "/realtime",
}
ANTHROPIC_PATHS = {"anthropic": "/messages", "anthropic_count": "/messages/count_tokens"}
GEMINI_PATHS = {name: gemini.PATHS[name] for name in ("gemini", "gemini_count")}
PATHS = {**OPENAI_PATHS, **ANTHROPIC_PATHS, **GEMINI_PATHS, "rerank": "/rerank"}

# A 400 that complains of the credential: Gemini's OpenAI endpoint answers a bad key so. Whole phrases only, for a
# client's own error may quote what the client wrote.
_CREDENTIAL = re.compile(
    rb"api[ _-]?key (provided )?(is )?(not valid|not found|invalid|expired|missing|required|revoked|disabled)"
    rb"|(invalid|incorrect|expired|missing|unknown|no valid|provide (a|an) valid) api[ _-]?key"
    rb"|\"(code|type|status|reason)\" ?: ?\"(invalid_api_key|api_key_invalid|authentication_error|unauthenticated|"
    rb"permission_denied|billing_not_active|insufficient_quota)\"",
    re.IGNORECASE,
)


def fault(status: int, body: bytes) -> Fault:
    """4xx are the client's, save those about the account, a mis-mapped model, or a credential."""
    if not 400 <= status < 500 or status in OPERATOR_STATUSES:
        return Fault.OPERATOR
    if status == 400 and _CREDENTIAL.search(body[:4096]):
        return Fault.OPERATOR
    return Fault.CLIENT


def openai_url(call: Call) -> str:
    """A path under the base URL; a video's has its id and what follows, a realtime session's names its model."""
    url = join(call.base_url, PATHS[call.dialect])
    if call.dialect == "realtime":
        return f"{url}?model={segment(call.model)}"
    return f"{url}/{call.action}" if call.dialect == "videos" and call.action else url


def url(call: Call) -> str:
    """The same; but Gemini's paths are under the root, and some services have Anthropic's elsewhere on their host."""
    if call.dialect in GEMINI_PATHS:
        return gemini.url(call)
    preset = preset_of(call.base_url) if call.dialect in ANTHROPIC_PATHS else None
    if preset is None or preset.anthropic is None:
        return openai_url(call)
    parts = urlsplit(call.base_url)
    return f"{parts.scheme}://{parts.netloc}{preset.anthropic}{ANTHROPIC_PATHS[call.dialect]}"


def cap_at(base_url: str) -> str:
    """The field that limits output tokens, as the service of a base URL has it."""
    preset = preset_of(base_url)
    return preset.output_cap if preset is not None else "max_tokens"


PROVIDER = Provider("openai_compatible", PATHS, bearer, "max_tokens", fault, url=url, cap_at=cap_at)
