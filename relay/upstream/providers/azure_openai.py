"""Azure OpenAI (Microsoft Foundry): the v1 API, and the classic one with a deployment in the path.

A base URL that ends in /openai/v1 is the v1 API: OpenAI's own paths, the deployment as `model`. Any other is the
resource itself, or its /openai: the classic API. A deployment's name is the channel's upstream name of a model.

Sources: openai 3.54, `openai.lib.azure` (which paths name a deployment; realtime's query; the `api-key` header), and
Microsoft's "Azure OpenAI in Microsoft Foundry Models v1 API".
"""

from __future__ import annotations

from relay.upstream.providers.base import Call, Headers, Provider, join, root, segment
from relay.upstream.providers.openai_compatible import OPENAI_PATHS, fault, openai_url

# The last of the classic API's versions, which knows all that the ones before it do.
API_VERSION = "2025-04-01-preview"
# Classic paths that name a deployment; the others take it as `model`.
_DEPLOYED = frozenset(
    {"completions", "chat", "embeddings", "transcriptions", "translations", "speech", "images", "image_edits"}
)
PATHS = {
    name: path
    for name, path in OPENAI_PATHS.items()
    if name not in ("moderations", "image_variations", "responses_compact")
}


def url(call: Call) -> str:
    """Where a request goes, in the API that the base URL is of."""
    base = call.base_url.rstrip("/")
    if base.endswith("/v1"):
        return openai_url(call)
    classic = root(base, "openai") + "/openai"
    model = segment(call.model)
    if call.dialect == "realtime":
        return f"{classic}/realtime?api-version={API_VERSION}&deployment={model}"
    if call.dialect in _DEPLOYED:
        classic = f"{classic}/deployments/{model}"
    path = PATHS[call.dialect] + (f"/{call.action}" if call.action else "")
    return f"{join(classic, path)}?api-version={API_VERSION}"


def headers(credentials: str) -> Headers:
    """The `api-key` header."""
    return [(b"api-key", credentials.encode())] if credentials else []


PROVIDER = Provider("azure_openai", PATHS, headers, "max_completion_tokens", fault, stores=True, url=url)
