"""One file an upstream kind: its URLs, its authentication, whose fault its errors are.

Pure: no Django, no HTTP client. Adding a provider is one file here, one row in `PROVIDERS`, and one in
`costrouter.lib.upstreams.KINDS` (with its name in `channels_app.models.Provider`). A service that speaks OpenAI's
formats is a row in `costrouter.lib.presets` at most.
"""

from __future__ import annotations

from relay.upstream.providers import (
    anthropic,
    azure_openai,
    bedrock,
    cohere,
    gemini,
    jina,
    minimax,
    openai,
    openai_compatible,
    sandbox,
    vertex,
)
from relay.upstream.providers.base import Fault, Provider

PROVIDERS: dict[str, Provider] = {
    module.PROVIDER.name: module.PROVIDER
    for module in (
        *(openai_compatible, openai, azure_openai, anthropic, gemini),
        *(vertex, bedrock, cohere, jina, minimax, sandbox),
    )
}

__all__ = ["PROVIDERS", "Fault", "Provider"]
