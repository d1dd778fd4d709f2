"""Jina: rerankers and embeddings. The base URL ends in /v1.

Source: the API's own OpenAPI description (api.jina.ai/openapi.json). Its embeddings are in OpenAI's format.
"""

from __future__ import annotations

from relay.upstream.providers.base import Provider, bearer
from relay.upstream.providers.faults import faults

PATHS = {"rerank": "/rerank", "embeddings": "/embeddings"}
fault = faults(messages=r"(invalid|missing) api key|insufficient (account )?balance")
PROVIDER = Provider("jina", PATHS, bearer, "max_tokens", fault)
