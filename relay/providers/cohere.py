"""Cohere: rerank and embeddings of its v2 API, and chat through its OpenAI compatibility API.

The base URL is the root, as its SDK has it.

Sources: cohere 7.3 (paths, errors), "Using Cohere models via the OpenAI SDK" of Cohere's documentation.
"""

from __future__ import annotations

from relay.providers.base import Call, Provider, bearer, join, root
from relay.providers.faults import faults

PATHS = {"rerank": "/v2/rerank", "embeddings": "/v2/embed", "chat": "/compatibility/v1/chat/completions"}


def url(call: Call) -> str:
    """Where a request goes; a base URL may end in a version."""
    return join(root(call.base_url, "v1", "v2", "compatibility"), PATHS[call.dialect])


# 498: the token is invalid, as its SDK knows it; 499: it gave up by itself.
fault = faults(statuses=frozenset({498, 499}), messages=r"invalid api token|no api key supplied|trial key")
PROVIDER = Provider("cohere", PATHS, bearer, "max_tokens", fault, url=url)
