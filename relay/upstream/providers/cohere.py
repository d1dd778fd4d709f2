"""Cohere: rerank and embeddings of its v2 API, and chat through its OpenAI compatibility API.

The base URL is the root, as its SDK has it.

Sources: cohere 7.3 (paths, errors), "Using Cohere models via the OpenAI SDK" of Cohere's documentation.
"""

from __future__ import annotations

from relay.protocols.fields import Fields
from relay.protocols.rerank import cohere_v2
from relay.upstream.providers.base import Call, Provider, bearer, join, root
from relay.upstream.providers.faults import faults

PATHS = {
    "rerank": "/v2/rerank",
    "cohere_embed": "/v2/embed",
    "chat": "/compatibility/v1/chat/completions",
}


def url(call: Call) -> str:
    """Where a request goes; a base URL may end in a version."""
    return join(root(call.base_url, "v1", "v2", "compatibility"), PATHS[call.dialect])


def shape(call: Call, fields: Fields) -> Fields:
    """A ranking is asked for in the words of v2."""
    return cohere_v2(fields) if call.dialect == "rerank" else fields


# 498: the token is invalid, as its SDK knows it; 499: it gave up by itself.
fault = faults(statuses=frozenset({498, 499}), messages=r"invalid api token|no api key supplied|trial key")
PROVIDER = Provider("cohere", PATHS, bearer, "max_tokens", fault, url=url, shape=shape)
