"""OpenAI itself. Its reasoning models refuse `max_tokens`, so a cap is injected as `max_completion_tokens`.

Newer accounts store every chat completion unless `store` is false.
"""

from __future__ import annotations

from relay.upstream.providers.base import Provider, bearer
from relay.upstream.providers.openai_compatible import OPENAI_PATHS, fault, openai_url

PROVIDER = Provider(
    "openai",
    OPENAI_PATHS,
    bearer,
    "max_completion_tokens",
    fault,
    stores=True,
    tiers=frozenset({"flex", "priority"}),
    url=openai_url,
)
